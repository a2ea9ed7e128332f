"""Keys of a device's newest messages: what a list of the newest would say."""

import random
from collections import deque

from server.seen import BLOCK, KEPT, Seen


def test_a_key_is_known_while_it_is_among_the_newest_of_its_ring() -> None:
    dice, seen = random.Random(1), Seen()
    rings = [seen.take() for _ in range(3)]
    newest: list[deque[int]] = [deque(maxlen=KEPT) for _ in rings]
    counts = [0] * len(rings)
    for _ in range(6000):
        which, key = dice.randrange(len(rings)), dice.randrange(3 * KEPT)
        count = seen.put(rings[which], counts[which], key)
        assert (count is None) == (key in newest[which])
        if count is not None:
            newest[which].append(key)
            counts[which] = count
    assert all(KEPT <= count < 2 * KEPT for count in counts)


def test_who_is_given_a_used_ring_inherits_nothing() -> None:
    seen = Seen()
    ring = seen.take()
    assert seen.put(ring, 0, "a") == 1
    seen.give_back(ring)
    assert seen.take() == ring
    assert seen.put(ring, 0, "a") == 1
    assert seen.put(ring, 1, "a") is None


def test_rings_are_many() -> None:
    seen = Seen()
    rings = [seen.take() for _ in range(2 * BLOCK + 1)]
    assert len(set(rings)) == len(rings)
    assert all(seen.put(ring, 0, ring) == 1 for ring in rings)
    assert all(seen.put(ring, 1, ring) is None and seen.put(ring, 1, -1 - ring) == 2 for ring in rings)
