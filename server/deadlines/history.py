"""The history of misses, each with what the server was doing: a ring, and what the garbage collector took."""

import gc
import mmap
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from server.deadlines.report import Doing, Miss, Stage

KEPT: Final = 256
FULL: Final = 2  # the oldest generation
LONG_NS: Final = 5_000_000
_STATM: Final = Path("/proc/self/statm")
TOLD: Final = 5  # of the newest, in each report


class History:
    """The newest misses, and the context that the next ones will have.

    The engine and its shell keep ``doing`` up to date; a miss takes a copy of it. All misses of one stage in
    one tick are one entry, so that a tick of thousands pushes nothing else out.

    Attributes
    ----------
    doing : Doing
        What the server does now.
    """

    def __init__(self) -> None:
        self.doing = Doing()
        self._misses: deque[Miss] = deque(maxlen=KEPT)
        self._of_tick: dict[Stage, Miss] = {}
        self._t_ms = 0

    def begin_tick(self, t_ms: int, messages: int) -> None:
        """Say that a tick begins at ``t_ms`` (UTC, ms), and how many messages it takes in."""
        self._of_tick.clear()
        self._t_ms = t_ms
        doing = self.doing
        doing.messages, doing.steps, doing.jobs, doing.gc_ms = messages, 0, 0, 0.0

    def add(self, stage: Stage, count: int, took_ns: int, budget_ns: int) -> None:
        """Record ``count`` misses, the longest of which took ``took_ns``."""
        took_ms = took_ns / 1e6
        miss = self._of_tick.get(stage)
        if miss is None:
            doing = msgspec.structs.replace(self.doing)
            miss = self._of_tick[stage] = Miss(self._t_ms, stage, 0, took_ms, budget_ns / 1e6, doing)
            self._misses.append(miss)
        miss.count += count
        if took_ms >= miss.took_ms:  # the context is the worst one's
            miss.took_ms = took_ms
            miss.doing = msgspec.structs.replace(self.doing)

    def take(self) -> list[Miss]:
        """Return the entries since the last time, the oldest first, and forget them."""
        misses = list(self._misses)
        self._misses.clear()
        self._of_tick.clear()
        return misses

    def take_in(self, misses: list[Miss]) -> None:
        """Record entries of another process."""
        self._misses.extend(misses)

    def newest(self, count: int = TOLD) -> list[Miss]:
        """Return the newest entries, the newest first."""
        return [self._misses[-place] for place in range(1, min(count, len(self._misses)) + 1)]


class Collections:
    """What the garbage collector takes, as a context manager.

    What has outlived a full collection that took long is not looked at again: with thousands of devices each
    look would hold up everything for a tenth of a second. Where there is little that is new none takes long,
    so what lives for a while only is collected as ever. `thaw` is for where something may have ended that
    lived so long.

    Parameters
    ----------
    monotonic_ns : callable
        The monotonic clock.
    doing : Doing
        Whose ``gc_ms`` grows by each collection.

    Attributes
    ----------
    count, taken_ns : int
        Collections so far, and the time that they took.
    """

    def __init__(self, monotonic_ns: Callable[[], int], doing: Doing) -> None:
        self.count = self.taken_ns = 0
        self._monotonic_ns = monotonic_ns
        self._doing = doing
        self._began_ns = 0

    def __enter__(self) -> Self:
        gc.callbacks.append(self._collecting)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._collecting)
        self.thaw()

    def thaw(self) -> None:
        """Have the next full collection look at everything."""
        gc.unfreeze()

    def _collecting(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began_ns = self._monotonic_ns()
        elif self._began_ns:
            taken_ns = self._monotonic_ns() - self._began_ns
            self._began_ns = 0
            self.count += 1
            self.taken_ns += taken_ns
            if info["generation"] == FULL and taken_ns > LONG_NS:
                gc.freeze()
            self._doing.gc_ms = round(self._doing.gc_ms + taken_ns * 1e-6, 3)


def rss_bytes() -> int:
    """Return the resident memory of this process; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0
