"""The bank equals filterpy, keeps covariances whole, and gates as it says."""

import numpy as np
import pytest
from filterpy.common import Q_continuous_white_noise, Q_discrete_white_noise
from filterpy.kalman import KalmanFilter

from fusion import design
from fusion.kalman import Floats, Gate, Row, diagonal, update
from fusion.models import altitude, heart_rate, position


def bank_step(name: str, x: Floats, P: Floats, way: Floats) -> tuple[Floats, Floats]:
    if name == "heart_rate":
        return heart_rate.predict(x, P, way[0])
    if name == "position":
        return position.predict(x, P, way[0], way[1])
    return altitude.predict(x, P, way)


def matrices(name: str, way: Floats) -> tuple[Floats, Floats, Floats]:
    """F, Q and u of one row, written down anew with filterpy's own noise."""
    dt = float(way[0])
    if name == "heart_rate":
        F = np.array([[1.0, dt], [0.0, 1.0]])
        return F, Q_continuous_white_noise(2, dt, heart_rate.SLOPE_DENSITY), np.zeros(2)
    if name == "position":
        F, Q = np.eye(5), np.zeros((5, 5))
        F[0, 2] = F[1, 3] = dt
        F[4, 4] = np.exp(-dt / position.SCALE_TIME_S)
        Q[:4, :4] = Q_continuous_white_noise(2, dt, float(way[1]), block_size=2, order_by_dim=False)
        Q[4, 4] = position.SCALE_SIGMA**2 * (1 - F[4, 4] ** 2)
        return F, Q, np.zeros(5)
    _, density, span, rise, dv, drift = way
    F, Q = np.eye(4), np.zeros((4, 4))
    F[0, 1], F[0, 2], F[1, 2] = dt, -0.5 * dt * span, -span
    Q[:2, :2] = Q_continuous_white_noise(2, dt, float(density))
    Q[2, 2], Q[3, 3] = altitude.BIAS_DENSITY * span, drift
    return F, Q, np.array([rise, dv, 0.0, 0.0])


WAYS = {"heart_rate": 1, "position": 2, "altitude": 6}
STATES = {"heart_rate": 2, "position": 5, "altitude": 4}


