"""Speed that a wheel or foot sensor tells, and the path it makes."""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats
from fusion.measurements import Records

SHARE = 0.03  # one sigma: calibration of a foot pod, circumference of a wheel
GAP_S = 15.0
LATE_NS = 2_000_000_000
SPEED_MAX_MPS = 60.0

FIELDS: list[tuple[Any, ...]] = [
    ("sensor_mps", np.float64),
    ("sensor_t_ns", np.int64),
    ("sensor_source", np.int32),
]


def absorb(state: Records, m: Records) -> tuple[timer.Rows, timer.Times, timer.Times, Floats]:
    """Take one round into the table; return rows, from when, to when, and the metres between that count."""
    m = m[(m["speed_mps"] >= 0.0) & (m["speed_mps"] <= SPEED_MAX_MPS)]
    rows = m["row"].astype(np.intp)
    in_time = state["sensor_t_ns"][rows] - m["t_ns"] <= LATE_NS
    state["late"][rows[~in_time]] += 1
    m, rows = m[in_time], rows[in_time]
    before_ns = state["sensor_t_ns"][rows]
    t_ns = np.maximum(m["t_ns"], before_ns)
    span = timer.counted_s(state, rows, before_ns, t_ns)
    whole = (t_ns - before_ns) * 1e-9 <= GAP_S
    before = np.where(whole, state["sensor_mps"][rows], m["speed_mps"])
    # What came before a silence is not known; the reading speaks for the second before it.
    span = np.where(whole, span, np.minimum(span, 1.0))
    state["sensor_mps"][rows] = m["speed_mps"]
    state["sensor_t_ns"][rows] = t_ns
    state["sensor_source"][rows] = m["source"]
    return rows, before_ns, t_ns, 0.5 * (before + m["speed_mps"]) * span
