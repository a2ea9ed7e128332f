"""Speed over ground, m/s: the position filter's, else a wheel's or foot pod's, else steps times their length.

The step length is a share of body height that grows with cadence: 0.43 at a walk of 110 and 0.60 at a run of
170 steps/min, as in the treadmill data behind Cavagna and Franzetti 1986 (doi
10.1113/jphysiol.1986.sp016044) and Cavanagh and Williams 1982 (doi 10.1249/00005768-198202000-00007). Between
persons and paces it is good to 15 %.
"""

import numpy as np

from fusion.kalman import Floats, of_rows
from fusion.measurements import Source, Sport
from fusion.metrics.metric import NO_SOURCE, OK, SETTLING, STALE, Raw, View, freshness
from fusion.models import body, position, speed

LENGTH_AT_REST = 0.118
LENGTH_PER_SPM = 0.00283
LENGTH_MIN, LENGTH_MAX = 0.3, 0.75
LENGTH_SIGMA = 0.15
WANDER_SHARE = 0.02  # of speed: what the filter's white-noise model leaves out
GNSS, IMU = int(Source.GNSS), int(Source.IMU)
STEPS_FRESH_NS = 4_000_000_000
# By Sport: whether steps make the way.
STEPPING = np.array([sport in (Sport.OTHER, Sport.RUN, Sport.WALK, Sport.HIKE) for sport in Sport])


def step_length(spm: Floats, height_m: Floats) -> Floats:
    """Return the length of a step, m, (n,), at a cadence in steps/min for a body height in m."""
    return height_m * np.minimum(np.maximum(LENGTH_AT_REST + LENGTH_PER_SPM * spm, LENGTH_MIN), LENGTH_MAX)


def value(view: View) -> Raw:
    """Return speed."""
    s, due_ns = view.state, view.due_ns
    x, P = of_rows(s["pos_x"]), of_rows(s["pos_P"])
    fixed = freshness(s["pos_t_ns"], due_ns)
    fixed = np.where((fixed == OK) & (s["pos_fixes"] < 2), SETTLING, fixed)
    sensed = freshness(s["sensor_t_ns"], due_ns)
    stepped = freshness(s["body_t_ns"], due_ns, STEPS_FRESH_NS)
    stepped = np.where(STEPPING[s["sport"]], stepped, NO_SOURCE)
    by_fix, by_sensor = fixed == OK, sensed == OK
    some = by_fix | by_sensor | (stepped == OK)
    waiting = np.where((fixed == STALE) | (sensed == STALE), STALE, NO_SOURCE)
    reason = np.where(some, OK, np.where(fixed == SETTLING, SETTLING, waiting))

    spm = body.spm(s)
    by_steps = spm / 60.0 * step_length(spm, s["height_m"])
    ground = position.speed_of(x)
    ground = np.where((ground < position.STILL_MPS) & (s["still"] != 0), 0.0, ground)
    sigma = np.sqrt(position.speed_sigma(x, P) ** 2 + (WANDER_SHARE * ground) ** 2)
    sensor = s["sensor_mps"]
    return Raw(
        np.where(by_fix, ground, np.where(by_sensor, sensor, by_steps)),
        np.where(
            by_fix, sigma, np.where(by_sensor, speed.SHARE * sensor + 0.05, LENGTH_SIGMA * by_steps + 0.1)
        ),
        np.where(by_fix, s["pos_t_ns"], np.where(by_sensor, s["sensor_t_ns"], s["body_t_ns"])),
        np.where(by_fix, GNSS, np.where(by_sensor, s["sensor_source"], IMU)),
        reason,
    )
