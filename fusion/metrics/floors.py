"""Floors climbed in the workout: 2.7 m and more, net within 45 s, by steps. A lift is no climb.

Heights are taken in spans of some 3 s. What a span rises counts where its steps can have risen so far; a span
that rises faster than stairs are climbed, without the steps, is a lift's, and neither the span before it nor
the one after, in which the lift starts and stops, counts. So a span counts one later than it ends. What was
walked, up and down, is a height of its own; a floor is counted when that stands 2.7 m above the lowest it was
in 45 s. From there the next one is counted 3 m above the last, the floor of watches (10 feet): who climbs
without a rest is told metres over three, who rests on each landing is told landings.

It needs a barometer: noise of satellite heights alone climbs floors within 45 s.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.measurements import Source
from fusion.metrics.metric import NO_SOURCE, OK, Raw, View, of_workout
from fusion.models import altitude, body
from fusion.table import Fields, Picked, Table

CLIMB_M = 2.7
FLOOR_M = 3.0
WINDOW_NS = 45_000_000_000
SPAN_S = 3.0  # longer where steps are missing: a gait is told by its fourth step
STEP_RISE_M = 0.4  # two steps of stairs at once, 2 x 0.178 m (IBC 1011.5.2), and noise
LIFT_MPS = 0.4  # stairs are climbed at 0.2 to 0.35 m/s; the slowest lifts go 0.5 m/s
GAP_S = 15.0  # heights that are missing for longer tell of no climb
SLOTS = 15
SIGMA = 0.3  # one sigma: constant, and
SIGMA_SHARE = 0.02  # of the count
BARO = int(Source.BARO)

FIELDS: list[tuple[Any, ...]] = [
    ("floors", np.float64),
    ("floor_ns", np.int64),  # of the newest height that was used; 0: never
    ("floor_begin_ns", np.int64),  # of the span that is open; 0: none
    ("floor_begin_m", np.float64),
    ("floor_steps", np.float64),  # since then
    ("floor_walked_m", np.float64),  # what was walked up, less what was walked down, but for
    ("floor_pending_m", np.float64),  # what the newest closed span adds, unless a lift follows
    ("floor_lift", np.int8),  # whether that span was a lift's
    ("floor_slot_ns", np.int64, (SLOTS,)),  # ends of spans, the newest last; 0: none
    ("floor_slot_m", np.float64, (SLOTS,)),  # how high was walked then
]
TOTALS = tuple(name for name, *_ in FIELDS)


def turn(one: Any) -> None:
    """Forget the open span, as after a pause, without touching what was climbed."""
    one["floor_begin_ns"] = 0
    one["floor_slot_ns"] = 0


def walk(s: Fields, t_ns: timer.Times, steps: Any, use: Any = True) -> None:
    """Take in steps of each row, where ``use``."""
    counted = timer.counts(s, t_ns) & use
    some = np.minimum(np.maximum(steps, 0), body.STEPS_MAX)
    s["floor_steps"] = s["floor_steps"] + np.where(counted, some, 0.0)


def from_heights(state: Table, step: altitude.Step) -> None:
    """Add a round of heights of those who have a barometer."""
    rows = step.rows[step.counted]
    if not len(rows):
        return
    baro = altitude.source(Picked(state, rows)) == BARO
    rows = rows[baro]
    t_ns, height, shift = (column[step.counted][baro] for column in (step.t_ns, step.height_m, step.shift_m))
    state["floor_begin_m"][rows] += shift
    begin_ns = state["floor_begin_ns"][rows]
    begins = (begin_ns == 0) | (t_ns - begin_ns > GAP_S * 1e9)
    _advance(state, rows[~begins], t_ns[~begins], height[~begins])
    _open(state, rows[begins], t_ns[begins], height[begins])
    first = begins & (state["floor_slot_ns"][rows, -1] == 0)
    _push(state, rows[first], t_ns[first])
    state["floor_ns"][rows] = t_ns


def settle(state: Table, row: int) -> None:
    """Count what is still open, at the end of a workout."""
    if state["floor_begin_ns"][row]:
        rows, t_ns = np.array([row], dtype=np.intp), state["floor_ns"][row : row + 1].copy()
        for _ in range(2):  # the open span, then the one that was waiting for it
            _advance(state, rows, t_ns, state["alt_x"][rows, 0], last=True)


def _advance(state: Table, rows: timer.Rows, t_ns: timer.Times, height_m: Floats, last: bool = False) -> None:
    """Close the spans that are long enough, or all at the ``last``, and open the next ones."""
    span_s = (t_ns - state["floor_begin_ns"][rows]) * 1e-9
    rise = height_m - state["floor_begin_m"][rows]
    walked = state["floor_steps"][rows] * STEP_RISE_M >= rise
    # One that goes down is a lift too: as it stops, the filter swings back.
    lift = (np.abs(rise) > LIFT_MPS * np.maximum(span_s, SPAN_S)) & (
        state["floor_steps"][rows] * STEP_RISE_M < np.abs(rise)
    )
    ends = (span_s >= SPAN_S) & (walked | lift | (span_s >= 2.0 * SPAN_S)) | last
    if not ends.any():
        return
    rows, t_ns, height_m = rows[ends], t_ns[ends], height_m[ends]
    rise, walked, lift = rise[ends], walked[ends], lift[ends]
    after_lift = state["floor_lift"][rows] != 0
    # What goes down counts in any case: then the way up is no higher than it is.
    adds = np.where(walked & ~after_lift, rise, np.minimum(rise, 0.0))
    pending = state["floor_pending_m"][rows]
    state["floor_walked_m"][rows] += np.where(lift, np.minimum(pending, 0.0), pending)
    state["floor_pending_m"][rows] = adds
    state["floor_lift"][rows] = lift
    _push(state, rows, state["floor_begin_ns"][rows])
    _count(state, rows)
    _open(state, rows, t_ns, height_m)


def _open(state: Table, rows: timer.Rows, t_ns: timer.Times, height_m: Floats) -> None:
    state["floor_begin_ns"][rows] = t_ns
    state["floor_begin_m"][rows] = height_m
    state["floor_steps"][rows] = 0.0


def _push(state: Table, rows: timer.Rows, t_ns: timer.Times) -> None:
    """Remember how high was walked at t_ns."""
    for name, newest in (("floor_slot_ns", t_ns), ("floor_slot_m", state["floor_walked_m"][rows])):
        state[name][rows] = np.concatenate([state[name][rows, 1:], newest[:, None]], axis=1)


def _count(state: Table, rows: timer.Rows) -> None:
    """Count the floors that the newest height stands above the lowest within the window."""
    slot_ns, slot_m = state["floor_slot_ns"][rows], state["floor_slot_m"][rows]
    recent: Mask = (slot_ns != 0) & (slot_ns >= slot_ns[:, -1:] - WINDOW_NS)
    lowest = np.where(recent, slot_m, np.inf).min(axis=1)
    climbed = slot_m[:, -1] - lowest
    count = np.where(climbed >= CLIMB_M, np.floor((climbed - CLIMB_M) / FLOOR_M) + 1.0, 0.0)
    state["floors"][rows] += count
    # The lowest from which the next one counts. One that stands between both rests on what comes next.
    least = (lowest + FLOOR_M * count)[:, None]
    state["floor_slot_m"][rows] = np.where((count > 0.0)[:, None], np.maximum(slot_m, least), slot_m)


def sigma_of(s: Fields) -> Floats:
    """Return one sigma of the floors so far, (n,)."""
    sigma: Floats = SIGMA + SIGMA_SHARE * s["floors"]
    return sigma


def known(s: Fields) -> Mask:
    """Return whether a barometer and something that tells steps were heard, (n,)."""
    heard: Mask = (s["floor_ns"] != 0) & ((s["body_t_ns"] != 0) | (s["cadence_spm_ns"] != 0))
    return heard


def value(view: View) -> Raw:
    """Return floors."""
    s = view.state
    reason = np.where(known(s), OK, NO_SOURCE)
    return Raw(s["floors"], sigma_of(s), s["floor_ns"], BARO, of_workout(view, reason))
