"""What the way of telling the effort must not change: the energy that it costs."""

import numpy as np
import pytest

from fusion.measurements import Sport
from fusion.metrics import energy
from tests.support.athlete_table import athlete


def watts(sport: Sport, speed_mps: float) -> float:
    table = athlete(sport)
    return float(energy.motion_watts(table.state[:1], np.array([speed_mps]), np.array([0.0]))[0])


def test_a_ride_costs_the_same_by_meter_and_by_model() -> None:
    air = 0.5 * energy.AIR_KG_M3 * energy.DRAG_AREA_M2 * 8.0**2
    pedal_w = ((75.0 + energy.BIKE_KG) * energy.GRAVITY * energy.ROLLING + air) * 8.0
    assert watts(Sport.RIDE, 8.0) == pytest.approx(pedal_w / energy.EFFICIENCY)  # gross: rest is in it


def test_a_rider_who_stands_rests() -> None:
    assert watts(Sport.RIDE, 0.0) == pytest.approx(75.0 * energy.REST_W_PER_KG)


@pytest.mark.parametrize("sport", [Sport.RUN, Sport.WALK, Sport.HIKE, Sport.OTHER])
def test_the_cost_of_going_does_not_jump_with_speed(sport: Sport) -> None:
    costs = np.array([watts(sport, v) for v in np.arange(0.5, 4.5, 0.02)])
    assert np.all(np.diff(costs) > 0.0)
    assert np.all(costs[1:] < 1.05 * costs[:-1])
