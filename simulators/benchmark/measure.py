"""How speed is measured: CPU time, all candidates in turn within one run, over several rounds.

Other work on the machine makes a run slower, never faster, so the best round tells most about a time. What
matters is the ratio to the peer in the same run, since both meet the same machine: of those, round by round,
the median.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple

ROUNDS = 7
ROUND_S = 0.03


class Cost(NamedTuple):
    """What one unit of something costs. Without a peer it stands for itself."""

    what: str
    us: float
    unit: str
    peer: str = ""
    peer_us: float = 0.0

    def line(self) -> str:
        """Return a line of the table."""
        ours = f"{self.what:<46}{self.us:>10.2f} us/{self.unit:<9}"
        if not self.peer:
            return ours
        return f"{ours}{self.peer_us / self.us:>8.2g}x  {self.peer}, {self.peer_us:.2f} us"


def best_us(cases: Mapping[str, Callable[[], object]], *, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the CPU time of one call of each case, us: the best round of each, the cases taking turns."""
    return {name: min(times) for name, times in rounds_us(cases, rounds=rounds).items()}


def rounds_us(cases: Mapping[str, Callable[[], object]], *, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return the CPU time of one call of each case in each round, us, the cases taking turns.

    What a case's attribute ``prepare`` does before each call, where it has one, is not counted.
    """
    calls = {name: _calls(case) for name, case in cases.items()}
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            found[name].append(_spent_ns(case, calls[name]) * 1e-3 / calls[name])
    return found


def _spent_ns(case: Callable[[], object], calls: int) -> int:
    """Return the CPU time of so many calls."""
    prepare = getattr(case, "prepare", None)
    if prepare is None:
        began_ns = time.process_time_ns()
        for _ in range(calls):
            case()
        return time.process_time_ns() - began_ns
    spent_ns = 0
    for _ in range(calls):
        prepare()
        began_ns = time.process_time_ns()
        case()
        spent_ns += time.process_time_ns() - began_ns
    return spent_ns


def ratio(ours: list[float], peer: list[float]) -> float:
    """Return the median over the rounds of ours over the peer's."""
    return median(a / b for a, b in zip(ours, peer, strict=True))


def _calls(case: Callable[[], object]) -> int:
    """Return how many calls fill a round; the first of them warms up."""
    _spent_ns(case, 1)
    count = 1
    while True:
        took_s = _spent_ns(case, count) * 1e-9
        if took_s > ROUND_S / 4:
            return max(1, round(count * ROUND_S / took_s))
        count *= 2
