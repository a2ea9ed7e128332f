"""Budgets: how long each stage takes, and how often it took too long.

Words as in ROS 2: a stream's *deadline* is its longest silence, *lifespan* the oldest sample still worth
using, *liveliness* the lease of a link. A *budget* is what a stage may take, on the monotonic clock. Times go
into log-linear histograms: 32 linear buckets in each octave, so that a percentile is at most 1/32 too
high, never too low, from 1 us to 100 s. Nothing here reads a clock.
"""

from enum import Enum
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from server import config

Stage = Literal["decode", "align", "fuse", "publish", "end_to_end", "sensor_age"]
STAGES: tuple[Stage, ...] = ("decode", "align", "fuse", "publish", "end_to_end", "sensor_age")

SUBDIVISION_BITS = 5
BUCKETS = 1_088  # up to 2^38 ns, 275 s; what is longer is counted in the last one, and kept as the maximum
PERCENTILES = (0.5, 0.99, 0.999)


class Figures(Struct):
    """What a stage took. Percentiles are null where nothing was observed."""

    count: int
    misses: int
    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    max_ms: float | None = None


class StageReport(Struct):
    """One stage: its budget, the last interval, and all since the start."""

    budget_ms: float
    interval: Figures
    total: Figures


class DeadlineReport(Struct):
    """``server/deadlines``: all stages, once a second; ``misses`` are those of the interval, all stages."""

    t_ms: int
    interval_s: float
    misses: int
    stages: dict[Stage, StageReport]


class Times(NamedTuple):
    """What was observed of a stage elsewhere: buckets, how often each, misses and the longest."""

    buckets: list[int]
    counts: list[int]
    misses: int
    max_ns: int


class Histogram:
    """Times of one stage against its budget.

    Parameters
    ----------
    budget_ns : int
        A time above it is a miss.
    """

    __slots__ = ("_counts", "_max_ns", "_misses", "_total", "_total_max_ns", "_total_misses", "budget_ns")

    def __init__(self, budget_ns: int) -> None:
        self.budget_ns = budget_ns
        self._counts = [0] * BUCKETS
        self._misses = 0
        self._max_ns = -1
        self._total = np.zeros(BUCKETS, dtype=np.int64)
        self._total_misses = 0
        self._total_max_ns = -1

    def observe(self, ns: int) -> bool:
        """Record one time, ns (below 0 counts as 0); return True if it was in time."""
        if ns < 0:
            ns = 0
        self._counts[bucket(ns)] += 1
        if ns > self._max_ns:
            self._max_ns = ns
        if ns <= self.budget_ns:
            return True
        self._misses += 1
        return False

    def take(self) -> Times | None:
        """Return what was observed since the last time, and forget it; None: nothing was."""
        if self._max_ns < 0:
            return None
        buckets = [index for index, count in enumerate(self._counts) if count]
        times = Times(buckets, [self._counts[index] for index in buckets], self._misses, self._max_ns)
        self._counts = [0] * BUCKETS
        self._misses, self._max_ns = 0, -1
        return times

    def add(self, times: Times) -> None:
        """Record what was observed elsewhere."""
        for index, count in zip(times.buckets, times.counts, strict=True):
            self._counts[index] += count
        self._misses += times.misses
        self._max_ns = max(self._max_ns, times.max_ns)

    def report(self) -> StageReport:
        """Return the figures of the interval that ends now, and of all; begin the next interval."""
        counts = np.array(self._counts, dtype=np.int64)
        interval = _figures(counts, self._misses, self._max_ns)
        self._total += counts
        self._total_misses += self._misses
        self._total_max_ns = max(self._total_max_ns, self._max_ns)
        if interval.count:
            self._counts = [0] * BUCKETS
        self._misses = 0
        self._max_ns = -1
        total = _figures(self._total, self._total_misses, self._total_max_ns)
        return StageReport(self.budget_ns / 1e6, interval, total)


