"""The link to a broker that goes away and comes back: what the rest of the program knows of MQTT.

A `Link` puts what arrives into a bounded inbox at once, stamped at the door, and sends what is put into its
bounded outbox (``server/outbox.py``). When the connection (``server/connection.py``) breaks it comes back
with exponential backoff and jitter; nothing on either side of it is touched by that.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Literal, Self

from server.clock import Clock, SystemClock
from server.config import Broker
from server.connection import Connection, Connector, Door, LostError, Will
from server.envelopes import Arrivals, Chunk, Incoming, Outgoing, count, size, unfolded
from server.errors import BrokerError
from server.frames import Topics
from server.inbox import Inbox
from server.outbox import LIFESPAN_NS, Outbox
from server.sendable import Bundle, Publication, Sendable, bundled

PAYLOAD_BYTES_MAX = 2**20
BATCH = 256
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 5.0
STABLE_NS = 5_000_000_000  # a connection that lasted this long starts the backoff anew
CLOSE_S_MAX = 2.0

START_S_MAX = 10.0  # how long a command that wants a broker at its start waits for one

_log = logging.getLogger(__name__)


class Link:
    """A connection to a broker, as an asynchronous context manager.

    ::

        async with Link(broker, subscriptions=["kinefuse/v1/athletes/+/live"]) as link:
            await link.ready()
            link.publish("kinefuse/v1/in/strap/hr", b'{"bpm": 61}', qos=1)
            async for arrival in link.arrivals():
                ...

    Who works on much takes it as it comes, and confirms it once it is worked on::

        chunks = Inbox[Arrivals](size=size, count=count)
        async with Link(broker, subscriptions=["kinefuse/v1/in/+/+"], chunks=chunks) as link:
            while arrivals := await chunks.drain():
                work_on(arrivals)
                link.done(arrivals)

    Parameters
    ----------
    broker : Broker
        Where it is, and who we are there.
    subscriptions : sequence of str
        Topic filters, all with QoS 1.
    will : Will, optional
        Published by the broker if the link ends in any other way than by leaving the context.
    identifier : str, optional
        The client's; two links with one identifier throw each other out.
    persistent : bool
        The broker keeps messages of QoS 1 for this identifier while it is away; what was not confirmed by
        `done` comes again.
    chunks : Inbox, optional
        Where arrivals go, as they come. Without it they go to ``inbox`` one by one, and are confirmed on
        arrival.
    topics : Topics, optional
        Rows of devices that the frames of chunks are given.
    payload_bytes_max : int
        A larger payload is dropped at the door and counted in ``refused``.
    on_connect : callable, optional
        Called after each time the subscriptions stand, with True the first time.
    on_disconnect : callable, optional
        Called with the reason each time a connection is lost.
    on_sent : callable, optional
        Called with each publication when it has gone to the socket (QoS 1: when the broker has confirmed it).
    clock : Clock, optional
        Stamps arrivals.
    jitter : callable
        Returns the next random number in [0, 1).

    Attributes
    ----------
    inbox : Inbox
        Arrivals, one by one.
    received : int
        Messages that came in.
    refused : int
        Arrivals that were too large.
    losses : int
        Connections lost.
    reason : str
        Why there is, or was last, no connection.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        subscriptions: Sequence[str] = (),
        will: Will | None = None,
        identifier: str | None = None,
        persistent: bool = False,
        chunks: Inbox[Arrivals] | None = None,
        topics: Topics | None = None,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        on_connect: Callable[[bool], None] = lambda _: None,
        on_disconnect: Callable[[str], None] = lambda _: None,
        on_sent: Callable[[Sendable], None] = lambda _: None,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.inbox = Inbox[Incoming](size=size)
        self.received = self.refused = self.losses = 0
        self.reason = "not tried yet"
        self._broker = broker
        self._will = will
        self._subscriptions = list(subscriptions)
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._clock = SystemClock() if clock is None else clock
        self._jitter = jitter
        self._chunks = chunks
        if chunks is not None:
            chunks.on_drop = lambda arrival: self.done([arrival])
        door = Door(
            self._keep if chunks is not None else self._unfold,
            self._refuse,
            payload_bytes_max,
            self.inbox.items_max if chunks is None else chunks.items_max,
            Topics() if topics is None else topics,
        )
        self._connector = Connector(
            broker, door, self._clock, identifier=identifier, persistent=persistent, will=will
        )
        self._connection: Connection | None = None
        self._outbox = Outbox(self._clock, on_sent)
        self._connected = asyncio.Event()
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # For everybody.

    @property
    def connected(self) -> bool:
        """True while the connection and its subscriptions stand."""
        return self._connected.is_set()

    @property
    def sent(self) -> int:
        """Messages that went out."""
        return self._outbox.sent

    @property
    def dropped(self) -> int:
        """Publications that had to make room for newer ones."""
        return self._outbox.dropped

    @property
    def stale(self) -> int:
        """Publications of QoS 0 that outlived their lifespan waiting for a connection."""
        return self._outbox.stale

    @property
    def reader(self) -> Literal["bounded", "public"]:
        """The path that serves; see ``server/connection.py``. Needs a running event loop."""
        return self._connector.path

    @property
    def acks(self) -> Literal["after_processing", "on_arrival"]:
        """When messages of QoS 1 are confirmed."""
        return "on_arrival" if self._chunks is None or self.reader == "public" else "after_processing"

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False, caused_ns: int = 0
    ) -> None:
        """Hand over a publication, at once; see the module for what becomes of it."""
        self.publish_all([Outgoing(topic, payload, qos, retain, caused_ns)])

    def publish_all(self, messages: Iterable[Outgoing]) -> None:
        """Hand over what a tick gave, at once."""
        self._outbox.put(bundled(messages, self._clock.monotonic_ns()))

    def publish_frames(self, frames: bytes, causes_ns: Sequence[int]) -> None:
        """Hand over messages of QoS 0 that are frames already, with the arrival of each one's cause."""
        if causes_ns:
            self._outbox.put([Bundle(frames, tuple(causes_ns), self._clock.monotonic_ns())])

    def discard(self) -> None:
        """Drop what waits, which must all be of QoS 0."""
        self._outbox.discard()

    @property
    def ended(self) -> bool:
        """True once the broker has refused it for good, or it was left."""
        return self._task is not None and self._task.done()

    def read(self) -> None:
        """Put what has come by now into the box of arrivals, and not only when the loop comes to it."""
        if self._connection is not None and self.connected:
            self._connection.read()

    def done(self, arrivals: Iterable[Arrivals]) -> None:
        """Confirm what was worked on, or is not to be; what came by an earlier connection is left out."""
        if self._connection is not None:
            self._connection.acknowledge(each for each in arrivals if isinstance(each, Chunk))

    async def ready(self, within_s: float | None = None) -> None:
        """Wait until connected and subscribed.

        Raises
        ------
        BrokerError
            The broker will never have us, or none answered ``within_s`` seconds.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._unless_ended(self._connected)
        except TimeoutError:
            broker = self._broker
            start = "start it" if broker.is_external else f"start one with kinefuse up --port {broker.port}"
            raise BrokerError(
                f"no broker answers at {broker.host}:{broker.port} ({self.reason}): {start}, "
                "or name another with KINEFUSE_BROKER_HOST and --port"
            ) from None

    async def flush(self) -> None:
        """Wait until all that was published is sent and, with QoS 1, confirmed."""
        await self._unless_ended(self._outbox.idle)

    async def arrivals(self) -> AsyncIterator[Incoming]:
        """Yield what comes in, across reconnects, until the link is left."""
        while batch := await self.inbox.drain(BATCH):
            for arrival in batch:
                yield arrival

    async def wait(self) -> None:
        """Wait until the link ends by itself, which it does only by raising `BrokerError`."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="mqtt link")
        self._task.add_done_callback(lambda _: self._close_inboxes())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what is left, if that is quick, and say goodbye, so that the last will is not published."""
        task = self._task
        if task is None:
            return
        self._outbox.close()
        self._leaving.set()
        try:
            await asyncio.wait({task}, timeout=CLOSE_S_MAX)
            if not task.done():
                await self._say_will()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, *([] if kind is None else [BrokerError])):
                await task

    async def _say_will(self) -> None:
        """Publish the last will: what says as much still waits, and a goodbye keeps the broker from it."""
        if self._connection is None or self._will is None:
            return
        topic, payload, retain = self._will
        with contextlib.suppress(LostError, TimeoutError):
            async with asyncio.timeout(CLOSE_S_MAX):
                now_ns = self._clock.monotonic_ns()
                await self._connection.send([Publication(topic, payload, 0, retain, now_ns)])

    # The connection.

    async def _unless_ended(self, event: asyncio.Event) -> None:
        """Wait for the event, or raise what ended the link."""
        if self._task is None:
            raise RuntimeError("the link is not entered")
        waiter = asyncio.create_task(event.wait())
        try:
            await asyncio.wait({waiter, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not waiter.done():  # the event itself may have been cleared again since
                self._task.result()
                raise BrokerError("the link to the broker is closed")
        finally:
            waiter.cancel()

    async def _run(self) -> None:
        """Connect, serve, and again, until left."""
        failures, warned = 0, False
        while True:
            started_ns = self._clock.monotonic_ns()
            reason = ""
            try:
                async with self._connector.connect(first=not self.losses) as connection:
                    self._connection = connection
                    await self._serve(connection)
            except* LostError as errors:
                reason = _reason(errors)
            self._connection = None
            was_connected = self._connected.is_set()
            self._connected.clear()
            if not reason:
                return
            self.reason = reason
            if was_connected:
                self.losses += 1
                self._on_disconnect(reason)
                if self._clock.monotonic_ns() - started_ns > STABLE_NS:
                    failures = 0
            if self._leaving.is_set():
                return
            delay_s = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2.0**failures) * (0.5 + 0.5 * self._jitter())
            failures = min(failures + 1, 16)
            if was_connected or not warned:
                warned = True
                where = f"{self._broker.host}:{self._broker.port}"
                _log.warning("no connection to the broker at %s (%s): trying again", where, reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), delay_s)
                return

    async def _serve(self, connection: Connection) -> None:
        """Use one connection until it breaks (LostError) or the outbox is closed and empty."""
        if self._subscriptions:
            await connection.subscribe(self._subscriptions)
        first = not self.losses
        self._connected.set()
        self._on_connect(first)
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(connection.lost(), name="mqtt watch")
            await self._outbox.send(connection, group, again=not first)
            watch.cancel()

    # The door.

    def _keep(self, arrival: Arrivals) -> None:
        assert self._chunks is not None
        self.received += count(arrival)
        self._chunks.put(arrival)

    def _unfold(self, arrival: Arrivals) -> None:
        self.received += count(arrival)
        for each in unfolded([arrival]):
            self.inbox.put(each)
        self.done([arrival])

    def _refuse(self) -> None:
        self.refused += 1

    def _close_inboxes(self) -> None:
        self.inbox.close()
        if self._chunks is not None:
            self._chunks.close()


def warn_as(command: str) -> None:
    """Show warnings of links on stderr, as of a command; those of one moment make one line."""
    warned_s = float("-inf")

    def is_fresh(record: logging.LogRecord) -> bool:
        nonlocal warned_s
        fresh = record.created - warned_s > 1.0
        warned_s = record.created if fresh else warned_s
        return fresh

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"kinefuse: {command}: %(message)s"))
    handler.addFilter(is_fresh)
    _log.addHandler(handler)
    _log.propagate = False


def _reason(errors: BaseExceptionGroup[LostError]) -> str:
    """The first leaf of a group, in one line."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if str(error).startswith("Disconnected"):  # the library's cause for it tells nobody anything
        return "the connection broke"
    cause = error.__cause__
    return " ".join((str(error) if cause is None else f"{error}: {cause}").split()) or type(error).__name__


__all__ = ["LIFESPAN_NS", "START_S_MAX", "Link", "Publication", "Sendable", "Will", "warn_as"]
