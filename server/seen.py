"""Which low-rate messages are taken: not too many of a device, and each once (csrc/seen.c)."""

from typing import Final

from fusion._core import ffi, lib
from server.places import Places
from server.schedule import Schedule

FLOODING: Final = int(lib.KF_FLOODING)

_TIMED, _BOOT, _SEQ = int(lib.KF_FLAT_T), int(lib.KF_FLAT_BOOT), int(lib.KF_FLAT_SEQ)


class Seen(Places):
    """What was seen of each device: a place for who has sent a low-rate message, of 772 bytes.

    Parameters
    ----------
    schedule : Schedule
        Whose links tell the place of each device.
    limit : int
        Most devices.
    """

    def __init__(self, schedule: Schedule, limit: int) -> None:
        super().__init__(schedule, "seen", "kf_seen", limit)
        self._message = ffi.new("kf_flat *")

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
        return bool(lib.kf_saw(self.c + self.of(row), kind, message))
