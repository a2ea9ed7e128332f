"""Across a long gap between fixes moving time and energy follow the way that distance counts."""

import numpy as np
import pytest

from fusion.athletes import Athletes
from fusion.measurements import Source, Sport
from tests.support.athlete_table import START_NS, athlete, errors, fix, step

S = 10**9


def walk(every_s: int, fixes: int = 60, speed_mps: float = 1.4, doppler_mps: float = np.nan) -> Athletes:
    """Return a table of a walk with a fix so often, the last one at ``every_s * fixes``."""
    table, before = athlete(Sport.WALK), 0.0
    for t in range(0, every_s * fixes + 1, every_s):
        moving = step(table, t, gnss=[fix(t, speed_mps * t, speed_mps=doppler_mps)])["moving"].value[0]
        assert before <= moving <= t + 1e-6
        before = moving
    return table


@pytest.mark.parametrize("doppler_mps", [np.nan, 1.4])
@pytest.mark.parametrize("every_s", [5, 20, 30, 60, 290])
def test_a_walk_moves_all_the_time_however_far_its_fixes_are_apart(every_s: int, doppler_mps: float) -> None:
    seconds = 60 * every_s
    summary = walk(every_s, doppler_mps=doppler_mps).end(0, START_NS + seconds * S)
    assert summary.values["moving_s"] == pytest.approx(seconds, rel=0.02)
    assert summary.values["speed_mean_mps"] == pytest.approx(1.4, rel=0.03)
    assert summary.values["energy_kcal"] == pytest.approx(seconds * 0.0835, rel=0.06)
    assert summary.values["speed_max_mps"] == pytest.approx(1.4, rel=0.06)


def test_the_sigmas_of_a_walk_tell_that_nobody_heard_most_of_it() -> None:
    dense, sparse = walk(5).end(0, START_NS + 300 * S), walk(60).end(0, START_NS + 3600 * S)
    for name, share in (("moving_s", 0.05), ("energy_kcal", 0.35)):
        assert sparse.sigma[name] / (sparse.values[name] or 1.0) > share
        assert sparse.sigma[name] / (sparse.values[name] or 1.0) > dense.sigma[name] / (
            dense.values[name] or 1.0
        )


def test_a_device_that_comes_back_at_the_same_place_did_not_move() -> None:
    table = walk(1)
    step(table, 400, gnss=[fix(400, 1.4 * 60 + 5.0)])
    live = step(table, 401, gnss=[fix(401, 1.4 * 60 + 5.0)])
    assert live["moving"].value[0] < 65.0
    assert live["moving"].sigma[0] > 100.0
    rest_w = 75.0 * 1.162
    assert live["energy"].value[0] == pytest.approx((60 * 349.0 + 340 * rest_w) / 4184.0, rel=0.1)


def test_hops_of_a_fix_every_half_minute_are_no_moving() -> None:
    table, rng = athlete(Sport.WALK), np.random.default_rng(3)
    for t in range(0, 3601, 31):
        live = step(table, t, gnss=[fix(t, float(rng.normal(0.0, 4.0)))])
    assert live["moving"].value[0] < 0.1 * 3600
    assert errors(live["moving"], 0.0) < 2.0


def test_a_pause_in_a_gap_does_not_move() -> None:
    table = walk(1)
    table.pause(0, START_NS + 65 * S)
    table.resume(0, START_NS + 395 * S)
    live = step(table, 400, gnss=[fix(400, 560.0)])
    assert live["moving"].value[0] <= 70.0


def test_a_wheel_that_stood_in_a_gap_speaks_before_the_mean_speed() -> None:
    table = athlete(Sport.RIDE)
    for t in range(61):
        live = step(table, t, gnss=[fix(t, 5.0 * t, speed_mps=5.0)])
    for t in range(61, 301):
        before = step(table, t, speeds=[(t, 0.0, int(Source.WHEEL))])
    live = step(table, 301, gnss=[fix(301, 900.0, speed_mps=5.0)])
    assert live["moving"].value[0] <= before["moving"].value[0] + 15.0


def test_power_that_was_told_in_a_gap_is_not_counted_again() -> None:
    table = athlete(Sport.RIDE)
    step(table, 1, gnss=[fix(1, 0.0)])
    for t in range(2, 301):
        before = step(table, t, power=[(t, 200.0)])
    after = step(table, 300.5, gnss=[fix(300.5, 2400.0)])
    assert after["energy"].value[0] == before["energy"].value[0]
    assert after["energy"].source[0] == Source.POWER
    assert after["moving"].value[0] <= 300.5
