"""While nothing is heard a value is less and less sure, then there is none; what is unknown is not told."""

from typing import Any

import numpy as np
import pytest

from fusion.athletes import Profile
from fusion.measurements import Reason, Source, Sport
from tests.support.athlete_table import START_NS, athlete, beat, errors, fix, second, step, window

STALE_S = {"heart_rate": 60, "heart_rate_zone": 60, "speed": 12, "pace": 12, "cadence": 12, "altitude": 15}


def rider(t: int) -> dict[str, Any]:
    return {
        "gnss": [fix(t, 8.0 * t, 500.0 + t, 8.0)],
        "baro": [(t, 95_000.0 - 10 * t)],
        "cadence": [(t, 90.0, np.nan)],
        "heart_rates": [beat(t, 130.0)],
    }


def test_the_sigma_of_what_is_now_grows_while_nothing_is_heard() -> None:
    table = athlete(Sport.RIDE)
    for t in range(1, 61):
        before = step(table, t, **rider(t))
    for t in range(61, 72):
        now = step(table, t)
        for name in (*STALE_S, "distance", "ascent", "descent"):
            if name != "heart_rate_zone":
                assert now[name].sigma[0] > before[name].sigma[0], (name, t)
        before = now


def test_a_value_is_null_once_it_is_stale() -> None:
    table = athlete(Sport.RIDE)
    for t in range(1, 61):
        step(table, t, **rider(t))
    for name, limit_s in STALE_S.items():
        assert step(table, 60.0 + limit_s)[name].reason[0] == Reason.NONE, name
        late = step(table, 60.1 + limit_s)[name]
        assert late.reason[0] == Reason.STALE, name
        assert np.isnan(late.value[0]), name


@pytest.mark.parametrize("source", [Source.WHEEL, Source.FOOT])
def test_the_speed_of_a_sensor_grows_unsure_and_stale(source: Source) -> None:
    table = athlete(Sport.RIDE)
    sigmas = [step(table, 1.0, speeds=[(1.0, 8.0, int(source))])["speed"].sigma[0]]
    sigmas += [step(table, 1.0 + age_s)["speed"].sigma[0] for age_s in range(1, 12)]
    assert np.all(np.diff(sigmas) > 0.0)
    assert step(table, 13.5)["speed"].reason[0] == Reason.STALE


def test_the_speed_of_steps_is_stale_after_four_seconds() -> None:
    table = athlete(Sport.RUN)
    step(table, 1.0, windows=second(1.0, steps=1, interval_s=0.36))
    assert step(table, 5.0)["speed"].reason[0] == Reason.NONE
    assert step(table, 5.1)["speed"].reason[0] == Reason.STALE


def test_a_rider_of_an_unknown_sport_with_a_watch_does_not_stand_for_sure() -> None:
    table = athlete(Sport.OTHER)
    for t in range(1, 61):
        live = step(table, t, windows=second(t))
    for name in ("speed", "pace", "distance"):
        assert live[name].reason[0] == Reason.NO_SOURCE, name


def test_a_device_at_rest_tells_that_an_athlete_of_an_unknown_sport_stands() -> None:
    table = athlete(Sport.OTHER)
    for t in range(1, 11):
        live = step(table, t, windows=second(t, accel_rms=0.05, gyro_rms=0.01))
    assert live["speed"].value[0] == 0.0
    assert live["distance"].value[0] == 0.0


@pytest.mark.parametrize("sport", [Sport.RUN, Sport.OTHER])
def test_a_gait_tells_the_speed(sport: Sport) -> None:
    table = athlete(sport)
    for t in range(1, 11):
        live = step(table, t, windows=second(t, steps=1, interval_s=0.36))
    assert live["speed"].source[0] == Source.IMU
    assert live["speed"].value[0] > 2.0
    assert live["distance"].source[0] == Source.IMU


def test_steps_that_are_told_as_none_do_not_take_the_distance_from_those_that_made_it() -> None:
    table = athlete(Sport.RUN)
    for t in range(1, 31):
        live = step(table, t, windows=second(t, steps=1, interval_s=0.36), cadence=[(t, np.nan, 166.0)])
    assert live["distance"].source[0] == Source.IMU


