"""What a fleet runs against: a broker and a server as processes of this machine, on loopback."""

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from server import brokers
from server.brokers import mosquitto
from server.brokers.process import Child
from server.config import Broker
from server.errors import BrokerError, ServerError
from server.mqtt import Link
from simulators.benchmark.usage import Usage, family

ONLINE_S_MAX = 60.0
END_S_MAX = 10.0
# One client, the server, takes all that thousands send: no message of QoS 1 waits for another's confirmation.
BROKER_SETTINGS = "max_inflight_messages 0\nmax_connections -1\n"


class Subject(NamedTuple):
    """A server under test: its name, and the command that starts it.

    ``--port``, ``--root`` (of a peer) and ``--config`` (of ours) are added. It must publish
    ``{"state": "online"}`` on ``server/status``, retained, once it is subscribed.
    """

    name: str
    command: list[str]
    is_ours: bool

    @classmethod
    def ours(cls) -> "Subject":
        """Return this server."""
        return cls("server", [sys.executable, "-m", "server", "serve"], is_ours=True)

    @classmethod
    def peer(cls, command: str) -> "Subject":
        """Return a peer: a shell-like command, a Python file, or a module's name."""
        words = shlex.split(command)
        if len(words) == 1:
            is_file = words[0].endswith(".py")
            words = [sys.executable, *([] if is_file else ["-m"]), *words]
        return cls("peer", words, is_ours=False)


class Told:
    """What the server says of itself."""

    def __init__(self) -> None:
        self.statuses: list[dict[str, Any]] = []  # of this server, in order
        self.deadlines: dict[str, Any] = {}
        self.misses: list[tuple[int, int]] = []  # t_ms, in the interval that ended then
        self.health: dict[str, Any] = {}
        self.online = asyncio.Event()

    def take(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Take note of a message."""
        try:
            body = msgspec.json.decode(payload)
        except msgspec.DecodeError:
            return
        kind = topic.rpartition("/")[2]
        if not isinstance(body, dict):
            return
        if kind == "health":
            self.health = body
        elif kind == "status" and not retained:
            if body.get("state") == "online":
                self.online.set()
            if body.get("version"):  # the broker's word on its death has none
                self.statuses.append(body)
        elif kind == "deadlines":
            self.deadlines = body
            self.misses.append((int(body.get("t_ms", 0)), int(body.get("misses", 0))))

    def modes(self, after_ms: int) -> list[str]:
        """Return the mode at a time, UTC, and each that came after it."""
        found: list[str] = []
        for each in self.statuses:
            if int(each.get("t_ms", 0)) <= after_ms:
                found.clear()
            if found[-1:] != [mode := str(each.get("mode", "full"))]:
                found.append(mode)
        return found

    def lost(self, after_ms: int) -> int:
        """Return the updates that it says were lost or given up since its last word before then, UTC."""
        before = [_lost(each) for each in self.statuses if int(each.get("t_ms", 0)) <= after_ms]
        return _lost(self.statuses[-1]) - (before[-1] if before else 0) if self.statuses else 0


def _lost(status: dict[str, Any]) -> int:
    by_cause = sum(map(int, status.get("missed", {}).values())) + int(
        status.get("given_up", {}).get("live", 0)
    )
    return by_cause + sum(int(status.get(name, 0)) for name in ("dropped", "unsent"))


class Stage:
    """A broker and a server that run; both can be killed and started again."""

    def __init__(self, subject: Subject, address: Broker, config: Path) -> None:
        self.address = address
        self.subject = subject
        self.told = Told()
        self._is_away = False  # the broker, by our doing
        self.broker = self._broker()
        self.server = self._server(config)

    @property
    def pids(self) -> tuple[int, int]:
        """Process ids of server and broker."""
        assert self.server.pid is not None
        assert self.broker.pid is not None
        return self.server.pid, self.broker.pid

    async def restart_broker(self, *, away_s: float) -> None:
        """Kill the broker, and start it again after a while."""
        self._is_away = True
        self.broker.kill()
        await self.broker.wait()
        await self.broker.stop(0.1)
        await asyncio.sleep(away_s)
        self.broker = self._broker()
        await brokers.start(self.broker, self.address)
        self._is_away = False

    def kill_worker(self) -> bool:
        """Kill the one that works most of the processes that the server has started; False where none is."""
        workers = {pid: Usage.of(pid).cpu_s for pid in family(self.pids[0])[1:]}
        if workers:
            os.kill(max(workers, key=lambda pid: workers[pid]), signal.SIGKILL)
        return bool(workers)

    def check(self) -> None:
        """Raise ServerError where a process has ended by itself."""
        for child in (self.server,) if self._is_away else (self.server, self.broker):
            if child.returncode is not None:
                raise ServerError(child.last_words())

    def _broker(self) -> Child:
        program = mosquitto.find()
        if program is None:
            raise BrokerError("mosquitto is not installed; on Debian: apt-get install mosquitto")
        settings = mosquitto.configuration(self.address) + BROKER_SETTINGS
        return Child("mosquitto", mosquitto.command(program), stdin=settings.encode())

    def _server(self, config: Path) -> Child:
        subject, address = self.subject, self.address
        rest = ["--config", str(config)] if subject.is_ours else ["--root", address.root]
        # The user's own settings may name another broker, and are not what is measured.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("KINEFUSE_")}
        return Child(subject.name, [*subject.command, "--port", str(address.port), *rest], environ=environ)


@contextlib.asynccontextmanager
async def standing(subject: Subject, config: str, *, also: tuple[str, ...] = ()) -> AsyncIterator[Stage]:
    """Have a broker and a server that is online; on leaving, the server says goodbye, then both end.

    Parameters
    ----------
    subject : Subject
    config : str
        The server's, as TOML.
    also : tuple of str
        Further topics, below the root, for `Told`.
    """
    address = msgspec.convert({"port": _free_port(), "program": "mosquitto"}, Broker)
    topics = [f"{address.root}/{name}" for name in ("server/status", "server/deadlines", *also)]
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kinefuse-bench-")))
        path = folder / "fleet.toml"
        path.write_text(config)
        stage = Stage(subject, address, path)
        stack.push_async_callback(lambda: stage.broker.stop(END_S_MAX))
        await brokers.start(stage.broker, address)
        link = await stack.enter_async_context(Link(address, subscriptions=topics))
        await link.ready()
        listening = asyncio.create_task(_listen(link, stage.told), name="what the server tells")
        stack.callback(listening.cancel)
        stack.push_async_callback(lambda: stage.server.stop(END_S_MAX))
        await stage.server.start()
        await _until_online(stage)
        yield stage
        await stage.server.stop(END_S_MAX)  # its goodbye tells what it counted
        await asyncio.sleep(0)


async def _until_online(stage: Stage) -> None:
    ended = asyncio.create_task(stage.server.wait())
    online = asyncio.create_task(stage.told.online.wait())
    try:
        await asyncio.wait({ended, online}, timeout=ONLINE_S_MAX, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        online.cancel()
    if ended.done() and not ended.cancelled():
        raise ServerError(f"{stage.subject.name} did not start: {stage.server.last_words()}")
    if not stage.told.online.is_set():
        raise ServerError(f"{stage.subject.name} was not online after {ONLINE_S_MAX:g} s")


async def _listen(link: Link, told: Told) -> None:
    async for arrival in link.arrivals():
        told.take(arrival.topic, arrival.payload, retained=arrival.retained)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
