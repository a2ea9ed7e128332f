"""The messages of a FIT file, as far as they can be read.

fitdecode knows the format (Garmin's FIT SDK, "Flexible and Interoperable Data Transfer Protocol"). This
module finds the parts of a chained file, checks them, and reads each up to where it is damaged.
"""

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final, NamedTuple

import fitdecode

from server.errors import FileError
from server.files.timeline import Timeline, number

Fields = dict[str, Any]

RECORDS_MAX: Final = 2_000_000

# What fitdecode raises on bytes that are no FIT: it validates little of what it reads.
_DECODE_ERRORS: Final = (
    fitdecode.FitError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
_KEPT: Final = {"record", "event", "session", "lap", "sport", "hrv", "hr", "file_id"}
_DEVELOPER: Final = {
    3: "heart_rate",
    4: "cadence",
    6: "speed",
    7: "power",
}  # by the native field they stand for


class Message(NamedTuple):
    """A FIT message that is used here."""

    name: str
    fields: Fields


def messages_of(content: bytes, timeline: Timeline) -> Iterator[Message]:
    """Yield the messages of all parts of a chained file, up to what is damaged in each."""
    offset, records = 0, 0
    while len(content) - offset >= 12 and content[offset + 8 : offset + 12] == b".FIT":
        header_size, body_size = content[offset], int.from_bytes(content[offset + 4 : offset + 8], "little")
        start = offset + header_size
        end = start + body_size
        if header_size < 12 or start > len(content):
            break
        if body_size == 0 or end > len(content):
            timeline.warn("the file is cut off or was never closed: read as far as it goes")
            end = len(content)
        elif end + 2 > len(content):
            timeline.warn("the checksum is missing")
        elif checksum(content[offset : end + 2]) != 0:
            timeline.warn("the checksum does not fit: some values may be wrong")
        part = (
            struct.pack("<2BHI4s", 12, content[offset + 1], 0, end - start, b".FIT")
            + content[start:end]
            + b"\0\0"
        )
        try:
            for message in _decoded(part):
                yield message
                records += message.name == "record"
                if records > RECORDS_MAX:
                    raise FileError(timeline.path, f"more than {RECORDS_MAX} records")
        except _DECODE_ERRORS as error:
            cause = " ".join(str(error).split()) or type(error).__name__
            timeline.warn(f"damaged, and read up to there: {cause[:120]}")
        offset = end + 2
    if offset < len(content):
        timeline.warn(f"{len(content) - offset} bytes at the end are not FIT")


def _decoded(part: bytes) -> Iterator[Message]:
    """Yield what is used of one part, field values by name; what a field does not hold is not there."""
    reader = fitdecode.FitReader(
        BytesIO(part),
        processor=None,
        check_crc=fitdecode.CrcCheck.DISABLED,
        error_handling=fitdecode.ErrorHandling.IGNORE,
    )
    with reader:
        for frame in reader:
            if frame.frame_type == fitdecode.FIT_FRAME_DATA and frame.name in _KEPT:
                yield Message(frame.name, _fields(frame))


def _fields(frame: Any) -> Fields:
    """Return the values of a message by name; of developers' fields only those that stand for native ones."""
    fields: Fields = {}
    developed: Fields = {}
    for data in frame.fields:
        if data.value is None:
            continue
        definition = data.field_def
        if definition is None or not definition.is_dev:
            fields[data.field.name if data.field else data.def_num] = data.value
        elif frame.name == "record" and (name := _DEVELOPER.get(data.field.native_field_num)):
            value = number(data.value, 0, 10_000)
            if value is not None and name == "speed" and str(data.units).lower() == "km/h":
                value /= 3.6
            developed[name] = value
    for name, value in developed.items():
        if fields.get(name) is None and value is not None:
            fields[name] = value
    return fields


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def checksum(data: bytes) -> int:
    """Return the CRC-16 of the FIT protocol (0xA001, reflected, from 0); 0 over data followed by its own."""
    crc, table = 0, _CRC_TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc
