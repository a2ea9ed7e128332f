"""The one module that speaks MQTT: a link to a broker that goes away and comes back.

A `Link` puts what arrives into an inbox at once, stamped at the door, and sends what is put into its outbox.
Both are bounded and forget their oldest. When the connection breaks it comes back with exponential backoff
and jitter; nothing on either side of it is touched by that. After a reconnect the newest retained publication
of each topic is sent again (the broker may have forgotten it, or have published the last will in its place).

A publication with QoS 1 is kept until the broker has confirmed it. One with QoS 0 is not worth more than its
lifespan: if the connection was away for longer it is dropped and counted, never sent stale. All is
sent in its order, but a broker slow to confirm does not hold up what is live: what may not be on its way yet
waits in a box of its own.
"""

import asyncio
import contextlib
import logging
import random
import socket
import ssl
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

import aiomqtt

from server.clock import Clock, SystemClock
from server.config import Broker, is_loopback
from server.envelopes import Incoming
from server.errors import BrokerError, ConfigError
from server.inbox import Inbox

PAYLOAD_BYTES_MAX = 2**20
RETAINED_TOPICS_MAX = 65_536
WINDOW = 20  # publications of QoS 1 on their way at once; what brokers allow by default
BATCH = 256
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 5.0
STABLE_NS = 5_000_000_000  # a connection that lasted this long starts the backoff anew
LIFESPAN_NS = 10_000_000_000
CONNECT_S_MAX = 4.0
CLOSE_S_MAX = 2.0
CANCEL_S_MAX = 0.5
ABANDON_S_MAX = 0.1

# Refusals that trying again does not cure: protocol version, identifier, user or password, permission.
REFUSALS_FINAL = frozenset({132, 133, 134, 135, 1, 2, 4, 5})

START_S_MAX = 10.0  # how long a command that wants a broker at its start waits for one

_log = logging.getLogger(__name__)
_library_log = logging.getLogger(f"{__name__}.library")
_library_log.setLevel(logging.CRITICAL)  # its warnings are our counters


