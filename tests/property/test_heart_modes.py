"""The heart's modes are filterpy's interacting multiple model, and each row is its own."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.kalman import Floats
from fusion.models import heart_modes
from simulators.evaluation.bank_cases import drawn, filterpy_s

seeds = st.integers(0, 2**32 - 1)


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
