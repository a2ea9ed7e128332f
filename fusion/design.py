"""What filterpy is asked for: noise coefficients, smoothing, and statistics. Nothing else imports it.

filterpy imports in more than a second (it draws in matplotlib), so each function imports it when it is first
called. What the models need on every step is asked for once, at a step of one second, and scaled by the
known powers of dt.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def load() -> None:
    """Import filterpy now: whoever works on live data cannot stand still for a second at the first fix."""
    import filterpy.common
    import filterpy.kalman  # noqa: F401


@cache
def white_noise(states: int) -> tuple[tuple[float, ...], ...]:
    """Return Q of a chain of integrators driven by continuous white noise of density 1, at dt = 1 s.

    Element (i, j) grows with dt to the power ``states``·2 - 1 - i - j: see `white_noise_powers`. Labbe,
    filterpy, Q_continuous_white_noise; Bar-Shalom, Li and Kirubarajan 2001, section 6.2.2.

    Parameters
    ----------
    states : int
        2 (value and rate) or 3.
    """
    from filterpy.common import Q_continuous_white_noise

    return tuple(tuple(float(value) for value in row) for row in Q_continuous_white_noise(states, 1.0, 1.0))


def white_noise_powers(states: int) -> tuple[tuple[int, ...], ...]:
    """Return the power of dt by which each element of `white_noise` grows."""
    return tuple(tuple(2 * states - 1 - i - j for j in range(states)) for i in range(states))


def scaled_white_noise(dt_s: Floats, density: Floats | float) -> tuple[Floats, Floats, Floats]:
    """Return q00, q01 and q11 of a value and its rate, each (n,), for steps of dt_s.

    Parameters
    ----------
    dt_s : (n,) float64
    density : (n,) float64 or float
        Power spectral density of the second derivative, unit^2/s^3.
    """
    (c00, c01), (_, c11) = white_noise(2)
    driven = density * dt_s
    squared = driven * dt_s
    return c00 * (squared * dt_s), c01 * squared, c11 * driven


def smooth(x: Floats, P: Floats, F: Floats, Q: Floats, u: Floats) -> tuple[Floats, Floats]:
    """Return the Rauch-Tung-Striebel smoothed states and covariances of one filtered run.

    Known inputs are taken out before filterpy's smoother, which has none, and put back afterwards: with
    c[i+1] = F c[i] + u[i+1], x - c obeys the same model without input.

    Parameters
    ----------
    x : (m, k) float64
        Filtered states in the order of time.
    P : (m, k, k) float64
    F, Q : (m, k, k) float64
        Transition and noise from the entry before into each entry; the first is not used.
    u : (m, k) float64
        Known input added on the way into each entry; the first is not used.

    Raises
    ------
    numpy.linalg.LinAlgError
        A predicted covariance is singular.
    """
    from filterpy.kalman import rts_smoother

    known = np.zeros_like(x)
    for i in range(1, len(x)):
        known[i] = F[i] @ known[i - 1] + u[i]
    # filterpy takes the transition out of an entry where we hold the one into it.
    smoothed, covariance, _, _ = rts_smoother(x - known, P, np.roll(F, -1, axis=0), np.roll(Q, -1, axis=0))
    return np.asarray(smoothed + known), np.asarray(covariance)


def nees(truth: Floats, x: Floats, P: Floats) -> Floats:
    """Return the normalised estimation error squared of each of m states, (m,); its mean is k when honest.

    Parameters
    ----------
    truth, x : (m, k) float64
    P : (m, k, k) float64
    """
    from filterpy.stats import NEES

    return np.array(NEES(truth, x, P), dtype=np.float64).reshape(len(x))


def nis_bounds(count: int, probability: float = 0.95) -> tuple[float, float]:
    """Return the interval in which the mean of ``count`` honest scalar NIS lies with ``probability``.

    The chi-square quantile by Wilson and Hilferty 1931 (doi 10.1073/pnas.17.12.684), better than 1 % for
    count >= 10.
    """
    from statistics import NormalDist

    z = NormalDist().inv_cdf(0.5 + probability / 2.0)
    spread = 2.0 / (9.0 * count)
    return (1.0 - spread - z * spread**0.5) ** 3, (1.0 - spread + z * spread**0.5) ** 3
