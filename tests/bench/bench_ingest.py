"""What a message costs on its way in and out, beside the public path of aiomqtt; no engine, real sockets.

In: from the socket to the inbox, split, its device looked up among thousands, at full speed over loopback;
another process blasts. Out: from ``publish_all`` to the socket, 500 live messages of 1.5 kB at once.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Literal

from server.config import Broker
from server.envelopes import Arrivals, Outgoing, count, size
from server.frames import Topics
from server.inbox import Inbox
from server.loop import Loop
from server.mqtt import Link
from simulators.benchmark.measure import Cost, best_us
from tests.bench import blaster

LIVE = 500
LIVE_BYTES = 1_500


def costs() -> Iterator[Cost]:
    """Yield the cost of a message in, and of one out."""
    loop = Loop()
    asyncio.set_event_loop(loop)
    command = [sys.executable, "-m", "tests.bench.blaster"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        port = int(child.stdout.readline())
        try:
            bounded, public = (_Ingest(loop, port, path) for path in ("bounded", "public"))
            us = best_us({"bounded": bounded.receive, "public": public.receive})
            packets = blaster.MESSAGES
            yield Cost(
                "IMU packet in, socket to inbox, looked up",
                us["bounded"] / packets,
                "message",
                "the public path",
                us["public"] / packets,
            )
            us = best_us({"bounded": bounded.publish, "public": public.publish})
            yield Cost(
                "live message out, publish to socket",
                us["bounded"] / LIVE,
                "message",
                "the public path",
                us["public"] / LIVE,
            )
            bounded.close()
            public.close()
        finally:
            child.stdin.close()
            loop.close()


class _Ingest:
    """A link by one of the paths."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, port: int, path: Literal["bounded", "public"]
    ) -> None:
        topics = Topics(blaster.PREFIX)
        for number in range(blaster.DEVICES):
            topics.put(blaster.device(number), number)
        self._loop = loop
        self._chunks = Inbox[Arrivals](size=size, count=count)
        self._live = [Outgoing("kinefuse/v1/athletes/athlete-00001/live", bytes(LIVE_BYTES))] * LIVE
        self._link = Link(
            Broker(port=port, reader=path),
            subscriptions=[f"{blaster.PREFIX}+/imu"],
            chunks=self._chunks,
            topics=topics,
        )
        self._run(self._enter)

    def receive(self) -> None:
        """Have one blast come in."""
        self._run(self._receive)

    def publish(self) -> None:
        """Send what a second of live messages is."""
        self._run(self._publish)

    def close(self) -> None:
        self._run(self._leave)

    def _run(self, doing: Callable[[], object]) -> None:
        self._loop.run_until_complete(doing())  # type: ignore[arg-type]

    async def _enter(self) -> None:
        await self._link.__aenter__()
        await self._link.ready(5.0)
        assert self._link.reader == self._link._broker.reader

    async def _leave(self) -> None:
        await self._link.__aexit__(None, None, None)

    async def _receive(self) -> None:
        self._link.publish("go", b"")
        waiting = blaster.MESSAGES
        while waiting > 0:
            arrivals = await self._chunks.drain()
            self._link.done(arrivals)
            waiting -= sum(map(count, arrivals))

    async def _publish(self) -> None:
        self._link.publish_all(self._live)
        await self._link.flush()
