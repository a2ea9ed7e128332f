"""Standing and slow ways without Doppler speed: noise of fixes is no way, and a slow way is no noise."""

from typing import NamedTuple

import numpy as np
import pytest

from fusion.athletes import Athletes
from fusion.kalman import Floats
from fusion.measurements import Measurements, Source, Sport
from fusion.models import plane
from tests.support.athlete_table import START_NS, Told, athlete, fix, second, step

ROWS = 12
PER_LON_M, PER_LAT_M = (one[0] for one in plane.metres_per_degree(np.array([46.0])))


class Way(NamedTuple):
    """What came of n athletes on one way: live distances over time, (m, n), and summaries, m."""

    live_m: Floats
    live_sigma_m: Floats
    found_m: Floats
    sigma_m: Floats
    moving_s: Floats


def white(t_s: Floats, sigma_m: float, rng: np.random.Generator) -> Floats:
    return sigma_m * rng.normal(size=(len(t_s), 2, ROWS))


def wandering(t_s: Floats, sigma_m: float, rng: np.random.Generator) -> Floats:
    """Return errors with a correlation time of 40 s."""
    errors = white(t_s, sigma_m, rng)
    kept = np.exp(-np.diff(t_s) / 40.0)
    for i, share in enumerate(kept):
        errors[i + 1] = share * errors[i] + np.sqrt(1.0 - share * share) * errors[i + 1]
    return errors


def went(
    t_s: Floats,
    place_m: Floats,
    errors_m: Floats,
    sport: Sport = Sport.WALK,
    accuracy_m: float = 5.0,
    doppler_mps: Floats | None = None,
) -> Way:
    """Let n athletes go to places, (m, 2) east and north, with errors of their own, (m, 2, n).

    Doppler speed, (m,), is told where it is given.
    """
    table = Athletes()
    for _ in range(ROWS):
        table.begin(table.add(), START_NS, sport)
    told = []
    speeds = np.full(len(t_s), np.nan) if doppler_mps is None else doppler_mps
    for t, at, mps in zip(t_s, place_m[:, :, None] + errors_m, speeds, strict=True):
        now_ns = START_NS + round(t * 1e9)
        nan = np.nan
        fixes = [
            (row, now_ns, 0, 46.0 + n / PER_LAT_M, 8.0 + e / PER_LON_M, nan, mps, nan, accuracy_m, nan, nan)
            for row, (e, n) in enumerate(at.T)
        ]
        live = table.step(np.arange(ROWS), np.full(ROWS, now_ns), Measurements.of(gnss=fixes))
        told.append((live["distance"].value, live["distance"].sigma, live["moving"].value))
    ends = [table.end(row, START_NS + round(t_s[-1] * 1e9)) for row in range(ROWS)]
    found = np.array([one.values["distance_m"] for one in ends], dtype=float)
    live_m, live_sigma_m, moving_s = np.array(told).transpose(1, 0, 2)
    return Way(
        live_m, live_sigma_m[-1], found, np.array([one.sigma["distance_m"] for one in ends]), moving_s[-1]
    )


def bends(t_s: Floats, speed_mps: Floats, radius_m: float = 80.0) -> tuple[float, Floats]:
    """Return the length of a way along a circle, and its places."""
    way = np.cumsum(speed_mps * np.diff(t_s, prepend=t_s[0]))
    angle = way / radius_m
    return float(way[-1]), radius_m * np.array([np.sin(angle), 1.0 - np.cos(angle)]).T


@pytest.mark.parametrize("sport", [Sport.RUN, Sport.RIDE, Sport.OTHER])
@pytest.mark.parametrize(
    ("noise", "sigma_m", "most_m"), [(white, 3.0, 20.0), (wandering, 3.0, 20.0), (wandering, 5.0, 40.0)]
)
def test_standing_for_five_minutes_is_no_way(
    noise: object, sigma_m: float, most_m: float, sport: Sport
) -> None:
    """Fixes as raw as they were measured; their hops add up to 300 m and more."""
    rng = np.random.default_rng(21)
    t = np.arange(1.0, 301.0)
    assert callable(noise)
    errors = noise(t, sigma_m, rng)
    assert np.hypot(*np.diff(errors, axis=0).transpose(1, 0, 2)).sum(axis=0).min() > 200.0
    way = went(t, np.zeros((len(t), 2)), errors, sport)
    assert way.found_m.mean() < most_m
    assert np.mean(way.found_m < 2.0 * way.sigma_m) >= 0.7
    assert np.mean(way.live_m[-1] < 2.0 * way.live_sigma_m) >= 0.7
    assert way.moving_s.mean() < 120.0


