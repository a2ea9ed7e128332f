"""The server's log of late messages: what each device sent too late, as recordings.

The log is written by `server.late`: JSON lines, one message each. The messages of a device, in the order of
their own stamps, are a recording; another one where no stamp is for GAP_NS, as a workout would end there.
Stamps are what the device's clock said.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from server.codecs import imu, imu_json, samples
from server.codecs.imu_json import ImuRows
from server.codecs.sensor_logger import SensorLogger
from server.errors import DecodeError, FileError
from server.files.content import UNPACKED_MAX, load, unpacked
from server.files.recording import Event, Recording, command
from server.late import Record, files_of
from server.messages import Command, Packet

GAP_NS: Final = 600_000_000_000  # as long a silence ends a workout

_DECODER: Final = msgspec.json.Decoder(Record)


class Message(NamedTuple):
    """A line of the log, decoded as far as its device and its stamps."""

    first_ns: int
    last_ns: int
    device: str
    topic: str  # below the root, or as it is where ``absolute``
    payload: bytes
    absolute: bool


@dataclass(frozen=True, kw_only=True)
class LateRecording(Recording):
    """What a device sent too late, in one piece."""

    messages: Sequence[Message] = field(repr=False)

    @property
    def first_ns(self) -> int:
        """Return when the first message is delivered."""
        return self.start_ns

    def _middle(self) -> Iterator[Event]:
        yield self._event(command(self.start_ns, "start", 0, None, self.start_ns))
        reached_ns = self.start_ns
        for each in self.messages:
            topic = each.topic if each.absolute else f"in/{self.device}/{each.topic}"
            reached_ns = max(reached_ns, each.last_ns)
            yield Event(reached_ns, topic, each.payload, each.absolute)
        yield self._event(command(self.end_ns, "stop", 1, None, self.start_ns))


def is_log(path: Path) -> bool:
    """Return whether a folder holds a log, or raise FileError."""
    try:
        return bool(files_of(path))
    except OSError as error:
        raise FileError(path, (error.strerror or str(error)).lower()) from error


def read_folder(path: Path) -> list[Recording]:
    """Return the recordings in a log: all files of its folder.

    Raises
    ------
    FileError
        A file cannot be read, or there is nothing of use in any.
    """
    content, files = [], files_of(path)
    left = UNPACKED_MAX
    for file in files:
        content.append(load(file, left))
        left -= len(content[-1])
    return recordings(path, b"\n".join(content))


def read(path: Path, content: bytes) -> Recording:
    """Return the only recording in a file of the log.

    Raises
    ------
    FileError
        There is none, or there are several.
    """
    found = recordings(path, content)
    if len(found) > 1:
        raise FileError(path, f"holds {len(found)} recordings; only `replay` and `analyze` take several")
    return found[0]


def recordings(path: Path, content: bytes) -> list[Recording]:
    """Return the recordings in the bytes of a log, by device, then by time.

    Raises
    ------
    FileError
        Nothing in it is of use.
    """
    phones = SensorLogger()
    by_device: dict[str, list[Message]] = {}
    damaged = 0
    for line in unpacked(content, path).splitlines():
        if not line:
            continue
        try:
            message = _message(_DECODER.decode(line), phones)
        except (msgspec.DecodeError, UnicodeDecodeError, DecodeError, binascii.Error, RecursionError):
            damaged += 1
            continue
        by_device.setdefault(message.device, []).append(message)
    if not by_device:
        raise FileError(path, "no message in it is of use")
    warnings = (f"lines of no use: {damaged}",) if damaged else ()
    return [
        _recording(path, piece, warnings)
        for _, messages in sorted(by_device.items())
        for piece in _pieces(sorted(messages, key=lambda each: (each.first_ns, each.last_ns)))
    ]


def _recording(path: Path, messages: list[Message], warnings: tuple[str, ...]) -> LateRecording:
    return LateRecording(
        path=path,
        kind="late_log",
        device=messages[0].device,
        model="",
        sport=None,
        start_ns=messages[0].first_ns,
        end_ns=max(each.last_ns for each in messages),
        records=len(messages),
        warnings=warnings,
        messages=messages,
    )


def _pieces(messages: list[Message]) -> Iterator[list[Message]]:
    """Yield messages, sorted by time, in pieces between which no stamp is for GAP_NS."""
    piece: list[Message] = []
    reached_ns = 0
    for each in messages:
        if piece and each.first_ns - reached_ns > GAP_NS:
            yield piece
            piece = []
        reached_ns = max(reached_ns, each.last_ns) if piece else each.last_ns
        piece.append(each)
    yield piece


def _message(record: Record, phones: SensorLogger) -> Message:
    """Return what a line tells, or raise DecodeError."""
    text, packed = record.payload, record.payload_base64
    payload = text.encode() if text is not None else base64.b64decode(packed or "", validate=True)
    levels = record.topic.split("/")
    if len(levels) > 2 and levels[-3] == "in":
        return Message(*_span(_stamps(levels[-1], payload)), levels[-2], levels[-1], payload, absolute=False)
    batch = phones.decode(payload)
    parts = [*batch.packets, batch.watch]
    stamps = [stamp for part in parts if part is not None for stamp in _stamps_of(part)]
    return Message(*_span(stamps), batch.device, record.topic, payload, absolute=True)


def _stamps(kind: str, payload: bytes) -> list[int]:
    """Return the stamps of a message of a device's own topic."""
    if kind != "imu":
        return [stamp for packet in samples.decode(kind, payload).packets for stamp in _stamps_of(packet)]
    if payload[:1] != b"K":
        return _stamps_of(imu_json.decode(payload))
    packet = imu.decode(payload)
    return [packet.t0_ns, packet.t0_ns + (len(packet.accel_b) - 1) * packet.dt_ns]


def _stamps_of(packet: Packet | Command | ImuRows) -> list[int]:
    if isinstance(packet, ImuRows):
        t_ns = packet.rows["t_ns"]
        return [int(t_ns[0]), int(t_ns[-1])] if packet.t_known and len(t_ns) else []
    return [packet.t] if isinstance(packet.t, int) else []


def _span(stamps: list[int]) -> tuple[int, int]:
    if not stamps:
        raise DecodeError("time")  # it told no time: nobody knows where it belongs
    return min(stamps), max(stamps)
