"""Heart rate in closed form: constants, ramps, the steady variance, honest errors, and means by time."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import design
from fusion.athletes import Profile
from fusion.kalman import REJECTS_MAX, diagonal, update
from fusion.measurements import Reason, Source
from fusion.models import heart_rate
from tests.support.athlete_table import START_NS, athlete, beat, errors, step


def optical(t_s: float, bpm: float) -> tuple[float, int, float, float, int]:
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
    assert live["heart_rate"].value[0] == pytest.approx(180.0, abs=1e-3)
    assert table.state["hr_x"][0, 1] == pytest.approx(1.0, abs=1e-3)


def test_the_variance_settles_where_the_riccati_equation_does() -> None:
    table = athlete()
    for t in range(1, 121):
        live = step(table, t, heart_rates=[beat(t, 130.0)])
    F, Q = np.array([[1.0, 1.0], [0.0, 1.0]]), heart_rate.SLOPE_DENSITY * np.array(design.white_noise(2))
    P = np.eye(2)
    for _ in range(1_000):
        P = F @ P @ F.T + Q
        P = P - np.outer(P[:, 0], P[0]) / (P[0, 0] + 1.0)
    np.testing.assert_allclose(table.state["hr_P"][0], P, rtol=1e-6)
    # Part of a strap's error of 1 bpm lasts.
    assert live["heart_rate"].sigma[0] == pytest.approx((P[0, 0] + heart_rate.LASTING_SHARE**2) ** 0.5)


def test_errors_of_a_heart_that_obeys_the_model_are_as_large_as_it_says() -> None:
    rng = np.random.default_rng(4)
    n = 400
    x, P = np.zeros((2, n)), diagonal(9.0, heart_rate.SLOPE_SIGMA**2, n=n)
    truth = np.array([rng.normal(0.0, 3.0, n), rng.normal(0.0, heart_rate.SLOPE_SIGMA, n)])
    nis = []
    for _ in range(30):
        dt = rng.uniform(0.3, 3.0, n)
        q = np.array(design.scaled_white_noise(dt, heart_rate.SLOPE_DENSITY))
        spread = np.linalg.cholesky(np.array([[q[0], q[1]], [q[1], q[2]]]).transpose(2, 0, 1))
        truth = np.array([truth[0] + dt * truth[1], truth[1]])
        truth += np.einsum("nij,jn->in", spread, rng.normal(size=(2, n)))
        x, P = heart_rate.predict(x, P, dt)
        z = truth[0] + rng.normal(0.0, 2.0, n)
        x, P, squared, _ = update(x, P, z - x[0], heart_rate.RATE, np.full(n, 4.0), np.ones(n, dtype=bool))
        nis.append(squared.mean())
    nees = design.nees(truth.T, x.T, P.transpose(2, 0, 1)).mean() / 2.0
    low, high = design.nis_bounds(2 * n, 0.999)
    assert low < nees < high
    low, high = design.nis_bounds(30 * n, 0.999)
    assert low < np.mean(nis) < high


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
    assert live["heart_rate"].sigma[0] == pytest.approx((1.0 + heart_rate.LASTING_SHARE**2) ** 0.5)


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
    assert np.mean(inside) >= 0.85


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


def test_a_strap_outweighs_a_wrist() -> None:
    table = athlete()
    for t in range(1, 61):
        live = step(table, t, heart_rates=[beat(t, 120.0), optical(t, 126.0)])
    between = live["heart_rate"].value[0]
    # Inverse variances, of 1 and of what a wrist has.
    wrist = heart_rate.OPTICAL_SIGMA_BPM**-2
    assert between == pytest.approx((120.0 + 126.0 * wrist) / (1.0 + wrist), abs=0.5)


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
