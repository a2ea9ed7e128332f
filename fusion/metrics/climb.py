"""Ascent and descent from relative height, by hysteresis.

A swing counts in full once it is larger than max(1.5 m, 3 sigma of the height): noise on the flat adds
nothing, and nothing is cut from a hill. What is not counted of the newest swing is ``held``.

Heights of recordings, and of satellites, wander by more than their sigma says: wind at a watch's port, a
receiver's slow error, a maker's own treatment. Such wander makes many small swings, hills make few. So of
the swings beyond FINE_M the share of those below THRESHOLD_M is learnt, and the mean of those that may be
wander: where small ones are many, a swing must be larger than that mean by a factor. A barometer's own noise
is known, and needs none of this.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion.kalman import Floats, Mask

THRESHOLD_M = 1.5
SIGMAS = 3.0
FINE_M = 0.5  # swings that are looked at: more than two steps of 0.2 m, in which most recordings tell heights
MANY = 0.3  # share of small swings
LARGER = 1.75  # than the mean of wander, where small swings are many
LARGE_M = 6.0  # a larger swing is no wander
SMALL_SHARE, WANDER_M = 0.15, 1.5  # share and mean before any swing was seen
SWINGS = 10.0  # in which both are learnt
_SINGLE = ("direction", "fine_m", "back_m", "small", "wander_m")  # single precision is enough


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
    wander_m: Floats  # mean of those that are not large, less WANDER_M


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
    threshold = np.maximum(THRESHOLD_M, SIGMAS * sigma_m)
    if not known.all():
        climb = _learn(climb, rise, ~known)
        many = np.minimum((SMALL_SHARE + climb.small) / MANY, 1.0)
        more = many * np.maximum(LARGER * (WANDER_M + climb.wander_m) - THRESHOLD_M, 0.0)
        threshold = np.maximum(threshold, THRESHOLD_M + np.where(known, 0.0, more))
    swing = climb.held_m + rise
    onward = (climb.direction * swing) > 0.0
    turned = (np.abs(swing) > threshold) & ~onward
    gain = np.where(onward | turned, swing, 0.0)
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
    wanders = ended & (size < LARGE_M)
    small, wander = climb.small, climb.wander_m
    off_small, off_wander = (size < THRESHOLD_M) - SMALL_SHARE - small, size - WANDER_M - wander
    return climb._replace(
        fine_m=np.where(onward, climb.fine_m + back, np.where(turned, back, climb.fine_m)),
        back_m=np.where(onward | turned, 0.0, back),
        small=np.where(ended, small + off_small / SWINGS, small),
        wander_m=np.where(wanders, wander + off_wander / SWINGS, wander),
    )
