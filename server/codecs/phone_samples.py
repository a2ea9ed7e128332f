"""The low-rate readings of a phone and its watch as samples: fixes, pressure, heart rate, charge, steps.

Of the phone's and the watch's sensor for one quantity, one is listened to (`Choice`).
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from server.codecs.imu_json import GYRO
from server.messages import Baro, Battery, Cadence, Gnss, HeartRate, Packet

SWITCH_NS: Final = 5_000_000_000  # a sensor that is silent for so long gives way to the next best
STEPS_NS: Final = (1_000_000_000, 30_000_000_000)  # spans of the step counter that make a cadence

Fields = Mapping[str, Any]
Grouped = dict[str, list[tuple[int, Fields]]]


class Choice:
    """Which of several sensors for a quantity is listened to, and how far it came."""

    def __init__(self) -> None:
        self._rank: dict[object, int] = {}
        self._newest_ns: dict[object, int] = {}
        self._behind: dict[object, int] = {}

    def heard(self, quantity: object) -> bool:
        """Return whether anything was fed of the quantity."""
        return quantity in self._rank

    def takes(self, quantity: object, rank: int, t_ns: NDArray[np.int64]) -> bool:
        """Return whether a sensor of this rank (0 is best) is used for its stamps, shape (n,), sorted.

        It is unless a better one was heard within SWITCH_NS.
        """
        if not len(t_ns):
            return False
        heard = self._rank.get(quantity, rank)
        return rank <= heard or int(t_ns[-1]) - self._newest_ns[quantity] > SWITCH_NS

    def feed(self, quantity: object, rank: int, t_ns: NDArray[np.int64]) -> int:
        """Note stamps, shape (n,), sorted, n > 0; return the stamp after which they are new.

        A stream that twice stands more than SWITCH_NS behind what was noted is believed: the noted stamp was
        wild, or the clock went back.
        """
        newest_ns, last_ns = self._newest_ns.get(quantity, -1), int(t_ns[-1])
        if last_ns <= newest_ns:
            self._behind[quantity] = (
                self._behind.get(quantity, 0) + 1 if last_ns < newest_ns - SWITCH_NS else 0
            )
            if self._behind[quantity] < 2:
                return newest_ns
            newest_ns = -1
        self._behind[quantity] = 0
        self._rank[quantity], self._newest_ns[quantity] = rank, last_ns
        return newest_ns


class PhoneSamples:
    """Reads the low-rate readings of one session."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._steps: tuple[int, float] | None = None

    def read(self, grouped: Grouped, refused: Counter[str], used: Counter[str]) -> list[Packet]:
        """Return the samples in the order of time; count what is refused by reason, and used by name."""
        packets: list[Packet] = []
        for name, (quantity, rank) in _SENSORS.items():
            readings = grouped.get(name)
            if not readings:
                continue
            readings = sorted(readings, key=_stamp_of)
            t_ns = np.array([t for t, _ in readings], np.int64)
            if not self._choice.takes(quantity, rank, t_ns):
                continue
            self._choice.feed(quantity, rank, t_ns)
            used[name] += len(readings)
            for t, fields in readings:
                made = self._one(name, t, fields)
                if isinstance(made, str):
                    refused[made] += 1
                elif made is not None:
                    packets.append(made)
        packets.sort(key=lambda packet: int(packet.t or 0))
        return packets

    def _one(self, name: str, t: int, fields: Fields) -> Packet | str | None:
        """Return a sample, the reason why there is none, or None where there is nothing to tell."""
        if name in ("location", "watchlocation"):
            return fix(t, fields, watch=name == "watchlocation")
        if name in ("barometer", "watchbarometer"):
            pressure_pa = pressure(fields.get("pressure"))
            return "range" if pressure_pa is None else Baro(t=t, pressure_pa=pressure_pa)
        if name == "heartrate":
            bpm = number(fields.get("bpm"), 1.0, 300.0)
            return "range" if bpm is None else HeartRate(t=t, bpm=bpm, optical=True)
        if name == "battery":
            level = number(fields.get("batteryLevel"), 0.0, 1.0)
            return "range" if level is None else Battery(t=t, level=level)
        return self._cadence(t, fields)

    def _cadence(self, t: int, fields: Fields) -> Packet | str | None:
        """Return the cadence between two readings of the step counter, where no motion tells it better."""
        steps = number(fields.get("steps"), 0.0, 1e9)
        if steps is None:
            return "range"
        before, self._steps = self._steps, (t, steps)
        if before is None or self._choice.heard(GYRO):
            return None
        span_ns = t - before[0]
        if not STEPS_NS[0] <= span_ns <= STEPS_NS[1]:
            return None
        spm = (steps - before[1]) * 60e9 / span_ns
        return Cadence(t=t, spm=spm) if 0.0 <= spm <= 400.0 else "range"


