"""One worker as its parent sees it: started, fed, watched, and started again when it dies."""

import asyncio
import contextlib
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Literal, TypeVar

import msgspec

from server.brokers.process import Child
from server.clock import Clock
from server.config import Config
from server.errors import WorkerError
from server.figures import Figures
from server.inbox import Inbox
from server.messages import DropCause, WorkerStatus
from server.workers.missed import Missed
from server.workers.pipe import Pipe
from server.workers.routing import Part, part_count, part_size
from server.workers.wire import Answer, Connected, End, Ended, Tick, decode_for_parent, encode

WINDOW: Final = 2  # ticks on their way: one that is worked on, and the next
BATCH_MAX: Final = 4096  # messages in one tick
SILENT_S: Final = 10.0  # a worker tells of itself once a second: who does not for so long hangs
START_S_MAX: Final = 30.0
BACKOFF_MIN_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0
STABLE_S: Final = 60.0  # who has lived so long starts the backoff anew
BUGS_MAX: Final = 5  # within
BUGS_S: Final = 60.0
END_S: Final = 0.5
BEHIND_S: Final = 1.0  # who works on what arrived so long ago has not caught up

Name = TypeVar("Name", bound=str)


class Member:
    """A worker, through all its lives.

    Parameters
    ----------
    number : int
        Which it is, from 0.
    config : Config
        Its own.
    share : int
        How many workers there are: the bounds of the inbox are shared.
    clock : Clock
        Whose UTC it has, too.
    births : callable
        Returns what its devices said of themselves, as frames.
    on_answer : callable
        Called with each answer.
    on_done : callable
        Called with parts that were worked on, or never will be.
    on_change : callable
        Called when it has died, and when it works again.

    Attributes
    ----------
    lost : Counter of str
        Messages that it had no time for, or that ended with one of its lives.
    missed : Missed
        Updates that its athletes did not get since it died.
    heard_ns : int or None
        UTC, ns, up to which all that had arrived was put; None: all was.
    ready : asyncio.Event
        Set while it works.
    left : asyncio.Future of int
        Done once it has ended its workouts: how many without a summary.
    """

    def __init__(
        self,
        number: int,
        config: Config,
        share: int,
        clock: Clock,
        *,
        births: Callable[[], bytes],
        on_answer: Callable[[Answer], None],
        on_done: Callable[[list[Part]], None],
        on_change: Callable[[], None],
    ) -> None:
        self.name = f"worker {number + 1}"
        self.figures = Figures()
        self.past = Figures()  # what earlier lives counted
        self.refused: dict[str, int] = {}  # in all its lives
        self.lost: Counter[DropCause] = Counter()
        self.missed = Missed()
        self.heard_ns: int | None = None
        self.ready = asyncio.Event()
        self.left: asyncio.Future[int] | None = None
        self._settings = msgspec.json.encode(config)
        self._clock = clock
        self._births = births
        self._on_answer = on_answer
        self._on_done = on_done
        self._on_change = on_change
        self._state: Literal["starting", "running", "restarting"] = "starting"
        self._restarts = 0
        self._queue = Inbox[Part](
            max(BATCH_MAX, config.server.inbox_messages_max // share),
            max(config.server.payload_bytes_max + 2**17, config.server.inbox_bytes_max // share),
            size=part_size,
            count=part_count,
        )
        self._queue.on_drop = self._drop
        self._on_way: deque[tuple[int, list[Part]]] = deque()  # ticks, by their numbers
        self._number = 0
        self._told_ns: int | None = None  # the newest tick's heard_ns
        self._child: Child | None = None
        self._pipe: Pipe | None = None
        self._heard_s = 0.0
        self._is_connected = False
        self._traceback = False
        self._bugs: deque[float] = deque(maxlen=BUGS_MAX + 1)
        self._before: dict[str, int] = {}  # refused in earlier lives

    @property
    def status(self) -> WorkerStatus:
        """How it is."""
        self.missed.look(self._now_s())
        pid = self._child.pid if self._child is not None and self._child.returncode is None else None
        counts = (self.figures.devices, self.figures.athletes)
        told = (*counts, self.lost.total(), self.missed.count)
        return WorkerStatus(pid or 0, self._state, self._restarts, *told)

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() * 1e-9

    def put(self, part: Part) -> None:
        """Have a part worked on in its turn; the oldest make room for it."""
        self._queue.put(part)

    def pump(self) -> None:
        """Send what may be on its way now."""
        pipe = self._pipe
        if pipe is None or self.left is not None or not self.ready.is_set():
            return
        # Also where nothing is for it: what waits for others ends, and it would go on waiting for that.
        while (len(self._queue) or self._told_ns != self.heard_ns) and len(self._on_way) < WINDOW:
            parts = self._queue.take(BATCH_MAX)
            self._told_ns = parts[-1].arrived_ns if len(self._queue) else self.heard_ns
            told = [(part.data, part.arrived_ns, part.received_ns) for part in parts]
            self._send(pipe, told, self._told_ns)
            self._on_way.append((self._number, parts))

    def connected(self, *, is_connected: bool) -> None:
        """Tell it whether there is a broker."""
        self._is_connected = is_connected
        if self._pipe is not None:
            self._pipe.send(encode(Connected(is_connected)))

    def end(self, within_s: float) -> "asyncio.Future[int]":
        """Have the open workouts ended; the result tells how many were left without a summary."""
        self.pump()
        self.left = asyncio.get_running_loop().create_future()
        if self._pipe is None or not self.ready.is_set():
            self.left.set_result(0)  # they died with it, which was told
        else:
            self._pipe.send(encode(End(within_s)))
        return self.left

    async def run(self) -> None:
        """Keep it running.

        Raises
        ------
        WorkerError
            A bug ends it again and again.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began_s = loop.time()
            child = await self._live()
            failures = 0 if loop.time() - began_s > STABLE_S else min(failures + 1, 16)
            self._bury(child)
            if self._traceback:
                self._bugs.append(loop.time())
                if len(self._bugs) > BUGS_MAX and loop.time() - self._bugs[0] < BUGS_S:
                    raise WorkerError(child.last_words())
            await asyncio.sleep(min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2.0 ** max(0, failures - 1)))
            self._restarts += 1

    async def _live(self) -> Child:
        """One life, from its start until it is gone."""
        here, there = socket.socketpair()
        command = [sys.executable, "-m", "server.workers.worker", "--fd", str(there.fileno())]
        self._traceback = False
        self._child = child = Child(
            self.name, command, stdin=self._settings, on_line=self._line, pass_fds=[there.fileno()]
        )
        watching: asyncio.Task[None] | None = None
        try:
            with there:
                await child.start()
            self._pipe = pipe = await Pipe.over(here)
            self._heard_s = asyncio.get_running_loop().time()
            watching = asyncio.create_task(self._watch(child), name=f"watch of {self.name}")
            await self._listen(pipe)
            await child.stop(END_S)  # it leaves by itself; who does not is ended
        finally:
            if watching is not None:
                watching.cancel()
            if self._pipe is not None:
                self._pipe.close()
            else:
                here.close()
            self._pipe = None
            await asyncio.shield(child.stop(END_S))
        return child

    async def _listen(self, pipe: Pipe) -> None:
        """Take answers until it is gone."""
        pipe.send(encode(Connected(self._is_connected)))
        self._told_ns = None
        births = self._births()
        if births:
            self._send(pipe, [(births, self._clock.utc_ns(), self._clock.monotonic_ns())])
        while messages := await pipe.receive():
            self._heard_s = asyncio.get_running_loop().time()
            for message in messages:
                said = decode_for_parent(message)
                if isinstance(said, Ended):
                    if self.left is not None and not self.left.done():
                        self.left.set_result(said.left)
                    continue
                self._answered(said)
            self.pump()

    def _answered(self, answer: Answer) -> None:
        now_s = self._now_s()
        while self._on_way and self._on_way[0][0] <= answer.done:
            parts = self._on_way.popleft()[1]
            if parts and now_s - parts[-1].received_ns * 1e-9 > BEHIND_S:
                self.missed.back(now_s)
            self._on_done(parts)
        self.missed.told(answer.updates, now_s)
        if answer.report is not None:
            given_up = _not_told(answer.report.figures) - _not_told(self.figures)
            self.missed.told(given_up, now_s)
            self.missed.reported(answer.report.figures.updated, now_s)
            self.figures = answer.report.figures
            self.refused = dict(self._before)
            _add(self.refused, answer.report.refused)
        self._on_answer(answer)
        if not self.ready.is_set():
            self.ready.set()
            self._state = "running"
            self.missed.back(now_s)
            self._on_change()

    def _send(self, pipe: Pipe, parts: list[tuple[bytes, int, int]], heard_ns: int | None = None) -> None:
        self._number += 1
        anchor_ns = self._clock.utc_ns() - self._clock.monotonic_ns()
        pipe.send(encode(Tick(self._number, anchor_ns, parts, heard_ns)))

    async def _watch(self, child: Child) -> None:
        """End a worker that hangs."""
        loop = asyncio.get_running_loop()
        while True:
            limit_s = SILENT_S if self.ready.is_set() else START_S_MAX
            remaining_s = self._heard_s + limit_s - loop.time()
            if remaining_s <= 0:
                _say(f"{self.name} has said nothing for {limit_s:g} s and is ended")
                child.kill()
                return
            await asyncio.sleep(min(remaining_s, 1.0))

    def _bury(self, child: Child) -> None:
        """Count what went with it, and say so."""
        lost = sum(part.messages for _, parts in self._on_way for part in parts)
        if lost:
            self.lost["worker_died"] += lost
        self.missed.died(self._now_s())
        for _, parts in self._on_way:
            self._on_done(parts)
        self._on_way.clear()
        workouts, gone, self.figures = self.figures.workouts, self.figures, Figures()
        _add(self.past.given_up, gone.given_up)
        _add(self.past.faults, gone.faults)
        self.past.recoveries += gone.recoveries
        self.past.forgotten += gone.forgotten
        self._before = self.refused
        self._state = "restarting"
        self.ready.clear()
        if self.left is not None and not self.left.done():
            self.left.set_result(workouts)
        how = child.last_words().partition("\n")[0].rstrip(":")
        _say(f"{how}, with {lost} messages and {workouts} open workouts; starting it again")
        self._on_change()

    def _drop(self, part: Part) -> None:
        self.lost["worker_away" if self._state == "restarting" else "worker_behind"] += part.messages
        self.missed.gone(part.received_ns * 1e-9)
        self._on_done([part])

    def _line(self, line: str) -> None:
        self._traceback = self._traceback or line.startswith("Traceback ")
        _say(f"{self.name}| {line}")

    async def stop(self) -> None:
        """End it, whatever it does."""
        if self._pipe is not None:
            self._pipe.close()  # it ends when we are gone
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                await self._child.stop(END_S)


def _not_told(figures: Figures) -> int:
    """Return updates that were given up, with the steps of athletes without a workout or without."""
    return figures.given_up.get("live", 0) + figures.given_up.get("steps", 0)


def _add(total: dict[Name, int], more: dict[Name, int]) -> None:
    for reason, count in more.items():
        total[reason] = total.get(reason, 0) + count


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # a terminal that has gone is no reason to end
        print(f"kinefuse: {text}", file=sys.stderr, flush=True)
