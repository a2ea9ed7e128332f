"""Misses are kept with what the server was doing; a stalled loop is as late as it was."""

import gc

import numpy as np

from server import config
from server.deadlines import Deadlines
from server.deadlines.history import KEPT, TOLD, Collections, History
from server.deadlines.lag import PERIOD_NS, LoopLag
from server.deadlines.report import Doing
from tests.support.clocks import ManualClock

MS = 1_000_000


def test_a_miss_is_told_with_what_the_server_was_doing() -> None:
    deadlines = Deadlines(config.Deadlines(fuse_ms=2.0))
    history = deadlines.history
    history.doing.waiting, history.doing.rss_mib = 7, 81.5
    history.begin_tick(5_000, 40)
    history.doing.steps, history.doing.jobs = 12, 3
    deadlines.observe("fuse", 3 * MS)
    deadlines.observe("decode", 1)
    (miss,) = deadlines.report(6_000).history
    assert (miss.t_ms, miss.stage, miss.count, miss.took_ms, miss.budget_ms) == (5_000, "fuse", 1, 3.0, 2.0)
    assert miss.doing == Doing(40, 7, 12, 3, 0.0, 81.5, "full")


def test_the_misses_of_a_stage_in_one_tick_are_one_entry_with_the_worst() -> None:
    deadlines = Deadlines(config.Deadlines())
    for tick in range(2):
        deadlines.history.begin_tick(tick, tick)
        deadlines.observe_many("end_to_end", np.array([60, 10, 90, 70]) * MS)
        deadlines.observe("end_to_end", 80 * MS)
        deadlines.observe("publish", 11 * MS)
    told = deadlines.report(2).history
    assert [(miss.t_ms, miss.stage, miss.count, miss.took_ms) for miss in told] == [
        (1, "publish", 1, 11.0),
        (1, "end_to_end", 4, 90.0),
        (0, "publish", 1, 11.0),
        (0, "end_to_end", 4, 90.0),
    ]


def test_what_is_kept_and_told_is_bounded_and_the_newest() -> None:
    history = History()
    for tick in range(2 * KEPT):
        history.begin_tick(tick, 0)
        history.add("fuse", 1, 30 * MS, 25 * MS)
    assert [miss.t_ms for miss in history.newest()] == [2 * KEPT - 1 - place for place in range(TOLD)]
    assert len(history.newest(10 * KEPT)) == KEPT


def test_a_garbage_collection_in_a_tick_is_told_of_its_misses() -> None:
    clock = ManualClock()
    history = History()

    def ticking() -> int:
        clock.advance(5 * MS)
        return clock.monotonic_ns()

    with Collections(ticking, history.doing) as collections:
        history.begin_tick(1, 0)
        gc.collect()
        history.add("fuse", 1, 30 * MS, 25 * MS)
        history.begin_tick(2, 0)
        history.add("fuse", 1, 30 * MS, 25 * MS)
    gc.collect()
    assert [miss.doing.gc_ms for miss in history.newest()] == [0.0, 5.0 * collections.count]
    assert collections.taken_ns == 5 * MS * collections.count


def test_what_outlives_a_long_full_collection_is_looked_at_again_only_after_a_thaw() -> None:
    gc.unfreeze()
    clock, step_ms = ManualClock(), 1

    def ticking() -> int:
        clock.advance(step_ms * MS)
        return clock.monotonic_ns()

    with Collections(ticking, History().doing) as collections:
        gc.collect()
        assert gc.get_freeze_count() == 0
        step_ms = 6
        gc.collect(0)
        assert gc.get_freeze_count() == 0
        gc.collect()
        assert gc.get_freeze_count() > 0
        collections.thaw()
        assert gc.get_freeze_count() == 0
        gc.collect()
    assert gc.get_freeze_count() == 0


def test_a_timer_in_time_is_not_late() -> None:
    deadlines = Deadlines(config.Deadlines())
    lag = LoopLag(deadlines, lambda: 0)
    assert lag.fire(1_000 * MS, 1_000 * MS) == 1_000 * MS + PERIOD_NS
    assert lag.fire(2_000 * MS, 1_999 * MS) == 2_000 * MS + PERIOD_NS
    told = deadlines.report(0).stages["loop"].interval
    assert (told.count, told.misses, told.max_ms) == (2, 0, 0.0)


def test_all_firings_that_a_stall_held_up_are_late() -> None:
    deadlines = Deadlines(config.Deadlines())
    lag = LoopLag(deadlines, lambda: 0)
    assert lag.fire(1_000 * MS, 1_250 * MS) == 1_300 * MS
    told = deadlines.report(0).stages["loop"].interval
    assert (told.count, told.misses, told.max_ms) == (3, 2, 250.0)
    assert lag.turned_ns == 1_250 * MS


def test_a_machine_that_slept_for_an_hour_fills_no_memory() -> None:
    deadlines = Deadlines(config.Deadlines())
    assert LoopLag(deadlines, lambda: 0).fire(0, 3_600_000 * MS) == 3_600_000 * MS + PERIOD_NS
    assert deadlines.report(0).stages["loop"].interval.count == 600
