"""How well each Kalman model fits what it is told: its innovations, squared, over their variances (NIS).

For a filter whose noises are right the NIS of a measurement of d numbers is chi-square of d, so its mean over
d is 1 (Bar-Shalom, Li and Kirubarajan 2001, 5.4). A mean that forgets, of WINDOW measurements, weighs as many
as 2 WINDOW - 1 equal ones; above its 95 % bound the filter is surer than it may be, below it is too careful.

The noises of position and altitude are shares of what is stated, chosen for what they do to a track and to a
climb; how much fixes and heights differ from one to the next depends on the receiver. If all noises of a
filter are wrong by one factor its estimates are the same, and the factor can be learnt beside it from the
innovations alone (Harvey 1989, 3.4.1; West and Harrison 1997, 10.8, where the variance is discounted). That
is the *scale*: innovations are held to what they were over the newest SCALE_MEMORY measurements, and the
windowed NIS tells where a sensor is no longer what it was. The heart has such a factor for each source.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion import timer
from fusion.kalman import Floats
from fusion.measurements import Records
from fusion.models import heart_rate
from fusion.table import Fields

WINDOW = 30.0  # measurements; heart_rate.NIS_WINDOW has its own
SCALE_MEMORY = 120.0  # measurements in which the scale is learnt
SCALE_RANGE = (0.01, 30.0)  # beyond it a model does not fit, however long that lasts
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
    ("fit_position_scale", np.float64),
    ("fit_position_count", np.int32),
    ("fit_altitude", np.float64),
    ("fit_altitude_scale", np.float64),
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
    field, counted, scaled = f"fit_{model}", f"fit_{model}_count", f"fit_{model}_scale"
    new = nis != before
    seen = state[counted][rows]
    scale = np.where(seen == 0, 1.0, state[scaled][rows])
    one = np.minimum(nis * (1.0 / dimensions) / scale, NIS_MAX)
    count = np.minimum(seen + new, int(SCALE_MEMORY))
    mean = state[field][rows]
    state[field][rows] = np.where(new, mean + (one - mean) / np.minimum(np.maximum(count, 1), WINDOW), mean)
    learnt = np.clip(scale * (1.0 + (one - 1.0) / np.maximum(count, 1)), *SCALE_RANGE)
    state[scaled][rows] = np.where(new, learnt, scale)
    state[counted][rows] = count


def known(state: Fields, model: str) -> Any:
    """Return of which rows' models so many measurements are known that the bounds mean something, (n,)."""
    if model == "heart_rate":
        return state["hr_t_ns"] != 0
    return state[f"fit_{model}_count"] >= int(WINDOW)
