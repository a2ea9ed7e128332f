"""Steps of the workout: counted by the inertial core, else the integral of the cadence a device tells."""

import numpy as np

from fusion import timer
from fusion.kalman import Floats
from fusion.measurements import Source
from fusion.metrics.metric import NO_SOURCE, OK, Raw, View, of_workout
from fusion.models import body
from fusion.table import Fields

COUNTED_SHARE = 0.015  # one sigma of the core's count, of the count
IMU, CADENCE = int(Source.IMU), int(Source.CADENCE)
TOLD_SHARE = 0.01  # of the integral of a told cadence
LOST_SHARE = 0.5  # of what the rhythm makes of time that no sample tells of


def sigma_of(s: Fields) -> Floats:
    """Return one sigma of the steps so far, (n,)."""
    counted, told = s["body_steps"], s["cadence_steps"]
    sigma: Floats = COUNTED_SHARE * counted + TOLD_SHARE * told + LOST_SHARE * s["body_lost_steps"]
    return sigma + np.where(counted + told > 0.0, 1.0, 0.5)


def _unheard(s: Fields, view: View) -> Floats:
    """Return the steps that the newest rhythm has made since the newest window."""
    heard = s["body_t_ns"] >= s["cadence_spm_ns"]
    rate = np.where(heard, body.spm(s), np.where(s["cadence_spm"] > 0.0, s["cadence_spm"], 0.0)) / 60.0
    return rate * timer.unheard_s(s, np.maximum(s["body_t_ns"], s["cadence_spm_ns"]), view.due_ns)


def value(view: View) -> Raw:
    """Return steps."""
    s = view.state
    counted, told = s["body_steps"], s["cadence_steps"]
    t_ns = np.maximum(s["body_t_ns"], s["cadence_spm_ns"])
    sigma = sigma_of(s) + LOST_SHARE * _unheard(s, view)
    reason = np.where(t_ns == 0, NO_SOURCE, OK)
    source = np.where((counted >= told) & (s["body_t_ns"] > 0), IMU, CADENCE)
    return Raw(np.round(counted + told), sigma, t_ns, source, of_workout(view, reason))
