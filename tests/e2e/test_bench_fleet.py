"""The fleet's load through a real broker, and ``bench fleet`` as a command."""

import asyncio
import importlib.util
import json
import signal
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("the load generator stands on epoll", allow_module_level=True)

from server.clock import SystemClock
from server.codecs import imu, samples
from server.deadlines.histogram import bucket
from server.envelopes import Incoming
from server.messages import Birth, HeartRate
from server.mqtt import Link
from simulators.benchmark.usage import family
from simulators.load import recordings
from simulators.load.generator import Load, Plan, now_ns
from tests.support.brokers import PATIENCE_S, RunningBroker, running_broker

pytestmark = pytest.mark.mosquitto
ATHLETES = 4
DELAY_S = 0.03
COMMAND = (sys.executable, "-m", "server", "bench", "fleet", "--warmup", "2", "--json")
END_S_MAX = 120.0
PICTURES = ("fleet-latency.svg", "fleet-cost.svg")


class Working:
    """A load in a thread, until it is left."""

    def __init__(self, broker: RunningBroker, *, seconds: int, qos: int = 0, apart: bool = False) -> None:
        clock = SystemClock()
        address = broker.address
        self.plan = Plan(
            athletes=ATHLETES, port=address.port, root=address.root, seconds=seconds, qos=qos, apart=apart
        )
        self.load = Load(
            self.plan, utc_ns=clock.utc_ns() - clock.monotonic_ns(), made=recordings.make(ATHLETES)
        )
        self._thread = ThreadPoolExecutor(1)

    async def __aenter__(self) -> "Working":
        self.load.open()
        async with asyncio.timeout(PATIENCE_S):
            while self.load.up < self.plan.connections or not self.load.hears:
                await self.work(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._thread.shutdown()
        self.load.close()

    async def work(self, seconds: float) -> None:
        until_ns = now_ns() + round(seconds * 1e9)
        await asyncio.get_running_loop().run_in_executor(self._thread, self.load.run, until_ns)

    async def until(self, second: int) -> None:
        """Work until a second of the run, and for as long as anything of it is unsent."""
        while now_ns() < self.load.begin_ns + second * 10**9 or self._next_ns() < second:
            await self.work(0.02)

    def _next_ns(self) -> float:
        native = self.load._native
        next_ns: int = min(native.heap[k].due_ns for k in range(2 * ATHLETES))
        return (next_ns - self.load.begin_ns) * 1e-9


@pytest.mark.parametrize(("qos", "apart"), [(0, False), (1, True)])
async def test_what_devices_send_comes_through_a_broker_and_is_understood(qos: int, apart: bool) -> None:
    heard: Counter[str] = Counter()
    seqs: dict[str, list[int | None]] = {}
    async with running_broker("mosquitto") as broker:
        root = broker.address.root
        async with (
            Link(broker.address, subscriptions=[f"{root}/in/+/+"]) as link,
            Working(broker, seconds=2, qos=qos, apart=apart) as working,
        ):
            await link.ready()
            working.load.start(now_ns())
            await working.until(2)
            working.load.fall_silent()
            sent = working.load.bins["sent"].sum()
            told = working.load.streams["seq"].sum()
            async with asyncio.timeout(PATIENCE_S):
                while heard["imu"] + heard["hr"] < told:
                    for arrival in await link.inbox.drain(256):
                        take(arrival, heard, seqs)
                    await working.work(0.01)
                while qos and working.load.counts["unacked"]:
                    await working.work(0.01)
            assert working.load.counts["acked"] == (told if qos else 0)
    assert heard["status"] == 2 * ATHLETES
    assert sent <= told
    assert len(seqs) == 2 * ATHLETES
    assert all(numbers == list(range(len(numbers))) for numbers in seqs.values())


def take(arrival: Incoming, heard: Counter[str], seqs: dict[str, list[int | None]]) -> None:
    device, kind = arrival.topic.split("/")[-2:]
    heard[kind] += 1
    if kind == "imu":
        seqs.setdefault(device, []).append(imu.decode(arrival.payload).seq)
        return
    (packet,) = samples.decode(kind, arrival.payload).packets
    assert isinstance(packet, HeartRate | Birth)
    if isinstance(packet, HeartRate):
        seqs.setdefault(device, []).append(packet.seq)


async def test_end_to_end_holds_what_an_answer_is_known_to_have_waited() -> None:
    async with running_broker("mosquitto") as broker:
        root = broker.address.root
        async with (
            Link(broker.address, subscriptions=[f"{root}/in/+/imu"]) as link,
            Working(broker, seconds=10) as working,
        ):
            await link.ready()
            load = working.load
            load.start(now_ns())
            answering = asyncio.create_task(answer(link, root, load))
            async with asyncio.timeout(PATIENCE_S):
                while load.athletes["heard"].min() < 3:
                    await working.work(0.02)
            answering.cancel()
    bins = load.bins
    measured, heard = bins["end_to_end"].sum(axis=0), int(load.athletes["heard"].sum())
    assert measured.sum() == bins["heard"].sum() == heard
    assert not measured[: bucket(round(DELAY_S * 1e9))].any()
    assert load.counts["stray"] == bins["uncaused"].sum() == bins["doubled"].sum() == 0


async def answer(link: Link, root: str, load: Load) -> None:
    """Answer each athlete's every tenth packet with an update, after a while."""
    loop = asyncio.get_running_loop()
    async for arrival in link.arrivals():
        device = arrival.topic.split("/")[-2]
        packet = imu.decode(arrival.payload)
        if packet.seq % 10 == 0:
            athlete = device.removesuffix("-imu")
            body = {
                "t_ms": (load.begin_ns + load._native.utc_ns) // 10**6 + 100 * packet.seq + 500,
                "athlete": athlete,
                "cause": {"device": device, "boot": packet.boot, "seq": packet.seq},
            }
            payload = json.dumps(body).encode()
            loop.call_later(DELAY_S, link.publish, f"{root}/athletes/{athlete}/live", payload)


async def run(*arguments: str) -> tuple[dict[str, Any], str]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--seconds", "2", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(END_S_MAX):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    told: dict[str, Any] = json.loads(out)
    return told, err.decode()


async def test_a_fleet_runs_and_tells_sane_figures(tmp_path: Path) -> None:
    told, err = await run("--devices", "20", "--report", str(tmp_path))
    (only,) = told["runs"]
    updates, sent = only["updates"], only["sent"]
    assert only["subject"] == "server"
    assert (only["asked"]["devices"], updates["expected"]) == (20, 40)
    assert 20 * 2 * 10 <= sent["messages"] + sent["unsent"] <= 20 * 2 * 11 + 20
    assert updates["heard"] + updates["missing"] == 40
    assert 0 < updates["end_to_end"]["p50_ms"] <= updates["end_to_end"]["p99_ms"]
    assert updates["heard"] > 0
    assert only["counts"]["stray"] == 0
    assert only["status"]["athletes"] == 20
    assert only["deadlines"]["stages"]["end_to_end"]["total"]["count"] > 0
    assert only["server"]["cpu_share"] > 0
    assert only["server"]["rss_mb"] > 10
    assert len(only["each_second"]) == 2
    assert "measuring for 2 s" in err
    assert all((tmp_path / name).read_text().startswith("<?xml") for name in PICTURES)


@pytest.mark.skipif(importlib.util.find_spec("vqf") is None, reason="the peer needs the package vqf")
async def test_the_peer_is_measured_by_the_same_load() -> None:
    told, _ = await run("--devices", "10", "--peer", "tests.bench.peer", "--only-peer")
    (only,) = told["runs"]
    assert only["subject"] == "peer"
    assert only["updates"]["end_to_end"]["count"] > 0
    assert only["counts"]["stray"] == 0


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_ctrl_c_leaves_no_process_behind() -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("--devices", "10", "--seconds", "600"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(END_S_MAX):
        while b"measuring" not in (line := await process.stderr.readline()):
            assert line, "it ended before it measured"
        started = family(process.pid)
        assert len(started) >= 3
        process.send_signal(signal.SIGINT)
        await process.wait()
    assert process.returncode == 130
    assert not any(alive(pid) for pid in started)
