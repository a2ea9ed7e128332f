"""Mechanical power: the newest reading and its mean over the workout; meters are good to 1-2 %."""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Mask
from fusion.models import choice
from fusion.table import Fields

SHARE = 0.02  # one sigma of a power meter
GAP_S = 15.0
LATE_NS = 2_000_000_000

FIELDS: list[tuple[Any, ...]] = [
    ("power_w", np.float64),
    ("power_t_ns", np.int64),
    ("power_area", np.float64),  # J
    ("power_time_s", np.float64),
]
TOTALS = ("power_area", "power_time_s")


def absorb(s: Fields, m: Fields) -> tuple[timer.Times, Mask]:
    """Take in a power of each row; return to when each speaks, and which were used."""
    sane = (m["watts"] >= 0.0) & (m["watts"] <= 5_000.0)
    sane = choice.speaks(s, "power", m["device"], m["t_ns"], 0.0, -1.0, sane)
    before_ns = s["power_t_ns"]
    in_time = before_ns - m["t_ns"] <= LATE_NS
    s["late"] = s["late"] + (sane & ~in_time)
    use = sane & in_time
    t_ns = np.maximum(m["t_ns"], before_ns)
    span = timer.counted_s(s, before_ns, t_ns)
    span = np.where((t_ns - before_ns) * 1e-9 > GAP_S, 0.0, span)  # the gap itself, a pause in it or not
    s["power_area"] = s["power_area"] + np.where(use, span * m["watts"], 0.0)
    s["power_time_s"] = s["power_time_s"] + np.where(use, span, 0.0)
    s["power_w"] = np.where(use, m["watts"], s["power_w"])
    s["power_t_ns"] = np.where(use, t_ns, before_ns)
    return t_ns, use
