"""The lanes: when an athlete's models step, and what a step takes in."""

from collections import deque

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.messages import Command
from server.schedule import CATCH_UP_NS, JUMP_NS, LIFESPAN_NS, STEP_NS, Item, Lane, Order, Step

S = 1_000_000_000
T0 = 1_700_000_000 * S


def lane(phase_ns: int = 0) -> Lane:
    return Lane(row=0, phase_ns=phase_ns)


def item(t_ns: int, kind: int = 1) -> Item:
    return Item(kind, (0, t_ns))


def steps(of: Lane) -> list[Step]:
    return [job for job in of.jobs if isinstance(job, Step)]


def test_a_step_fires_on_the_first_measurement_at_or_after_its_due_time() -> None:
    one = lane()
    one.feed(item(T0 + S // 2), None, 0)
    assert not one.jobs
    one.feed(item(T0 + S - 1), None, 0)
    assert not one.jobs
    one.feed(item(T0 + S), None, 7)
    assert [(step.due_ns, step.received_ns) for step in steps(one)] == [(T0 + S, 7)]


def test_a_step_takes_in_what_is_not_newer_than_its_due_time() -> None:
    one = lane()
    times = [T0 + S // 2, T0 + 3 * S // 4, T0 + S, T0 + S + 1]
    for t_ns in times:
        one.feed(item(t_ns), None, 0)
    assert [[each.record[1] for each in step.items] for step in steps(one)] == [times[:3]]
    assert one.held == [item(times[3])]


def test_a_measurement_that_comes_late_is_taken_in_by_the_next_step() -> None:
    one = lane()
    for t_ns in (T0 + S // 2, T0 + S + 100, T0 + S - 100, T0 + 2 * S):
        one.feed(item(t_ns), None, 0)
    assert [[each.record[1] - T0 for each in step.items] for step in steps(one)] == [
        [S // 2],
        [S + 100, S - 100, 2 * S],
    ]


@given(st.lists(st.integers(-5 * S, 400 * S), min_size=1, max_size=60), st.integers(0, 9))
def test_every_measurement_is_taken_in_at_most_once_and_steps_ascend(offsets: list[int], phase: int) -> None:
    one = lane(phase * S // 10)
    fed = []
    for offset in offsets:
        if one.refusal(T0 + offset) is None:
            one.feed(item(T0 + offset), None, 0)
            fed.append(T0 + offset)
    taken = [each.record[1] for step in steps(one) for each in step.items]
    assert sorted(taken + [each.record[1] for each in one.held]) == sorted(fed)
    dues = [step.due_ns for step in steps(one)]
    assert dues == sorted(set(dues))
    assert all((due - one.phase_ns) % STEP_NS == 0 for due in dues)
    assert all(each.record[1] <= step.due_ns for step in steps(one) for each in step.items)


def test_the_phase_follows_from_the_id() -> None:
    assert Lane.of("anna", 3) == Lane.of("anna", 3)
    assert {Lane.of(f"athlete-{n}", 0).phase_ns for n in range(200)} == {n * S // 10 for n in range(10)}


def test_a_long_silence_is_one_step_not_thousands() -> None:
    one = lane()
    one.feed(item(T0), None, 0)
    one.feed(item(T0 + 3 * CATCH_UP_NS), None, 0)
    assert len(one.jobs) < 5
    assert steps(one)[-1].due_ns == T0 + 3 * CATCH_UP_NS


@pytest.mark.parametrize(
    ("offset_ns", "reason"),
    [(-LIFESPAN_NS - 1, "stale"), (-LIFESPAN_NS, None), (JUMP_NS, None), (JUMP_NS + 1, "time_jump")],
)
def test_what_is_too_old_or_too_far_ahead_is_refused(offset_ns: int, reason: str | None) -> None:
    one = lane()
    assert one.refusal(T0) is None
    one.feed(item(T0), None, 0)
    assert one.refusal(T0 + offset_ns) == reason


def test_a_command_stands_between_the_measurements_before_and_after_it() -> None:
    one = lane()
    for t_ns in (T0 + 1, T0 + S // 2, T0 + 3 * S // 4):
        one.feed(item(t_ns), None, 0)
    pause = Command("pause", "p1")
    one.order(pause, T0 + S // 2, 0)
    partial, order = one.jobs
    assert isinstance(partial, Step)
    assert [each.record[1] for each in partial.items] == [T0 + 1, T0 + S // 2]
    assert not partial.publish
    assert order == Order(T0 + S // 2, pause)
    assert one.held == [item(T0 + 3 * S // 4)]


def test_a_start_far_from_the_last_measurement_begins_the_lane_anew() -> None:
    one = lane()
    one.feed(item(T0), None, 0)
    one.order(Command("start", "s1"), T0 - 3600 * S, 0)
    assert one.watermark_ns == T0 - 3600 * S
    assert one.refusal(T0 - 3600 * S + 1) is None
    assert [type(job) for job in one.jobs] == [Order]


@pytest.mark.parametrize("action", ["start", "pause", "resume", "lap", "stop"])
@pytest.mark.parametrize("back_s", [10, 520, 600])
def test_a_command_that_comes_late_takes_effect_now_and_turns_no_live_time_back(
    action: str, back_s: int
) -> None:
    one = lane()
    one.feed(item(T0), None, 0)
    one.feed(item(T0 + S // 2), None, 0)
    one.order(msgspec.convert({"action": action, "id": "c"}, Command), T0 - back_s * S, 0)
    assert [job.t_ns for job in one.jobs if isinstance(job, Order)] == [T0 + S // 2]
    assert (one.watermark_ns, one.due_ns) == (T0 + S // 2, T0 + S)


def test_a_command_of_a_moment_ago_takes_effect_at_its_time() -> None:
    one = lane()
    one.feed(item(T0), None, 0)
    one.order(Command("start", "s"), T0 - 9 * S, 0)
    assert [job.t_ns for job in one.jobs if isinstance(job, Order)] == [T0 - 9 * S]
    assert one.watermark_ns == T0


def test_a_recording_may_start_again_from_its_begin() -> None:
    one = lane()
    one.recorded = True
    one.feed(item(T0), None, 0)
    one.order(Command("start", "s"), T0 - 60 * S, 0)
    assert one.watermark_ns == T0 - 60 * S
    assert one.jobs == deque([Order(T0 - 60 * S, Command("start", "s"))])
