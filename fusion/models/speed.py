"""Speed that a wheel or foot sensor tells, and the path it makes."""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.measurements import Source, Sport
from fusion.models import choice
from fusion.table import Fields

SHARE = 0.03  # one sigma: calibration of a foot pod, circumference of a wheel
GAP_S = 15.0
LATE_NS = 2_000_000_000
SPEED_MAX_MPS = 60.0

FIELDS: list[tuple[Any, ...]] = [
    ("sensor_mps", np.float64),
    ("sensor_t_ns", np.int64),
    ("sensor_source", np.int32),
]


def absorb(s: Fields, m: Fields) -> tuple[timer.Times, Floats, Mask]:
    """Take in a speed of each row; return to when each speaks, the metres that count, and which were used."""
    sane = (m["speed_mps"] >= 0.0) & (m["speed_mps"] <= SPEED_MAX_MPS)
    # A wheel on a ride, a foot pod else; both feet tell the same speed.
    own = (m["source"] == int(Source.WHEEL)) == (s["sport"] == int(Sport.RIDE))
    rank = np.where(own, 0.0, 1.0)
    sane = choice.speaks(s, "speed", m["device"], m["t_ns"], rank, s["speed_rank"] - 0.9, sane)
    before_ns = s["sensor_t_ns"]
    in_time = before_ns - m["t_ns"] <= LATE_NS
    s["late"] = s["late"] + (sane & ~in_time)
    use = sane & in_time
    t_ns = np.maximum(m["t_ns"], before_ns)
    span = timer.counted_s(s, before_ns, t_ns)
    whole = (t_ns - before_ns) * 1e-9 <= GAP_S
    before = np.where(whole, s["sensor_mps"], m["speed_mps"])
    # What came before a silence is not known; the reading speaks for the second before it.
    span = np.where(whole, span, np.minimum(span, 1.0))
    metres = np.where(use, 0.5 * (before + m["speed_mps"]) * span, 0.0)
    s["sensor_mps"] = np.where(use, m["speed_mps"], s["sensor_mps"])
    s["sensor_t_ns"] = np.where(use, t_ns, before_ns)
    s["sensor_source"] = np.where(use, m["source"], s["sensor_source"])
    return t_ns, metres, use
