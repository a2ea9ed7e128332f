"""What we rely on, held by both brokers: the real mosquitto and the real amqtt, on loopback."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest

from server import brokers
from server.brokers import ports
from server.config import Broker
from server.envelopes import Incoming
from server.errors import BrokerError, PortTakenError
from server.mqtt import Link, Will
from tests.support import frames
from tests.support.brokers import KINDS, PATIENCE_S, RunningBroker, free_port, hear, running_broker, soon


@pytest.fixture(params=[pytest.param("mosquitto", marks=pytest.mark.mosquitto), "amqtt"])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[RunningBroker]:
    async with running_broker(request.param) as running:
        yield running


def is_on(topic: str) -> Callable[[Incoming], bool]:
    return lambda arrival: arrival.topic == topic


def listens_on(port: int) -> set[str]:
    """The addresses, as the kernel writes them, that somebody listens on."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1][:8] for row in rows if row[3] == ports.LISTENING and int(row[1][9:], 16) == port}


def told(arrivals: list[Incoming]) -> list[tuple[str, bytes]]:
    return [(arrival.topic, arrival.payload) for arrival in arrivals]


async def test_what_is_published_arrives_once_in_order_and_stamped(broker: RunningBroker) -> None:
    async with (
        Link(broker.address, subscriptions=["t/+/x", "end"]) as hearer,
        Link(broker.address) as speaker,
    ):
        await hearer.ready()
        await speaker.ready()
        for number in range(300):
            speaker.publish(f"t/{number % 3}/x", b"%d" % number, qos=number % 2)
            speaker.publish("t/other", b"not for us")
        await speaker.flush()
        assert speaker.sent == 600
        speaker.publish("end", b"", qos=1)
        heard = await hear(hearer, is_on("end"))
        for qos in (0, 1):
            numbers = [int(each.payload) for each in heard if each.payload and int(each.payload) % 2 == qos]
            assert numbers == list(range(qos, 300, 2))
        assert all(first.received_ns <= then.received_ns for first, then in pairwise(heard))
        assert not any(each.retained for each in heard)


async def test_retained_messages_go_to_those_who_asked_for_them(broker: RunningBroker) -> None:
    async with Link(broker.address, subscriptions=["a/#", "b/#"]) as other, Link(broker.address) as speaker:
        await other.ready()
        for topic in ("a/1", "b/1", "b/2"):
            speaker.publish(topic, b"old", qos=1, retain=True)
            speaker.publish(topic, topic.encode(), qos=1, retain=True)
        speaker.publish("b/2", b"", qos=1, retain=True)
        await speaker.flush()
        await hear(other, lambda arrival: arrival.topic == "b/2" and not arrival.payload)
        async with Link(broker.address, subscriptions=["b/#", "end"]) as late:
            await late.ready()
            speaker.publish("end", b"", qos=1)
            heard = await hear(late, is_on("end"))
            assert [(each.topic, each.payload, each.retained) for each in heard] == [
                ("b/1", b"b/1", True),
                ("end", b"", False),
            ]


