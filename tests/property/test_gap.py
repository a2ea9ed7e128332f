"""A gap that was taken for lost and comes after all: the core goes on from what the device was before it."""

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion._core import lib
from fusion.core import Advance, CoreTable
from fusion.measurements import Records
from tests.support.motion import all_rows, binary_packets, moving, packets_of

SECONDS, SAMPLES = 24, 10
PACKETS = SECONDS * 100 // SAMPLES
WINDOW_NS = int(lib.KF_WINDOW_NS)
ON, FORK, BESIDE, LAST = (
    int(way) for way in (lib.KF_WAY_ON, lib.KF_WAY_FORK, lib.KF_WAY_BESIDE, lib.KF_WAY_LAST)
)


@cache
def sent(seed: int, kind: int) -> tuple[bytes, ...]:
    """Return the packets of somebody who walks: binary ones, or their JSON twins as the core takes them."""
    walk = moving(SECONDS, step_hz=1.9, seed=seed)
    if kind == lib.KF_BINARY:
        return tuple(binary_packets(walk, SAMPLES))
    rows: Records = all_rows(walk)
    assert len(rows) == 3 * SAMPLES * PACKETS
    return tuple(part.tobytes() for part in np.split(rows, PACKETS))


def taken(
    seed: int, order: list[tuple[int, int]], cuts: list[int], kind: int = int(lib.KF_BINARY)
) -> Advance:
    """Return what comes of packets, each with its way, in calls that end at these places."""
    table, parts = CoreTable(), []
    table.add()
    for begin, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        payloads = [sent(seed, kind)[number] for number, _ in order[begin:end]]
        packets = packets_of(payloads, [kind] * len(payloads), [0] * len(payloads))
        packets["way"] = [way for _, way in order[begin:end]]
        if kind == lib.KF_ROWS:
            packets["seq"] = [number for number, _ in order[begin:end]]
            packets["flags"] = lib.KF_HAS_SEQ
        parts.append(table.advance(b"".join(payloads), packets))
    return Advance(*(np.concatenate(each) for each in zip(*parts, strict=True)))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 3),
    st.integers(30, 60),
    st.integers(4, 120),
    st.integers(1, 40),
    st.lists(st.integers(0, PACKETS), max_size=5).map(sorted),
    st.sampled_from([int(lib.KF_BINARY), int(lib.KF_ROWS)]),
)
def test_what_comes_of_a_gap_is_what_it_would_have_been(
    seed: int, begin: int, missing: int, later: int, cuts: list[int], kind: int
) -> None:
    end = begin + missing
    whole = taken(seed, [(number, ON) for number in range(PACKETS)], [], kind)
    gap = [(number, BESIDE) for number in range(begin, end - 1)] + [(end - 1, LAST)]
    after = [(end, FORK), *((number, ON) for number in range(end + 1, PACKETS))]
    mixed = [each for pair in zip(gap, after[later:], strict=False) for each in pair]
    order = [*((number, ON) for number in range(begin)), *after[:later], *mixed]
    order += [each for each in [*gap, *after] if each not in order]
    late = taken(seed, order, cuts, kind)
    assert (late.summaries["status"] == 0).all()
    # Windows that lie in the gap are those of the whole, but for the first, which begins before it.
    stamps = whole.summaries["t_last_ns"]
    inside = whole.windows[
        (whole.windows["t_ns"] > stamps[begin - 1] + WINDOW_NS) & (whole.windows["t_ns"] <= stamps[end - 1])
    ]
    assert len(inside) >= 2 * missing // 5 - 2
    found = {each.tobytes() for each in late.windows}
    assert all(each.tobytes() in found for each in inside)
    # Nothing is told twice, and what is missing lies at the seams.
    assert abs(float(late.windows["duration_s"].sum() - whole.windows["duration_s"].sum())) < 0.03
    assert -3 <= int(late.windows["steps"].sum()) - int(whole.windows["steps"].sum()) <= 1


def test_a_gap_that_was_bridged_is_not_taken_up() -> None:
    order = [
        *((number, ON) for number in range(50)),
        (52, FORK),
        (53, ON),
        (50, BESIDE),
        (51, LAST),
        (54, ON),
    ]
    out = taken(0, order, [])
    assert out.summaries["status"].tolist()[-3:] == [lib.KF_LATE, lib.KF_LATE, lib.KF_OK]


def test_what_is_kept_is_forgotten_once_the_gap_is_whole() -> None:
    order = [(0, ON), (10, FORK), (8, BESIDE), (9, LAST), (9, LAST), (11, ON)]
    assert taken(0, order, []).summaries["status"].tolist() == [0, 0, 0, 0, lib.KF_LATE, 0]
