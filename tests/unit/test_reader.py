"""The bounded reader over a socket: a chunk a wake-up, no starving, confirmations in one write."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import pytest

from server import connection, reader
from server.config import Broker
from server.envelopes import Arrivals, Chunk, count, size, unfolded
from server.frames import Topics
from server.inbox import Inbox
from server.mqtt import Link
from server.outbox import _size
from server.sendable import Bundle, Sendable
from tests.support import frames
from tests.support.brokers import PATIENCE_S, soon


class Peer(NamedTuple):
    """The broker's end of a connection, by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def sent(self, wanted: bytes) -> None:
        """Fail unless these are the next bytes."""
        async with asyncio.timeout(PATIENCE_S):
            assert await self.reader.readexactly(len(wanted)) == wanted


class Listener:
    """A broker by hand: greets, confirms a subscription, and leaves the rest to the test."""

    def __init__(self) -> None:
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.port = 0

    async def meet(self, incoming: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await frames.read(incoming)
        writer.write(frames.CONNACK_ACCEPTED)
        subscribe = await frames.read(incoming)
        writer.write(bytes([0x90, 3, *subscribe[2:4], 1]))
        self.peers.put_nowait(Peer(incoming, writer))

    async def next(self) -> Peer:
        return await asyncio.wait_for(self.peers.get(), PATIENCE_S)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    found = Listener()
    server = await asyncio.start_server(found.meet, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    while not found.peers.empty():
        found.peers.get_nowait().writer.close()


@contextlib.asynccontextmanager
async def linked(
    listener: Listener, chunks: Inbox[Arrivals], payload_bytes_max: int = 1000
) -> AsyncIterator[tuple[Link, Peer]]:
    """A link that takes chunks, connected and subscribed."""
    topics = Topics("in/")
    topics.put("ada", 5)
    broker = Broker(port=listener.port)
    link = Link(
        broker,
        subscriptions=["in/#"],
        chunks=chunks,
        topics=topics,
        payload_bytes_max=payload_bytes_max,
        jitter=lambda: 0.0,
    )
    async with link:
        peer = await listener.next()
        await link.ready(PATIENCE_S)
        try:
            yield link, peer
        finally:
            peer.writer.close()


def inbox(messages_max: int = 1000) -> Inbox[Arrivals]:
    return Inbox[Arrivals](messages_max, 2**24, size=size, count=count)


async def test_what_is_worked_on_is_confirmed_in_one_write_and_nothing_before(listener: Listener) -> None:
    chunks = inbox()
    async with linked(listener, chunks) as (link, peer):
        for number in (7, 8):
            peer.writer.write(frames.publish("in/ada/imu", b"%d" % number, flags=2, packet_id=number))
        peer.writer.write(frames.publish("in/bob/imu", b"", flags=0))
        peer.writer.write(frames.publish("in/bob/imu", b"", flags=2, packet_id=300))
        await soon(lambda: link.received == 4)
        arrivals = chunks.take()
        link.publish("told", b"first")
        await peer.sent(frames.publish("told", b"first"))  # so nothing was confirmed before
        link.done(arrivals)
        link.publish("told", b"second")
        await peer.sent(b"".join(map(frames.puback, (7, 8, 300))) + frames.publish("told", b"second"))
        assert [each.payload for each in unfolded(arrivals)] == [b"7", b"8", b"", b""]
        rows = [row for each in arrivals if isinstance(each, Chunk) for row in each.frames["device"].tolist()]
        assert rows == [5, 5, 2**32 - 1, 2**32 - 1]


async def test_chunks_of_a_lost_connection_are_not_confirmed_on_the_next(listener: Listener) -> None:
    chunks = inbox()
    async with linked(listener, chunks) as (link, peer):
        peer.writer.write(frames.publish("in/a/hr", b"old", flags=2, packet_id=1))
        await soon(lambda: link.received == 1)
        peer.writer.close()
        peer = await listener.next()
        peer.writer.write(frames.publish("in/a/hr", b"new", flags=2, packet_id=2))
        await soon(lambda: link.received == 2)
        arrivals = chunks.take()
        assert [each.payload for each in unfolded(arrivals)] == [b"old", b"new"]
        link.done(arrivals)
        await peer.sent(frames.puback(2))
        peer.writer.close()


async def test_a_full_inbox_forgets_its_oldest_and_confirms_them(listener: Listener) -> None:
    chunks = inbox(messages_max=4)
    async with linked(listener, chunks) as (link, peer):
        peer.writer.write(
            b"".join(frames.publish("in/a/hr", b"%d" % n, flags=2, packet_id=n) for n in range(1, 11))
        )
        await peer.sent(b"".join(map(frames.puback, (1, 2, 3, 4, 5, 6, 7, 8))))
        assert link.received == 10
        assert chunks.dropped == 8
        assert [each.payload for each in unfolded(chunks.take())] == [b"9", b"10"]


async def test_what_is_too_large_is_confirmed_and_never_held(listener: Listener) -> None:
    chunks = inbox()
    async with linked(listener, chunks) as (link, peer):
        large = 3 * reader.READ_BYTES_MAX
        peer.writer.write(frames.publish("in/a/hr", bytes(large), flags=2, packet_id=9))
        peer.writer.write(frames.publish("in/a/hr", bytes(large)))
        peer.writer.write(frames.publish("in/a/hr", b"small", flags=2, packet_id=10))
        await peer.sent(frames.puback(9))
        await soon(lambda: link.received == 1)
        assert link.refused == 2
        (chunk,) = chunks.take()
        assert size(chunk) < 100


async def test_a_payload_larger_than_a_read_comes_whole(listener: Listener) -> None:
    chunks = inbox()
    payload = bytes(range(256)) * 4 * 1024
    async with linked(listener, chunks, payload_bytes_max=2**20) as (_, peer):
        peer.writer.write(frames.publish("in/a/hr", payload) + frames.publish("in/a/hr", b"next"))
        told = [each.payload for each in unfolded(await chunks.drain())]
        while len(told) < 2:
            told += [each.payload for each in unfolded(await chunks.drain())]
        assert told == [payload, b"next"]


async def test_a_malformed_frame_ends_the_connection_and_says_so(listener: Listener) -> None:
    chunks = inbox()
    async with linked(listener, chunks) as (link, peer):
        peer.writer.write(frames.publish("in/a/hr", b"good") + bytes([0xF0, 0]))
        await soon(lambda: link.losses == 1)
        assert link.received == 1
        assert "malformed frame: a type that there is not" in link.reason
        peer = await listener.next()
        peer.writer.close()


async def test_a_bug_on_the_way_in_ends_the_link_and_is_no_lost_connection(listener: Listener) -> None:
    def faulty(_: Arrivals) -> int:
        raise ZeroDivisionError

    chunks = Inbox[Arrivals](size=faulty, count=count)
    losses: list[int] = []

    async def run() -> None:
        async with linked(listener, chunks) as (link, peer):
            peer.writer.write(frames.publish("in/a/hr", b"x"))
            try:
                await asyncio.wait_for(link.wait(), PATIENCE_S)
            finally:
                losses.append(link.losses)

    with pytest.raises(BaseExceptionGroup) as caught:
        await run()
    assert caught.group_contains(ZeroDivisionError)
    assert losses == [0]


async def test_a_flood_leaves_turns_to_the_loop_and_each_read_within_its_bound(listener: Listener) -> None:
    chunks = inbox(messages_max=100_000)
    turns = 0
    at_take: list[int] = []
    keep = chunks.put

    def put(item: Arrivals) -> None:
        at_take.append(turns)
        keep(item)

    chunks.put = put  # type: ignore[method-assign]
    frame = frames.publish("in/ada/imu", bytes(700))
    async with linked(listener, chunks) as (link, peer):

        async def tick() -> None:
            nonlocal turns
            while link.received < 20_000:
                turns += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        for _ in range(200):
            peer.writer.write(frame * 100)
            await peer.writer.drain()
        await asyncio.wait_for(ticking, PATIENCE_S)
        arrivals = chunks.take()
        assert sum(map(count, arrivals)) == 20_000
        assert all(len(each.data) < 2 * reader.READ_BYTES_MAX for each in arrivals if isinstance(each, Chunk))
        assert len(set(at_take)) == len(at_take), "two reads in one turn"


async def test_few_messages_are_read_at_once_and_many_are_read_together(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = inbox(messages_max=100_000)
    async with linked(listener, chunks) as (link, peer):
        loop = asyncio.get_running_loop()
        waits: list[float] = []
        later = loop.call_later

        def call_later(delay: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
            if callback.__name__ == "_wake":
                waits.append(delay)
            return later(delay, callback, *args)

        monkeypatch.setattr(loop, "call_later", call_later)
        for number in range(5):
            peer.writer.write(frames.publish("in/ada/imu", b"x"))
            await soon(lambda: link.received == number + 1)  # noqa: B023
        assert waits == []
        peer.writer.write(frames.publish("in/ada/imu", b"x") * 100)
        await soon(lambda: link.received == 105)
        assert set(waits) == {reader.PACE_S}
        peer.writer.write(frames.publish("in/ada/imu", b"x"))
        await soon(lambda: link.received == 106)


async def test_publications_of_a_batch_leave_as_one_write_and_in_their_order(listener: Listener) -> None:
    sent: list[str] = []
    sizes: list[int] = []
    chunks = inbox()
    async with linked(listener, chunks) as (link, peer):
        assert link._connection is not None

        def told(each: Sendable) -> None:
            parts = each.publications() if isinstance(each, Bundle) else [each]
            sent.extend(part.topic for part in parts)

        link._outbox._on_sent = told
        write = link._connection._client.write  # type: ignore[attr-defined]

        def counted(data: bytes) -> memoryview:
            sizes.append(len(data))
            rest: memoryview = write(data)
            return rest

        link._connection._client.write = counted  # type: ignore[attr-defined]
        for number in range(100):
            link.publish(f"out/{number}", b"x" * 1500, retain=number % 2 == 1)
        wanted = [frames.publish(f"out/{n}", b"x" * 1500, flags=n % 2) for n in range(100)]
        await peer.sent(b"".join(wanted))
        await asyncio.wait_for(link.flush(), PATIENCE_S)
        assert sent == [f"out/{number}" for number in range(100)]
        assert sizes == [len(b"".join(wanted))]


async def test_a_peer_that_takes_nothing_holds_no_more_than_one_batch(listener: Listener) -> None:
    chunks = inbox()
    async with linked(listener, chunks) as (link, peer):
        assert link._connection is not None
        inner = link._connection._client._client
        sock = inner.socket()
        assert isinstance(sock, socket.socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(200):
            link.publish("out", bytes(100_000))
        await soon(lambda: len(inner._out_packet) == 1 and link._outbox._writing != [])
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(inner._out_packet) == 1
        assert sum(_size(each) for each in link._outbox._writing) <= 400_000
        assert len(link._outbox._box) + len(link._outbox._pending) > 100
        peer.writer.transport.abort()


async def test_a_peer_that_takes_nothing_for_long_is_left_and_met_again(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WRITE_S_MAX", 0.1)
    monkeypatch.setattr(connection, "CONNECT_S_MAX", 1.0)  # also for how long a goodbye is tried
    async with linked(listener, inbox()) as (link, peer):
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(200):
            link.publish("out", bytes(100_000))
        again = await listener.next()
        await link.ready(PATIENCE_S)
        assert link.connected
        again.writer.transport.abort()
