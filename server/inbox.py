"""A bounded mailbox between a producer that must not wait and a consumer that takes batches.

The socket puts, the engine drains; the engine puts, the socket drains. It is bounded by messages and by
bytes. ``put`` never waits: when the box is full the oldest goes first, and is counted. An item is one
message, or several that came together.
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
        The most messages kept, at least 1.
    bytes_max : int
        The most bytes kept, as ``size`` tells them. One item larger than that is refused (and counted).
    size : callable
        Bytes of one item; by default none are counted.
    count : callable
        Messages in one item; by default it is one.

    Attributes
    ----------
    dropped : int
        Messages that were forgotten or refused.
    on_drop : callable
        Called with each item that was.
    """

    def __init__(
        self,
        items_max: int = ITEMS_MAX,
        bytes_max: int = BYTES_MAX,
        size: Callable[[T], int] = lambda _: 0,
        count: Callable[[T], int] | None = None,
    ) -> None:
        if items_max < 1 or bytes_max < 1:
            raise ValueError("an inbox holds at least one item and one byte")
        self.items_max = items_max
        self.on_drop: Callable[[T], None] = lambda _: None
        self._items: deque[tuple[T, int, int]] = deque()
        self._bytes_max = bytes_max
        self._size = size
        self._count = count
        self._waiting = 0
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._closed = False
        self.dropped = 0

    def __len__(self) -> int:
        return self._waiting

    @property
    def bytes(self) -> int:
        """Bytes that the waiting messages hold."""
        return self._bytes

    @property
    def closed(self) -> bool:
        """True once nothing more is taken in."""
        return self._closed

    def put(self, item: T) -> None:
        """Add an item at once; the oldest make room for it, their messages counted in ``dropped``."""
        size = self._size(item)
        count = 1 if self._count is None else self._count(item)
        if size > self._bytes_max or count > self.items_max or self._closed:
            self._drop(item, count)
            return
        while self._items and (
            self._waiting + count > self.items_max or self._bytes + size > self._bytes_max
        ):
            oldest, bytes_, messages = self._items.popleft()
            self._bytes -= bytes_
            self._waiting -= messages
            self._drop(oldest, messages)
        self._items.append((item, size, count))
        self._waiting += count
        self._bytes += size
        if not self._arrived.is_set():
            self._arrived.set()

    def take(self, limit: int = ITEMS_MAX) -> list[T]:
        """Return the oldest items at once, perhaps none: until they hold at least ``limit`` messages."""
        batch: list[T] = []
        items = self._items
        while items and limit > 0:
            item, size, count = items.popleft()
            self._bytes -= size
            self._waiting -= count
            limit -= count
            batch.append(item)
        if not self._items and not self._closed:
            self._arrived.clear()
        return batch

    async def drain(self, limit: int = ITEMS_MAX) -> list[T]:
        """Wait for at least one item; return the oldest, as ``take`` does.

        An empty list means that the box is closed and empty: there will be no more.
        """
        await self._arrived.wait()
        return self.take(limit)

    def close(self) -> None:
        """Take nothing more; whoever drains gets what is left, then empty lists."""
        self._closed = True
        self._arrived.set()

    def _drop(self, item: T, count: int) -> None:
        self.dropped += count
        self.on_drop(item)
