"""Heart rate, bpm: the filter's rate at its newest measurement, never extrapolated along the slope."""

import numpy as np

from fusion.metrics.metric import Raw, View, freshness
from fusion.models import heart_rate

DRIFT_SIGMA = 0.5  # bpm/s: what an athlete's heart may do since the newest measurement


def value(view: View) -> Raw:
    """Return heart rate."""
    s = view.state
    age_s = np.maximum(view.due_ns - s["hr_t_ns"], 0) * 1e-9
    known = heart_rate.variance(s["hr_x"], s["hr_P"], s["hr_source"])
    variance = known + (DRIFT_SIGMA * np.minimum(age_s, 60.0)) ** 2
    reason = freshness(s["hr_t_ns"], view.due_ns)
    return Raw(s["hr_x"][0], np.sqrt(variance), s["hr_t_ns"], s["hr_source"], reason)
