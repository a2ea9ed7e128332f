"""Speed over ground, m/s: the position filter's, else a wheel's or foot pod's, else steps times their length.

How long a step is, is learnt while satellites are good (fusion/models/step_length.py).

A speed is the newest measurement's. What the athlete may have done since widens its sigma.
"""

from typing import Any

import numpy as np

from fusion.kalman import Floats, Mask
from fusion.kernel import choose
from fusion.measurements import Source, Sport
from fusion.metrics.metric import NO_SOURCE, OK, SETTLING, STALE, Raw, View, age_s, freshness
from fusion.models import body, position, speed, step_length

WANDER_SHARE = 0.01  # of speed: what the filter's white-noise model leaves out
GNSS, IMU = int(Source.GNSS), int(Source.IMU)
STEPS_FRESH_NS = 4_000_000_000
# m/s^2: how speed changes while nothing is heard, by Sport: other, run, walk, hike, ride, swim, ski, row.
DRIFT_MPS2 = np.array([0.4, 0.12, 0.1, 0.1, 0.2, 0.1, 0.6, 0.15])
OTHER = int(Sport.OTHER)
# By Sport: whether steps make the way.
STEPPING = np.array([sport in (Sport.OTHER, Sport.RUN, Sport.WALK, Sport.HIKE) for sport in Sport])


def on_foot(sport: Any, spm: Floats, still: Any) -> Mask:
    """Return whether steps tell the speed, (n,): in another sport a gait or a rest does, not their lack."""
    told: Mask = choose(STEPPING, sport) & ((sport != OTHER) | (spm > 0.0) | (still != 0))
    return told


def value(view: View) -> Raw:
    """Return speed."""
    s, due_ns = view.state, view.due_ns
    x, P = s["pos_x"], s["pos_P"]
    fixed = freshness(s["pos_t_ns"], due_ns)
    fixed = np.where((fixed == OK) & (s["pos_fixes"] < 2), SETTLING, fixed)
    sensed = freshness(s["sensor_t_ns"], due_ns)
    stepped = freshness(s["body_t_ns"], due_ns, STEPS_FRESH_NS)
    spm = body.spm(s)
    stepped = np.where(on_foot(s["sport"], spm, s["still"]), stepped, NO_SOURCE)
    by_fix, by_sensor = fixed == OK, sensed == OK
    some = by_fix | by_sensor | (stepped == OK)
    waiting = np.where((fixed == STALE) | (sensed == STALE) | (stepped == STALE), STALE, NO_SOURCE)
    reason = np.where(some, OK, np.where(fixed == SETTLING, SETTLING, waiting))

    factor, step_share = step_length.known(s, spm)
    by_steps = spm / 60.0 * (factor * step_length.usual(spm, s["height_m"]))
    ground = position.speed_of(x)
    ground = np.where((ground < position.STILL_MPS) & (s["still"] != 0), 0.0, ground)
    sigma = np.sqrt(position.speed_sigma(x, P) ** 2 + (WANDER_SHARE * ground) ** 2)
    sensor = s["sensor_mps"]
    by_sensor_sigma, by_steps_sigma = speed.SHARE * sensor + 0.05, step_share * by_steps + 0.1
    sigma = np.where(by_fix, sigma, np.where(by_sensor, by_sensor_sigma, by_steps_sigma))
    t_ns = np.where(by_fix, s["pos_t_ns"], np.where(by_sensor, s["sensor_t_ns"], s["body_t_ns"]))
    drift = choose(DRIFT_MPS2, s["sport"]) * age_s(t_ns, due_ns)
    return Raw(
        np.where(by_fix, ground, np.where(by_sensor, sensor, by_steps)),
        np.sqrt(sigma * sigma + drift * drift),
        t_ns,
        np.where(by_fix, GNSS, np.where(by_sensor, s["sensor_source"], IMU)),
        reason,
    )