class Deadlines:
    """The histograms of all stages.

    Parameters
    ----------
    budgets : server.config.Deadlines
        What each stage may take, ms.
    """

    def __init__(self, budgets: config.Deadlines) -> None:
        self._stages: dict[Stage, Histogram] = {
            stage: Histogram(round(getattr(budgets, f"{stage}_ms") * 1e6)) for stage in STAGES
        }
        self._reported_ms: int | None = None

    def observe(self, stage: Stage, ns: int) -> bool:
        """Record what a stage took, ns; return True if it was in time."""
        return self._stages[stage].observe(ns)

    def take(self) -> dict[Stage, Times]:
        """Return what was observed since the last time, and forget it: to be added to those of a parent."""
        found = {stage: histogram.take() for stage, histogram in self._stages.items()}
        return {stage: times for stage, times in found.items() if times is not None}

    def add(self, times: dict[Stage, Times]) -> None:
        """Record what was observed in another process."""
        for stage, each in times.items():
            self._stages[stage].add(each)

    def report(self, t_ms: int) -> DeadlineReport:
        """Return the figures since the last report and since the start; ``t_ms`` is UTC, ms."""
        stages = {stage: histogram.report() for stage, histogram in self._stages.items()}
        since_ms = t_ms if self._reported_ms is None else self._reported_ms
        self._reported_ms = t_ms
        misses = sum(stage.interval.misses for stage in stages.values())
        return DeadlineReport(t_ms, (t_ms - since_ms) / 1e3, misses, stages)


class Liveliness(Enum):
    """What can be said of a device's stream."""

    ALIVE = "alive"
    LATE = "late"  # data comes, but the samples in it are older than their lifespan
    SILENT = "silent"  # the link lives, the stream has missed its deadline
    DEAD = "dead"  # the link itself is gone


def liveliness(
    *, silence_ns: int, link_silence_ns: int, age_ns: int, deadline_ns: int, lease_ns: int, lifespan_ns: int
) -> Liveliness:
    """Tell a dead link from a silent sensor from late data.

    Parameters
    ----------
    silence_ns, link_silence_ns : int
        Time since the stream's last packet, and since anything at all from its device, ns, monotonic.
    age_ns : int
        Age of the newest sample when it arrived, ns, aligned time.
    deadline_ns, lease_ns, lifespan_ns : int
        The stream's longest silence, the link's, and the oldest sample worth using. For a recording that is
        played at some speed, divided by it.
    """
    if link_silence_ns > lease_ns:
        return Liveliness.DEAD
    if silence_ns > deadline_ns:
        return Liveliness.SILENT
    return Liveliness.LATE if age_ns > lifespan_ns else Liveliness.ALIVE


def bucket(ns: int) -> int:
    """Return the bucket of a time, ns, at least 0."""
    shift = ns.bit_length() - SUBDIVISION_BITS - 1
    if shift <= 0:
        return ns
    return min((shift << SUBDIVISION_BITS) + (ns >> shift), BUCKETS - 1)


def highest_in(index: int) -> int:
    """Return the longest time that falls into a bucket, ns."""
    shift = (index >> SUBDIVISION_BITS) - 1
    if shift <= 0:
        return index
    return ((index - (shift << SUBDIVISION_BITS) + 1) << shift) - 1


def _figures(counts: NDArray[np.int64], misses: int, max_ns: int) -> Figures:
    cumulative = np.cumsum(counts)
    count = int(cumulative[-1])
    if not count:
        return Figures(0, misses)
    ranks = np.ceil(np.array(PERCENTILES) * count).clip(1, count)
    p50, p99, p999 = (
        min(highest_in(int(index)), max_ns) / 1e6 for index in np.searchsorted(cumulative, ranks, side="left")
    )
    return Figures(count, misses, p50, p99, p999, max_ns / 1e6)


def encode(report: DeadlineReport) -> bytes:
    """Return the report as it is published."""
    return msgspec.json.encode(report)
