"""Topics and bytes to what the engine works on: packets in order, and one ragged IMU batch for the C core.

What is wrong is counted by reason, at its device where the device is known, else at the server; it harms
nothing else. A device is enrolled by the first message that is in order, never by a malformed one.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fusion.core import PACKET
from fusion.measurements import Records
from server.codecs import imu, imu_json, samples
from server.codecs.imu_json import ImuRows
from server.codecs.sensor_logger import SensorLogger, SensorLoggerBatch
from server.config import Config
from server.envelopes import Incoming
from server.errors import DecodeError
from server.messages import ID_PATTERN, Birth, Command, Death, Packet
from server.registry import Device, NotEnrolledError, Registry

_ID = re.compile(ID_PATTERN)
_BINARY, _ROWS = 0, 1
_HAS_BOOT, _HAS_SEQ, _MEANS = 1, 2, 4
_BINARY_MAGIC = b"K"


class Arrival(NamedTuple):
    """One packet of a device, in the order of arrival. ``imu``: its index in the tick's IMU batch, or -1."""

    device: Device
    kind: str
    packet: Packet | None
    imu: int
    message: Incoming


class Order(NamedTuple):
    """A command to an athlete, as it arrived."""

    athlete: str
    command: Command
    message: Incoming


@dataclass
class Batch:
    """All that a tick brought."""

    arrivals: list[Arrival | Order] = field(default_factory=list)
    payload: bytearray = field(default_factory=bytearray)
    references: list[tuple[int, ...]] = field(default_factory=list)

    def packets(self) -> Records:
        """Return the references to the IMU packets, dtype ``fusion.core.PACKET``."""
        return np.array(self.references, PACKET)

    def add_imu(self, row: int, payload: Any, kind: int, flags: int = 0, boot: int = 0, seq: int = 0) -> int:
        """Append one IMU packet; return its index."""
        self.payload.extend(b"\0" * (-len(self.payload) % 8))
        self.references.append((row, kind, len(self.payload), len(payload), flags, boot, seq, 0))
        self.payload.extend(payload)
        return len(self.references) - 1


