"""Orientation of a whole recording, by the very C core that the server runs (csrc/filter.h).

The method, and what it is measured to do, are in docs/orientation.md.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusion._core import ffi, lib
from fusion.core import record
from fusion.measurements import Records

INSTANT: Final = record("kf_instant")
POSE: Final = record("kf_pose")
_INSTANTS: Final = ffi.typeof("kf_instant[]")  # looked up once: by name it costs as much as some samples
_POSES: Final = ffi.typeof("kf_pose[]")
_POSE_BYTES: Final = POSE.itemsize
_LAST_S: Final = 9.2e9  # int64 ns end a little later

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Track:
    """What is known at each of n samples; quaternions are w first and take body b to earth e (ENU).

    Attributes
    ----------
    q9 : (n, 4) float32 or None
        With the magnetometer: y of e is magnetic north. None where the recording has no magnetometer. Equal
        to ``q6`` until the first field has been used.
    q6 : (n, 4) float32
        Without it: tilt as in ``q9``, heading counted from an arbitrary zero, drifting with the gyroscope.
    bias_b : (n, 3) float32
        Of the gyroscope, rad/s.
    bias_sigma, tilt_sigma, heading_sigma : (n,) float32
        One standard deviation, rad/s (rms over the axes) and rad; ``heading_sigma`` is of ``q9``, pi where
        nothing is known.
    free_accel_e : (n, 3) float32
        Acceleration without gravity in the earth of ``q9``, mean over the step that ends at the sample, m/s².
    rest, mag_disturbed, gap, clipped, settled : (n,) bool
        The device lies still; the field does not fit the earth's; the stream was broken right before; a
        sensor stood at the end of its range; tilt is known well.
    """

    q9: NDArray[np.float32] | None
    q6: NDArray[np.float32]
    bias_b: NDArray[np.float32]
    bias_sigma: NDArray[np.float32]
    tilt_sigma: NDArray[np.float32]
    heading_sigma: NDArray[np.float32]
    free_accel_e: NDArray[np.float32]
    rest: Flags
    mag_disturbed: Flags
    gap: Flags
    clipped: Flags
    settled: Flags


class Tracker:
    """Tracks one device as its samples come; ``track`` is one over a whole recording.

    Parameters
    ----------
    gyro_range, means
        As in ``track``.

    Raises
    ------
    ValueError
        The range is not finite and greater than 0.
    """

    def __init__(self, *, gyro_range: float | None = None, means: bool = False) -> None:
        if gyro_range is not None and not 0 < np.float32(gyro_range) < np.inf:
            raise ValueError(f"gyro_range must be finite and greater than 0 rad/s, not {gyro_range}")
        self._block = ffi.new("uint64_t[]", lib.kf_device_size() // 8)
        self._device = ffi.cast("kf_device *", self._block)
        self._flags = lib.KF_MEANS if means else 0
        lib.kf_reset(self._device, ffi.NULL, ffi.new("kf_profile *", {"gyro_range": gyro_range or 0.0}))

    def take(self, instants: Records) -> Records:
        """Take the next samples and return what is known at each.

        Parameters
        ----------
        instants : (n,) INSTANT
            In the order of time; contiguous. ``t_ns``; ``gyro_b`` rad/s, ``accel_b`` m/s² and ``mag_b`` µT,
            absent where not finite; ``interval_s``, 0 where it is the usual one.

        Returns
        -------
        (n,) POSE

        Raises
        ------
        TypeError
            ``instants`` is not a contiguous one-dimensional array of INSTANT.
        """
        if instants.dtype != INSTANT or instants.ndim != 1 or not instants.flags.c_contiguous:
            raise TypeError(
                "instants must be a contiguous one-dimensional array of fusion.orientation.INSTANT"
            )
        count = len(instants)
        buffer = bytearray(count * _POSE_BYTES)  # numpy takes twice as long to make an array of records
        lib.kf_track(
            self._device,
            ffi.from_buffer(_INSTANTS, instants),
            count,
            self._flags,
            ffi.from_buffer(_POSES, buffer),
        )
        return np.frombuffer(buffer, POSE)


def track(
    t_s: ArrayLike,
    gyro_b: ArrayLike,
    accel_b: ArrayLike,
    mag_b: ArrayLike | None = None,
    *,
    gyro_range: float | None = None,
    means: bool = False,
    interval_s: ArrayLike | float | None = None,
    mag_offset_b: ArrayLike | None = None,
) -> Track:
    """Track the orientation over a recording, causally.

    Parameters
    ----------
    t_s : (n,)
        Stamps, s, from any origin within int64 nanoseconds. A sample that is not after the one before changes
        nothing: its row repeats what was known.
    gyro_b, accel_b : (n, 3)
        Angular rate, rad/s; specific force (at rest +g up), m/s². A row that is not finite is absent; one of
        the field alone is not used, so sensors that tick apart are to be brought to common stamps first.
        Nothing is known before the first specific force.
    mag_b : (n, 3), optional
        Magnetic field, any unit that keeps the earth's between 1 and 100 000 (µT). Rows that are not finite
        are absent: a magnetometer may be slower than the rest.
    gyro_range : float, optional
        End of the gyroscope's range, rad/s: rates there are known to be clipped, and mended.
    means : bool
        Samples are means over the interval that ends at their stamp, as most sensors with a digital low-pass
        give them; else instantaneous values.
    interval_s : (n,) or float, optional
        Each sample's own interval, s, greater than 0. Without it the usual step is taken, and a step longer
        than 1.5 of that is a gap.
    mag_offset_b : (3,), optional
        The device's own field, in the unit of ``mag_b``, taken off every row: what `fusion.hard_iron.learn`
        found in an earlier session.

    Returns
    -------
    Track
        A row for each sample.

    Raises
    ------
    ValueError
        A shape does not fit, a stamp is not finite or beyond int64 nanoseconds, or a range or an interval is
        not greater than 0.
    """
    stamps = np.asarray(t_s, np.float64)
    if stamps.ndim != 1:
        raise ValueError(f"t_s must have shape (n,), not {stamps.shape}")
    if not np.all(np.abs(stamps) < _LAST_S):
        raise ValueError("t_s must be finite and within int64 nanoseconds")
    instants = np.zeros(len(stamps), INSTANT)
    instants["t_ns"] = np.round(stamps * 1e9).astype(np.int64)
    instants["gyro_b"] = _vectors("gyro_b", gyro_b, len(stamps))
    instants["accel_b"] = _vectors("accel_b", accel_b, len(stamps))
    instants["mag_b"] = np.nan if mag_b is None else _vectors("mag_b", mag_b, len(stamps))
    if mag_offset_b is not None:
        instants["mag_b"] -= _vectors("mag_offset_b", np.atleast_2d(mag_offset_b), 1)
    if interval_s is not None:
        instants["interval_s"] = _intervals(interval_s, len(stamps))
    poses = Tracker(gyro_range=gyro_range, means=means).take(instants)
    flags = poses["flags"]

    def flag(bit: int) -> Flags:
        return np.asarray(flags & np.uint32(bit) != 0)

    return Track(
        q9=None if mag_b is None else poses["q9"],
        q6=poses["q6"],
        bias_b=poses["bias_b"],
        bias_sigma=poses["bias_sigma"],
        tilt_sigma=poses["tilt_sigma"],
        heading_sigma=poses["heading_sigma"],
        free_accel_e=poses["free_accel_e"],
        rest=flag(lib.KF_REST),
        mag_disturbed=flag(lib.KF_MAG_DISTURBED),
        gap=flag(lib.KF_GAP),
        clipped=flag(lib.KF_CLIPPED),
        settled=flag(lib.KF_SETTLED),
    )


def _vectors(name: str, values: ArrayLike, count: int) -> NDArray[np.float32]:
    vectors = np.asarray(values, np.float64)
    if vectors.shape != (count, 3):
        raise ValueError(f"{name} must have shape ({count}, 3) like t_s, not {vectors.shape}")
    return _single(vectors)


def _single(values: Floats) -> NDArray[np.float32]:
    """Return the values as the core takes them; what is beyond float32 is infinite, and so absent."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _intervals(values: ArrayLike | float, count: int) -> NDArray[np.float32]:
    intervals = np.asarray(values, np.float64)
    if intervals.shape not in ((), (count,)):
        raise ValueError(f"interval_s must be a number or have shape ({count},), not {intervals.shape}")
    single = _single(intervals)
    if not np.all((single > 0) & (single < np.inf)):
        raise ValueError("interval_s must be finite and greater than 0 s")
    return single