@pytest.mark.parametrize("noise_m", [0.3, 1.0, 3.0])
def test_standing_where_doppler_speed_says_nearly_nothing_is_no_way(noise_m: float) -> None:
    """A reading near zero may be the receiver's floor, so fixes are asked; 3 m of noise made 460 m."""
    rng = np.random.default_rng(5)
    t_s = np.arange(900.0)
    near_zero = np.abs(rng.normal(0.0, 0.1, len(t_s)))
    way = went(t_s, np.zeros((len(t_s), 2)), white(t_s, noise_m, rng), doppler_mps=near_zero)
    assert way.live_m[-1].max() < 25.0
    assert way.found_m.max() < 40.0


def test_noise_that_moves_fixes_by_metres_a_second_is_in_the_sigma() -> None:
    """Eight metres of raw noise hide a rest for a minute and more."""
    rng = np.random.default_rng(22)
    t = np.arange(1.0, 301.0)
    way = went(t, np.zeros((len(t), 2)), wandering(t, 8.0, rng), Sport.RUN, 8.0)
    assert way.found_m.mean() < 100.0
    assert np.mean(way.found_m < 2.0 * way.sigma_m) >= 0.8
    total, place = bends(t, np.full(len(t), 1.4))
    way = went(t, place, wandering(t, 5.0, rng))
    assert (np.abs(way.found_m - total) < 2.0 * way.sigma_m).all()


@pytest.mark.parametrize(("every_s", "noise_m"), [(1.0, 0.3), (4.0, 0.3), (4.0, 1.0)])
def test_a_slow_hike_is_not_taken_for_rest(every_s: float, noise_m: float) -> None:
    rng = np.random.default_rng(23)
    t = np.arange(1.0, 601.0, every_s)
    total, place = bends(t, np.full(len(t), 0.6), radius_m=30.0)
    way = went(t, place, wandering(t, noise_m, rng) + white(t, 0.1, rng), Sport.HIKE)
    assert (way.found_m > 0.97 * total).all()
    assert (way.live_m[-1] > 0.97 * total).all()


def test_going_to_and_fro_is_not_taken_for_rest() -> None:
    rng = np.random.default_rng(24)
    t = np.arange(1.0, 401.0)
    east = 25.0 - np.abs((t - 1.0) % 50.0 - 25.0)
    way = went(t, np.array([east, 0.0 * t]).T, wandering(t, 3.0, rng))
    assert (way.found_m > 0.95 * 399.0).all()


@pytest.mark.parametrize("every_s", [1.0, 4.0])
def test_a_halt_is_left_out_and_the_way_after_it_is_whole(every_s: float) -> None:
    rng = np.random.default_rng(25)
    t = np.arange(1.0, 541.0, every_s)
    total, place = bends(t, np.where((t > 180.0) & (t < 360.0), 0.0, 1.4))
    for noise_m in (0.3, 3.0):
        way = went(t, place, wandering(t, noise_m, rng))
        assert (np.abs(way.found_m - total) < np.maximum(2.0 * way.sigma_m, 0.06 * total)).all()
        assert way.found_m.mean() == pytest.approx(total, rel=0.06)


def test_a_total_does_not_fall_where_rest_is_known_late() -> None:
    rng = np.random.default_rng(26)
    t = np.arange(1.0, 301.0)
    way = went(t, np.zeros((len(t), 2)), wandering(t, 4.0, rng))
    assert (np.diff(way.live_m, axis=0) >= 0.0).all()


@pytest.mark.parametrize("sport", [Sport.RUN, Sport.WALK, Sport.HIKE])
def test_a_still_body_on_foot_goes_nowhere_whatever_the_fixes(sport: Sport) -> None:
    rng = np.random.default_rng(27)
    t = np.arange(1.0, 201.0)
    east = wandering(t, 5.0, rng)[:, 0, 0]
    table = athlete(sport)
    for now, at in zip(t, east, strict=True):
        step(table, now, gnss=[fix(now, at)], windows=second(now, accel_rms=0.02, gyro_rms=0.01))
    found = table.end(0, START_NS + 200 * 10**9).values["distance_m"]
    assert found is not None
    assert found < 15.0