def test_after_the_barometer_is_gone_satellites_are_as_uncertain_as_they_are() -> None:
    table, rng = athlete(), np.random.default_rng(1)
    for t in range(1, 720):
        baro = [(t, 95_000.0)] if t < 120 else []
        slow_m = 0.0 if t < 120 else 12.0  # 1.5 times the stated accuracy
        alt_m = 540.0 + slow_m + rng.normal(0, 1)
        live = step(table, t, baro=baro, gnss=[fix(t, 3.0 * t, alt_m, v_acc_m=8.0)])
        if t == 119:
            assert live["altitude"].source[0] == Source.BARO
    assert errors(live["altitude"], 540.0) < 3.0
    assert live["altitude"].source[0] == live["ascent"].source[0] == Source.GNSS
    assert live["altitude"].sigma[0] >= 8.0
    assert table.end(0, START_NS + 720 * 10**9).sources["ascent_m"] == "gnss"


def test_a_crank_speaks_before_a_wrist_that_finds_no_gait() -> None:
    table = athlete(Sport.OTHER)
    for t in range(1, 61):
        live = step(table, t, cadence=[(t, 90.0, np.nan)], windows=second(t))
    assert live["cadence"].value[0] == 90.0
    for t in range(61, 71):
        live = step(table, t, cadence=[(t, 90.0, np.nan)], windows=second(t, steps=1, interval_s=0.36))
    assert live["cadence"].value[0] == pytest.approx(60 / 0.36)


def test_a_late_crank_does_not_speak_after_a_newer_one() -> None:
    table = athlete(Sport.RIDE)
    step(table, 5, cadence=[(5, 90.0, np.nan)])
    assert step(table, 6, cadence=[(1, 10.0, np.nan)])["cadence"].value[0] == 90.0
    assert table.state["late"][0] == 1


@pytest.mark.parametrize("what", ["steps", "energy", "moving"])
def test_the_sigma_of_a_total_holds_a_hole(what: str) -> None:
    table = athlete(profile=Profile(birth_year=1990, sex="male"))
    for t in [*range(1, 601), *range(1200, 1801)]:
        windows = [window(t - 0.75 + 0.25 * i, int((4 * t + i) % 1.5 < 1), 0.375) for i in range(4)]
        live = step(table, t, heart_rates=[beat(t, 150)], windows=windows)
        if t == 600:
            before = live[what]
    truth = {"steps": 4800.0, "energy": 3 * 147.8, "moving": 1800.0}[what]
    assert errors(live[what], truth) < 3.0
    assert live[what].sigma[0] > 1.5 * before.sigma[0]
    name = {"steps": "steps", "energy": "energy_kcal", "moving": "moving_s"}[what]
    assert table.end(0, START_NS + 1800 * 10**9).sigma[name] == pytest.approx(live[what].sigma[0], rel=0.01)


def test_told_totals_have_no_hole_where_every_window_came() -> None:
    table = athlete()
    for t in range(1, 61):
        step(table, t, windows=second(t, steps=1, interval_s=0.36))
    for name in ("body_lost_steps", "moving_lost_s"):
        assert table.state[name][0] == 0.0, name


@pytest.mark.parametrize("first_s", [1, 10, 40])
def test_moving_time_does_not_fall_when_a_first_source_speaks(first_s: int) -> None:
    table, moving = athlete(), 0.0
    for t in range(1, 61):
        fixes = [fix(t, 0.0, speed_mps=0.0)] if t >= first_s else []
        now = float(step(table, t, gnss=fixes)["moving"].value[0])
        assert now >= moving
        moving = now
    assert moving == first_s  # then the athlete stood


@pytest.mark.parametrize("late_s", [0.0, 0.5, 1.5, 8.0])
def test_moving_time_does_not_fall_when_the_first_source_speaks_of_before_the_last_update(
    late_s: float,
) -> None:
    table = athlete()
    for t in range(1, 21):
        before = step(table, t)["moving"].value[0]
    assert before == 20.0
    now = step(table, 21, speeds=[(20.0 - late_s, 0.0, int(Source.FOOT))])["moving"]
    assert (now.value[0], now.source[0]) == (20.0, Source.FOOT)
    assert step(table, 22, speeds=[(21.5, 3.0, int(Source.FOOT))])["moving"].value[0] == 21.5
    assert table.totals(0, START_NS + 22 * 10**9)["moving_s"] == 21.5


def test_moving_time_does_not_fall_when_a_pause_is_told_late() -> None:
    table = athlete()
    before = [step(table, t)["moving"].value[0] for t in range(1, 21)][-1]
    table.pause(0, START_NS + 15 * 10**9)
    assert step(table, 21)["moving"].value[0] == before
    assert table.end(0, START_NS + 22 * 10**9).values["moving_s"] == pytest.approx(15.0)
