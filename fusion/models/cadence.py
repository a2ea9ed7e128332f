"""Cadence as a device tells it: crank revolutions or steps a minute, and the steps that follow from it."""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats
from fusion.measurements import Records
from fusion.models import body

GAP_S = 15.0
LATE_NS = 2_000_000_000

FIELDS: list[tuple[Any, ...]] = [
    ("cadence_rpm", np.float64),  # NaN: not told
    ("cadence_rpm_ns", np.int64),
    ("cadence_spm", np.float64),
    ("cadence_spm_ns", np.int64),
    ("cadence_steps", np.float64),  # of this workout, where no inertial device counts
    ("cadence_stepping_s", np.float64),
]
TOTALS = ("cadence_steps", "cadence_stepping_s")


def absorb(state: Records, m: Records) -> tuple[timer.Rows, timer.Times, Floats]:
    """Take one round into the table; return rows, times and the steps each brought, 0 where an IMU counts."""
    rows = m["row"].astype(np.intp)
    revolving = (m["rpm"] >= 0.0) & (m["rpm"] <= 400.0)
    stepping = (m["spm"] >= 0.0) & (m["spm"] <= 400.0)
    rpm_in_time = state["cadence_rpm_ns"][rows] - m["t_ns"] <= LATE_NS
    spm_in_time = state["cadence_spm_ns"][rows] - m["t_ns"] <= LATE_NS
    state["late"][rows[revolving & ~rpm_in_time | stepping & ~spm_in_time]] += 1
    _revolve(state, m[revolving & rpm_in_time])
    m = m[stepping & spm_in_time]
    rows = m["row"].astype(np.intp)
    before_ns = state["cadence_spm_ns"][rows]
    t_ns = np.maximum(m["t_ns"], before_ns)
    span = timer.counted_s(state, rows, before_ns, t_ns)
    counted_by_body = t_ns - state["body_t_ns"][rows] <= body.SILENT_NS
    holed = (t_ns - before_ns) * 1e-9 > GAP_S  # the gap itself: a pause may have eaten a part of it
    span = np.where(holed | counted_by_body, 0.0, span)
    known = np.where(before_ns == 0, m["spm"], state["cadence_spm"][rows])
    steps = 0.5 * (known + m["spm"]) * span / 60.0
    state["cadence_steps"][rows] += steps
    state["cadence_stepping_s"][rows] += np.where(m["spm"] > 0.0, span, 0.0)
    state["cadence_spm"][rows] = m["spm"]
    state["cadence_spm_ns"][rows] = t_ns
    return rows, t_ns, steps


def _revolve(state: Records, m: Records) -> None:
    """Keep what cranks told."""
    rows = m["row"].astype(np.intp)
    state["cadence_rpm"][rows] = m["rpm"]
    state["cadence_rpm_ns"][rows] = np.maximum(m["t_ns"], state["cadence_rpm_ns"][rows])