@pytest.mark.parametrize(
    ("amplitude_m", "mps", "spm", "expected_m"),
    [(3.0, 0.0, 0.0, 0.0), (0.0, 1.2, 0.0, 360.0), (0.0, 0.8, 110.0, 240.0), (0.0, 3.0, 0.0, 900.0)],
)
def test_who_steps_not_and_hardly_moves_stands_and_who_moves_without_steps_goes(
    amplitude_m: float, mps: float, spm: float, expected_m: float
) -> None:
    """Slow wander of a receiver that smooths its fixes is as fast as a slow hike; hands may be at rest."""
    table = athlete(Sport.HIKE)
    for t in range(301):
        east = mps * t + amplitude_m * np.sin(2.0 * np.pi * t / 60.0)
        told = step(table, t, gnss=[fix(t, east)], cadence=[(t, np.nan, spm)])["distance"]
    found = table.end(0, START_NS + 300 * 10**9).values["distance_m"]
    assert told.value[0] == pytest.approx(expected_m, rel=0.05, abs=12.0)
    assert found == pytest.approx(expected_m, rel=0.03, abs=12.0)


@pytest.mark.parametrize("also", ["nothing", "pod", "steps"])
def test_a_slow_way_without_told_steps_is_no_rest(also: str) -> None:
    """A pram: hands at rest. The filter's speed, which a rest holds at zero, is no witness."""
    table, mps = athlete(Sport.WALK), 0.4
    for t in range(1, 361):
        more: dict[str, list[Told]] = {"speeds": [(t, mps, int(Source.FOOT))]} if also == "pod" else {}
        more |= {"windows": second(t, steps=1, interval_s=1.0)} if also == "steps" and t > 60 else {}
        more |= {"gnss": [fix(t, mps * max(t - 60, 0))], "cadence": [(t, np.nan, 0.0)]}
        told = step(table, t, row=0, device=0, **more)
    found = table.end(0, START_NS + 360 * 10**9).values["distance_m"]
    assert told["distance"].value[0] == pytest.approx(120.0, abs=6.0)
    assert found == pytest.approx(120.0, abs=6.0)


@pytest.mark.parametrize(("mps", "sigma_m"), [(0.8, 2.0), (1.2, 3.0)])
def test_among_noise_a_cadence_of_zero_takes_no_way_away(mps: float, sigma_m: float) -> None:
    rng = np.random.default_rng(31)
    tables, told = [athlete(Sport.WALK) for _ in range(2)], {}
    error_m = 0.0
    for t in range(1, 301):
        error_m = 0.9 * error_m + np.sqrt(1.0 - 0.9**2) * sigma_m * rng.normal()
        for spm, table in zip((np.nan, 0.0), tables, strict=True):
            told[spm] = step(table, t, gnss=[fix(t, mps * t + error_m)], cadence=[(t, np.nan, spm)])
    silent, stepless = (each["distance"].value[0] for each in told.values())
    assert stepless == pytest.approx(silent, rel=0.05)


def test_the_first_step_ends_a_rest_for_want_of_steps_and_nothing_of_the_way_is_lost() -> None:
    table = athlete(Sport.RUN)
    for t in range(121):
        step(table, t, gnss=[fix(t, 2.0 * np.sin(2.0 * np.pi * t / 60.0))], cadence=[(t, np.nan, 0.0)])
    assert table.state["rest_stepless"][0] == 1
    for t in range(121, 221):
        told = step(table, t, gnss=[fix(t, 3.0 * (t - 120))], cadence=[(t, np.nan, 160.0)])
        if t > 124:
            assert told["speed"].value[0] > 2.0
    assert told["distance"].value[0] == pytest.approx(300.0, abs=8.0)
    assert table.end(0, START_NS + 220 * 10**9).values["distance_m"] == pytest.approx(300.0, abs=8.0)


def test_who_turns_a_wheel_does_not_rest() -> None:
    """Rounds of a small hall: by fixes alone they are noise about a place."""
    table, east = athlete(Sport.RIDE), 3.0 * np.sin(np.arange(1.0, 301.0))
    for t, at in enumerate(east, 1):
        step(table, t, gnss=[fix(t, at)], speeds=[(t, 3.0, int(Source.WHEEL))])
        assert table.state["rest"][0] == 0


@pytest.mark.parametrize(("mps", "sport"), [(3.0, Sport.RUN), (15.0, Sport.RIDE)])
def test_a_receiver_that_tells_a_speed_of_zero_on_the_way_is_not_believed(mps: float, sport: Sport) -> None:
    rng = np.random.default_rng(6)
    t_s = np.arange(600.0)
    place = np.stack([mps * t_s, np.zeros(len(t_s))], axis=1)
    way = went(t_s, place, white(t_s, 0.3, rng), sport, doppler_mps=np.zeros(len(t_s)))
    assert way.live_m[-1] == pytest.approx(mps * t_s[-1], rel=0.06)
    assert way.found_m == pytest.approx(mps * t_s[-1], rel=0.06)
