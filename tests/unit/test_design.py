"""What is asked of filterpy is what filterpy gives; and it is asked late."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filterpy.common import Q_continuous_white_noise
from filterpy.kalman import KalmanFilter, rts_smoother
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import design
from fusion.history import ENTRIES_MAX, LOOK_AHEAD, STAGGER, History
from fusion.kalman import Floats

ROOT = Path(__file__).parents[2]


@settings(deadline=None)
@given(dt_s=st.floats(1e-3, 600.0), density=st.floats(1e-6, 1e3))
def test_white_noise_grows_with_dt_as_filterpy_says(dt_s: float, density: float) -> None:
    q00, q01, q11 = design.scaled_white_noise(np.array([dt_s]), density)
    Q = Q_continuous_white_noise(2, dt_s, density)
    np.testing.assert_allclose([[q00[0], q01[0]], [q01[0], q11[0]]], Q, rtol=1e-12)


@pytest.mark.parametrize("states", [2, 3])
@settings(deadline=None)
@given(dt_s=st.floats(1e-3, 600.0))
def test_each_coefficient_grows_with_its_power_of_dt(states: int, dt_s: float) -> None:
    powers = np.array(design.white_noise_powers(states))
    scaled = np.array(design.white_noise(states)) * dt_s ** powers.astype(float)
    np.testing.assert_allclose(scaled, Q_continuous_white_noise(states, dt_s, 1.0), rtol=1e-12)


@pytest.mark.parametrize("module", ["fusion.athletes", "fusion.timebase", "fusion.design", "server.engine"])
def test_importing_it_does_not_import_filterpy(module: str) -> None:
    code = f"import sys, {module}; print({{'filterpy', 'matplotlib'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class Filtered:
    """A value and its rate, filtered by filterpy over irregular steps with known inputs."""

    def __init__(self, seed: int, length: int) -> None:
        rng = np.random.default_rng(seed)
        self.dt = rng.uniform(0.2, 3.0, length)
        self.u = rng.normal(size=(length, 2))
        one = KalmanFilter(dim_x=2, dim_z=1, dim_u=2)
        one.x, one.P, one.H, one.R = rng.normal(size=2), np.diag([4.0, 1.0]), np.array([[1.0, 0.0]]), 1.0
        xs, Ps = [], []
        for i in range(length):
            if i:
                one.predict(u=self.u[i], B=np.eye(2), F=self.transition(i), Q=self.noise(i))
            one.update(2.0 * rng.normal())
            xs.append(one.x.copy())
            Ps.append(one.P.copy())
        self.x, self.P = np.array(xs), np.array(Ps)
        self.t_ns = 1_790_000_000 * 10**9 + (np.cumsum(self.dt) * 1e9).astype(np.int64)
        self.way = np.column_stack([self.dt, self.u])

    def transition(self, i: int) -> Floats:
        return np.array([[1.0, self.dt[i]], [0.0, 1.0]])

    def noise(self, i: int) -> Floats:
        return np.asarray(Q_continuous_white_noise(2, self.dt[i], 0.3))


def transition(way: list[Floats]) -> tuple[Floats, Floats, Floats]:
    dt, u0, u1 = way
    F = np.array([[[1.0, t], [0.0, 1.0]] for t in dt])
    Q = np.array([Q_continuous_white_noise(2, t, 0.3) for t in dt])
    return F, Q, np.column_stack([u0, u1])


def rauch_tung_striebel(one: Filtered, part: slice = slice(None)) -> tuple[Floats, Floats]:
    """The smoother of Rauch, Tung and Striebel 1965, with inputs, written out, over a part of a run."""
    x, P = one.x.copy(), one.P.copy()
    entries = range(len(x))[part]
    for i in entries[-2::-1]:
        F = one.transition(i + 1)
        predicted = F @ one.P[i] @ F.T + one.noise(i + 1)
        K = one.P[i] @ F.T @ np.linalg.inv(predicted)
        x[i] += K @ (x[i + 1] - F @ one.x[i] - one.u[i + 1])
        P[i] += K @ (P[i + 1] - predicted) @ K.T
    return x[part], P[part]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 40))
def test_smoothing_without_inputs_is_filterpy_s(seed: int, length: int) -> None:
    one = Filtered(seed, length)
    F, Q, u = transition([one.dt, *np.zeros((2, length))])
    x, P = design.smooth(one.x, one.P, F, Q, u)
    # filterpy wants the transition out of an entry; the last one's is not used.
    out_F, out_Q = [*F[1:], np.eye(2)], [*Q[1:], np.eye(2)]
    their_x, their_P, _, _ = rts_smoother(one.x, one.P, out_F, out_Q)
    np.testing.assert_allclose(x, their_x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(P, their_P, rtol=1e-9, atol=1e-9)


def history(
    one: Filtered, starts: frozenset[int] = frozenset()
) -> tuple[History, int, Floats, Floats, list[int]]:
    """A run through a history, flushed as it asks and at the end: the states and the pieces' lengths."""
    kept, column = History(2, 3, transition), np.array([-1], dtype=np.int32)
    pieces = []
    for i in range(len(one.x)):
        full = kept.append(
            column,
            np.array([0]),
            one.t_ns[i : i + 1],
            np.array([i in starts]),
            one.x[i][:, None],
            one.P[i][:, :, None],
            one.way[i][:, None],
        )
        for wants in full:
            pieces += kept.flush(wants)
    slot = int(column[0])
    pieces += kept.flush(slot, everything=True)
    x, P = np.full_like(one.x, np.nan), np.full_like(one.P, np.nan)
    for piece in pieces:
        at = np.searchsorted(one.t_ns, piece.t_ns)
        x[at], P[at] = piece.x, piece.P
    return kept, slot, x, P, [len(piece.t_ns) for piece in pieces]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, ENTRIES_MAX - STAGGER))
