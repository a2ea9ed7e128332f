"""From each device's clock to aligned time (UTC epoch, ns): the table of clocks that csrc/clock.c advances.

Offset and skew of every clock are estimated from when packets arrive; method and sources stand there. All
times are int64 ns. Nothing here reads a clock.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import CLOCK
from fusion.table import grown

STATE_VERSION: Final = 2
STATE: Final = CLOCK

FRESH: Final = int(lib.KF_CLOCK_FRESH)  # never observed: aligned is what the device says
LIVE: Final = int(lib.KF_CLOCK_LIVE)
RECORDED: Final = int(lib.KF_CLOCK_RECORDED)  # aligned is what the device says, always


class ClockState(NamedTuple):
    """What is known of a device's clock.

    ``offset_ns``: aligned minus device time at the newest stamp; ``sigma_ns``: one sigma of it, without the
    constant delay, which cannot be seen, where no ping told it; ``skew_ppm``: positive where the device's
    clock is slow; ``wraps``: how often a counter of 32 bit began anew, which is no jump; ``trip_ns``: the
    round trip that told the constant delay, 0: none.
    """

    offset_ns: int
    sigma_ns: float
    skew_ppm: float
    jumps: int
    wraps: int
    trip_ns: int


class TimeBase:
    """The table of clocks: one row per device.

    Attributes
    ----------
    state : (capacity,) STATE
        All that is remembered; a copied row is a snapshot.
    """

    def __init__(self, capacity: int = 64) -> None:
        self.state = np.zeros(max(capacity, 1), STATE)

    def add(self, row: int, *, recorded: bool = False) -> None:
        """Make ``row`` the clock of a device that was never heard of; the table grows as needed."""
        if row >= len(self.state):
            self.state = grown(self.state, max(row + 1, 2 * len(self.state)))
        lib.kf_clock_reset(self._clock(row), recorded)

    def set_recorded(self, row: int, recorded: bool) -> None:
        """Say whether the device's stamps are aligned time already; a change begins the clock anew."""
        if recorded != (self.state["phase"][row] == RECORDED):
            self.add(row, recorded=recorded)

    def observe(self, row: int, device_ns: int, arrived_ns: int, boot: int | None = None) -> None:
        """Take in that a packet whose newest stamp is ``device_ns`` arrived at ``arrived_ns``.

        The server's schedule does this in C, for all packets of a tick.

        Parameters
        ----------
        row : int
            The device's row.
        device_ns : int
            On the device's clock, int64; beyond 2^62, either way, it is ignored.
        arrived_ns : int
            Aligned time on arrival, int64; should not fall from packet to packet.
        boot : int, optional
            Another one than before begins the clock anew, and counts as a jump.
        """
        lib.kf_clock_observe(self._clock(row), device_ns, arrived_ns, -1 if boot is None else boot)

    def pong(self, row: int, device_ns: int, sent_ns: int, arrived_ns: int) -> None:
        """Take in the answer to a ping; from the shortest round trip the constant delay is known.

        Parameters
        ----------
        row : int
            The device's row.
        device_ns : int
            The device's clock as it answered.
        sent_ns, arrived_ns : int
            Aligned time at which the ping was sent, and its answer arrived.
        """
        lib.kf_clock_pong(self._clock(row), device_ns, sent_ns, arrived_ns)

    def align(self, row: int, device_ns: int) -> int:
        """Return the aligned time of a stamp, ns; the stamp itself where nothing was observed."""
        return int(lib.kf_clock_align(self._clock(row), device_ns))

    def align_many(self, rows: NDArray[np.integer[Any]], device_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the aligned time of stamps; equal to `align` for each.

        Parameters
        ----------
        rows : (n,) int
            The row of each stamp.
        device_ns : (n,) int64

        Returns
        -------
        (n,) int64
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.state):
            raise IndexError("no clock in one of the rows")
        aligned_ns = np.empty(len(rows), np.int64)
        lib.kf_clock_align_many(
            ffi.from_buffer("kf_clock[]", self.state),
            ffi.from_buffer("uint32_t[]", np.ascontiguousarray(rows, np.uint32)),
            ffi.from_buffer("int64_t[]", np.ascontiguousarray(device_ns, np.int64)),
            len(rows),
            ffi.from_buffer("int64_t[]", aligned_ns, require_writable=True),
        )
        return aligned_ns

    def clock(self, row: int) -> ClockState:
        """Return what is known of the clock of ``row``."""
        clock, state = self._clock(row), self.state[row]
        newest_ns, is_live = int(state["newest_ns"]), state["phase"] == LIVE
        return ClockState(
            self.align(row, newest_ns) - newest_ns if is_live else 0,
            lib.kf_clock_sigma_ns(clock),
            float(state["skew"]) * 1e6 if is_live else 0.0,
            *(int(state[name]) for name in ("jumps", "wraps", "trip_ns")),
        )

    def snapshot(self, row: int) -> bytes:
        """Return all that is remembered of a clock."""
        block: bytes = self.state[row].tobytes()
        return bytes([STATE_VERSION]) + block

    def restore(self, row: int, block: bytes) -> None:
        """Put back what `snapshot` returned; ValueError for a block of another version or size."""
        if len(block) != 1 + STATE.itemsize or block[0] != STATE_VERSION:
            raise ValueError(f"no clock state of version {STATE_VERSION}: {len(block)} bytes")
        self.add(row)
        self.state[row] = np.frombuffer(block, STATE, 1, 1)[0]

    def _clock(self, row: int) -> Any:
        if not 0 <= row < len(self.state):
            raise IndexError(f"no clock in row {row}")
        return ffi.from_buffer("kf_clock[]", self.state) + row
