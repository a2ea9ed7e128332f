"""Ascent and descent from relative height, by hysteresis.

A swing counts in full once it is larger than max(1.5 m, 3 sigma of the height): noise on the flat adds
nothing, and nothing is cut from a hill. What is not counted of the newest swing is ``held``.

Heights of recordings, and of satellites, wander by more than their sigma says: wind at a watch's port, a
receiver's slow error, a maker's own treatment. Such wander makes many small swings, hills make few. So of
the swings beyond FINE_M the share of those below THRESHOLD_M is learnt. Where small ones are many, a swing
must be larger by WANDER_M; and it counts for EXCESS of that less, since the highest and the lowest height of
a swing are where wander adds to the hill. A barometer's own noise is known, and needs none of this.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion.kalman import Floats, Mask

THRESHOLD_M = 1.5
SIGMAS = 3.0
FINE_M = 0.5  # swings that are looked at: more than two steps of 0.2 m, in which most recordings tell heights
MANY = 0.3  # share of small swings
WANDER_M = 1.5  # that heights go up and down by, beyond THRESHOLD_M, where small swings are many
EXCESS = 0.5  # of it is in a swing that counts: at its two ends wander is seldom whole
SMALL_SHARE = 0.15  # before any swing was seen
SWINGS = 10.0  # in which it is learnt
_SINGLE = ("direction", "fine_m", "back_m", "small")  # single precision is enough


class Climb(NamedTuple):
    """Where the hysteresis stands, n rows."""

    height_m: Floats  # the newest; NaN: the next one is where the last was, as after a pause
    direction: Floats  # 1 up, -1 down, 0 not known yet
    held_m: Floats  # since the newest extreme in that direction
    up_m: Floats
    down_m: Floats
    fine_m: Floats  # the newest swing of FINE_M, signed, from its beginning to its extreme
    back_m: Floats  # since that extreme
    small: Floats  # share of swings of FINE_M that are small, less SMALL_SHARE


def fields(prefix: str) -> list[tuple[Any, ...]]:
    """Return the table's fields of one hysteresis."""
    return [(f"{prefix}_{name}", np.float32 if name in _SINGLE else np.float64) for name in Climb._fields]


def clear(one: Any, prefix: str) -> None:
    """Make a row's hysteresis that of a workout that begins."""
    for name in Climb._fields:
        one[f"{prefix}_{name}"] = 0.0
    one[f"{prefix}_height_m"] = np.nan


def advance(climb: Climb, height_m: Floats, sigma_m: Floats, known: Mask) -> Climb:
    """Return the hysteresis after one height of each row, m, (n,).

    Parameters
    ----------
    height_m, sigma_m : (n,) float64
    known : (n,) bool
        Where sigma is all that heights wander by.
    """
    rise = np.where(np.isnan(climb.height_m), 0.0, height_m - climb.height_m)
    wander = np.zeros(len(rise))
    if not known.all():
        climb = _learn(climb, rise, ~known)
        wander = np.where(known, 0.0, WANDER_M * np.minimum((SMALL_SHARE + climb.small) / MANY, 1.0))
    threshold = np.maximum(THRESHOLD_M + wander, SIGMAS * sigma_m)
    swing = climb.held_m + rise
    onward = (climb.direction * swing) > 0.0
    turned = (np.abs(swing) > threshold) & ~onward
    gain = np.where(onward, swing, np.where(turned, swing - np.sign(swing) * EXCESS * wander, 0.0))
    return climb._replace(
        height_m=height_m,
        direction=np.where(turned, np.sign(swing), climb.direction),
        held_m=np.where(onward | turned, 0.0, swing),
        up_m=climb.up_m + np.maximum(gain, 0.0),
        down_m=climb.down_m + np.maximum(-gain, 0.0),
    )


def _learn(climb: Climb, rise_m: Floats, use: Mask) -> Climb:
    """Return the hysteresis with what swings of FINE_M tell after a rise, where ``use``."""
    back = climb.back_m + np.where(use, rise_m, 0.0)
    onward = (climb.fine_m * back) > 0.0
    turned = (np.abs(back) > FINE_M) & ~onward
    size = np.abs(climb.fine_m)
    ended = turned & (size > 0.0)
    off_small = (size < THRESHOLD_M) - SMALL_SHARE - climb.small
    return climb._replace(
        fine_m=np.where(onward, climb.fine_m + back, np.where(turned, back, climb.fine_m)),
        back_m=np.where(onward | turned, 0.0, back),
        small=np.where(ended, climb.small + off_small / SWINGS, climb.small),
    )