def test_a_history_that_is_not_full_is_smoothed_as_one_run_with_its_inputs(seed: int, length: int) -> None:
    one = Filtered(seed, length)
    _, _, x, P, pieces = history(one)
    their_x, their_P = rauch_tung_striebel(one)
    assert pieces == [length]
    np.testing.assert_allclose(x, their_x, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(P, their_P, rtol=1e-9, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_long_history_is_smoothed_piece_by_piece_as_if_it_were_one_run(seed: int) -> None:
    one = Filtered(seed, 5 * ENTRIES_MAX)
    _, _, x, P, pieces = history(one)
    their_x, their_P = rauch_tung_striebel(one)
    # Neighbouring pieces share one entry, so that every way is in one of them.
    assert sum(pieces) == len(one.x) + len(pieces) - 1
    assert max(pieces) <= ENTRIES_MAX
    # Look-ahead is many time constants: what lies beyond it moves by less than a hundredth of a sigma.
    sigma = np.sqrt(np.einsum("mii->mi", their_P))
    assert (np.abs(x - their_x) / sigma).max() < 0.01
    np.testing.assert_allclose(P, their_P, atol=0.01)
    assert LOOK_AHEAD < ENTRIES_MAX - STAGGER


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(2, ENTRIES_MAX - STAGGER), cut=st.integers(0, 99))
def test_sections_are_smoothed_as_runs_of_their_own(seed: int, length: int, cut: int) -> None:
    cut = 1 + cut % (length - 1)
    one = Filtered(seed, length)
    _, _, x, P, pieces = history(one, frozenset({cut}))
    assert pieces == [cut, length - cut]
    for part in (slice(0, cut), slice(cut, length)):
        their_x, their_P = rauch_tung_striebel(one, part)
        np.testing.assert_allclose(x[part], their_x, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(P[part], their_P, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(0, 40))
def test_a_slot_that_is_put_back_smooths_to_the_same_bits(seed: int, length: int) -> None:
    one = Filtered(seed, 40)
    kept, other = History(2, 3, transition), History(2, 3, transition)
    column, row = np.full(6, -1, dtype=np.int32), np.array([2])
    for i in range(length):
        entry = (one.x[i][:, None], one.P[i][:, :, None], one.way[i][:, None])
        kept.append(column, row, one.t_ns[i : i + 1], np.array([i == 0]), *entry)
    slot = int(column[2])
    assert (slot >= 0) == (length > 0)
    block = kept.snapshot(slot)
    elsewhere = np.full(6, -1, dtype=np.int32)
    for i in range(5):
        other.open(elsewhere, i)
    assert other.holds(block)
    assert not other.holds(block + b"\0")
    other.restore(elsewhere, 5, block)
    there = int(elsewhere[5])
    assert not block or other.row_of(there) == 5
    assert other.snapshot(there) == block
    first, again = kept.flush(slot, everything=True), other.flush(there, everything=True)
    assert len(first) == len(again) == min(length, 1)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.x, b.x)
        np.testing.assert_array_equal(a.P, b.P)
    assert kept.flush(slot, everything=True) == []


def test_a_slot_that_is_reused_is_empty() -> None:
    one = Filtered(0, 1)
    kept, column = History(2, 3, transition), np.array([-1, -1], dtype=np.int32)
    entry = (one.t_ns, np.array([True]), one.x.T, one.P.transpose(1, 2, 0), one.way.T)
    kept.append(column, np.array([0]), *entry)
    slot = int(column[0])
    kept.close(column, 0)
    assert column[0] == -1
    assert kept.open(column, 1) == slot
    assert kept.flush(slot, everything=True) == []


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_honest_estimate_s_squared_error_is_the_number_of_its_states(seed: int) -> None:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(3, 3)) + 3.0 * np.eye(3)
    errors = rng.normal(size=(2_000, 3)) @ A.T
    P = np.repeat((A @ A.T)[None], len(errors), axis=0)
    squared = design.nees(errors, np.zeros_like(errors), P)
    assert squared.shape == (2_000,)
    assert abs(squared.mean() - 3.0) < 5.0 * (2.0 * 3.0 / len(errors)) ** 0.5


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # Chi-square quantiles at 2.5 % and 97.5 % over their degrees of freedom: NIST/SEMATECH, table 1.3.6.7.4.
    [(10, 0.3247, 2.0483), (30, 0.5597, 1.5660), (100, 0.7422, 1.2956)],
)
def test_bounds_of_a_mean_nis_are_those_of_the_chi_square_tables(count: int, low: float, high: float) -> None:
    assert design.nis_bounds(count) == pytest.approx((low, high), rel=0.01)
