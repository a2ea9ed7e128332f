"""Cadence: steps a minute, or crank revolutions a minute where a crank tells them.

On a ride the crank speaks. Otherwise the rhythm of the inertial core's steps does, and where no inertial device
is worn the cadence that a device tells.
"""

import numpy as np

from fusion.measurements import Estimate, Reason, Source, Sport
from fusion.metrics.metric import FRESH_NS, View, estimate, freshness
from fusion.models import body

CRANK_SIGMA = 1.0
TOLD_SIGMA = 2.0
RHYTHM_SIGMA = 2.0
STOPPED_NS = 4_000_000_000


def value(view: View) -> Estimate:
    """Return cadence."""
    s, due_ns = view.state, view.due_ns
    crank = freshness(s["cadence_rpm_ns"], due_ns)
    told = freshness(s["cadence_spm_ns"], due_ns)
    rhythm = freshness(s["body_t_ns"], due_ns, STOPPED_NS)
    riding = s["sport"] == Sport.RIDE
    rhythm = np.where(riding, Reason.NO_SOURCE, rhythm)  # a rider's wrist makes no steps
    by_crank = (crank == Reason.NONE) & (riding | (told != Reason.NONE) & (rhythm != Reason.NONE))
    by_body = ~by_crank & (rhythm == Reason.NONE)
    by_told = ~by_crank & ~by_body & (told == Reason.NONE)
    spm = body.spm(s)
    choose = [by_crank, by_body, by_told]
    reason = np.where(
        by_crank | by_body | by_told,
        Reason.NONE,
        np.where(
            (crank == Reason.STALE) | (told == Reason.STALE) | (rhythm == Reason.STALE),
            Reason.STALE,
            Reason.NO_SOURCE,
        ),
    ).astype(np.int32)
    t_ns = np.select(choose, [s["cadence_rpm_ns"], s["body_t_ns"], s["cadence_spm_ns"]], 0)
    rate = np.select(choose, [s["cadence_rpm"], spm, s["cadence_spm"]], np.nan)
    sigma = np.select(choose, [CRANK_SIGMA, RHYTHM_SIGMA, TOLD_SIGMA], np.nan)
    source = np.where(by_body, Source.IMU, Source.CADENCE)
    assert STOPPED_NS <= FRESH_NS
    return estimate(rate, sigma, t_ns, source, reason)
