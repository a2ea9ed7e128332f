"""Ascent and, beside it, descent of the workout, m: live, by hysteresis on the filter's relative height."""

import math
from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats
from fusion.measurements import Source
from fusion.metrics import climb
from fusion.metrics.metric import NO_SOURCE, OK, Raw, View, of_workout
from fusion.models import altitude
from fusion.table import Fields, Table

SHARE_BARO = 0.03  # one sigma, of the ascent: weather, wind, lag
SHARE_GNSS = 0.12  # receivers' and recorded heights: makers smooth them, each in its own way
# And in square: the hysteresis holds back none to all of its threshold, and weather makes a climb of its own.
HELD_BARO_M = math.hypot(0.5 * climb.THRESHOLD_M, 0.8)
HELD_GNSS_M = 4.0
SILENT_MPS = 0.5  # while no height is heard an athlete climbs no faster
BARO = int(Source.BARO)

FIELDS: list[tuple[Any, ...]] = [
    *climb.fields("climb"),
    *climb.fields("smooth"),
    ("climb_t_ns", np.int64),
    ("altitude_min_m", np.float64),
    ("altitude_max_m", np.float64),
]


def clear(one: Any) -> None:
    """Make a row's totals those of a workout that begins."""
    for prefix in ("climb", "smooth"):
        one[f"{prefix}_up_m"] = one[f"{prefix}_down_m"] = 0.0
    one["climb_t_ns"] = 0
    one["altitude_min_m"], one["altitude_max_m"] = np.inf, -np.inf
    turn(one)


def turn(one: Any, *prefixes: str) -> None:
    """Forget direction and turning point, as after a pause, without touching what was climbed."""
    for prefix in prefixes or ("climb", "smooth"):
        one[f"{prefix}_direction"], one[f"{prefix}_turn_m"] = 0.0, np.nan


def from_heights(state: Table, step: altitude.Step) -> None:
    """Add a round of heights."""
    counted = step.counted
    rows = step.rows[counted]
    if not len(rows):
        return
    now = climb.Climb(*(state[f"climb_{name}"][rows] for name in climb.Climb._fields))
    now = now._replace(turn_m=now.turn_m + step.shift_m[counted])
    after = climb.advance(now, step.height_m[counted], step.sigma_m[counted])
    for name, column in zip(climb.Climb._fields, after, strict=True):
        state[f"climb_{name}"][rows] = column
    state["climb_t_ns"][rows] = step.t_ns[counted]


def sigma_of(s: Fields, climbed_m: Floats) -> Floats:
    """Return one sigma of an ascent or descent, m, (n,)."""
    baro = altitude.source(s) == BARO
    share = np.where(baro, SHARE_BARO, SHARE_GNSS) * climbed_m
    held = np.where(baro, HELD_BARO_M, HELD_GNSS_M)
    sigma: Floats = np.sqrt(share * share + held * held)
    return sigma


def of(view: View, climbed_m: Floats) -> Raw:
    """Return the estimate of what was climbed."""
    s = view.state
    reason = np.where(s["climb_t_ns"] == 0, NO_SOURCE, OK)
    rate = np.minimum(np.sqrt(s["alt_x"][1] * s["alt_x"][1] + s["alt_P"][1, 1]), SILENT_MPS)
    unheard = rate * timer.unheard_s(s, s["climb_t_ns"], view.due_ns)
    sigma = sigma_of(s, climbed_m) + unheard
    return Raw(climbed_m, sigma, s["climb_t_ns"], altitude.source(s), of_workout(view, reason))


def value(view: View) -> Raw:
    """Return ascent."""
    return of(view, view.state["climb_up_m"])
