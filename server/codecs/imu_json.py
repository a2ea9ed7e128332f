"""The JSON twin of the IMU packet: one message into rows, one sample of one sensor each.

``rows`` is also what other codecs build their rows with.
"""

from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fusion.measurements import ROW, Records
from server.codecs.imu import BOUNDS
from server.codecs.strict_json import INT64_MAX, INT64_MIN, read, time_ns
from server.errors import DecodeError
from server.messages import ImuJson

ACCEL: Final = 0
GYRO: Final = 1
MAG: Final = 2

_DECODER: Final = msgspec.json.Decoder(ImuJson)
_ENCODER: Final = msgspec.json.Encoder()


class ImuRows(NamedTuple):
    """Rows for the C core.

    Attributes
    ----------
    rows : Records
        dtype ROW, sorted by t_ns; at one stamp mag, accel, gyro.
    boot, seq : int or None
        None where the message does not tell.
    means : bool
        Samples are means over the interval that ends at their stamp.
    t_known : bool
        False: the message told no time; the newest stamp is then 0, to be shifted to the arrival.
    """

    rows: Records
    boot: int | None
    seq: int | None
    means: bool
    t_known: bool


def decode(payload: bytes) -> ImuRows:
    """Return the rows in ``payload``.

    Raises
    ------
    DecodeError
        Reasons of `server.codecs.strict_json`; ``bad_length`` where accel, gyro and mag differ in length,
        ``not_finite`` where a value is beyond BOUNDS, ``time`` where a stamp is beyond int64.
    """
    message = read(_DECODER, payload)
    count = len(message.accel)
    if len(message.gyro) != count or len(message.mag) not in (0, count):
        raise DecodeError("bad_length")
    span_ns = (count - 1) * message.dt
    t = time_ns(message.t)
    t0_ns = -span_ns if t is None else t
    if not INT64_MIN <= t0_ns <= INT64_MAX - span_ns:
        raise DecodeError("time")
    t_ns = t0_ns + np.arange(count, dtype=np.int64) * message.dt
    parts = [(ACCEL, t_ns, np.array(message.accel)), (GYRO, t_ns, np.array(message.gyro))]
    present = [i for i, field in enumerate(message.mag) if field is not None]
    if present:
        parts.append((MAG, t_ns[present], np.array([message.mag[i] for i in present])))
    return ImuRows(rows(parts), message.boot, message.seq, message.means, t is not None)


def rows(parts: list[tuple[int, NDArray[np.int64], NDArray[np.float64]]]) -> Records:
    """Return the rows of several sensors, sorted by time, then sensor.

    Parameters
    ----------
    parts : list of (sensor, t_ns (n,) int64, values (n, 3) float64)
        Values in SI units and uT.

    Raises
    ------
    DecodeError
        ``not_finite`` where a value is NaN or beyond the sensor's BOUNDS.
    """
    total = sum(len(t_ns) for _, t_ns, _ in parts)
    out = np.zeros(total, ROW)
    at = 0
    for sensor, t_ns, values in parts:
        if not (np.abs(values) <= BOUNDS[sensor]).all():
            raise DecodeError("not_finite")
        part = out[at : at + len(t_ns)]
        part["t_ns"], part["sensor"] = t_ns, sensor
        part["x"], part["y"], part["z"] = values[:, 0], values[:, 1], values[:, 2]
        at += len(t_ns)
    return out[np.lexsort(((out["sensor"] + 1) % 3, out["t_ns"]))]  # the rate of a stamp sets off its sample


def encode(message: ImuJson) -> bytes:
    """Return the payload of a message."""
    return _ENCODER.encode(message)
