"""Heart rate in closed form: constants, ramps, the steady variance, honest errors, and means by time."""

from typing import Any

import numpy as np
import pytest
from filterpy.common import van_loan_discretization
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.athletes import Athletes, Profile
from fusion.kalman import REJECTS_MAX
from fusion.measurements import Reason, Source, Sport
from fusion.models import consistency, effort, heart_modes, heart_rate
from fusion.state import STATE
from tests.support.athlete_table import START_NS, Told, athlete, beat, errors, fix, second, step


def optical(t_s: float, bpm: float) -> Told:
    return (t_s, 0, bpm, np.nan, int(Source.OPTICAL), np.nan)


@settings(max_examples=40, deadline=None)
@given(bpm=st.floats(*heart_rate.RANGE_BPM), gap_s=st.floats(0.3, 5.0))
def test_a_constant_rate_is_that_rate(bpm: float, gap_s: float) -> None:
    table = athlete()
    for i in range(1, 15):
        live = step(table, i * gap_s, heart_rates=[beat(i * gap_s, bpm)])
    assert live["heart_rate"].value[0] == pytest.approx(bpm)


def test_a_ramp_is_followed_without_lag() -> None:
    table = athlete()
    for t in range(1, 121):
        live = step(table, t, heart_rates=[beat(t, 60.0 + t)])
    assert live["heart_rate"].value[0] == pytest.approx(180.0, abs=0.2)
    assert table.state["hr_shares"][0, heart_modes.RAMP] > 0.6


def test_most_of_a_lag_that_is_told_is_made_up_for() -> None:
    table = athlete()
    for t in range(1, 121):
        live = step(table, t, heart_rates=[(t, 0, 60.0 + t - 3.0, 1.0, int(Source.STRAP), 3.0)])
    assert live["heart_rate"].value[0] == pytest.approx(179.0, abs=1.0)


@settings(max_examples=30, deadline=None)
@given(dt_s=st.floats(0.01, 60.0), mode=st.sampled_from(heart_modes.MODES))
def test_a_mode_alone_is_the_process_that_it_is_said_to_be(dt_s: float, mode: int) -> None:
    """Against van Loan's exponential of the continuous model; decays here are rational, to 2 %."""
    tau, q, r = (
        each[mode] for each in (heart_modes.TAU_S, heart_modes.SLOPE_DENSITY, heart_modes.RATE_DENSITY)
    )
    F, Q = van_loan_discretization(
        np.array([[0.0, 1.0], [0.0, -1.0 / tau]]), np.diag([r**0.5, q**0.5]), min(dt_s, 30.0 * tau)
    )
    rows = np.zeros((5, 3, 1))
    rows[:, mode, 0] = (100.0, 0.5, 4.0, 0.1, 0.25)
    shares = np.zeros((3, 1))
    shares[mode] = 1.0
    mean = heart_modes.combined(rows, shares)
    zero = np.zeros(1)
    new, _ = heart_modes.predict(rows, shares, mean, np.array([min(dt_s, 30.0 * tau)]), (zero, zero))
    P = F @ np.array([[4.0, 0.1], [0.1, 0.25]]) @ F.T + Q
    x = F @ np.array([100.0, 0.5])
    expected = [x[0], x[1], P[0, 0], P[0, 1], P[1, 1]]
    np.testing.assert_allclose(new[:, mode, 0], expected, rtol=0.02, atol=0.02)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_covariances_stay_positive_and_shares_sum_to_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = athlete()
    t = 0.0
    for _ in range(60):
        t += rng.choice([0.01, 0.3, 1.0, 20.0, 90.0])
        source = int(rng.choice([Source.STRAP, Source.OPTICAL]))
        bpm, lag_s = rng.choice([60.0, 90.0, 200.0, rng.uniform(25, 250)]), rng.choice([np.nan, 0.0, 5.0])
        step(table, t, heart_rates=[(t, 0, bpm, rng.choice([0.5, 5.0]), source, lag_s)])
        state = table.state[0]
        assert state["hr_shares"].sum() == pytest.approx(1.0)
        assert np.all(state["hr_shares"] > 0.0)
        for _, _, p00, p01, p11 in state["hr_modes"]:
            assert np.all(np.linalg.eigvalsh([[p00, p01], [p01, p11]]) > 0.0)