async def test_the_last_will_tells_of_a_death_and_stays_retained(broker: RunningBroker) -> None:
    async with Link(broker.address, subscriptions=["status"]) as hearer:
        await hearer.ready()
        program = (
            "import asyncio\n"
            "from server.config import Broker\n"
            "from server.mqtt import Link, Will\n"
            "async def main():\n"
            f"    broker = Broker(port={broker.address.port})\n"
            "    async with Link(broker, will=Will('status', b'gone')) as link:\n"
            "        await link.ready()\n"
            "        link.publish('status', b'here', qos=1, retain=True)\n"
            "        await asyncio.Event().wait()\n"
            "asyncio.run(main())\n"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        try:
            await hear(hearer, lambda arrival: arrival.payload == b"here")
        finally:
            process.kill()
            await process.wait()
        assert told(await hear(hearer, is_on("status"))) == [("status", b"gone")]
    async with Link(broker.address, subscriptions=["status"]) as late:
        assert (await hear(late, is_on("status")))[-1].payload == b"gone"


async def test_a_goodbye_fires_no_last_will_and_loses_no_last_word(broker: RunningBroker) -> None:
    rounds = 25
    async with Link(broker.address, subscriptions=["word", "will", "end"]) as hearer:
        await hearer.ready()
        for number in range(rounds):
            async with Link(broker.address, will=Will("will", b"fired", retain=False)) as link:
                await link.ready()
                link.publish("word", b"%d" % number, qos=number % 2)
        async with Link(broker.address) as link:
            link.publish("end", b"", qos=1)
            heard = told(await hear(hearer, is_on("end")))
    assert heard == [("word", b"%d" % number) for number in range(rounds)] + [("end", b"")]


@pytest.mark.parametrize("waits", [True, False])
async def test_a_goodbye_in_one_breath_with_the_last_word_is_heard(
    broker: RunningBroker, waits: bool
) -> None:
    rounds = 40
    async with Link(broker.address, subscriptions=["word", "will", "end"]) as hearer:
        await hearer.ready()
        for number in range(rounds):
            reader, writer = await asyncio.open_connection(broker.address.host, broker.address.port)
            writer.write(frames.connect(f"brief-{number}", will=("will", b"fired")))
            if waits:
                assert await reader.readexactly(4) == frames.CONNACK_ACCEPTED
            writer.write(frames.publish("word", b"%d" % number) + frames.DISCONNECT)
            writer.close()
            await writer.wait_closed()
            # Several connections are not in order among each other: hear one before the next.
            assert told(await hear(hearer, is_on("word"))) == [("word", b"%d" % number)]
        async with Link(broker.address) as link:
            link.publish("end", b"", qos=1)
            assert told(await hear(hearer, is_on("end"))) == [("end", b"")]


async def test_a_message_is_delivered_with_no_more_qos_than_it_was_sent_with(broker: RunningBroker) -> None:
    reader, writer = await asyncio.open_connection(broker.address.host, broker.address.port)
    writer.write(frames.connect("hearer"))
    assert await reader.readexactly(4) == frames.CONNACK_ACCEPTED
    writer.write(frames.subscribe("t", 1))
    assert await reader.readexactly(5) == frames.suback(1)
    async with Link(broker.address) as speaker:
        speaker.publish("t", b"x")
        expected = frames.publish("t", b"x")
        assert await asyncio.wait_for(reader.readexactly(len(expected)), PATIENCE_S) == expected
    writer.close()
    await writer.wait_closed()


async def test_a_killed_broker_that_comes_back_finds_everybody_again(broker: RunningBroker) -> None:
    losses: list[str] = []
    connects: list[bool] = []
    async with (
        Link(broker.address, subscriptions=["t/#", "state"]) as hearer,
        Link(broker.address, on_connect=connects.append, on_disconnect=losses.append) as speaker,
    ):
        await hearer.ready()
        await speaker.ready()
        speaker.publish("state", b"first", qos=1, retain=True)
        speaker.publish("state", b"newest", qos=1, retain=True)
        speaker.publish("t/1", b"before", qos=1)
        await hear(hearer, is_on("t/1"))
        await broker.kill()
        await soon(lambda: not speaker.connected and not hearer.connected)
        speaker.publish("t/2", b"meanwhile", qos=1)
        await broker.start()
        await hearer.ready()
        await speaker.ready()
        speaker.publish("t/3", b"after", qos=1)
        await speaker.flush()
        async with Link(broker.address, subscriptions=["state", "end"]) as late:
            await late.ready()
            speaker.publish("end", b"", qos=1)
            assert told(await hear(late, is_on("end"))) == [("state", b"newest"), ("end", b"")]
        speaker.publish("t/4", b"", qos=1)
        heard = told(await hear(hearer, is_on("t/4")))
        assert ("t/3", b"after") in heard
        assert connects == [True, False]
        assert len(losses) == speaker.losses == 1


async def test_a_payload_above_the_limit_stays_at_the_door(broker: RunningBroker) -> None:
    async with (
        Link(broker.address, subscriptions=["t"], payload_bytes_max=1000) as hearer,
        Link(broker.address) as speaker,
    ):
        await hearer.ready()
        speaker.publish("t", b"x" * 1001, qos=1)
        speaker.publish("t", b"x" * 1000, qos=1)
        heard = await hear(hearer, is_on("t"))
        assert [len(each.payload) for each in heard] == [1000]
        assert (hearer.refused, hearer.received) == (1, 1)


async def test_it_listens_on_loopback_only_and_ends_when_asked(broker: RunningBroker) -> None:
    assert broker.child is not None
    holder = ports.holder(broker.address.port)
    assert holder is not None
    assert holder.endswith(f"pid {broker.child.pid}")
    await broker.child.stop(PATIENCE_S)
    assert broker.child.returncode == 0, "it had to be killed"
    assert ports.holder(broker.address.port) is None


@pytest.mark.parametrize("kind", KINDS)
async def test_a_websocket_listener_is_on_loopback_too(kind: Literal["mosquitto", "amqtt"]) -> None:
    address = Broker(port=free_port(), websocket_port=free_port(), program=kind)
    child = brokers.child(address)
    try:
        await brokers.start(child, address)
        assert ports.holder(address.websocket_port) is not None
        assert listens_on(address.port) == listens_on(address.websocket_port) == {"0100007F"}
    finally:
        await child.stop(2.0)


async def test_a_taken_port_is_refused_with_its_holder_and_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = Broker(port=taken.getsockname()[1])
        with pytest.raises(PortTakenError) as caught:
            async with brokers.running(address):
                pass
    message = str(caught.value)
    assert f"port {address.port} is taken by " in message
    assert f"pid {os.getpid()}" in message
    assert "--port N or KINEFUSE_BROKER_PORT=N" in message
    assert "\n" not in message


async def test_an_external_broker_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "REACH_S_MAX", 0.3)
    with pytest.raises(BrokerError, match="no broker answers at 127"):
        async with brokers.running(Broker(port=free_port(), external=True)):
            pass


@pytest.mark.parametrize("kind", KINDS)
async def test_a_broker_dies_with_us_even_when_we_are_killed(kind: str) -> None:
    port = free_port()
    program = (
        "import asyncio\n"
        "from server import brokers\n"
        "from server.config import Broker\n"
        "async def main():\n"
        f"    async with brokers.running(Broker(port={port}, program={kind!r})) as child:\n"
        "        print(child.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), PATIENCE_S))
    assert ports.holder(port) is not None
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await soon(lambda: ports.holder(port) is None)
    await soon(lambda: not Path(f"/proc/{pid}/cmdline").exists())
