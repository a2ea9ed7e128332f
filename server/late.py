"""What came too late to be used: taken note of in the tick, written to a log by a thread of its own.

The log is JSON lines, a message each (`Record`), in files that follow each other: ``late-00000001.jsonl`` and
on. The oldest file goes where all together would be more than is allowed. `server.files.late_log` reads it.
"""

import base64
import contextlib
import queue
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np

from fusion._core import lib
from fusion.measurements import Records
from server.batch import BINARY, Packed
from server.envelopes import Incoming
from server.messages import LateLogStatus
from server.registry import Registry
from server.schedule import REASONS

WAITING_BYTES_MAX: Final = 8 * 2**20  # of records that were not written yet, in the tick and on the way
PARTS: Final = 8  # a file has no more than such a part of what all may have
FOLDER: Final = "late"
NAME: Final = re.compile(r"late-(\d{8})\.jsonl")
END_S: Final = 2.0  # for the last records when the server stops

_LOGGED: Final = tuple(REASONS.index(reason) for reason in ("late", "stale"))
_IMU: Final = int(lib.KF_EVENT_IMU)
_RECORD_BYTES: Final = 128  # about what a record is beside topic and payload


class Entry(NamedTuple):
    """A message that came too late."""

    arrived_ns: int  # UTC
    topic: str
    reason: str
    payload: bytes

    @property
    def size(self) -> int:
        """How many bytes it holds, about."""
        return len(self.payload) + len(self.topic) + _RECORD_BYTES


class Record(msgspec.Struct, omit_defaults=True):
    """A line of the log; ``t_ms``: UTC of the arrival. A payload that is no text is in base64."""

    t_ms: int
    topic: str
    reason: str
    payload: str | None = None
    payload_base64: str | None = None


class Late:
    """Takes note of late messages, each once, whatever of it was refused.

    Parameters
    ----------
    registry : Registry
    root : str
        Of the topics.
    keeps : bool
        False: there is no log.
    """

    def __init__(self, registry: Registry, root: str, *, keeps: bool) -> None:
        self.keeps = keeps
        self._registry = registry
        self._in = f"{root}/in/"
        self._entries: list[Entry] = []
        self._bytes = 0
        self._left_out = 0

    def note(self, packed: Packed, refusals: Records, message_of: Callable[[int], Incoming | None]) -> None:
        """Take note of what was refused as late of a batch.

        Parameters
        ----------
        packed : Packed
        refusals : (n,) REFUSAL
            Of its events.
        message_of : callable
            Returns a message of this tick by its number; None: it is an IMU packet among others.
        """
        if not self.keeps:
            return
        chosen = refusals[np.isin(refusals["reason"], _LOGGED)]
        seen: set[int] = set()
        for event, reason in zip(chosen["event"].tolist(), chosen["reason"].tolist(), strict=True):
            told = packed.events[event]
            number = int(told["message"])
            if number in seen:
                continue
            seen.add(number)
            entry = self._entry(packed, told, message_of(number), REASONS[reason])
            if entry is None or self._bytes + entry.size > WAITING_BYTES_MAX:
                self._left_out += 1
                continue
            self._entries.append(entry)
            self._bytes += entry.size

    def take(self) -> tuple[list[Entry], int]:
        """Return the messages since this was last asked, and how many more were left out."""
        taken = self._entries, self._left_out
        self._entries, self._bytes, self._left_out = [], 0, 0
        return taken

    def _entry(self, packed: Packed, event: np.void, message: Incoming | None, reason: str) -> Entry | None:
        """Return a message as it came; None where it waited and its bytes are gone (a JSON twin)."""
        arrived_ns = int(event["arrived_ns"])
        if message is not None:
            return Entry(arrived_ns, message.topic, reason, message.payload)
        if event["kind"] != _IMU:
            return None
        packet = packed.packets[int(event["index"])]
        if packet["kind"] != BINARY:
            return None
        device, begin = self._registry.device_rows[int(event["device"])], int(packet["offset"])
        payload = bytes(packed.payload[begin : begin + int(packet["length"])])
        return Entry(arrived_ns, f"{self._in}{device.id}/imu", reason, payload)