@pytest.mark.parametrize("name", ["heart_rate", "position", "altitude"])
def test_every_model_equals_filterpy_on_random_streams(name: str) -> None:
    rng = np.random.default_rng(7)
    n, k = 20, STATES[name]
    x = rng.normal(0.0, 3.0, (k, n))
    P = diagonal(*([4.0] * k), n=n)
    oracles = []
    for i in range(n):
        one = KalmanFilter(dim_x=k, dim_z=1)
        one.x, one.P = x[:, i : i + 1].copy(), P[:, :, i].copy()
        oracles.append(one)
    for _ in range(60):
        way = rng.uniform(0.05, 3.0, (WAYS[name], n))
        H = rng.normal(0.0, 1.0, (k, n))
        z, R = rng.normal(0.0, 5.0, n), rng.uniform(0.1, 9.0, n)
        use = rng.random(n) < 0.8
        x, P = bank_step(name, x, P, way)
        row: Row = tuple((j, H[j]) for j in range(k))
        x, P, _, _ = update(x, P, z - np.sum(H * x, axis=0), row, R, use)
        for i, one in enumerate(oracles):
            F, Q, u = matrices(name, way[:, i])
            one.predict(F=F, Q=Q)
            one.x += u[:, None]
            if use[i]:
                one.update(z[i], R=R[i], H=H[:, i][None])
            np.testing.assert_allclose(x[:, i], one.x[:, 0], rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(P[:, :, i], one.P, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["heart_rate", "position", "altitude"])
def test_one_row_and_many_rows_give_the_same_bits(name: str) -> None:
    rng = np.random.default_rng(3)
    n, k = 1000, STATES[name]
    x, P = rng.normal(0.0, 3.0, (k, n)), diagonal(*([4.0] * k), n=n)
    way, z, R = rng.uniform(0.05, 3.0, (WAYS[name], n)), rng.normal(0.0, 50.0, n), rng.uniform(0.1, 9.0, n)
    use = rng.random(n) < 0.7

    def both(x: Floats, P: Floats, part: slice) -> tuple[Floats, Floats]:
        x, P = bank_step(name, x[:, part].copy(), P[:, :, part].copy(), way[:, part])
        done = update(x, P, z[part] - x[0], ((0, None),), R[part], use[part], Gate())
        return done.x, done.P

    all_x, all_P = both(x, P, slice(0, n))
    for i in range(0, n, 37):
        one_x, one_P = both(x, P, slice(i, i + 1))
        assert one_x.tobytes() == all_x[:, i : i + 1].tobytes()
        assert one_P[:, :, 0].tobytes() == np.ascontiguousarray(all_P[:, :, i]).tobytes()


def test_covariance_stays_symmetric_and_positive_through_exact_measurements() -> None:
    rng = np.random.default_rng(11)
    x, P = np.zeros((5, 50)), diagonal(1e6, 1e6, 25.0, 25.0, 0.01, n=50)
    for _ in range(300):
        x, P = position.predict(x, P, np.full(50, 0.1), np.full(50, 1e-3))
        for state in (0, 1):
            R, use = np.full(50, 1e-8), np.ones(50, dtype=bool)
            x, P, _, _ = update(x, P, rng.normal(0.0, 1e-4, 50), ((state, None),), R, use)
        assert np.array_equal(P, P.transpose(1, 0, 2))
        assert np.all(np.linalg.eigvalsh(P.transpose(2, 0, 1)) >= -1e-12)


def test_a_measurement_beyond_the_gate_counts_less_and_far_beyond_it_not_at_all() -> None:
    x, P = np.zeros((1, 3)), np.ones((1, 1, 3))
    y, R, use = np.array([2.0, 6.0, 60.0]), np.ones(3), np.ones(3, dtype=bool)
    done = update(x, P, y, ((0, None),), R, use, Gate(inflate=9.0, reject=100.0))
    assert done.x[0, 0] == pytest.approx(1.0)  # a NIS of 2: as it is
    assert done.x[0, 1] == pytest.approx(6.0 * 1.0 / 4.0)  # a NIS of 18: S doubled
    assert done.x[0, 2] == 0.0
    assert done.taken.tolist() == [True, True, False]
    assert done.P[0, 0, 2] == 1.0


def test_noise_scaled_by_powers_of_dt_is_filterpys() -> None:
    for dt in (0.01, 0.25, 1.0, 7.0):
        q00, q01, q11 = design.scaled_white_noise(np.array([dt]), 0.3)
        np.testing.assert_allclose([[q00[0], q01[0]], [q01[0], q11[0]]], Q_continuous_white_noise(2, dt, 0.3))
    for states in (2, 3):
        ours = np.array(design.white_noise(states)) * 2.0 ** np.array(design.white_noise_powers(states))
        np.testing.assert_allclose(ours, Q_continuous_white_noise(states, 2.0, 1.0))
    assert Q_discrete_white_noise(2, 1.0).shape == (2, 2)


def test_smoothing_a_known_input_is_smoothing_without_it_and_adding_it() -> None:
    rng = np.random.default_rng(5)
    way = [np.full(40, v) for v in (1.0, 0.1, 0.0, 0.0, 0.0, 0.0)]
    x, P = rng.normal(0.0, 1.0, (40, 4)), np.tile(np.eye(4), (40, 1, 1))
    F, Q, u = altitude.transition(way)
    Q = Q + 1e-6 * np.eye(4)
    plain, _ = design.smooth(x, P, F, Q, u)
    push = np.zeros((40, 4))
    push[1:, 1] = rng.normal(0.0, 1.0, 39)
    known = np.zeros((40, 4))
    for i in range(1, 40):
        known[i] = F[i] @ known[i - 1] + push[i]
    pushed, _ = design.smooth(x + known, P, F, Q, push)
    np.testing.assert_allclose(pushed - known, plain, atol=1e-9)


def test_honest_errors_have_an_nees_of_the_number_of_states_and_nis_bounds_hold_the_mean() -> None:
    rng = np.random.default_rng(2)
    P = np.tile(np.diag([4.0, 0.25]), (4000, 1, 1))
    truth = rng.normal(0.0, [2.0, 0.5], (4000, 2))
    assert design.nees(truth, np.zeros((4000, 2)), P).mean() == pytest.approx(2.0, rel=0.05)
    low, high = design.nis_bounds(100)
    means = rng.normal(0.0, 1.0, (2000, 100)) ** 2
    assert np.mean((means.mean(axis=1) > low) & (means.mean(axis=1) < high)) == pytest.approx(0.95, abs=0.02)
