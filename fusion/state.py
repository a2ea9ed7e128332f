"""The fields of an athlete's row: each model and metric tells its own."""

from typing import Any

import numpy as np

from fusion import timer
from fusion.metrics import ascent, distance, energy, floors, moving
from fusion.models import (
    altitude,
    barometers,
    body,
    cadence,
    choice,
    consistency,
    effort,
    heart_rate,
    position,
    power,
    receivers,
    speed,
    step_length,
)
from fusion.table import Table, joined

ZONES_MAX = 9

_PROFILE: list[tuple[Any, ...]] = [
    ("mass_kg", np.float64),
    ("height_m", np.float64),
    ("birth_year", np.int32),
    ("sex", np.int32),
    ("resting_bpm", np.float64),
    ("max_bpm", np.float64),
    ("zones", np.float64, (ZONES_MAX,)),
    ("late", np.int64),  # measurements that came too late to be used
    ("speed_max_mps", np.float64),
]
TOTALS = (
    *heart_rate.TOTALS,
    *position.TOTALS,
    *body.TOTALS,
    *cadence.TOTALS,
    *power.TOTALS,
    *distance.TOTALS,
    *moving.TOTALS,
    *energy.TOTALS,
    *floors.TOTALS,
    "speed_max_mps",
)
# What only some athletes' devices tell of: zero, and without a cost, until the first fix, height or the like.
_SOME = (
    *choice.FIELDS,
    *receivers.FIELDS,
    *consistency.FIELDS,
    *barometers.FIELDS,
    *position.FIELDS,
    *altitude.FIELDS,
    *cadence.FIELDS,
    *power.FIELDS,
    *speed.FIELDS,
    *step_length.FIELDS,
    *distance.FIELDS,
    *ascent.FIELDS,
    *floors.FIELDS,
)
_ALL = (
    *_PROFILE,
    *timer.FIELDS,
    *effort.FIELDS,
    *heart_rate.FIELDS,
    *body.FIELDS,
    *moving.FIELDS,
    *energy.FIELDS,
)
# Of _SOME, what windows of motion and heart rates write too, or what is not zero at first.
_OFTEN = {
    *(name for name, *_ in choice.FIELDS if name.startswith("body") or name.endswith(("device", "rival"))),
    *("other_device", "other_baro", "track_slot", "climb_slot", "cadence_rpm", "cadence_spm"),
    *("pos_doppler_mps", "stale_lat_deg", "stale_lon_deg", "track_doppler_mps", "still", "still_t_ns"),
    *("alt_span_s", "alt_dv_mps", "alt_moment_m", "alt_dv_variance", "alt_window_ns", "alt_window_rms"),
    *("alt_break", "climb_height_m", "smooth_height_m", "altitude_min_m", "altitude_max_m", "floor_steps"),
    *("step_factor", "step_var", "step_usual_m", "step_run_m", "dist_fill_m", "dist_fill_sigma_m"),
    *("dist_fill_source", "dist_t_ns", "path_m", "path_sigma_m", "path_mark_m", "path_mark_sigma_m"),
    *("path_source", "path_fills"),
}
OFTEN = np.dtype([*_ALL, *(field for field in _SOME if field[0] in _OFTEN)], align=True)
SELDOM = np.dtype([field for field in _SOME if field[0] not in _OFTEN], align=True)
STATE = joined(OFTEN, SELDOM)


def zeros(rows: int) -> Table:
    """Return a table of zeros, which costs no memory yet."""
    return Table(np.zeros(rows, OFTEN), np.zeros(rows, SELDOM), STATE)
