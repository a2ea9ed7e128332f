"""The one module that reads a clock. Everything else is told the time.

Two times leave it, both int64 ns. *Monotonic* time has an arbitrary origin and never jumps: deadlines are
measured on it. *UTC* (Unix epoch) stamps arrivals; it is the monotonic time plus an anchor, so that
small corrections of the system's clock do not step through running workouts. `SystemClock.follow` moves the
anchor where the system's clock has gone ahead.
"""

import time
from typing import Final, Protocol

STEP_NS: Final = 1_000_000_000  # less is not worth a step


class Clock(Protocol):
    """A source of both times; tests own a manual one (``tests/support/clocks.py``)."""

    def monotonic_ns(self) -> int:
        """Return the monotonic time, ns, arbitrary origin."""
        ...

    def utc_ns(self) -> int:
        """Return the anchored UTC, ns since the Unix epoch."""
        ...


class SystemClock:
    """The clock of this machine."""

    def __init__(self) -> None:
        self._anchor_ns = _measure_anchor_ns()

    def monotonic_ns(self) -> int:
        """Return the monotonic time, ns, arbitrary origin."""
        return time.monotonic_ns()

    def utc_ns(self) -> int:
        """Return the anchored UTC, ns since the Unix epoch."""
        return time.monotonic_ns() + self._anchor_ns

    def system_utc_ns(self) -> int:
        """Return the system's UTC as it is now, which others compare with theirs."""
        return time.time_ns()

    def follow(self) -> int:
        """Take over a system's UTC that has gone ahead by more than STEP_NS; return how far it is, ns.

        It has when the machine slept, or when its clock was set. It is not followed back: workouts cannot
        go back in time.
        """
        step_ns = _measure_anchor_ns() - self._anchor_ns
        if step_ns > STEP_NS:
            self._anchor_ns += step_ns
        return step_ns


def _measure_anchor_ns(tries: int = 5) -> int:
    """UTC minus monotonic time, from the try in which the two readings lay closest together."""
    best_ns, anchor_ns = 2**63, 0
    for _ in range(tries):
        before_ns = time.monotonic_ns()
        utc_ns = time.time_ns()
        after_ns = time.monotonic_ns()
        if after_ns - before_ns < best_ns:
            best_ns = after_ns - before_ns
            anchor_ns = utc_ns - (before_ns + after_ns) // 2
    return anchor_ns
