"""Pace, s/km: the inverse of speed; at a stop there is none."""

import numpy as np

from fusion.metrics.metric import NOT_APPLICABLE, OK, Raw, View

SLOWEST_MPS = 0.5


def value(view: View) -> Raw:
    """Return pace."""
    ground = view.known["speed"]
    moving = ground.value >= SLOWEST_MPS  # NaN is not
    reason = np.where((ground.reason == OK) & ~moving, NOT_APPLICABLE, ground.reason)
    pace = 1000.0 / np.where(moving, ground.value, 1.0)
    return Raw(pace, pace * ground.sigma * pace / 1000.0, ground.t_ns, ground.source, reason)
