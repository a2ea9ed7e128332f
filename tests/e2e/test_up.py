"""``kinefuse up`` starts everything, shows how to see it, and leaves nothing behind however it is ended."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from server.brokers import ports
from server.config import Broker
from server.mqtt import Link
from server.up import SAME_PRESS_S
from tests.support.brokers import KINDS, PATIENCE_S, free_port, hear, running_broker, soon

END_S = 20.0  # five are promised, but on a busy machine processes come late to their turn
MARK = "UP_TEST_MARK"  # in the environment of all that descends from one call


class Up:
    """One running ``kinefuse up``."""

    def __init__(self, process: asyncio.subprocess.Process, mark: str, port: int) -> None:
        self.process = process
        self.mark = mark
        self.port = port
        self.output = ""

    async def says(self, text: str) -> None:
        """Read until it says something; fail if it ends without."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while text not in self.output:
                data = await self.process.stdout.read(4096)
                assert data, f"it ended without saying {text!r}:\n{self.output}"
                self.output += data.decode()

    async def ends(self) -> int:
        """Read to the end; return the exit code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            self.output += (await self.process.stdout.read()).decode()
            return await self.process.wait()

    def interrupt(self) -> None:
        os.kill(self.process.pid, signal.SIGINT)  # send_signal() would reap it before asyncio does

    def left(self) -> list[str]:
        """What still runs of it, itself included."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdecimal() and wanted in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def child(self, command: str) -> int:
        """The process id of the child whose command line has these words."""
        wanted = f"{MARK}={self.mark}".encode()
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if wanted in (process / "environ").read_bytes().split(b"\0") and command.encode() in words:
                    return int(process.name)
        raise AssertionError(f"no {command} among {self.left()}")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """Start ``kinefuse up`` with arguments; whatever is left at the end is killed."""
    started: list[Up] = []
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    async def start(*arguments: str, port: int | None = None, **environ: str) -> Up:
        port = free_port() if port is None else port
        mark = uuid.uuid4().hex
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "server", "up", "--port", str(port), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, MARK: mark, "TMPDIR": str(temporary), **environ},
        )
        started.append(Up(process, mark, port))
        return started[-1]

    yield start
    for each in started:
        with contextlib.suppress(ProcessLookupError):
            each.process.kill()
        await each.ends()
        await soon(lambda: not each.left())  # noqa: B023
    assert not list(temporary.iterdir())


Start = Callable[..., "asyncio.Future[Up]"]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_demo_comes_alive_says_how_to_see_it_and_ends_in_order(start: Start, kind: str) -> None:
    up = await start("--demo", KINEFUSE_BROKER_PROGRAM=kind)
    await up.says("Ctrl-C ends all of it")
    assert f"{kind}, 127.0.0.1:{up.port}" in up.output
    assert f"watch --port {up.port}" in up.output
    live, root = set[str](), "kinefuse/v1"
    async with Link(Broker(port=up.port), subscriptions=[f"{root}/athletes/+/live"]) as link:
        async with asyncio.timeout(PATIENCE_S):
            async for arrival in link.arrivals():
                live.add(arrival.topic.split("/")[3])
                if len(live) == 4:
                    break
    assert live == {"runner", "walker", "rider", "intervals"}
    async with Link(Broker(port=up.port), subscriptions=[f"{root}/server/status"]) as link:
        await hear(link, lambda arrival: b'"online"' in arrival.payload)
        up.interrupt()
        began_s = time.monotonic()
        await hear(link, lambda arrival: b'"offline"' in arrival.payload)
        assert await up.ends() == 0
        assert time.monotonic() - began_s < END_S
    assert not up.left()
    assert "Traceback" not in up.output


async def test_a_second_ctrl_c_leaves_nothing_behind_either(start: Start) -> None:
    up = await start("--demo")
    await up.says("demo   |")
    began_s = time.monotonic()
    up.interrupt()
    await asyncio.sleep(0.1)  # the moment itself is what is tested
    up.interrupt()
    assert await up.ends() == 0
    assert time.monotonic() - began_s < END_S
    assert not up.left()


