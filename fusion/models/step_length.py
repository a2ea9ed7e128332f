"""How long a step is: by cadence and body height, times a factor that is learnt while satellites are good.

    x = f      way over ground / (steps times their usual length), one of the walk and one of the run
    z = f + w  over some ten seconds of one gait

Usual is a share of body height that grows with cadence: 0.43 at a walk of 110 and 0.60 at a run of 170
steps/min. The line is our own, through what adults usually do; no paper gives it. Persons differ from it by
15 % (one sigma), which the factor learns; paces of one person by 7 %, which stays. The line's slope is not
learnt: on recorded runs it had either sign.

The factor outlives workouts: it is the athlete's.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.table import Fields, Table

LENGTH_AT_REST = 0.118
LENGTH_PER_SPM = 0.00283
LENGTH_MIN, LENGTH_MAX = 0.3, 0.75
RUN_SPM = 140.0  # fewer steps a minute are a walk's

PRIOR_SIGMA = 0.15  # of the factor, before anything is known
PACE_SHARE = 0.07  # one sigma of a known person's step, between paces and hills
WINDOW_S = 10.0
WINDOW_SHARE = 0.05  # one sigma of a window's factor,
ACCURACY_SHARE = 0.1  # and of its way, of the stated accuracy
CHANGE_SIGMA = 0.03  # of the factor from one window to the next
GATE = 4.0  # an innovation above two sigmas counts less
FACTOR_RANGE = (0.5, 1.6)
WAY_MIN_M = 5.0  # in a window
PURE_SHARE = 0.02  # of a window's way that may be of the other gait

FIELDS: list[tuple[Any, ...]] = [
    ("step_factor", np.float64, (2,)),  # of the walk and of the run
    ("step_var", np.float64, (2,)),
    ("step_usual_m", np.float64),  # in this window: steps times their usual length,
    ("step_run_m", np.float64),  # of it the run's,
    ("step_way_m", np.float64),  # and the way by the fixes
    ("step_s", np.float64),
]
WINDOW = ("step_usual_m", "step_run_m", "step_way_m", "step_s")


def clear(one: Any) -> None:
    """Make a row that of an athlete whose steps are not known."""
    one["step_factor"], one["step_var"] = 1.0, PRIOR_SIGMA**2


def usual(spm: Floats, height_m: Floats) -> Floats:
    """Return the usual length of a step, m, (n,), at a cadence in steps/min for a body height in m."""
    return height_m * np.minimum(np.maximum(LENGTH_AT_REST + LENGTH_PER_SPM * spm, LENGTH_MIN), LENGTH_MAX)


def known(s: Fields, spm: Floats) -> tuple[Floats, Floats]:
    """Return the athlete's factor at a cadence, and one sigma of a step's length as a share of it, (n,)."""
    runs = spm >= RUN_SPM
    factor, var = s["step_factor"], s["step_var"]
    share = np.sqrt(np.where(runs, var[1], var[0]) + PACE_SHARE**2)
    return np.where(runs, factor[1], factor[0]), share


def gather(s: Fields, spm: Floats, usual_m: Floats) -> None:
    """Add steps of usual length, m, to the window."""
    s["step_usual_m"] = s["step_usual_m"] + usual_m
    s["step_run_m"] = s["step_run_m"] + np.where(spm >= RUN_SPM, usual_m, 0.0)


def learn(state: Table, rows: timer.Rows, way_m: Floats, span_s: Floats, accuracy_m: Floats) -> None:
    """Learn from the ways and times since the fixes before, (n,); a way of NaN is not known."""
    whole = np.isfinite(way_m)
    way = state["step_way_m"][rows] + np.where(whole, way_m, 0.0)
    span = state["step_s"][rows] + span_s
    full = span >= WINDOW_S
    state["step_way_m"][rows], state["step_s"][rows] = way, span
    if (whole & full).any():
        _update(state, rows, accuracy_m, whole & full)
    anew = rows[full | ~whole]
    for name in WINDOW:
        state[name][anew] = 0.0


def _update(state: Table, rows: timer.Rows, accuracy_m: Floats, use: Mask) -> None:
    """Update factors by windows that are full."""
    usual_m, run_m, way, _ = (state[name][rows] for name in WINDOW)
    enough = np.minimum(way, usual_m) >= WAY_MIN_M
    safe_m = np.where(enough, usual_m, 1.0)
    run = run_m / safe_m
    use = use & enough & ((run <= PURE_SHARE) | (run >= 1.0 - PURE_SHARE))
    gait = (run > 0.5).astype(np.intp)

    factor = state["step_factor"][rows, gait]
    P = np.minimum(state["step_var"][rows, gait] + CHANGE_SIGMA**2, PRIOR_SIGMA**2)
    y = way / safe_m - factor
    R = WINDOW_SHARE**2 + (ACCURACY_SHARE * accuracy_m / safe_m) ** 2
    R = R * np.maximum(y * y / (GATE * (P + R)), 1.0)
    K = P / (P + R)
    factor = np.minimum(np.maximum(factor + K * y, FACTOR_RANGE[0]), FACTOR_RANGE[1])
    at = rows[use], gait[use]
    state["step_factor"][at], state["step_var"][at] = factor[use], ((1.0 - K) * P)[use]
