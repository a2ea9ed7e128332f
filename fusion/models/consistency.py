"""How well each Kalman model fits what it is told: its innovations, squared, over their variances (NIS).

For a filter whose noises are right the NIS of a measurement of d numbers is chi-square of d, so its mean over
d is 1 (Bar-Shalom, Li and Kirubarajan 2001, 5.4). A mean that forgets, of WINDOW measurements, weighs as many
as 2 WINDOW - 1 equal ones; above its 95 % bound the filter is surer than it may be, below it is too careful.

The noises of position and altitude are shares of what is stated, chosen for what they do to a track and to a
climb; how much fixes and heights differ from one to the next depends on the receiver. If all noises of a
filter are wrong by one factor its estimates are the same, and the factor can be learnt beside it from the
innovations alone (Harvey 1989, 3.4.1; West and Harrison 1997, 10.8, where the variance is discounted). That
is the *scale*: innovations are held to what they were over the newest SCALE_MEMORY measurements, and the
windowed NIS tells where a sensor is no longer what it was. The heart has such a factor for each source, and
learns its noise by it; its bounds begin with those of chi-square, which count as OFF_PRIOR readings do.

The bounds of chance are those of a mean of numbers that are neither chi-square nor independent: receivers
smooth, and recorded heights are rounded. Its variance is that of one number times (1 + r) / (1 - r), with r
their correlation from one to the next, over how many there are (Bartlett 1946 for a chain of first order);
both are learnt, slower than what they are to tell of, and are at least those of chi-square and independence.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion import timer
from fusion.kalman import Floats
from fusion.models import heart_rate
from fusion.table import Fields, Table

WINDOW = 30.0  # measurements; heart_rate.NIS_WINDOW has its own
SCALE_MEMORY = 120.0  # measurements in which the scale is learnt
SPREAD_MEMORY = 480.0  # in which the variance and correlation of innovations squared are
SCALE_MIN, SCALE_MAX = 1e-3, 30.0  # beyond them a model does not fit, however long that lasts
CORRELATION_MAX = 0.95
SQUARE_MAX = 8.0  # twice that of the worst receiver at hand; more is a model that does not fit
NORMAL_95 = 1.96
NIS_MAX = 9.0  # of one measurement, over d: a hop says that it was a hop, not that the filter is wrong


class Model(NamedTuple):
    """Where a model's windowed NIS, over d, is kept."""

    field: str
    t_ns: str  # time of its newest measurement; 0: never
    dimensions: int


MODELS = {
    "position": Model("fit_position", "pos_t_ns", 2),
    "altitude": Model("fit_altitude", "alt_t_ns", 1),
    "heart_rate": Model("hr_nis", "hr_t_ns", 1),
}
FIELDS: list[tuple[Any, ...]] = [
    ("fit_position", np.float64),
    ("fit_position_scale", np.float32),
    # Of what each NIS is off 1: the newest, the mean square, and the mean of its product with the one before.
    ("fit_position_off", np.float32, (3,)),
    ("fit_position_count", np.int32),
    ("fit_altitude", np.float64),
    ("fit_altitude_scale", np.float32),
    ("fit_altitude_off", np.float32, (3,)),
    ("fit_altitude_count", np.int32),
]


def learn(state: Table, model: str, rows: timer.Rows, before: Floats, nis: Floats, dimensions: int) -> None:
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
    count = np.minimum(seen + new, int(SPREAD_MEMORY))
    mean = state[field][rows]
    state[field][rows] = np.where(new, mean + (one - mean) / np.clip(count, 1, WINDOW), mean)
    learnt = np.clip(scale * (1.0 + (one - 1.0) / np.clip(count, 1, SCALE_MEMORY)), SCALE_MIN, SCALE_MAX)
    state[scaled][rows] = np.where(new, learnt, scale)
    state[counted][rows] = count
    off, before = one - 1.0, state[f"fit_{model}_off"][rows].T
    squares = np.array([off * off, off * before[0]])
    learnt_squares = before[1:] + (squares - before[1:]) / np.maximum(count, 1)
    state[f"fit_{model}_off"][rows] = np.where(new, np.vstack([off, learnt_squares]), before).T


def bounds(state: Fields, model: str) -> tuple[Floats, Floats]:
    """Return the bounds within which chance keeps the windowed NIS of each row (95 %), (n,) each.

    Chi-square by Wilson and Hilferty 1931 (doi 10.1073/pnas.17.12.684): its cube root is nearly normal.
    """
    heart = model == "heart_rate"
    window = heart_rate.NIS_WINDOW if heart else WINDOW
    _, square, product = state["hr_off"] if heart else state[f"fit_{model}_off"]
    white = 2.0 / MODELS[model].dimensions
    r = np.clip(product / np.maximum(square, 1e-9), 0.0, CORRELATION_MAX)
    variance = np.clip(square, white, SQUARE_MAX) * (1.0 + r) / (1.0 - r) / (2.0 * window - 1.0)
    spread = variance / 9.0  # of the cube root
    half = NORMAL_95 * np.sqrt(spread)
    return np.maximum(1.0 - spread - half, 0.0) ** 3, (1.0 - spread + half) ** 3


def known(state: Fields, model: str) -> Any:
    """Return of which rows' models so many measurements are known that the bounds mean something, (n,)."""
    if model == "heart_rate":
        return state["hr_t_ns"] != 0
    return state[f"fit_{model}_count"] >= int(WINDOW)
