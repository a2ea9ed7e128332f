"""Log-linear histograms of times, filled in C (csrc/histogram.c): 32 linear buckets in each octave.

A percentile is at most 1/32 too high, never too low, from 1 us to 100 s. The counts are numpy's; C adds to
them, one time or an array of them in a call.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import HISTOGRAM
from server.deadlines.report import Figures, StageReport, Times

BUCKETS: Final = int(lib.KF_BUCKETS)
SUBDIVISION_BITS: Final = int(lib.KF_SUBDIVISION)
PERCENTILES: Final = (0.5, 0.99, 0.999)
BOUNDS_S: Final = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.025, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)  # what a coarser histogram is told in


class Histogram:
    """Times of one stage against its budget.

    Parameters
    ----------
    budget_ns : int
        A time above it is a miss.
    """

    __slots__ = ("_interval", "_pointer", "_total", "budget_ns")

    def __init__(self, budget_ns: int) -> None:
        self.budget_ns = budget_ns
        self._interval, self._total = np.zeros(1, HISTOGRAM), np.zeros(1, HISTOGRAM)
        for table in (self._interval, self._total):
            table["budget_ns"], table["max_ns"] = budget_ns, -1
        self._pointer = ffi.from_buffer("kf_histogram[]", self._interval, require_writable=True)

    def observe(self, ns: int) -> bool:
        """Record one time, ns (below 0 counts as 0); return True if it was in time."""
        return not lib.kf_observe_one(self._pointer, ns)

    def observe_many(self, times_ns: NDArray[np.int64]) -> int:
        """Record times, ns, shape (n,); return how many were misses.

        Raises
        ------
        TypeError
            ``times_ns`` is not a contiguous one-dimensional array of int64.
        """
        if times_ns.dtype != np.int64 or times_ns.ndim != 1 or not times_ns.flags.c_contiguous:
            raise TypeError("times_ns must be a contiguous one-dimensional array of int64")
        misses: int = lib.kf_observe(self._pointer, ffi.from_buffer("int64_t[]", times_ns), len(times_ns))
        return misses

    def take(self) -> Times | None:
        """Return what was observed since the last time, and forget it; None: nothing was."""
        interval = self._interval[0]
        buckets = np.flatnonzero(interval["counts"])
        if not len(buckets):
            return None
        counts, misses = interval["counts"][buckets].tolist(), int(interval["misses"])
        times = Times(buckets.tolist(), counts, misses, float(interval["sum_s"]), int(interval["max_ns"]))
        self._forget()
        return times

    def add(self, times: Times) -> None:
        """Record what was observed elsewhere."""
        interval = self._interval
        interval["counts"][0, times.buckets] += np.array(times.counts, interval["counts"].dtype)
        interval["misses"] += times.misses
        interval["sum_s"] += times.sum_s
        np.maximum(interval["max_ns"], times.max_ns, out=interval["max_ns"])

    def report(self) -> StageReport:
        """Return the figures of the interval that ends now, and of all; begin the next interval."""
        interval, total = self._interval, self._total
        told = _figures(interval)
        if told.count:
            for name in ("counts", "misses", "sum_s"):
                total[name] += interval[name]
            np.maximum(total["max_ns"], interval["max_ns"], out=total["max_ns"])
            self._forget()
        return StageReport(self.budget_ns / 1e6, told, _figures(total))

    def _forget(self) -> None:
        interval = self._interval
        interval["counts"], interval["misses"], interval["sum_s"], interval["max_ns"] = 0, 0, 0.0, -1

    def cumulative(self, bounds_s: Sequence[float] = BOUNDS_S) -> tuple[list[int], int, float]:
        """Return how many times of all reported intervals were within each bound, their number and sum, s.

        A bucket that a bound cuts counts as above it: like percentiles, this is never too good.
        """
        cumulative = np.cumsum(self._total["counts"][0])
        below = [whole_below(round(bound * 1e9)) for bound in bounds_s]
        within = [int(cumulative[bucket - 1]) if bucket else 0 for bucket in below]
        return within, int(cumulative[-1]), float(self._total["sum_s"][0])


def bucket(ns: int) -> int:
    """Return the bucket of a time, ns, within int64."""
    found: int = lib.kf_bucket(ns)
    return found


def highest_in(index: int) -> int:
    """Return the longest time that falls into a bucket, ns."""
    shift = (index >> SUBDIVISION_BITS) - 1
    if shift <= 0:
        return index
    return ((index - (shift << SUBDIVISION_BITS) + 1) << shift) - 1


def whole_below(bound_ns: int) -> int:
    """Return how many buckets hold no time above a bound, ns."""
    index = bucket(bound_ns)
    return index + (highest_in(index) <= bound_ns)


def _figures(table: NDArray[np.void]) -> Figures:
    cumulative = np.cumsum(table["counts"][0])
    count, misses, max_ns = int(cumulative[-1]), int(table["misses"][0]), int(table["max_ns"][0])
    if not count:
        return Figures(0, misses)
    ranks = np.ceil(np.array(PERCENTILES) * count).clip(1, count)
    p50, p99, p999 = (
        min(highest_in(int(index)), max_ns) / 1e6 for index in np.searchsorted(cumulative, ranks, side="left")
    )
    return Figures(count, misses, p50, p99, p999, max_ns / 1e6)
