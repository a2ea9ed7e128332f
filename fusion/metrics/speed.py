"""Speed over ground, m/s: the position filter's, else a wheel's or foot pod's, else steps times their length.

The step length is a share of body height that grows with cadence: 0.43 at a walk of 110 and 0.60 at a run of
170 steps/min, as in the treadmill data behind Cavagna and Franzetti 1986 (doi
10.1113/jphysiol.1986.sp016044) and Cavanagh and Williams 1982 (doi 10.1249/00005768-198202000-00007). Between
persons and paces it is good to 15 %.
"""

import numpy as np

from fusion.kalman import Floats, of_rows
from fusion.measurements import Estimate, Reason, Source, Sport
from fusion.metrics.metric import View, estimate, freshness
from fusion.models import body, position, speed

LENGTH_AT_REST = 0.118
LENGTH_PER_SPM = 0.00283
LENGTH_SHARE_RANGE = (0.3, 0.75)
LENGTH_SIGMA = 0.15
WANDER_SHARE = 0.02  # of speed: what the filter's white-noise model leaves out
STEPPING_SPORTS = (Sport.OTHER, Sport.RUN, Sport.WALK, Sport.HIKE)


def step_length(spm: Floats, height_m: Floats) -> Floats:
    """Return the length of a step, m, (n,), at a cadence in steps/min for a body height in m."""
    return height_m * np.clip(LENGTH_AT_REST + LENGTH_PER_SPM * spm, *LENGTH_SHARE_RANGE)


def value(view: View) -> Estimate:
    """Return speed."""
    s, due_ns = view.state, view.due_ns
    x, P = of_rows(s["pos_x"]), of_rows(s["pos_P"])
    fixed = freshness(s["pos_t_ns"], due_ns)
    fixed = np.where((fixed == Reason.NONE) & (s["pos_fixes"] < 2), Reason.SETTLING, fixed)
    sensed = freshness(s["sensor_t_ns"], due_ns)
    stepped = freshness(s["body_t_ns"], due_ns, 4_000_000_000)
    applies = np.isin(s["sport"], STEPPING_SPORTS)
    stepped = np.where((stepped == Reason.NONE) & ~applies, Reason.NO_SOURCE, stepped)
    spm = body.spm(s)
    by_steps = spm / 60.0 * step_length(spm, s["height_m"])
    ground = position.speed_of(x)
    at_rest = (ground < position.STILL_MPS) & (s["still"] != 0)
    ground = np.where(at_rest, 0.0, ground)
    sigma = np.sqrt(position.speed_sigma(x, P) ** 2 + (WANDER_SHARE * ground) ** 2)
    choose = [fixed == Reason.NONE, sensed == Reason.NONE, stepped == Reason.NONE]
    best = np.select(choose, [ground, s["sensor_mps"], by_steps], np.nan)
    t_ns = np.select(choose, [s["pos_t_ns"], s["sensor_t_ns"], s["body_t_ns"]], s["pos_t_ns"])
    errors = [sigma, speed.SHARE * s["sensor_mps"] + 0.05, LENGTH_SIGMA * by_steps + 0.1]
    source = np.select(
        choose, [np.full(len(s), Source.GNSS), s["sensor_source"], np.full(len(s), Source.IMU)], 0
    )
    any_stale = (fixed == Reason.STALE) | (sensed == Reason.STALE)
    none = np.where(fixed == Reason.SETTLING, fixed, np.where(any_stale, Reason.STALE, Reason.NO_SOURCE))
    reason = np.where(choose[0] | choose[1] | choose[2], Reason.NONE, none).astype(np.int32)
    return estimate(best, np.select(choose, errors, np.nan), t_ns, source, reason)
