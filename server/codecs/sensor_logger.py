"""Messages of the Sensor Logger app (phone and watch), as real phones publish them.

One message is a batch of readings of mixed sensors, each stamped in ns since the epoch, its fields beside the
name or nested under ``values``. Units are made SI by what the numbers can only mean (a pressure below
200 is kPa, a gravity of length 1 is in g); negative accuracies, speeds and bearings mean "not known".

A device keeps little between messages: what waits for its gravity, the sign of the platform
(`server.codecs.specific_force`), and which of several sensors for one quantity it listens to, so that none is
fed twice. All of it is bounded.

Source: tszheichoi/awesome-sensor-logger PUSHING.md, UNITS.md, COORDINATES.md.
"""

import math
import re
import zlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from server.codecs import imu_json
from server.codecs.imu import BOUNDS
from server.codecs.imu_json import ACCEL, GYRO, MAG, ImuRows
from server.codecs.phone_samples import Choice, Fields, Grouped, PhoneSamples, number
from server.codecs.specific_force import (
    FIELDS,
    HINT,
    HOLD_NS,
    PENDING_MAX,
    STANDARD_GRAVITY,
    UNITS,
    Recombiner,
    Series,
    Sign,
)
from server.codecs.strict_json import read
from server.errors import DecodeError
from server.messages import Packet

TIME_MAX: Final = 2**62  # ns; the year 2116

_EDGE = re.compile(r"[^A-Za-z0-9_-]")
_XYZ: Final = ("x", "y", "z")
_WRIST: Final = tuple(
    tuple(f"{kind}{axis}" for axis in "XYZ") for kind in ("rotationRate", "gravity", "acceleration")
)
_ANDROID: Final = frozenset({"totalacceleration", "light", "wifi", "batterytemp"})
_IOS: Final = frozenset({"headphone", "heartrate", "wristmotion", "watchlocation", "watchbarometer"})


class Reading(NamedTuple):
    """One reading for `encode`."""

    name: str
    time_ns: int
    values: Fields


class Envelope(msgspec.Struct, rename="camel"):
    """A message as it stands."""

    payload: list[Any]
    device_id: str = ""
    session_id: str = ""
    message_id: Any = None


class SensorLoggerBatch(NamedTuple):
    """What a message held.

    Attributes
    ----------
    device : str
        The sender's id with every character outside [A-Za-z0-9_-] made "-", at most 64 long.
    session : str
        The app's id of the recording.
    message_id : int or None
        Counts the messages of a session.
    packets : list
        Samples, and at most one ImuRows of the phone. ``boot`` of the rows changes with the session.
    watch : ImuRows or None
        Motion of the watch: another body, so to be fed as another device (of the same athlete).
    refused : list of str
        A reason for each reading that was not usable: ``schema``, ``time``, ``not_finite``, ``range``,
        ``no_fix``, ``unpaired`` (acceleration without gravity), ``late`` (before what was given already).
    ignored : int
        Readings of sensors that are not used, unknown ones among them, or of which a better one is there.
    """

    device: str
    session: str
    message_id: int | None
    packets: list[Packet | ImuRows]
    watch: ImuRows | None
    refused: list[str]
    ignored: int


class _Sender(msgspec.Struct, rename="camel"):
    """Of a message who sent it: the readings are passed over."""

    device_id: str = ""
    session_id: str = ""


_DECODER: Final = msgspec.json.Decoder(Envelope)
_SENDER_DECODER: Final = msgspec.json.Decoder(_Sender)
_ENCODER: Final = msgspec.json.Encoder()


def read_envelope(payload: bytes) -> tuple[str, Envelope]:
    """Return the device's id and the message, its readings unread.

    Raises
    ------
    DecodeError
        Reasons of `server.codecs.strict_json`; ``device`` where the message names no sender.
    """
    envelope = read(_DECODER, payload)
    return _device(envelope), envelope


def sender(payload: bytes) -> str:
    """Return the device's id alone, or raise DecodeError."""
    return _device(read(_SENDER_DECODER, payload))


