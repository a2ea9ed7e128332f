"""The bounded reader beside real brokers: all paths give the same, nothing is lost that was confirmed."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server import contract, loop
from server.config import Broker
from server.envelopes import Arrivals, Incoming, count, size, unfolded
from server.inbox import Inbox
from server.mqtt import Link
from tests.support import certificates, frames
from tests.support.brokers import PATIENCE_S, RunningBroker, guarded_broker, hear, running_broker, soon
from tests.support.servers import command, running, status

pytestmark = pytest.mark.mosquitto

FLOOD = 20_000


@pytest.fixture
async def broker() -> AsyncIterator[RunningBroker]:
    async with running_broker("mosquitto") as found:
        yield found


def inbox() -> Inbox[Arrivals]:
    return Inbox[Arrivals](2 * FLOOD, size=size, count=count)


def reading(broker: Broker, path: str) -> Broker:
    return msgspec.structs.replace(broker, reader=path)


async def flooded(speaker: Link, hearer: Link, messages: int, qos: int) -> list[Incoming]:
    """Publish messages and return what came of them."""
    for number in range(messages):
        speaker.publish(f"t/{number % 7}", b"%d" % number * 20, qos=qos)
    speaker.publish("end", b"", qos=qos)
    return (await hear(hearer, lambda arrival: arrival.topic == "end"))[:-1]


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("path", ["bounded", "public", "broken"])
async def test_every_path_gives_all_messages_in_their_order(
    broker: RunningBroker, path: str, qos: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = reading(broker.address, path if path == "public" else "bounded")
    if path == "broken":
        monkeypatch.setattr(contract, "broken", lambda: ("paho has changed",))
    async with Link(address, subscriptions=["t/+", "end"]) as hearer, Link(address) as speaker:
        await hearer.ready()
        await speaker.ready()
        assert hearer.reader == ("bounded" if path == "bounded" else "public")
        heard = await flooded(speaker, hearer, 500, qos)
        assert [(each.topic, each.payload) for each in heard] == [
            (f"t/{number % 7}", b"%d" % number * 20) for number in range(500)
        ]
        assert hearer.received == 501


async def test_tls_leaves_nothing_behind_in_its_own_buffer(tmp_path: Path) -> None:
    files = await certificates.make(tmp_path)
    async with guarded_broker(
        f"allow_anonymous true\ncertfile {files.certificate}\nkeyfile {files.key}"
    ) as port:
        secured = msgspec.convert(
            {"port": port, "external": True, "tls": True, "tls_ca_file": str(files.certificate)}, Broker
        )
        async with Link(secured, subscriptions=["t/+", "end"]) as hearer, Link(secured) as speaker:
            await hearer.ready()
            await speaker.ready()
            assert hearer.reader == "bounded"
            heard = await flooded(speaker, hearer, 5_000, 0)
            assert [each.payload for each in heard] == [b"%d" % number * 20 for number in range(5_000)]
            speaker.publish("t/1", bytes(300_000), qos=1)  # many records of TLS in one message
            (large,) = await hear(hearer, lambda _: True)
            assert large.payload == bytes(300_000)


async def test_it_works_on_the_loop_of_the_server(broker: RunningBroker) -> None:
    here = asyncio.get_running_loop()

    async def on_uvloop() -> None:
        async def outside(doing: Coroutine[Any, Any, None]) -> None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(doing, here))

        address = broker.address
        async with Link(address, subscriptions=["t/+", "end"]) as hearer, Link(address) as speaker:
            await hearer.ready()
            await speaker.ready()
            assert len(await flooded(speaker, hearer, FLOOD, 0)) == FLOOD
            await outside(broker.kill())
            await soon(lambda: not hearer.connected and not speaker.connected)
            await outside(broker.start())
            await hearer.ready()
            await speaker.ready()
            assert len(await flooded(speaker, hearer, 100, 1)) == 100

    await asyncio.to_thread(loop.run, on_uvloop())


async def test_what_was_not_worked_on_comes_again_to_whoever_bears_the_name(broker: RunningBroker) -> None:
    @contextlib.asynccontextmanager
    async def named() -> AsyncIterator[tuple[Link, Inbox[Arrivals]]]:
        chunks = inbox()
        async with Link(
            broker.address, subscriptions=["t"], identifier="server", persistent=True, chunks=chunks
        ) as link:
            await link.ready()
            yield link, chunks

    def told(chunks: Inbox[Arrivals]) -> list[bytes]:
        return [each.payload for each in unfolded(chunks.take())]

    async with Link(broker.address) as speaker:
        async with named() as (link, chunks):
            assert link.acks == "after_processing"
            for word in (b"a", b"b", b"c"):
                speaker.publish("t", word, qos=1)
            await speaker.flush()
            await soon(lambda: link.received == 3)
            first, *_ = arrivals = chunks.take()
            assert len(list(unfolded(arrivals))) == 3
            link.done([first])
            done = count(first)
        speaker.publish("t", b"d", qos=1)
        await speaker.flush()
        async with named() as (link, chunks):
            wanted = [b"a", b"b", b"c", b"d"][done:]
            await soon(lambda: link.received == len(wanted))
            assert told(chunks) == wanted
        async with named() as (link, chunks):
            await soon(lambda: link.received == len(wanted))
            link.done(chunks.take())
        async with named() as (link, chunks):
            speaker.publish("t", b"e", qos=1)
            await soon(lambda: link.received > 0)
            assert told(chunks) == [b"e"]


async def test_what_came_before_the_subscription_stood_is_not_confirmed_to_the_next_connection() -> None:
    confirmed: list[bytes] = []
    connections = 0

    async def scripted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        packet_id = connections
        await frames.read(reader)
        writer.write(frames.CONNACK_ACCEPTED)
        subscribing = await frames.read(reader)
        writer.write(frames.publish("t", b"%d" % packet_id, flags=2, packet_id=packet_id))
        if packet_id == 1:
            await soon(lambda: link.received == 1)  # and is not subscribed yet
        else:
            writer.write(bytes([0x90, 3, *subscribing[2:4], 1]))
            with contextlib.suppress(asyncio.IncompleteReadError):
                while True:
                    confirmed.append(await frames.read(reader))
        writer.close()

    server = await asyncio.start_server(scripted, "127.0.0.1", 0)
    async with server:
        address = Broker(port=server.sockets[0].getsockname()[1])
        chunks = inbox()
        async with Link(address, subscriptions=["t"], chunks=chunks) as link:
            await soon(lambda: link.received == 2)
            link.done(chunks.take())
            await soon(lambda: frames.puback(2) in confirmed)
    assert frames.puback(1) not in confirmed


async def test_many_may_wait_for_their_confirmation(broker: RunningBroker) -> None:
    chunks = inbox()
    async with (
        Link(broker.address, subscriptions=["t"], chunks=chunks) as link,
        Link(broker.address) as speaker,
    ):
        await link.ready()
        for number in range(2_000):
            speaker.publish("t", b"%d" % number, qos=1)
        await soon(lambda: link.received == 2_000)  # none of them is confirmed: a broker's usual limit is 20
        arrivals = chunks.take()
        link.done(arrivals)
        assert [int(each.payload) for each in unfolded(arrivals)] == list(range(2_000))


async def test_a_server_that_dies_before_it_confirms_is_told_again(
    broker: RunningBroker, tmp_path: Path
) -> None:
    config = tmp_path / "kinefuse.toml"
    config.write_text('[broker]\nclient_id = "kinefuse"\n')
    address = broker.address
    async with (
        Link(address, subscriptions=[f"{address.root}/server/status"]) as watcher,
        Link(address) as device,
    ):
        await watcher.ready()
        async with running(command("serve", address, "--config", config)) as server:
            online = await hear(watcher, lambda each: status(each).state == "online" and not each.retained)
            assert (status(online[-1]).reader, status(online[-1]).acks) == ("bounded", "after_processing")
            assert server._process is not None
            server._process.send_signal(signal.SIGSTOP)  # what comes now is taken by its socket, not by it
            for number in range(3):
                device.publish(f"{address.root}/in/d{number}/hr", b'{"bpm": 90}', qos=1)
            await device.flush()
            server.kill()
            await server.wait()
        for number in range(3, 5):
            device.publish(f"{address.root}/in/d{number}/hr", b'{"bpm": 90}', qos=1)
        await device.flush()
        async with running(command("serve", address, "--config", config)):
            await hear(watcher, lambda each: status(each).devices == 5)


async def test_the_public_path_says_that_it_confirms_on_arrival(
    broker: RunningBroker, tmp_path: Path
) -> None:
    config = tmp_path / "kinefuse.toml"
    config.write_text('[broker]\nreader = "public"\n')
    address = broker.address
    async with (
        Link(address, subscriptions=[f"{address.root}/server/status"]) as watcher,
        running(command("serve", address, "--config", config)),
    ):
        online = await hear(watcher, lambda each: status(each).state == "online" and not each.retained)
        assert (status(online[-1]).reader, status(online[-1]).acks) == ("public", "on_arrival")


async def test_a_broker_that_is_killed_in_a_flood_is_found_again(broker: RunningBroker) -> None:
    async with Link(broker.address, subscriptions=["t"]) as hearer, Link(broker.address) as speaker:
        await hearer.ready()
        await speaker.ready()
        for _ in range(FLOOD):
            speaker.publish("t", bytes(200))
        await soon(lambda: hearer.received > 1_000)
        await broker.kill()
        await soon(lambda: not hearer.connected and not speaker.connected)
        hearer.inbox.take()
        await broker.start()
        await asyncio.wait_for(hearer.ready(), PATIENCE_S)
        speaker.publish("t", b"after", qos=1)
        await hear(hearer, lambda arrival: arrival.payload == b"after")
        assert hearer.losses == speaker.losses == 1