class Ingest:
    """Sorts messages by their topic and decodes them."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self.refused: Counter[str] = Counter()  # of messages that belong to no known device
        self._registry = registry
        self._root = config.broker.root + "/"
        self._sensor_logger_topics = frozenset(config.server.sensor_logger_topics)
        self._sensor_logger = SensorLogger(limit=config.server.devices_max)

    def subscriptions(self) -> list[tuple[str, int]]:
        """Return the topic filters that the server listens to, each with its QoS."""
        return [
            (self._root + "in/+/+", 1),
            (self._root + "command/+", 1),
            *((topic, 1) for topic in sorted(self._sensor_logger_topics)),
        ]

    def read(self, messages: list[Incoming]) -> Iterator[Batch]:
        """Yield what the messages hold, in their order.

        A batch ends where a device says what it is: what follows is to be read by that.
        """
        batch = Batch()
        for message in messages:
            if message.topic in self._sensor_logger_topics:
                self._read_sensor_logger(message, batch)
                continue
            levels = (
                message.topic[len(self._root) :].split("/") if message.topic.startswith(self._root) else []
            )
            if len(levels) == 3 and levels[0] == "in" and _ID.match(levels[1]):
                self._device(levels[1], levels[2], message, batch)
            elif len(levels) == 2 and levels[0] == "command" and _ID.match(levels[1]):
                self._command(levels[1], message, batch)
            else:
                self.refused["topic"] += 1
            if batch.arrivals and message.topic.endswith("/status"):
                yield batch
                batch = Batch()
        yield batch

    def refuse(self, device_id: str, reason: str) -> None:
        """Count a refusal, at the device where it is known."""
        device = self._registry.devices.get(device_id)
        (self.refused if device is None else device.refused)[reason] += 1

    def _device(self, device_id: str, kind: str, message: Incoming, batch: Batch) -> None:
        try:
            if kind == "imu" and not message.retained:
                self._imu(device_id, message, batch)
                return
            if kind == "command":
                raise DecodeError("kind")  # commands have a topic of their own, with rights of its own
            if message.retained and kind != "status":
                raise DecodeError("retained")  # of some time ago: it would count again at every start
            packets, refused = samples.decode(kind, message.payload)
            if packets and not (isinstance(packets[0], Death) and device_id not in self._registry.devices):
                device = self._registry.device(device_id)
                for packet in packets:
                    assert not isinstance(packet, Command), "its kind is refused above"
                    if isinstance(packet, Birth):
                        device.native = not packet.clock.recorded  # a phone's recording is born here, too
                    elif not isinstance(packet, Death):
                        device.native = True
                    batch.arrivals.append(Arrival(device, kind, packet, -1, message))
            for reason in refused:
                self.refuse(device_id, reason)
        except (DecodeError, NotEnrolledError) as error:
            self.refuse(device_id, error.reason)

    def _imu(self, device_id: str, message: Incoming, batch: Batch) -> None:
        if message.payload[:1] == _BINARY_MAGIC:
            if device_id not in self._registry.devices:
                imu.decode(message.payload)  # a malformed packet enrols nobody
            device = self._registry.device(device_id)
            index = batch.add_imu(device.row, message.payload, _BINARY)
        else:
            rows = imu_json.decode(message.payload)
            device = self._registry.device(device_id)
            index = self._add_rows(device, rows, message, batch)
        device.native = True
        batch.arrivals.append(Arrival(device, "imu", None, index, message))

    def _add_rows(self, device: Device, decoded: ImuRows, message: Incoming, batch: Batch) -> int:
        rows = decoded.rows
        if not decoded.t_known:
            rows = rows.copy()
            rows["t_ns"] += device.athlete.now_ns(message.arrived_ns) - rows["t_ns"][-1]
        flags = (
            (_HAS_BOOT if decoded.boot is not None else 0)
            | (_HAS_SEQ if decoded.seq is not None else 0)
            | (_MEANS if decoded.means else 0)
        )
        return batch.add_imu(device.row, rows.tobytes(), _ROWS, flags, decoded.boot or 0, decoded.seq or 0)

    def _read_sensor_logger(self, message: Incoming, batch: Batch) -> None:
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
                self._add_phone(device, decoded, message, batch)
        except NotEnrolledError as error:
            self.refuse(decoded.device, error.reason)
        for reason in decoded.refused:
            self.refuse(decoded.device, reason)

    def _add_phone(self, device: Device, decoded: SensorLoggerBatch, message: Incoming, batch: Batch) -> None:
        """Append what a phone sent, and a watch through it, a device of its own on the same wearer."""
        for packet in decoded.packets:
            if isinstance(packet, ImuRows):
                index = self._add_rows(device, packet, message, batch)
                batch.arrivals.append(Arrival(device, "imu", None, index, message))
            else:
                batch.arrivals.append(Arrival(device, type(packet).__name__, packet, -1, message))
        watch_id = f"{decoded.device[:58]}-watch"
        if decoded.watch is not None and not self._is_taken(watch_id):
            watch = self._registry.device(watch_id, worn_with=device)
            index = self._add_rows(watch, decoded.watch, message, batch)
            batch.arrivals.append(Arrival(watch, "imu", None, index, message))

    def _is_taken(self, device_id: str) -> bool:
        """Return True, and count it at the server, where a device of this id speaks on topics of its own.

        All phones share a topic, so each could give itself any id; ``in/{device}`` belongs to its device.
        """
        device = self._registry.devices.get(device_id)
        if device is None or not device.native:
            return False
        self.refused["taken"] += 1
        return True

    def _command(self, athlete: str, message: Incoming, batch: Batch) -> None:
        try:
            batch.arrivals.append(Order(athlete, samples.decode_command(message.payload), message))
        except DecodeError as error:
            self.refused[f"command_{error.reason}"] += 1
