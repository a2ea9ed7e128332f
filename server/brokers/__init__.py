"""A broker to talk to: one that is there, else mosquitto as a child, else amqtt as a child.

::

    async with running(config.broker) as child:     # None if the broker is external
        ...

A broker of our own listens on this machine only, keeps nothing on disk and dies with us.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable

from server.brokers import mosquitto, ports
from server.brokers.process import Child
from server.config import Broker
from server.errors import BrokerError, PortTakenError
from server.mqtt import Link

START_S_MAX = 15.0
REACH_S_MAX = 5.0
STOP_S_MAX = 1.0
RETRY_S = 0.005

ADVICE = (
    "choose another with --port N or KINEFUSE_BROKER_PORT=N, or use the broker that is there "
    "with KINEFUSE_BROKER_EXTERNAL=true"
)
WEBSOCKET_ADVICE = "choose another with KINEFUSE_BROKER_WEBSOCKET_PORT=N, or 0 for none"


def child(broker: Broker, *, on_line: Callable[[str], None] = lambda _: None) -> Child:
    """Return a broker's process that is not started yet.

    Parameters
    ----------
    broker : Broker
        Where it is to listen, and which program, if not mosquitto where it is found.
    on_line : callable, optional
        Called with each line that it says.

    Raises
    ------
    BrokerError
        mosquitto was asked for and is not installed.
    """
    program = None if broker.program == "amqtt" else mosquitto.find()
    if program is not None:
        settings = mosquitto.configuration(broker).encode()

        def tell(line: str) -> None:
            if mosquitto.ROOT_WARNING not in line:
                on_line(line)

        return Child("mosquitto", mosquitto.command(program), stdin=settings, on_line=tell)
    if broker.program == "mosquitto":
        raise BrokerError("mosquitto is not installed; on Debian: apt-get install mosquitto")
    command = [sys.executable, "-m", "server.brokers.amqtt_child", "--host", broker.host]
    command += ["--port", str(broker.port), "--websocket-port", str(broker.websocket_port)]
    return Child("amqtt", command, on_line=on_line)


async def start(process: Child, broker: Broker) -> None:
    """Start a broker's process and wait until it takes connections.

    Raises
    ------
    PortTakenError
        Its port is another's.
    BrokerError
        It ended, or did not answer in time.
    """
    ports.check(broker.host, broker.port, advice=ADVICE)
    if broker.websocket_port:
        ports.check(broker.host, broker.websocket_port, advice=WEBSOCKET_ADVICE)
    await process.start()
    ended = asyncio.create_task(process.wait())
    try:
        async with asyncio.timeout(START_S_MAX):
            for port in filter(None, (broker.port, broker.websocket_port)):
                while not await _accepts(broker.host, port):
                    # Until it listens there is nothing to wait for but its end.
                    await asyncio.wait({ended}, timeout=RETRY_S)
                    if ended.done():
                        raise BrokerError(f"the broker did not start: {process.last_words()}")
    except TimeoutError:
        raise BrokerError(f"the broker did not answer in {START_S_MAX:g} s: {process.last_words()}") from None
    finally:
        ended.cancel()


async def reach(broker: Broker) -> None:
    """Return once an external broker lets us in; raise `BrokerError` if it does not in time."""
    async with Link(broker) as link:
        await link.ready(REACH_S_MAX)


@contextlib.asynccontextmanager
async def running(broker: Broker) -> AsyncIterator[Child | None]:
    """Have a broker: the external one, else a child that is ended on leaving."""
    if broker.is_external:
        await reach(broker)
        yield None
        return
    process = child(broker)
    try:
        await start(process, broker)
        yield process
    finally:
        await process.stop(STOP_S_MAX)


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


__all__ = ["BrokerError", "PortTakenError", "child", "reach", "running", "start"]
