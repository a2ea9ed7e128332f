"""What happens at the same moment as something else ends no link that stands."""

import asyncio
from typing import Any

import pytest

from server import mqtt
from server.config import Broker
from server.connection import LostError
from tests.support.brokers import PATIENCE_S, free_port


class Client:
    """Publishes as aiomqtt does: by ``wait_for``, which may swallow a cancellation."""

    def __init__(self, sent: "asyncio.Future[None]", gone: "asyncio.Future[None]") -> None:
        self._sent, self._gone = sent, gone

    async def publish(self, *_: Any) -> None:
        await asyncio.wait_for(self._sent, PATIENCE_S)

    send = publish

    async def lost(self) -> None:
        await self._gone
        raise LostError("disconnected")


async def test_a_write_confirmed_as_the_connection_breaks_ends_in_a_lost_connection() -> None:
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    sent: asyncio.Future[None] = loop.create_future()

    link = mqtt.Link(Broker(port=1))
    link.publish("a", b"", qos=0)
    link.publish("b", b"", qos=1)

    def both() -> None:
        gone.set_result(None)
        loop.call_soon(lambda: None if sent.done() else sent.set_result(None))

    loop.call_later(0.01, both)
    with pytest.raises(BaseExceptionGroup) as caught:
        await asyncio.wait_for(link._serve(Client(sent, gone)), PATIENCE_S)  # type: ignore[arg-type]
    assert caught.value.split(LostError)[1] is None, "nothing but the loss of the connection"


async def test_flush_ends_also_where_more_is_published_before_it_learns_that_all_was_sent() -> None:
    async with mqtt.Link(Broker(port=free_port())) as link:
        link.publish("a", b"")
        flushing = asyncio.create_task(link.flush())
        await asyncio.sleep(0)  # it waits
        await asyncio.sleep(0)
        link._outbox.idle.set()  # the last is sent,
        link._outbox.idle.clear()  # and the next is published
        await asyncio.wait_for(flushing, PATIENCE_S)
