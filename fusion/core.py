"""The C core: a table of devices, advanced by all packets of a tick in one call (csrc/kinefuse.h).

The record types below are built from the offsets of the compiled structs; times are int64 ns on the device's
own clock, frames and units are those of the header. The GIL is released during the call.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from fusion._core import ffi, lib
from fusion.measurements import WINDOW as MEASURED_WINDOW
from fusion.measurements import Records
from fusion.structs import dtype_of, joined
from fusion.table import grown, grown_sparsely, untouched


def record(name: str) -> np.dtype[np.void]:
    """Return the dtype of a public struct of the core."""
    return dtype_of(ffi, name)


PACKET: Final = record("kf_packet")
ROW: Final = record("kf_row")
SUMMARY: Final = record("kf_summary")
WINDOW: Final = record("kf_window")
STEP: Final = record("kf_step")
HISTOGRAM: Final = record("kf_histogram")
CLOCK: Final = record("kf_clock")
assert record("kf_measured_window") == MEASURED_WINDOW, "the core writes what the models read"

STATUS_NAMES: Final[tuple[str, ...]] = (
    "ok",
    "short_header",
    "bad_magic",
    "bad_version",
    "bad_columns",
    "bad_flags",
    "bad_count",
    "bad_reserved",
    "bad_length",
    "bad_time",
    "bad_scale",
    "bad_sensor",
    "not_finite",
    "late",
    "duplicate",
)
PLACEMENTS: Final[dict[str, int]] = {
    "unknown": lib.KF_UNKNOWN,
    "wrist": lib.KF_WRIST,
    "chest": lib.KF_CHEST,
    "foot": lib.KF_FOOT,
    "hip": lib.KF_HIP,
    "pocket": lib.KF_POCKET,
}
PATHS: Final[tuple[str, ...]] = ("plain", "avx2", "avx512")[: lib.kf_best_path() + 1]
_DEVICE_BYTES: Final = int(lib.kf_device_size())
_PAIRING_BYTES: Final = int(lib.kf_pairing_size())
_FIRST_ROWS: Final = 16


class CoreError(Exception):
    """The base of what the device table raises."""


class CoreFull(CoreError):  # noqa: N818 - a state of the table, not a fault
    """The table has its ``limit`` of devices."""


class StateError(CoreError):
    """A block that is not a device's state of this version."""


class Advance(NamedTuple):
    """What a tick gave."""

    summaries: Records  # SUMMARY, one for each packet, in order
    windows: Records  # WINDOW, in order of the packets that completed them
    steps: Records  # STEP, likewise


