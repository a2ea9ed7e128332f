"""How well each Kalman model fits what it is told: its innovations, squared, over their variances (NIS).

For a filter whose noises are right the NIS of a measurement of d numbers is chi-square of d, so its mean over
d is 1 (Bar-Shalom, Li and Kirubarajan 2001, 5.4). A mean that forgets, of WINDOW measurements, weighs as many
as 2 WINDOW - 1 equal ones; above its 95 % bound the filter is surer than it may be, below it is too careful.
Innovations that are alike from one to the next, as of receivers that smooth, stray from 1 further than that.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion import timer
from fusion.kalman import Floats
from fusion.measurements import Records
from fusion.models import heart_rate
from fusion.table import Fields

WINDOW = 30.0  # measurements; heart_rate.NIS_WINDOW has its own
NIS_MAX = 9.0  # of one measurement, over d: a hop says that it was a hop, not that the filter is wrong


class Model(NamedTuple):
    """Where a model's windowed NIS, over d, is kept, and the bounds of chance (95 %)."""

    field: str
    t_ns: str  # time of its newest measurement; 0: never
    low: float
    high: float


MODELS = {
    "position": Model("fit_position", "pos_t_ns", 0.76, 1.27),
    "altitude": Model("fit_altitude", "alt_t_ns", 0.67, 1.39),
    "heart_rate": Model("hr_nis", "hr_t_ns", 0.55, heart_rate.NIS_HIGH),
}
FIELDS: list[tuple[Any, ...]] = [
    ("fit_position", np.float64),
    ("fit_position_count", np.int32),
    ("fit_altitude", np.float64),
    ("fit_altitude_count", np.int32),
]


def learn(state: Records, model: str, rows: timer.Rows, before: Floats, nis: Floats, dimensions: int) -> None:
    """Take a round of innovations in.

    Parameters
    ----------
    model : str
        ``position`` or ``altitude``.
    rows : (n,) intp
    before, nis : (n,) float64
        The newest NIS of each row's model before the round and after it. Where they are the same nothing was
        told; where the filter started anew the caller leaves the row out.
    dimensions : int
        d, of the measurement.
    """
    field, counted = f"fit_{model}", f"fit_{model}_count"
    new = nis != before
    count = np.where(new, np.minimum(state[counted][rows] + 1, int(WINDOW)), state[counted][rows])
    one = np.minimum(nis * (1.0 / dimensions), NIS_MAX)
    mean = state[field][rows]
    state[field][rows] = np.where(new, mean + (one - mean) / np.maximum(count, 1), mean)
    state[counted][rows] = count


def known(state: Fields, model: str) -> Any:
    """Return of which rows' models so many measurements are known that the bounds mean something, (n,)."""
    if model == "heart_rate":
        return state["hr_t_ns"] != 0
    return state[f"fit_{model}_count"] >= int(WINDOW)
