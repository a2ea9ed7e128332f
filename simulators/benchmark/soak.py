"""A long run, and whether memory grows in it, or latency drifts."""

from typing import Final

import msgspec
import numpy as np

from simulators.benchmark import fleet
from simulators.benchmark.driver import Driver
from simulators.benchmark.outcome import Asked, Outcome
from simulators.benchmark.stage import Subject
from simulators.benchmark.usage import Usage
from simulators.load.generator import now_ns
from simulators.load.recordings import Recordings

EVERY_S: Final = 10
SETTLED_SHARE: Final = 0.25  # of the run; growth is counted after it


class Sample(msgspec.Struct, frozen=True):
    """Memory at a moment of the run."""

    t_s: float
    server_mb: float
    broker_mb: float


class Soak(msgspec.Struct, frozen=True):
    """What a long run showed.

    Attributes
    ----------
    growth_mb_per_h, broker_growth_mb_per_h : float
        Slope of the memory of server and broker after the first quarter, least squares.
    p99_first_ms, p99_last_ms : float
        Median of the seconds' p99 in the second and the last quarter.
    """

    growth_mb_per_h: float
    broker_growth_mb_per_h: float
    p99_first_ms: float
    p99_last_ms: float
    memory: list[Sample]
    outcome: Outcome


async def run(asked: Asked, subject: Subject, made: Recordings) -> Soak:
    """Run a fleet for long, and look at its memory now and then."""
    memory: list[Sample] = []

    def script(driver: Driver, from_ns: int) -> None:
        def look(when_ns: int) -> None:
            server, broker = (Usage.of(pid) for pid in driver.stage.pids)
            t_s = (now_ns() - from_ns) * 1e-9
            memory.append(Sample(round(t_s, 1), round(server.own_mb, 2), round(broker.own_mb, 2)))
            again_ns = when_ns + EVERY_S * 10**9
            driver.at(again_ns, lambda: look(again_ns))

        driver.at(from_ns, lambda: look(from_ns))

    outcome = await fleet.run(asked, subject, made, say=fleet.say, script=script)
    memory = [each for each in memory if each.t_s <= asked.seconds]
    quarter = max(1, round(asked.seconds * SETTLED_SHARE))
    settled = [each for each in memory if each.t_s >= quarter]
    p99 = [float("nan") if each.p99_ms is None else each.p99_ms for each in outcome.each_second]
    return Soak(
        slope_per_h(settled, "server_mb"),
        slope_per_h(settled, "broker_mb"),
        round(float(np.nanmedian(p99[quarter : 2 * quarter])), 3),
        round(float(np.nanmedian(p99[-quarter:])), 3),
        memory,
        outcome,
    )


def slope_per_h(samples: list[Sample], name: str) -> float:
    """Return by how much something grows in an hour; 0 for less than two samples."""
    if len(samples) < 2:
        return 0.0
    t_h = np.array([each.t_s for each in samples]) / 3_600
    values = np.array([getattr(each, name) for each in samples])
    return round(float(np.polyfit(t_h, values, 1)[0]), 3)
