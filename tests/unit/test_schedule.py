"""The lanes: when an athlete's models step, and what a step takes in."""

from typing import Any

import numpy as np
import pytest

from fusion._core import lib
from server.batch import Batch
from server.schedule import LIFESPAN_NS, STEP_NS
from tests.support.scheduled import Job, OneLane

S = 1_000_000_000
T0 = 1_700_000_000 * S


def lane(**options: Any) -> OneLane:
    one = OneLane("a", **options)
    one.schedule.lanes["phase_ns"][0] = one.phase_ns = 0
    return one


def test_a_step_fires_on_the_first_measurement_at_or_after_its_due_time() -> None:
    one = lane()
    one.feed(T0 + S // 2, T0 + S - 1)
    assert not one.jobs
    one.feed(T0 + S, received_ns=7)
    assert [(job.due_ns, job.received_ns) for job in one.jobs] == [(T0 + S, 7)]


def test_a_step_takes_in_what_is_not_newer_than_its_due_time() -> None:
    one = lane()
    times = [T0 + S // 2, T0 + 3 * S // 4, T0 + S, T0 + S + 1]
    one.feed(*times)
    assert [job.taken_ns for job in one.jobs] == [times[:3]]
    assert one.held == 1


def test_a_measurement_that_comes_late_is_taken_in_by_the_next_step_in_the_order_of_time() -> None:
    one = lane()
    one.feed(T0 + S // 2, T0 + S + 100, T0 + S - 100, T0 + 2 * S)
    assert [[t_ns - T0 for t_ns in job.taken_ns] for job in one.jobs] == [[S // 2], [S - 100, S + 100, 2 * S]]


def test_what_belongs_to_the_newest_step_has_it_made_again_half_a_step_later() -> None:
    one = lane(rewind_ns=30 * S)
    one.feed(T0 + S // 2, T0 + S + 100, T0 + 2 * S + 100)
    one.feed(T0 + 2 * S - 100, T0 + 2 * S - 200, T0 + 2 * S + 200, T0 + 5 * S // 2 + 100)
    (redo,) = [job for job in one.jobs if job.kind == "redo"]
    assert redo.due_ns == T0 + 2 * S
    assert [t_ns - T0 for t_ns in redo.taken_ns] == [S + 100, 2 * S - 200, 2 * S - 100]
    one.feed(T0 + 3 * S)
    assert [t_ns - T0 for t_ns in one.jobs[-1].taken_ns] == [
        2 * S + 100,
        2 * S + 200,
        5 * S // 2 + 100,
        3 * S,
    ]


def test_no_step_is_made_again_behind_which_a_command_stands() -> None:
    one = lane(rewind_ns=30 * S)
    one.feed(T0 + S // 2, T0 + S + 100, T0 + 2 * S + 100)
    one.order("lap", T0 + 2 * S + 200)
    one.feed(T0 + 2 * S - 100, T0 + 3 * S, T0 + 4 * S)
    assert "redo" not in {job.kind for job in one.jobs}


def test_what_one_message_holds_is_taken_in_by_time() -> None:
    one = lane()
    batch = Batch()
    for t_ns in (T0 + 3 * S, T0 + S // 2, T0 + 2 * S):
        one.add(batch, t_ns)
    assert one.run(batch) == []
    assert [(job.due_ns - T0, [t_ns - T0 for t_ns in job.taken_ns]) for job in one.jobs] == [
        (S, [S // 2]),
        (2 * S, [2 * S]),
        (3 * S, [3 * S]),
    ]


def test_the_phase_follows_from_the_id() -> None:
    assert OneLane("anna").phase_ns == OneLane("anna").phase_ns
    assert {OneLane(f"athlete-{n}").phase_ns for n in range(200)} == {n * S // 10 for n in range(10)}


def test_a_long_silence_is_one_step_not_thousands() -> None:
    one = lane()
    one.feed(T0, T0 + 3 * lib.KF_CATCH_UP_NS)
    assert len(one.jobs) < 5
    assert one.jobs[-1].due_ns == T0 + 3 * lib.KF_CATCH_UP_NS


@pytest.mark.parametrize(
    ("offset_ns", "reasons"),
    [
        (-LIFESPAN_NS - 1, ["stale"]),
        (-LIFESPAN_NS, []),
        (lib.KF_DAY_NS, []),
        (lib.KF_DAY_NS + 1, ["time_jump"]),
        (2**63 - 1 - T0, ["time_jump"]),
        (-(2**63) - T0, ["time_jump"]),
    ],
)
def test_what_is_too_old_or_too_far_ahead_is_refused(offset_ns: int, reasons: list[str]) -> None:
    one = lane()
    assert one.feed(T0) == []
    assert one.feed(T0 + offset_ns) == reasons


def test_a_live_sample_from_ahead_of_its_arrival_is_refused() -> None:
    one = lane(recorded=False)
    assert one.feed(0, arrived_ns=T0) == []
    assert one.feed(3600 * S, arrived_ns=T0 + S) == ["future"]


def test_what_a_step_takes_in_is_bounded_by_kind() -> None:
    one = lane()
    assert one.feed(*[T0 + each for each in range(60)]) == ["too_fast"] * (60 - lib.KF_HELD_MAX)


def test_a_lane_far_behind_refuses_and_says_so() -> None:
    one = lane()
    refused: list[str] = []
    for hour in range(200):
        refused += one.feed(*[T0 + hour * 3600 * S + minutes * 590 * S for minutes in range(6)])
    assert set(refused) == {"too_fast"}
    assert one.schedule.jobs_waiting <= lib.KF_JOBS_MAX + lib.KF_CATCH_UP_MAX


def test_jobs_that_are_done_make_room_again() -> None:
    one = lane()
    one.feed(T0, T0 + 5 * S)
    waiting = one.schedule.jobs_waiting
    one.schedule.done(np.zeros(1, np.uint32))
    assert one.schedule.jobs_waiting == waiting - 1
    assert one.schedule.lanes["jobs"][0] == waiting - 1


def test_a_command_stands_between_the_measurements_before_and_after_it() -> None:
    one = lane()
    one.feed(T0 + 1, T0 + S // 2, T0 + 3 * S // 4)
    one.order("pause", T0 + S // 2)
    assert one.jobs == [
        Job("partial", T0 + S // 2, [T0 + 1, T0 + S // 2]),
        Job("order", T0 + S // 2, []),
    ]
    assert one.held == 1


def test_a_start_far_from_the_last_measurement_begins_the_lane_anew() -> None:
    one = lane(recorded=False)
    one.feed(0, arrived_ns=T0)
    one.order("start", T0 - 3600 * S)
    assert one.watermark_ns == T0 - 3600 * S
    assert [job.kind for job in one.jobs] == ["order"]


@pytest.mark.parametrize("action", ["start", "pause", "resume", "lap", "stop"])
@pytest.mark.parametrize("back_s", [10, 520, 600])
def test_a_command_that_comes_late_takes_effect_now_and_turns_no_live_time_back(
    action: str, back_s: int
) -> None:
    one = lane(recorded=False)
    one.feed(0, arrived_ns=T0)
    one.feed(S // 2, arrived_ns=T0 + S // 2)
    one.order(action, T0 - back_s * S)
    assert [job.due_ns for job in one.jobs if job.kind == "order"] == [T0 + S // 2]
    assert (one.watermark_ns, int(one.schedule.lanes["due_ns"][0])) == (T0 + S // 2, T0 + S)


def test_a_command_of_a_moment_ago_takes_effect_at_its_time() -> None:
    one = lane()
    one.feed(T0)
    one.order("start", T0 - 9 * S)
    assert [job.due_ns for job in one.jobs if job.kind == "order"] == [T0 - 9 * S]
    assert one.watermark_ns == T0


def test_a_recording_may_start_again_from_its_begin() -> None:
    one = lane()
    one.feed(T0)
    one.order("start", T0 - 60 * S)
    assert one.watermark_ns == T0 - 60 * S
    assert one.jobs == [Job("order", T0 - 60 * S, [])]


def test_time_passes_for_live_athletes_and_not_for_recordings() -> None:
    for recorded in (False, True):
        one = lane(recorded=recorded)
        one.feed(T0, arrived_ns=T0)
        for due in one.schedule.pass_time(T0 + 3 * S + lib.KF_WAIT_NS):
            assert not recorded
            assert [int(job["due_ns"]) for job in due.jobs] == [T0 + S, T0 + 2 * S, T0 + 3 * S]
        assert one.schedule.jobs_waiting == (0 if recorded else 3)


def test_due_times_lie_on_the_grid_of_the_phase() -> None:
    one = OneLane("somebody")
    one.feed(*[T0 + each * S // 3 for each in range(20)])
    assert len(one.jobs) >= 6
    assert {(job.due_ns - one.phase_ns) % STEP_NS for job in one.jobs} == {0}
