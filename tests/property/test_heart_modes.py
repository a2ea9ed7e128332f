"""The heart's modes are filterpy's interacting multiple model, and each row is its own."""

import numpy as np
from filterpy.kalman import IMMEstimator, KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.kalman import Floats
from fusion.models import heart_modes
from fusion.models.heart_modes import MODES, RATE_DENSITY, SHARES, SLOPE_DENSITY, TAU_S

seeds = st.integers(0, 2**32 - 1)


def drawn(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """Return modes and shares of n rows."""
    modes = np.empty((5, 3, n))
    modes[0], modes[1] = rng.uniform(50.0, 180.0, (3, n)), rng.normal(0.0, 1.0, (3, n))
    modes[2], modes[4] = rng.uniform(0.5, 50.0, (2, 3, n))
    modes[3] = rng.uniform(-0.9, 0.9, (3, n)) * np.sqrt(modes[2] * modes[4])
    shares = rng.uniform(0.01, 1.0, (3, n))
    return modes, shares / shares.sum(axis=0)


def filterpy_s(modes: Floats, shares: Floats, dt_s: float) -> IMMEstimator:
    """Return the same of one row as filterpy has it, with the same decays."""
    filters = []
    for j in MODES:
        one = KalmanFilter(dim_x=2, dim_z=1)
        one.x = modes[:2, j].copy()
        one.P = np.array([[modes[2, j], modes[3, j]], [modes[3, j], modes[4, j]]])
        tau, q = TAU_S[j], SLOPE_DENSITY[j]
        a = heart_modes.decay(np.array(dt_s / tau))
        way = tau * (1.0 - a)
        one.F = np.array([[1.0, way], [0.0, a]])
        q00 = q * tau**3 * np.maximum(dt_s / tau - 2.0 * (1.0 - a) + 0.5 * (1.0 - a * a), 0.0)
        q01, q11 = 0.5 * q * way**2, 0.5 * q * tau * (1.0 - a * a)
        one.Q = np.array([[q00 + RATE_DENSITY[j] * dt_s, q01], [q01, q11]])
        one.H = np.array([[1.0, 0.0]])
        filters.append(one)
    keep = heart_modes.decay(np.array(dt_s / heart_modes.MEMORY_S))
    chain = keep * np.eye(3) + (1.0 - keep) * np.array(SHARES)
    return IMMEstimator(filters, shares, chain)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, dt_s=st.floats(0.01, 60.0))
def test_mixing_predicting_and_updating_is_filterpy_s(seed: int, dt_s: float) -> None:
    rng = np.random.default_rng(seed)
    modes, shares = drawn(rng, 1)
    imm = filterpy_s(modes[:, :, 0], shares[:, 0], dt_s)
    none = np.zeros(1)
    mean = heart_modes.combined(modes, shares)
    np.testing.assert_allclose([mean.rate[0], mean.slope[0]], imm.x, rtol=1e-9)
    P = [[mean.p00[0], mean.p01[0]], [mean.p01[0], mean.p11[0]]]
    np.testing.assert_allclose(P, imm.P, rtol=1e-9, atol=1e-9)
    imm.predict()
    new, new_shares = heart_modes.predict(modes, shares, mean, np.array([dt_s]), (none, none))
    np.testing.assert_allclose(new_shares[:, 0], imm.cbar, rtol=1e-9)
    z, R = rng.uniform(50.0, 180.0, 1), rng.uniform(0.5, 9.0, 1)
    learnt, _ = heart_modes.update(new, new_shares, z, R, none)
    for j, one in enumerate(imm.filters):
        if j != heart_modes.LOST:
            one.update(z, R=R.reshape(1, 1))
        expected = [*one.x, one.P[0, 0], one.P[0, 1], one.P[1, 1]]
        np.testing.assert_allclose(learnt[:, j, 0], expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_a_row_s_bits_do_not_depend_on_its_neighbours(seed: int) -> None:
    rng = np.random.default_rng(seed)
    modes, shares = drawn(rng, 7)
    dt_s, z, R, none = rng.uniform(0.0, 9.0, 7), rng.uniform(50.0, 180.0, 7), np.full(7, 2.0), np.zeros(7)

    def run(rows: slice) -> Floats:
        m, p = modes[..., rows], shares[:, rows]
        still = (none[rows], none[rows])
        m, p = heart_modes.predict(m, p, heart_modes.combined(m, p), dt_s[rows], still)
        return np.concatenate(
            [one.reshape(-1, m.shape[-1]) for one in heart_modes.update(m, p, z[rows], R[rows], none[rows])]
        )

    together = run(slice(None))
    for row in range(7):
        np.testing.assert_array_equal(run(slice(row, row + 1))[:, 0], together[:, row])
