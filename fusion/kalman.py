"""The Kalman bank: one call predicts or updates every row of a model.

Arrays hold rows last: x is (k, n), P is (k, k, n), so that each operation is elementwise over n rows. The
order of operations is fixed and no sum runs over rows: one row and a thousand rows give the same bits.
Symbols are those of the literature: x, P, F, H, Q, R; S is the innovation's variance and K the gain.

Measurements enter one scalar at a time, which needs no inverse. Covariances are updated in Joseph's form
(Bucy and Joseph 1968, eq. 16.5), which stays symmetric and positive for any gain.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

REJECTS_MAX = 5  # this many in a row and the filter is what is wrong, not the measurements


class Gate(NamedTuple):
    """Limits on the normalised innovation squared (NIS), which is 1 on average for a consistent scalar.

    Above ``inflate`` a measurement counts less, as if its noise were what makes it plausible; above
    ``reject`` it is not used at all.
    """

    inflate: float = 9.0
    reject: float = 100.0


class Update(NamedTuple):
    """What a scalar update gave: the new x (k, n) and P (k, k, n), the NIS (n,), and which rows took it (n,)."""

    x: Floats
    P: Floats
    nis: Floats
    taken: Mask


def product(A: Floats, B: Floats) -> Floats:
    """Return A @ B per row, (i, k, n) and (k, j, n) to (i, j, n), summed over k from first to last."""
    result: Floats = A[:, :1] * B[:1]
    for k in range(1, A.shape[1]):
        result = result + A[:, k : k + 1] * B[k : k + 1]
    return result


def predict(x: Floats, P: Floats, F: Floats, Q: Floats) -> tuple[Floats, Floats]:
    """Return x and P one transition later: F x and F P F' + Q.

    Parameters
    ----------
    x : (k, n) float64
    P, F, Q : (k, k, n) float64
        F and Q may have n = 1 where they are the same for all rows.
    """
    moved = product(F, x[:, None])[:, 0]
    spread = product(product(F, P), F.transpose(1, 0, 2)) + Q
    return moved, symmetric(spread)


def symmetric(P: Floats) -> Floats:
    """Return the symmetric part of P, (k, k, n)."""
    half: Floats = 0.5 * (P + P.transpose(1, 0, 2))
    return half


def projected(P: Floats, H: Floats) -> Floats:
    """Return P H' per row, (k, n), for a measurement row H, (k, n)."""
    result: Floats = P[:, 0] * H[:1]
    for k in range(1, H.shape[0]):
        result = result + P[:, k] * H[k : k + 1]
    return result


def inner(a: Floats, b: Floats) -> Floats:
    """Return the inner product over the first axis of two (k, n) arrays, (n,), from first to last."""
    result: Floats = a[0] * b[0]
    for k in range(1, a.shape[0]):
        result = result + a[k] * b[k]
    return result


def gated(nis: Floats, S: Floats, gate: Gate) -> tuple[Floats, Mask]:
    """Return the variance to add to R so that the NIS falls to the gate, and which rows may be used at all.

    Parameters
    ----------
    nis, S : (n,) float64
        Normalised innovation squared, and the innovation's variance.
    """
    taken = nis <= gate.reject
    extra = S * (np.maximum(nis / gate.inflate, 1.0) - 1.0)
    return np.where(taken, extra, 0.0), taken


def update(
    x: Floats, P: Floats, residual: Floats, H: Floats, R: Floats, use: Mask, gate: Gate = Gate()
) -> Update:
    """Update with one scalar measurement per row.

    Parameters
    ----------
    x : (k, n) float64
    P : (k, k, n) float64
    residual : (n,) float64
        z - h(x), so that h may be non-linear; anything where ``use`` is False.
    H : (k, n) float64
        Gradient of h at x.
    R : (n,) float64
        Variance of the measurement, more than 0.
    use : (n,) bool
        Rows that have a measurement; the others come back bit for bit.
    """
    PHt = projected(P, H)
    S = inner(H, PHt) + R
    y = np.where(use, residual, 0.0)
    nis = y * y / S
    extra, taken = gated(nis, S, gate)
    taken = taken & use
    R = np.where(taken, R + extra, 0.0)
    K = np.where(taken, PHt / (S + extra), 0.0)
    x = x + K * y
    # (I - K H) P (I - K H)' + K R K', each factor applied as the rank-one change that it is.
    M = P - K[:, None] * PHt[None]
    P = M - projected(M, H)[:, None] * K[None] + K[:, None] * K[None] * R
    return Update(x, symmetric(P), nis, taken)


def of_rows(table: Floats) -> Floats:
    """Return (n, k) or (n, k, k) rows of a table as the bank's (k, n) or (k, k, n), contiguous."""
    return np.ascontiguousarray(table.T)


def diagonal(*variances: Floats | float, n: int) -> Floats:
    """Return (k, k, n) with the k variances, each a number or (n,), on the diagonal."""
    k = len(variances)
    P = np.zeros((k, k, n))
    for i, variance in enumerate(variances):
        P[i, i] = variance
    return P
