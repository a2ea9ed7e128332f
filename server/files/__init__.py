"""Recordings as files: what they hold becomes the messages that a device would send.

FIT, GPX and TCX files, Sensor Logger exports, and the server's own log of late messages. `read` tells the
format by the content, by the suffix only where the content could be anything. What is wrong with a file is a
FileError, one line; no other exception leaves this package for any content.
"""

import importlib
from pathlib import Path
from typing import Final

from server.errors import FileError
from server.files.content import load, unpacked
from server.files.recording import Event, Recording

__all__ = ["FORMATS", "Event", "FileError", "Recording", "from_bytes", "read", "read_all", "recognise"]

FORMATS: Final = ("fit", "gpx", "tcx", "sensor_logger", "late_log")

_HEAD_BYTES: Final = 4096  # comments and declarations before an XML root element are shorter


def read(path: Path) -> Recording:
    """Return the recording in a file or folder.

    Parameters
    ----------
    path : Path
        A FIT, GPX or TCX file, a Sensor Logger export (folder, zip or JSON), or any of these files packed
        with xz.

    Raises
    ------
    FileError
        The file is absent, too large, of another kind, damaged beyond use, or holds no record with a time.
    """
    path = Path(path)
    if path.is_dir():
        from server.files import sensor_logger

        return sensor_logger.read_folder(path)
    return from_bytes(path, load(path))


def read_all(path: Path) -> list[Recording]:
    """Return the recordings in a file or folder: several only in a log of late messages.

    Raises
    ------
    FileError
        As `read`.
    """
    path = Path(path)
    if path.is_dir():
        from server.files import late_log

        return late_log.read_folder(path) if late_log.is_log(path) else [read(path)]
    content = unpacked(load(path), path)
    if recognise(content, path) == "late_log":
        from server.files import late_log

        return late_log.recordings(path, content)
    return [from_bytes(path, content)]


def from_bytes(path: Path, content: bytes) -> Recording:
    """Return the recording in the bytes of a file; ``path`` names it, in errors and for the device.

    Raises
    ------
    FileError
        As `read`.
    """
    content = unpacked(content, path)
    name = recognise(content, path)
    if name is None:
        raise FileError(path, f"not a recording that is known: {_what(content)}")
    # The parsers are imported when one is needed: each costs start-up time that the others need not pay.
    module = importlib.import_module(f"server.files.{name}")
    recording = module.read(path, content)
    assert isinstance(recording, Recording)
    return recording


def recognise(content: bytes, path: Path) -> str | None:
    """Return which of FORMATS the content is, None for none of them."""
    if not content:
        return None
    if content[8:12] == b".FIT":
        return "fit"
    head = content[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"<"):
        if b"<TrainingCenterDatabase" in head:
            return "tcx"
        if b"<gpx" in head:
            return "gpx"
    if content.startswith(b"PK\x03\x04"):
        return "sensor_logger"
    if head.startswith(b"[") and b'"sensor"' in head:
        return "sensor_logger"
    if head.startswith(b'{"t_ms":') and b'"reason":' in head:
        return "late_log"
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".xz"]
    return {".fit": "fit", ".gpx": "gpx", ".tcx": "tcx"}.get(suffixes[-1]) if suffixes else None


def _what(content: bytes) -> str:
    """Say what the content looks like."""
    head = content[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not content:
        return "the file is empty"
    if head[:1] in (b"{", b"["):
        return "it is JSON, but no Sensor Logger export"
    if head.startswith(b"<"):
        return "it is XML, but neither GPX nor TCX"
    if b"\x00" not in head and b"," in head.split(b"\n", 1)[0]:
        return "it looks like CSV; of CSV only the folder or zip of a Sensor Logger export is read"
    return "neither FIT, GPX, TCX nor a Sensor Logger export"
