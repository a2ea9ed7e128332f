"""The models of the bank as independent matrices, and random streams for them: what filterpy is asked with.

`evaluate bank` states the differences and what both cost; tests/property holds them to it for any seed.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from filterpy.common import Q_continuous_white_noise, van_loan_discretization
from filterpy.kalman import IMMEstimator, KalmanFilter

from fusion.kalman import Floats, Gate, Mask, Row, diagonal, update
from fusion.models import altitude, heart_modes, position
from fusion.models.heart_modes import MODES, RATE_DENSITY, SHARES, SLOPE_DENSITY, TAU_S


class Matrices(NamedTuple):
    """A model's step of dt: F, Q and the known input u, as the literature has them."""

    F: Floats
    Q: Floats
    u: Floats


class Case(NamedTuple):
    """A model: its size, its prediction by the bank, and the same by independent matrices, for one way."""

    states: int
    sigma: tuple[float, ...]  # of each state at the start
    way: Callable[[np.random.Generator, int], Floats]  # (w, n), the first of which is dt
    predict: Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]
    matrices: Callable[[Floats], Matrices]
    seen: tuple[tuple[int, ...], ...]  # states that a measurement sees


def steps_s(rng: np.random.Generator, n: int) -> Floats:
    """Irregular steps, now and then none at all."""
    return np.where(rng.random(n) < 0.1, 0.0, rng.exponential(1.0, n))


def position_matrices(way: Floats) -> Matrices:
    """The continuous model, made discrete by van Loan's exponential; each axis, and the scale, on its own."""
    dt, density = way
    T = position.SCALE_TIME_S
    F, Q = np.eye(5), np.zeros((5, 5))
    f, q = van_loan_discretization(np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.0], [density**0.5]]), dt)
    for axis in (0, 1):
        at = np.ix_([axis, axis + 2], [axis, axis + 2])
        F[at], Q[at] = f, q
    spread = position.SCALE_SIGMA * (2.0 / T) ** 0.5
    f, q = van_loan_discretization(np.array([[-1.0 / T]]), np.array([[spread]]), dt)
    F[4, 4], Q[4, 4] = f[0, 0], q[0, 0]
    return Matrices(F, Q, np.zeros(5))


def altitude_matrices(way: Floats) -> Matrices:
    """Return the matrices of the altitude's way, as its equations say."""
    dt, density, span, rise, dv, drift = way
    F = np.array([[1, dt, -0.5 * dt * span, 0], [0, 1, -span, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    Q = np.zeros((4, 4))
    Q[:2, :2] = Q_continuous_white_noise(2, dt, density)
    Q[2, 2], Q[3, 3] = altitude.BIAS_DENSITY * span, drift
    return Matrices(F, Q, np.array([rise, dv, 0.0, 0.0]))


def altitude_way(rng: np.random.Generator, n: int) -> Floats:
    """Return random ways of n rows, (6, n), as `altitude.predict` takes them."""
    dt = steps_s(rng, n)
    return np.array(
        [dt, rng.uniform(1e-3, 1.0, n), dt * rng.random(n), rng.normal(size=n), rng.normal(size=n), 0.01 * dt]
    )


CASES = {
    "position": Case(
        5,
        (10.0, 10.0, 5.0, 5.0, 0.05),
        lambda rng, n: np.array([steps_s(rng, n), rng.uniform(0.1, 6.0, n)]),
        lambda x, P, way: position.predict(x, P, way[0], way[1]),
        position_matrices,
        ((0,), (1,), (2, 3, 4), (2, 3)),
    ),
    "altitude": Case(
        4, (3.0, 1.0, 0.03, 80.0), altitude_way, altitude.predict, altitude_matrices, ((0,), (0, 3))
    ),
}


class Stream(NamedTuple):
    """What happens to n rows at one moment: a step, and a scalar measurement of some of them."""

    way: Floats
    H: Row
    z: Floats
    R: Floats
    use: Mask


def start(case: Case, rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """Return random states of n rows and their covariances."""
    sigma = np.array(case.sigma)[:, None]
    return sigma * rng.normal(size=(case.states, n)), diagonal(*(s * s for s in case.sigma), n=n)


def stream(case: Case, rng: np.random.Generator, n: int, length: int) -> list[Stream]:
    """Return what happens to n rows at so many moments."""
    told = []
    for _ in range(length):
        seen = case.seen[rng.integers(len(case.seen))]
        H = tuple((state, None if len(seen) == 1 else rng.normal(size=n)) for state in seen)
        z = 5.0 * rng.normal(size=n)
        told.append(Stream(case.way(rng, n), H, z, rng.uniform(0.1, 9.0, n), rng.random(n) < 0.8))
    return told


def of_some(one: Stream, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Stream:
    """Return a moment of some rows alone."""
    H = tuple((state, None if factor is None else factor[rows]) for state, factor in one.H)
    return Stream(np.ascontiguousarray(one.way[:, rows]), H, one.z[rows], one.R[rows], one.use[rows])


def run(
    case: Case, x: Floats, P: Floats, told: list[Stream], gate: Gate | None = None
) -> tuple[Floats, Floats]:
    """Take a bank through a stream; return its states and covariances."""
    for one in told:
        x, P = case.predict(x.copy(), P.copy(), one.way)
        expected = sum(x[s] if f is None else x[s] * f for s, f in one.H)
        x, P, _, _ = update(x, P, one.z - expected, one.H, one.R, one.use, gate)
    return x, P


def oracle_of(case: Case, x: Floats, P: Floats) -> KalmanFilter:
    """Return filterpy's filter of one row of a bank."""
    oracle = KalmanFilter(dim_x=case.states, dim_z=1)
    oracle.x, oracle.P = x.copy(), P.copy()
    return oracle


def run_oracle(case: Case, oracle: KalmanFilter, told: list[Stream], row: int) -> None:
    """Take filterpy's filter through one row of a stream."""
    for one in told:
        m = case.matrices(one.way[:, row])
        oracle.predict(u=m.u, B=np.eye(case.states), F=m.F, Q=m.Q)
        H = np.zeros((1, case.states))
        for state, factor in one.H:
            H[0, state] = 1.0 if factor is None else factor[row]
        if one.use[row]:
            oracle.update(one.z[row], R=one.R[row], H=H)


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
