"""A connection that breaks just as a write is confirmed is a lost connection, no crash."""

import asyncio
from typing import Any

import aiomqtt
import pytest

from server import mqtt
from server.config import Broker


class Client:
    """Publishes as aiomqtt does: by ``wait_for``, which may swallow a cancellation."""

    def __init__(self, sent: "asyncio.Future[None]") -> None:
        self._sent = sent

    async def publish(self, *_: Any) -> None:
        await asyncio.wait_for(self._sent, 10)


async def test_a_write_confirmed_as_the_connection_breaks_ends_in_a_lost_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    sent: asyncio.Future[None] = loop.create_future()

    async def watch(client: Any) -> None:
        await gone
        raise aiomqtt.MqttError("disconnected")

    monkeypatch.setattr(mqtt, "_until_disconnected", watch)
    link = mqtt.Link(Broker(port=1))
    link.publish("a", b"", qos=0)
    link.publish("b", b"", qos=1)

    def both() -> None:
        gone.set_result(None)
        loop.call_soon(lambda: None if sent.done() else sent.set_result(None))

    loop.call_later(0.01, both)
    with pytest.raises(BaseExceptionGroup) as caught:
        await asyncio.wait_for(link._serve(Client(sent)), 5)  # type: ignore[arg-type]
    assert caught.value.split(aiomqtt.MqttError)[1] is None, "nothing but the loss of the connection"
