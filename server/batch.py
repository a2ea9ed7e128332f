"""What a tick brought, on its way to the core: one ragged batch of IMU packets, and events in their order."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from fusion.core import PACKET
from fusion.measurements import Records
from server.envelopes import Incoming, Stretch
from server.messages import Birth, Command, Death
from server.registry import Athlete, Device
from server.schedule import EVENT, NONE, RECORD_BYTES, Item

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
        self._frames: list[tuple[Records, Records]] = []  # packets and events of chunks
        self._columns: list[tuple[NDArray[np.uint8], Records]] = []  # records and events of plain messages
        self._stretch: Stretch | None = None
        self._stretch_at = 0
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

    def add_frames(self, stretch: Stretch, places: NDArray[np.intp], first: int, links: Records) -> None:
        """Append binary IMU packets of known devices as they lie in a stretch.

        Parameters
        ----------
        stretch : Stretch
        places : (n,) intp
            Of their frames.
        first : int
            Number of the stretch's first message.
        links : (devices,) LINK
        """
        chosen = stretch.frames[places]
        if stretch is not self._stretch:
            self._stretch, self._stretch_at = stretch, self._append(stretch.data)
        count = len(chosen)
        packets, events = np.zeros(count, PACKET), np.zeros(count, EVENT)
        events["device"] = rows = chosen["device"]
        packets["device"] = links["core"][rows]
        packets["kind"] = BINARY
        packets["offset"] = chosen["payload"] + np.uint64(self._stretch_at)
        packets["length"] = chosen["payload_length"]
        events["kind"], events["athlete"] = _IMU, links["athlete"][rows]
        events["message"] = first + places
        events["arrived_ns"], events["received_ns"] = stretch.arrived_ns[places], stretch.received_ns[places]
        self._frames.append((packets, events))

    def add_plain(self, events: Records, records: NDArray[np.uint8]) -> None:
        """Append plain low-rate messages: what `server.conversion.take_plain` made of them."""
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
        packets = [_rows(self._packets, PACKET), *(each for each, _ in self._frames)]
        events = [_rows(self._events, EVENT), *(each for _, each in self._frames)]
        at = len(self._packets)
        for each, theirs in self._frames:
            theirs["index"] = np.arange(at, at + len(each))
            at += len(each)
        records = [np.frombuffer(b"".join(self._items), np.uint8).reshape(-1, RECORD_BYTES)]
        at = len(self._items)
        for found, theirs in self._columns:
            theirs["index"][theirs["index"] != NONE] += np.uint32(at)
            at += len(found)
            records.append(found)
            events.append(theirs)
        in_order = joined(events)
        if sum(map(bool, map(len, events))) > 1:
            in_order = in_order.take(np.argsort(in_order["message"], kind="stable"))
        motion = np.flatnonzero(in_order["kind"] == _IMU)
        in_their_order = joined(packets).take(in_order["index"][motion])
        in_order["index"][motion] = np.arange(len(motion))
        return Packed(self._payload, in_their_order, in_order, np.concatenate(records))

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
        return aligned(self._payload, payload)


def aligned(joined: bytearray, payload: Any) -> int:
    """Append bytes, aligned; return where they begin."""
    joined.extend(b"\0" * (-len(joined) % _ALIGNMENT))
    offset = len(joined)
    joined.extend(payload)
    return offset


def _rows(tuples: list[tuple[int, ...]], dtype: "np.dtype[np.void]") -> Records:
    rows = np.empty(len(tuples), dtype)
    rows[:] = tuples
    return rows


def joined(parts: list[Records]) -> Records:
    """Return records of one dtype as one array."""
    joined = np.empty(sum(map(len, parts)), parts[0].dtype)  # to concatenate compares every field's dtype
    at = 0
    for part in parts:
        joined[at : at + len(part)] = part
        at += len(part)
    return joined
