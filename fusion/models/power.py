"""Mechanical power: the newest reading and its mean over the workout; meters are good to 1-2 %."""

from typing import Any

import numpy as np

from fusion import timer
from fusion.measurements import Records

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


def absorb(state: Records, m: Records) -> tuple[timer.Rows, timer.Times, timer.Times]:
    """Take one round of powers into the table; return rows, and from when to when each reading speaks."""
    m = m[(m["watts"] >= 0.0) & (m["watts"] <= 5_000.0)]
    rows = m["row"].astype(np.intp)
    in_time = state["power_t_ns"][rows] - m["t_ns"] <= LATE_NS
    state["late"][rows[~in_time]] += 1
    m, rows = m[in_time], rows[in_time]
    before_ns = state["power_t_ns"][rows]
    t_ns = np.maximum(m["t_ns"], before_ns)
    span = timer.counted_s(state, rows, before_ns, t_ns)
    span = np.where((t_ns - before_ns) * 1e-9 > GAP_S, 0.0, span)  # the gap itself, a pause in it or not
    state["power_area"][rows] += span * m["watts"]
    state["power_time_s"][rows] += span
    state["power_w"][rows] = m["watts"]
    state["power_t_ns"][rows] = t_ns
    return rows, before_ns, t_ns
