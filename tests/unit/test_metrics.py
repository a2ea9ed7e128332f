"""Metrics against what is known: lines, hills, heart rates in closed form, pauses, silence."""

import subprocess
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from fusion.athletes import Athletes, Profile
from fusion.measurements import Estimate, Estimates, Measurements, Reason, Source, Sport
from fusion.metrics import METRICS, cadence
from fusion.metrics.climb import EXCESS, WANDER_M, Climb, advance
from fusion.metrics.metric import within
from fusion.models.altitude import height_of
from fusion.models.plane import metres_per_degree
from tests.support.athlete_table import START_NS, athlete, beat, errors, fix, second, step

NAMES = (
    "heart_rate heart_rate_zone steps cadence speed pace distance altitude ascent descent "
    "floors energy elapsed moving"
)


def run_east(
    table: Athletes, seconds: range, *, speed_mps: float = 3.0, noise_m: float = 0.0, told: bool = True
) -> Iterator[Estimates]:
    rng = np.random.default_rng(1)
    for t in seconds:
        east = speed_mps * t + noise_m * rng.normal()
        fixes = [fix(t, east, speed_mps=speed_mps if told else np.nan)]
        yield step(table, t, gnss=fixes)


def last(results: Iterator[Estimates]) -> Estimates:
    return list(results)[-1]


def test_the_metrics_are_those_that_live_publishes() -> None:
    assert [metric.name for metric in METRICS] == NAMES.split()
    assert all(metric.tolerance > 0 and metric.share >= 0 for metric in METRICS)
    assert list(step(athlete(), 1.0)) == NAMES.split()


def test_athletes_are_imported_without_filterpy() -> None:
    code = "import fusion.athletes, sys; sys.exit('filterpy' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("noise_m", [0.0, 1.0])
@pytest.mark.parametrize("told", [True, False])
def test_distance_along_a_line_is_its_length(noise_m: float, *, told: bool) -> None:
    table = athlete()
    live = last(run_east(table, range(601), noise_m=noise_m, told=told))["distance"]
    summary = table.end(0, START_NS + 600 * 10**9)
    found = summary.values["distance_m"]
    assert found is not None
    share = 0.005 if told or noise_m == 0.0 else 0.05  # raw fixes alone cannot tell noise from bends
    assert found == pytest.approx(1800.0, rel=share)
    assert live.value[0] == pytest.approx(1800.0, rel=max(share, 0.01) * 1.5)
    if told:
        assert abs(found - 1800.0) < 3 * summary.sigma["distance_m"]


def test_a_metre_is_a_metre_everywhere() -> None:
    lon, lat = metres_per_degree(np.array([0.0, 46.0, 89.9]))
    assert lat == pytest.approx([110_574.3, 111_151.0, 111_694.0], rel=1e-4)
    assert lon[0] == pytest.approx(111_319.5, rel=1e-5)


def test_the_date_line_and_a_long_way_north_are_no_jumps() -> None:
    table = athlete(Sport.RIDE)
    for t in range(300):
        lon = 179.9995 + 1e-4 * t
        told = (t, -17.0 + 1e-4 * t, lon - 360.0 if lon > 180.0 else lon, np.nan, *[np.nan] * 5)
        result = step(table, t, gnss=[told])
    per_lon, per_lat = metres_per_degree(np.array([-16.985]))
    expected = 299e-4 * float(np.hypot(per_lon[0], per_lat[0]))
    assert result["distance"].value[0] == pytest.approx(expected, rel=0.02)


def test_a_pause_adds_no_distance_and_no_time() -> None:
    table = athlete()
    before = last(run_east(table, range(101)))
    table.pause(0, START_NS + 100 * 10**9)
    during = last(run_east(table, range(101, 301)))
    assert during["distance"].value[0] == pytest.approx(before["distance"].value[0], abs=1e-9)
    assert during["moving"].value[0] == before["moving"].value[0]
    assert during["elapsed"].value[0] == 300.0
    table.resume(0, START_NS + 300 * 10**9)
    after = last(run_east(table, range(301, 401)))
    assert after["distance"].value[0] - before["distance"].value[0] == pytest.approx(300.0, rel=0.03)
    summary = table.end(0, START_NS + 400 * 10**9)
    assert summary.values["distance_m"] == pytest.approx(600.0, rel=0.02)
    assert summary.values["moving_s"] == pytest.approx(200.0, abs=3.0)


