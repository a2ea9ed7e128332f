"""Steps of the workout: counted by the inertial core, else the integral of the cadence a device tells."""

import numpy as np

from fusion.measurements import Source
from fusion.metrics.metric import NO_SOURCE, OK, Raw, View, of_workout

COUNTED_SHARE = 0.015  # one sigma of the core's count, of the count
IMU, CADENCE = int(Source.IMU), int(Source.CADENCE)
TOLD_SHARE = 0.01  # of the integral of a told cadence


def value(view: View) -> Raw:
    """Return steps."""
    s = view.state
    counted, told = s["body_steps"], s["cadence_steps"]
    t_ns = np.maximum(s["body_t_ns"], s["cadence_spm_ns"])
    sigma = COUNTED_SHARE * counted + TOLD_SHARE * told + np.where(counted + told > 0.0, 1.0, 0.5)
    reason = np.where(t_ns == 0, NO_SOURCE, OK)
    source = np.where((counted >= told) & (s["body_t_ns"] > 0), IMU, CADENCE)
    return Raw(np.round(counted + told), sigma, t_ns, source, of_workout(view, reason))
