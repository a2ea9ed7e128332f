"""One run of a fleet: so many devices against a server, through a real broker, and what that took.

The load is open loop, and measures end to end by its own clock (see `simulators.load`). A run goes: server and
broker start; all connect; a warm-up; the seconds that count; some more, so that updates of the last second
find their cause; silence. CPU, memory and waits for a core are those of the seconds that count.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from server.clock import SystemClock
from server.errors import ServerError
from simulators.benchmark.stage import Stage, Subject, standing
from simulators.benchmark.usage import Machine, Usage
from simulators.load import figures
from simulators.load.generator import Load, Plan, now_ns, server_config
from simulators.load.recordings import Recordings

SLICE_NS = 250_000_000  # the load looks up this often: for Ctrl-C, and for faults
CONNECT_S_MAX = 60.0
SETTLE_S = 1.0  # after all are connected: their births are taken in
LEAD_S = 0.5  # before the first message
TAIL_S = 1.5  # of sending after the seconds that count
DRAIN_S = 1.5  # of hearing after that; an update that takes longer is missing
LATE_P99_MS_MAX = 5.0  # beyond this the load itself was late, and the run says little of the server


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    devices: int
    seconds: int = 10
    warmup_s: int = 5
    packets_per_s: int = 10
    samples: int = 10
    qos: int = 0
    apart: bool = False
    seed: int = 1


class Spent(msgspec.Struct, frozen=True):
    """What a process took in the seconds that count; shares are of one core."""

    cpu_share: float
    waited_share: float
    rss_mb: float
    pss_mb: float
    base_rss_mb: float  # before anybody connected
    base_pss_mb: float

    @classmethod
    def between(cls, base: Usage, before: Usage, after: Usage, seconds: float) -> "Spent":
        """Return what was spent between two moments."""
        return cls(
            round((after.cpu_s - before.cpu_s) / seconds, 4),
            round((after.waited_s - before.waited_s) / seconds, 4),
            *(round(mb, 2) for mb in (after.rss_mb, after.pss_mb, base.rss_mb, base.pss_mb)),
        )


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run gave."""

    subject: str
    asked: Asked
    sent: figures.Sent
    updates: figures.Heard
    per_s: float  # messages sent
    us_per_message: float  # of the server's CPU, over all messages
    us_per_packet: float  # the same CPU over the inertial packets alone
    us_per_device_s: float  # the same CPU for each device and second
    server: Spent
    broker: Spent
    load_cpu_share: float
    machine_idle: float  # share of all cores
    machine_stolen: float
    counts: dict[str, int]
    unaccounted: int  # updates missing beyond what server and load say they dropped
    misses: int  # of deadlines, in the seconds that count, by the server's word
    modes: list[str]
    status: dict[str, Any]
    deadlines: dict[str, Any]

    @property
    def load_was_late(self) -> bool:
        """True where the load itself did not keep its schedule."""
        p99_ms = self.sent.lateness.p99_ms
        return p99_ms is not None and p99_ms > LATE_P99_MS_MAX

    @property
    def p99_ms(self) -> float:
        """End to end; infinite where nothing was heard."""
        p99_ms = self.updates.end_to_end.p99_ms
        return float("inf") if p99_ms is None else p99_ms

    def holds(self, p99_ms: float) -> bool:
        """Return whether the server kept up: end to end in time, and no update missing without a word."""
        return self.p99_ms < p99_ms and self.unaccounted == 0


class Driver:
    """A load at work in a thread of its own, beside a stage."""

    def __init__(self, load: Load, stage: Stage) -> None:
        self.load = load
        self.stage = stage
        self._thread = ThreadPoolExecutor(1, "load")

    async def until(self, until_ns: int) -> None:
        """Let the load work until a time, monotonic."""
        loop = asyncio.get_running_loop()
        while (now := now_ns()) < until_ns:
            await loop.run_in_executor(self._thread, self.load.run, min(until_ns, now + SLICE_NS))
            self.stage.check()

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

    def close(self) -> None:
        """Wait for the thread, and say goodbye."""
        self._thread.shutdown()
        self.load.close()