@pytest.mark.parametrize("told_first", ["fix", "resume"])
def test_what_lies_in_a_pause_is_no_way_whichever_of_fix_and_resume_is_heard_first(told_first: str) -> None:
    table = athlete()
    list(run_east(table, range(101)))
    table.pause(0, START_NS + 100 * 10**9)
    aside_m = 400.0
    if told_first == "resume":
        table.resume(0, START_NS + 900 * 10**9)
    step(table, 900.0, gnss=[fix(900.0, 300.0 + aside_m, speed_mps=3.0)])
    if told_first == "fix":
        table.resume(0, START_NS + 900 * 10**9)
    for t in range(901, 1001):
        result = step(table, t, gnss=[fix(t, 300.0 + aside_m + 3.0 * (t - 900), speed_mps=3.0)])
    assert result["distance"].value[0] == pytest.approx(600.0, abs=10.0)
    summary = table.end(0, START_NS + 1_000 * 10**9)
    assert summary.values["distance_m"] == pytest.approx(600.0, abs=3.0)


@pytest.mark.parametrize("doppler", [True, False])
@pytest.mark.parametrize(("lasts_s", "aside_m"), [(8, -24.0), (25, 250.0)])
@pytest.mark.parametrize("pause", ["told", "fix"])
@pytest.mark.parametrize("resume", ["told", "fix", "alone"])
def test_the_way_of_a_short_pause_is_no_speed_to_go_on_with(
    pause: str, resume: str, lasts_s: int, aside_m: float, doppler: bool
) -> None:
    """Pause and resume, each before or behind the fix of its second, or with the first fix a second later."""
    table, t, east = athlete(Sport.RUN), 0, 0.0

    def goes_on() -> Estimates:
        return step(table, t, gnss=[fix(t, east, speed_mps=3.0 if doppler else np.nan)])

    goes_on()
    for _ in range(3):
        for second_no in range(1, 31):
            t, east = t + 1, east + 3.0
            if second_no < 30 or pause == "fix":
                goes_on()
        table.pause(0, START_NS + t * 10**9)
        if pause == "told":
            goes_on()
        t, east = t + lasts_s, east + aside_m
        if resume == "fix":
            goes_on()
        table.resume(0, START_NS + t * 10**9)
        if resume == "told":
            goes_on()
    for _ in range(30):
        t, east = t + 1, east + 3.0
        told = goes_on()["distance"]
    summary = table.end(0, START_NS + t * 10**9)
    assert told.value[0] == pytest.approx(360.0, abs=2.5)
    assert abs(told.value[0] - 360.0) < told.sigma[0] < 10.0
    assert summary.values["distance_m"] == pytest.approx(360.0, abs=2.5)


@pytest.mark.parametrize("stands_s", [1, 4])
def test_who_stands_behind_a_pause_goes_nowhere(stands_s: int) -> None:
    """The second fix tells the speed from the resume on: none."""
    table = athlete(Sport.RUN)
    list(run_east(table, range(101)))
    before_m = table.totals(0)["distance_m"]
    table.pause(0, START_NS + 100 * 10**9)
    table.resume(0, START_NS + 160 * 10**9)
    for t in range(160 + stands_s, 190):
        result = step(table, t, gnss=[fix(t, 300.0)])
    assert result["distance"].value[0] == pytest.approx(before_m, abs=0.5)


