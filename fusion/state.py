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
STATE = np.dtype(
    [
        *_PROFILE,
        *timer.FIELDS,
        *choice.FIELDS,
        *receivers.FIELDS,
        *consistency.FIELDS,
        *barometers.FIELDS,
        *effort.FIELDS,
        *heart_rate.FIELDS,
        *position.FIELDS,
        *altitude.FIELDS,
        *body.FIELDS,
        *cadence.FIELDS,
        *power.FIELDS,
        *speed.FIELDS,
        *step_length.FIELDS,
        *distance.FIELDS,
        *moving.FIELDS,
        *ascent.FIELDS,
        *floors.FIELDS,
        *energy.FIELDS,
    ],
    align=True,
)
