"""What the models take in: measurements in aligned time, as structured arrays.

``row`` is the athlete's row in the table, ``t_ns`` aligned time (UTC epoch, ns, int64). Within one array the
measurements of a row stand in the order of time. NaN means that the sensor did not tell. Units are SI.
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.void]  # a structured array; each dtype below says of what

_KEY: list[Any] = [("row", np.int32), ("t_ns", np.int64)]


def _record(*fields: Any) -> np.dtype[np.void]:
    """Return a record as a C compiler lays it out: the core writes some of them (csrc/kinefuse.h)."""
    return np.dtype([*_KEY, *fields], align=True)


DUE = _record()  # the moment of a step

# Motion over a window of the device clock, from the C core (kf_measured_window). ``rank`` is the
# preference among an athlete's devices for counting steps: 0 is best, and is on a foot. ``device`` is the
# device's row. ``duration_s`` is what of the window samples cover.
FOOT_RANK = 0
WINDOW = _record(
    ("device", np.int32),
    ("rank", np.int32),
    ("duration_s", np.float64),
    ("dv_up_mps", np.float64),
    ("dv_sigma_mps", np.float64),
    ("accel_rms", np.float64),
    ("gyro_rms", np.float64),
    ("steps", np.int32),
    ("step_interval_s", np.float64),
    ("flags", np.uint32),
)
# ``lag_s`` is how long before ``t_ns`` the middle of the beats lies that the rate is a mean of.
HEART_RATE = _record(
    ("device", np.int32),
    ("bpm", np.float64),
    ("sigma_bpm", np.float64),
    ("source", np.int32),
    ("lag_s", np.float64),
)
# ``device`` is the device's row, as above.
GNSS = _record(
    ("device", np.int32),
    ("lat_deg", np.float64),
    ("lon_deg", np.float64),
    ("alt_m", np.float64),
    ("speed_mps", np.float64),
    ("course_rad", np.float64),
    ("h_acc_m", np.float64),
    ("v_acc_m", np.float64),
    ("speed_acc_mps", np.float64),
)
BARO = _record(("device", np.int32), ("pressure_pa", np.float64))
POWER = _record(("device", np.int32), ("watts", np.float64))
CADENCE = _record(("device", np.int32), ("rpm", np.float64), ("spm", np.float64))
SPEED = _record(("device", np.int32), ("speed_mps", np.float64), ("source", np.int32))  # wheel and foot


def due(rows: NDArray[np.intp], t_ns: NDArray[np.int64]) -> Records:
    """Return the moments of rows, (n,) DUE."""
    moments = np.empty(len(rows), dtype=DUE)
    moments["row"], moments["t_ns"] = rows, t_ns
    return moments


class Source(IntEnum):
    """Where a value comes from; the lower-case name is what is published."""

    NONE = 0
    STRAP = 1
    OPTICAL = 2
    GNSS = 3
    BARO = 4
    IMU = 5
    FOOT = 6
    WHEEL = 7
    POWER = 8
    CADENCE = 9
    HEART_RATE = 10
    MODEL = 11
    CLOCK = 12


class Reason(IntEnum):
    """Why there is no honest value; the lower-case name is what is published."""

    NONE = 0
    NO_SOURCE = 1
    STALE = 2
    SETTLING = 3
    NOT_APPLICABLE = 4
    NEEDS_PROFILE = 5
    PAUSED = 6
    NOT_ENOUGH_DATA = 7


class Sport(IntEnum):
    """What the athlete does; the lower-case name is what is published."""

    OTHER = 0
    RUN = 1
    WALK = 2
    HIKE = 3
    RIDE = 4
    SWIM = 5
    SKI = 6
    ROW = 7


# One sample of one sensor on the device clock (csrc/kinefuse.h, kf_row).
ROW = np.dtype([("t_ns", "<i8"), ("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("sensor", "<u4")])


class Measurements(NamedTuple):
    """All that came for the rows of one step; arrays of the dtypes above, any of them empty."""

    windows: Records
    heart_rates: Records
    gnss: Records
    baro: Records
    power: Records
    cadence: Records
    speeds: Records

    @classmethod
    def of(cls, **arrays: Any) -> "Measurements":
        """Return measurements with the arrays or sequences of tuples given, the others empty."""
        return cls(
            *(np.array(arrays.get(name, []), dtype) for name, dtype in zip(cls._fields, DTYPES, strict=True))
        )


DTYPES = (WINDOW, HEART_RATE, GNSS, BARO, POWER, CADENCE, SPEED)


class Estimate(NamedTuple):
    """A metric for n rows; where ``reason`` is not NONE there is no value."""

    value: NDArray[np.float64]  # (n,) NaN where there is none
    sigma: NDArray[np.float64]  # (n,) one standard deviation, the value's unit
    t_ns: NDArray[np.int64]  # (n,) aligned time of the newest measurement it rests on
    source: NDArray[np.int64]  # (n,) Source
    quality: NDArray[np.float64]  # (n,) probability that the error is within the metric's tolerance
    reason: NDArray[np.int64]  # (n,) Reason


class Estimates(Mapping[str, Estimate]):
    """Estimates of several metrics by name, all columns together.

    Attributes
    ----------
    names : tuple of str
        The k metrics.
    told : (6 k + 2, n) int64
        All values, sigmas, qualities, times, sources and reasons, float64 as the bits that they are; behind
        them the elapsed and the moving time of the open workout, s.
    """

    def __init__(self, names: tuple[str, ...], told: NDArray[np.int64]) -> None:
        self.names, self.told = names, told

    def __getitem__(self, name: str) -> Estimate:
        if name not in self.names:
            raise KeyError(name)
        at, k = self.names.index(name), len(self.names)
        value, sigma, quality, t_ns, source, reason = self.told[at : 6 * k : k]
        value, sigma, quality = (column.view(np.float64) for column in (value, sigma, quality))
        return Estimate(value, sigma, t_ns, source, quality, reason)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
