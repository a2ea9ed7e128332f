"""The bank is a Kalman filter, for every row alike: filterpy, one row at a time, is the oracle."""

from types import ModuleType

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.kalman import Gate, diagonal, of_rows, update
from fusion.models import altitude, position
from simulators.evaluation.bank_cases import CASES, Case, of_some, oracle_of, run, run_oracle, start, stream

CLOSE = 1e-9

models = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
seeds = st.integers(0, 2**32 - 1)


@models
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_a_stream_of_scalars_gives_what_filterpy_gives(case: Case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 3
    x, P = start(case, rng, n)
    told = stream(case, rng, n, 20)
    bank_x, bank_P = run(case, x, P, told)
    for row in range(n):
        oracle = oracle_of(case, x[:, row], P[:, :, row])
        run_oracle(case, oracle, told, row)
        np.testing.assert_allclose(bank_x[:, row], oracle.x, rtol=CLOSE, atol=CLOSE)
        np.testing.assert_allclose(bank_P[:, :, row], oracle.P, rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize(("name", "transition"), [("position", position), ("altitude", altitude)])
@settings(deadline=None)
@given(seed=seeds)
def test_the_smoother_s_matrices_are_the_filter_s(name: str, transition: ModuleType, seed: int) -> None:
    case = CASES[name]
    way = case.way(np.random.default_rng(seed), 4)
    if name == "position":
        way = np.vstack([way, np.full(4, np.inf)])  # what bounds the speed, which no matrix holds
    for got, m in zip(zip(*transition.transition(list(way)), strict=True), way.T, strict=True):
        for one, other in zip(got, case.matrices(m[:2] if name == "position" else m), strict=True):
            np.testing.assert_allclose(one, other, rtol=CLOSE, atol=CLOSE)


@models
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_scalars_one_after_the_other_are_the_vector_that_they_make(case: Case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, P = start(case, rng, 1)
    oracle = KalmanFilter(dim_x=case.states, dim_z=case.states)
    oracle.x, oracle.P = x[:, 0].copy(), P[:, :, 0].copy()
    for _ in range(10):
        way, H = case.way(rng, 1), rng.normal(size=(case.states, case.states))
        z, R = rng.normal(size=case.states), rng.uniform(0.1, 9.0, case.states)
        x, P = case.predict(x.copy(), P.copy(), way)
        m = case.matrices(way[:, 0])
        oracle.predict(u=m.u, B=np.eye(case.states), F=m.F, Q=m.Q)
        oracle.update(z, R=np.diag(R), H=H)
        for h, value, variance in zip(H, z, R, strict=True):
            row = tuple((i, h[i : i + 1]) for i in range(case.states))
            residual = np.array([value - h @ x[:, 0]])
            x, P, _, _ = update(x, P, residual, row, np.array([variance]), np.ones(1, dtype=bool))
        np.testing.assert_allclose(x[:, 0], oracle.x, rtol=CLOSE, atol=CLOSE)
        np.testing.assert_allclose(P[:, :, 0], oracle.P, rtol=CLOSE, atol=CLOSE)


@models
@settings(max_examples=15, deadline=None)
@given(seed=seeds, exact=st.booleans())
def test_the_covariance_stays_symmetric_and_positive(case: Case, seed: int, *, exact: bool) -> None:
    rng = np.random.default_rng(seed)
    x, P = start(case, rng, 5)
    for one in stream(case, rng, 5, 60):
        one = one._replace(R=np.full(5, 1e-9)) if exact else one
        x, P = run(case, x, P, [one])
        np.testing.assert_array_equal(P, P.transpose(1, 0, 2))
        scale = np.sqrt(np.einsum("iin->in", P))
        assert (scale > 0.0).all()
        correlation = P / scale[:, None] / scale[None]
        assert np.linalg.eigvalsh(correlation.transpose(2, 0, 1)).min() > -1e-9
        assert np.isfinite(x).all()


@models
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_a_row_s_bits_depend_neither_on_its_neighbours_nor_on_its_place(case: Case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 100
    x, P = start(case, rng, n)
    told = stream(case, rng, n, 12)
    whole_x, whole_P = run(case, x, P, told, Gate())
    order = rng.permutation(n)
    some_x, some_P = run(case, x[:, order], P[:, :, order], [of_some(one, order) for one in told], Gate())
    np.testing.assert_array_equal(some_x, whole_x[:, order])
    np.testing.assert_array_equal(some_P, whole_P[:, :, order])
    for row in range(0, n, 7):
        at = np.array([row])
        one_x, one_P = run(case, x[:, at], P[:, :, at], [of_some(one, at) for one in told], Gate())
        np.testing.assert_array_equal(one_x, whole_x[:, at])
        np.testing.assert_array_equal(one_P, whole_P[:, :, at])


def one_scalar(nis: float, gate: Gate | None) -> tuple[float, float, bool]:
    """The first state, its variance and whether it was taken, after one measurement of this NIS."""
    x, P = np.zeros((2, 1)), diagonal(2.0, 1.0, n=1)
    y = np.array([(nis * 3.0) ** 0.5])  # S = 2 + 1
    moved = update(x, P, y, ((0, None),), np.ones(1), np.ones(1, dtype=bool), gate)
    assert moved.nis[0] == pytest.approx(nis)
    return float(moved.x[0, 0]), float(moved.P[0, 0, 0]), bool(moved.taken[0])


@settings(deadline=None)
@given(nis=st.floats(0.0, 4.0), reject=st.floats(4.0, 1e3))
def test_what_is_plausible_passes_the_gate_as_if_there_were_none(nis: float, reject: float) -> None:
    assert one_scalar(nis, Gate(4.01, reject)) == one_scalar(nis, None)


@settings(deadline=None)
@given(inflate=st.floats(1.0, 30.0), factor=st.floats(1.01, 9.0))
def test_the_gate_inflates_until_the_measurement_is_as_plausible_as_its_limit(
    inflate: float, factor: float
) -> None:
    """The NIS with the larger noise is the limit itself: S grows by what the NIS is above it."""
    nis = inflate * factor
    x, P, taken = one_scalar(nis, Gate(inflate, nis * 1.01))
    S = 3.0 * factor
    assert taken
    assert x == pytest.approx(2.0 / S * (nis * 3.0) ** 0.5)
    assert pytest.approx(2.0 - 4.0 / S) == P
    plain_x, plain_P, _ = one_scalar(nis, None)
    assert x < plain_x
    assert plain_P < P


@settings(deadline=None)
@given(reject=st.floats(9.0, 1e3), factor=st.floats(1.01, 1e6))
def test_above_the_second_limit_nothing_moves(reject: float, factor: float) -> None:
    assert one_scalar(reject * factor, Gate(9.0, reject)) == (0.0, 2.0, False)


@settings(deadline=None)
@given(seed=seeds)
def test_rows_without_a_measurement_come_back_bit_for_bit_whatever_it_reads(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 4))
    P = of_rows(np.einsum("nij,nkj->nik", *(2 * [rng.normal(size=(4, 3, 3))])))
    P = 0.5 * (P + P.transpose(1, 0, 2))
    use = np.array([True, False, False, False])
    residual = np.array([1.0, np.nan, np.inf, -np.inf])
    after = update(x, P, residual, ((0, None), (2, np.ones(4))), np.ones(4), use, Gate())
    np.testing.assert_array_equal(after.x[:, 1:], x[:, 1:])
    np.testing.assert_array_equal(after.P[:, :, 1:], P[:, :, 1:])
    assert not after.taken[1:].any()
