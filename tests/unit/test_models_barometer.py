"""Heights of a standard atmosphere, and hills of known height under the noise of a barometer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import design
from fusion.athletes import Athletes
from fusion.kalman import REJECTS_MAX, Floats, diagonal, update
from fusion.measurements import Measurements, Sport
from fusion.models import altitude
from tests.support.athlete_table import START_NS, athlete, fix, step

ROWS = 20


def pressure_pa(height_m: Floats) -> Floats:
    """U.S. Standard Atmosphere 1976, eq. 33a, with its constants written out."""
    exponent = 9.80665 * 28.9644e-3 / (8.31432 * 6.5e-3)
    return 101_325.0 * (1.0 - 6.5e-3 * np.asarray(height_m) / 288.15) ** exponent


# Table I of the same: geopotential height and pressure.
@pytest.mark.parametrize(
    ("height_m", "pascal"),
    [(-1000.0, 113_929.0), (0.0, 101_325.0), (1000.0, 89_874.6), (5000.0, 54_019.9), (11_000.0, 22_632.1)],
)
def test_heights_are_those_of_the_published_table(height_m: float, pascal: float) -> None:
    assert altitude.height_of(np.array([pascal]))[0] == pytest.approx(height_m, abs=0.5)


@settings(deadline=None)
@given(st.floats(-2_000.0, 11_000.0))
def test_height_is_the_inverse_of_pressure(height_m: float) -> None:
    assert altitude.height_of(pressure_pa(np.array([height_m])))[0] == pytest.approx(height_m, abs=0.05)


def climb(way_m: Floats, noise_m: float, seed: int, drift_m: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """Return live ascents with their sigmas, and those of summaries, of twenty athletes on one way, 1 Hz."""
    rng = np.random.default_rng(seed)
    table = Athletes()
    for _ in range(ROWS):
        table.begin(table.add(), START_NS, Sport.HIKE)
    drift = np.linspace(0.0, drift_m, len(way_m))
    told = pressure_pa((way_m + drift)[:, None] + noise_m * rng.normal(size=(len(way_m), ROWS)))
    for i, pascals in enumerate(told):
        now_ns = START_NS + (i + 1) * 10**9
        baro = [(row, now_ns, 0, pascal) for row, pascal in enumerate(pascals)]
        live = table.step(np.arange(ROWS), np.full(ROWS, now_ns), Measurements.of(baro=baro))["ascent"]
    ends = [table.end(row, START_NS + len(way_m) * 10**9).values["ascent_m"] for row in range(ROWS)]
    return live.value, live.sigma, np.array(ends, dtype=float)


def test_a_hill_is_as_high_as_it_is_within_three_sigma_every_time() -> None:
    up, down = np.linspace(300.0, 380.0, 400), np.linspace(380.0, 320.0, 300)
    live, sigma, ends = climb(np.concatenate([up, down]), altitude.BARO_SIGMA_M, 1)
    assert (np.abs(live - 80.0) < 3.0 * sigma).all()
    assert (np.abs(ends - 80.0) < 3.0 * sigma).all()


def test_rolling_hills_add_up() -> None:
    t = np.arange(600.0)
    live, sigma, ends = climb(500.0 - 10.0 * np.cos(2.0 * np.pi * t / 120.0), altitude.BARO_SIGMA_M, 2)
    assert (np.abs(live - 100.0) < 3.0 * sigma).all()
    assert (np.abs(ends - 100.0) < 3.0 * sigma).all()


def test_noise_on_the_flat_climbs_nothing() -> None:
    live, sigma, ends = climb(np.full(600, 500.0), altitude.BARO_SIGMA_M, 3)
    assert (live < sigma).all()
    assert (ends < sigma).all()


def test_weather_that_falls_by_two_metres_a_quarter_of_an_hour_is_within_three_sigma() -> None:
    """The simulators' weather does so at 2.7 sigma."""
    live, sigma, _ = climb(np.full(450, 500.0), altitude.BARO_SIGMA_M, 4, drift_m=1.0)
    assert (live < 3.0 * sigma).all()


def test_satellites_settle_what_weather_makes_of_a_barometer() -> None:
    """Beside a barometer that is 60 m off, altitude is the satellites'; ascent does not see the offset."""
    table, rng = athlete(), np.random.default_rng(5)
    for t in range(1, 301):
        height = 700.0 + 3.0 * rng.normal()
        told = fix(t, 0.0, alt_m=height, v_acc_m=3.0)
        live = step(table, t, baro=[(t, float(pressure_pa(np.array(760.0))))], gnss=[told])
    assert abs(live["altitude"].value[0] - 700.0) < 3.0 * live["altitude"].sigma[0]
    assert live["altitude"].sigma[0] < altitude.OFFSET_SIGMA_M / 4.0
    assert live["ascent"].value[0] < 1.0


def test_a_jump_of_the_pressure_is_refused_then_believed_and_never_climbed() -> None:
    table = athlete()
    for t in range(1, 121):
        jumped = t > 60
        pascal = float(pressure_pa(np.array(500.0 + 200.0 * jumped)))
        live = step(table, t, baro=[(t, pascal)])
        believed = t >= 60 + REJECTS_MAX
        assert table.state["alt_x"][0, 0] == pytest.approx(700.0 if believed else 500.0, abs=0.5)
        assert live["altitude"].value[0] == pytest.approx(500.0, abs=0.5)
    assert live["ascent"].value[0] == 0.0
    assert table.end(0, START_NS + 120 * 10**9).values["ascent_m"] == pytest.approx(0.0, abs=0.5)


def test_errors_of_heights_that_obey_the_model_are_as_large_as_it_says() -> None:
    rng = np.random.default_rng(6)
    n = 400
    sigma = (2.0, altitude.RATE_SIGMA_MPS, altitude.BIAS_SIGMA, 20.0)
    truth = np.array(sigma)[:, None] * rng.normal(size=(4, n))
    x, P = np.zeros((4, n)), diagonal(*(s * s for s in sigma), n=n)
    use, ones = np.ones(n, dtype=bool), np.ones(n)
    for _ in range(25):
        dt = rng.uniform(0.3, 2.0, n)
        way = np.array([dt, 0.05 * ones, dt, rng.normal(size=n), rng.normal(size=n), 0.1 * dt])
        F, Q, u = altitude.transition(list(way))
        truth = np.einsum("nij,jn->in", F, truth) + u.T
        truth += np.einsum("nij,jn->in", np.linalg.cholesky(Q), rng.normal(size=(4, n)))
        x, P = altitude.predict(x, P, way)
        x, P, _, _ = update(x, P, truth[0] + 0.3 * rng.normal(size=n) - x[0], ((0, None),), 0.09 * ones, use)
        off = truth[0] - truth[3] + 5.0 * rng.normal(size=n) - (x[0] - x[3])
        x, P, _, _ = update(x, P, off, ((0, None), (3, -ones)), 25.0 * ones, use)
    nees = design.nees(truth.T, x.T, P.transpose(2, 0, 1)).mean() / 4.0
    low, high = design.nis_bounds(4 * n, 0.999)
    assert low < nees < high
