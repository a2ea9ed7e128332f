"""The core's lanes equal their readable twin, however what arrived was cut into batches."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from server.batch import Batch
from tests.support.lane_twin import Item, Lane, Step
from tests.support.lane_twin import Order as TwinOrder
from tests.support.scheduled import KIND, Job, OneLane

S = 1_000_000_000
T0 = 1_700_000_000 * S


class Event(NamedTuple):
    """A sample, or a command where there is an action."""

    t_ns: int
    action: str = ""


offsets = st.one_of(
    st.integers(0, 20 * S),
    st.integers(-12 * S, 700 * S),
    st.sampled_from([0, S, 2 * S, 90_000 * S, -(10**17)]),
)
actions = st.sampled_from(["", "", "", "", "start", "lap", "stop"])
events = st.lists(st.builds(lambda t, a: Event(T0 + t, a), offsets, actions), min_size=1, max_size=60)


def twin_of(stream: list[Event], phase_ns: int) -> tuple[list[Job], list[str]]:
    lane = Lane(0, phase_ns, recorded=True)
    refused = []
    for event in stream:
        if event.action:
            lane.order(event.action, event.t_ns, 0)
            continue
        reason = lane.refusal(event.t_ns, KIND)
        if reason is None:
            lane.feed(Item(KIND, (0, event.t_ns)), None, 0)
        else:
            refused.append(reason)
    jobs = []
    for job in lane.jobs:
        if isinstance(job, TwinOrder):
            jobs.append(Job("order", job.t_ns, []))
            continue
        assert isinstance(job, Step)
        taken_ns = sorted(item.record[1] for item in job.items)
        jobs.append(Job("step" if job.publish else "partial", job.due_ns, taken_ns))
    return jobs, refused


@settings(max_examples=200, deadline=None)
@given(events, st.lists(st.integers(0, 60), max_size=5), st.integers(0, 99))
def test_the_core_tells_what_the_twin_tells(stream: list[Event], cuts: list[int], who: int) -> None:
    one = OneLane(f"athlete-{who}")
    refused: list[str] = []
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)], strict=True):
        batch = Batch()
        for event in stream[begin:end]:
            batch.number += 1
            if event.action:
                one.add_order(batch, event.action, event.t_ns)
            else:
                one.add(batch, event.t_ns)
        refused += one.run(batch)
    assert (one.jobs, refused) == twin_of(stream, one.phase_ns)
