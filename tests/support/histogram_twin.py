"""The readable twin of csrc/histogram.c: log-linear buckets, 32 in each octave."""

SUBDIVISION_BITS = 5
BUCKETS = 1_088


def bucket(ns: int) -> int:
    """Return the bucket of a time, ns."""
    ns = max(ns, 0)
    shift = ns.bit_length() - SUBDIVISION_BITS - 1
    if shift <= 0:
        return ns
    return min((shift << SUBDIVISION_BITS) + (ns >> shift), BUCKETS - 1)


class Twin:
    """Counts, misses and the longest of times against a budget."""

    def __init__(self, budget_ns: int) -> None:
        self.budget_ns = budget_ns
        self.counts = [0] * BUCKETS
        self.misses = 0
        self.max_ns = -1

    def observe(self, ns: int) -> bool:
        ns = max(ns, 0)
        self.counts[bucket(ns)] += 1
        self.max_ns = max(self.max_ns, ns)
        self.misses += ns > self.budget_ns
        return ns <= self.budget_ns
