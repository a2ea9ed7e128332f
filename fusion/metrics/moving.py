"""Moving time of the workout, s: what the timer ran and the athlete moved.

Fixes tell first, then wheel or foot pod, then steps or pedalling. Where none of them ever spoke, moving time
is the time that the timer ran.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.measurements import Records, Source
from fusion.metrics.gap import LOST_SHARE, OPEN_SHARE, REACH_NS, Gap
from fusion.metrics.metric import OK, Raw, View, of_workout
from fusion.rounds import turns
from fusion.table import Fields, Picked

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


def accrue(state: Records, rows: timer.Rows, t_ns: timer.Times, moving: Mask, source: Any) -> None:
    """Account for the time up to t_ns, for rows in which a source tells whether the athlete moves.

    A row may stand several times, in the order of time.
    """
    if not len(rows):
        return
    counted = timer.counts(state, rows, t_ns)
    sources = np.broadcast_to(source, rows.shape)
    for turn in turns(rows):
        row, now_ns, counts = rows[turn], t_ns[turn], counted[turn]
        before_ns = state["moving_t_ns"][row]
        since = np.maximum(before_ns, now_ns - REACH_NS)
        span = timer.counted_s(state, row, since, now_ns)
        lost_s = timer.counted_s(state, row, before_ns, since)
        moves = counts & moving[turn]
        first = counts & (state["moving_source"][row] == 0)
        if first.any():
            by_clock(state, row[first], now_ns[first])
            moves &= ~first
            heard_ns = np.maximum(now_ns - REACH_NS, state["resume_ns"][row])
            lost_s = np.where(first, timer.running_s(Picked(state, row), heard_ns), lost_s)
        state["moving_source"][row[counts]] = sources[turn][counts]
        state["moving_lost_s"][row] += np.where(counts, lost_s, 0.0)
        state["moving_s"][row] += np.where(moves, span, 0.0)
        state["moving_t_ns"][row] = np.where(counts, np.maximum(now_ns, before_ns), before_ns)


def over_gaps(state: Records, gap: Gap) -> None:
    """Account for gaps between fixes, before the fix after them speaks: the mean speed tells."""
    rows = gap.rows
    span = timer.counted_s(state, rows, np.maximum(state["moving_t_ns"][rows], gap.since_ns), gap.until_ns)
    moves = gap.mean_mps >= MOVING_MPS
    state["moving_s"][rows] += np.where(moves, span, 0.0)
    state["moving_lost_s"][rows] += np.where(moves, OPEN_SHARE, 1.0) * span
    state["moving_t_ns"][rows] = np.maximum(state["moving_t_ns"][rows], gap.until_ns)


def by_clock(state: Records, rows: timer.Rows, t_ns: timer.Times) -> None:
    """Account for the time up to t_ns by the timer, for rows in which no source ever spoke.

    Each row at most once. What was told already stays, also where the first source then speaks of before.
    """
    silent = (state["moving_source"][rows] == 0) & (state["open"][rows] != 0)
    if not silent.any():
        return
    row, now_ns = rows[silent], t_ns[silent]
    ran_s = timer.running_s(Picked(state, row), now_ns)
    state["moving_s"][row] = np.maximum(state["moving_s"][row], ran_s)
    state["moving_t_ns"][row] = np.maximum(state["moving_t_ns"][row], now_ns)


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
    moving, t_ns, source = s["moving_s"], s["moving_t_ns"], s["moving_source"]
    sigma = sigma_of(s, moving) + LOST_SHARE * timer.unheard_s(s, t_ns, view.due_ns)
    return Raw(moving, sigma, t_ns, np.where(source != 0, source, CLOCK), of_workout(view, OK))
