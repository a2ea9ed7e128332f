"""Gaps between fixes, longer than a measurement speaks for: the way across one tells the mean speed.

Distance counts that way, so moving time and energy count the time that it took. How the athlete went in
between, nobody heard: a part of such a gap stays time of which nothing told.
"""

from typing import NamedTuple

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.models import position
from fusion.table import Table

REACH_NS = 15_000_000_000  # a measurement speaks for at most so long before it
OPEN_SHARE = 0.2  # of a gap with a way across it: what counts as time of which nothing told
LOST_SHARE = 0.5  # one sigma of a total, of what it may be in time of which nothing told


class Gap(NamedTuple):
    """The part of gaps for which no measurement speaks: n rows, each at most once."""

    rows: timer.Rows
    since_ns: timer.Times  # of the fix before
    until_ns: timer.Times  # from here on the fix after it speaks, if it tells a speed
    mean_mps: Floats


def between(state: Table, step: position.Step, way_m: Floats) -> Gap:
    """Return the gaps before a round of fixes, over ways of way_m (NaN: distance counts none by fixes).

    What noise may have made of a straight line is taken off in square, so that hops are no way.
    """
    far = (step.t_ns - step.before_ns > REACH_NS) & np.isfinite(way_m)
    noise_m = np.where(step.joined, 0.0, state["pos_accuracy_m"][step.rows])[far]
    way_m = np.sqrt(np.maximum(way_m[far] ** 2 - noise_m * noise_m, 0.0))
    since_ns, t_ns = step.before_ns[far], step.t_ns[far]
    # A filter that starts anew knows no speed but Doppler's, and that only with a course.
    told: Mask = (step.joined | (step.speed_mps > 0.0) | (step.doppler_mps < position.STILL_MPS))[far]
    until_ns = np.where(told, t_ns - REACH_NS, t_ns)
    return Gap(step.rows[far], since_ns, until_ns, way_m / ((t_ns - since_ns) * 1e-9))