class Publication(NamedTuple):
    """A message to send; ``put_ns`` is when it was put into the outbox, ``caused_ns`` its cause's arrival."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    put_ns: int
    caused_ns: int = 0


class Will(NamedTuple):
    """What the broker publishes, with QoS 1, should the link die."""

    topic: str
    payload: bytes
    retain: bool = True


class Link:
    """A connection to a broker, as an asynchronous context manager.

    ::

        async with Link(broker, subscriptions=["kinefuse/v1/athletes/+/live"]) as link:
            await link.ready()
            link.publish("kinefuse/v1/in/strap/hr", b'{"bpm": 61}', qos=1)
            async for arrival in link.arrivals():
                ...

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
    inbox : Inbox, optional
        Where arrivals go; by default one of its own.
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
    received, sent : int
        Messages that came in, and that went out.
    refused : int
        Arrivals that were too large.
    stale : int
        Publications of QoS 0 that outlived their lifespan waiting for a connection.
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
        inbox: Inbox[Incoming] | None = None,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        on_connect: Callable[[bool], None] = lambda _: None,
        on_disconnect: Callable[[str], None] = lambda _: None,
        on_sent: Callable[[Publication], None] = lambda _: None,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.inbox = Inbox[Incoming](size=_size) if inbox is None else inbox
        self._outbox = Inbox[Publication](size=_size)
        self._assured = Inbox[Publication](size=_size)  # QoS 1 from the outbox that waits for confirmations
        self.received = self.sent = self.refused = self.stale = self.losses = 0
        self.reason = "not tried yet"
        self._broker = broker
        self._subscriptions = [(each, 1) for each in subscriptions]
        self._will = will
        self._identifier = identifier
        self._payload_bytes_max = payload_bytes_max
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._on_sent = on_sent
        self._clock = SystemClock() if clock is None else clock
        self._jitter = jitter
        self._tls = _tls_context(broker)
        self._retained: OrderedDict[str, Publication] = OrderedDict()  # the newest sent, by topic
        self._pending: deque[Publication] = deque()  # taken from the outbox, not yet sent
        self._unconfirmed: dict[int, Publication] = {}  # QoS 1 on its way, by our own number
        self._number = 0
        self._connected = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # For everybody.

    @property
    def connected(self) -> bool:
        """True while the connection and its subscriptions stand."""
        return self._connected.is_set()

    @property
    def dropped(self) -> int:
        """Publications that had to make room for newer ones."""
        return self._outbox.dropped + self._assured.dropped

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False, caused_ns: int = 0
    ) -> None:
        """Hand over a publication, at once; see the module for what becomes of it."""
        self._outbox.put(Publication(topic, payload, qos, retain, self._clock.monotonic_ns(), caused_ns))
        if len(self._outbox):
            self._idle.clear()

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
        await self._unless_ended(self._idle)

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
        self._task.add_done_callback(lambda _: self.inbox.close())
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
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, *([] if kind is None else [BrokerError])):
                await task

    # The connection.

    async def _unless_ended(self, event: asyncio.Event) -> None:
        """Wait for the event, or raise what ended the link."""
        if self._task is None:
            raise RuntimeError("the link is not entered")
        waiter = asyncio.create_task(event.wait())
        try:
            await asyncio.wait({waiter, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not event.is_set():
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
                async with self._connection() as client:
                    await self._serve(client)
            except* aiomqtt.MqttError as errors:
                reason = _reason(errors)
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

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiomqtt.Client]:
        """A connected client that is always left properly, also when cancelled half way in.

        The library connects in a thread, which cannot be cancelled, and leaves its socket to the garbage
        collector when a handshake fails: a host that is distant or speaks TLS is tried here first.
        """
        broker = self._broker
        if self._tls is not None or not is_loopback(broker.host):
            await _probe(broker.host, broker.port, self._tls)
        client = self._client()
        entering = asyncio.ensure_future(client.__aenter__())
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError:
            await asyncio.wait({entering}, timeout=CANCEL_S_MAX)
            await _abandon(
                client
            )  # before the cancelling, which would keep the library from closing its socket
            entering.cancel()
            with contextlib.suppress(aiomqtt.MqttError, asyncio.CancelledError):
                await entering
            raise
        except aiomqtt.MqttCodeError as error:
            code = getattr(error.rc, "value", error.rc)
            if code in REFUSALS_FINAL and not self.losses:
                raise BrokerError(f"the broker at {broker.host}:{broker.port} refuses us: {error}") from None
            raise
        except aiomqtt.MqttError:
            await _abandon(client)
            raise
        try:
            yield client
        finally:
            with contextlib.suppress(aiomqtt.MqttError):
                await client.__aexit__(None, None, None)

    def _client(self) -> aiomqtt.Client:
        broker, will = self._broker, self._will
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username or None,
            password=broker.password or None,
            logger=_library_log,
            identifier=self._identifier,
            queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", self._door),
            will=None if will is None else aiomqtt.Will(will.topic, will.payload, 1, will.retain),
            timeout=CONNECT_S_MAX,
            keepalive=15,
            max_inflight_messages=WINDOW,
            tls_context=self._tls,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],  # else 40 ms a window of QoS 1
        )
        client.pending_calls_threshold = 2 * WINDOW
        return client

    def _door(self, maxsize: int) -> "_Door":
        """The queue that the client puts into; see `_Door`."""
        return _Door(self._arrive, maxsize)

    def _arrive(self, message: aiomqtt.Message) -> None:
        payload = message.payload
        if len(payload) > self._payload_bytes_max:
            self.refused += 1
            return
        self.received += 1
        clock = self._clock
        topic = message.topic.value
        self.inbox.put(Incoming(topic, payload, message.retain, clock.utc_ns(), clock.monotonic_ns()))

    async def _serve(self, client: aiomqtt.Client) -> None:
        """Use one connection until it breaks (MqttError) or the outbox is closed and empty."""
        if self._subscriptions:
            codes: Sequence[Any] = await client.subscribe(self._subscriptions)
            for (topic, _), code in zip(self._subscriptions, codes, strict=False):
                if getattr(code, "value", code) >= 128:  # an int, or a ReasonCode
                    raise BrokerError(f'the broker refuses the subscription to "{topic}"')
        first = not self.losses
        self._connected.set()
        self._on_connect(first)
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_until_disconnected(client), name="mqtt watch")
            if not first:
                for publication in list(self._retained.values()):
                    await client.publish(publication.topic, publication.payload, publication.qos, retain=True)
            for number in self._unconfirmed:
                self._assure(client, group, number)
            await self._send_all(client, group)
            watch.cancel()

    async def _send_all(self, client: aiomqtt.Client, group: asyncio.TaskGroup) -> None:
        """Send from the outbox until it is closed and empty, and all is confirmed."""
        self._fill(client, group)
        while True:
            if not self._pending:
                self._rest()
                self._pending.extend(await self._outbox.drain(BATCH))
            if not self._pending:
                break
            publication = self._pending[0]
            if publication.qos:
                self._assured.put(self._pending.popleft())
                self._fill(client, group)
                continue
            waited_ns = self._clock.monotonic_ns() - publication.put_ns
            if waited_ns > LIFESPAN_NS and not publication.retain:
                self.stale += 1
            else:
                await client.publish(publication.topic, publication.payload, 0, publication.retain)
                self._remember(publication)
                self.sent += 1
                self._on_sent(publication)
            self._pending.popleft()
        await self._idle.wait()

    def _fill(self, client: aiomqtt.Client, group: asyncio.TaskGroup) -> None:
        """Send what waits with QoS 1, as much as may be on its way at once."""
        while len(self._unconfirmed) < WINDOW and (batch := self._assured.take(1)):
            self._number += 1
            self._unconfirmed[self._number] = batch[0]
            self._remember(batch[0])
            self._assure(client, group, self._number)

    def _assure(self, client: aiomqtt.Client, group: asyncio.TaskGroup, number: int) -> None:
        """Have a publication of QoS 1 sent and confirmed."""
        confirming = self._confirm(client, group, number)
        try:
            group.create_task(confirming, name="mqtt confirm")
        except RuntimeError:  # the connection broke while a write was being confirmed: the group ends
            confirming.close()
            raise aiomqtt.MqttError("disconnected while sending") from None

    async def _confirm(self, client: aiomqtt.Client, group: asyncio.TaskGroup, number: int) -> None:
        """Send one publication of QoS 1 and wait for the broker's word."""
        publication = self._unconfirmed[number]
        await client.publish(publication.topic, publication.payload, publication.qos, publication.retain)
        del self._unconfirmed[number]
        self.sent += 1
        self._on_sent(publication)
        self._fill(client, group)
        self._rest()

    def _rest(self) -> None:
        """Tell those who flush, if nothing is left to send or to be confirmed."""
        if not (self._unconfirmed or self._pending or len(self._assured) or len(self._outbox)):
            self._idle.set()

    def _remember(self, publication: Publication) -> None:
        """Keep the newest retained publication of each topic, for the next connection."""
        if not publication.retain:
            return
        self._retained.pop(publication.topic, None)
        if publication.payload:
            self._retained[publication.topic] = publication
            if len(self._retained) > RETAINED_TOPICS_MAX:
                self._retained.popitem(last=False)


