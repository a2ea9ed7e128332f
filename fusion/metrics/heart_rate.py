"""Heart rate, bpm: the modes of the filter, carried on to the moment."""

import numpy as np

from fusion.measurements import Source
from fusion.metrics.metric import FRESH_NS, Raw, View, freshness
from fusion.models import heart_rate

CARRY_NS = 60_000_000_000  # the rate is carried so far, and no further
MODEL = int(Source.MODEL)


def value(view: View) -> Raw:
    """Return heart rate."""
    s, due_ns = view.state, view.due_ns
    now = heart_rate.carried(s, due_ns)
    sigma = np.sqrt(heart_rate.variance(s, now))
    reason = freshness(s["hr_t_ns"], due_ns, CARRY_NS)
    source = np.where(due_ns - s["hr_t_ns"] > FRESH_NS, MODEL, s["hr_source"])
    low, high = heart_rate.RANGE_BPM
    return Raw(np.minimum(np.maximum(now.rate, low), high), sigma, s["hr_t_ns"], source, reason)
