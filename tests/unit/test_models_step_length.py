"""How long a step is, is learnt while satellites are good, and used where there are none."""

import numpy as np
import pytest

from fusion.athletes import Athletes
from fusion.measurements import Source
from fusion.models import step_length
from tests.support.athlete_table import START_NS, athlete, fix, second, step

SPM, HEIGHT_M = 180.0, 1.75
USUAL_MPS = SPM / 60.0 * float(step_length.usual(np.array([SPM]), np.array([HEIGHT_M]))[0])


def outdoors(table: Athletes, begin: int, end: int, speed_mps: float, spm: float = SPM) -> None:
    """Run east under satellites, with a device that counts steps."""
    for t in range(begin, end):
        windows = second(t, interval_s=60.0 / spm)
        windows[0] = (*windows[0][:8], 3, *windows[0][9:])
        step(table, t, gnss=[fix(t, speed_mps * t, speed_mps=speed_mps)], windows=windows)


def indoors(table: Athletes, begin: int, end: int) -> float:
    """Run on without satellites; return by how much the distance rises, m."""
    before = table.totals(0)["distance_m"]
    for t in range(begin, end):
        windows = second(t, interval_s=60.0 / SPM)
        windows[0] = (*windows[0][:8], 3, *windows[0][9:])
        live = step(table, t, windows=windows)
    assert live["distance"].source[0] in (Source.GNSS, Source.IMU)
    return table.totals(0)["distance_m"] - before


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_the_factor_of_a_gait_is_learnt_and_the_other_gait_is_left(factor: float) -> None:
    table = athlete()
    outdoors(table, 1, 200, factor * USUAL_MPS)
    assert table.state["step_factor"][0, 1] == pytest.approx(factor, rel=0.03)
    assert table.state["step_factor"][0, 0] == 1.0
    assert table.state["step_var"][0, 1] < 0.06**2
    assert table.state["step_var"][0, 0] == step_length.PRIOR_SIGMA**2


def test_what_is_learnt_makes_the_way_in_a_tunnel_and_narrows_its_sigma() -> None:
    speed = 1.2 * USUAL_MPS
    fresh, learnt = athlete(), athlete()
    outdoors(learnt, 1, 200, speed)
    outdoors(fresh, 1, 12, speed)
    fresh.state["step_factor"][0] = 1.0
    fresh.state["step_var"][0] = step_length.PRIOR_SIGMA**2
    sigma = [table.state["dist_fill_sigma_m"][0] for table in (fresh, learnt)]
    before, after = indoors(fresh, 12, 72), indoors(learnt, 200, 260)
    assert before == pytest.approx(60 * USUAL_MPS, rel=0.02)
    assert after == pytest.approx(60 * speed, rel=0.04)
    wider, narrower = (
        table.state["dist_fill_sigma_m"][0] - s for table, s in zip((fresh, learnt), sigma, strict=True)
    )
    assert narrower < 0.75 * wider


def test_the_factor_is_the_athletes_it_outlives_the_workout_and_is_in_the_state() -> None:
    table = athlete()
    outdoors(table, 1, 100, 1.2 * USUAL_MPS)
    learnt = table.state["step_factor"][0, 1]
    table.end(0, START_NS + 100 * 10**9)
    other = Athletes()
    other.restore(other.add(), table.snapshot(0))
    assert other.state["step_factor"][0, 1] == learnt > 1.1


def test_a_way_that_is_not_known_and_a_window_of_both_gaits_teach_nothing() -> None:
    state = athlete().state
    rows, ten, accuracy = np.array([0]), np.array([10.0]), np.array([5.0])

    def window(usual_m: float, run_m: float, way_m: float) -> None:
        state["step_usual_m"][0], state["step_run_m"][0] = usual_m, run_m
        step_length.learn(state, rows, np.array([way_m]), ten, accuracy)
        assert all(state[name][0] == 0.0 for name in step_length.WINDOW)

    for case in ((20.0, 20.0, np.nan), (20.0, 10.0, 25.0), (0.0, 0.0, 25.0), (20.0, 20.0, 0.0)):
        window(*case)
    assert (state["step_factor"][0] == 1.0).all()
    window(20.0, 20.0, 400.0)  # a car's way
    assert state["step_factor"][0, 1] <= step_length.FACTOR_RANGE[1]


def test_the_straight_line_across_a_tunnel_corrects_steps_and_a_bend_does_not() -> None:
    speed = USUAL_MPS
    for end_m, expected in ((0.9 * 60 * speed, 0.92), (0.3 * 60 * speed, 1.0)):
        table = athlete()
        outdoors(table, 1, 60, speed)
        at = speed * 59
        before = table.totals(0)["distance_m"]
        indoors(table, 60, 119)
        step(table, 119, gnss=[fix(119, at + end_m, speed_mps=speed)])
        for t in range(120, 150):
            step(table, t, gnss=[fix(t, at + end_m + speed * (t - 119), speed_mps=speed)])
        gone = table.totals(0)["distance_m"] - before - 30 * speed
        assert gone == pytest.approx(expected * 60 * speed, rel=0.05)
