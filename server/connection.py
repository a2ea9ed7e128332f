"""One connection to a broker, by aiomqtt: how it is made, read, written and left.

aiomqtt and paho own it. What they do once for each message, 50 µs in and as much out, is done here for many
at once: the bounded reader (``server/reader.py``) reads in their place, and what is published with QoS 0 is
handed to them as one buffer. That stands on private parts of both libraries. Where those are not what they
were (``server/contract.py``), or the configuration says so, the public path serves: aiomqtt as documented,
which confirms a message on arrival, before anybody has worked on it.
"""

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, cast

import aiomqtt

from server import contract, frames
from server.clock import Clock
from server.config import Broker, is_loopback
from server.envelopes import Arrivals, Chunk, Incoming
from server.errors import BrokerError, ConfigError
from server.frames import Splitter, Topics
from server.reader import Reader
from server.sendable import Bundle, Publication, Sendable, encoded

WINDOW = 20  # publications of QoS 1 on their way at once; what brokers allow by default
CONNECT_S_MAX = 4.0
WRITE_S_MAX = 4.0
CANCEL_S_MAX = 0.5
ABANDON_S_MAX = 0.1

# Refusals that trying again does not cure: protocol version, identifier, user or password, permission.
REFUSALS_FINAL = frozenset({132, 133, 134, 135, 1, 2, 4, 5})

LostError = aiomqtt.MqttError

_library_log = logging.getLogger(f"{__name__}.library")
_library_log.setLevel(logging.CRITICAL)  # its warnings are our counters


class Will(NamedTuple):
    """What the broker publishes, with QoS 1, should the link die."""

    topic: str
    payload: bytes
    retain: bool = True


class Door(NamedTuple):
    """Where arrivals go in, and what of them is too large (which is only counted)."""

    take: Callable[[Arrivals], None]
    refuse: Callable[[], None]
    payload_bytes_max: int
    messages_max: int  # in one chunk
    topics: Topics


class Connection:
    """A connection on the public path."""

    def __init__(self, client: aiomqtt.Client, number: int, first: bool) -> None:
        self.number = number
        self._client = client
        self._first = first

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe with QoS 1.

        Raises
        ------
        BrokerError
            The broker refuses one of them, and this is the first connection. Later it is a LostError: a
            broker that has just started may not know us yet.
        """
        codes: Sequence[Any] = await self._client.subscribe([(topic, 1) for topic in topics])
        for topic, code in zip(topics, codes, strict=False):
            if getattr(code, "value", code) >= 128:  # an int, or a ReasonCode
                told = f'the broker refuses the subscription to "{topic}"'
                raise BrokerError(told) if self._first else LostError(told)

    async def publish(self, publication: Publication) -> None:
        """Send one publication; with QoS 1 wait for the broker's word."""
        topic, payload, qos, retain, *_ = publication
        await self._client.publish(topic, payload, qos, retain)

    async def send(self, publications: Sequence[Sendable]) -> None:
        """Send publications of QoS 0; return once they have gone to the socket."""
        for each in publications:
            for publication in each.publications() if isinstance(each, Bundle) else (each,):
                await self.publish(publication)

    def read(self) -> None:
        """Read what has come by now, where that is ours to do."""

    def acknowledge(self, chunks: Iterable[Chunk]) -> None:
        """Tell the broker that messages have been worked on, where it waits for that."""

    async def lost(self) -> None:
        """Raise `LostError` when the connection breaks; nothing comes out of the queue (see `_Queue`)."""
        async for _ in self._client.messages:
            raise AssertionError("the queue keeps nothing")


class BoundedConnection(Connection):
    """A connection that is read by `Reader` and written in joined buffers."""

    _client: "_Client"

    async def send(self, publications: Sequence[Sendable]) -> None:
        """Send publications of QoS 0; return once they have gone to the socket."""
        rest = self._client.write(b"".join(encoded(publications)))
        if not rest:
            return
        written = asyncio.Event()
        self._client.queue(frames.PUBLISH, rest, 0, contract.Written(written.set))
        try:
            async with asyncio.timeout(WRITE_S_MAX):
                await written.wait()
        except TimeoutError:
            raise LostError("the broker takes nothing") from None

    def read(self) -> None:
        """Read what has come by now."""
        self._client.read()

    def acknowledge(self, chunks: Iterable[Chunk]) -> None:
        """Confirm the messages of QoS 1 of this connection, in one write; the broker has forgotten others."""
        ids = frames.packet_ids(chunk.frames for chunk in chunks if chunk.connection == self.number)
        if len(ids):
            self._client.queue(frames.PUBACK, frames.pubacks(ids), 1)

    async def lost(self) -> None:
        """Raise `LostError` when the connection breaks; a bug of the reader as it is."""
        try:
            await super().lost()
        except LostError:
            if self._client.fault:
                raise LostError(self._client.fault) from None
            if self._client.failure is not None:
                raise self._client.failure from None
            raise


