"""IMU packets that came before their predecessor, and wait for it (csrc/order.c).

Where no packet is missing nothing waits: a batch goes on as it is. What waits at the end of a batch stands at
the head of the next one. So what goes on, and in which order, depends on the order and the times of arrival
alone.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import PACKET, record
from fusion.measurements import Records
from fusion.structs import joined
from server.batch import Packed, aligned
from server.schedule import EVENT, RECORD_BYTES

NEVER_NS: Final = 2**63 - 1
_WAITING: Final = record("kf_waiting")
_FIRST_NUMBER: Final = 2**31  # of messages that waited: above those of any batch
_ROOM: Final = 256


def _nothing() -> Packed:
    return Packed(bytearray(), np.zeros(0, PACKET), np.zeros(0, EVENT), np.zeros((0, RECORD_BYTES), np.uint8))


class Waiting:
    """What waits.

    Attributes
    ----------
    until_ns : int
        UTC at which the first wait ends; NEVER_NS where nothing waits.
    """

    def __init__(self) -> None:
        self.until_ns = NEVER_NS
        self._held = _nothing()
        self._out: Any = None  # kf_ordered, over these:
        self._order: NDArray[np.uint32] = np.zeros(0, np.uint32)
        self._waiting: Records = np.zeros(0, _WAITING)

    def __len__(self) -> int:
        return len(self._held.events)

    def holds(self, row: int) -> bool:
        """Return whether a packet of a device waits."""
        return bool((self._held.events["device"] == row).any())

    def ordered(self, links: Records, packed: Packed) -> Packed:
        """Return what goes on of a batch and of what waits, in its order.

        Parameters
        ----------
        links : (devices,) LINK
            Which packet of each device was the last to go on; changed.
        packed : Packed
        """
        return self._ordered(links, packed, 0)

    def over(self, links: Records, utc_ns: int) -> Packed:
        """Return what waits no more at a time by which nothing else has arrived."""
        return self._ordered(links, _nothing(), utc_ns)

    def _ordered(self, links: Records, packed: Packed, now_ns: int) -> Packed:
        if len(self):
            packed = self._joined(packed)
        count = len(packed.events)
        self._reserve(count)
        changed = lib.kf_order(
            ffi.from_buffer("kf_link[]", links),
            ffi.from_buffer("kf_packet[]", packed.packets),
            ffi.from_buffer("kf_event[]", packed.events),
            count,
            ffi.from_buffer("uint8_t[]", packed.payload),
            len(packed.payload),
            now_ns,
            self._out,
        )
        if not changed:
            if len(self):
                self._hold(packed, self._waiting[:0])
            return packed
        self._hold(packed, self._waiting[: self._out.waiting_count])
        return packed.chosen(self._order[: self._out.ordered].astype(np.intp))

    def _joined(self, packed: Packed) -> Packed:
        """Return what waits and a batch, as one."""
        held = self._held
        offset = aligned(packed.payload, held.payload)
        packets = joined([held.packets, packed.packets], PACKET)
        events = joined([held.events, packed.events], EVENT)
        count = len(held.packets)
        packets["offset"][:count] += np.uint64(offset)
        events["index"][count:][packed.events["kind"] == lib.KF_EVENT_IMU] += np.uint32(count)
        return Packed(packed.payload, packets, events, packed.records)

    def _hold(self, packed: Packed, waiting: Records) -> None:
        """Keep what waits."""
        events = packed.events.take(waiting["place"])
        packets = packed.packets.take(events["index"])
        payload = bytearray(int(packets["length"].sum()) + lib.KF_ALIGNMENT * len(packets))
        lib.kf_keep(
            ffi.from_buffer("uint8_t[]", packed.payload),
            ffi.from_buffer("kf_packet[]", packets),
            len(packets),
            ffi.from_buffer("uint8_t[]", payload),
        )
        events["index"] = np.arange(len(events))
        events["message"] = _FIRST_NUMBER + np.arange(len(events))  # each is a message of its own
        self._held = Packed(payload, packets, events, self._held.records)
        self.until_ns = int(waiting["until_ns"].min()) if len(waiting) else NEVER_NS

    def _reserve(self, count: int) -> None:
        """See to it that the arrays have room for so many events."""
        if self._out is not None and count <= len(self._order):
            return
        size = max(count, 2 * len(self._order), _ROOM)
        self._order, self._waiting = np.zeros(size, np.uint32), np.zeros(size, _WAITING)
        order, waiting = (
            ffi.from_buffer("uint32_t[]", self._order),
            ffi.from_buffer("kf_waiting[]", self._waiting),
        )
        self._out = ffi.new("kf_ordered *", {"order": order, "waiting": waiting})
        self._kept = order, waiting
