"""What a tick brought, on its way to the core: one ragged batch of IMU packets, and events in their order."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import PACKET
from fusion.measurements import DTYPES, Records
from fusion.structs import joined
from server import conversion
from server.codecs import flat
from server.deadlines.kinds import streams_of
from server.envelopes import Incoming
from server.messages import Birth, Command, Death
from server.registry import Athlete, Device
from server.schedule import EVENT, NONE, RECORD_BYTES, Item
from server.stretch import Stretch

BINARY: Final = int(lib.KF_BINARY)
ROWS: Final = int(lib.KF_ROWS)
_IMU, _SAMPLE = int(lib.KF_EVENT_IMU), int(lib.KF_EVENT_SAMPLE)
_ORDER, _START = int(lib.KF_EVENT_ORDER), int(lib.KF_EVENT_START)
_STATUS = int(lib.KF_EVENT_STATUS)
_TIMED, _BOOT, _PONG = int(lib.KF_EVENT_TIMED), int(lib.KF_EVENT_BOOT), int(lib.KF_EVENT_PONG)
_TRIP_US_MAX = 2**32 - 1
_ALIGNMENT = int(lib.KF_ALIGNMENT)
_NO_PACKETS = np.zeros(0, PACKET)
_NO_RECORDS = np.zeros((0, RECORD_BYTES), np.uint8)


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
        self._items: list[Item] = []
        self._frames: list[tuple[Records, Records]] = []  # packets and events of chunks
        self._columns: list[tuple[NDArray[np.uint8], Records]] = []  # records and events of plain messages
        self._stretch: Stretch | None = None
        self._stretch_at = self._framed = 0
        self.number = 0

    def __bool__(self) -> bool:
        """Return True where there is anything to do."""
        return bool(self._events or self._frames or self._columns or self.statuses or self.turning)

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
        self, stretch: Stretch, begin: int, end: int, first: int, links: Records
    ) -> NDArray[np.int64]:
        """Append binary IMU packets of known devices as they lie in a stretch.

        Parameters
        ----------
        stretch : Stretch
        begin, end : int
            Of their frames: those that are known.
        first : int
            Number of the stretch's first message.
        links : (devices,) LINK

        Returns
        -------
        (n,) int64
            Places of the known frames that are no IMU packets.
        """
        if stretch is not self._stretch:
            self._stretch, self._stretch_at = stretch, self._append(stretch.data)
        room = end - begin
        packets, events, low = np.empty(room, PACKET), np.empty(room, EVENT), np.empty(room, np.int64)
        low_count = ffi.new("size_t *")
        count = lib.kf_stretch_take(
            *(stretch.c, ffi.from_buffer("kf_link[]", links), begin, end),
            *(first, self._framed, self._stretch_at),
            ffi.from_buffer("kf_packet[]", packets),
            ffi.from_buffer("kf_event[]", events),
            ffi.from_buffer("int64_t[]", low),
            low_count,
        )
        if count:
            self._framed += count
            self._frames.append((packets[:count], events[:count]))
        return low[: low_count[0]]

    def add_messages(
        self,
        stretch: Stretch,
        places: NDArray[np.intp],
        messages: Records,
        first: int,
        links: Records,
        devices: Sequence[Device],
    ) -> None:
        """Append plain low-rate messages of known devices, as they came in a stretch.

        Parameters
        ----------
        stretch : Stretch
        places : (n,) intp
            Of their frames, rising.
        messages : (n,) FLAT
        first : int
            Number of the stretch's first message.
        links : (devices,) LINK
        devices : sequence of Device
            By row.
        """
        frames = stretch.frames.take(places)
        told = messages["told"]
        events = np.zeros(len(frames), EVENT)
        events["kind"], events["message"] = _SAMPLE, first + places
        events["device"] = frames["device"]
        events["flags"] = (told & flat.TIMED != 0) * _TIMED + (told & flat.BOOT != 0) * _BOOT
        for name in ("t_ns", "boot", "seq"):
            events[name] = messages[name]
        events["arrived_ns"], events["received_ns"] = stretch.arrived_ns[places], stretch.received_ns[places]
        records = np.zeros((len(frames), RECORD_BYTES), np.uint8)
        for kind in np.flatnonzero(np.bincount(frames["kind"])).tolist():
            own = np.flatnonzero(frames["kind"] == kind)
            rows, told_own = frames["device"][own], messages.take(own)
            theirs = links.take(rows)
            found = conversion.measured(kind, told_own, rows, theirs, devices)
            records[own, : found.records.itemsize] = found.records.view(np.uint8).reshape(len(own), -1)
            events["athlete"][own], events["stream"][own] = theirs["athlete"], streams_of(kind, told_own)
            events["index"][own] = np.where(found.holds, own, NONE)
            events["measures"][own] = np.where(found.holds, found.place, 0)
        self._columns.append((records, events))

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
            self._items.append(item)
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
        packets = joined((each for each, _ in self._frames), PACKET)
        events = joined((each for _, each in self._frames), EVENT)
        if not self._events and not self._columns:
            return Packed(self._payload, packets, events, _NO_RECORDS)
        records, told = self._told()
        parts = (
            (packets, events, 0),
            (_NO_PACKETS, told, len(self._items)),
            (_rows(self._packets, PACKET), _rows(self._events, EVENT), 0),
        )
        packets = np.empty(sum(len(each) for each, _, _ in parts), PACKET)
        events = np.empty(sum(len(each) for _, each, _ in parts), EVENT)
        lib.kf_merge(
            *(ffi.new("kf_part[]", [_part(*each) for each in parts]), len(parts)),
            ffi.from_buffer("kf_event[]", events),
            ffi.from_buffer("kf_packet[]", packets),
        )
        return Packed(self._payload, packets, events, records)

    def _told(self) -> tuple[NDArray[np.uint8], Records]:
        """Return records, and the events of plain messages, whose indexes are as if there were no items."""
        at = 0
        for found, theirs in self._columns:
            if at:
                theirs["index"][theirs["index"] != NONE] += np.uint32(at)
            at += len(found)
        records = np.concatenate([_records(self._items), *(found for found, _ in self._columns)])
        return records, joined((theirs for _, theirs in self._columns), EVENT)

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


def _part(packets: Records, events: Records, first_record: int) -> dict[str, Any]:
    """Return a kf_part; the arrays must outlive it."""
    refs = ffi.from_buffer("kf_packet[]", packets), ffi.from_buffer("kf_event[]", events)
    return {"packets": refs[0], "events": refs[1], "count": len(events), "first_record": first_record}


def _records(items: list[Item]) -> NDArray[np.uint8]:
    """Return the records of measurements, in the room of the longest."""
    if not items:
        return _NO_RECORDS
    records = np.zeros((len(items), RECORD_BYTES), np.uint8)
    for kind, dtype in enumerate(DTYPES):
        places = [place for place, item in enumerate(items) if item.kind == kind]
        if places:
            found = np.array([items[place].record for place in places], dtype)
            records[places, : dtype.itemsize] = found.view(np.uint8).reshape(len(places), -1)
    return records


def _rows(tuples: list[tuple[int, ...]], dtype: "np.dtype[np.void]") -> Records:
    rows = np.empty(len(tuples), dtype)
    if tuples:
        rows[:] = tuples
    return rows