class _Door(asyncio.Queue[aiomqtt.Message]):
    """The client's queue, which keeps nothing: each message goes on to the bounded inbox at once.

    The library's own queue is unbounded, or drops the newest.
    """

    def __init__(self, arrive: Callable[[aiomqtt.Message], None], maxsize: int) -> None:
        super().__init__(maxsize)
        self._arrive = arrive

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Pass the message on."""
        self._arrive(item)


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


async def _until_disconnected(client: aiomqtt.Client) -> None:
    """Raise MqttError when the connection breaks; nothing ever comes out of the queue (see `_Door`)."""
    async for _ in client.messages:
        raise AssertionError("the queue keeps nothing")


async def _abandon(client: aiomqtt.Client) -> None:
    """Close the socket of a client that did not get in, without waiting for an answer."""
    with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
        async with asyncio.timeout(ABANDON_S_MAX):
            await client.__aexit__(None, None, None)


async def _probe(host: str, port: int, tls: ssl.SSLContext | None) -> None:
    """Raise MqttError unless the port takes a connection."""
    try:
        async with asyncio.timeout(CONNECT_S_MAX):
            _, writer = await asyncio.open_connection(host, port, ssl=tls)
    except OSError as error:
        raise aiomqtt.MqttError(str(error) or "timed out") from None
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _tls_context(broker: Broker) -> ssl.SSLContext | None:
    if not broker.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=broker.tls_ca_file or None)
        if broker.tls_cert_file:
            context.load_cert_chain(broker.tls_cert_file, broker.tls_key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("broker.tls", f"the certificates cannot be used: {error}") from None
    return context


def _reason(errors: BaseExceptionGroup[aiomqtt.MqttError]) -> str:
    """The first leaf of a group, in one line."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if str(error).startswith("Disconnected"):  # the library's cause for it tells nobody anything
        return "the connection broke"
    cause = error.__cause__
    return " ".join((str(error) if cause is None else f"{error}: {cause}").split()) or type(error).__name__


def _size(item: Incoming | Publication) -> int:
    return len(item.payload) + len(item.topic)
