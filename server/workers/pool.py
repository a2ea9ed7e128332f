"""All workers together: arrivals are spread over them, and what they have to say comes together here."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NoReturn, Self

from server.clock import Clock
from server.config import Config
from server.deadlines import Deadlines
from server.deadlines.rules import Cause
from server.envelopes import Arrivals, Outgoing
from server.figures import GOODBYE_S, Figures
from server.late import Entry
from server.messages import DropCause, MissCause, StreamState, WorkerStatus
from server.overload import MODES, Mode
from server.publishers import Publishers
from server.workers.member import Member
from server.workers.routing import Part, Router
from server.workers.wire import Answer

END_S = 0.5  # what ending may take beyond what a worker is given for it


class Pool:
    """The workers of a server; made as `server.work.Work` says."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        on_change: Callable[[], None],
        on_late: Callable[[list[Entry], int], None],
    ) -> None:
        count = config.server.workers
        self._clock = clock
        self._publishers: Publishers | None = None
        self._router = Router(config, count)
        self._on_change = on_change
        self._on_late = on_late
        self.topics = self._router.topics
        self.deadlines = Deadlines(config.deadlines)
        self.behind = False  # who is, goes on by itself
        self._members = [
            Member(
                number,
                own,
                count,
                clock,
                births=partial(self._router.births.of, number),
                on_answer=partial(self._answered, number),
                on_done=self._done,
                on_change=self._changed,
            )
            for number, own in enumerate(self._router.configs())
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._is_open = False
        self._mode: Mode = "full"

    @property
    def dropped(self) -> dict[DropCause, int]:
        """Arrivals that a worker had no time for, or that ended with one."""
        return dict(sum((member.lost for member in self._members), Counter[DropCause]()))

    @property
    def missed(self) -> dict[MissCause, int]:
        """Updates that athletes did not get since their worker had died."""
        count = sum(member.status.missed for member in self._members)
        return {"worker_died": count} if count else {}

    async def __aenter__(self) -> Self:
        """Start all."""
        self._tasks = [asyncio.create_task(each.run(), name=each.name) for each in self._members]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all."""
        self._is_open = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ready(self) -> None:
        """Wait until all work."""
        ready = asyncio.create_task(self._all_ready(), name="workers")
        try:
            await asyncio.wait([ready, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                await self.wait()
        finally:
            ready.cancel()
        self._is_open = True

    def bind(self, publishers: Publishers) -> None:
        """Give results to these."""
        self._publishers = publishers

    def take(self, arrivals: list[Arrivals], heard_ns: int | None = None) -> None:
        """Send each worker its part."""
        for arrival in arrivals:
            for worker, part in self._router.parts(arrival):
                self._members[worker].put(part)
        for member in self._members:
            member.heard_ns = heard_ns
            member.pump()

    async def wait(self) -> NoReturn:
        """Raise what ended a worker for good."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done():
                task.result()
        raise AssertionError("a worker is kept running until it fails")

    async def goodbye(self) -> int:
        """Have all end their open workouts, within `GOODBYE_S`."""
        self._is_open = False
        endings = [member.end(GOODBYE_S) for member in self._members]
        await asyncio.wait(endings, timeout=GOODBYE_S + END_S)
        return sum(
            ending.result() if ending.done() else member.figures.workouts
            for ending, member in zip(endings, self._members, strict=True)
        )

    def connected(self, *, is_connected: bool) -> None:
        """Tell all whether there is a broker."""
        for member in self._members:
            member.connected(is_connected=is_connected)

    def figures(self) -> Figures:
        """Return how all are together."""
        total = Figures()
        given_up, streams, faults = Counter[str](), Counter[StreamState](), Counter[Cause]()
        for own in (each for member in self._members for each in (member.figures, member.past)):
            total.devices += own.devices
            total.athletes += own.athletes
            total.workouts += own.workouts
            total.jobs += own.jobs
            total.recoveries += own.recoveries
            total.forgotten += own.forgotten
            total.mode = max(total.mode, own.mode, key=MODES.index)
            given_up.update(own.given_up)
            streams.update(own.streams)
            faults.update(own.faults)
        total.given_up, total.streams, total.faults = dict(given_up), dict(streams), dict(faults)
        return total

    def refused(self) -> dict[str, int]:
        """Return how many messages were refused, by reason, in all lives."""
        total = Counter[str]()
        for member in self._members:
            total.update(member.refused)
        return dict(total)

    def workers(self) -> list[WorkerStatus]:
        """Return how each is."""
        return [member.status for member in self._members]

    async def _all_ready(self) -> None:
        for member in self._members:
            await member.ready.wait()

    def _answered(self, number: int, answer: Answer) -> None:
        """Publish what a worker says."""
        began_ns = self._clock.monotonic_ns()
        for device in answer.forgotten:
            self._router.topics.remove(device)
        for device in answer.enrolled:
            self._router.enrolled(device)
        if answer.late or answer.late_left_out:
            self._on_late(answer.late, answer.late_left_out)
        if answer.report is not None:
            self.deadlines.add(answer.report.times)
            self.deadlines.history.take_in(answer.report.misses)
            if (mode := self.figures().mode) != self._mode:
                self._mode = mode
                self._changed()
        publishers = self._publishers
        if publishers is None or not (answer.caused_ns or answer.assured):
            return
        publishers.publish_frames(answer.frames, answer.caused_ns, number)
        publishers.publish_all([Outgoing(*each) for each in answer.assured])
        self.deadlines.observe("publish", self._clock.monotonic_ns() - began_ns)

    def _done(self, parts: list[Part]) -> None:
        if self._publishers is not None:
            self._publishers.link.done([part.receipt for part in parts if part.receipt is not None])

    def _changed(self) -> None:
        if self._is_open:
            self._on_change()
