"""What a tick brought, on its way to the core: one ragged batch of IMU packets, and events in their order."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import PACKET
from fusion.measurements import Records
from fusion.structs import joined
from server.beats import Beats
from server.envelopes import Incoming
from server.messages import Birth, Command, Death
from server.registry import Athlete, Device
from server.schedule import EVENT, NONE, RECORD_BYTES, REFUSAL, Item
from server.seen import Seen
from server.stretch import Stretch

BINARY: Final = int(lib.KF_BINARY)
ROWS: Final = int(lib.KF_ROWS)
_IMU, _SAMPLE = int(lib.KF_EVENT_IMU), int(lib.KF_EVENT_SAMPLE)
_ORDER, _START = int(lib.KF_EVENT_ORDER), int(lib.KF_EVENT_START)
_STATUS = int(lib.KF_EVENT_STATUS)
_TIMED, _BOOT, _PONG = int(lib.KF_EVENT_TIMED), int(lib.KF_EVENT_BOOT), int(lib.KF_EVENT_PONG)
_TRIP_US_MAX = 2**32 - 1
_ALIGNMENT = int(lib.KF_ALIGNMENT)


class Order(NamedTuple):
    """A command to an athlete, as it arrived."""

    athlete: Athlete
    command: Command
    message: Incoming


class Status(NamedTuple):
    """What a device said of itself."""

    device: Device
    packet: Birth | Death
    message: Incoming


class Packed(NamedTuple):
    """A batch as the core and the schedule take it."""

    payload: bytearray
    packets: Records  # PACKET
    events: Records  # EVENT, in the order of arrival
    records: NDArray[np.uint8]  # (n, RECORD_BYTES)

    def chosen(self, places: NDArray[np.intp]) -> "Packed":
        """Return the events at these places, in this order, and their packets."""
        events = self.events.take(places)  # ten times as fast as an index, for records
        motion = np.flatnonzero(events["kind"] == _IMU)
        packets = self.packets.take(events["index"][motion])
        events["index"][motion] = np.arange(len(motion))
        return self._replace(packets=packets, events=events)


class Batch:
    """Collects what arrives. Frames of a chunk come as an array, everything else one by one.

    Attributes
    ----------
    turning : list of Device
        Whose clock changes before any of this is taken in: see `server.engine.Engine`.
    statuses : list of Status
        What devices said of themselves, after all of it.
    changing : set of int
        Rows of their athletes.
    orders : list of Order
        To which events refer.
    number : int
        Of the message that what is appended came in; numbers rise from message to message.
    """

    def __init__(self) -> None:
        self.turning: list[Device] = []
        self.statuses: list[Status] = []
        self.changing: set[int] = set()
        self.orders: list[Order] = []
        self._payload = bytearray()
        self._packets: list[tuple[int, ...]] = []
        self._events: list[tuple[int, ...]] = []
        self._items: list[bytes] = []  # records
        self._taken: list[
            tuple[Records, Records, NDArray[np.uint8]]
        ] = []  # packets, events, records of frames
        self._packet_count = self._record_count = 0  # of these
        self._stretch: Stretch | None = None
        self._stretch_at = 0
        self.number = 0

    def __bool__(self) -> bool:
        """Return True where there is anything to do."""
        return bool(self._events or self._taken or self.statuses or self.turning)

    def add_imu(
        self,
        device: Device,
        core: int,
        payload: Any,
        message: Incoming,
        *,
        kind: int,
        flags: int = 0,
        boot: int = 0,
        seq: int = 0,
    ) -> None:
        """Append an IMU packet, binary or as rows, of a device that has a row in the core's table."""
        offset = self._append(payload)
        self._add(_IMU, device, len(self._packets), message)
        self._packets.append((core, kind, offset, len(payload), flags, boot, seq, 0))

    def add_frames(
        self, stretch: Stretch, begin: int, end: int, first: int, links: Records, seen: Seen, beats: Beats
    ) -> list[tuple[int, int]]:
        """Append known messages of a stretch, but for low-rate ones that are too many or came before.

        Parameters
        ----------
        stretch : Stretch
        begin, end : int
            Of its messages: those among these that are known.
        first : int
            Number of the stretch's first message.
        links : (devices,) LINK
        seen : Seen
        beats : Beats

        Returns
        -------
        list of (int, int)
            Device and verdict, as of `server.seen`, of each that is not taken.
        """
        if stretch is not self._stretch:
            del stretch.data[stretch.size :]  # what an earlier batch appended, which is settled by now
            self._stretch, self._stretch_at = stretch, self._append(stretch.data)
        room = end - begin
        packets, events, refused = np.empty(room, PACKET), np.empty(room, EVENT), np.empty(room, REFUSAL)
        records = np.empty((room, RECORD_BYTES), np.uint8)
        c = ffi.new("kf_taken *")
        c.packets, c.events = ffi.from_buffer("kf_packet[]", packets), ffi.from_buffer("kf_event[]", events)
        c.records = ffi.from_buffer("kf_record[]", records)
        c.refused = ffi.from_buffer("kf_refusal[]", refused)
        c.next, c.first_message, c.offset = begin, first, self._stretch_at
        c.first_packet, c.first_record = self._packet_count, self._record_count
        tables = ffi.from_buffer("kf_link[]", links), seen.c, beats.c
        while lib.kf_stretch_take(c, stretch.c, *tables, end):
            beats.give(int(stretch.frames["device"][c.next]))
        if c.event_count:
            self._taken.append(
                (packets[: c.packet_count], events[: c.event_count], records[: c.record_count])
            )
            self._packet_count += c.packet_count
            self._record_count += c.record_count
        return refused[["device", "reason"]][: c.refused_count].tolist() if c.refused_count else []

    def add_sample(
        self,
        device: Device,
        item: Item | None,
        message: Incoming,
        *,
        t_ns: int | None,
        boot: int | None,
        seq: int | None,
        stream: int,
        trip_ns: int | None = None,
    ) -> None:
        """Append a low-rate packet and what it measured, None: nothing; ``stream`` is for the engine.

        ``trip_ns`` is the round trip that it ends, where it answers a ping.
        """
        index = NONE
        if item is not None:
            index = len(self._items)
            self._items.append(item.record)
        flags = (0 if t_ns is None else _TIMED) | (0 if boot is None else _BOOT)
        measures = 0 if item is None else item.kind
        if trip_ns is not None:
            flags, measures = flags | _PONG, min(trip_ns // 1000, _TRIP_US_MAX)
        self._add(_SAMPLE, device, index, message, flags, measures, boot or 0, seq or 0, stream, t_ns or 0)

    def add_status(self, status: Status) -> None:
        """Append what a device said of itself."""
        self.statuses.append(status)
        self.changing.add(status.device.athlete.row)
        self._add(_STATUS, status.device, NONE, status.message)

    def add_order(self, order: Order, t_ns: int | None) -> None:
        """Append a command that takes effect at aligned ``t_ns``, None: on its arrival."""
        kind = _START if order.command.action == "start" else _ORDER
        arrived_ns, received_ns = order.message.arrived_ns, order.message.received_ns
        who = (kind, self.number, NONE, order.athlete.row, len(self.orders))
        flags = 0 if t_ns is None else _TIMED
        self.orders.append(order)
        self._events.append((*who, flags, 0, 0, 0, 0, t_ns or 0, arrived_ns, received_ns))

    def pack(self) -> Packed:
        """Return all of it, packets and events in the order of their arrival."""
        packets = joined((each for each, _, _ in self._taken), PACKET)
        events = joined((each for _, each, _ in self._taken), EVENT)
        records = joined((*(each for _, _, each in self._taken), *self._items), np.uint8)
        if self._events:
            packets, events = _merged(
                (packets, events, 0),
                (_rows(self._packets, PACKET), _rows(self._events, EVENT), self._record_count),
            )
        return Packed(self._payload, packets, events, records.reshape(-1, RECORD_BYTES))

    def _add(
        self,
        kind: int,
        device: Device,
        index: int,
        message: Incoming,
        flags: int = 0,
        measures: int = 0,
        boot: int = 0,
        seq: int = 0,
        stream: int = 0,
        t_ns: int = 0,
    ) -> None:
        who = (kind, self.number, device.row, device.athlete.row, index)
        when = (t_ns, message.arrived_ns, message.received_ns)
        self._events.append((*who, flags, measures, boot, seq, stream, *when))

    def _append(self, payload: Any) -> int:
        """Append bytes; return where they begin. The first of a stretch are taken over as they are."""
        if not self._payload and isinstance(payload, bytearray):
            self._payload = payload
            return 0
        return aligned(self._payload, payload)


def aligned(joined: bytearray, payload: Any) -> int:
    """Append bytes, aligned; return where they begin."""
    joined.extend(b"\0" * (-len(joined) % _ALIGNMENT))
    offset = len(joined)
    joined.extend(payload)
    return offset


def _merged(*parts: tuple[Records, Records, int]) -> tuple[Records, Records]:
    """Return packets and events of two ways in the order of arrival.

    Parameters
    ----------
    *parts : (PACKET, EVENT, int)
        The index of the first record of each; there are two.
    """
    packets = np.empty(sum(len(each) for each, _, _ in parts), PACKET)
    events = np.empty(sum(len(each) for _, each, _ in parts), EVENT)
    parts_c = ffi.new("kf_part[2]")
    for part, (own_packets, own_events, first_record) in zip(parts_c, parts, strict=True):
        part.packets = ffi.from_buffer("kf_packet[]", own_packets)
        part.events, part.count = ffi.from_buffer("kf_event[]", own_events), len(own_events)
        part.first_record = first_record
    refs = ffi.from_buffer("kf_event[]", events), ffi.from_buffer("kf_packet[]", packets)
    lib.kf_merge(parts_c, parts_c + 1, *refs)
    return packets, events


def _rows(tuples: list[tuple[int, ...]], dtype: "np.dtype[np.void]") -> Records:
    rows = np.empty(len(tuples), dtype)
    rows[:] = tuples
    return rows
