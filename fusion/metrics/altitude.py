"""Altitude above the sea, m: the filter's height less the barometer's offset."""

import numpy as np

from fusion.kernel import choose
from fusion.measurements import Source
from fusion.metrics.metric import Raw, View, age_s, freshness
from fusion.models import altitude

FRESH_NS = 15_000_000_000
GNSS = int(Source.GNSS)


def value(view: View) -> Raw:
    """Return altitude."""
    s = view.state
    P, source, age = s["alt_P"], altitude.source(s), age_s(s["alt_t_ns"], view.due_ns)
    variance = P[0, 0] + P[3, 3] - 2.0 * P[0, 3]
    # A satellite height's slow error is in the offset's variance while the barometer speaks.
    slow = np.where(source == GNSS, s["alt_slow_m"], 0.0)
    # The height is held from the newest measurement on, while the athlete goes on climbing.
    rate = s["alt_x"][1] * s["alt_x"][1] + P[1, 1]
    since = rate * age * age + choose(altitude.ACCEL_DENSITY, s["sport"]) * (age * age * age) / 3.0
    sigma = np.sqrt(np.maximum(variance, 0.0) + slow * slow + since)
    reason = freshness(s["alt_t_ns"], view.due_ns, FRESH_NS)
    return Raw(s["alt_x"][0] - s["alt_x"][3], sigma, s["alt_t_ns"], source, reason)