def test_noise_is_learnt_from_what_a_source_does() -> None:
    rng = np.random.default_rng(5)
    quiet, loud = athlete(), athlete()
    for t in range(1, 200):
        quiet_live = step(quiet, t, heart_rates=[beat(t, 120.0)])
        loud_live = step(loud, t, heart_rates=[beat(t, 120.0 + 4.0 * rng.normal())])
    assert loud_live["heart_rate"].sigma[0] > 2.0 * quiet_live["heart_rate"].sigma[0]
    assert 0.4 < loud.state["hr_nis"][0] < 2.5


def test_the_mean_is_by_time_not_by_reading() -> None:
    """Many readings in a short while weigh no more than that while."""
    table = athlete()
    stamps = np.concatenate([np.arange(0.0, 20.0, 0.25), np.arange(20.0, 101.0, 4.0)])
    rates = np.minimum(160.0, 160.0 - 0.75 * (stamps - 20.0))
    for t, bpm in zip(stamps, rates, strict=True):
        step(table, t, heart_rates=[beat(t, bpm)])
    mean = table.end(0, START_NS + 100 * 10**9).values["heart_rate_mean_bpm"]
    assert mean == pytest.approx((20.0 * 160.0 + 80.0 * 130.0) / 100.0, abs=0.5)
    assert rates.mean() > 150.0


def test_a_new_level_is_believed_with_the_fifth_reading_that_tells_it() -> None:
    table = athlete()
    for t in range(1, 61):
        step(table, t, heart_rates=[beat(t, 70.0)])
    for t in range(61, 61 + REJECTS_MAX):
        before = step(table, t - 0.5)["heart_rate"].value[0]
        live = step(table, t, heart_rates=[beat(t, 200.0)])
        assert before == pytest.approx(70.0)
    assert live["heart_rate"].value[0] == pytest.approx(200.0)
    assert 1.0 < live["heart_rate"].sigma[0] < 2.0


@pytest.mark.parametrize(("sensor", "sigma_bpm", "lag_s"), [(beat, 0.5, 1.5), (optical, 2.0, 4.0)])
@pytest.mark.parametrize("slope", [-1.5, -0.7, 0.0, 0.7, 1.5])
def test_a_rate_that_changes_is_within_two_sigma_of_what_a_late_sensor_tells(
    sensor: Any, sigma_bpm: float, lag_s: float, slope: float
) -> None:
    """Rises and falls of 40 s after rest, each told late and rounded."""
    rng = np.random.default_rng(7)
    inside = []
    for _ in range(5):
        table = athlete()
        for t in range(1, 101):
            truth, told = (120.0 + slope * min(max(s - 30.0, 0.0), 40.0) for s in (t, t - lag_s))
            live = step(table, t, heart_rates=[sensor(t, round(told + sigma_bpm * rng.normal()))])
            if 30 < t <= 70:
                inside.append(errors(live["heart_rate"], truth) < 2.0)
    assert np.mean(inside) >= 0.8


def test_the_sigma_of_the_mean_and_of_the_maximum_is_not_that_of_the_last_moment() -> None:
    """A strap for ten minutes and one reading of a wrist, which is what the last moment knows."""
    table = athlete()
    for t in range(1, 601):
        step(table, t, heart_rates=[beat(t, 150.0 if t < 300 else 120.0)])
    strap = table.end(0, START_NS + 600 * 10**9).sigma
    table = athlete()
    for t in range(1, 601):
        step(table, t, heart_rates=[beat(t, 150.0 if t < 300 else 120.0)])
    last = step(table, 625, heart_rates=[optical(625, 121.0)])["heart_rate"].sigma[0]
    both = table.end(0, START_NS + 625 * 10**9).sigma
    assert last > 1.5 * strap["heart_rate_max_bpm"]
    assert both["heart_rate_max_bpm"] == pytest.approx(strap["heart_rate_max_bpm"])
    assert both["heart_rate_mean_bpm"] == pytest.approx(strap["heart_rate_mean_bpm"], rel=0.15)


