"""Exports of the Sensor Logger app: a folder or zip of CSV files, or the JSON export.

A recording becomes what the phone would have published while it recorded: batches of PERIOD_NS in the app's
own format on its own topic, each row in the batch in which the phone would have delivered it. A row with a
stamp before the start, as the last known position often is, was delivered with the first batch: it goes out
there, with its stamp as it is.

Source: tszheichoi/awesome-sensor-logger (README, PUSHING.md).
"""

import csv
import io
import lzma
import math
import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from server.codecs import sensor_logger
from server.codecs.sensor_logger import Reading
from server.errors import FileError
from server.files.content import UNPACKED_MAX, load, unpacked
from server.files.recording import Event, Recording, command, device_id, device_of
from server.files.timeline import NS_PER_S, SPAN_MAX_NS

TOPIC: Final = "sensor-logger"  # the app's default
PERIOD_NS: Final = 200_000_000

FILES_MAX: Final = 128
EXPORT_MAX: Final = 2 * UNPACKED_MAX  # bytes of all files of an export
JSON_MAX: Final = 64 * 2**20  # bytes; a parsed row takes ten times its text

_TIME_MAX: Final = 2**62
_NOT_SENSORS: Final = frozenset({"metadata"})
_KEYS_APART: Final = frozenset({"time", "seconds_elapsed", "sensor"})
_TWO_WORDS: Final = {
    "wristmotion": "wrist motion",
    "heartrate": "heart rate",
}  # as the app names them on MQTT

# What zipfile raises on content that is no zip, or a packed one that it does not know.
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
)


class Stream(NamedTuple):
    """The rows of one sensor: stamps in ns, one column for each field, NaN where the cell is no number."""

    name: str
    fields: tuple[str, ...]
    t_ns: "array[int]"
    columns: "list[array[float]]"
    texts: dict[tuple[int, int], str]  # what cells hold that are no number, by row and column

    def reading(self, row: int) -> Reading:
        """Return one row as the phone sends it."""
        values: dict[str, float | str] = {}
        for index, name in enumerate(self.fields):
            value = self.columns[index][row]
            if not math.isnan(value):
                values[name] = value
            elif (row, index) in self.texts:
                values[name] = self.texts[row, index]
        return Reading(self.name, self.t_ns[row], values)


@dataclass(frozen=True, kw_only=True)
class PhoneRecording(Recording):
    """An export; ``order`` holds stream and row of each reading by delivery, ``delivered_ns`` its time."""

    session: str
    streams: Sequence[Stream] = field(repr=False)
    order: Sequence[tuple[int, int]] = field(repr=False)
    delivered_ns: Sequence[int] = field(repr=False)

    @property
    def first_ns(self) -> int:
        """Return when the first message is delivered."""
        return self.start_ns

    def _middle(self) -> Iterator[Event]:
        yield self._event(command(self.start_ns, "start", 0, self.sport, self.start_ns))
        last_ns = self.end_ns
        readings: list[Reading] = []
        number = window = 0
        for (stream, row), t_ns in zip(self.order, self.delivered_ns, strict=True):
            at = (t_ns - self.start_ns) // PERIOD_NS
            if at != window and readings:
                yield self._batch(number, window, readings)
                number, readings = number + 1, []
            window = at
            readings.append(self.streams[stream].reading(row))
        if readings:
            last = self._batch(number, window, readings)
            last_ns = max(last_ns, last.t_ns)
            yield last
        yield self._event(command(self.end_ns, "stop", 1, None, self.start_ns))._replace(t_ns=last_ns)

    def _batch(self, number: int, window: int, readings: list[Reading]) -> Event:
        """Return the message of a window; it leaves the phone at its end."""
        payload = sensor_logger.encode(
            device=self.device, session=self.session, message_id=number, readings=readings
        )
        return Event(self.start_ns + (window + 1) * PERIOD_NS, TOPIC, payload, absolute=True)


