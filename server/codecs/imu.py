"""The binary IMU packet, as bytes and as arrays; docs/protocol.md gives the layout.

The hot path decodes in C (csrc/kinefuse.h). This is its readable twin: reasons are the names of the header's
statuses, checked in the header's order, so that both agree on every input. Simulators use ``encode``.
"""

import math
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from server.errors import DecodeError

MAGIC: Final = 0x4B
VERSION: Final = 1
SAMPLES_MAX: Final = 1000
MEANS: Final = 1  # bit 0 of the flags
ABSENT: Final = -32768
EXTREME: Final = 32767

HEADER: Final = struct.Struct("<4B I Q I I 2H 3f")
T0_MAX: Final = 2**63 - 1

# Beyond these nothing that is worn can be measured: m/s^2, rad/s, uT.
BOUNDS: Final = (1e4, 1e3, 1e5)

# Resolution of one count where the caller states none: ranges of 16 g, 2000 deg/s and 1600 uT.
SCALES: Final = (16 * 9.80665 / EXTREME, math.radians(2000.0) / EXTREME, 1600.0 / EXTREME)

Vectors = NDArray[np.float64]  # (n, 3)


class ImuPacket(NamedTuple):
    """One packet; NaN where a sample is absent.

    Attributes
    ----------
    columns : int
        6, or 9 with a magnetometer.
    means : bool
        Samples are means over the interval that ends at their stamp.
    boot, seq : int
        Random number of this start of the device; number of the packet in it, wraps at 2^32.
    t0_ns, dt_ns : int
        Device clock at the first sample; from sample to sample.
    accel_b, gyro_b : (n, 3) float64
        Specific force, m/s^2, and angular rate, rad/s.
    mag_b : (n, 3) float64 or None
        Magnetic field, uT; None where the packet has six columns.
    clipped : (n, columns) bool
        The sample stood at either end of what int16 holds.
    scales : tuple of three float
        m/s^2, rad/s and uT per count.
    """

    columns: int
    means: bool
    boot: int
    t0_ns: int
    seq: int
    dt_ns: int
    accel_b: Vectors
    gyro_b: Vectors
    mag_b: Vectors | None
    clipped: NDArray[np.bool_]
    scales: tuple[float, float, float]


def decode(payload: bytes) -> ImuPacket:
    """Return the packet in ``payload``.

    Raises
    ------
    DecodeError
        ``short_header``, ``bad_magic``, ``bad_version``, ``bad_columns``, ``bad_flags``, ``bad_count``,
        ``bad_reserved``, ``bad_length``, ``bad_time`` (a stamp beyond int64) or ``bad_scale`` (not above 0,
        or so large that its counts go beyond BOUNDS); the first that holds.
    """
    if len(payload) < HEADER.size:
        raise DecodeError("short_header", len(payload))
    fields = HEADER.unpack_from(payload)
    magic, version, columns, flags, boot, t0_ns, seq, dt_ns, count, reserved = fields[:10]
    scales = (fields[10], fields[11], fields[12])
    if magic != MAGIC:
        raise DecodeError("bad_magic", 0)
    if version != VERSION:
        raise DecodeError("bad_version", 1)
    if columns not in (6, 9):
        raise DecodeError("bad_columns", 2)
    if flags & ~MEANS:
        raise DecodeError("bad_flags", 3)
    if not 1 <= count <= SAMPLES_MAX:
        raise DecodeError("bad_count", 24)
    if reserved:
        raise DecodeError("bad_reserved", 26)
    if len(payload) != HEADER.size + 2 * columns * count:
        raise DecodeError("bad_length", len(payload))
    if t0_ns + (count - 1) * dt_ns > T0_MAX:
        raise DecodeError("bad_time", 8)
    if not _measurable(scales):
        raise DecodeError("bad_scale", 28)
    counts = np.frombuffer(payload, "<i2", columns * count, HEADER.size).reshape(count, columns)
    return ImuPacket(
        columns,
        bool(flags & MEANS),
        boot,
        t0_ns,
        seq,
        dt_ns,
        _scaled(counts[:, 0:3], scales[0]),
        _scaled(counts[:, 3:6], scales[1]),
        _scaled(counts[:, 6:9], scales[2]) if columns == 9 else None,
        (counts == EXTREME) | (counts == -EXTREME),
        scales,
    )


def encode(
    *,
    accel_b: ArrayLike,
    gyro_b: ArrayLike,
    mag_b: ArrayLike | None = None,
    boot: int,
    t0_ns: int,
    seq: int,
    dt_ns: int,
    means: bool = False,
    scales: tuple[float, float, float] = SCALES,
) -> bytes:
    """Return the packet of these samples, rounded to the scales and held to their range.

    Parameters
    ----------
    accel_b, gyro_b, mag_b : (n, 3) float64
        m/s^2, rad/s and uT; NaN is absent; 1 <= n <= 1000. Without ``mag_b`` the packet has six columns.
    boot, seq : int
        Taken modulo 2^32.
    t0_ns, dt_ns : int
        Device clock at the first sample, 0 to 2^63 - 1, and step, 1 to 2^32 - 1.
    scales : tuple of three float
        Units per count, > 0; stored as float32, and rounded with what is stored.

    Raises
    ------
    ValueError
        Where the arguments make no packet that ``decode`` would take.
    """
    parts = [np.asarray(part, np.float64) for part in (accel_b, gyro_b, mag_b) if part is not None]
    count = len(parts[0])
    if any(part.shape != (count, 3) for part in parts) or not 1 <= count <= SAMPLES_MAX:
        raise ValueError(f"shapes {[part.shape for part in parts]}: want (n, 3), n from 1 to {SAMPLES_MAX}")
    if not (t0_ns >= 0 and 0 < dt_ns < 2**32 and t0_ns + (count - 1) * dt_ns <= T0_MAX):
        raise ValueError(f"t0_ns {t0_ns}, dt_ns {dt_ns}: stamps must be in 0 to 2^63 - 1 and rise")
    stored = np.array(scales, np.float32)
    if not _measurable(stored.tolist()):
        raise ValueError(f"scales {scales}: must be above 0, and {EXTREME} counts within {BOUNDS}")
    counts = np.concatenate(
        [_counts(part, scale) for part, scale in zip(parts, stored.tolist(), strict=False)], axis=1
    )
    head = HEADER.pack(
        *(MAGIC, VERSION, counts.shape[1], MEANS if means else 0),
        *(boot & 0xFFFFFFFF, t0_ns, seq & 0xFFFFFFFF, dt_ns, count, 0, *stored.tolist()),
    )
    return head + counts.tobytes()


def _measurable(scales: Sequence[float]) -> bool:
    """Return whether the counts of these scales, which are those of a packet, stay within BOUNDS."""
    return all(scale > 0 and scale * EXTREME <= bound for scale, bound in zip(scales, BOUNDS, strict=True))


def _scaled(counts: NDArray[np.int16], scale: float) -> Vectors:
    return np.where(counts == ABSENT, np.nan, counts * np.float64(scale))


def _counts(values: Vectors, scale: float) -> NDArray[np.int16]:
    held = np.clip(np.rint(values / scale), -EXTREME, EXTREME)
    return np.where(np.isnan(held), ABSENT, held).astype("<i2")
