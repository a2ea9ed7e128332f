"""Floors: stairs are counted, by their height; lifts, hills of noise and pauses are not."""

import numpy as np
import pytest

from fusion.athletes import Athletes
from fusion.measurements import Estimate, Reason, Sport
from tests.support.athlete_table import START_NS, athlete, step, window
from tests.unit.test_models_barometer import pressure_pa

STAIRS_MPS = 0.3
CADENCE_HZ = 1.75


def told(
    heights_m: list[float], walks: list[bool], *, noise_m: float = 0.1, table: Athletes | None = None
) -> Estimate:
    """Return the floors of heights that a barometer tells at 1 Hz, with windows that hold steps or none."""
    rng = np.random.default_rng(3)
    table = table or athlete(Sport.WALK)
    steps = 0.0
    for i, (height, walking) in enumerate(zip(heights_m, walks, strict=True)):
        t = i + 1.0
        windows = []
        for k in range(4):
            before = int(steps)
            steps += 0.25 * CADENCE_HZ * walking
            windows.append(window(t - 0.75 + 0.25 * k, int(steps) - before, 0.57 * walking, flags=0))
        pascal = float(pressure_pa(np.array(height + noise_m * rng.normal())))
        live = step(table, t, windows=windows, baro=[(t, pascal)])
    return live["floors"]


def ride(rise_m: float, speed_mps: float) -> tuple[list[float], list[bool]]:
    """Walk to a lift, stand 4 s, ride, stand 2 s, and walk away."""
    heights, walks = [0.0] * 34, [True] * 30 + [False] * 4
    while heights[-1] < rise_m:
        heights.append(min(heights[-1] + speed_mps, rise_m))
        walks.append(False)
    return heights + [rise_m] * 32, walks + [False] * 2 + [True] * 30


def flights(count: int, storey_m: float, rest_s: int) -> tuple[list[float], list[bool]]:
    """Climb storeys of stairs, with a level way between them."""
    heights = [0.0] * 20
    for _ in range(count):
        top = heights[-1] + storey_m
        while heights[-1] < top - 1e-9:
            heights.append(min(heights[-1] + STAIRS_MPS, top))
        heights += [top] * rest_s
    return heights, [True] * len(heights)


@pytest.mark.parametrize("storey_m", [2.8, 3.0, 3.3])
@pytest.mark.parametrize("count", [1, 3, 6])
def test_storeys_with_a_landing_are_counted_one_by_one(count: int, storey_m: float) -> None:
    floors = told(*flights(count, storey_m, 12))
    assert floors.value[0] == pytest.approx(count, abs=1 if count * storey_m >= 15.0 else 0)


def test_a_tower_without_a_rest_is_metres_over_three() -> None:
    floors = told(*flights(1, 60.0, 10))
    assert abs(floors.value[0] - 20.0) <= 1.0


@pytest.mark.parametrize("rise_m", [3.0, 4.0, 8.0, 30.0])
@pytest.mark.parametrize("speed_mps", [1.0, 1.6, 2.5])
def test_a_lift_is_no_climb(rise_m: float, speed_mps: float) -> None:
    assert told(*ride(rise_m, speed_mps)).value[0] == 0.0


def test_a_lift_down_and_stairs_up_again_are_a_climb() -> None:
    down, walks = ride(9.0, 1.5)
    up, stairs = flights(3, 3.0, 10)
    floors = told([-h for h in down] + [h - 9.0 for h in up], walks + stairs)
    assert floors.value[0] == 3.0


def test_a_hill_that_takes_longer_is_no_floor() -> None:
    heights = list(np.linspace(0.0, 20.0, 450))  # 2 m in 45 s
    assert told(heights, [True] * 450).value[0] == 0.0


def test_walking_on_the_flat_is_none_and_down_neither() -> None:
    assert told([5.0] * 300, [True] * 300, noise_m=0.3).value[0] == 0.0
    heights, walks = flights(3, 3.0, 5)
    assert told([-h for h in heights], walks).value[0] == 0.0


def test_without_a_barometer_or_steps_there_is_no_value() -> None:
    table = athlete()
    assert step(table, 1.0, windows=[window(1.0)])["floors"].reason[0] == Reason.NO_SOURCE
    table = athlete()
    assert step(table, 1.0, baro=[(1.0, 1e5)])["floors"].reason[0] == Reason.NO_SOURCE
    assert table.end(0, START_NS + 10**9).reasons["floors"] == "no_source"


def test_the_summary_counts_what_ends_at_the_top() -> None:
    table = athlete(Sport.WALK)
    heights, walks = flights(2, 3.2, 1)
    told(heights, walks, table=table)
    assert table.end(0, START_NS + (len(heights) + 1) * 10**9).values["floors"] == 2.0


def test_a_jump_of_the_scale_is_no_floor() -> None:
    assert told([0.0] * 30 + [200.0] * 60, [True] * 90).value[0] == 0.0
