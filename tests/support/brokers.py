"""Real brokers for tests, each on a port that was free a moment ago, and what it takes to hear them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import msgspec

from server import brokers
from server.brokers import mosquitto
from server.brokers.process import Child
from server.config import Broker
from server.envelopes import Incoming
from server.mqtt import Link

KINDS = ("mosquitto", "amqtt")
PATIENCE_S = 60.0  # with what may take its time on a busy machine: nothing waits so long but to fail


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningBroker:
    """A broker that a test may kill and start again, on the same port."""

    def __init__(self, kind: str) -> None:
        self.address = msgspec.convert({"port": free_port(), "program": kind}, Broker)
        self.child: Child | None = None

    async def start(self) -> None:
        self.child = brokers.child(self.address)
        await brokers.start(self.child, self.address)

    async def kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        await self.child.wait()
        await self.child.stop(1.0)

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop(2.0)


@contextlib.asynccontextmanager
async def running_broker(kind: str) -> AsyncIterator[RunningBroker]:
    """Have a broker of a kind, and end it."""
    broker = RunningBroker(kind)
    try:
        await broker.start()
        yield broker
    finally:
        await broker.stop()


@contextlib.asynccontextmanager
async def guarded_broker(lines: str) -> AsyncIterator[int]:
    """Have a mosquitto with lines of configuration of one's own; gives its port."""
    program = mosquitto.find()
    assert program is not None
    address = Broker(port=free_port())
    settings = f"listener {address.port} 127.0.0.1\nuser root\n{lines}\n".encode()
    child = Child("mosquitto", mosquitto.command(program), stdin=settings)
    try:
        await brokers.start(child, address)
        yield address.port
    finally:
        await child.stop(2.0)


async def hear(link: Link, wanted: Callable[[Incoming], bool]) -> list[Incoming]:
    """Return all arrivals up to the first that is wanted; fail if it does not come."""
    heard: list[Incoming] = []
    async with asyncio.timeout(PATIENCE_S):
        while True:
            for arrival in await link.inbox.drain(limit=1):
                heard.append(arrival)
                if wanted(arrival):
                    return heard


async def soon(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; fail if it does not."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  (what is waited for is in another process)
            await asyncio.sleep(0.002)