class LateLog:
    """The log: a context manager, within which a thread writes. A failure is counted and told, never raised.

    Parameters
    ----------
    folder : Path
        Made where it is absent.
    bytes_max : int
        Of all files together; a record has less than one of `PARTS`.
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._file_bytes_max = bytes_max // PARTS
        self._queue: queue.SimpleQueue[list[Entry] | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="late log", daemon=True)
        self._put_bytes = self._left_out = 0  # of the caller
        self._done_bytes = self._written = self._failed = self._bytes = 0  # of the thread
        self._error = ""
        self._path: Path | None = None
        self._size = 0  # of the file at path

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what is left, if it can be written in time."""
        self._queue.put(None)
        self._thread.join(END_S)

    @property
    def status(self) -> LateLogStatus:
        """How it is."""
        return LateLogStatus(self._written, self._left_out + self._failed, self._bytes, self._error)

    def put(self, entries: list[Entry], left_out: int = 0) -> None:
        """Have messages written, in the order in which they are told; never waits.

        Parameters
        ----------
        entries : list of Entry
        left_out : int
            How many more there were.
        """
        self._left_out += left_out
        if not entries:
            return
        size = sum(entry.size for entry in entries)
        if self._put_bytes - self._done_bytes + size > WAITING_BYTES_MAX:
            self._left_out += len(entries)
            return
        self._put_bytes += size
        self._queue.put(entries)

    def flush(self) -> None:
        """Wait until what was put is written, or for END_S."""
        written = threading.Event()
        self._queue.put(written)
        written.wait(END_S)

    def _run(self) -> None:
        while (entries := self._queue.get()) is not None:
            if isinstance(entries, threading.Event):
                entries.set()
                continue
            try:
                self._write([_line(entry) for entry in entries])
                self._error = ""
            except (OSError, ValueError) as error:  # a topic may be no text that can be written
                self._failed += len(entries)
                self._fail(error)
            self._done_bytes += sum(entry.size for entry in entries)

    def _fail(self, error: OSError | ValueError) -> None:
        """Say what is wrong, once, and begin anew with the next records."""
        told = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if told != self._error:
            with contextlib.suppress(OSError, ValueError):  # a terminal that has gone is no reason to end
                print(f"kinefuse: the late log cannot be written: {told}", file=sys.stderr, flush=True)
        self._error, self._path = told, None

    def _write(self, lines: list[bytes]) -> None:
        """Append lines; those that one file takes at once."""
        while lines:
            path = self._open()
            count, size = 0, self._size
            while count < len(lines) and (not size or size + len(lines[count]) <= self._file_bytes_max):
                size += len(lines[count])
                count += 1
            if count:
                with path.open("ab") as file:
                    file.write(b"".join(lines[:count]))
                self._bytes += size - self._size
                self._written += count
                self._size = size
                lines = lines[count:]
            if lines:
                self._path = self._next(path)
                self._size = 0

    def _open(self) -> Path:
        """Return the file to write to; at first the newest that is there."""
        if self._path is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            files = files_of(self._folder)
            self._bytes = sum(path.stat().st_size for path in files)
            self._path = files[-1] if files else self._folder / "late-00000001.jsonl"
            self._size = self._path.stat().st_size if files else 0
            if self._size and not _is_whole(self._path):  # it was cut off amid a line
                with self._path.open("ab") as file:
                    file.write(b"\n")
                self._size, self._bytes = self._size + 1, self._bytes + 1
        return self._path

    def _next(self, path: Path) -> Path:
        """Return the file after this one; the oldest go, so that it may become as large as any."""
        files = files_of(self._folder)
        while files and self._bytes > self._bytes_max - self._file_bytes_max:
            oldest = files.pop(0)
            size = oldest.stat().st_size
            oldest.unlink()
            self._bytes -= size
        return self._folder / f"late-{_number(path) + 1:08d}.jsonl"


def files_of(folder: Path) -> list[Path]:
    """Return the files of a log, the oldest first."""
    return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name)), key=_number)


def _number(path: Path) -> int:
    found = NAME.fullmatch(path.name)
    assert found is not None, "a file of the log"
    return int(found[1])


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _line(entry: Entry) -> bytes:
    record = Record(entry.arrived_ns // 1_000_000, entry.topic, entry.reason)
    try:
        record.payload = entry.payload.decode()
    except UnicodeDecodeError:
        record.payload_base64 = base64.b64encode(entry.payload).decode()
    return msgspec.json.encode(record) + b"\n"