def test_a_fix_that_was_stored_long_ago_and_its_repetition_start_no_track() -> None:
    table = athlete()
    step(table, 100.0, gnss=[fix(0.0, -5_000.0)])
    step(table, 101.0, gnss=[fix(101.0, -5_000.0)])
    result = last(run_east(table, range(102, 203)))
    assert table.state["late"][0] == 1
    # The first fix speaks for at most 8 s before it.
    assert result["distance"].value[0] == pytest.approx(300.0 + 8 * 3.0, abs=5.0)


def test_a_hop_of_a_fix_adds_little() -> None:
    table = athlete()
    list(run_east(table, range(100)))
    step(table, 100.0, gnss=[fix(100.0, 300.0 + 400.0, speed_mps=3.0)])
    result = last(run_east(table, range(101, 201)))
    assert result["distance"].value[0] == pytest.approx(600.0, abs=10.0)


def test_the_speed_of_a_standing_athlete_adds_no_distance() -> None:
    table = athlete()
    rng = np.random.default_rng(4)
    for t in range(600):
        result = step(table, t, gnss=[fix(t, 0.3 * rng.normal(), speed_mps=0.0)])
    assert result["distance"].value[0] < 15.0
    assert result["moving"].value[0] < 15.0
    assert result["pace"].reason[0] == Reason.NOT_APPLICABLE


def test_without_fixes_a_wheel_makes_the_distance_and_steps_do_without_a_wheel() -> None:
    table = athlete(Sport.RIDE)
    for t in range(101):
        result = step(table, t, speeds=[(t, 8.0, int(Source.WHEEL))])
    assert result["distance"].value[0] == pytest.approx(800.0, rel=0.01)
    assert result["distance"].source[0] == Source.WHEEL
    table = athlete(Sport.WALK)
    for t in range(1, 101):
        result = step(table, t, windows=second(t, steps=1, interval_s=0.5))
    assert result["steps"].value[0] == 400
    assert result["cadence"].value[0] == pytest.approx(120.0)
    assert result["distance"].source[0] == Source.IMU
    assert errors(result["distance"], 400 * 0.8) < 2.0


def test_told_cadence_is_counted_as_steps_where_no_imu_is_worn() -> None:
    table = athlete()
    for t in range(121):
        result = step(table, t, cadence=[(t, np.nan, 180.0)])
    assert result["steps"].value[0] == 360
    assert result["steps"].source[0] == Source.CADENCE
    assert result["cadence"].value[0] == 180.0


def test_an_uneven_crank_is_less_sure_than_an_even_one() -> None:
    def ridden(*rpm: float) -> Estimates:
        table = athlete(Sport.RIDE)
        for t, one in enumerate(rpm):
            step(table, t, cadence=[(t, one, np.nan)])
        return step(table, len(rpm))

    even, uneven = ridden(*[90.0] * 8)["cadence"], ridden(*[90.0, 80.0] * 4)["cadence"]
    assert (even.value[0], uneven.value[0]) == (90.0, 80.0)
    assert even.sigma[0] == pytest.approx(np.hypot(cadence.CRANK_SIGMA, cadence.CRANK_DRIFT))
    assert uneven.sigma[0] > 3.0
    # To stop and to begin is no change of the rhythm, and what was is forgotten.
    assert ridden(90.0, 0.0, 90.0)["cadence"].sigma[0] == pytest.approx(even.sigma[0])
    assert ridden(80.0, *[90.0] * 30)["cadence"].sigma[0] < 0.5


def test_a_second_device_doubles_no_steps() -> None:
    table = athlete()
    for t in range(1, 61):
        first = second(t, steps=1, interval_s=0.33, rank=0)
        other = [(one[0], 1, 3, *one[3:]) for one in first]
        result = step(table, t, windows=sorted(first + other, key=lambda one: float(one[0])))
    assert result["steps"].value[0] == 240


