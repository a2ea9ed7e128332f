"""Moving time of the workout, s: what the timer ran and the athlete moved.

Fixes tell first, then wheel or foot pod, then steps or pedalling. Where none of them ever spoke, moving time
is the time that the timer ran.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.measurements import Source
from fusion.metrics.gap import LOST_SHARE, OPEN_SHARE, REACH_NS, Gap
from fusion.metrics.metric import OK, Raw, View, of_workout
from fusion.table import Fields, Picked, Table

MOVING_MPS = 0.4
CLOCK = int(Source.CLOCK)
PRIOR_NS = 10_000_000_000  # a better source that spoke in this time decides

FIELDS: list[tuple[Any, ...]] = [
    ("moving_s", np.float64),  # it only grows: by the clock while no source ever spoke, then by sources
    ("moving_t_ns", np.int64),  # accounted for up to here
    ("moving_source", np.int32),
    ("moving_lost_s", np.float64),  # time of which nothing told, and a share of gaps with a way across
]
TOTALS = ("moving_s", "moving_t_ns", "moving_source", "moving_lost_s")


def accrue(s: Fields, t_ns: timer.Times, moving: Mask, source: Any, use: Any = True) -> None:
    """Account for the time up to t_ns where a source tells whether the athlete moves, and ``use``."""
    counted = timer.counts(s, t_ns) & use
    before_ns, before_s = s["moving_t_ns"], s["moving_s"]
    since = np.maximum(before_ns, t_ns - REACH_NS)
    span = timer.counted_s(s, since, t_ns)
    lost_s = timer.counted_s(s, before_ns, since)
    # What was told by the clock stays, where the first source speaks.
    first = counted & (s["moving_source"] == 0)
    by_clock_s = np.maximum(before_s, timer.running_s(s, t_ns))
    heard_ns = np.maximum(t_ns - REACH_NS, s["resume_ns"])
    lost_s = np.where(first, timer.running_s(s, heard_ns), lost_s)
    moves = counted & moving & ~first
    s["moving_source"] = np.where(counted, source, s["moving_source"])
    s["moving_lost_s"] = s["moving_lost_s"] + np.where(counted, lost_s, 0.0)
    s["moving_s"] = np.where(first, by_clock_s, before_s + np.where(moves, span, 0.0))
    s["moving_t_ns"] = np.where(counted, np.maximum(t_ns, before_ns), before_ns)


def over_gaps(state: Table, gap: Gap) -> None:
    """Account for gaps between fixes, before the fix after them speaks: the mean speed tells."""
    s = Picked(state, gap.rows)
    span = timer.counted_s(s, np.maximum(s["moving_t_ns"], gap.since_ns), gap.until_ns)
    moves = gap.mean_mps >= MOVING_MPS
    s["moving_s"] = s["moving_s"] + np.where(moves, span, 0.0)
    s["moving_lost_s"] = s["moving_lost_s"] + np.where(moves, OPEN_SHARE, 1.0) * span
    s["moving_t_ns"] = np.maximum(s["moving_t_ns"], gap.until_ns)


def by_clock(s: Fields, t_ns: timer.Times) -> None:
    """Account for the time up to t_ns by the timer, for rows in which no source ever spoke.

    What was told already stays, also where the first source then speaks of before.
    """
    silent = (s["moving_source"] == 0) & (s["open"] != 0)
    ran_s = timer.running_s(s, t_ns)
    s["moving_s"] = np.where(silent, np.maximum(s["moving_s"], ran_s), s["moving_s"])
    s["moving_t_ns"] = np.where(silent, np.maximum(s["moving_t_ns"], t_ns), s["moving_t_ns"])


def unclaimed(s: Fields, t_ns: timer.Times, *names: str) -> Mask:
    """Return whether none of the better sources, by their time fields, spoke lately."""
    free: Mask = np.abs(t_ns - s[names[0]]) > PRIOR_NS
    for name in names[1:]:
        free = free & (np.abs(t_ns - s[name]) > PRIOR_NS)
    return free


def sigma_of(s: Fields, moving_s: Floats) -> Floats:
    """Return one sigma of a moving time, s, (n,)."""
    sigma: Floats = 1.0 + 0.01 * moving_s + LOST_SHARE * s["moving_lost_s"]
    return sigma


def value(view: View) -> Raw:
    """Return moving time."""
    s = view.state
    moving, t_ns, source = s["moving_s"], s["moving_t_ns"], s["moving_source"]
    sigma = sigma_of(s, moving) + LOST_SHARE * timer.unheard_s(s, t_ns, view.due_ns)
    return Raw(moving, sigma, t_ns, np.where(source != 0, source, CLOCK), of_workout(view, OK))
