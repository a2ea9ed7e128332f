"""Event-loop lag: how late a timer fires that should fire ten times a second.

While the loop is held up, all the firings that fall due are late, not only the first: each counts, so that
a stall of a second is not one late firing among thousands that were in time.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import numpy as np

from server.deadlines.budgets import Deadlines

PERIOD_NS: Final = 100_000_000
FIRINGS_MAX: Final = 600  # of one stall: a machine that slept for an hour says no more by 36,000 of them


class LoopLag:
    """The timer.

    Parameters
    ----------
    deadlines : Deadlines
        Whose stage ``loop`` takes what is measured.
    monotonic_ns : callable
        The monotonic clock.

    Attributes
    ----------
    turned_ns : int
        When the timer fired last, monotonic; any thread may read it.
    """

    def __init__(self, deadlines: Deadlines, monotonic_ns: Callable[[], int]) -> None:
        self._deadlines = deadlines
        self._monotonic_ns = monotonic_ns
        self.turned_ns = monotonic_ns()

    async def run(self) -> None:
        """Measure for ever."""
        due_ns = self._monotonic_ns() + PERIOD_NS
        while True:
            await asyncio.sleep(max(0, due_ns - self._monotonic_ns()) * 1e-9)
            due_ns = self.fire(due_ns, self._monotonic_ns())

    def fire(self, due_ns: int, now_ns: int) -> int:
        """Record that the timer of ``due_ns`` fires now, with all that fell due since; return the next."""
        self.turned_ns = now_ns
        firings = max(0, now_ns - due_ns) // PERIOD_NS + 1
        if firings == 1:
            self._deadlines.observe("loop", now_ns - due_ns)
            return due_ns + PERIOD_NS
        late_ns = now_ns - due_ns - PERIOD_NS * np.arange(min(firings, FIRINGS_MAX), dtype=np.int64)
        self._deadlines.observe_many("loop", late_ns)
        return due_ns + firings * PERIOD_NS
