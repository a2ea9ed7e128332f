"""Both times run together, and UTC does not jump by itself."""

import time

import pytest

from server.clock import SystemClock
from tests.support.clocks import ManualClock


def test_utc_is_the_systems_at_first_and_runs_with_the_monotonic_clock() -> None:
    clock = SystemClock()
    assert abs(clock.utc_ns() - time.time_ns()) < 50_000_000
    before = clock.utc_ns() - clock.monotonic_ns()
    after = clock.utc_ns() - clock.monotonic_ns()
    assert abs(after - before) < 50_000_000


def test_a_step_of_the_systems_clock_is_taken_over_only_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    real = time.time_ns
    hour_ns = 3_600_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: real() + hour_ns)
    assert abs(clock.utc_ns() - real()) < 50_000_000
    assert abs(clock.error_ns() - hour_ns) < 50_000_000
    assert abs(clock.anchor() - hour_ns) < 50_000_000
    assert abs(clock.utc_ns() - real() - hour_ns) < 50_000_000


def test_a_manual_clock_stands_until_it_is_told_to_move() -> None:
    clock = ManualClock()
    start = (clock.monotonic_ns(), clock.utc_ns())
    assert (clock.monotonic_ns(), clock.utc_ns()) == start
    clock.advance(5)
    assert (clock.monotonic_ns(), clock.utc_ns()) == (start[0] + 5, start[1] + 5)