@contextlib.asynccontextmanager
async def driving(asked: Asked, seconds: int, stage: Stage, made: Recordings) -> AsyncIterator[Driver]:
    """Have a load that is connected, for which figures of so many seconds are kept."""
    clock = SystemClock()
    plan = Plan(
        athletes=asked.devices,
        port=stage.address.port,
        root=stage.address.root,
        seconds=seconds,
        packets_per_s=asked.packets_per_s,
        samples=asked.samples,
        qos=asked.qos,
        apart=asked.apart,
        seed=asked.seed,
    )
    load = Load(plan, utc_ns=clock.utc_ns() - clock.monotonic_ns(), made=made)
    driver = Driver(load, stage)
    try:
        load.open()
        await driver.connect()
        yield driver
    finally:
        driver.close()


async def run(
    asked: Asked,
    subject: Subject,
    made: Recordings,
    *,
    say: Callable[[str], None] = lambda _: None,
    meanwhile: Callable[[Driver], Awaitable[None]] | None = None,
) -> Outcome:
    """Run a fleet once.

    Parameters
    ----------
    asked : Asked
    subject : Subject
    made : Recordings
    say : callable
        Is told what is going on.
    meanwhile : callable, optional
        Called when the seconds that count begin; beside it the load goes on.
    """
    say(f"{subject.name}: {asked.devices} devices: starting")
    seconds = asked.warmup_s + asked.seconds
    async with standing(subject, server_config(asked.devices)) as stage:
        base = [Usage.of(pid) for pid in stage.pids]
        async with driving(asked, seconds, stage, made) as driver:
            load = driver.load
            say(f"{subject.name}: {asked.devices} devices: {load.up} connections, warming up")
            load.start(now_ns() + round(LEAD_S * 1e9))
            from_ns = load.begin_ns + asked.warmup_s * 10**9
            end_ns = load.begin_ns + seconds * 10**9
            await driver.until(from_ns)
            say(f"{subject.name}: {asked.devices} devices: measuring for {asked.seconds} s")
            before, machine, cpu_s = [Usage.of(pid) for pid in stage.pids], Machine.now(), load.cpu_s
            other = None if meanwhile is None else asyncio.ensure_future(meanwhile(driver))
            began_ns = now_ns()
            await driver.until(end_ns)
            after, machine_after, cpu_after_s = (
                [Usage.of(pid) for pid in stage.pids],
                Machine.now(),
                load.cpu_s,
            )
            lasted_s = (now_ns() - began_ns) * 1e-9
            if other is not None:
                await other
            await driver.until(end_ns + round(TAIL_S * 1e9))
            load.fall_silent()
            await driver.until(end_ns + round((TAIL_S + DRAIN_S) * 1e9))
            bins, counts = load.bins[asked.warmup_s :].copy(), load.counts
    told = stage.told
    sent, updates = figures.sent(bins), figures.heard(bins, asked.devices)
    server, broker = (Spent.between(*each, lasted_s) for each in zip(base, before, after, strict=True))
    cores_s = sum(
        getattr(machine_after, name) - getattr(machine, name) for name in ("busy_s", "idle_s", "stolen_s")
    )
    cpu_us = server.cpu_share * 1e6
    lost = sent.unsent + sum(int(told.status.get(name, 0)) for name in ("dropped", "unsent"))
    return Outcome(
        subject=subject.name,
        asked=asked,
        sent=sent,
        updates=updates,
        per_s=round(sent.messages / asked.seconds, 1),
        us_per_message=round(cpu_us * asked.seconds / max(sent.messages, 1), 3),
        us_per_packet=round(cpu_us / (asked.devices * asked.packets_per_s), 3),
        us_per_device_s=round(cpu_us / asked.devices, 2),
        server=server,
        broker=broker,
        load_cpu_share=round((cpu_after_s - cpu_s) / lasted_s, 4),
        machine_idle=round((machine_after.idle_s - machine.idle_s) / cores_s, 4),
        machine_stolen=round((machine_after.stolen_s - machine.stolen_s) / cores_s, 4),
        counts=counts,
        unaccounted=max(0, updates.missing - lost),
        misses=_misses(stage, load, from_ns, end_ns),
        modes=told.modes,
        status=told.status,
        deadlines=told.deadlines,
    )


def _misses(stage: Stage, load: Load, from_ns: int, end_ns: int) -> int:
    """Return the misses of the reports that fall into these times."""
    clock = SystemClock()
    offset_ns = clock.utc_ns() - clock.monotonic_ns()
    return sum(
        misses for t_ms, misses in stage.told.misses if from_ns < t_ms * 10**6 - offset_ns <= end_ns + 10**9
    )


def say(text: str) -> None:
    """Tell of progress."""
    print(f"kinefuse: {text}", file=sys.stderr, flush=True)
