"""Moving time of the workout, s: what the timer ran and the athlete moved.

Fixes tell first, then wheel or foot pod, then steps or pedalling. Where none of them ever spoke, moving time
is the time that the timer ran.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.measurements import Records, Source
from fusion.metrics.metric import OK, Raw, View, of_workout
from fusion.rounds import turns
from fusion.table import Fields, Picked

MOVING_MPS = 0.4
REACH_NS = 15_000_000_000  # a measurement speaks for at most so long before it
CLOCK = int(Source.CLOCK)
PRIOR_NS = 10_000_000_000  # a better source that spoke in this time decides

FIELDS: list[tuple[Any, ...]] = [
    ("moving_s", np.float64),
    ("moving_t_ns", np.int64),  # accounted for up to here
    ("moving_source", np.int32),
    ("moving_lost_s", np.float64),  # of which nothing told
]
TOTALS = ("moving_s", "moving_t_ns", "moving_source", "moving_lost_s")
LOST_SHARE = 0.5  # one sigma of moving time, of time of which nothing told


def accrue(state: Records, rows: timer.Rows, t_ns: timer.Times, moving: Mask, source: Any) -> None:
    """Account for the time up to t_ns, for rows in which a source tells whether the athlete moves.

    A row may stand several times, in the order of time.
    """
    if not len(rows):
        return
    counted = timer.counts(state, rows, t_ns)
    silent = state["moving_source"][rows] == 0
    state["moving_source"][rows[counted]] = source if np.ndim(source) == 0 else source[counted]
    for turn in turns(rows):
        row, now_ns, counts = rows[turn], t_ns[turn], counted[turn]
        before_ns = state["moving_t_ns"][row]
        since = np.maximum(before_ns, now_ns - REACH_NS)
        span = timer.counted_s(state, row, since, now_ns)
        lost_s = timer.counted_s(state, row, before_ns, since)
        moves = counts & moving[turn]
        if silent.any():
            # What came before the first source stays what the clock made of it: a total does not fall.
            first = silent[turn] & counts & (before_ns == state["start_ns"][row])
            moves |= first
            resumed_ns = np.maximum(since, state["resume_ns"][row])
            lost_s = np.where(first, timer.running_s(Picked(state, row), resumed_ns), lost_s)
            state["moving_s"][row] += np.where(first, lost_s, 0.0)
        state["moving_lost_s"][row] += np.where(counts, lost_s, 0.0)
        state["moving_s"][row] += np.where(moves, span, 0.0)
        state["moving_t_ns"][row] = np.where(counts, np.maximum(now_ns, since), before_ns)


def unclaimed(state: Records, rows: timer.Rows, t_ns: timer.Times, *names: str) -> Mask:
    """Return whether none of the better sources, by their time fields, spoke lately."""
    free = np.ones(len(rows), dtype=bool)
    for name in names:
        free &= np.abs(t_ns - state[name][rows]) > PRIOR_NS
    return free


def sigma_of(s: Fields, moving_s: Floats) -> Floats:
    """Return one sigma of a moving time, s, (n,)."""
    sigma: Floats = 1.0 + 0.01 * moving_s + LOST_SHARE * s["moving_lost_s"]
    return sigma


def value(view: View) -> Raw:
    """Return moving time."""
    s = view.state
    told = s["moving_source"] != 0
    moving = np.where(told, s["moving_s"], timer.running_s(s, view.due_ns))
    t_ns = np.where(told, s["moving_t_ns"], view.due_ns)
    reason = of_workout(view, OK)
    unheard = np.where(told, timer.unheard_s(s, s["moving_t_ns"], view.due_ns), 0.0)
    sigma = sigma_of(s, moving) + LOST_SHARE * unheard
    return Raw(moving, sigma, t_ns, np.where(told, s["moving_source"], CLOCK), reason)
