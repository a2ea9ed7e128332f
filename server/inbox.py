"""A bounded mailbox between a producer that must not wait and a consumer that takes batches.

The socket puts, the engine drains; the engine puts, the socket drains. It is bounded by items and by bytes.
``put`` never waits: when the box is full the oldest goes first, and is counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

ITEMS_MAX = 65_536
BYTES_MAX = 64 * 2**20

T = TypeVar("T")


class Inbox(Generic[T]):
    """A queue for one event loop that forgets its oldest rather than grow or wait.

    Parameters
    ----------
    items_max : int
        The most items kept, at least 1.
    bytes_max : int
        The most bytes kept, as ``size`` tells them. One item larger than that is refused (and counted).
    size : callable
        Bytes of one item; by default none are counted.
    """

    def __init__(
        self,
        items_max: int = ITEMS_MAX,
        bytes_max: int = BYTES_MAX,
        size: Callable[[T], int] = lambda _: 0,
    ) -> None:
        if items_max < 1 or bytes_max < 1:
            raise ValueError("an inbox holds at least one item and one byte")
        self._items: deque[tuple[T, int]] = deque()
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._size = size
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._closed = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def bytes(self) -> int:
        """Bytes that the waiting items hold."""
        return self._bytes

    @property
    def closed(self) -> bool:
        """True once nothing more is taken in."""
        return self._closed

    def put(self, item: T) -> None:
        """Add an item at once; the oldest make room for it, each counted in ``dropped``."""
        size = self._size(item)
        if size > self._bytes_max or self._closed:
            self.dropped += 1
            return
        while len(self._items) >= self._items_max or self._bytes + size > self._bytes_max:
            _, oldest = self._items.popleft()
            self._bytes -= oldest
            self.dropped += 1
        self._items.append((item, size))
        self._bytes += size
        if not self._arrived.is_set():
            self._arrived.set()

    def take(self, limit: int = ITEMS_MAX) -> list[T]:
        """Return the oldest items at once, at most ``limit``, perhaps none."""
        items = self._items
        batch = []
        for _ in range(min(limit, len(items))):
            item, size = items.popleft()
            self._bytes -= size
            batch.append(item)
        if not items and not self._closed:
            self._arrived.clear()
        return batch

    async def drain(self, limit: int = ITEMS_MAX) -> list[T]:
        """Wait for at least one item; return the oldest, at most ``limit``.

        An empty list means that the box is closed and empty: there will be no more.
        """
        await self._arrived.wait()
        return self.take(limit)

    def close(self) -> None:
        """Take nothing more; whoever drains gets what is left, then empty lists."""
        self._closed = True
        self._arrived.set()
