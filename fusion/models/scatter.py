"""How far fixes scatter, told by Doppler speed, where a receiver does not smooth them.

A step from fix to fix is as long as Doppler speed says, but for noise: so half the mean square of what both
differ by is the variance of what scatters from fix to fix. It leaves out what the filter's own innovations
would blame on a receiver: a bend at full speed is a step of the right length. Hops, which are rare and far,
are the gate's: of a difference no more than three sigmas counts.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.table import Table

MEMORY = 100.0  # fixes, as of rest
FIXES_MIN = 5.0  # that the first ones count for at most
SPAN_S = 1.5  # between fixes further apart the way bends
HOP = 9.0  # times the variance; more is a hop
FLOOR_M2 = 0.1  # what every receiver may scatter by
SLOW_MPS = 0.8  # slower a step is mostly noise, which has no direction

FIELDS: list[tuple[Any, ...]] = [("scatter_m2", np.float64)]  # on each axis


def learn(
    state: Table, rows: timer.Rows, step_m: Floats, doppler_mps: Floats, scale: Floats, span_s: Floats
) -> None:
    """Learn from the fixes of a round.

    Parameters
    ----------
    step_m : (n,)
        From the fix before.
    doppler_mps : (n,)
        The mean of both fixes; NaN where none is told.
    scale : (n,)
        What Doppler speed is too long by, as a factor.
    span_s : (n,)

    What was learnt fades while nothing is told to learn from.
    """
    told = _told(doppler_mps, span_s)
    use: Mask = told & (doppler_mps > SLOW_MPS)
    off = step_m - np.where(use, doppler_mps, 0.0) * span_s / scale
    known = state["scatter_m2"][rows]
    one = np.minimum(0.5 * off * off, HOP * np.maximum(known, FLOOR_M2))
    gain = 1.0 / np.clip(state["pos_fixes"][rows], FIXES_MIN, MEMORY)
    fading = np.where(told, known, known * (1.0 - 1.0 / MEMORY))
    state["scatter_m2"][rows] = np.where(use, known + gain * (one - known), fading)


def of(state: Table, rows: timer.Rows, doppler_mps: Floats, span_s: Floats) -> Floats:
    """Return the variance that fixes like these scatter by, on each axis, m^2, (n,); 0: nothing is known."""
    return np.where(_told(doppler_mps, span_s), state["scatter_m2"][rows], 0.0)


def _told(doppler_mps: Floats, span_s: Floats) -> Mask:
    """Return which steps Doppler speed tells the length of."""
    told: Mask = np.isfinite(doppler_mps) & (span_s <= SPAN_S)
    return told
