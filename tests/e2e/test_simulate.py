"""``kinefuse simulate`` against a real broker: what it publishes, and how it leaves."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from server.codecs import imu, samples
from server.config import Broker
from server.envelopes import Incoming
from server.messages import Birth, Command, Death, Reply
from server.mqtt import Link
from tests.support.brokers import PATIENCE_S, free_port, running_broker

ROOT = "kinefuse/v1"


@pytest.fixture(params=[pytest.param("mosquitto", marks=pytest.mark.mosquitto), "amqtt"])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    async with running_broker(request.param) as broker:
        yield broker.address.port


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "simulate", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def until(link: Link, wanted: set[str]) -> dict[str, list[Incoming]]:
    """Collect arrivals by topic below the root until all wanted topics have come."""
    seen: dict[str, list[Incoming]] = {}
    async with asyncio.timeout(PATIENCE_S):
        async for arrival in link.arrivals():
            seen.setdefault(arrival.topic.removeprefix(ROOT + "/"), []).append(arrival)
            if wanted <= seen.keys():
                break
    return seen


async def test_the_demo_is_born_asks_for_workouts_speaks_and_says_goodbye(port: int, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with Link(Broker(port=port), subscriptions=[f"{ROOT}/#"]) as link:
        await link.ready()
        demo = await start("--port", str(port), "--seed", "5", "--json", "--truth", str(truth))
        devices = [
            "runner-chest",
            "runner-strap",
            "runner-watch",
            "walker-watch",
            "rider-strap",
            "rider-computer",
        ]
        devices += ["intervals-foot", "intervals-strap", "intervals-watch"]
        data = {"runner-chest/imu", "runner-strap/hr", "rider-computer/power", "walker-watch/gnss"}
        births = {f"in/{device}/status" for device in devices}
        athletes = ("runner", "walker", "rider", "intervals")
        seen = await until(
            link, births | {f"in/{each}" for each in data} | {f"command/{each}" for each in athletes}
        )
        for topic in births:
            assert isinstance(samples.decode("status", seen[topic][0].payload).packets[0], Birth)
        imu.decode(seen["in/runner-chest/imu"][0].payload)
        for athlete in athletes:
            command = samples.decode("command", seen[f"command/{athlete}"][0].payload).packets[0]
            assert isinstance(command, Command)
            reply = msgspec.json.encode(Reply(command.id, True))
            link.publish(f"{ROOT}/athletes/{athlete}/reply/{command.id}", reply, qos=1)
        link.publish(f"{ROOT}/devices/walker-watch/ping", b'{"id": "p7"}', qos=1)
        pong = await until(link, {"in/walker-watch/pong"})
        assert b'"p7"' in pong["in/walker-watch/pong"][0].payload

        demo.send_signal(signal.SIGTERM)
        demo.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(demo.communicate(), PATIENCE_S)
        assert (demo.returncode, err) == (0, b"")
        report = json.loads(out)
        assert set(report["athletes"]) == set(athletes)
        assert report["sent"]["imu"] > 0
    lines = [json.loads(line) for line in truth.read_text().splitlines()]
    assert {line["athlete"] for line in lines} == set(athletes)
    async with Link(Broker(port=port), subscriptions=[f"{ROOT}/in/+/status"]) as link:
        left = await until(link, births)
    for topic in births:
        assert isinstance(samples.decode("status", left[topic][0].payload).packets[0], Death)


async def test_a_killed_simulator_leaves_the_last_wills_of_its_devices(port: int) -> None:
    async with Link(Broker(port=port), subscriptions=[f"{ROOT}/in/+/status"]) as link:
        await link.ready()
        demo = await start("--port", str(port), "--scenario", "walk")
        await until(link, {"in/walker-watch/status"})
        demo.kill()
        will = (await until(link, {"in/walker-watch/status"}))["in/walker-watch/status"][0]
        assert isinstance(samples.decode("status", will.payload).packets[0], Death)
        await demo.communicate()


async def test_it_waits_for_a_broker_that_is_not_up_yet_and_can_be_stopped_meanwhile() -> None:
    lonely = await start("--port", str(free_port()))
    assert lonely.stderr is not None
    line = await asyncio.wait_for(lonely.stderr.readline(), PATIENCE_S)
    assert b"no connection to the broker" in line
    lonely.send_signal(signal.SIGTERM)
    _, rest = await asyncio.wait_for(lonely.communicate(), PATIENCE_S)
    assert lonely.returncode == 0
    assert b"broker" not in rest, "one line tells of all nine devices"


async def test_a_broker_that_refuses_us_is_one_line_and_exit_code_1() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_024)
        writer.write(b"\x20\x02\x00\x05")  # CONNACK: not authorised
        await writer.drain()
        await reader.read()
        writer.close()

    broker = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with broker:
        process = await start("--port", str(broker.sockets[0].getsockname()[1]))
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 1
    assert err.count(b"\n") == 1
    assert b"refuses us" in err


WRONG = (
    "--scenario party",
    "--faults loss=2",
    "--athletes 0",
    "--rate 7",
    "--seconds -1",
    "--root a//b",
    "--port 0",
    "--seed -1",
    "--truth /nowhere/at/all",
)


@pytest.mark.parametrize("arguments", WRONG)
async def test_a_wrong_option_is_one_line_and_exit_code_2(arguments: str) -> None:
    process = await start(*arguments.split())
    _, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 2
    assert err.count(b"\n") == 1