class CoreTable:
    """The device table: one row of fixed size for each device.

    Parameters
    ----------
    limit : int
        Most devices, at least 1. The table starts small and doubles up to it.
    path : str, optional
        One of ``PATHS``: how many devices go through the filter side by side. Answers are the same, bit for
        bit; the default is the fastest that this machine has.

    Raises
    ------
    ValueError
        The limit is less than 1, or the machine cannot take the path.
    """

    def __init__(self, limit: int = 16384, *, path: str | None = None) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        if path is not None and path not in PATHS:
            raise ValueError(f"path must be one of {', '.join(PATHS)} on this machine, not {path!r}")
        self._limit = limit
        self._path = len(PATHS) - 1 if path is None else PATHS.index(path)
        self._count = 0
        self._vacant: list[int] = []
        rows = min(limit, _FIRST_ROWS)
        self._devices = np.zeros((rows, _DEVICE_BYTES), np.uint8)
        self._pairings = np.zeros((rows, _PAIRING_BYTES), np.uint8)  # all zeros is an empty pairing
        self._beside = np.zeros((rows, _DEVICE_BYTES), np.uint8)  # of all zeros there is none
        self._windows, self._steps = np.zeros(0, WINDOW), np.zeros(0, STEP)  # of a call, with much to spare

    def __len__(self) -> int:
        return self._count - len(self._vacant)

    def add(self, *, placement: str = "unknown", gyro_range: float = 0.0, accel_range: float = 0.0) -> int:
        """Add a device that was never heard of and return its row, perhaps that of one that was removed.

        Parameters
        ----------
        placement : str
            One of ``PLACEMENTS``.
        gyro_range, accel_range : float
            Ends of the sensors' ranges, rad/s and m/s^2, finite and at least 0; 0 where not told.

        Raises
        ------
        CoreFull
            The table has its limit of devices.
        ValueError
            A parameter is out of its range.
        """
        profile = _profile(placement, gyro_range, accel_range)
        if len(self) == self._limit:
            raise CoreFull(f"the table is full: {self._limit} devices")
        if self._vacant:
            row = self._vacant.pop()
        else:
            if self._count == len(self._devices):
                self._grow()
            row = self._count
            self._count += 1
        lib.kf_reset(self._device(row), ffi.NULL, profile)
        return row

    def remove(self, row: int) -> None:
        """Forget a device; its row may be another one's next. It must not be removed twice."""
        self.reset(row)
        self._vacant.append(row)

    def configure(
        self, row: int, *, placement: str = "unknown", gyro_range: float = 0.0, accel_range: float = 0.0
    ) -> None:
        """Change what is known of a device; its state stays. Parameters are those of ``add``."""
        lib.kf_configure(self._device(self._checked(row)), _profile(placement, gyro_range, accel_range))

    def reset(
        self, row: int, *, placement: str = "unknown", gyro_range: float = 0.0, accel_range: float = 0.0
    ) -> None:
        """Make a row that of a device never heard of. Parameters are those of ``add``."""
        profile = _profile(placement, gyro_range, accel_range)
        lib.kf_reset(self._device(self._checked(row)), ffi.NULL, profile)
        if self._pairings[row].any():
            self._pairings[row] = 0
        if self._beside[row].any():
            self._beside[row] = 0

    def advance(self, payload: bytes | bytearray | memoryview, packets: Records) -> Advance:
        """Advance the devices by all packets of a tick.

        Parameters
        ----------
        payload : bytes-like
            The packets' payloads, joined.
        packets : (n,) PACKET
            References into ``payload``; packets of one device stand in the order of their arrival.

        Returns
        -------
        Advance
            One summary for each packet (a refused one changes nothing but its summary), and the windows and
            steps that the packets completed.

        Raises
        ------
        TypeError
            ``packets`` is not a contiguous one-dimensional array of PACKET.
        ValueError
            A packet refers to a device or to bytes that are not there, or is of an unknown kind.
        """
        if packets.dtype != PACKET or packets.ndim != 1 or not packets.flags.c_contiguous:
            raise TypeError("packets must be a contiguous one-dimensional array of fusion.core.PACKET")
        capacity = int(packets["length"].sum()) // 12
        summaries = np.zeros(len(packets), SUMMARY)
        if capacity > len(self._windows):
            self._windows, self._steps = untouched((capacity,), WINDOW), untouched((capacity,), STEP)
        windows, steps = self._windows, self._steps
        counts = ffi.new("size_t[2]")
        failed = lib.kf_advance(
            ffi.cast("kf_device *", ffi.from_buffer(self._devices)),
            ffi.cast("kf_pairing *", ffi.from_buffer(self._pairings)),
            ffi.cast("kf_device *", ffi.from_buffer(self._beside)),
            self._count,
            ffi.from_buffer("uint8_t[]", payload),
            len(payload),
            ffi.from_buffer("kf_packet[]", packets),
            len(packets),
            ffi.from_buffer("kf_summary[]", summaries, require_writable=True),
            ffi.from_buffer("kf_window[]", windows, require_writable=True),
            ffi.from_buffer("kf_step[]", steps, require_writable=True),
            capacity,
            counts,
            counts + 1,
            self._path,
        )
        if failed:
            raise ValueError("a packet refers to what is not there, or has no known kind")
        return Advance(summaries, joined([windows[: counts[0]]], WINDOW), joined([steps[: counts[1]]], STEP))

    def snapshot(self, row: int) -> bytes:
        """Return the device's state, with the rows that wait to be paired where there are any.

        What is kept beside, in case that a gap comes after all, is not part of it.
        """
        self._checked(row)
        block: bytes = self._devices[row].tobytes()
        pairing = self._pairings[row]
        return block + pairing.tobytes() if pairing.any() else block

    def restore(self, row: int, block: bytes) -> None:
        """Put a snapshot back, bit for bit.

        Raises
        ------
        StateError
            ``block`` is not a state of this version; the row is as it was.
        """
        self._checked(row)
        if len(block) not in (_DEVICE_BYTES, _DEVICE_BYTES + _PAIRING_BYTES):
            raise StateError(f"a device's state has {_DEVICE_BYTES} bytes, not {len(block)}")
        state = np.frombuffer(block, np.uint8)
        device = state[:_DEVICE_BYTES].copy()
        if not lib.kf_valid(ffi.cast("kf_device *", ffi.from_buffer(device))):
            raise StateError("not a device's state of this version")
        self._devices[row] = device
        self._pairings[row] = state[_DEVICE_BYTES:] if len(block) > _DEVICE_BYTES else 0
        self._beside[row] = 0

    def _checked(self, row: int) -> int:
        if not 0 <= row < self._count:
            raise IndexError(f"no device in row {row}")
        return row

    def _device(self, row: int) -> Any:
        return ffi.cast("kf_device *", ffi.from_buffer(self._devices[row : row + 1]))

    def _grow(self) -> None:
        rows = min(self._limit, 2 * len(self._devices))
        self._devices = grown(self._devices, rows)
        self._pairings = grown_sparsely(self._pairings, rows)
        self._beside = grown_sparsely(self._beside, rows)


def _profile(placement: str, gyro_range: float, accel_range: float) -> Any:
    if placement not in PLACEMENTS:
        raise ValueError(f"placement must be one of {', '.join(PLACEMENTS)}, not {placement!r}")
    for name, value in (("gyro_range", gyro_range), ("accel_range", accel_range)):
        if not 0 <= value < 1e6:
            raise ValueError(f"{name} must be at least 0 and below 1e6, not {value}")
    return ffi.new(
        "kf_profile *",
        {"gyro_range": gyro_range, "accel_range": accel_range, "placement": PLACEMENTS[placement]},
    )
