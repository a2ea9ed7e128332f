"""A readable twin of csrc/beats.c: the oracle that the core's cleaning of intervals is held to."""

from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from fusion.intervals import Interval, Kind, Rate

AHEAD: Final = 2
WINDOW: Final = 91  # intervals, of the thresholds
MEDIAN: Final = 11
ALPHA: Final = 5.2
C1, C2 = 0.13, 0.17
MEDIAN_LIMIT: Final = 3.0  # times its threshold
THRESHOLD_MIN_MS: Final = 25.0  # sensors tell whole ticks of 1 to 8 ms, whose quartiles are no measure
RANGE_MS: Final = (240.0, 2400.0)  # 25 to 250 bpm
PARTS_MAX: Final = 3  # of an interval in which beats were missed
QUARTILES_OF_SIGMA: Final = 0.416  # half the distance of the quartiles of |d|, d normal
SIGMA_MIN_BPM: Final = 0.3
ODD_MAX: Final = 5  # intervals in a row that are none: then it is the median that is wrong
LOST_NS: Final = 1_500_000_000
KNOWN_MIN: Final = 8  # intervals before sigma rests on them
SIGMA_NEW_MS: Final = 40.0


class Cleaner:
    """Cleans the intervals of one sensor.

    Attributes
    ----------
    found : Counter of str
        How many intervals were made from each kind; all kinds but ``normal`` are artefacts.
    """

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self._rr: deque[float] = deque(maxlen=MEDIAN + 1)  # cleaned ones, then AHEAD that wait
        self._steps = _Spread()
        self._offs = _Spread()
        self._taken = 0  # of those that wait, how many belong to a beat that is told already
        self._odd = 0  # uneven ones in a row
        self._t_ns: int | None = None

    def add(self, rr_ms: Sequence[float], t_ns: int | None = None) -> list[Interval]:
        """Take in intervals in their order; return those that are certain now, oldest first.

        Parameters
        ----------
        rr_ms : sequence of float
        t_ns : int or None
            The sensor's clock at the last of their beats, where it tells one. If it went on by more or less
            than the intervals say, beats were lost, and the first interval is no neighbour of the newest
            one.
        """
        if t_ns is not None:
            if self._t_ns is not None and abs(t_ns - self._t_ns - 1e6 * sum(rr_ms)) > LOST_NS:
                self._rr.clear()
                self._taken = self._odd = 0
            self._t_ns = t_ns
        told: list[Interval] = []
        for ms in rr_ms:
            self._rr.append(ms)
            if len(self._rr) <= AHEAD:
                continue
            if self._taken:
                self._taken -= 1
            else:
                told += self._judge()
            self._learn()
        for interval in told:
            self.found[interval.kind] += 1
        return told

    def rate(self, told: list[Interval]) -> Rate | None:
        """Return the rate of what `add` told just now, None of nothing, and of what no heart does."""
        if not told:
            return None
        whole_ms = sum(interval.ms for interval in told)
        mean_ms = whole_ms / len(told)
        if not RANGE_MS[0] <= mean_ms <= RANGE_MS[1]:
            return None
        step_ms = SIGMA_NEW_MS if len(self._steps) < KNOWN_MIN else self._steps.quartiles / QUARTILES_OF_SIGMA
        odd = sum(interval.kind != "normal" for interval in told)
        sigma_bpm = 60e3 * step_ms / (mean_ms * mean_ms * (2.0 * len(told)) ** 0.5) * (1.0 + odd)
        waiting_ms = sum(list(self._rr)[-AHEAD + self._taken :]) if self._taken < AHEAD else 0.0
        return Rate(60e3 / mean_ms, max(sigma_bpm, SIGMA_MIN_BPM), (waiting_ms + 0.5 * whole_ms) * 1e-3)

    def _judge(self) -> list[Interval]:
        """Return what the interval AHEAD of the newest is, and put what it should be in its place."""
        rr = self._rr
        at = len(rr) - 1 - AHEAD
        here, after = rr[at], rr[at + 1]
        if len(rr) < MEDIAN:
            return [Interval(here, "normal")] if RANGE_MS[0] <= here <= RANGE_MS[1] else []
        median = sorted(list(rr)[-MEDIAN:])[MEDIAN // 2]
        kind, parts = self._kind(at, median)
        if kind == "missed":
            rr[at] = here / parts
            return [Interval(here / parts, kind)] * parts
        if kind == "extra":
            rr[at] = rr[at + 1] = here + after
        elif kind == "ectopic":
            rr[at] = rr[at + 1] = 0.5 * (here + after)
            self._taken = 1
            return [Interval(rr[at], kind)] * 2
        self._odd = self._odd + 1 if kind == "uneven" else 0
        if self._odd >= ODD_MAX:
            self._begin_again()
            return [Interval(here, "normal")]
        if kind == "uneven":
            rr[at] = median
        self._taken = int(kind == "extra")
        return [Interval(rr[at], kind)]

    def _begin_again(self) -> None:
        """Forget all but what waits."""
        waiting = list(self._rr)[-1 - AHEAD :]
        self._rr.clear()
        self._rr.extend(waiting)
        self._steps, self._offs = _Spread(), _Spread()
        self._odd = 0

    def _kind(self, at: int, median: float) -> tuple[Kind, int]:
        """Return what the interval at a place is, and how many it should be."""
        rr = self._rr
        limit = max(ALPHA * self._steps.quartiles, THRESHOLD_MIN_MS)
        reach = max(ALPHA * self._offs.quartiles, THRESHOLD_MIN_MS)
        before, d, d1, d2 = ((rr[i] - rr[i - 1]) / limit for i in range(at - 1, at + 3))
        off = _off(rr[at], median) / reach
        if abs(d) <= 1.0 and abs(off) <= MEDIAN_LIMIT:
            return "normal", 1
        both_ms = rr[at] + rr[at + 1]
        sign = 1.0 if d > 0.0 else -1.0
        turns = max(sign * before, sign * d1) < -C1 * abs(d) - C2
        back = min(sign * d1, sign * d2) < -1.0
        if abs(d) > 1.0 and back:
            parts = min(max(round(rr[at] / median), 1), PARTS_MAX)
            if d > 0.0 and parts > 1 and abs(rr[at] / parts - median) < reach:
                return "missed", parts
            if d < 0.0 and abs(both_ms - median) < reach:
                return "extra", 1
        if abs(d) > 1.0 and (turns or back) and abs(both_ms - 2.0 * median) < 2.0 * reach:
            return "ectopic", 1
        if abs(off) > MEDIAN_LIMIT or (abs(d) > 1.0 and back):
            return "uneven", 1
        return "normal", 1

    def _learn(self) -> None:
        """Let the newest interval that is clean move the thresholds."""
        at = len(self._rr) - 1 - AHEAD
        if at > 0:
            self._steps.add(abs(self._rr[at] - self._rr[at - 1]))
        if len(self._rr) >= MEDIAN:
            self._offs.add(abs(_off(self._rr[at], sorted(list(self._rr)[-MEDIAN:])[MEDIAN // 2])))


def _off(ms: float, median: float) -> float:
    """Return how far an interval is from its neighbours' median; short ones count twice, as in the paper."""
    return (ms - median) * (1.0 if ms >= median else 2.0)


class _Spread:
    """Half the distance between the quartiles of the newest WINDOW numbers."""

    def __init__(self) -> None:
        self._newest: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, value: float) -> None:
        if len(self._newest) == WINDOW:
            del self._sorted[bisect_left(self._sorted, self._newest.popleft())]
        self._newest.append(value)
        insort(self._sorted, value)

    @property
    def quartiles(self) -> float:
        """Return it; 0 of fewer than four numbers."""
        count = len(self._sorted)
        if count < 4:
            return 0.0
        return 0.5 * (self._sorted[(3 * count) // 4] - self._sorted[count // 4])
