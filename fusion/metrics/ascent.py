"""Ascent and, beside it, descent of the workout, m: live, by hysteresis on the filter's relative height."""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats
from fusion.measurements import Source
from fusion.metrics import climb
from fusion.metrics.metric import NO_SOURCE, OK, Raw, View, of_workout
from fusion.models import altitude
from fusion.table import Fields, Picked, Table

SHARE_BARO = 0.03  # one sigma, of the ascent: weather, wind, lag
SHARE_GNSS = 0.12  # receivers' and recorded heights: makers smooth them, each in its own way
# And in square: what turns are off by; with a barometer weather, m^2/s of the time; and the swing that is
# held back. Turns and weather are calibrated on simulated runs in drifting weather.
TURNS_BARO_M, TURNS_GNSS_M = 0.3, 4.0
WEATHER = 0.0015
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
        climb.clear(one, prefix)
    one["climb_t_ns"] = 0
    one["altitude_min_m"], one["altitude_max_m"] = np.inf, -np.inf


def leap(one: Any, prefix: str) -> None:
    """Take the next height to be where the newest was: after a pause, or on another scale."""
    one[f"{prefix}_height_m"] = np.nan


def from_heights(state: Table, step: altitude.Step) -> None:
    """Add a round of heights."""
    counted = step.counted
    rows = step.rows[counted]
    if not len(rows):
        return
    now = climb.Climb(*(state[f"climb_{name}"][rows] for name in climb.Climb._fields))
    now = now._replace(height_m=now.height_m + step.shift_m[counted])
    known = altitude.source(Picked(state, rows)) == BARO
    after = climb.advance(now, step.height_m[counted], step.sigma_m[counted], known)
    for name, column in zip(climb.Climb._fields, after, strict=True):
        state[f"climb_{name}"][rows] = column
    state["climb_t_ns"][rows] = step.t_ns[counted]


def sigma_of(s: Fields, prefix: str, climbed_m: Floats, up: float, t_ns: timer.Times) -> Floats:
    """Return one sigma of an ascent (``up`` is 1) or descent (-1) of a hysteresis at t_ns, m, (n,)."""
    baro = altitude.source(s) == BARO
    share = np.where(baro, SHARE_BARO, SHARE_GNSS) * climbed_m
    turns = np.where(baro, TURNS_BARO_M, TURNS_GNSS_M)
    weather = np.where(baro, WEATHER, 0.0) * timer.running_s(s, t_ns)
    held = np.maximum(up * s[f"{prefix}_held_m"], 0.0)
    sigma: Floats = np.sqrt(share * share + turns * turns + weather + held * held)
    return sigma


def of(view: View, climbed_m: Floats, up: float) -> Raw:
    """Return the estimate of what was climbed, or with ``up`` of -1 of what was descended."""
    s = view.state
    reason = np.where(s["climb_t_ns"] == 0, NO_SOURCE, OK)
    rate = np.minimum(np.sqrt(s["alt_x"][1] * s["alt_x"][1] + s["alt_P"][1, 1]), SILENT_MPS)
    unheard = rate * timer.unheard_s(s, s["climb_t_ns"], view.due_ns)
    heard = sigma_of(s, "climb", climbed_m, up, view.due_ns)
    sigma = np.sqrt(heard * heard + unheard * unheard)
    return Raw(climbed_m, sigma, s["climb_t_ns"], altitude.source(s), of_workout(view, reason))


def value(view: View) -> Raw:
    """Return ascent."""
    return of(view, view.state["climb_up_m"], 1.0)