# Which quantity a sensor gives, and how preferred it is; 0 is best.
_SENSORS: Final = {
    "location": ("gnss", 0),
    "watchlocation": ("gnss", 1),
    "barometer": ("baro", 0),
    "watchbarometer": ("baro", 1),
    "heartrate": ("hr", 0),
    "battery": ("battery", 0),
    "pedometer": ("steps", 0),
}


def number(value: object, low: float, high: float) -> float | None:
    """Return a JSON number as a float, or None where it is none, not finite, or outside low to high."""
    if type(value) is not float and type(value) is not int:
        return None
    try:
        real = float(value)
    except OverflowError:
        return None
    return real if low <= real <= high and math.isfinite(real) else None


def pressure(value: object) -> float | None:
    """Return a pressure in Pa from kPa (a watch), hPa (a phone) or Pa; None where it is none of these.

    On earth below 11 km these are 22 to 110, 220 to 1,100 and 22,000 to 110,000: they cannot be confused.
    """
    given = number(value, 20.0, 120_000.0)
    if given is None:
        return None
    pressure_pa = given * (1000.0 if given < 200.0 else 100.0 if given < 2000.0 else 1.0)
    return pressure_pa if pressure_pa <= 120_000.0 and pressure_pa >= 20_000.0 else None


def fix(t: int, fields: Fields, *, watch: bool = False) -> Gnss | str:
    """Return a fix, or the reason why it is none.

    Negative accuracies mean that what they belong to is not known; a zero accuracy says nothing. The height
    is the one above mean sea level where the platform gives it. Without an accuracy of its bearing a bearing
    of exactly 0 is Android's way to say that there is none.
    """
    lat = number(fields.get("latitude"), -90.0, 90.0)
    lon = number(fields.get("longitude"), -180.0, 180.0)
    if lat is None or lon is None:
        return "range"
    h_acc_m = number(fields.get("horizontalAccuracy"), -math.inf, 1e6)
    v_acc_m = number(fields.get("verticalAccuracy"), -math.inf, 1e6)
    speed_acc_mps = number(fields.get("speedAccuracy"), -math.inf, 1e3)
    if h_acc_m is not None and h_acc_m < 0:
        return "no_fix"
    bearing, bearing_acc = ("course", "courseAccuracy") if watch else ("bearing", "bearingAccuracy")
    course_deg = number(fields.get(bearing), 0.0, 360.0)
    course_acc = number(fields.get(bearing_acc), -math.inf, math.inf)
    if course_acc is not None and (course_acc < 0 or (course_acc == 0 and course_deg == 0)):
        course_deg = None
    alt_m: float | None = None
    for name in ("altitude", "ellipsoidalAltitude") if watch else ("altitudeAboveMeanSeaLevel", "altitude"):
        if alt_m is None:
            alt_m = number(fields.get(name), -1_000.0, 100_000.0)
    return Gnss(
        t=t,
        lat=lat,
        lon=lon,
        alt_m=None if v_acc_m is not None and v_acc_m < 0 else alt_m,
        speed_mps=None
        if speed_acc_mps is not None and speed_acc_mps < 0
        else number(fields.get("speed"), 0.0, 1_000.0),
        course_deg=course_deg,
        h_acc_m=_above_zero(h_acc_m),
        v_acc_m=_above_zero(v_acc_m),
        speed_acc_mps=_above_zero(speed_acc_mps),
    )


def _above_zero(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _stamp_of(reading: tuple[int, Fields]) -> int:
    return reading[0]
