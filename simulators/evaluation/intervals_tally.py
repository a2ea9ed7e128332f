"""What ``evaluate intervals`` counts: how often a truth is within an interval, and NIS within its bounds."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, cast

import msgspec
import numpy as np

# Nominal coverage, and how many sigmas it is of a normal error.
LEVELS: Final = {0.5: 0.674, 0.7: 1.036, 0.8: 1.282, 0.9: 1.645, 0.95: 1.96, 0.99: 2.576}
NOMINAL: Final = 0.9
BIN: Final = 0.1  # of a windowed NIS, for its picture
BINS: Final = 31  # the last one holds all that is above


class Tally(msgspec.Struct):
    """Moments at which something was told: how many, how many within each interval of LEVELS, and sums."""

    count: int = 0
    within: list[int] = msgspec.field(default_factory=lambda: [0] * len(LEVELS))
    error: float = 0.0  # of its size
    sigma: float = 0.0
    z2: float = 0.0  # of (error / sigma)^2

    def add(self, error: float, sigma: float) -> None:
        """Take a moment in; what is no number is none."""
        if not (np.isfinite(error) and np.isfinite(sigma)):
            return
        self.count += 1
        for k, width in enumerate(LEVELS.values()):
            self.within[k] += int(abs(error) <= width * sigma)
        self.error += float(abs(error))
        self.sigma += float(sigma)
        self.z2 += float(min((error / max(sigma, 1e-9)) ** 2, 100.0))

    def join(self, other: "Tally") -> None:
        """Add another one's moments."""
        self.within = [mine + its for mine, its in zip(self.within, other.within, strict=True)]
        for name in ("count", "error", "sigma", "z2"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def covered(self, nominal: float = NOMINAL) -> float:
        """Return the share within an interval of LEVELS, %."""
        return 100.0 * self.within[list(LEVELS).index(nominal)] / max(self.count, 1)


class Fit(msgspec.Struct):
    """Moments at which a model's windowed NIS was known: how many, above its bounds and below them."""

    count: int = 0
    above: int = 0
    below: int = 0
    bins: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)

    def add(self, nis: float, bounds: tuple[float, float]) -> None:
        """Take a moment in, with the bounds that hold then; NaN is none."""
        if np.isfinite(nis):
            low, high = bounds
            self.count += 1
            self.above += int(nis > high)
            self.below += int(nis < low)
            self.bins[min(int(nis / BIN), BINS - 1)] += 1

    def join(self, other: "Fit") -> None:
        """Add another one's moments."""
        self.bins = [mine + its for mine, its in zip(self.bins, other.bins, strict=True)]
        for name in ("count", "above", "below"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def inside(self) -> float:
        """Return the share of moments inside the bounds, %."""
        return 100.0 * (self.count - self.above - self.below) / max(self.count, 1)


class Outcome(NamedTuple):
    """What came of a seed or of recordings; ``told`` and ``peer`` by who it is of and by the metric."""

    told: dict[tuple[str, str], Tally]
    peer: dict[tuple[str, str], Tally]
    fits: dict[str, Fit]
    peer_fits: dict[str, Fit]


def empty() -> Outcome:
    """Return an outcome whose dictionaries make what they lack."""
    return Outcome(defaultdict(Tally), defaultdict(Tally), defaultdict(Fit), defaultdict(Fit))


def plain(outcome: Outcome) -> Outcome:
    """Return it with plain dictionaries, which go from process to process."""
    return Outcome(*(dict(one) for one in outcome))  # type: ignore[arg-type]


def joined(outcomes: Iterable[Outcome]) -> Outcome:
    """Return several outcomes as one."""
    whole = Outcome({}, {}, {}, {})
    for outcome in outcomes:
        for held, other in zip(whole, outcome, strict=True):
            mine: dict[Any, Any] = cast(Any, held)
            for key, one in cast(Any, other).items():
                if key not in mine:
                    mine[key] = type(one)()
                mine[key].join(one)
    return whole


def over(told: dict[tuple[str, str], Tally]) -> dict[str, Tally]:
    """Return what was told of each metric by all together."""
    whole: dict[str, Tally] = {}
    for (_, metric), one in sorted(told.items(), key=lambda item: item[0][1]):
        whole.setdefault(metric, Tally()).join(one)
    return whole
