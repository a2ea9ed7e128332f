"""Fixes as receivers tell them: which of them are of use, and what they leave out or tell beyond reason."""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats
from fusion.measurements import Records
from fusion.table import Table

ACCURACY_DEFAULT_M = 10.0  # where the receiver tells none
ACCURACY_RANGE_M = (1.0, 1e4)
DOPPLER_DEFAULT_MPS = 0.4
DOPPLER_RANGE_MPS = (0.1, 50.0)
DOPPLER_MAX_MPS = 140.0  # twice what any athlete goes
STALE_NS, LATE_NS = 30_000_000_000, 2_000_000_000  # a fix older than the first when it comes is from before

FIELDS: list[tuple[Any, ...]] = [
    ("stale_lat_deg", np.float64),  # the newest fix that was refused as stale
    ("stale_lon_deg", np.float64),
]


def usable(state: Table, m: Records, due_ns: timer.Times) -> Records:
    """Return the fixes that are whole, neither stale nor late, nor the stale one told again."""
    whole = np.isfinite(m["lat_deg"]) & np.isfinite(m["lon_deg"])
    m = m[whole & (np.abs(m["lat_deg"]) <= 90.0) & (np.abs(m["lon_deg"]) <= 360.0)]
    rows = m["row"].astype(np.intp)
    stale = (due_ns[rows] - m["t_ns"]) > STALE_NS
    state["stale_lat_deg"][rows[stale]] = m["lat_deg"][stale]
    state["stale_lon_deg"][rows[stale]] = m["lon_deg"][stale]
    again = (m["lat_deg"] == state["stale_lat_deg"][rows]) & (m["lon_deg"] == state["stale_lon_deg"][rows])
    late = (state["pos_t_ns"][rows] - m["t_ns"]) > LATE_NS
    state["late"][rows[late | stale]] += 1
    fresh: Records = m[~(stale | again | late)]
    return fresh


def speeds(m: Records) -> Floats:
    """Return Doppler speeds, NaN where none is told: a phone without one tells -1."""
    speed = m["speed_mps"].copy()
    told = (speed >= 0.0) & np.isfinite(speed)  # NaN is not at least 0
    return np.where(told, np.minimum(speed, DOPPLER_MAX_MPS), np.nan)


def accuracies(m: Records) -> Floats:
    """Return the horizontal accuracy of fixes, one sigma, m, (n,)."""
    return _sane(m["h_acc_m"], ACCURACY_DEFAULT_M, ACCURACY_RANGE_M)


def speed_accuracies(m: Records) -> Floats:
    """Return the accuracy of their Doppler speed, one sigma, m/s, (n,)."""
    return _sane(m["speed_acc_mps"], DOPPLER_DEFAULT_MPS, DOPPLER_RANGE_MPS)


def _sane(value: Floats, default: float, limits: tuple[float, float]) -> Floats:
    """Return an accuracy within limits, the default where there is none."""
    known = np.where(value > 0.0, value, default)  # NaN is not more than 0
    return np.minimum(np.maximum(known, limits[0]), limits[1])
