"""What turns arrivals into publications, as the shell around it sees it: one engine, or several.

`Alone` is the engine in the server's own process; `server.workers.pool.Pool` has one in each of several.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, Protocol, Self

from server.clock import Clock
from server.config import Config
from server.deadlines import Deadlines
from server.engine import Engine
from server.envelopes import Arrivals
from server.figures import GOODBYE_S, Figures, ended, figures
from server.frames import Topics
from server.late import Entry
from server.messages import DropCause, MissCause, WorkerStatus
from server.publishers import Publishers


class Work(Protocol):
    """An asynchronous context manager: within it there is somebody to work.

    Parameters
    ----------
    config : Config
        Athletes, devices, limits, and how many workers there are.
    clock : Clock
        The time.
    on_change : callable
        Called when the mode has changed, when a worker has died, and when it works again.
    on_late : callable
        Called with messages that came too late, and how many more there were, where they are kept.

    Attributes
    ----------
    topics : Topics
        By which the link tells devices apart.
    deadlines : Deadlines
        What is observed of all that works.
    behind : bool
        True while work is left: `take` is to be called again soon, if with nothing.
    """

    topics: Topics
    deadlines: Deadlines
    behind: bool

    @property
    def dropped(self) -> dict[DropCause, int]:
        """Arrivals for which nobody had time, or that ended with who worked on them, by cause."""
        ...

    @property
    def missed(self) -> dict[MissCause, int]:
        """Updates that nobody made, by cause."""
        ...

    async def __aenter__(self) -> Self:
        """Have somebody to work."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave nobody behind."""
        ...

    async def ready(self) -> None:
        """Wait until all are ready to work; raise what keeps them from it."""
        ...

    def bind(self, publishers: Publishers) -> None:
        """Give results to a link, and confirm to it what was worked on."""
        ...

    def take(self, arrivals: list[Arrivals], heard_ns: int | None = None) -> None:
        """Have arrivals worked on, perhaps none: time passes; ``heard_ns`` as of `Engine.advance`."""
        ...

    async def wait(self) -> NoReturn:
        """Raise what ends the work, if anything does."""
        ...

    async def goodbye(self) -> int:
        """End the open workouts; return how many had to be ended without a summary."""
        ...

    def connected(self, *, is_connected: bool) -> None:
        """Tell whether there is a broker: while there is none, no device is silent."""
        ...

    def figures(self) -> Figures:
        """Return how all of it is."""
        ...

    def refused(self) -> dict[str, int]:
        """Return how many messages were refused, by reason: it may take a look at each device."""
        ...

    def workers(self) -> list[WorkerStatus]:
        """Return how each process is, but for the server's own."""
        ...


class Alone:
    """One engine, in this process; made as `Work` says."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        on_change: Callable[[], None],
        on_late: Callable[[list[Entry], int], None],
    ) -> None:
        self._engine = Engine(config, clock.monotonic_ns)
        self._clock = clock
        self._on_change = on_change
        self._on_late = on_late
        self._publishers: Publishers | None = None
        self.topics = self._engine.topics
        self.deadlines = self._engine.deadlines
        self.behind = False

    async def __aenter__(self) -> Self:
        """The engine is there."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """It ends with the process."""

    async def ready(self) -> None:
        """It was made ready."""

    def bind(self, publishers: Publishers) -> None:
        """Give results to these."""
        self._publishers = publishers

    @property
    def dropped(self) -> dict[DropCause, int]:
        """The engine drops nothing."""
        return {}

    @property
    def missed(self) -> dict[MissCause, int]:
        """It makes all updates, or counts what it gives up."""
        return {}

    def take(self, arrivals: list[Arrivals], heard_ns: int | None = None) -> None:
        """Advance, confirm, publish."""
        publishers = self._publishers
        assert publishers is not None, "bound first"
        engine, clock = self._engine, self._clock
        woke_ns = clock.monotonic_ns()
        out = engine.advance(arrivals, clock.utc_ns(), heard_ns)
        self.behind = engine.behind
        self._on_late(*engine.late.take())
        publishers.link.done(arrivals)
        began_ns = clock.monotonic_ns()
        publishers.publish_all(out)
        now_ns = clock.monotonic_ns()
        if out:
            self.deadlines.observe("publish", now_ns - began_ns)
        if engine.observe(now_ns, now_ns - woke_ns, now_ns - arrivals[0].received_ns if arrivals else 0):
            self._on_change()

    async def wait(self) -> NoReturn:
        """Wait for ever: a bug is raised by `take`."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody has this future")

    async def goodbye(self) -> int:
        """End the open workouts, within `GOODBYE_S`."""
        publishers = self._publishers
        assert publishers is not None, "bound first"
        until_ns = self._clock.monotonic_ns() + int(GOODBYE_S * 1e9)
        for each in ended(self._engine, self._clock, until_ns):
            publishers.publish_all([each])
        self._on_late(*self._engine.late.take())
        return self._engine.schedule.open_workouts

    def connected(self, *, is_connected: bool) -> None:
        """Tell whether there is a broker."""
        if is_connected:
            self._engine.streams.resume(self._clock.utc_ns())
        else:
            self._engine.streams.pause()

    def figures(self) -> Figures:
        """Return how the engine is."""
        return figures(self._engine)

    def refused(self) -> dict[str, int]:
        """Return how many messages were refused, by reason."""
        return self._engine.health.refused()

    def workers(self) -> list[WorkerStatus]:
        """There are none."""
        return []