def watch_of(device: str) -> str:
    """Return the id of the watch that speaks through a phone."""
    return f"{device[:58]}-watch"


def _device(envelope: "Envelope | _Sender") -> str:
    device = _EDGE.sub("-", envelope.device_id or envelope.session_id)[:64]
    if not device:
        raise DecodeError("device")
    return device


def encode(
    *, device: str, session: str, message_id: int, readings: Sequence[Reading], nested: bool = True
) -> bytes:
    """Return the message that a phone would publish with these readings."""
    return _ENCODER.encode(
        {
            "messageId": message_id,
            "sessionId": session,
            "deviceId": device,
            "payload": [
                {"name": name, "time": time_ns, "values": values}
                if nested
                else {"name": name, "time": time_ns, **values}
                for name, time_ns, values in readings
            ],
        }
    )


class SensorLogger:
    """The decoders of all devices; beyond ``limit`` the one that was silent longest is forgotten."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._decoders: OrderedDict[str, SensorLoggerDecoder] = OrderedDict()

    def decode(self, payload: bytes) -> SensorLoggerBatch:
        """Return what ``payload`` holds, or raise DecodeError as `read_envelope` does."""
        device, envelope = read_envelope(payload)
        return self.device(device).decode(envelope)

    def device(self, device: str) -> "SensorLoggerDecoder":
        """Return the decoder of a device, new where it was not heard of."""
        decoder = self._decoders.get(device)
        if decoder is None:
            decoder = self._decoders[device] = SensorLoggerDecoder(device)
            if len(self._decoders) > self._limit:
                self._decoders.popitem(last=False)
        else:
            self._decoders.move_to_end(device)
        return decoder


class SensorLoggerDecoder:
    """Reads the messages of one device.

    Parameters
    ----------
    device : str
        Its id, as `read_envelope` returns it.
    gravity_up : bool or None
        What the caller knows of the platform: True on Android and with standardised frames, False on iOS as
        it comes; None leaves it to the evidence in the messages.
    """

    def __init__(self, device: str, gravity_up: bool | None = None) -> None:
        self.device = device
        self.hint(gravity_up)
        self._begin("")

    def hint(self, gravity_up: bool | None) -> None:
        """Take what the caller knows of the platform, from now on."""
        self._gravity_up = gravity_up

    @property
    def gravity_sign(self) -> int:
        """The sign in use: +1 where the platform's gravity points up, -1 where it points down."""
        return self._sign.value

    def _begin(self, session: str) -> None:
        self._session = session
        self._sign = Sign()
        self._used_sign = 0  # of the rows given so far; 0: none yet
        self._turns = 0
        self._phone = Recombiner()
        self._held: dict[int, Series] = {}
        self._choice = Choice()
        self._samples = PhoneSamples(self._choice)

    def decode(self, envelope: Envelope) -> SensorLoggerBatch:
        """Return what the message holds; nothing in it is an error, only refused or ignored."""
        if envelope.session_id != self._session:
            self._begin(envelope.session_id)
        refused: Counter[str] = Counter()
        grouped, accuracy = _group(envelope.payload, refused)
        total = sum(map(len, grouped.values()))
        used: Counter[str] = Counter()
        series = {name: _series(grouped, name, _XYZ, refused) for name in _MOTION if name in grouped}
        used.update({name: len(grouped[name]) for name in ("gravity", "orientation") if name in grouped})
        watch = self._wrist(grouped, refused, used)
        self._tell(grouped, series, accuracy)
        packets: list[Packet | ImuRows] = []
        packets += self._samples.read(grouped, refused, used)
        phone = self._motion(series, refused, used)
        if phone is not None:
            packets.append(phone)
        message_id = envelope.message_id
        return SensorLoggerBatch(
            self.device,
            envelope.session_id,
            message_id if type(message_id) is int else None,
            packets,
            watch,
            list(refused.elements()),
            total - sum(used.values()),
        )

    def _tell(self, grouped: Grouped, series: dict[str, Series], accuracy: bool) -> None:
        """Let the message speak for the sign."""
        sign = self._sign
        if self._gravity_up is not None:
            sign.tell(1 if self._gravity_up else -1, HINT)
        if sign.strength >= HINT:
            return
        if "orientation" in grouped:
            gravity = self._phone.gravity.then(series.get("gravity", Series.none()))
            turned = _series(grouped, "orientation", ("qx", "qy", "qw"), Counter())
            sign.tell_orientation(turned.t_ns, turned.values[:, :2], gravity)
        if "accelerometeruncalibrated" in series:
            sign.tell_unit(np.linalg.norm(series["accelerometeruncalibrated"].values, axis=1))
        if "wristmotion" in grouped:
            gravity = _series(grouped, "wristmotion", _WRIST[1], Counter())
            sign.tell_unit(np.linalg.norm(gravity.values, axis=1))
        if accuracy or not _ANDROID.isdisjoint(grouped):
            sign.tell(1, UNITS)
        if not _IOS.isdisjoint(grouped) or any(
            "altitudeAboveMeanSeaLevel" in fields for _, fields in grouped.get("location", ())[:1]
        ):
            sign.tell(-1, FIELDS)

    def _motion(self, series: dict[str, Series], refused: Counter[str], used: Counter[str]) -> ImuRows | None:
        """Return the phone's rows that are ready: of one source for each quantity, in the right sign."""
        none = Series.none()
        joined, lost = self._phone.join(series.get("accelerometer", none), series.get("gravity", none))
        refused["unpaired"] += lost
        used["accelerometer"] += len(series.get("accelerometer", none).t_ns)
        self._hold(ACCEL, 0, joined, refused)
        for name, (sensor, rank) in _DIRECT.items():
            values = series.get(name, none)
            if self._choice.takes(sensor, rank, values.t_ns):
                used[name] += len(values.t_ns)
                in_g = name == "accelerometeruncalibrated" and self._sign.value < 0
                unit = STANDARD_GRAVITY if in_g else 1.0
                self._hold(sensor, rank, Series(values.t_ns, values.values * unit), refused)
        return self._release()

    def _hold(self, sensor: int, rank: int, values: Series, refused: Counter[str]) -> None:
        """Put new samples behind those that are held."""
        if len(values.t_ns):
            fresh = values.since(self._choice.feed(sensor, rank, values.t_ns))
            refused["late"] += len(values.t_ns) - len(fresh.t_ns)
            self._held[sensor] = self._held.get(sensor, Series.none()).then(fresh)

    def _release(self) -> ImuRows | None:
        """Return what is held, once the sign is known or the wait for it is over."""
        held = [s.t_ns for s in self._held.values() if len(s.t_ns)]
        if not held:
            return None
        span_ns = max(int(t_ns[-1]) for t_ns in held) - min(int(t_ns[0]) for t_ns in held)
        full = max(map(len, held)) > PENDING_MAX
        unsure = ACCEL in self._held and not self._sign.strength and not self._used_sign
        if unsure and span_ns < HOLD_NS and not full:
            return None
        parts = [
            (sensor, s.t_ns, s.values * self._sign.value if sensor == ACCEL else s.values)
            for sensor, s in self._held.items()
        ]
        if ACCEL in self._held:
            self._turns += self._used_sign not in (0, self._sign.value)
            self._used_sign = self._sign.value
        self._held = {}
        return ImuRows(imu_json.rows(parts), self._boot(), None, False, True)

    def _boot(self) -> int:
        """Return a number for the session; it also changes where the sign turned out to be the other."""
        return (zlib.crc32(self._session.encode("utf-8", "replace")) + self._turns) & 0xFFFFFFFF

    def _wrist(self, grouped: Grouped, refused: Counter[str], used: Counter[str]) -> ImuRows | None:
        """Return the watch's rows."""
        if "wristmotion" not in grouped:
            return None
        used["wristmotion"] += len(grouped["wristmotion"])
        nine = _series(grouped, "wristmotion", _WRIST[0] + _WRIST[1] + _WRIST[2], refused)
        if not len(nine.t_ns):
            return None
        fresh = nine.since(self._choice.feed("watch", 0, nine.t_ns))
        refused["late"] += len(nine.t_ns) - len(fresh.t_ns)
        if not len(fresh.t_ns):
            return None
        rate, gravity, acceleration = np.split(fresh.values, 3, axis=1)
        in_g = np.median(np.linalg.norm(gravity, axis=1)) < 3.0
        force = (gravity + acceleration) * (-STANDARD_GRAVITY if in_g else 1.0)
        inside = (np.abs(force) <= BOUNDS[ACCEL]).all(axis=1) & (np.abs(rate) <= BOUNDS[GYRO]).all(axis=1)
        t_ns = fresh.t_ns[inside]
        rows = imu_json.rows([(ACCEL, t_ns, force[inside]), (GYRO, t_ns, rate[inside])])
        return ImuRows(rows, self._boot(), None, False, True) if len(rows) else None