def read_folder(path: Path) -> Recording:
    """Return the recording in a folder of CSV files, each of them perhaps packed with xz.

    Raises
    ------
    FileError
        The folder holds no export, a file in it cannot be read, or no row has a time.
    """
    try:
        files = sorted(p for p in path.iterdir() if _is_csv(p.name))
    except OSError as error:
        raise FileError(path, (error.strerror or str(error)).lower()) from error
    if len(files) > FILES_MAX:
        raise FileError(path, f"it holds more than {FILES_MAX} CSV files")

    def members() -> Iterator[tuple[str, bytes]]:
        left = EXPORT_MAX
        for file in files:
            content = unpacked(load(file, limit := min(left, UNPACKED_MAX)), file, limit)
            left -= len(content)
            yield file.name, content

    return _recording(path, *_tables(path, members()))


def read(path: Path, content: bytes) -> Recording:
    """Return the recording in the bytes of a zip of CSV files or of the JSON export.

    Raises
    ------
    FileError
        It holds no export, is damaged or too large, or no row has a time.
    """
    if content.startswith(b"PK"):
        return _recording(path, *_tables(path, _unzipped(path, content)))
    return _recording(path, *_json_tables(path, content))


def _is_csv(name: str) -> bool:
    return name.lower().removesuffix(".xz").endswith(".csv")


