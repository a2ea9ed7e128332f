"""A readable twin of csrc/lanes.c for one athlete: the oracle that the core's lanes are held to."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

STEP_NS = 1_000_000_000
LIFESPAN_NS = 10_000_000_000  # older than this behind the newest measurement: no use any more
JUMP_NS = 24 * 3600 * 1_000_000_000  # a recording does not skip a day: such a stamp is an error
SAMPLES_MAX = 50  # measurements of one kind that a step takes in: ten times what honest devices send
JOBS_MAX = 100_000  # jobs that may wait in a lane: a day of steps; whoever is further behind is refused
CLOCK_SET_NS = 700 * 1_000_000_000  # no live start is so far back, but after the server's clock was set
CATCH_UP_NS = 600 * 1_000_000_000  # over a longer silence one step is enough


Cause = tuple[int, int, int]  # device's row, boot, seq


class Item(NamedTuple):
    """One measurement: the index of its array in ``fusion.measurements.DTYPES`` and its record."""

    kind: int
    record: tuple[Any, ...]  # (row, t_ns, ...)


class Step(NamedTuple):
    """A step of the models at ``due_ns`` with what is to be taken in. ``publish``: it stands on the grid."""

    due_ns: int
    items: list[Item]
    cause: Cause | None
    received_ns: int
    publish: bool


class Order(NamedTuple):
    """A command that takes effect at ``t_ns``, between two steps."""

    t_ns: int
    action: str


@dataclass(slots=True)
class Lane:
    """One athlete's queue of measurements and the jobs that follow from it."""

    row: int
    phase_ns: int
    recorded: bool = False  # a recording is played: it may start again from its begin
    watermark_ns: int | None = None  # the newest aligned time seen
    due_ns: int = 0
    held: list[Item] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)  # of what is held, by kind
    jobs: deque[Step | Order] = field(default_factory=deque)

    def reset(self, t_ns: int) -> None:
        """Begin anew at ``t_ns``: a recording starts (again), or the clock was set."""
        self.held.clear()
        self.counts.clear()
        self.watermark_ns = t_ns
        self.due_ns = self._grid_after(t_ns)

    def forget(self) -> None:
        """Be as one to whom no measurement has come."""
        self.held.clear()
        self.counts.clear()
        self.watermark_ns = None

    def refusal(self, t_ns: int, kind: int = -1) -> str | None:
        """Return why a measurement of ``t_ns`` is of no use, or None when it is."""
        if self.counts[kind] >= SAMPLES_MAX or len(self.jobs) >= JOBS_MAX:
            return "too_fast"
        if self.watermark_ns is None:
            return None
        if t_ns < self.watermark_ns - LIFESPAN_NS:
            return "stale"
        if t_ns > self.watermark_ns + JUMP_NS:
            return "time_jump"
        return None

    def feed(self, item: Item, cause: Cause | None, received_ns: int) -> None:
        """Take in a measurement that ``refusal`` found to be of use; steps that it makes due are queued."""
        t_ns: int = item.record[1]
        if self.watermark_ns is None:
            self.reset(t_ns)
        self.held.append(item)
        self.counts[item.kind] += 1
        self.advance_to(t_ns, cause, received_ns)

    def advance_to(self, t_ns: int, cause: Cause | None, received_ns: int) -> None:
        """Aligned time has reached ``t_ns``: queue the steps that are due."""
        if self.watermark_ns is None or t_ns > self.watermark_ns:
            self.watermark_ns = t_ns
        while self.due_ns <= t_ns:
            self.jobs.append(Step(self.due_ns, self._take(self.due_ns), cause, received_ns, publish=True))
            self.due_ns += STEP_NS
            if t_ns - self.due_ns > CATCH_UP_NS:
                self.due_ns = self._grid_after(t_ns - STEP_NS)

    def skip_to(self, t_ns: int) -> None:
        """Leave out the steps before the last one that is due at ``t_ns``."""
        self.due_ns = max(self.due_ns, self._grid_after(t_ns - STEP_NS))

    def order(self, action: str, t_ns: int, received_ns: int) -> None:
        """Queue a command behind all measurements up to its time; one that comes too late takes effect now.

        Only a recording's start turns time back, and any start after the server's clock was set.
        """
        back_ns = LIFESPAN_NS if self.recorded else CLOCK_SET_NS
        if self.watermark_ns is None or (
            action == "start" and not -back_ns < t_ns - self.watermark_ns < JUMP_NS
        ):
            self.reset(t_ns)
        elif t_ns <= self.watermark_ns - LIFESPAN_NS:
            t_ns = self.watermark_ns
        until_ns = t_ns - (action == "start")  # what has its time belongs to what it starts
        self.advance_to(until_ns, None, received_ns)
        items = self._take(until_ns)
        if items:
            self.jobs.append(Step(until_ns, items, None, received_ns, publish=False))
        self.jobs.append(Order(t_ns, action))

    def _take(self, due_ns: int) -> list[Item]:
        taken = [item for item in self.held if item.record[1] <= due_ns]
        if len(taken) == len(self.held):
            self.held.clear()
            self.counts.clear()
        elif taken:
            self.held = [item for item in self.held if item.record[1] > due_ns]
            self.counts = Counter(item.kind for item in self.held)
        return taken

    def _grid_after(self, t_ns: int) -> int:
        return (t_ns - self.phase_ns) // STEP_NS * STEP_NS + STEP_NS + self.phase_ns
