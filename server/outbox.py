"""What waits to be sent, in its order, within its bounds, and what becomes of it when a connection breaks.

A publication with QoS 1 is kept until the broker has confirmed it. One with QoS 0 is not worth more than its
lifespan: if the connection was away for longer it is dropped and counted, never sent stale. All is sent in
its order, many of QoS 0 in one write, and no more is taken before that is written. But a broker slow to
confirm does not hold up what is live: what may not be on its way yet waits in a box of its own.

After a reconnect the newest retained publication of each topic is sent again: the broker may have forgotten
it, or have published the last will in its place.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from server.clock import Clock
from server.connection import WINDOW, Connection, LostError
from server.inbox import Inbox
from server.sendable import Bundle, Publication, Sendable

RETAINED_TOPICS_MAX = 65_536
BATCH = 512
WRITE_BYTES_MAX = 256 * 1024  # in one write, but for a single publication that is larger
LIFESPAN_NS = 10_000_000_000


class Outbox:
    """Publications on their way out; see the module.

    Parameters
    ----------
    clock : Clock
        Tells what is stale.
    on_sent : callable
        Called with each publication, or bundle of some, when it has gone to the socket (QoS 1: when the
        broker has confirmed it).

    Attributes
    ----------
    idle : asyncio.Event
        Set while all is sent and confirmed.
    sent, stale : int
        Publications that went out, and those of QoS 0 that outlived their lifespan.
    """

    def __init__(self, clock: Clock, on_sent: Callable[[Sendable], None]) -> None:
        self.idle = asyncio.Event()
        self.idle.set()
        self.sent = self.stale = 0
        self._clock = clock
        self._on_sent = on_sent
        self._box = Inbox[Sendable](size=_size, count=_count)
        self._assured = Inbox[Publication](size=_size)  # QoS 1 that waits for confirmations
        self._pending: deque[Sendable] = deque()  # taken from the box
        self._writing: list[Sendable] = []  # QoS 0 on its way to the socket
        self._unconfirmed: dict[int, Publication] = {}  # QoS 1 on its way, by our own number
        self._number = 0
        self._retained: OrderedDict[str, Publication] = OrderedDict()  # the newest sent, by topic

    @property
    def dropped(self) -> int:
        """Publications that had to make room for newer ones."""
        return self._box.dropped + self._assured.dropped

    def put(self, publications: Iterable[Sendable]) -> None:
        """Hand over publications, or bundles of some, at once."""
        put = self._box.put
        for each in publications:
            put(each)
        if len(self._box):
            self.idle.clear()

    def close(self) -> None:
        """Take nothing more."""
        self._box.close()

    async def send(self, connection: Connection, group: asyncio.TaskGroup, *, again: bool) -> None:
        """Send by one connection until closed and empty, and all is confirmed.

        Parameters
        ----------
        connection : Connection
            Raises LostError once it is broken: what was not sent or confirmed waits for the next.
        group : asyncio.TaskGroup
            In which confirmations are waited for.
        again : bool
            This is not the first connection.
        """
        if again:
            self._put_again()
        for number in self._unconfirmed:
            self._assure(connection, group, number)
        self._pending.extendleft(reversed(self._writing))
        self._writing = []
        self._fill(connection, group)
        while True:
            if not self._pending:
                self._rest()
                self._pending.extend(await self._box.drain(BATCH))
            if not self._pending:
                break
            self._sort_out()
            if self._writing:
                await connection.send(self._writing)
                written, self._writing = self._writing, []
                for publication in written:
                    self._remember(publication)
                    self._tell(publication)
                if self._pending or len(self._box):
                    await asyncio.sleep(0)  # the socket may take all at once: others have their turn
            while self._pending and isinstance(self._pending[0], Publication) and self._pending[0].qos:
                self._assured.put(self._pending[0])
                self._pending.popleft()
                self._fill(connection, group)
        await self.idle.wait()

    def discard(self) -> None:
        """Drop all that waits: it is all of QoS 0, and what follows it goes another way."""
        gone = [*self._writing, *self._pending, *self._box.take(len(self._box))]
        self._writing, self._pending = [], deque()
        self.stale += sum(map(_count, gone))
        self._rest()

    def _put_again(self) -> None:
        """Let the newest retained publications go again, before what waits: it may be of the same topics."""
        unconfirmed = {id(each) for each in self._unconfirmed.values()}
        kept = [each for each in self._retained.values() if id(each) not in unconfirmed]
        self._pending.extendleft(each for each in reversed(kept) if not each.qos)
        waiting = self._assured.take(len(self._assured))
        for each in [*(each for each in kept if each.qos), *waiting]:
            self._assured.put(each)

    def _sort_out(self) -> None:
        """Take what is next and of QoS 0 for one write."""
        now_ns = self._clock.monotonic_ns()
        size = 0
        while self._pending and not self._pending[0].qos and size < WRITE_BYTES_MAX:
            publication = self._pending.popleft()
            if now_ns - publication.put_ns > LIFESPAN_NS and not publication.retain:
                self.stale += _count(publication)
                continue
            self._writing.append(publication)
            size += _size(publication)

    def _fill(self, connection: Connection, group: asyncio.TaskGroup) -> None:
        """Send what waits with QoS 1, as much as may be on its way at once."""
        while len(self._unconfirmed) < WINDOW and (batch := self._assured.take(1)):
            self._number += 1
            self._unconfirmed[self._number] = batch[0]
            self._remember(batch[0])
            self._assure(connection, group, self._number)

    def _assure(self, connection: Connection, group: asyncio.TaskGroup, number: int) -> None:
        """Have a publication of QoS 1 sent and confirmed."""
        confirming = self._confirm(connection, group, number)
        try:
            group.create_task(confirming, name="mqtt confirm")
        except RuntimeError:  # the connection broke while a write was being confirmed: the group ends
            confirming.close()
            raise LostError("disconnected while sending") from None

    async def _confirm(self, connection: Connection, group: asyncio.TaskGroup, number: int) -> None:
        """Send one publication of QoS 1 and wait for the broker's word."""
        publication = self._unconfirmed[number]
        await connection.publish(publication)
        del self._unconfirmed[number]
        self._tell(publication)
        self._fill(connection, group)
        self._rest()

    def _tell(self, publication: Sendable) -> None:
        self.sent += _count(publication)
        self._on_sent(publication)

    def _rest(self) -> None:
        """Tell those who flush, if nothing is left to send or to be confirmed."""
        waiting = len(self._assured) or len(self._box)
        if not (self._unconfirmed or self._pending or self._writing or waiting):
            self.idle.set()

    def _remember(self, publication: Sendable) -> None:
        """Keep the newest retained publication of each topic, for the next connection."""
        if isinstance(publication, Bundle) or not publication.retain:
            return
        self._retained.pop(publication.topic, None)
        if publication.payload:
            self._retained[publication.topic] = publication
            if len(self._retained) > RETAINED_TOPICS_MAX:
                self._retained.popitem(last=False)


def _size(item: Sendable) -> int:
    return len(item.frames) if isinstance(item, Bundle) else len(item.payload) + len(item.topic)


def _count(item: Sendable) -> int:
    return len(item.causes_ns) if isinstance(item, Bundle) else 1