def test_heart_rate_follows_a_constant_and_a_ramp() -> None:
    table = athlete()
    for t in range(60):
        result = step(table, t, heart_rates=[beat(t, 120.0)])
    assert result["heart_rate"].value[0] == pytest.approx(120.0, abs=1e-6)
    for t in range(60, 120):
        result = step(table, t, heart_rates=[beat(t, 120.0 + 0.5 * (t - 59))])
    assert result["heart_rate"].value[0] == pytest.approx(150.0, abs=0.2)
    summary = table.end(0, START_NS + 119 * 10**9)
    assert summary.values["heart_rate_mean_bpm"] == pytest.approx((120 * 59 + 135 * 60) / 119, abs=0.3)
    assert summary.values["heart_rate_max_bpm"] == pytest.approx(150.0, abs=1.0)


def test_one_artefact_is_refused_and_a_new_level_believed() -> None:
    table = athlete()
    for t in range(60):
        step(table, t, heart_rates=[beat(t, 120.0)])
    assert step(table, 60.0, heart_rates=[beat(60.0, 220.0)])["heart_rate"].value[0] < 125.0
    for t in range(61, 70):
        result = step(table, t, heart_rates=[beat(t, 170.0)])
    assert result["heart_rate"].value[0] == pytest.approx(170.0, abs=1.0)


def test_a_silent_strap_is_stale_and_never_an_old_number() -> None:
    table = athlete()
    assert step(table, 0.0)["heart_rate"].reason[0] == Reason.NO_SOURCE
    step(table, 1.0, heart_rates=[beat(1.0, 120.0)])
    assert step(table, 8.0)["heart_rate"].reason[0] == Reason.NONE
    carried = step(table, 20.0)["heart_rate"]
    assert carried.source[0] == Source.MODEL
    gone = step(table, 62.0)["heart_rate"]
    assert gone.reason[0] == Reason.STALE
    assert np.isnan(gone.value[0])


def test_zones_are_shares_of_the_maximum_and_unsure_at_their_bounds() -> None:
    table = athlete(profile=Profile(max_bpm=200.0))
    for t in range(60):
        inside = step(table, t, heart_rates=[beat(t, 150.0)])["heart_rate_zone"]
    for t in range(60, 120):
        bound = step(table, t, heart_rates=[beat(t, 160.2)])["heart_rate_zone"]
    assert (inside.value[0], bound.value[0]) == (3.0, 4.0)
    assert inside.quality[0] > 0.9 > bound.quality[0]


def test_a_hill_is_climbed_once_and_noise_on_the_flat_not_at_all() -> None:
    rng = np.random.default_rng(9)
    table = athlete(Sport.HIKE)
    for t in range(1200):
        height = min(t, 600, 1200 - t) * 0.1 if t < 1200 else 0.0  # 60 m up, 60 m down
        pressure = 101_325.0 * (1.0 - (height + 0.2 * rng.normal()) / 44_330.77) ** (1 / 0.190_263_2)
        result = step(table, t, baro=[(t, pressure)])
    assert result["ascent"].value[0] == pytest.approx(60.0, abs=1.5)
    assert result["descent"].value[0] == pytest.approx(60.0, abs=1.5)
    summary = table.end(0, START_NS + 1200 * 10**9)
    assert summary.values["ascent_m"] == pytest.approx(60.0, abs=1.0)
    flat = athlete(Sport.HIKE)
    for t in range(1200):
        result = step(flat, t, baro=[(t, 95_000.0 + 2.0 * rng.normal())])
    assert result["ascent"].value[0] < 1.0


def test_another_barometer_is_no_climb() -> None:
    table = athlete()
    for t in range(120):
        result = step(table, t, baro=[(t, 95_000.0 if t < 60 else 94_000.0)])
    assert result["ascent"].value[0] < 1.0


def test_height_of_pressure_is_the_standard_atmospheres() -> None:
    heights = height_of(np.array([101_325.0, 89_874.6, 70_108.5]))
    assert heights == pytest.approx([0.0, 1000.0, 3000.0], abs=0.5)


