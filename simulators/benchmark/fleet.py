"""One run of a fleet: so many devices against a server, through a real broker, and what that took.

The load is open loop, and measures end to end by its own clock (see `simulators.load`). A run goes: server
and broker start; all connect; a warm-up; the seconds that count; some more, so that updates of the last
second find their cause; silence. CPU, memory and waits for a core are those of the seconds that count.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from server.clock import SystemClock
from simulators.benchmark.driver import Driver, driving
from simulators.benchmark.outcome import Asked, Moment, Outcome, Spent, outcome
from simulators.benchmark.stage import Stage, Subject, standing
from simulators.benchmark.usage import Machine, Usage
from simulators.load.generator import device_ids, now_ns, server_config
from simulators.load.recordings import Recordings

LEAD_S = 0.5  # before the first message
TAIL_S = 1.5  # of sending after the seconds that count
DRAIN_S = 1.5  # of hearing after that; an update that takes longer is missing
WATCHED = device_ids(0)[0]  # whose health is listened to: the device that floods, where one does

Script = Callable[[Driver, int], None]
Say = Callable[[str], None]


async def run(
    asked: Asked,
    subject: Subject,
    made: Recordings,
    *,
    say: Say = lambda _: None,
    script: Script | None = None,
) -> Outcome:
    """Run a fleet once.

    Parameters
    ----------
    asked : Asked
    subject : Subject
    made : Recordings
        What the devices play.
    say : callable
        Is told what is going on.
    script : callable, optional
        Given the driver and when the seconds that count begin, monotonic, ns: says what happens in them.
    """
    who = f"{subject.name}: {asked.devices} devices"
    say(f"{who}: starting")
    seconds = asked.warmup_s + asked.seconds
    async with standing(
        subject, server_config(asked.devices, asked.settings), also=(f"devices/{WATCHED}/health",)
    ) as stage:
        moments = [_moment(stage, 0.0)]
        async with driving(asked, stage, made) as driver:
            load = driver.load
            say(f"{who}: {load.up} connections stand, warming up")
            load.start(now_ns() + round(LEAD_S * 1e9))
            from_ns = load.begin_ns + asked.warmup_s * 10**9
            end_ns = load.begin_ns + seconds * 10**9
            if script is not None:
                script(driver, from_ns)
            await driver.until(from_ns)
            say(f"{who}: measuring for {asked.seconds} s")
            moments.append(_moment(stage, load.cpu_s))
            await driver.until(end_ns)
            moments.append(_moment(stage, load.cpu_s))
            await driver.until(end_ns + round(TAIL_S * 1e9))
            load.fall_silent()
            await driver.until(end_ns + round((TAIL_S + DRAIN_S) * 1e9))
            bins, counts, counting = load.bins[asked.warmup_s :].copy(), load.counts, load.counting
    told = _told(stage, from_ns, end_ns)
    return outcome(subject.name, asked, bins, counting, moments, counts, told)


async def idle(asked: Asked, subject: Subject, made: Recordings, *, say: Say = lambda _: None) -> Spent:
    """Return what a server takes while all are connected and silent."""
    say(f"{subject.name}: {asked.devices} silent devices: starting")
    async with standing(subject, server_config(asked.devices, asked.settings)) as stage:
        base = _moment(stage, 0.0)
        async with driving(asked, stage, made) as driver:
            say(f"{subject.name}: {driver.load.up} connections stand, settling")
            await driver.until(now_ns() + asked.warmup_s * 10**9)
            say(f"{subject.name}: measuring for {asked.seconds} s")
            before = _moment(stage, 0.0)
            await driver.until(now_ns() + asked.seconds * 10**9)
            after = _moment(stage, 0.0)
    return Spent.between(base.server, before.server, after.server, (after.t_ns - before.t_ns) * 1e-9)


async def empty(subject: Subject, settings: Sequence[str] = ()) -> Usage:
    """Return what a server uses that knows nobody: the base of its memory."""
    async with standing(subject, server_config(0, settings)) as stage:
        return Usage.of(stage.pids[0])


def _moment(stage: Stage, load_s: float) -> Moment:
    server, broker = (Usage.of(pid) for pid in stage.pids)
    return Moment(now_ns(), server, broker, load_s, Machine.now())


def _told(stage: Stage, from_ns: int, end_ns: int) -> dict[str, Any]:
    """Return the server's word; misses are of the reports of these times, monotonic."""
    clock, told = SystemClock(), stage.told
    offset_ns = clock.utc_ns() - clock.monotonic_ns()
    misses = sum(
        misses for t_ms, misses in told.misses if from_ns < t_ms * 10**6 - offset_ns <= end_ns + 10**9
    )
    return {
        "misses": misses,
        "lost": told.lost((from_ns + offset_ns) // 10**6),
        "modes": told.modes((from_ns + offset_ns) // 10**6),
        "status": told.statuses[-1] if told.statuses else {},
        "deadlines": told.deadlines,
        "health": told.health,
    }


def say(text: str) -> None:
    """Tell of progress."""
    print(f"kinefuse: {text}", file=sys.stderr, flush=True)
