"""What a lane keeps for rewinds comes back as it was, bit for bit, however it was packed."""

from collections import defaultdict
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion._core import lib
from fusion.measurements import DTYPES, Measurements, Records
from server.batch import Batch
from server.envelopes import Incoming
from server.schedule import JOB, Due
from tests.support.scheduled import NOTHING, OneLane, item_of

S = 1_000_000_000
T0 = 1_700_000_000 * S
AGAIN = (lib.KF_JOB_REWIND, lib.KF_JOB_REDO)

floats = st.one_of(st.floats(), st.floats(width=32), st.just(0.0), st.just(-0.0))
counts = st.one_of(st.integers(0, 1), st.integers(0, 300), st.integers(-(2**31), 2**31 - 1))
fields: dict[str, st.SearchStrategy[Any]] = {
    "f": floats,
    "i": counts,
    "u": st.one_of(st.integers(0, 1), st.integers(0, 2**32 - 1)),
}


def records(kind: int) -> st.SearchStrategy[tuple[int, tuple[Any, ...]]]:
    """Return records of a kind, all but row and time."""
    dtype = DTYPES[kind]
    rest = [fields[dtype[name].kind] for name in (dtype.names or ())[2:]]
    return st.tuples(st.just(kind), st.tuples(*rest))


measured = st.integers(0, len(DTYPES) - 1).flatmap(records)
after = st.one_of(st.integers(0, S), st.integers(-3 * S, 4 * S))


def told(items: Records) -> dict[int, list[bytes]]:
    """Return what measurements are of each kind, field by field: between fields stands anything."""
    found = defaultdict(list)
    for kind, records in enumerate(Due(np.zeros(0, JOB), items).measurements()):
        for one in records:
            found[kind].append(b"".join(one[name].tobytes() for name in records.dtype.names or ()))
    return dict(found)


def plain(fed: list[tuple[int, int, tuple[Any, ...]]]) -> dict[int, list[bytes]]:
    """Return what was fed, as `told` does."""
    arrays: dict[str, list[Any]] = defaultdict(list)
    for kind, t_ns, rest in fed:
        arrays[Measurements._fields[kind]].append((0, t_ns, *rest))
    return {
        kind: [b"".join(one[name].tobytes() for name in records.dtype.names or ()) for one in records]
        for kind, records in enumerate(Measurements.of(**arrays))
        if len(records)
    }


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(measured, after), min_size=1, max_size=120))
def test_what_is_kept_comes_back_as_it_was(
    stream: list[tuple[tuple[int, tuple[Any, ...]], int]],
) -> None:
    one = OneLane(rewind_ns=30 * S)
    fed: list[tuple[int, int, tuple[Any, ...]]] = []

    def feed(kind: int, t_ns: int, rest: tuple[Any, ...]) -> None:
        """Feed a measurement, and hold what is to be done again to what was fed by then."""
        fed.append((kind, t_ns, rest))
        batch = Batch()
        item, message = item_of(kind, (0, 0, *rest)), Incoming("", b"", False, 0, 0)
        batch.add_sample(one.device, item, message, t_ns=t_ns, boot=None, seq=None, stream=0)
        packed = batch.pack()
        for due in one.schedule.run(packed.events, NOTHING, packed.records):
            for at in range(len(due.jobs)):
                job = due.of(np.array([at]))
                if job.jobs["kind"][0] in AGAIN:
                    check(job)
        if len(one.schedule.take_refusals()):
            fed.pop()

    def check(job: Due) -> None:
        times_ns, lane = job.items["t_ns"], one.schedule.lanes[0]
        if job.jobs["kind"][0] == lib.KF_JOB_REWIND:
            begin_ns, until_ns = int(job.jobs["due_ns"][0]), int(job.jobs["received_ns"][0])
        else:
            begin_ns, until_ns = int(lane["redo_ns"]), int(job.jobs["due_ns"][0])
        assert (np.diff(times_ns) >= 0).all()
        assert told(job.items) == plain(
            [each for each in sorted(fed, key=lambda each: each[1]) if begin_ns < each[1] <= until_ns]
        )

    t_ns = T0
    for (kind, rest), passed_ns in stream:
        t_ns = max(t_ns + passed_ns, T0)
        feed(kind, t_ns, rest)
    for second in range(40):
        feed(1, max(each[1] for each in fed) + S * (second > 0), (0, 60.0, 1.0, 1, 0.0))
