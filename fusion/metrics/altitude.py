"""Altitude above the sea, m: the filter's height less the barometer's offset."""

import numpy as np

from fusion.measurements import Source
from fusion.metrics.metric import Raw, View, freshness

FRESH_NS = 15_000_000_000
GNSS = int(Source.GNSS)


def value(view: View) -> Raw:
    """Return altitude."""
    s = view.state
    P = s["alt_P"]
    variance = P[:, 0, 0] + P[:, 3, 3] - 2.0 * P[:, 0, 3]
    # A satellite height's slow error is in the offset's variance where there is an offset.
    slow = np.where(s["alt_source"] == GNSS, s["alt_slow_m"], 0.0)
    sigma = np.sqrt(np.maximum(variance, 0.0) + slow * slow)
    reason = freshness(s["alt_t_ns"], view.due_ns, FRESH_NS)
    return Raw(s["alt_x"][:, 0] - s["alt_x"][:, 3], sigma, s["alt_t_ns"], s["alt_source"], reason)
