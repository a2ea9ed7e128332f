"""Build fusion._core from the C core; the fenced parts of kinefuse/*.h alone define its interface."""

import re
from pathlib import Path

from cffi import FFI

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
OPENING = "/* [cffi]"
CLOSING = "/* [/cffi] */"


def declarations(header: str) -> str:
    """Return what stands between the marks of ``header``; ValueError where a mark is missing."""
    body = header[header.index(OPENING) : header.index(CLOSING)]
    return body[body.index("*/") + 2 :]


def contract() -> str:
    """Return the declarations of all parts of kinefuse.h, in the order in which it names them."""
    parts = re.findall(r'^#include "(kinefuse/.*)"', (FOLDER / "kinefuse.h").read_text("utf-8"), re.MULTILINE)
    return "".join(declarations((FOLDER / part).read_text("utf-8")) for part in parts)


def sources() -> list[str]:
    """Return the C files of the core, relative to the root, in the order of their names."""
    return [str(path.relative_to(ROOT)) for path in sorted(FOLDER.glob("*.c")) if path.name != "_core.c"]


ffi = FFI()
ffi.cdef(contract())
ffi.set_source(
    "fusion._core",
    '#include "kinefuse.h"',
    sources=sources(),
    include_dirs=["csrc"],
    depends=[str(path.relative_to(ROOT)) for path in sorted(FOLDER.rglob("*.h"))],
    extra_compile_args=[
        *("-std=c11", "-O3", "-fno-tree-vectorize", "-fvisibility=hidden"),  # lanes are ours, calls are local
        *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra"),
    ],
    libraries=["m"],
    py_limited_api=True,
    define_macros=[("Py_LIMITED_API", "0x030b0000")],
)
