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


@pytest.mark.parametrize(("step_s", "followed_s"), [(3600, 3600), (0.5, 0), (-3600, 0)])
def test_a_systems_clock_that_goes_ahead_is_followed_and_one_that_goes_back_is_not(
    step_s: float, followed_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SystemClock()
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + int(step_s * 1e9))
    assert abs(clock.utc_ns() - real()) < 50_000_000, "not by itself"
    assert clock.follow() == pytest.approx(step_s * 1e9, abs=50_000_000)
    assert clock.utc_ns() - real() == pytest.approx(followed_s * 1e9, abs=50_000_000)
    assert clock.system_utc_ns() - real() == pytest.approx(step_s * 1e9, abs=50_000_000)


def test_a_manual_clock_stands_until_it_is_told_to_move() -> None:
    clock = ManualClock()
    start = (clock.monotonic_ns(), clock.utc_ns())
    assert (clock.monotonic_ns(), clock.utc_ns()) == start
    clock.advance(5)
    assert (clock.monotonic_ns(), clock.utc_ns()) == (start[0] + 5, start[1] + 5)
