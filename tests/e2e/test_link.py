"""The link's own promises: what it keeps, what it drops, and when it gives up."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from server import brokers
from server.config import Broker
from server.errors import BrokerError, ConfigError
from server.mqtt import CLOSE_S_MAX, LIFESPAN_NS, Link
from tests.support import certificates
from tests.support.brokers import PATIENCE_S, free_port, guarded_broker, hear, running_broker, soon
from tests.support.clocks import ManualClock

pytestmark = pytest.mark.mosquitto


async def test_without_a_broker_qos_0_outlives_its_lifespan_and_qos_1_waits() -> None:
    clock = ManualClock()
    address = msgspec.convert({"port": free_port(), "program": "mosquitto"}, Broker)
    async with Link(address, clock=clock, jitter=lambda: 0.0) as speaker:
        speaker.publish("t", b"stale")
        speaker.publish("t", b"kept", qos=1)
        clock.advance(LIFESPAN_NS + 1)
        speaker.publish("t", b"fresh")
        child = brokers.child(address)
        try:
            await brokers.start(child, address)
            async with Link(address, subscriptions=["t", "end"]) as hearer:
                await hearer.ready()
                if not speaker.connected:  # else it was faster than the hearer: nothing to hear
                    await asyncio.wait_for(speaker.ready(), PATIENCE_S)
                await asyncio.wait_for(speaker.flush(), PATIENCE_S)
            assert (speaker.sent, speaker.stale) == (2, 1)
        finally:
            await child.stop(2.0)


async def test_what_waits_in_the_inbox_survives_the_loss_of_the_broker() -> None:
    async with (
        running_broker("mosquitto") as broker,
        Link(broker.address, subscriptions=["t"]) as hearer,
        Link(broker.address) as speaker,
    ):
        await hearer.ready()
        for number in range(50):
            speaker.publish("t", b"%d" % number, qos=1)
        await speaker.flush()
        await soon(lambda: hearer.received == 50)
        await broker.kill()
        await soon(lambda: not hearer.connected)
        heard = await hear(hearer, lambda arrival: arrival.payload == b"49")
        assert [int(each.payload) for each in heard] == list(range(50))


async def test_a_refusal_that_time_does_not_cure_ends_the_link() -> None:
    async with guarded_broker("allow_anonymous false") as port:
        with pytest.raises(BrokerError, match="refuses us"):
            await brokers.reach(Broker(port=port, username="ada", password="wrong"))
        link = Link(Broker(port=port))
        with pytest.raises(BrokerError, match="refuses us"):
            async with link:
                assert [arrival async for arrival in link.arrivals()] == []


async def test_leaving_without_a_broker_is_quick() -> None:
    began_s = asyncio.get_running_loop().time()
    async with Link(Broker(port=free_port())) as link:
        link.publish("t", b"never", qos=1)
    assert asyncio.get_running_loop().time() - began_s < CLOSE_S_MAX


async def test_a_broker_that_takes_the_connection_and_says_nothing_does_not_hold_us() -> None:
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, asyncio.timeout(PATIENCE_S), Link(Broker(port=server.sockets[0].getsockname()[1])):
        await connected.wait()


async def test_tls_works_with_the_right_authority_only(tmp_path: Path) -> None:
    files = await certificates.make(tmp_path)
    lines = f"allow_anonymous true\ncertfile {files.certificate}\nkeyfile {files.key}"
    async with guarded_broker(lines) as port:
        secured = {"port": port, "external": True, "tls": True}
        trusting = msgspec.convert({**secured, "tls_ca_file": str(files.certificate)}, Broker)
        async with Link(trusting, subscriptions=["t"]) as link:
            await asyncio.wait_for(link.ready(), PATIENCE_S)
            link.publish("t", b"secret", qos=1)
            assert (await hear(link, lambda _: True))[0].payload == b"secret"
        with pytest.raises(BrokerError, match="no broker answers"):
            await brokers.reach(msgspec.convert(secured, Broker))
        with pytest.raises(ConfigError, match=r"broker\.tls"):
            Link(msgspec.convert({**secured, "tls_ca_file": str(tmp_path / "none.pem")}, Broker))
