"""Where fixes are missing, the way is counted once, whoever tells it."""

import pytest

from fusion.measurements import Source, Sport
from tests.support.athlete_table import START_NS, athlete, fix, second, step


@pytest.mark.parametrize("hole_s", [9, 11, 12, 20, 28, 31, 33, 60])
def test_a_hole_that_a_wheel_fills_is_counted_once(hole_s: int) -> None:
    table = athlete(Sport.RIDE)
    for t in range(1, 201):
        gnss = [] if 100 < t < 100 + hole_s else [fix(t, 8.0 * t, speed_mps=8.0)]
        live = step(table, t, gnss=gnss, speeds=[(t, 8.0, int(Source.WHEEL))])
    assert live["distance"].value[0] == pytest.approx(1600.0, abs=4.0)
    assert table.end(0, START_NS + 200 * 10**9).values["distance_m"] == pytest.approx(1600.0, abs=4.0)


@pytest.mark.parametrize("hole_s", [9, 12, 20, 28, 33])
def test_a_hole_that_nobody_fills_is_crossed_once(hole_s: int) -> None:
    table = athlete(Sport.RIDE)
    for t in range(1, 201):
        gnss = [] if 100 < t < 100 + hole_s else [fix(t, 8.0 * t, speed_mps=8.0)]
        live = step(table, t, gnss=gnss)
    assert live["distance"].value[0] == pytest.approx(1600.0, abs=4.0)
    assert table.end(0, START_NS + 200 * 10**9).values["distance_m"] == pytest.approx(1600.0, abs=4.0)


@pytest.mark.parametrize("hole_s", [12, 28, 40])
def test_a_hole_that_steps_fill_is_counted_once(hole_s: int) -> None:
    table = athlete(Sport.RUN)
    for t in range(1, 201):
        gnss = [] if 100 < t < 100 + hole_s else [fix(t, 3.0 * t, speed_mps=3.0)]
        windows = [(*one[:-3], int((4 * t + i) % 1.5 < 1), 0.375, 64) for i, one in enumerate(second(t))]
        live = step(table, t, gnss=gnss, windows=windows)
    assert abs(live["distance"].value[0] - 600.0) < 2.0 * live["distance"].sigma[0]
    summary = table.end(0, START_NS + 200 * 10**9)
    assert summary.values["distance_m"] == pytest.approx(live["distance"].value[0], abs=3.0)
