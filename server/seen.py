"""By what a duplicate is known: keys of a device's newest low-rate messages, a ring for each that sends any.

Rings lie in blocks that never move: as objects that grow they cost half as much again, for their heads, their
room to spare and the holes that they leave.
"""

import mmap
from struct import Struct
from typing import Final

KEPT: Final = 128  # messages,
KEY_BYTES: Final = 6  # each by so much of a hash: of 10,000 a second one in seven years is taken for another
RING_BYTES: Final = KEPT * KEY_BYTES
BLOCK: Final = 256  # rings

_HASH = Struct("<q")


class Seen:
    """The rings; one that is given back is given to another device."""

    def __init__(self) -> None:
        self._blocks: list[mmap.mmap] = []
        self._free: list[int] = []

    def take(self) -> int:
        """Return the number of a ring; what is in it counts for nothing."""
        if not self._free:
            count = BLOCK * len(self._blocks)
            self._blocks.append(mmap.mmap(-1, BLOCK * RING_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            self._free += range(count + BLOCK - 1, count - 1, -1)
        return self._free.pop()

    def give_back(self, ring: int) -> None:
        """Let somebody else have a ring."""
        self._free.append(ring)

    def put(self, ring: int, count: int, key: object) -> int | None:
        """Put a key into a ring; return how many are in it, None where it is one of them.

        Parameters
        ----------
        ring : int
            Its number.
        count : int
            What the last call with it returned, at first 0; from `KEPT` on it tells the place, too.
        key : hashable
            What the message is known by.
        """
        block, begin = self._blocks[ring // BLOCK], ring % BLOCK * RING_BYTES
        known, end = _HASH.pack(hash(key))[:KEY_BYTES], begin + min(count, KEPT) * KEY_BYTES
        at = block.find(known, begin, end)  # ten times as fast as to compare one by one
        while at >= 0 and (at - begin) % KEY_BYTES:
            at = block.find(known, at + 1, end)
        if at >= 0:
            return None
        at = begin + count % KEPT * KEY_BYTES
        block[at : at + KEY_BYTES] = known
        return count + 1 if count + 1 < 2 * KEPT else KEPT
