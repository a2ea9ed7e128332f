"""The Kalman bank: one call predicts or updates every row of a model.

Arrays hold rows last: x is (k, n), P is (k, k, n), so that each operation is elementwise over n rows. The
order of operations is fixed and no sum runs over rows: one row and a thousand rows give the same bits.
Symbols are those of the literature: x, P, F, H, Q, R; S is the innovation's variance and K the gain.

Measurements enter one scalar at a time, which needs no inverse. Covariances are updated in Joseph's form
(Bucy and Joseph 1968, eq. 16.5), which stays symmetric and positive for any gain.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# One row of H: its states that are not zero, each with its factor, (n,), or None where that is 1.
Row = Sequence[tuple[int, Floats | None]]

REJECTS_MAX = 5  # this many in a row and the filter is what is wrong, not the measurements


class Gate(NamedTuple):
    """Limits on the normalised innovation squared (NIS), which is 1 on average for a consistent scalar.

    Above ``inflate`` a measurement counts less, as if its noise were what makes it plausible; above
    ``reject`` it is not used at all.
    """

    inflate: float = 9.0
    reject: float = 100.0


class Update(NamedTuple):
    """What a scalar update gave: new x (k, n), P (k, k, n), the NIS and which rows took it, (n,) each."""

    x: Floats
    P: Floats
    nis: Floats
    taken: Mask


def shear(x: Floats, P: Floats, into: slice | int, out_of: slice | int, factor: Floats) -> None:
    """Add ``factor`` times the states ``out_of`` to the states ``into``, in place.

    F is then I + factor e_into e_out'. Every transition here is a few of these one after another; call
    `symmetric` after the last.

    Parameters
    ----------
    x : (k, n) float64
    P : (k, k, n) float64
    into, out_of : slice or int
        As many states each; a single one is quicker told by its number.
    factor : (n,) float64
    """
    x[into] = x[into] + factor * x[out_of]
    P[into] = P[into] + factor * P[out_of]
    P[:, into] = P[:, into] + factor * P[:, out_of]


def decay(x: Floats, P: Floats, state: int, factor: Floats) -> None:
    """Multiply one state by a factor, (n,), in place."""
    x[state] = x[state] * factor
    P[state] = P[state] * factor
    P[:, state] = P[:, state] * factor


def drive(P: Floats, value: int, rate: int, q: tuple[Floats, Floats, Floats]) -> None:
    """Add the noise q00, q01, q11 of a value and its rate, in place."""
    P[value, value] = P[value, value] + q[0]
    P[value, rate] = P[value, rate] + q[1]
    P[rate, value] = P[rate, value] + q[1]
    P[rate, rate] = P[rate, rate] + q[2]


def symmetric(P: Floats) -> Floats:
    """Return the symmetric part of P, (k, k, n)."""
    half: Floats = 0.5 * (P + P.swapaxes(0, 1))
    return half


def projected(P: Floats, H: Row) -> Floats:
    """Return P H' per row, (k, n), summed in the order in which H lists its states."""
    result: Floats | None = None
    for state, factor in H:
        term = P[:, state] if factor is None else P[:, state] * factor
        result = term if result is None else result + term
    assert result is not None
    return result


def inner(H: Row, v: Floats) -> Floats:
    """Return H v per row, (n,), for v of (k, n), summed in the order in which H lists its states."""
    result: Floats | None = None
    for state, factor in H:
        term = v[state] if factor is None else v[state] * factor
        result = term if result is None else result + term
    assert result is not None
    return result


def gated(nis: Floats, S: Floats, gate: Gate) -> tuple[Floats, Mask]:
    """Return the variance to add to R so that the NIS falls to the gate, and which rows may be used at all.

    Parameters
    ----------
    nis, S : (n,) float64
        Normalised innovation squared, and the innovation's variance.
    """
    taken = nis <= gate.reject
    if not (nis > gate.inflate).any():
        return np.zeros_like(S), taken
    extra = S * (np.maximum(nis / gate.inflate, 1.0) - 1.0)
    return np.where(taken, extra, 0.0), taken


def update(
    x: Floats, P: Floats, residual: Floats, H: Row, R: Floats, use: Mask, gate: Gate | None = None
) -> Update:
    """Update with one scalar measurement per row.

    Parameters
    ----------
    x : (k, n) float64
    P : (k, k, n) float64
    residual : (n,) float64
        z - h(x), so that h may be non-linear; anything where ``use`` is False.
    H : Row
        Gradient of h at x.
    R : (n,) float64
        Variance of the measurement, more than 0.
    use : (n,) bool
        Rows that have a measurement; the others come back bit for bit.
    gate : Gate or None
        None takes every measurement as it is.
    """
    PHt = projected(P, H)
    S = inner(H, PHt) + R
    y = np.where(use, residual, 0.0)
    nis = y * y / S
    taken = use
    if gate is not None:
        extra, plausible = gated(nis, S, gate)
        taken = use & plausible
        R, S = R + extra, S + extra
    K = PHt / S
    moved = x + K * y
    # (I - K H) P (I - K H)' + K R K', each factor applied as the rank-one change that it is.
    M = P - K[:, None] * PHt
    spread = symmetric(M - projected(M, H)[:, None] * K + K[:, None] * (K * R))
    if not taken.all():
        moved, spread = np.where(taken, moved, x), np.where(taken, spread, P)
    return Update(moved, spread, nis, taken)


def of_rows(table: Floats) -> Floats:
    """Return (n, k) or symmetric (n, k, k) rows of a table as the bank's (k, n) or (k, k, n), contiguous."""
    return np.ascontiguousarray(table.T)


def diagonal(*variances: Floats | float, n: int) -> Floats:
    """Return (k, k, n) with the k variances, each a number or (n,), on the diagonal."""
    k = len(variances)
    return with_diagonal(np.zeros((k, k, n)), *variances)


def with_diagonal(P: Floats, *variances: Floats | float) -> Floats:
    """Return covariances of P's shape, (k, k, n), with the k variances on the diagonal, zeros else."""
    diagonal = np.zeros_like(P)
    for i, variance in enumerate(variances):
        diagonal[i, i] = variance
    return diagonal
