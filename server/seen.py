"""Which low-rate messages are taken: not too many of a device, and each once (csrc/seen.c)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import record
from fusion.measurements import Records
from server.schedule import NONE, Schedule

SEEN: Final = record("kf_seen")
ADMITTED: Final = int(lib.KF_ADMITTED)
FLOODING: Final = int(lib.KF_FLOODING)

_ROOM: Final = 64
_TIMED, _BOOT, _SEQ = int(lib.KF_FLAT_T), int(lib.KF_FLAT_BOOT), int(lib.KF_FLAT_SEQ)


class Seen:
    """What was seen of each device: a place for who has sent a low-rate message, of 772 bytes.

    Parameters
    ----------
    schedule : Schedule
        Whose links tell the place of each device.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._table = np.zeros(0, SEEN)
        self._free: list[int] = []
        self._message = ffi.new("kf_flat *")

    def has(self, row: int) -> bool:
        """Return whether a device has a place."""
        return bool(self._schedule.links["seen"][row] != NONE)

    def give(self, row: int) -> None:
        """Give a device a place, which is empty."""
        if not self._free:
            size = len(self._table)
            self._table.resize(size + _ROOM, refcheck=False)  # in place, as a rule: see Schedule
            self._free.extend(range(size + _ROOM - 1, size - 1, -1))
        self._schedule.links["seen"][row] = self._free.pop()

    def forget(self, row: int) -> None:
        """Make a device's place that of nobody."""
        place = int(self._schedule.links["seen"][row])
        if place != NONE:
            self._table[place] = np.zeros((), SEEN)
            self._free.append(place)
            self._schedule.links["seen"][row] = NONE

    def admits(self, row: int, arrived_ns: int) -> bool:
        """Return whether a message of a device is not one too many, and take note of it."""
        return bool(lib.kf_admits(ffi.from_buffer("kf_link[]", self._schedule.links) + row, arrived_ns))

    def saw(self, row: int, kind: int, t_ns: int | None, boot: int | None, seq: int | None) -> bool:
        """Return whether a message of a device was seen before; else take note of it.

        Parameters
        ----------
        row : int
            Of a device that has a place.
        kind : int
            Tells apart what counts its own ``seq``.
        t_ns, boot, seq : int, optional
            What it tells of itself; of neither stamp nor seq: it is never known again.
        """
        message = self._message
        message.t_ns, message.boot, message.seq = t_ns or 0, boot or 0, seq or 0
        message.told = (
            (0 if t_ns is None else _TIMED) | (0 if boot is None else _BOOT) | (0 if seq is None else _SEQ)
        )
        place = int(self._schedule.links["seen"][row])
        return bool(lib.kf_saw(ffi.from_buffer("kf_seen[]", self._table) + place, kind, message))

    def admit(self, frames: Records, messages: Records, arrived_ns: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return ADMITTED, FLOODING or that it was seen before, of messages of live devices, (n,).

        Parameters
        ----------
        frames : (n,) FRAME
            Of devices that have a place.
        messages : (n,) FLAT
            Plain ones.
        arrived_ns : (n,)
            UTC, in the order of arrival.
        """
        verdicts = np.empty(len(frames), np.uint8)
        lib.kf_admit(
            ffi.from_buffer("kf_link[]", self._schedule.links),
            ffi.from_buffer("kf_seen[]", self._table),
            ffi.from_buffer("kf_publish[]", frames),
            ffi.from_buffer("kf_flat[]", messages),
            ffi.from_buffer("int64_t[]", arrived_ns),
            len(frames),
            ffi.from_buffer("uint8_t[]", verdicts, require_writable=True),
        )
        return verdicts
