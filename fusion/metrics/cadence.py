"""Cadence: steps a minute, or crank revolutions a minute where a crank tells them.

On a ride the crank speaks. Otherwise the rhythm of the inertial core's steps does, and where no inertial
device is worn the cadence that a device tells. Where none of them finds a step a crank speaks in any sport.

A rhythm needs steps: what is told is that of the newest ones, about SPAN_S of them, as sports watches do.
"""

import numpy as np

from fusion.measurements import Source, Sport
from fusion.metrics.metric import NO_SOURCE, OK, STALE, Raw, View, age_s, freshness
from fusion.models import body

SPAN_S = 4.0
CRANK_SIGMA = 0.29  # 1/min: what rounding to whole turns a minute leaves, 1 / sqrt(12)
CRANK_DRIFT = 0.1  # a second: by how much an even crank changes while nothing is heard, and in square
CRANK_SHARE = 0.18  # of how much it changed within some seconds, each second: recorded rides
TOLD_SIGMA = 2.0
RHYTHM_SIGMA = 0.9  # against the mean of the newest SPAN_S, of recorded walks whose rhythm is even,
UNREST_SHARE = 0.3  # and of how much it changed just now, in square: a step that was late, or another pace
DRIFT = 2.0  # a second: by how much a cadence that a device tells changes while nothing is heard, and
EVEN_DRIFT = 0.5  # an even rhythm; one that is not by UNREST_SHARE too
STOPPED_NS = 4_000_000_000
IMU, CADENCE, RIDE = int(Source.IMU), int(Source.CADENCE), int(Sport.RIDE)


def value(view: View) -> Raw:
    """Return cadence."""
    s, due_ns = view.state, view.due_ns
    crank = freshness(s["cadence_rpm_ns"], due_ns)
    told = freshness(s["cadence_spm_ns"], due_ns)
    rhythm = freshness(s["body_t_ns"], due_ns, STOPPED_NS)
    riding = s["sport"] == RIDE
    rhythm = np.where(riding, NO_SOURCE, rhythm)  # a rider's wrist makes no steps
    spm = body.spm(s)
    afoot = (rhythm == OK) & (spm > 0.0) | (told == OK) & (s["cadence_spm"] > 0.0)
    by_crank = (crank == OK) & (riding | ~afoot)
    by_body = ~by_crank & (rhythm == OK)
    some = by_crank | by_body | (told == OK)
    stale = (crank == STALE) | (told == STALE) | (rhythm == STALE)
    reason = np.where(some, OK, np.where(stale, STALE, NO_SOURCE))
    rate = np.where(by_crank, s["cadence_rpm"], np.where(by_body, spm, s["cadence_spm"]))
    t_ns = np.where(by_crank, s["cadence_rpm_ns"], np.where(by_body, s["body_t_ns"], s["cadence_spm_ns"]))
    unrest = UNREST_SHARE * s["body_unrest"]
    turns = CRANK_SHARE * s["cadence_unrest"]
    told_variance = np.where(by_crank, CRANK_SIGMA**2, TOLD_SIGMA**2)
    variance = np.where(by_body, RHYTHM_SIGMA**2 + unrest, told_variance)
    told_drift = np.where(by_crank, CRANK_DRIFT**2 + turns, DRIFT**2)
    drift = np.where(by_body, EVEN_DRIFT**2 + unrest, told_drift)
    age = age_s(t_ns, due_ns)
    return Raw(rate, np.sqrt(variance + drift * age * age), t_ns, np.where(by_body, IMU, CADENCE), reason)
