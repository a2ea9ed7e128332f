"""Pace, s/km: the inverse of speed; at a stop there is none."""

import numpy as np

from fusion.measurements import Estimate, Reason
from fusion.metrics import speed
from fusion.metrics.metric import View, estimate

SLOWEST_MPS = 0.5


def value(view: View) -> Estimate:
    """Return pace."""
    ground = speed.value(view)
    moving = np.nan_to_num(ground.value, nan=0.0) >= SLOWEST_MPS
    reason = np.where((ground.reason == Reason.NONE) & ~moving, Reason.NOT_APPLICABLE, ground.reason)
    pace = 1000.0 / np.where(moving, ground.value, 1.0)
    return estimate(pace, pace * ground.sigma * pace / 1000.0, ground.t_ns, ground.source, reason)
