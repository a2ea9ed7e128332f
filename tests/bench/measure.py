"""How speed is measured: CPU time, all candidates in turn within one run, the best of several rounds.

Other work on the machine makes a run slower, never faster, so the best round is the one that tells most.
What matters is the ratio to the peer in the same run: both meet the same machine.
"""

import time
from collections.abc import Callable, Mapping
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
    calls = {name: _calls(case) for name, case in cases.items()}
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(rounds):
        for name, case in cases.items():
            count = range(calls[name])
            began_ns = time.process_time_ns()
            for _ in count:
                case()
            best[name] = min(best[name], (time.process_time_ns() - began_ns) * 1e-3 / len(count))
    return best


def _calls(case: Callable[[], object]) -> int:
    """Return how many calls fill a round; the first of them warms up."""
    case()
    count = 1
    while True:
        began_s = time.process_time()
        for _ in range(count):
            case()
        took_s = time.process_time() - began_s
        if took_s > ROUND_S / 4:
            return max(1, round(count * ROUND_S / took_s))
        count *= 2