class Connector:
    """Makes connections, all alike.

    Parameters
    ----------
    broker : Broker
        Where it is, and who we are there.
    door : Door
        Where arrivals go in.
    clock : Clock
        Stamps arrivals.
    identifier : str, optional
        The client's.
    persistent : bool
        The broker keeps subscriptions, and messages of QoS 1, for this identifier while we are away.
    will : Will, optional
        What the broker publishes should the connection break.
    """

    def __init__(
        self,
        broker: Broker,
        door: Door,
        clock: Clock,
        *,
        identifier: str | None,
        persistent: bool,
        will: Will | None,
    ) -> None:
        self._broker = broker
        self._door = door
        self._clock = clock
        self._identifier = identifier
        self._persistent = persistent
        self._will = will
        self._tls = _tls_context(broker)
        self._numbers = itertools.count()

    @property
    def path(self) -> Literal["bounded", "public"]:
        """The path that serves: the configured one, if it can. Needs a running event loop."""
        return "public" if self._broker.reader == "public" or contract.broken() else "bounded"

    @contextlib.asynccontextmanager
    async def connect(self, first: bool) -> AsyncIterator[Connection]:
        """Have a connection that is always left properly, also when cancelled half way in.

        Each has a number of its own, also one that came to nothing: what it brought is confirmed to no other.

        The library connects in a thread, which cannot be cancelled, and leaves its socket to the garbage
        collector when a handshake fails: a host that is distant or speaks TLS is tried here first.

        Raises
        ------
        LostError
            There is none to be had, for now; or it broke.
        BrokerError
            The broker refuses us for good, and this is the first connection.
        """
        broker = self._broker
        if self._tls is not None or not is_loopback(broker.host):
            await _probe(broker.host, broker.port, self._tls)
        client, connection = self._make(first)
        entering = asyncio.ensure_future(client.__aenter__())
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError:
            await asyncio.wait({entering}, timeout=CANCEL_S_MAX)
            # Before the cancelling, which would keep the library from closing its socket.
            await _abandon(client)
            entering.cancel()
            with contextlib.suppress(aiomqtt.MqttError, asyncio.CancelledError):
                await entering
            raise
        except aiomqtt.MqttCodeError as error:
            code = getattr(error.rc, "value", error.rc)
            if code in REFUSALS_FINAL and first:
                raise BrokerError(f"the broker at {broker.host}:{broker.port} refuses us: {error}") from None
            raise
        except aiomqtt.MqttError:
            await _abandon(client)
            raise
        try:
            yield connection
        finally:
            with contextlib.suppress(aiomqtt.MqttError):
                await client.__aexit__(None, None, None)
            if isinstance(client, _Client):
                client.forget()

    def _make(self, first: bool) -> tuple[aiomqtt.Client, Connection]:
        """Return a client of the path that serves, and its connection."""
        broker, will, number = self._broker, self._will, next(self._numbers)
        arguments: dict[str, Any] = {
            "username": broker.username or None,
            "password": broker.password or None,
            "logger": _library_log,
            "identifier": self._identifier,
            "clean_session": not self._persistent,
            "protocol": aiomqtt.ProtocolVersion.V311,  # what `server.frames` reads and writes
            "queue_type": cast("type[asyncio.Queue[aiomqtt.Message]]", self._queue),
            "will": None if will is None else aiomqtt.Will(will.topic, will.payload, 1, will.retain),
            "timeout": CONNECT_S_MAX,
            "keepalive": 15,
            "max_inflight_messages": WINDOW,
            "tls_context": self._tls,
            # Without it 40 ms a window of QoS 1. SO_RCVBUF is left alone: set, it grows no more by itself.
            "socket_options": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        }
        if self.path == "public":
            client = aiomqtt.Client(broker.host, broker.port, **arguments)
            connection = Connection(client, number, first)
        else:
            client = _Client(broker.host, broker.port, **arguments)
            client.read_by(self._door, self._clock, number)
            connection = BoundedConnection(client, number, first)
        client.pending_calls_threshold = 2 * WINDOW
        return client, connection

    def _queue(self, maxsize: int) -> "_Queue":
        return _Queue(self._arrive, maxsize)

    def _arrive(self, message: aiomqtt.Message) -> None:
        payload = message.payload
        if len(payload) > self._door.payload_bytes_max:
            self._door.refuse()
            return
        clock = self._clock
        topic = message.topic.value
        self._door.take(Incoming(topic, payload, message.retain, clock.utc_ns(), clock.monotonic_ns()))


