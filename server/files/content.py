"""The bytes of a file, unpacked where it is packed with xz, never more than a limit."""

import lzma
from pathlib import Path
from typing import Final

from server.errors import FileError

UNPACKED_MAX: Final = 256 * 2**20  # bytes of one file
XZ_MEMORY_MAX: Final = 128 * 2**20  # bytes that the decoder itself may ask for; xz -9 needs 65 MiB

_XZ_MAGIC: Final = b"\xfd7zXZ\x00"


def load(path: Path, limit: int = UNPACKED_MAX) -> bytes:
    """Return the content of a file, unpacked.

    Raises
    ------
    FileError
        The file cannot be opened, is damaged xz, or is larger than ``limit`` bytes, packed or unpacked.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise FileError(path, (error.strerror or str(error)).lower()) from error
    except ValueError as error:  # a null character in the name
        raise FileError(path, str(error)) from error
    if content.startswith(_XZ_MAGIC):
        content = unpack_xz(content, path, limit)
    if len(content) > limit:
        raise FileError(path, f"larger than {limit // 2**20} MiB")
    return content


def unpack_xz(packed: bytes, path: Path, limit: int = UNPACKED_MAX) -> bytes:
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
