"""Cadence as a device tells it: crank revolutions or steps a minute, and the steps that follow from it."""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.models import body, choice
from fusion.models.heart_modes import decay
from fusion.table import Fields

GAP_S = 15.0
LATE_NS = 2_000_000_000
CRANK_UNREST_S = 4.0

FIELDS: list[tuple[Any, ...]] = [
    ("cadence_rpm", np.float64),  # NaN: not told
    ("cadence_rpm_ns", np.int64),
    ("cadence_unrest", np.float64),  # rpm^2, by how much the crank's rate changed within about CRANK_UNREST_S
    ("cadence_spm", np.float64),
    ("cadence_spm_ns", np.int64),
    ("cadence_steps", np.float64),  # of this workout, where no inertial device counts
    ("cadence_stepping_s", np.float64),
]
TOTALS = ("cadence_steps", "cadence_stepping_s")


def absorb(s: Fields, m: Fields) -> tuple[timer.Times, Floats, Mask]:
    """Take in a cadence of each row; return times, the steps each brought, 0 where an IMU counts, and use."""
    t_ns, device = m["t_ns"], m["device"]
    revolving = (m["rpm"] >= 0.0) & (m["rpm"] <= 400.0)
    stepping = (m["spm"] >= 0.0) & (m["spm"] <= 400.0)
    revolving = choice.speaks(s, "crank", device, t_ns, 0.0, -1.0, revolving)
    stepping = choice.speaks(s, "gait", device, t_ns, 0.0, -1.0, stepping)
    rpm_in_time = s["cadence_rpm_ns"] - m["t_ns"] <= LATE_NS
    spm_in_time = s["cadence_spm_ns"] - m["t_ns"] <= LATE_NS
    s["late"] = s["late"] + (revolving & ~rpm_in_time | stepping & ~spm_in_time)
    _revolve(s, m, revolving & rpm_in_time)
    use = stepping & spm_in_time
    before_ns = s["cadence_spm_ns"]
    t_ns = np.maximum(m["t_ns"], before_ns)
    span = timer.counted_s(s, before_ns, t_ns)
    counted_by_body = t_ns - s["body_t_ns"] <= body.SILENT_NS
    holed = (t_ns - before_ns) * 1e-9 > GAP_S  # the gap itself: a pause may have eaten a part of it
    span = np.where(holed | counted_by_body | ~use, 0.0, span)
    known = np.where(before_ns == 0, m["spm"], s["cadence_spm"])
    steps = np.where(use, 0.5 * (known + m["spm"]) * span / 60.0, 0.0)
    s["cadence_steps"] = s["cadence_steps"] + steps
    s["cadence_stepping_s"] = s["cadence_stepping_s"] + np.where(m["spm"] > 0.0, span, 0.0)
    s["cadence_spm"] = np.where(use, m["spm"], s["cadence_spm"])
    s["cadence_spm_ns"] = np.where(use, t_ns, before_ns)
    return t_ns, steps, use


def _revolve(s: Fields, m: Fields, use: Mask) -> None:
    """Keep what cranks told, and how much it changed of late; to begin and to stop is no change."""
    before, before_ns = s["cadence_rpm"], s["cadence_rpm_ns"]
    moved = np.where((before > 0.0) & (m["rpm"] > 0.0), m["rpm"] - before, 0.0)  # NaN is not above 0
    dt_s = np.minimum(np.maximum(m["t_ns"] - before_ns, 0) * 1e-9, 60.0)
    unrest = s["cadence_unrest"] * decay(dt_s * (1.0 / CRANK_UNREST_S)) + moved * moved
    s["cadence_unrest"] = np.where(use, unrest, s["cadence_unrest"])
    s["cadence_rpm"] = np.where(use, m["rpm"], s["cadence_rpm"])
    s["cadence_rpm_ns"] = np.where(use, np.maximum(m["t_ns"], before_ns), before_ns)