def test_a_plausible_reading_in_between_keeps_the_filter() -> None:
    table = athlete()
    for t in range(1, 200):
        artefact = t > 60 and t % REJECTS_MAX
        live = step(table, t, heart_rates=[beat(t, 200.0 if artefact else 70.0)])
        assert live["heart_rate"].value[0] == pytest.approx(70.0)


def test_after_a_silence_the_first_reading_is_believed() -> None:
    table = athlete()
    for t in range(1, 31):
        step(table, t, heart_rates=[beat(t, 70.0)])
    late = 31 + heart_rate.GAP_S
    assert step(table, late, heart_rates=[beat(late, 180.0)])["heart_rate"].value[0] == 180.0


def test_the_bias_of_a_wrist_is_learnt_beside_a_strap_and_kept() -> None:
    table = athlete()
    for t in range(1, 121):
        live = step(table, t, heart_rates=[beat(t, 120.0), optical(t, 124.0)])
    assert live["heart_rate"].value[0] == pytest.approx(120.0, abs=1.0)
    for t in range(121, 150):
        live = step(table, t, heart_rates=[optical(t, 124.0)])
    assert live["heart_rate"].source[0] == Source.OPTICAL
    assert live["heart_rate"].value[0] == pytest.approx(120.5, abs=1.5)


def test_a_silent_strap_s_rate_is_carried_for_a_minute_with_growing_sigma() -> None:
    table = athlete()
    for t in range(1, 61):
        step(table, t, heart_rates=[beat(t, 140.0)])
    carried = [step(table, 60 + age_s)["heart_rate"] for age_s in range(61)]
    assert np.all(np.diff([one.sigma[0] for one in carried]) > 0.0)
    assert np.all(np.diff([one.quality[0] for one in carried]) < 0.0)
    assert [one.value[0] for one in carried] == pytest.approx([140.0] * 61, abs=0.1)
    assert carried[12].source[0] == Source.STRAP
    assert carried[13].source[0] == Source.MODEL
    assert step(table, 121)["heart_rate"].reason[0] == Reason.STALE


def swaying(t_s: float) -> float:
    """Return the rate of a heart whose beats sway by 8 bpm within 12 s, as blood pressure makes them."""
    return 90.0 + 8.0 * float(np.sin(2.0 * np.pi * t_s / 12.0))


def test_sigma_holds_what_the_filter_does_not_follow_and_no_more() -> None:
    calm, swayed = athlete(), athlete()
    inside = []
    for t in range(1, 121):
        still = step(calm, t, heart_rates=[beat(t, 90.0)])["heart_rate"]
        told = step(swayed, t, heart_rates=[beat(t, swaying(t))])["heart_rate"]
        if t > 30:
            inside.append(errors(told, 90.0) < 1.645)
    assert 0.5 < still.sigma[0] < 1.1
    assert told.sigma[0] > 2.0 * still.sigma[0]
    assert np.mean(inside) > 0.8


def test_the_bounds_of_nis_are_those_of_chi_square_for_white_readings_and_wider_for_swaying_ones() -> None:
    rng = np.random.default_rng(11)
    white, swayed = athlete(), athlete()
    for t in range(1, 301):
        step(white, t, heart_rates=[beat(t, 90.0 + rng.normal())])
        step(swayed, t, heart_rates=[beat(t, swaying(t))])
    low, high = consistency.bounds(white.state[0], "heart_rate")
    assert low == pytest.approx(0.55, abs=0.1)
    assert high == pytest.approx(1.58, abs=0.2)
    assert consistency.bounds(swayed.state[0], "heart_rate")[1] > high + 0.1


@pytest.mark.parametrize("phase_s", [0.0, 6.0])
def test_in_a_silence_a_swaying_heart_goes_back_and_one_that_rises_does_not(phase_s: float) -> None:
    swayed, rises = athlete(), athlete()
    for t in range(1, 121):
        step(swayed, t, heart_rates=[beat(t, swaying(t + phase_s))])
        step(rises, t, heart_rates=[beat(t, 60.0 + 0.5 * t)])
    off = [abs(step(swayed, 120 + age_s)["heart_rate"].value[0] - 90.0) for age_s in (0.1, 10.0)]
    risen = [step(rises, 120 + age_s)["heart_rate"].value[0] for age_s in (0.1, 10.0)]
    assert off[1] < off[0]
    assert risen[1] > risen[0] - 0.5