def hysteresis(heights_m: Sequence[float], *, known: bool, begin: Climb | None = None) -> Climb:
    """Return the hysteresis of one row after heights without a sigma."""
    climb = begin
    if climb is None:
        climb = Climb(*(np.zeros(1) for _ in Climb._fields))._replace(height_m=np.array([np.nan]))
    for height in heights_m:
        climb = advance(climb, np.array([height]), np.zeros(1), np.array([known]))
    return climb


def test_hysteresis_counts_a_swing_in_full_once_it_is_large_enough() -> None:
    climb = hysteresis((10.0, 11.0, 10.2, 20.0, 19.0, 19.8, 15.0), known=True)
    assert climb.up_m[0] == pytest.approx(10.0)
    assert climb.down_m[0] == pytest.approx(5.0)


def test_a_swing_goes_on_behind_a_pause_and_the_pause_is_no_climb() -> None:
    before = hysteresis((10.0, 20.0, 19.0), known=True)
    after = hysteresis((119.0, 118.0, 130.0), known=True, begin=before._replace(height_m=np.array([np.nan])))
    assert after.down_m[0] == pytest.approx(2.0)
    assert after.up_m[0] == pytest.approx(22.0)


def test_heights_that_wander_make_no_hills_of_two_metres_and_still_large_ones() -> None:
    told = [*[0.0, 1.4] * 20, 2.3, 0.0, 50.0, 0.0]
    assert hysteresis(told, known=True).up_m[0] == pytest.approx(52.3)
    # Where wander is whole, half of it is in each way of the one hill that is left.
    climb = hysteresis(told, known=False)
    assert climb.up_m[0] == climb.down_m[0] == pytest.approx(50.0 - EXCESS * WANDER_M)


def test_swings_of_two_metres_are_hills_where_there_are_no_smaller_ones() -> None:
    before, after = (hysteresis([0.0, 2.2] * turns, known=False).up_m[0] for turns in (50, 60))
    assert after - before == pytest.approx(22.0, abs=0.05)


def test_energy_comes_from_power_before_heart_rate_before_speed() -> None:
    def kcal(**told: bool) -> Estimate:
        table = athlete(Sport.RIDE, Profile(mass_kg=70.0, birth_year=1990, sex="male"))
        for t in range(601):
            result = step(
                table,
                t,
                power=[(t, 220.0)] if told.get("power") else [],
                heart_rates=[beat(t, 140.0)] if told.get("heart") else [],
                gnss=[fix(t, 8.0 * t, speed_mps=8.0)],
            )
        return result["energy"]

    by_power = kcal(power=True, heart=True)
    assert by_power.source[0] == Source.POWER
    assert by_power.value[0] == pytest.approx(220.0 / 0.2 * 600 / 4184, rel=0.02)
    by_heart = kcal(heart=True)
    assert by_heart.source[0] == Source.HEART_RATE
    age = (START_NS / 1e9 / 31_556_952 + 1970) - 1990
    keytel = -55.0969 + 0.6309 * 140 + 0.1988 * 70 + 0.2017 * age
    assert by_heart.value[0] == pytest.approx(keytel * 10 / 4.184, rel=0.02)
    assert kcal().source[0] == Source.MODEL


def test_totals_without_a_workout_are_not_applicable() -> None:
    table = Athletes()
    table.add()
    result = table.step(np.array([0]), np.array([START_NS]), Measurements.of())
    for name in ("steps", "distance", "ascent", "descent", "energy", "elapsed", "moving"):
        assert result[name].reason[0] == Reason.NOT_APPLICABLE
    with pytest.raises(ValueError, match="no workout"):
        table.end(0, START_NS)


def test_quality_is_the_probability_of_being_within_tolerance() -> None:
    assert within(np.array([1.0, 1.96, 3.0]), np.ones(3)) == pytest.approx([0.6827, 0.9500, 0.9973], abs=1e-4)


def test_the_table_refuses_what_does_not_fit() -> None:
    table = Athletes(limit=5)
    assert [table.add() for _ in range(5)] == list(range(5))
    with pytest.raises(OverflowError):
        table.add()
