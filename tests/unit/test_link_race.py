"""A connection that breaks just as a write is confirmed is a lost connection, no crash."""

import asyncio
from typing import Any

import pytest

from server import mqtt
from server.config import Broker
from server.connection import LostError


class Client:
    """Publishes as aiomqtt does: by ``wait_for``, which may swallow a cancellation."""

    def __init__(self, sent: "asyncio.Future[None]", gone: "asyncio.Future[None]") -> None:
        self._sent, self._gone = sent, gone

    async def publish(self, *_: Any) -> None:
        await asyncio.wait_for(self._sent, 10)

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
        await asyncio.wait_for(link._serve(Client(sent, gone)), 5)  # type: ignore[arg-type]
    assert caught.value.split(LostError)[1] is None, "nothing but the loss of the connection"
