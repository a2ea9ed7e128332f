"""Topics and bytes to what the engine works on: events in order, and one ragged IMU batch for the C core.

What is wrong is counted by reason, at its device where the device is known, else at the server; it harms
nothing else. A device is enrolled by the first message that is in order, never by a malformed one.

IMU packets of known live devices come as frames of a chunk and are looked at by the C core alone; their plain
low-rate messages are read in columns (`server.codecs.flat`). All else comes here message by message.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from server import conversion
from server.batch import BINARY, ROWS, Batch, Status
from server.codecs import flat, imu, imu_json, samples
from server.codecs.imu_json import ImuRows
from server.codecs.sensor_logger import SensorLogger, SensorLoggerBatch, watch_of
from server.config import Config
from server.deadlines.kinds import stream_of
from server.envelopes import Chunk, Incoming
from server.errors import DecodeError
from server.frames import Topics
from server.messages import ID_PATTERN, Battery, Birth, Command, Death, Packet, Pong
from server.pings import Pings
from server.registry import Athlete, Device, NotEnrolledError, Registry
from server.schedule import Schedule
from server.seen import FLOODING
from server.stretch import Stretch

_ID = re.compile(ID_PATTERN)
_HAS_BOOT, _HAS_SEQ, _MEANS = int(lib.KF_HAS_BOOT), int(lib.KF_HAS_SEQ), int(lib.KF_MEANS)
_BINARY_MAGIC = b"K"
BIRTHS_MAX = 256
_NUMBERS = flat.NUMBERS | {
    Battery: lib.KF_TOPICS,
    Pong: lib.KF_TOPICS + 1,
}  # of the kinds of messages, each of which counts its own seq

Obey = Callable[[str, Command, Incoming, Batch], None]  # takes a command to an athlete on, or answers why not


@dataclass(slots=True)
class _Segment:
    """A part of a stretch that is being read: known frames from ``begin`` to ``end`` are to be taken yet."""

    stretch: Stretch
    begin: int
    end: int
    until: int  # where it ends


def subscriptions(config: Config) -> list[str]:
    """Return the topic filters that the server listens to."""
    root = config.broker.root
    return [f"{root}/in/+/+", f"{root}/command/+", *sorted(set(config.server.sensor_logger_topics))]


class Ingest:
    """Sorts messages by their topic and decodes them."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        schedule: Schedule,
        topics: Topics,
        pings: Pings,
        obey: Obey,
    ) -> None:
        self.refused: Counter[str] = Counter()  # of messages that belong to no known device
        self.keeps_singles = False
        self._singles: dict[int, Incoming] = {}  # messages of the tick that came here, by number, if kept,
        self._stretches: list[tuple[int, Stretch]] = []  # and the others, with the number of the first
        self._registry, self._pings = registry, pings
        self._schedule = schedule
        self._root = config.broker.root + "/"
        self._sensor_logger_topics = frozenset(config.server.sensor_logger_topics)
        self._sensor_logger = SensorLogger(limit=config.server.devices_max)
        self._topics = topics
        self._obey = obey
        self._settle: Callable[[Batch], None] = lambda _: None
        self._batch = Batch()
        self._number = 0  # of the next message of the tick
        self._since_ns = self._dropped = 0
        self._segment: _Segment | None = None
        self._births: OrderedDict[str, Incoming] = OrderedDict()  # for which there was no place, newest last

    def read(
        self, arrivals: Sequence[Incoming | Chunk], settle: Callable[[Batch], None], since_ns: int = 0
    ) -> int:
        """Hand what arrivals hold to ``settle``, in their order, in as few batches as may be.

        A batch ends where something comes of an athlete one of whose devices has said what it is: what
        follows is to be read by that. IMU packets of known devices that arrived before ``since_ns``, UTC,
        are dropped; returns how many.
        """
        self._settle, self._number, self._since_ns, self._dropped = settle, 0, since_ns, 0
        self._singles.clear()
        self._stretches.clear()
        chunks: list[Chunk] = []
        for arrival in arrivals:
            if isinstance(arrival, Chunk):
                chunks.append(arrival)
                continue
            self._stretch(chunks)
            self._message(arrival, self._number)
            self._number += 1
        self._stretch(chunks)
        self._cut()
        return self._dropped

    def message(self, number: int) -> Incoming | None:
        """Return a message of the tick by its number, if they are kept; None for a frame of an IMU packet."""
        if number in self._singles:
            return self._singles[number]
        for first, stretch in self._stretches:
            if 0 <= number - first < len(stretch):
                is_motion = stretch.frames["kind"][number - first] == flat.IMU
                return None if is_motion else stretch.message(number - first)
        return None

    def refuse(self, device_id: str, reason: str) -> None:
        """Count a refusal, at the device where it is known."""
        device = self._registry.devices.get(device_id)
        if device is None:
            self.refused[reason] += 1
        else:
            device.refuse(reason)

    def _cut(self) -> None:
        """End the batch."""
        self._take_frames()
        batch, self._batch = self._batch, Batch()  # also of one without events, which may hold bytes
        self._batch.number = batch.number  # the message that is being read goes on in the next one
        if batch:
            self._settle(batch)

    def _settle_changes(self, athlete: Athlete) -> None:
        """End the batch where a device of an athlete of whom more comes has said in it what it is."""
        if athlete.row in self._batch.changing:
            self._cut()

    def _turn(self, device: Device) -> None:
        """See to it that a device's clock is what it should be before its next packet is taken in."""
        self._settle_changes(device.athlete)
        follows = device.through is not None and device.recorded != device.through.recorded
        if device.played or follows:
            self._cut()
            self._batch.turning.append(device)
            self._cut()

    # By the way a message came.

    def _stretch(self, chunks: list[Chunk]) -> None:
        """Read chunks that follow each other, and empty the list of them."""
        if not chunks:
            return
        stretch, begin = Stretch(chunks), 0
        if self.keeps_singles:
            self._stretches.append((self._number, stretch))
        others = stretch.look(self._schedule.links)
        messages = dict(zip(others.tolist(), stretch.messages_at(others), strict=True)) if len(others) else {}
        while begin < len(stretch):
            begin = self._read_segment(stretch, others, begin, messages)
            if begin < len(stretch):  # what came in has changed who is known
                others = stretch.look(self._schedule.links)
                others = others[others >= begin]
        self._number += len(stretch)
        chunks.clear()

    def _read_segment(
        self, stretch: Stretch, others: NDArray[np.intp], begin: int, messages: dict[int, Incoming]
    ) -> int:
        """Read a stretch from a frame on, to where its batch ends; return how far."""
        if self._since_ns:
            old = stretch.known & (stretch.frames["kind"] == flat.IMU)
            old &= stretch.arrived_ns < self._since_ns
            stretch.known[old] = False
        self._segment = segment = _Segment(stretch, begin, begin, len(stretch))
        for athlete in self._batch.changing:
            self._end_before(athlete, begin)
        for place in others.tolist():
            if place >= segment.until:
                break
            segment.end = place
            message = messages.get(place) or stretch.message(place)  # or: it was known before
            self._message(message, self._number + place)
        segment.end = end = segment.until
        if self._batch.changing and end < len(stretch):
            self._cut()
        else:
            self._take_frames()
        self._segment = None
        if self._since_ns:
            self._dropped += int(np.count_nonzero(old[begin:end]))
        return end

    def _end_before(self, athlete: int, begin: int) -> None:
        """End the segment before the next known frame of an athlete, by row, from a place on."""
        segment = self._segment
        assert segment is not None
        stretch = segment.stretch
        places = begin + np.flatnonzero(stretch.known[begin : segment.until])
        devices = stretch.frames["device"][places]
        theirs = places[self._schedule.links["athlete"][devices] == athlete]
        if len(theirs):
            segment.until = int(theirs[0])

    def _take_frames(self) -> None:
        """Put the known frames before the one that is being read into the batch."""
        segment = self._segment
        if segment is None:
            return
        registry, begin, segment.begin = self._registry, segment.begin, segment.end
        if begin == segment.end:
            return
        tables = self._schedule.links, registry.seen, registry.beats
        refused = self._batch.add_frames(segment.stretch, begin, segment.end, self._number, *tables)
        for row, verdict in refused:
            registry.device_rows[row].name_refused("flooding" if verdict == FLOODING else "duplicate", 1)

    def _message(self, message: Incoming, number: int) -> None:
        self._batch.number = number
        if self.keeps_singles:
            self._singles[number] = message
        if message.topic in self._sensor_logger_topics:
            self._read_sensor_logger(message)
            return
        levels = message.topic[len(self._root) :].split("/") if message.topic.startswith(self._root) else []
        if len(levels) == 3 and levels[0] == "in" and _ID.match(levels[1]):
            self._device(levels[1], levels[2], message)
        elif len(levels) == 2 and levels[0] == "command" and _ID.match(levels[1]):
            self._command(levels[1], message)
        else:
            self.refused["topic"] += 1

    def _device(self, device_id: str, kind: str, message: Incoming) -> None:
        if kind != "status" and device_id in self._births and self._registry.has_room:
            self._device(device_id, "status", self._births.pop(device_id))  # there was no place for it
        known = self._registry.devices.get(device_id)
        if known is not None and kind != "status":
            self._settle_changes(known.athlete)
        try:
            if kind == "imu" and not message.retained:
                self._imu(device_id, message)
                return
            if kind == "command":
                raise DecodeError("kind")  # commands have a topic of their own, with rights of its own
            if known is not None and self._floods(known, message):
                return
            if message.retained and kind != "status":
                raise DecodeError("retained")  # of some time ago: it would count again at every start
            packets, refused = samples.decode(kind, message.payload)
            if packets and not (isinstance(packets[0], Death) and device_id not in self._registry.devices):
                device = self._registry.device(device_id)
                if kind == "status":
                    self._births.pop(device_id, None)  # it is told anew
                for packet in packets:
                    self._packet(device, packet, message)
            for reason in refused:
                self.refuse(device_id, reason)
        except DecodeError as error:
            self.refuse(device_id, error.reason)
        except NotEnrolledError as error:
            self.refuse(device_id, error.reason)
            if kind == "status" and error.reason != "unknown_device":
                self._births[device_id] = message
                if len(self._births) > BIRTHS_MAX:
                    self._births.popitem(last=False)

    def _packet(self, device: Device, packet: Packet | Command, message: Incoming) -> None:
        """Append a low-rate packet of a device that speaks for itself."""
        assert not isinstance(packet, Command), "its kind is refused before"
        if isinstance(packet, Birth | Death):
            if isinstance(packet, Birth):
                device.native = not packet.clock.recorded  # a phone's recording is born here, too
            self._batch.add_status(Status(device, packet, message))
            if self._segment is not None:
                self._end_before(device.athlete.row, self._segment.end + 1)
            return
        device.native = True
        self._know_topics(device)
        self._sample(device, packet, message)

    def _sample(self, device: Device, packet: Packet, message: Incoming) -> None:
        """Append a low-rate packet that is no status, unless it came before."""
        assert not isinstance(packet, Birth | Death), "they are no samples"
        self._turn(device)
        t_ns = packet.t
        assert not isinstance(t_ns, str), "codecs read decimal strings"
        seen = self._registry.seen
        if not seen.has(device.row):
            seen.give(device.row)
        if seen.saw(device.row, _NUMBERS[type(packet)], t_ns, packet.boot, packet.seq):
            device.refuse("duplicate")
            return
        if isinstance(packet, Battery):
            device.battery = packet.level
        trip_ns = self._round_trip_ns(device, packet, message) if isinstance(packet, Pong) else None
        item = conversion.measurement(packet, device, self._registry.beats)
        self._batch.add_sample(
            device,
            item,
            message,
            t_ns=t_ns,
            boot=packet.boot,
            seq=packet.seq,
            stream=stream_of(packet),
            trip_ns=trip_ns,
        )

    def _floods(self, device: Device, message: Incoming) -> bool:
        """Return True, and count it, where a low-rate message of a live device is one too many.

        Those of it that came before, and need no look, are taken first: it is held to its rate, and known
        by what it sent, in the order of arrival.
        """
        segment = self._segment
        if segment is not None and segment.stretch.has(device.row, segment.begin, segment.end):
            self._take_frames()
        if device.recorded or self._registry.seen.admits(device.row, message.arrived_ns):
            return False
        device.refuse("flooding")
        return True

    def _know_topics(self, device: Device) -> None:
        """Have frames of a device's own topics told by its row from now on."""
        if not device.has_topics:
            device.has_topics = True
            self._topics.put(device.id, device.row)

    def _round_trip_ns(self, device: Device, pong: Pong, message: Incoming) -> int | None:
        """Return the round trip that a pong ends; None where it was not asked, or tells no time."""
        trip_ns = self._pings.answered(device, pong.id, message.arrived_ns)
        if trip_ns is None:
            device.refuse("pong_unasked")
            self._pings.expect(device, message.arrived_ns)  # it seems to answer pings
        return None if pong.t is None else trip_ns

    def _imu(self, device_id: str, message: Incoming) -> None:
        if message.payload[:1] == _BINARY_MAGIC:
            if device_id not in self._registry.devices:
                imu.decode(message.payload)  # a malformed packet enrols nobody
            device = self._registry.device(device_id)
            self._turn(device)
            core = self._registry.give_core(device)
            self._batch.add_imu(device, core, message.payload, message, kind=BINARY)
            self._schedule.set_link(device.row, lib.KF_LINK_FRAMES, on=True)
            self._know_topics(device)
        else:
            known = self._registry.devices.get(device_id)
            if known is not None and self._floods(known, message):
                return
            rows = imu_json.decode(message.payload)
            device = self._registry.device(device_id)
            self._rows(device, rows, message)
        device.native = True

    def _rows(self, device: Device, decoded: ImuRows, message: Incoming) -> None:
        """Append an IMU packet whose samples are rows."""
        self._turn(device)
        rows = decoded.rows
        if not decoded.t_known:
            now_ns = self._schedule.now_ns(device.athlete.row, message.arrived_ns)
            rows = rows.copy()
            rows["t_ns"] += now_ns - rows["t_ns"][-1]
        flags = (
            (_HAS_BOOT if decoded.boot is not None else 0)
            | (_HAS_SEQ if decoded.seq is not None else 0)
            | (_MEANS if decoded.means else 0)
        )
        boot, seq = decoded.boot or 0, decoded.seq or 0
        core = self._registry.give_core(device)
        self._batch.add_imu(device, core, rows.tobytes(), message, kind=ROWS, flags=flags, boot=boot, seq=seq)

    def _read_sensor_logger(self, message: Incoming) -> None:
        try:
            decoded = self._sensor_logger.decode(message.payload)
        except DecodeError as error:
            self.refused[error.reason] += 1
            return
        if self._is_taken(decoded.device):
            return
        try:
            if decoded.packets or decoded.watch is not None:
                device = self._registry.device(decoded.device)
                self._phone(device, decoded, message)
        except NotEnrolledError as error:
            self.refuse(decoded.device, error.reason)
        for reason in decoded.refused:
            self.refuse(decoded.device, reason)

    def _phone(self, device: Device, decoded: SensorLoggerBatch, message: Incoming) -> None:
        """Append what a phone sent, and a watch through it, a device of its own on the same wearer."""
        for packet in decoded.packets:
            if isinstance(packet, ImuRows):
                self._rows(device, packet, message)
            else:
                self._sample(device, packet, message)
        watch_id = watch_of(decoded.device)
        if decoded.watch is not None and not self._is_taken(watch_id):
            watch = self._registry.device(watch_id, worn_with=device)
            self._rows(watch, decoded.watch, message)

    def _is_taken(self, device_id: str) -> bool:
        """Return True, and count it at the server, where a device of this id speaks on topics of its own.

        All phones share a topic, so each could give itself any id; ``in/{device}`` belongs to its device.
        """
        device = self._registry.devices.get(device_id)
        if device is None or not device.native:
            return False
        self.refused["taken"] += 1
        return True

    def _command(self, athlete_id: str, message: Incoming) -> None:
        try:
            command = samples.decode_command(message.payload)
        except DecodeError as error:
            self.refused[f"command_{error.reason}"] += 1
            return
        athlete = self._registry.athletes.get(athlete_id)
        if athlete is not None:
            self._settle_changes(athlete)
        self._obey(athlete_id, command, message, self._batch)