class _Client(aiomqtt.Client):
    """A client of aiomqtt whose socket is read by a `Reader`."""

    failure: Exception | None = None  # what ended the reader, where paho did not see to it
    _reader: Reader

    def read_by(self, door: Door, clock: Clock, number: int) -> None:
        """Make the reader."""

        def refuse(packet_id: int) -> None:
            door.refuse()
            if packet_id:  # dropped is done with: the broker need not keep it
                self.queue(frames.PUBACK, bytes((frames.PUBACK, 2, packet_id >> 8, packet_id & 255)), 1)

        splitter = Splitter(door.topics, door.payload_bytes_max, door.messages_max)
        self._reader = Reader(
            self._client, splitter, clock, number, take=door.take, refuse=refuse, fail=self._fail
        )

    def read(self) -> None:
        """Read what has come by now."""
        self._reader.read()

    @property
    def fault(self) -> str:
        """What the broker sent that ends the connection, if it did."""
        return self._reader.fault

    def queue(self, command: int, packet: bytes | memoryview, qos: int, info: Any = None) -> None:
        """Let paho write a packet after all that it was given before."""
        self._client._packet_queue(command, cast("bytes", packet), 0, qos, info)

    def write(self, data: bytes) -> memoryview:
        """Write what the socket takes at once; return the rest, which is to be queued before all else.

        To have paho wait for the socket and write costs more than to write, and mostly there is room. What is
        wrong with the socket paho finds with the rest.
        """
        view, sent = memoryview(data), 0  # a view: paho cuts off what is sent, which copies bytes
        if not self._client.want_write():
            with contextlib.suppress(OSError, ValueError):
                sent = self._client._sock_send(cast("bytes", view))
        return view[sent:]

    def forget(self) -> None:
        """Take note of how the connection ended, where nobody was waiting for its end any more."""
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:
        super()._on_socket_open(client, userdata, sock)
        self._loop.call_soon_threadsafe(self._reader.open, sock)  # replaces the callback that was just set

    def _on_socket_close(self, client: Any, userdata: Any, sock: Any) -> None:
        self._reader.close()
        super()._on_socket_close(client, userdata, sock)

    def _fail(self, error: Exception) -> None:
        self.failure = error
        if not self._disconnected.done():
            self._disconnected.set_exception(error)


class _Queue(asyncio.Queue[aiomqtt.Message]):
    """The client's queue, which keeps nothing: each message goes on to the bounded inbox at once.

    The library's own queue is unbounded, or drops the newest.
    """

    def __init__(self, arrive: Callable[[aiomqtt.Message], None], maxsize: int) -> None:
        super().__init__(maxsize)
        self._arrive = arrive

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Pass the message on."""
        self._arrive(item)


async def _abandon(client: aiomqtt.Client) -> None:
    """Close the socket of a client that did not get in, without waiting for an answer."""
    with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
        async with asyncio.timeout(ABANDON_S_MAX):
            await client.__aexit__(None, None, None)


async def _probe(host: str, port: int, tls: ssl.SSLContext | None) -> None:
    """Raise LostError unless the port takes a connection."""
    try:
        async with asyncio.timeout(CONNECT_S_MAX):
            _, writer = await asyncio.open_connection(host, port, ssl=tls)
    except OSError as error:
        raise LostError(str(error) or "timed out") from None
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