def carried_z(table: Athletes, truth: Any, since_s: int, ages_s: tuple[int, ...]) -> list[float]:
    """Return how many sigma the rate is off at ages of a silence since a moment."""
    return [errors(step(table, since_s + age_s)["heart_rate"], truth(since_s + age_s)) for age_s in ages_s]


@pytest.mark.parametrize("stops", [False, True])
def test_a_silence_after_a_steep_change_holds_whether_the_heart_goes_on_or_stays(stops: bool) -> None:
    """A perfect strap, on hearts that go to a new level with 35 s, at 0.5 to 2 bpm/s when it is gone."""
    z = []
    for change in (-80.0, -50.0, 50.0, 80.0):
        for since_s in (50, 60, 70):

            def truth(t_s: float, change: float = change, since_s: int = since_s) -> float:
                t_s = min(t_s, since_s) if stops else t_s
                return 120.0 + change * (1.0 - float(np.exp(-max(t_s - 40.0, 0.0) / 35.0)))

            table = athlete()
            for t in range(1, since_s + 1):
                step(table, t, heart_rates=[beat(t, round(truth(t)))])
            z += carried_z(table, truth, since_s, (3, 10, 20, 30, 45))
    assert np.mean(np.array(z) < 1.645) >= 0.8
    assert max(z) < 3.0


def heart(rng: np.random.Generator, seconds: int) -> Any:
    """Return the rate of a heart that goes to a new level each minute and a half, at each 0.25 s."""
    level, rate, rates = 80.0, 80.0, []
    for k in range(4 * seconds):
        if k % 360 == 120:
            level = rng.uniform(80.0, 160.0)
        rate += (level - rate) * 0.25 / 30.0
        rates.append(rate)
    return np.array(rates)


@pytest.mark.parametrize("every_s", [0.25, 1.0, 5.0])
@pytest.mark.parametrize(
    ("mean_s", "noise_bpm", "changing", "total"),
    [(0.0, 0.0, 0.8, 0.9), (5.0, 0.0, 0.7, 0.85), (0.0, 3.0, 0.75, 0.85)],
)
def test_the_interval_of_a_strap_of_any_pace_and_mean_holds(
    every_s: float, mean_s: float, noise_bpm: float, changing: float, total: float
) -> None:
    rng = np.random.default_rng(21)
    every, window = round(4 * every_s), round(4 * mean_s)
    inside, moves = [], []
    for _ in range(5):
        rates = heart(rng, 400)
        table = athlete()
        for k in range(1, len(rates)):
            t_s = 0.25 * k
            told = rates[max(0, k - window) : k + 1].mean() + noise_bpm * rng.normal()
            readings = [beat(t_s, round(told))] if k % every == 0 else []
            if readings or k % 4 == 0:
                live = step(table, t_s, heart_rates=readings)["heart_rate"]
            if k % 4 == 0 and t_s > 40.0:
                inside.append(errors(live, rates[k]) < 1.645)
                moves.append(abs(rates[k] - rates[k - 4]) > 0.3)
    assert np.mean(inside) >= total
    assert np.mean(np.array(inside)[moves]) >= changing