# Sensors that are used as they come: which quantity, and how preferred (0 is best; acceleration with gravity
# is the accelerometer's 0).
_DIRECT: Final = {
    "totalacceleration": (ACCEL, 1),
    "accelerometeruncalibrated": (ACCEL, 2),
    "gyroscope": (GYRO, 0),
    "gyroscopeuncalibrated": (GYRO, 1),
    "magnetometer": (MAG, 0),
}
_MOTION: Final = ("accelerometer", "gravity", *_DIRECT)


def _group(payload: list[Any], refused: Counter[str]) -> tuple[Grouped, bool]:
    """Return the readings by name, lower case without blanks, and whether one states its accuracy."""
    grouped: Grouped = {}
    names: dict[str, tuple[list[tuple[int, Fields]], bool]] = {}
    accuracy = False
    for reading in payload:
        name = reading.get("name") if type(reading) is dict else None
        if type(name) is not str:
            refused["schema"] += 1
            continue
        t = reading.get("time")
        if type(t) is not int:
            t = _stamp(t)
        if t is None or not 0 <= t <= TIME_MAX:
            refused["time"] += 1
            continue
        values = reading.get("values")
        found = names.get(name)
        if found is None:
            key = name[:64].lower().replace(" ", "").replace("_", "").replace("-", "")
            found = names[name] = (grouped.setdefault(key, []), key in _MOTION)
        found[0].append((t, values if type(values) is dict else reading))
        accuracy = accuracy or (found[1] and reading.get("accuracy") is not None)
    return grouped, accuracy


