"""The bytes of a file, unpacked where it is packed with xz; never more than a limit."""

import lzma
from pathlib import Path
from typing import Final

from server.errors import FileError

UNPACKED_MAX: Final = 256 * 2**20  # bytes of one file
XZ_MEMORY_MAX: Final = 128 * 2**20  # bytes that the decoder itself may ask for; xz -9 needs 65 MiB

_XZ_MAGIC: Final = b"\xfd7zXZ\x00"


def load(path: Path, limit: int = UNPACKED_MAX) -> bytes:
    """Return the bytes of a file as they are.

    Raises
    ------
    FileError
        The file cannot be opened, is no regular file, or is larger than ``limit`` bytes.
    """
    try:
        if path.exists() and not path.is_file():
            raise FileError(path, "not a file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise FileError(path, (error.strerror or str(error)).lower()) from error
    except ValueError as error:  # a null character in the name
        raise FileError(path, str(error)) from error
    if len(content) > limit:
        raise FileError(path, f"larger than {limit // 2**20} MiB")
    return content


def unpacked(content: bytes, path: Path, limit: int = UNPACKED_MAX) -> bytes:
    """Return the content, unpacked where it is packed with xz; ``path`` is named in errors.

    Raises
    ------
    FileError
        It is damaged xz, or larger than ``limit`` bytes when unpacked.
    """
    return _unpacked(content, path, limit) if content.startswith(_XZ_MAGIC) else content


def _unpacked(packed: bytes, path: Path, limit: int) -> bytes:
    """Return what ``packed`` holds, of its first stream; at most ``limit`` + 1 bytes are ever unpacked."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_MAX)
    try:
        content = decoder.decompress(packed, max_length=limit + 1)
    except (lzma.LZMAError, EOFError, MemoryError) as error:
        raise FileError(path, f"damaged xz: {error}") from error
    if len(content) > limit:
        raise FileError(path, f"larger than {limit // 2**20} MiB when unpacked")
    if not decoder.eof:
        raise FileError(path, "damaged xz: it is cut off")
    return content
