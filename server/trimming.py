"""Memory that is free, but lies between what is not, goes back to the system.

What a tick needs for a moment comes from the same heap as what stays, and leaves holes of which the allocator
gives nothing back by itself: half a kilobyte a device with thousands of them. To give it back takes 0.3 ms.
"""

import ctypes
import sys
from collections.abc import Callable


def _found() -> Callable[[int], int] | None:
    """Return glibc's function for it; other systems' allocators have none, and need none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        call: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return call


_malloc_trim = _found()


def trim() -> None:
    """Give back what is free, where the system's C library can."""
    if _malloc_trim is not None:
        _malloc_trim(0)
