"""``kinefuse watch`` in a terminal, as a coach sees it: numbers in full, names, and what is gone is said."""

import asyncio
import contextlib
import fcntl
import os
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

from server.config import Broker
from server.mqtt import Link
from tests.support.brokers import PATIENCE_S, running_broker
from tests.support.servers import serving

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """What a terminal has been given so far."""

    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader) -> None:
        self.process = process
        self.raw = ""
        self._reader = reader

    async def shows(self, pattern: str, *, raw: bool = False) -> re.Match[str]:
        """Wait for what was not shown before; it is then behind us."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := re.search(pattern, self.raw if raw else STYLE.sub("", self.raw))):
                data = await self._reader.read(4096)
                assert data, f"it ended without showing {pattern!r}:\n{self.raw[-2000:]}"
                self.raw += data.decode(errors="replace")
        self.raw = ""
        return found


@contextlib.asynccontextmanager
async def watching(broker: Broker, columns: int, *arguments: str | Path) -> AsyncIterator[Terminal]:
    """Have a watch in a terminal, and end it."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    environ = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "watch", "--port", str(broker.port), *map(str, arguments)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
    )
    os.close(theirs)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb")
    )
    try:
        yield Terminal(process, reader)
        process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        transport.close()


@contextlib.asynccontextmanager
async def beating(broker: Broker, device: str) -> AsyncIterator[None]:
    """Have a strap that sends a heart rate of 61 a few times a second."""

    async def send(link: Link) -> None:
        while True:
            link.publish(f"{broker.root}/in/{device}/hr", b'{"bpm": 61}')
            await asyncio.sleep(0.2)

    async with Link(broker) as link:
        sending = asyncio.create_task(send(link))
        try:
            yield
        finally:
            sending.cancel()


async def test_a_long_id_leaves_the_numbers_whole_in_any_width_and_a_name_takes_its_place(
    tmp_path: Path,
) -> None:
    config = f'[[athletes]]\nid = "{UUID}"\nname = "Ada Lovelace"\ndevices = [{{id = "strap"}}]\n'
    async with (
        running_broker("mosquitto") as broker,
        serving(broker.address, config, tmp_path),
        beating(broker.address, "strap"),
    ):
        for columns in (40, 60, 80):
            async with watching(broker.address, columns) as terminal:
                row = await terminal.shows(r"│0f8fad5b-[0-9a-f-]+… │[^\n]* 6[01] │[^\r\n]*")
                assert len(row[0]) <= columns
        async with watching(broker.address, 80, "--config", tmp_path / "kinefuse.toml") as terminal:
            await terminal.shows(r"│Ada Lovelace +│[^\n]* 6[01] │")


async def test_a_server_that_dies_is_told_and_its_rows_are_dimmed_until_it_is_back() -> None:
    async with (
        running_broker("mosquitto") as broker,
        beating(broker.address, "ada"),
        watching(broker.address, 80) as terminal,
    ):
        async with serving(broker.address) as server:
            await terminal.shows(r"│ada +│[^\n]* 6[01] │")
            server.kill()
            await server.wait()
            await terminal.shows(r"kinefuse: the server is offline")
            await terminal.shows(r"│\x1b\[2mada ", raw=True)
        async with serving(broker.address):
            await terminal.shows(r"kinefuse +\r?\n[^:]*│ada +│[^\n]* 6[01] │")


async def test_a_broker_that_dies_is_told_and_its_rows_are_dimmed_until_it_is_back() -> None:
    async with (
        running_broker("mosquitto") as broker,
        serving(broker.address),
        beating(broker.address, "ada"),
        watching(broker.address, 80) as terminal,
    ):
        await terminal.shows(r"│ada +│[^\n]* 6[01] │")
        await broker.kill()
        await terminal.shows(r"kinefuse: lost the broker, trying again")
        await terminal.shows(r"│\x1b\[2mada ", raw=True)
        await broker.start()
        await terminal.shows(r"kinefuse +\r?\n[^:]*│ada +│[^\n]* 6[01] │")
