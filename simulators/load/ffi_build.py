"""Build simulators.load._load from the C files here; the fenced part of load.h defines its interface."""

from pathlib import Path

from cffi import FFI

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
OPENING = "/* [cffi]"
CLOSING = "/* [/cffi] */"


def declarations(header: str) -> str:
    """Return what stands between the marks of ``header``; ValueError where a mark is missing."""
    body = header[header.index(OPENING) : header.index(CLOSING)]
    return body[body.index("*/") + 2 :]


ffi = FFI()
ffi.cdef(declarations((FOLDER / "load.h").read_text(encoding="utf-8")))
ffi.set_source(
    "simulators.load._load",
    '#include "load.h"',
    sources=[str(path.relative_to(ROOT)) for path in sorted(FOLDER.glob("*.c")) if path.name != "_load.c"],
    include_dirs=[str(FOLDER.relative_to(ROOT))],
    depends=[str(path.relative_to(ROOT)) for path in sorted(FOLDER.glob("*.h"))],
    extra_compile_args=["-std=c11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"],
    py_limited_api=True,
    define_macros=[("Py_LIMITED_API", "0x030b0000")],
)