async def test_a_server_that_hangs_is_ended_in_time_and_sooner_when_asked_twice(start: Start) -> None:
    took_s = []
    for presses in (1, 2):
        up = await start()
        await up.says("Ctrl-C ends all of it")
        os.kill(up.child("serve"), signal.SIGSTOP)
        began_s = time.monotonic()
        up.interrupt()
        if presses == 2:
            await asyncio.sleep(SAME_PRESS_S + 0.2)  # a second press, not the echo of the first
            up.interrupt()
        assert await up.ends() == 0
        took_s.append(time.monotonic() - began_s)
        assert not up.left()
    assert took_s[1] < took_s[0] < END_S


async def test_who_keeps_pressing_until_it_is_gone_ends_nothing_but_cleanly(start: Start) -> None:
    up = await start()
    await up.says("Ctrl-C ends all of it")
    up.interrupt()
    ending = asyncio.create_task(up.ends())
    while up.process.returncode is None and not ending.done():
        await asyncio.sleep(0.01)  # a key that is held
        with contextlib.suppress(ProcessLookupError):
            up.interrupt()
    assert await ending == 0
    assert not up.left()


@pytest.mark.parametrize("delay_s", [0.0, 0.2, 0.5, 1.0, 2.0])
async def test_ctrl_c_during_start_up_leaves_nothing_behind(start: Start, delay_s: float) -> None:
    up = await start("--demo")
    await asyncio.sleep(delay_s)  # the moment itself is what is tested
    began_s = time.monotonic()
    up.interrupt()
    await up.ends()
    assert time.monotonic() - began_s < END_S
    assert not up.left()
    assert ports.holder(up.port) is None


async def test_a_taken_port_is_said_with_its_holder_and_the_way_out(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        up = await start(port=taken.getsockname()[1])
        assert await up.ends() == 1
    assert f"port {up.port} is taken by " in up.output
    assert f"pid {os.getpid()}" in up.output
    assert "--port N" in up.output
    assert up.output.count("\n") == 1


async def test_an_external_broker_is_used_and_left_alone(start: Start) -> None:
    async with running_broker("mosquitto") as broker:
        up = await start("--demo", port=broker.address.port, KINEFUSE_BROKER_EXTERNAL="true")
        await up.says("Ctrl-C ends all of it")
        assert f"external, 127.0.0.1:{up.port}" in up.output
        up.interrupt()
        assert await up.ends() == 0
        assert not up.left()
        async with Link(broker.address, subscriptions=["kinefuse/v1/server/status"]) as link:
            (status,) = await hear(link, lambda _: True)
            assert b'"offline"' in status.payload


async def test_a_configuration_that_is_wrong_is_one_line_and_exit_code_2(start: Start) -> None:
    up = await start(KINEFUSE_BROKER_ROOT="a/#")
    assert await up.ends() == 2
    assert up.output.startswith("kinefuse: KINEFUSE_BROKER_ROOT: is")
    assert up.output.count("\n") == 1


async def test_a_server_and_a_broker_that_die_are_started_again(start: Start) -> None:
    up = await start()
    await up.says("Ctrl-C ends all of it")
    os.kill(up.child("serve"), signal.SIGKILL)
    await up.says("starting server again (1 of 3)")
    async with Link(Broker(port=up.port), subscriptions=["kinefuse/v1/server/status"]) as link:
        await hear(link, lambda arrival: b'"online"' in arrival.payload)
        os.kill(int((ports.holder(up.port) or "").rpartition(" ")[2]), signal.SIGKILL)
        await up.says("starting broker again (1 of 3)")
        await soon(lambda: link.losses == 1)
        await hear(link, lambda arrival: b'"online"' in arrival.payload)
    up.interrupt()
    assert await up.ends() == 0
    assert not up.left()


async def test_a_demo_that_dies_ends_everything_with_its_last_words(start: Start) -> None:
    up = await start("--demo")
    await up.says("demo   |")
    os.kill(up.child("simulate"), signal.SIGKILL)
    assert await up.ends() == 1
    assert "kinefuse: demo was ended by SIGKILL:" in up.output
    assert not up.left()


async def test_children_die_with_a_supervisor_that_is_killed(start: Start) -> None:
    up = await start()
    await up.says("Ctrl-C ends all of it")
    up.process.kill()
    await up.ends()
    await soon(lambda: not up.left())