def test_how_a_heart_moves_is_learnt_alike_at_any_pace_of_reading() -> None:
    """A random walk of 2 bpm^2/s."""
    rng = np.random.default_rng(4)
    walk = 120.0 + np.cumsum(rng.normal(size=4 * 900)) * 0.5 * 2.0**0.5
    walk = 120.0 + 30.0 * np.sin((walk - 120.0) / 30.0)
    learnt = []
    for every in (2, 4, 20):
        table, sums = athlete(), []
        for k in range(every, len(walk), every):
            step(table, 0.25 * k, heart_rates=[beat(0.25 * k, walk[k])])
            sums.append(float(table.state["hr_bustle"][0]))
        learnt.append(np.mean(sums[len(sums) // 10 :]))
    assert max(learnt) < 2.0 * min(learnt)


def test_light_beside_a_strap_does_not_hide_what_is_not_followed() -> None:
    """The same swaying heart by strap, and light that trails it once and ten times a second."""
    unfollowed, sigmas = [], []
    for light_hz in (0, 1, 10):
        table, found = athlete(), []
        for t in range(1, 121):
            readings = [optical(t - 1 + (i + 1) / (light_hz + 1), swaying(t - 4.0)) for i in range(light_hz)]
            live = step(table, t, heart_rates=[*readings, beat(t, swaying(t))])["heart_rate"]
            if t > 40:
                found.append((float(table.state["hr_unfollowed"][0]), live.sigma[0]))
        unfollowed.append(np.mean(found, axis=0)[0])
        sigmas.append(np.mean(found, axis=0)[1])
    assert min(unfollowed) > 0.7 * unfollowed[0] > 1.0
    assert min(sigmas) > 0.9 * sigmas[0]


def test_a_reading_after_a_strap_s_gap_is_no_neighbour_of_the_one_before() -> None:
    """Light tells on through the gap of 20 s; the strap was 3 bpm too high before it, and is so after it."""
    table = athlete()
    for t in range(1, 82):
        rates = [optical(t - 0.5, 100.0)]
        if t <= 60 or t > 80:
            rates.append(beat(t, 103.0 if t in (60, 81) else 100.0 + 1.5 * (-1.0) ** t))
        before, state = table.state["hr_innovation"][0], table.state["hr_unfollowed"][0]
        step(table, t, heart_rates=rates)
    assert before > 1.0
    assert table.state["hr_innovation"][0] > 1.0
    keep = heart_rate.UNREST_S / (heart_rate.UNREST_S + 21.0)
    assert table.state["hr_unfollowed"][0] == pytest.approx(keep * state)


def test_light_in_lock_does_not_end_a_strap_s_silence() -> None:
    """It tells the cadence, and is not believed; the source is the model after 10 s, and sigma grows on."""
    rng = np.random.default_rng(10)
    table, sway, told = athlete(), 0.0, []
    for t in range(1, 221):
        sway = 0.85 * sway + 3.0 * rng.normal()
        rates = [beat(t, 120.0 + sway)] if t < 200 else []
        rates.append((t, 1, 160.0, np.nan, int(Source.OPTICAL), np.nan))
        live = step(table, t, heart_rates=rates, windows=second(t, steps=2, interval_s=60 / 160))
        told.append((live["heart_rate"].value[0], live["heart_rate"].sigma[0], live["heart_rate"].source[0]))
    values, sigmas, sources = np.array(told[203:]).T
    assert table.state["lock_on"][0] != 0
    assert (sources[0], sources[-1]) == (Source.STRAP, Source.MODEL)
    assert np.all(np.diff(sigmas) > 0.0)
    assert np.max(np.abs(np.diff(values))) < 0.7


def test_steps_carry_the_rate_to_where_effort_takes_it() -> None:
    """Rest, and then a run that begins while the strap is gone: the heart rises with its half minute."""
    rested, ran = athlete(), athlete()
    for t in range(1, 61):
        for table in (rested, ran):
            step(table, t, heart_rates=[beat(t, 70.0)], windows=second(t))
    for t in range(61, 91):
        still = step(rested, t, windows=second(t))
        runs = step(ran, t, windows=second(t, steps=1, interval_s=60 / 165))
    assert still["heart_rate"].value[0] == pytest.approx(70.0, abs=1.0)
    assert 95.0 < runs["heart_rate"].value[0] < 150.0
    assert runs["heart_rate"].sigma[0] > still["heart_rate"].sigma[0]


def test_a_hill_carries_the_rate_further_than_the_flat() -> None:
    """A barometer that falls tells of a climb of 0.2 m/s: 10.8 ml/kg/min, some 30 beats in the end."""
    flat, hill = athlete(), athlete()
    for t in range(1, 241):
        heart_rates = [beat(t, 150.0)] if t <= 180 else []
        rise_m = 0.2 * max(t - 180, 0)
        for table, climb_m in ((flat, 0.0), (hill, rise_m)):
            windows = second(t, steps=3, interval_s=60 / 165)
            pressure = [(t, 101_325.0 - 12.0 * climb_m)]
            live = step(table, t, heart_rates=heart_rates, windows=windows, baro=pressure)
            if table is flat:
                level = live["heart_rate"].value[0]
    assert level == pytest.approx(150.0, abs=2.0)
    assert 8.0 < live["heart_rate"].value[0] - level < 30.0


def test_who_is_driven_with_a_few_steps_asks_for_no_more_than_these() -> None:
    afoot, driven = athlete(Sport.OTHER), athlete(Sport.OTHER)
    for t in range(1, 61):
        windows = second(t, steps=2, interval_s=60 / 100)
        step(afoot, t, windows=windows)
        step(driven, t, windows=windows, gnss=[fix(t, 25.0 * t, speed_mps=25.0)], baro=[(t, 101_325.0)])
    walked, rode = (float(table.state["effort"][0]) for table in (afoot, driven))
    assert 0.0 < rode <= effort.STRIDE_MAX * walked * 1.01


def test_nobody_is_asked_for_less_than_nothing_on_the_way_down() -> None:
    table = athlete(Sport.HIKE)
    for t in range(1, 121):
        windows = second(t, steps=2, interval_s=60 / 100)
        step(table, t, windows=windows, baro=[(t, 101_325.0 + 12.0 * 0.5 * t)])
    assert float(table.state["effort"][0]) > 0.0


def test_an_athlete_whose_heart_does_not_follow_effort_is_not_carried_by_it() -> None:
    table = athlete()
    columns = {name: np.moveaxis(table.state[name], 0, -1) for name in STATE.names or ()}
    usual = effort.gain(columns, START_NS)[0]
    for t in range(1, 601):
        interval_s = 60 / 165 if t // 60 % 2 else 60 / 110
        step(table, t, heart_rates=[beat(t, 140.0)], windows=second(t, steps=1, interval_s=interval_s))
    columns = {name: np.moveaxis(table.state[name], 0, -1) for name in STATE.names or ()}
    assert effort.gain(columns, START_NS)[0] < 0.4 * usual


@pytest.mark.parametrize("bpm", [0.0, 24.9, 250.1, -60.0, np.nan, np.inf])
def test_what_no_heart_does_is_no_reading(bpm: float) -> None:
    table = athlete()
    assert step(table, 1.0, heart_rates=[beat(1.0, bpm)])["heart_rate"].reason[0] == Reason.NO_SOURCE


def test_a_reading_that_is_too_late_is_counted_and_changes_nothing() -> None:
    table = athlete()
    step(table, 10.0, heart_rates=[beat(10.0, 120.0)])
    live = step(table, 11.0, heart_rates=[beat(7.9, 180.0)])
    assert live["heart_rate"].value[0] == 120.0
    assert table.state["late"][0] == 1
    step(table, 12.0, heart_rates=[beat(8.1, 121.0)])
    assert table.state["late"][0] == 1


@settings(deadline=None)
@given(
    bpm=st.floats(*heart_rate.RANGE_BPM),
    top=st.floats(150.0, 220.0),
    bounds=st.lists(st.floats(0.3, 1.2), min_size=1, max_size=9, unique=True).map(sorted),
)
def test_the_zone_is_one_more_than_the_bounds_below_the_rate(
    bpm: float, top: float, bounds: list[float]
) -> None:
    table = athlete(profile=Profile(max_bpm=top, zones=tuple(bounds)))
    zone = step(table, 1.0, heart_rates=[beat(1.0, bpm)])["heart_rate_zone"]
    assert zone.value[0] == 1 + sum(bpm / top > bound for bound in bounds)


@pytest.mark.parametrize(
    ("shares", "zone"), [(0.59, 1), (0.61, 2), (0.71, 3), (0.81, 4), (0.91, 5), (1.1, 5)]
)
@pytest.mark.parametrize("profile", [Profile(max_bpm=185.0), Profile(birth_year=1976), Profile()])
def test_the_maximum_is_told_or_follows_from_age_or_is_190(
    profile: Profile, shares: float, zone: int
) -> None:
    age = 1970 + START_NS / 31_556_952e9 - 1976
    top = profile.max_bpm or (208.0 - 0.7 * age if profile.birth_year else 190.0)  # Tanaka et al. 2001
    live = step(athlete(profile=profile), 0.0, heart_rates=[beat(0.0, shares * top)])
    assert live["heart_rate_zone"].value[0] == zone