def _unzipped(path: Path, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the CSV files of a zip, all in the first folder that has any."""
    left = EXPORT_MAX
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [n for n in archive.namelist() if _is_csv(n) and not n.startswith("__MACOSX")]
            folders = sorted({PurePosixPath(n).parent for n in names}, key=lambda p: (len(p.parts), p))
            names = [n for n in names if PurePosixPath(n).parent == folders[0]] if folders else []
            if len(names) > FILES_MAX:
                raise FileError(path, f"it holds more than {FILES_MAX} CSV files")
            for name in names:
                with archive.open(name) as member:
                    data = member.read(min(left, UNPACKED_MAX) + 1)
                data = unpacked(data, path)
                left -= len(data)
                if left < 0 or len(data) > UNPACKED_MAX:
                    raise FileError(path, f"larger than {EXPORT_MAX // 2**20} MiB when unpacked")
                yield PurePosixPath(name).name, data
    except _ZIP_ERRORS as error:
        raise FileError(path, f"damaged zip: {' '.join(str(error).split())[:120]}") from error


Tables = tuple[dict[str, str], list[Stream], int | None, int]  # metadata, streams, start ns, rows left out


def _tables(path: Path, members: Iterable[tuple[str, bytes]]) -> Tables:
    """Return what the CSV files hold; those without a column ``time`` are not of the app."""
    metadata: dict[str, str] = {}
    streams: list[Stream] = []
    start_ns: int | None = None
    lost = 0
    for name, content in members:
        stem = name[: name.lower().index(".csv")]
        try:
            rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
            head = next(rows, [])
            if stem.lower() == "metadata":
                metadata = dict(zip(head, next(rows, []), strict=False))
            elif "time" in head:
                stream, begun_ns, bad = _stream(stem, head, rows)
                streams.append(stream)
                start_ns = begun_ns if start_ns is None else start_ns
                lost += bad
        except UnicodeDecodeError as error:
            raise FileError(path, f"{name} is no text in UTF-8") from error
        except csv.Error as error:
            raise FileError(path, f"{name}: {error}") from error
    return metadata, streams, start_ns, lost


def _json_tables(path: Path, content: bytes) -> Tables:
    """Return what the JSON export holds: a flat list of rows, each with its sensor, numbers as strings."""
    if len(content) > JSON_MAX:
        raise FileError(path, f"JSON larger than {JSON_MAX // 2**20} MiB")
    try:
        elements = msgspec.json.decode(content, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileError(path, f"not a JSON export of Sensor Logger: {error}") from error
    metadata: dict[str, str] = {}
    by_sensor: dict[str, list[dict[str, Any]]] = {}
    for element in elements:
        sensor = str(element.get("sensor"))
        if sensor.lower() == "metadata":
            metadata = {key: str(value) for key, value in element.items()}
        elif "time" in element:
            by_sensor.setdefault(sensor, []).append(element)
    if len(by_sensor) > FILES_MAX:
        raise FileError(path, f"it holds more than {FILES_MAX} sensors")
    streams, start_ns, lost = [], None, 0
    for sensor, rows in by_sensor.items():
        head = list(rows[0])
        cells = (["" if row.get(key) is None else str(row[key]) for key in head] for row in rows)
        stream, begun_ns, bad = _stream(sensor, head, cells)
        streams.append(stream)
        start_ns = begun_ns if start_ns is None else start_ns
        lost += bad
    return metadata, streams, start_ns, lost


def _stream(stem: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> tuple[Stream, int | None, int]:
    """Return the rows of one sensor, when the recording began by the first, and how many had no time."""
    name = stem.lower()
    at = head.index("time")
    elapsed_at = head.index("seconds_elapsed") if "seconds_elapsed" in head else None
    used = [i for i, key in enumerate(head) if key and key not in _KEYS_APART]
    stream = Stream(
        _TWO_WORDS.get(name, name), tuple(head[i] for i in used), array("q"), [array("d") for _ in used], {}
    )
    begun_ns: int | None = None
    lost = 0
    for cells in rows:
        t_ns = _stamp(cells[at]) if len(cells) == len(head) else None
        if t_ns is None:
            lost += bool(cells)
            continue
        if begun_ns is None and elapsed_at is not None:
            elapsed_s = _number(cells[elapsed_at])
            begun_ns = None if not abs(elapsed_s) < 1e9 else t_ns - round(elapsed_s * NS_PER_S)
        row = len(stream.t_ns)
        stream.t_ns.append(t_ns)
        for index, column in enumerate(used):
            value = _number(cells[column])
            stream.columns[index].append(value)
            if math.isnan(value) and cells[column]:
                stream.texts[row, index] = cells[column]
    return stream, begun_ns, lost


def _stamp(text: str) -> int | None:
    """Return a stamp in ns, None where it is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    t_ns = int(text)
    return t_ns if 0 < t_ns <= _TIME_MAX else None


def _number(text: str) -> float:
    """Return the finite number that ``text`` spells, NaN where it spells none."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _recording(
    path: Path, metadata: dict[str, str], streams: list[Stream], begun_ns: int | None, lost: int
) -> PhoneRecording:
    """Return the recording of the streams, each reading at its place in the order of delivery."""
    streams = [s for s in streams if len(s.t_ns)]
    if not streams:
        raise FileError(path, "it holds no Sensor Logger export: no CSV file with rows that have a time")
    t_ns = np.concatenate([np.array(s.t_ns, np.int64) for s in streams])
    which = np.concatenate([np.full(len(s.t_ns), i, np.int32) for i, s in enumerate(streams)])
    row = np.concatenate([np.arange(len(s.t_ns), dtype=np.int64) for s in streams])
    middle = int(np.partition(t_ns, len(t_ns) // 2)[len(t_ns) // 2])
    near = np.abs(t_ns - middle) <= SPAN_MAX_NS
    stamp_ms = _number(metadata.get("recording epoch time", ""))
    start_ns = round(stamp_ms) * 1_000_000 if 0 < stamp_ms < _TIME_MAX / 1e6 else begun_ns
    if start_ns is None or abs(start_ns - middle) > SPAN_MAX_NS:
        start_ns = int(t_ns[near].min())
    delivered = np.maximum(t_ns[near], start_ns)
    order = np.lexsort((t_ns[near], delivered))
    warnings = [f"{lost} rows without a time: left out"] if lost else []
    if strays := int((~near).sum()):
        warnings.append(f"{strays} rows lie more than 7 days from the others: left out")
    if early := int((t_ns[near] < start_ns - NS_PER_S).sum()):
        warnings.append(f"{early} rows are older than the recording: delivered at its start")
    phone = metadata.get("device id", "") or metadata.get("deviceId", "")
    return PhoneRecording(
        path=path,
        kind="sensor_logger",
        device=device_id(phone) if phone else device_of(path),
        model=metadata.get("device name", ""),
        sport=None,
        start_ns=start_ns,
        end_ns=int(delivered.max()),
        records=len(order),
        warnings=tuple(warnings),
        placement="pocket",
        session=f"{start_ns}",
        streams=streams,
        order=list(zip(which[near][order].tolist(), row[near][order].tolist(), strict=True)),
        delivered_ns=delivered[order].tolist(),
    )
