"""Ascent and descent from relative height, by hysteresis.

A swing counts in full once it is larger than max(1.5 m, 3 sigma of the height): noise on the flat adds
nothing, and nothing is cut from a hill. ``turn`` is the newest extreme in the present direction.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion.kalman import Floats

THRESHOLD_M = 1.5
SIGMAS = 3.0


class Climb(NamedTuple):
    """Where the hysteresis stands, n rows."""

    direction: Floats  # 1 up, -1 down, 0 not known yet
    turn_m: Floats  # NaN before the first height
    up_m: Floats
    down_m: Floats


def fields(prefix: str) -> list[tuple[Any, ...]]:
    """Return the table's fields of one hysteresis."""
    return [(f"{prefix}_{name}", np.float64) for name in Climb._fields]


def advance(climb: Climb, height_m: Floats, sigma_m: Floats) -> Climb:
    """Return the hysteresis after one height of each row, m, (n,)."""
    threshold = np.maximum(THRESHOLD_M, SIGMAS * sigma_m)
    turn = np.where(np.isnan(climb.turn_m), height_m, climb.turn_m)
    swing = height_m - turn
    onward = (climb.direction * swing) > 0.0
    turned = (np.abs(swing) > threshold) & ~onward
    gain = np.where(onward | turned, swing, 0.0)
    return Climb(
        np.where(turned, np.sign(swing), climb.direction),
        np.where(onward | turned, height_m, turn),
        climb.up_m + np.maximum(gain, 0.0),
        climb.down_m + np.maximum(-gain, 0.0),
    )
