"""A real server as a process of its own, and what a test sends to it and hears of it."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from server.brokers.process import Child
from server.config import Broker
from server.envelopes import Incoming
from server.messages import Live, ServerStatus, Workout
from server.mqtt import Link
from tests.support.brokers import PATIENCE_S, hear

END_S = 5.0


def command(name: str, broker: Broker, *arguments: str | Path) -> Child:
    """Return one of our own commands as a child that is not started yet, talking to ``broker``."""
    words = [sys.executable, "-m", "server", name, "--port", str(broker.port)]
    return Child(name, [*words, *(str(argument) for argument in arguments)])


@contextlib.asynccontextmanager
async def running(child: Child) -> AsyncIterator[Child]:
    """Start a child; end it, as Ctrl-C does, when the test is done with it."""
    try:
        await child.start()
        yield child
    finally:
        await child.stop(END_S)


@contextlib.asynccontextmanager
async def serving(broker: Broker, config: str = "", folder: Path | None = None) -> AsyncIterator[Child]:
    """Have a server with a configuration, connected and subscribed."""
    arguments: list[str | Path] = []
    if config:
        assert folder is not None
        path = folder / "kinefuse.toml"
        path.write_text(config)
        arguments = ["--config", path]
    async with (
        Link(broker, subscriptions=[f"{broker.root}/server/status"]) as link,
        running(command("serve", broker, *arguments)) as child,
    ):
        await hear(link, lambda arrival: status(arrival).state == "online" and not arrival.retained)
        yield child


async def finished(child: Child, within_s: float) -> str:
    """Wait for a command's end; return its output, fail unless it ended well."""
    async with asyncio.timeout(within_s):
        code = await child.wait()
    assert code == 0, child.last_words()
    return "\n".join(child.tail)


def status(arrival: Incoming) -> ServerStatus:
    return msgspec.json.decode(arrival.payload, type=ServerStatus)


def live(arrival: Incoming) -> Live:
    return msgspec.json.decode(arrival.payload, type=Live)


def workout(arrival: Incoming) -> Workout:
    return msgspec.json.decode(arrival.payload, type=Workout)


def value(message: Live, metric: str) -> float | None:
    found = message.metrics[metric].value
    return None if found is None else float(found)


__all__ = ["PATIENCE_S", "command", "finished", "live", "running", "serving", "status", "value", "workout"]


def own_kib(pid: int) -> int:
    """Return the anonymous memory of a process, KiB: pages of files come and go as the kernel likes."""
    found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])