def _stamp(t: object) -> int | None:
    """Return a stamp that is no JSON integer: a decimal string, or a float that is exact."""
    if isinstance(t, str) and len(t) <= 19 and t.isascii() and t.isdigit():
        return int(t)
    if isinstance(t, float) and t.is_integer() and abs(t) < 2**53:
        return int(t)
    return None


def _series(grouped: Grouped, name: str, fields: tuple[str, ...], refused: Counter[str]) -> Series:
    """Return the samples of a sensor, shape (n, len(fields)); what is no number in range is refused."""
    readings = grouped[name]
    try:
        values = np.array([[v[field] for field in fields] for _, v in readings], np.float64)
        t_ns = np.array([t for t, _ in readings], np.int64)
    except (KeyError, TypeError, ValueError, OverflowError):
        good = [
            (t, row)
            for t, v in readings
            if None not in (row := [number(v.get(field), -math.inf, math.inf) for field in fields])
        ]
        refused["schema"] += len(readings) - len(good)
        t_ns = np.array([t for t, _ in good], np.int64)
        values = np.array([row for _, row in good], np.float64).reshape(len(good), len(fields))
    inside = (np.abs(values) <= BOUNDS[_DIRECT.get(name, (ACCEL, 0))[0]]).all(axis=1)
    if not inside.all():
        refused["not_finite"] += len(t_ns) - int(inside.sum())
        t_ns, values = t_ns[inside], values[inside]
    return Series.none().then(Series(t_ns, values))
