"""What a load measured: histograms and counts, for each second of the run."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.deadlines.histogram import highest_in

Bins = NDArray[Any]  # (seconds,) BIN


class Spread(msgspec.Struct, frozen=True):
    """How times are spread, ms; a percentile is at most 1/32 too high. None where there were none."""

    count: int
    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    max_ms: float | None = None


class Sent(msgspec.Struct, frozen=True):
    """What was sent of what was due, and how late: behind the intended time, at the call that sends."""

    messages: int
    unsent: int
    malformed: int
    duplicated: int
    lateness: Spread


class Heard(msgspec.Struct, frozen=True):
    """Updates, and end to end: from the causing packet's intended send to the update's receipt.

    Attributes
    ----------
    expected : int
        One for each athlete and second.
    heard : int
        Of them, each once.
    missing : int
        Of them not heard.
    uncaused : int
        Heard without a cause: fired by time.
    doubled : int
        Came again, or in the wrong order.
    """

    expected: int
    heard: int
    missing: int
    uncaused: int
    doubled: int
    end_to_end: Spread


def sent(bins: Bins) -> Sent:
    """Return what was sent in these seconds."""
    return Sent(
        int(bins["sent"].sum()),
        int(bins["unsent"].sum()),
        int(bins["malformed"].sum()),
        int(bins["duplicated"].sum()),
        spread(bins["late"], bins["late_max_ns"]),
    )


def heard(bins: Bins, athletes: int) -> Heard:
    """Return what was heard of these seconds, of so many athletes who count."""
    expected, came = athletes * len(bins), int(bins["heard"].sum())
    short = np.maximum(athletes - bins["heard"].astype(np.int64), 0)
    return Heard(
        expected,
        came,
        int(short.sum()),
        int(bins["uncaused"].sum()),
        int(bins["doubled"].sum()),
        spread(bins["end_to_end"], bins["end_to_end_max_ns"]),
    )


def spread(histograms: NDArray[np.uint32], max_ns: NDArray[np.int64]) -> Spread:
    """Return the percentiles of histograms, (seconds, buckets), together."""
    cumulative = np.cumsum(histograms.sum(axis=0, dtype=np.int64))
    count = int(cumulative[-1])
    if not count:
        return Spread(0)
    longest_ns = int(max_ns.max())
    ranks = np.ceil(np.array([0.5, 0.99, 0.999]) * count).clip(1, count)
    p50, p99, p999 = (
        round(min(highest_in(int(index)), longest_ns) / 1e6, 3)
        for index in np.searchsorted(cumulative, ranks, side="left")
    )
    return Spread(count, p50, p99, p999, round(longest_ns / 1e6, 3))
