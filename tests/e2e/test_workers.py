"""The engine in several processes: athletes live side by side, and one's death is not the others'."""

import asyncio
import os
import signal
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from server.brokers.process import Child
from server.clock import SystemClock
from server.config import Config
from server.config import Server as ServerConfig
from server.errors import WorkerError
from server.messages import ServerStatus
from server.mqtt import Link
from server.serve import Server
from server.workers.routing import Router
from simulators import rehearsal, scenarios
from tests.support.brokers import PATIENCE_S, hear, running_broker, soon
from tests.support.servers import command, live, running, serving, status, workout

SETTLED_MS = 8_000  # after a worker is back: its athletes' account is settled, `server.workers.missed`
DEMO = scenarios.config("demo", None) + "\n[server]\nworkers = 2\n"


def shares() -> list[set[str]]:
    """Return the demo's athletes by their worker."""
    router = Router(rehearsal.config("demo"), 2)
    return [{athlete.id for athlete in config.athletes} for config in router.configs()]


async def test_a_killed_worker_comes_back_and_the_others_athletes_miss_nothing(tmp_path: Path) -> None:
    one, other = shares()
    assert one
    assert other
    async with (
        running_broker("mosquitto") as broker,
        serving(broker.address, DEMO, tmp_path) as server,
        Link(broker.address, subscriptions=[f"{broker.address.root}/#"]) as link,
    ):
        root = broker.address.root
        heard: defaultdict[str, list[int]] = defaultdict(list)
        told: list[ServerStatus] = []

        async def until_live(athletes: set[str], count: int) -> None:
            """Listen until each of some athletes was heard so often from now on."""
            wanted = {athlete: len(heard[athlete]) + count for athlete in athletes}
            while any(len(heard[athlete]) < enough for athlete, enough in wanted.items()):
                for arrival in await hear(link, lambda _: True):
                    if arrival.topic.endswith("/live"):
                        heard[live(arrival).athlete].append(live(arrival).t_ms)
                    elif arrival.topic == f"{root}/server/status":
                        told.append(status(arrival))

        await link.ready()
        async with running(command("simulate", broker.address, "--seconds", "60")):
            await until_live(one | other, 3)
            pids = [worker.pid for worker in told[-1].workers]
            assert [worker.state for worker in told[-1].workers] == ["running", "running"]
            assert len(set(pids)) == 2
            os.kill(pids[0], signal.SIGKILL)
            await until_live(one | other, 3)
            gone = [each for each in told if each.workers[0].state == "restarting"]
            assert gone
            assert [worker.restarts for worker in told[-1].workers] == [1, 0]
            assert told[-1].workers[0].pid not in pids
            assert told[-1].workers[1].pid == pids[1]
            back_ms = told[-1].t_ms
            while told[-1].t_ms < back_ms + SETTLED_MS:
                await until_live(one, 1)
        for athlete in other:
            assert {b - a for a, b in pairwise(heard[athlete])} == {1000}
        holes_ms = [b - a for athlete in one for a, b in pairwise(heard[athlete])]
        unheard = sum(hole_ms // 1000 - 1 for hole_ms in holes_ms)
        assert told[-1].workers[0].missed == pytest.approx(unheard, abs=len(one))
        assert sum(told[-1].missed.values()) == told[-1].workers[0].missed
        assert told[-1].workers[1].missed == 0
        assert set(told[-1].dropped_by) <= {"worker_died"}
        ended: set[str] = set()
        children = children_of(server)
        assert len(children) == 2
        await server.stop(PATIENCE_S)
        assert server.returncode == 0
        assert not [child for child in children if is_there(child)]
        while told[-1].state == "online":
            for arrival in await hear(link, lambda _: True):
                if arrival.topic.endswith("/workout") and workout(arrival).event == "ended":
                    ended.add(workout(arrival).athlete)
                elif arrival.topic == f"{root}/server/status":
                    told.append(status(arrival))
        assert ended == one | other


async def test_workers_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    async with running_broker("mosquitto") as broker, serving(broker.address, DEMO, tmp_path) as server:
        assert server.pid is not None
        children = children_of(server)
        assert len(children) == 2
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        await soon(lambda: not any(map(is_there, children)))


@pytest.mark.parametrize("path", ["bounded", "public"])
async def test_a_worker_that_fails_for_ever_ends_the_server_which_says_offline(path: str) -> None:
    async with running_broker("mosquitto") as broker:
        address = msgspec.structs.replace(broker.address, reader=path)
        async with Link(address, subscriptions=[f"{address.root}/#"]) as link:
            await link.ready()
            config = Config(broker=address, server=ServerConfig(workers=1))
            server = Server(config, SystemClock(), asyncio.Event())
            serving = asyncio.create_task(server.run())
            online = await hear(link, lambda each: each.topic.endswith("/status"))
            link.publish(f"{address.root}/in/d/hr", b'{"bpm": 61}', qos=1)
            await hear(link, lambda each: each.topic.endswith("/d/live"))
            (member,) = server._work._members  # type: ignore[attr-defined]
            member._settings = b"{"  # its next lives cannot read what they are to do
            os.kill(status(online[-1]).workers[0].pid, signal.SIGKILL)
            with pytest.raises(ExceptionGroup) as failure:
                await serving
            assert failure.group_contains(WorkerError, depth=1)
            await hear(link, lambda each: each.topic.endswith("/status") and status(each).state == "offline")


def children_of(child: Child) -> list[int]:
    """Return the processes that a child has started."""
    assert child.pid is not None
    text = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def is_there(pid: int) -> bool:
    """Return whether a process is there."""
    return Path(f"/proc/{pid}").exists()
