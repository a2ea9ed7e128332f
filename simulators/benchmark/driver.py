"""A load at work in a thread of its own, beside the processes that it is for."""

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from server.clock import SystemClock
from server.errors import ServerError
from simulators.benchmark.outcome import Asked
from simulators.benchmark.stage import Stage
from simulators.load.generator import Load, Plan, now_ns
from simulators.load.recordings import Recordings

SLICE_NS = 250_000_000  # the load looks up this often: for Ctrl-C, and for a process that has ended
CONNECT_S_MAX = 60.0
SETTLE_S = 1.0  # after all are connected: their births are taken in

Action = Callable[[], Coroutine[Any, Any, None] | None]


class Driver:
    """Lets a load work until given times.

    Actions are called between two slices of the load's work, when its arrays may be written; one that returns
    a coroutine has it run beside the load.
    """

    def __init__(self, load: Load, stage: Stage) -> None:
        self.load = load
        self.stage = stage
        self._thread = ThreadPoolExecutor(1, "load")
        self._actions: list[tuple[int, int, Action]] = []
        self._numbers = count()
        self._running: list[asyncio.Task[None]] = []

    def at(self, when_ns: int, action: Action) -> None:
        """Have something done at a time, monotonic."""
        heapq.heappush(self._actions, (when_ns, next(self._numbers), action))

    async def until(self, until_ns: int) -> None:
        """Let the load work until a time, monotonic.

        Raises
        ------
        ServerError
            A process has ended by itself.
        """
        loop = asyncio.get_running_loop()
        while (now := now_ns()) < until_ns:
            while self._actions and self._actions[0][0] <= now:
                going = heapq.heappop(self._actions)[2]()
                if going is not None:
                    self._running.append(asyncio.create_task(going))
            soonest_ns = self._actions[0][0] if self._actions else until_ns
            await loop.run_in_executor(self._thread, self.load.run, min(until_ns, soonest_ns, now + SLICE_NS))
            self.stage.check()
            for task in self._running:
                if task.done():
                    task.result()

    async def connect(self) -> None:
        """Let all connect.

        Raises
        ------
        ServerError
            They do not, in CONNECT_S_MAX.
        """
        wanted, end_ns = self.load.plan.connections, now_ns() + round(CONNECT_S_MAX * 1e9)
        while self.load.up < wanted or not self.load.hears:
            if now_ns() > end_ns:
                raise ServerError(f"only {self.load.up} of {wanted} connections stand in {CONNECT_S_MAX:g} s")
            await self.until(now_ns() + SLICE_NS // 10)
        await self.until(now_ns() + round(SETTLE_S * 1e9))

    async def close(self) -> None:
        """Wait for what runs, and say goodbye on all connections."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._thread.shutdown()
        self.load.close()


@contextlib.asynccontextmanager
async def driving(asked: Asked, stage: Stage, made: Recordings) -> AsyncIterator[Driver]:
    """Have a load that is connected."""
    clock = SystemClock()
    plan = Plan(
        athletes=asked.devices,
        port=stage.address.port,
        root=stage.address.root,
        seconds=asked.warmup_s + asked.seconds,
        packets_per_s=asked.packets_per_s,
        samples=asked.samples,
        qos=asked.qos,
        apart=asked.apart,
        seed=asked.seed,
    )
    driver = Driver(Load(plan, utc_ns=clock.utc_ns() - clock.monotonic_ns(), made=made), stage)
    try:
        driver.load.open()
        await driver.connect()
        yield driver
    finally:
        await driver.close()
