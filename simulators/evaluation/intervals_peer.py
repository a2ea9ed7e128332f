"""The peer of the models' intervals: filterpy's filter of value and rate, with a textbook's constants."""

from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.models import consistency
from fusion.models.plane import metres_per_degree
from server.messages import Gnss, HeartRate

Floats = NDArray[np.float64]

# 95 % of the mean of 59 innovations squared over their numbers, chi-square: what WINDOW weighs.
CHANCE: Final = {1: (0.67, 1.39), 2: (0.76, 1.27)}
GAP_S: Final = 60.0  # it starts anew after a longer silence


class Constants(NamedTuple):
    """Of a filter: its axes, the variance of the rate's change, of the first rate, and of readings."""

    axes: int
    q: float  # (unit/s^2)^2, of filterpy's Q_discrete_white_noise
    rate: float
    noise: float  # where a reading does not tell its own


# An athlete accelerates by 1 m/s^2, climbs change by 0.1 m/s^2, a heart by 0.5 bpm/s^2; a fix without an
# accuracy is good to 5 m, a barometer to 1 m, a strap to 1 bpm.
CONSTANTS: Final = {
    "position": Constants(2, 1.0, 25.0, 25.0),
    "altitude": Constants(1, 0.01, 1.0, 1.0),
    "heart_rate": Constants(1, 0.25, 1.0, 1.0),
}


@cache
def _library() -> tuple[Any, Any]:
    from filterpy.common import Q_discrete_white_noise
    from filterpy.kalman import KalmanFilter

    return KalmanFilter, Q_discrete_white_noise


class Textbook:
    """One filter; its state is value and rate of each axis in turn."""

    def __init__(self, model: str) -> None:
        self._constants = CONSTANTS[model]
        self._filter: Any = None
        self._t_s = 0.0
        self._window = 0.0
        self._count = 0
        self.nis = np.nan  # windowed, over the numbers of a reading; NaN before the window is full

    def take(self, t_s: float, z: Floats, variance: float | None = None) -> None:
        """Take a reading in, (axes,), with its variance where it tells one."""
        make, noise = _library()
        axes, q, rate, default = self._constants
        R = np.eye(axes) * (variance or default)
        dt_s = t_s - self._t_s
        if self._filter is None or dt_s > GAP_S:
            self._filter = make(dim_x=2 * axes, dim_z=axes)
            self._filter.x[::2, 0] = z
            self._filter.P = np.diag([R[0, 0], rate] * axes)
            self._filter.H = np.eye(2 * axes)[::2]
            self._t_s = t_s
            return
        if dt_s <= 0.0:
            return
        one = self._filter
        one.F = np.kron(np.eye(axes), [[1.0, dt_s], [0.0, 1.0]])
        one.Q = noise(dim=2, dt=dt_s, var=q, block_size=axes)
        one.predict()
        one.update(z.reshape(axes, 1), R=R)
        self._t_s = t_s
        nis = float((one.y.T @ one.SI @ one.y).item()) / axes
        self._count += 1
        share = 1.0 / min(self._count, consistency.WINDOW)
        self._window += share * (min(nis, consistency.NIS_MAX) - self._window)
        self.nis = self._window if self._count >= consistency.WINDOW else np.nan

    def value(self) -> tuple[float, float]:
        """Return the first axis' value and its sigma; NaN before the first reading."""
        if self._filter is None:
            return np.nan, np.nan
        return float(self._filter.x[0, 0]), float(np.sqrt(self._filter.P[0, 0]))

    def speed(self) -> tuple[float, float]:
        """Return the speed over both axes and its sigma; NaN before the first reading."""
        if self._filter is None:
            return np.nan, np.nan
        v = self._filter.x[1::2, 0]
        speed = float(np.hypot(*v))
        u = v / speed if speed > 0.1 else np.array([1.0, 0.0])
        return speed, float(np.sqrt(u @ self._filter.P[1::2, 1::2] @ u))


class Peer:
    """The textbook's filters of one athlete: fixes, satellite heights and told heart rates."""

    def __init__(self) -> None:
        self._filters = {name: Textbook(name) for name in CONSTANTS}
        self._origin: tuple[float, float] | None = None

    def take(self, t_s: float, packet: object) -> None:
        """Take in what a device told at t_s."""
        if isinstance(packet, HeartRate) and packet.bpm and packet.optical is not True:
            self._filters["heart_rate"].take(t_s, np.array([packet.bpm]))
        if not isinstance(packet, Gnss):
            return
        if self._origin is None:
            self._origin = packet.lat, packet.lon
        per_lon, per_lat = metres_per_degree(np.array([self._origin[0]]))
        east_m = (packet.lon - self._origin[1]) * float(per_lon[0])
        north_m = (packet.lat - self._origin[0]) * float(per_lat[0])
        self._filters["position"].take(t_s, np.array([east_m, north_m]), _variance(packet.h_acc_m))
        if packet.alt_m is not None:
            self._filters["altitude"].take(t_s, np.array([packet.alt_m]), _variance(packet.v_acc_m))

    def told(self) -> dict[str, tuple[float, float]]:
        """Return value and sigma by metric, of the newest readings."""
        return {
            "speed": self._filters["position"].speed(),
            "altitude": self._filters["altitude"].value(),
            "heart_rate": self._filters["heart_rate"].value(),
        }

    def look(self, fits: Any) -> None:
        """Take in how well the filters fit now."""
        for name, one in self._filters.items():
            fits[name].add(one.nis, CHANCE[CONSTANTS[name].axes])


def _variance(accuracy: float | None) -> float | None:
    return None if accuracy is None else max(accuracy, 0.5) ** 2
