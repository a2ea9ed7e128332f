"""amqtt in a process of its own, with what is wrong in 0.12.1 put right.

``python -m server.brokers.amqtt_child --port N`` serves MQTT 3.1.1 on loopback until SIGTERM. The faults that
are worked around here are held by ``tests/e2e/test_brokers.py``, and the version is pinned:

* A new client receives the retained messages that match other clients' filters.
* A clean disconnect fires the last will, and loses what was published just before: when the end of the
  stream is read together with DISCONNECT, the tasks that handle packets are cancelled before they ran.
* Messages are delivered with the subscriber's QoS, even when they were published with a lower one.
* Its own command binds all interfaces and dies on SIGTERM without saying goodbye.
"""

import argparse
import asyncio
import logging
import signal
import sys
from contextvars import ContextVar
from typing import Any

import amqtt.broker
from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.errors import AMQTTError
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import Session

SHUTDOWN_S_MAX = 0.8
YIELDS_AT_END = 3

# The QoS of the message that the running client task delivers.
_published_qos: ContextVar[int | None] = ContextVar("published_qos", default=None)


class PatientReader(ReaderAdapter):  # type: ignore[misc]
    """Tells of the end of the stream only after the packets before it had their turn."""

    def __init__(self, reader: ReaderAdapter) -> None:
        self._reader = reader

    async def read(self, n: int = -1) -> bytes:
        """Read; at the end let the other tasks run first."""
        try:
            data: bytes = await self._reader.read(n)
        except (asyncio.IncompleteReadError, OSError):
            await _let_others_run()
            raise
        if not data:
            await _let_others_run()
        return data

    def feed_eof(self) -> None:
        """Mark the end of the stream."""
        self._reader.feed_eof()


async def _let_others_run() -> None:
    for _ in range(YIELDS_AT_END):
        await asyncio.sleep(0)


class Handler(BrokerProtocolHandler):  # type: ignore[misc]
    """One client's connection; remembers a goodbye whenever it came, and delivers before it leaves."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._over = False
        self._goodbye: DisconnectPacket | None = None

    def attach(self, session: Session, reader: ReaderAdapter, writer: WriterAdapter) -> None:
        """Take over a connection."""
        super().attach(session, PatientReader(reader), writer)

    async def handle_disconnect(self, disconnect: DisconnectPacket | None) -> None:
        """Note the first word of the end: a DISCONNECT, or None for a broken connection."""
        if not self._over:
            self._over = True
            self._goodbye = disconnect
        await super().handle_disconnect(disconnect)

    async def wait_disconnect(self) -> DisconnectPacket | None:
        """Return the DISCONNECT, or None, once what came before it is delivered."""
        session = self.session
        result = self._goodbye if self._over else await super().wait_disconnect()
        while session is not None and not session.delivered_message_queue.empty():  # noqa: ASYNC110
            await asyncio.sleep(0)  # the queue is amqtt's own and tells nobody that it is empty
        return self._goodbye if self._over else result


class Broker(amqtt.broker.Broker):  # type: ignore[misc]
    """The broker; only what is listed at the top differs."""

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        subscribers = self._subscriptions.get(subscription[0], [])
        if any(each.client_id == session.client_id for each, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def _handle_message_delivery(
        self, client_session: Session, handler: BrokerProtocolHandler, wait_deliver: asyncio.Future[Any]
    ) -> bool:
        message = wait_deliver.result()
        _published_qos.set(None if message is None else message.qos)
        delivered: bool = await super()._handle_message_delivery(client_session, handler, wait_deliver)
        return delivered

    async def _broadcast_message(
        self, session: Session | None, topic: str | None, data: bytes | None, force_qos: int | None = None
    ) -> None:
        # Forcing any other than 0 could exceed what a subscriber asked for.
        lowest = 0 if force_qos == 0 or (force_qos is None and _published_qos.get() == 0) else None
        await super()._broadcast_message(session, topic, data, lowest)


def configuration(host: str, port: int, websocket_port: int) -> dict[str, Any]:
    """Return amqtt's configuration: loopback, everybody may come in, none of its noisy plugins."""
    host = f"[{host}]" if ":" in host else host
    listeners = {"default": {"type": "tcp", "bind": f"{host}:{port}", "max_connections": -1}}
    if websocket_port:
        listeners["web"] = {"type": "ws", "bind": f"{host}:{websocket_port}", "max_connections": -1}
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    return {"listeners": listeners, "plugins": plugins}


async def serve(host: str, port: int, websocket_port: int) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    amqtt.broker.BrokerProtocolHandler = Handler
    broker = Broker(configuration(host, port, websocket_port))
    try:
        await broker.start()
    except AMQTTError as error:
        print(f"amqtt: {error}", file=sys.stderr)
        return 1
    await stop.wait()
    try:
        async with asyncio.timeout(SHUTDOWN_S_MAX):
            await broker.shutdown()
    except TimeoutError:
        print("amqtt: some clients did not leave in time", file=sys.stderr)
    return 0


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m server.brokers.amqtt_child", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--websocket-port", type=int, default=0)
    arguments = parser.parse_args()
    for name in ("amqtt", "transitions", "websockets", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # clients that come and go are no news
    sys.exit(asyncio.run(serve(arguments.host, arguments.port, arguments.websocket_port)))


if __name__ == "__main__":
    main()
