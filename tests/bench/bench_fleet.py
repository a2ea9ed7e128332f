"""A class of athletes against the real server, through a real broker: deadlines, CPU, memory, what is lost.

``python -m tests.bench.bench_fleet --athletes 100 --seconds 30`` starts mosquitto on a free port of loopback,
the server and the simulators as processes of their own, listens like a dashboard, and prints what it saw.
The load is open loop: each message has its time, whoever is late. All times between processes are on this
machine's one clock.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from server.config import Broker
from server.deadlines import DeadlineReport
from server.envelopes import Incoming
from server.messages import Live, ServerStatus
from server.mqtt import Link
from tests.support.brokers import running_broker
from tests.support.servers import serving

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SETTLE_S = 2.0  # after the load's end: the last report, and the goodbye of the workouts
MISSES_SHOWN = 12
START_S_MAX = 30.0  # for the simulators to make their athletes


@dataclass
class Usage:
    """What a process has used."""

    cpu_s: float
    waited_s: float  # able to run, but no core was free
    rss_mb: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Return what the process has used until now, from /proc."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        ticks = int(fields[11]) + int(fields[12])
        waited_ns = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])
        return cls(ticks / TICKS_PER_S, waited_ns * 1e-9, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


@dataclass
class Heard:
    """What came over MQTT."""

    first: asyncio.Event = field(default_factory=asyncio.Event)  # an update of anybody
    lives: Counter[str] = field(default_factory=Counter)
    ages_ms: list[float] = field(default_factory=list)  # from the due time of an update until it was heard
    uncaused: int = 0  # updates that no packet fired, but time
    report: DeadlineReport | None = None
    misses: list[tuple[int, str, int, float]] = field(default_factory=list)  # t_ms, stage, count, longest ms
    status: ServerStatus | None = None

    def take(self, arrival: Incoming) -> None:
        """Take note of a message."""
        kind = arrival.topic.rpartition("/")[2]
        if kind == "live":
            message = msgspec.json.decode(arrival.payload, type=Live)
            self.first.set()
            self.lives[message.athlete] += 1
            self.uncaused += message.cause is None
            self.ages_ms.append(arrival.arrived_ns * 1e-6 - message.t_ms)
        elif kind == "deadlines":
            self.report = msgspec.json.decode(arrival.payload, type=DeadlineReport)
            for name, stage in self.report.stages.items():
                if stage.interval.misses:
                    longest_ms = stage.interval.max_ms or 0.0
                    self.misses.append((self.report.t_ms, name, stage.interval.misses, longest_ms))
        elif kind == "status":
            self.status = msgspec.json.decode(arrival.payload, type=ServerStatus)


@dataclass
class Outcome:
    """What a run gave; ``report`` is what the simulators say of themselves."""

    athletes: int
    heard: Heard
    report: Mapping[str, Any]
    loaded: tuple[Usage, Usage]  # the server, at the first and the last message of the load
    broker: tuple[Usage, Usage]
    loaded_s: float

    @property
    def packets_per_s(self) -> float:
        """Messages that the simulators sent, per second."""
        return float(sum(self.report["sent"].values()) / self.report["seconds"])


async def run(athletes: int, seconds: float, rate: int = 100, arguments: list[str] | None = None) -> Outcome:
    """Run the fleet once."""
    heard = Heard()
    async with running_broker("mosquitto") as broker:
        address, root = broker.address, broker.address.root
        topics = [f"{root}/athletes/+/live", f"{root}/server/deadlines", f"{root}/server/status"]
        assert broker.child is not None
        assert broker.child.pid is not None
        async with serving(address) as server, Link(address, subscriptions=topics) as link:
            await link.ready()
            assert server.pid is not None
            listening = asyncio.create_task(_listen(link, heard))
            load = await _simulate(address, athletes, seconds, rate, arguments or [])
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(START_S_MAX):
                await heard.first.wait()
            pids = (server.pid, broker.child.pid)
            before, began_s = [Usage.of(pid) for pid in pids], loop.time()
            async with asyncio.timeout(seconds + START_S_MAX):
                await asyncio.sleep(seconds - 1.0)
                after, ended_s = [Usage.of(pid) for pid in pids], loop.time()
                output, _ = await load.communicate()
            await asyncio.sleep(SETTLE_S)
            listening.cancel()
    return Outcome(
        athletes,
        heard,
        json.loads(output),
        (before[0], after[0]),
        (before[1], after[1]),
        ended_s - began_s,
    )


async def _listen(link: Link, heard: Heard) -> None:
    async for arrival in link.arrivals():
        heard.take(arrival)


async def _simulate(
    address: Broker, athletes: int, seconds: float, rate: int, arguments: list[str]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "simulate", "--scenario", "class", "--json"),
        *("--athletes", str(athletes), "--seconds", str(seconds), "--rate", str(rate)),
        *("--port", str(address.port), *arguments),
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )


def table(outcome: Outcome) -> str:
    """Return the outcome as text."""
    heard, sent = outcome.heard, outcome.report["sent"]
    before, after = outcome.loaded
    cpu_s, broker_s = after.cpu_s - before.cpu_s, outcome.broker[1].cpu_s - outcome.broker[0].cpu_s
    packets = outcome.packets_per_s * outcome.loaded_s
    expected = outcome.athletes * int(outcome.report["seconds"])
    ages = sorted(heard.ages_ms)
    waited_s = after.waited_s - before.waited_s
    share, waited, broker_share = (
        100.0 * each_s / outcome.loaded_s for each_s in (cpu_s, waited_s, broker_s)
    )
    kinds = ", ".join(f"{kind} {count}" for kind, count in sent.items())
    lines = [
        f"athletes {outcome.athletes}, {outcome.report['seconds']:.0f} s, "
        f"{outcome.packets_per_s:.0f} messages/s in ({kinds})",
        f"server CPU {share:.1f} % of a core, {cpu_s / packets * 1e6:.0f} us a message; "
        f"it waited for a core {waited:.1f} % of the time; "
        f"broker {broker_share:.1f} %; server RSS {before.rss_mb:.0f} -> {after.rss_mb:.0f} MB",
        f"live heard {sum(heard.lives.values())}, of {expected} expected; "
        f"fewest of one athlete {min(heard.lives.values())}; "
        f"fired by time, not by a packet: {heard.uncaused}",
        f"from an update's due time until heard: p50 {_at(ages, 0.5):.1f}, p99 {_at(ages, 0.99):.1f}, "
        f"max {ages[-1]:.1f} ms (of it up to 100 ms wait for the packet that causes it)",
        f"load's own lateness, ms: {outcome.report['lateness_ms']}; unsent {outcome.report['unsent']}",
    ]
    if heard.status is not None:
        status = heard.status
        lines.append(
            f"server: received {status.received}, dropped {status.dropped}, refused {status.refused}, "
            f"mode {getattr(status, 'mode', 'full')}"
        )
    if heard.report is not None:
        names = "".join(f"{name:>9}" for name in ("count", "misses", "p50", "p99", "p99.9", "max"))
        lines.append(f"{'stage':<12}{'budget':>8}{names}  ms")
        for name, stage in heard.report.stages.items():
            total = stage.total
            numbers = "".join(
                f"{'-' if ms is None else format(ms, '.2f'):>9}"
                for ms in (total.p50_ms, total.p99_ms, total.p999_ms, total.max_ms)
            )
            lines.append(f"{name:<12}{stage.budget_ms:>8.0f}{total.count:>9}{total.misses:>9}{numbers}")
        start_ms = outcome.report["start_ms"]
        lines += [
            f"  missed at {(t_ms - start_ms) * 1e-3:6.1f} s: {stage} {count}, longest {longest_ms:.1f} ms"
            for t_ms, stage, count, longest_ms in heard.misses[:MISSES_SHOWN]
        ]
        if len(heard.misses) > MISSES_SHOWN:
            lines.append(f"  and {len(heard.misses) - MISSES_SHOWN} more such lines")
    return "\n".join(lines)


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--athletes", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=100)
    asked, rest = parser.parse_known_args()
    print(table(asyncio.run(run(asked.athletes, asked.seconds, asked.rate, rest))))


if __name__ == "__main__":
    main()
