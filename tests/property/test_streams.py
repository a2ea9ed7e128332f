"""Whatever comes and whatever stays away: one transition for each change, and no device touches another."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from server import config
from server.deadlines.kinds import KINDS
from server.deadlines.rules import STATES
from server.deadlines.streams import LOOK_NS, Change, Streams
from tests.support.health_twin import streams_of
from tests.support.hearing import hear

SECOND = 1_000_000_000
BEGIN_NS = 1_764_585_664 * SECOND

# (looks to wait before it, what happens, of which kind, how old, at rest)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 1, 2, 4, 12, 45]),
        st.sampled_from(["packet"] * 6 + ["death", "birth", "promise", "sign", "jump", "pause", "resume"]),
        st.integers(0, len(KINDS) - 1),
        st.sampled_from([0, 0, 0, 3 * SECOND]),
        st.booleans(),
    ),
    max_size=25,
)


def happen(
    streams: Streams, row: int, jumps: Any, now_ns: int, event: tuple[int, str, int, int, bool]
) -> None:
    _, what, kind, age_ns, rests = event
    match what:
        case "packet":
            hear(streams, row, kind, now_ns, now_ns - age_ns, rests=rests)
        case "death":
            streams.death(row)
        case "birth":
            streams.birth(row, now_ns)
        case "promise":
            streams.birth(row, now_ns, rate_hz=100.0)
        case "sign":
            streams.sign(np.array([row]), np.array([now_ns]))
        case "jump":
            jumps[row] += 1
        case "pause":
            streams.pause()
        case "resume":
            streams.resume(now_ns)


def run(scripts: list[list[tuple[int, str, int, int, bool]]]) -> tuple[Streams, list[Change], int]:
    """Let several devices do what their scripts say, all at once, and then nothing for a while."""
    streams = Streams(config.Deadlines(), capacity=1)
    for row in range(len(scripts)):
        streams.add(row)
    jumps = np.zeros(len(scripts), np.int64)
    pending = [list(script) for script in scripts]
    waited = [0] * len(scripts)
    told: list[Change] = []
    now_ns, rest = BEGIN_NS, 40
    while rest:
        now_ns += LOOK_NS
        for row, script in enumerate(pending):
            while script and waited[row] >= script[0][0]:
                happen(streams, row, jumps, now_ns, script.pop(0))
                waited[row] = 0
            waited[row] += 1
        rest -= not any(pending)
        told += streams.look(now_ns, jumps)
    return streams, told, now_ns


@given(EVENTS)
def test_each_change_is_told_once_and_from_the_state_that_was_told_before(
    script: list[tuple[int, str, int, int, bool]],
) -> None:
    streams, told, now_ns = run([script])
    states: dict[str, str] = {}
    for change in told:
        assert change.before != change.state
        assert states.get(change.kind, "alive") == change.before
        states[change.kind] = change.state
    now = streams_of(streams, 0, now_ns)
    assert {kind: stream.state for kind, stream in now.items()} == {
        kind: states.get(kind, "alive") for kind in now
    }
    assert streams.counts == {
        state: sum(stream.state == state for stream in now.values()) for state in STATES
    }
    assert sum(streams.faults.values()) + streams.recoveries == len(told)


@given(
    st.lists(
        EVENTS.map(lambda events: [each for each in events if each[1] not in ("pause", "resume")]), max_size=3
    )
)
def test_no_device_touches_another(scripts: list[list[tuple[int, str, int, int, bool]]]) -> None:
    together = run(scripts)[1]
    for row, script in enumerate(scripts):
        alone = [(change.kind, change.state) for change in run([script])[1]]
        shared = [(change.kind, change.state) for change in together if change.row == row]
        assert shared[: len(alone)] == alone


@given(EVENTS)
def test_looking_again_at_once_finds_nothing_new(script: list[tuple[int, str, int, int, bool]]) -> None:
    streams, _, now_ns = run([script])
    streams.look(now_ns + LOOK_NS)
    again = streams.look(now_ns + LOOK_NS + 1)
    assert again == []
