"""Deadlines of a real server: a device that fails in each of the five ways, and what Prometheus is told."""

import asyncio
import contextlib
import json
import re
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from server.deadlines import STAGES, DeadlineReport
from server.deadlines.rules import CAUSES
from server.envelopes import Incoming
from server.messages import DeviceHealth
from server.mqtt import Link
from server.overload import MODES
from tests.support import frames
from tests.support.brokers import PATIENCE_S, RunningBroker, free_port, hear, running_broker
from tests.support.http import get
from tests.support.servers import serving

FOLDER = Path(__file__).parents[2] / "docs" / "monitoring"
SECOND = 1_000_000_000
PACE_S = 0.05


class Board:
    """A device by hand, with a last will: what it sends and how old, as it is told to."""

    def __init__(self, port: int, root: str) -> None:
        self._topic = f"{root}/in/board/"
        self._socket = socket.create_connection(("127.0.0.1", port))
        will = (self._topic + "status", b'{"state": "offline"}')
        self._socket.sendall(frames.connect("board", will))
        self._seq = 0
        self.ahead_ns = 0

    def send(self, kind: str, body: str, *, age_s: float = 0.0) -> None:
        self._seq += 1
        t_ns = time.time_ns() + self.ahead_ns - round(age_s * SECOND)
        payload = f'{{"t": "{t_ns}", "seq": {self._seq}, {body}}}'
        self._socket.sendall(frames.publish(self._topic + kind, payload.encode()))

    def close(self) -> None:
        """Vanish without a goodbye."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[tuple[RunningBroker, int, Link]]:
    """Have a broker, a server with short deadlines, its port for metrics, and a link that hears health."""
    port = free_port()
    config = f"[metrics]\nport = {port}\n[deadlines]\nsilence_ms = 300\nlease_ms = 5000\n"
    async with running_broker("mosquitto") as broker, serving(broker.address, config, folder):
        topics = [f"{broker.address.root}/devices/+/health", f"{broker.address.root}/server/deadlines"]
        async with Link(broker.address, subscriptions=topics) as link:
            await link.ready()
            yield broker, port, link


async def told(link: Link, kind: str, state: str, sending: Any = lambda: None, **others: str) -> DeviceHealth:
    """Send at a steady pace until the health tells of a state of a stream, and of those of others."""
    wanted = {kind: state, **others}

    def is_told(arrival: Incoming) -> bool:
        if not arrival.topic.endswith("/health"):
            return False
        health = msgspec.json.decode(arrival.payload, type=DeviceHealth)
        states: dict[str, str] = {each: stream.state for each, stream in health.streams.items()}
        return wanted.items() <= states.items()

    async def send() -> None:
        while True:
            sending()
            await asyncio.sleep(PACE_S)

    task = asyncio.create_task(send())
    try:
        heard = await hear(link, is_told)
    finally:
        task.cancel()
    return msgspec.json.decode(heard[-1].payload, type=DeviceHealth)


def samples(text: str) -> dict[tuple[str, str], float]:
    """All samples of an exposition, by their name and the value of their label; 0 where there is none."""
    return defaultdict(
        float,
        {
            (sample.name, next(iter(sample.labels.values()), "")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        },
    )


async def scraped(port: int, wanted: Any, sending: Any = lambda: None) -> dict[tuple[str, str], float]:
    """Scrape, and send at a steady pace, until the figures are as wanted."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            sending()
            status, text = await asyncio.to_thread(get, port, "/metrics")
            assert status == 200
            figures = samples(text)
            if wanted(figures):
                return figures
            await asyncio.sleep(PACE_S)


async def answered(port: int, path: str, wanted: int) -> str:
    """Ask until the answer has a status; return its body."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status, text = await asyncio.to_thread(get, port, path)
            if status == wanted:
                return text
            await asyncio.sleep(PACE_S)


async def test_each_of_the_five_causes_is_told_apart_and_counted(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as vanishing:
        broker, port, link = await vanishing.enter_async_context(stage(tmp_path))
        board = vanishing.enter_context(Board(broker.address.port, broker.address.root))

        def baro() -> None:
            board.send("baro", '"pressure_pa": 1e5')

        def both(*, age_s: float = 0.0, body: str = '"bpm": 90') -> None:
            baro()
            board.send("hr", body, age_s=age_s)

        await told(link, "hr", "alive", both)
        await told(link, "hr", "late", lambda: both(age_s=3.0))
        await told(link, "hr", "alive", both)
        # Before a second the time base counts no jumps.
        await scraped(port, lambda told: told["kinefuse_messages_received_total", ""] >= 100, both)
        board.ahead_ns = 3_600 * SECOND
        health = await told(link, "hr", "clock_jumped", both)
        assert health.clock is not None
        assert health.clock.jumps == 1
        await told(link, "hr", "alive", both)
        health = await told(link, "hr", "sensor_silent", baro, baro="alive")
        assert health.streams["hr"].silent_s >= health.streams["hr"].deadline_s - 0.1
        assert health.online
        await told(link, "hr", "alive", lambda: both(body='"contact": false'))
        await told(link, "hr", "quiet_unchanged", baro)
        await told(link, "hr", "alive", both)
        board.close()
        health = await told(link, "hr", "link_dead", baro="link_dead")
        assert not health.online
        figures = await scraped(port, lambda told: told["kinefuse_streams", "link_dead"] == 2)
        for cause in CAUSES:
            assert figures["kinefuse_stream_faults_total", cause] >= 1, cause
        assert figures["kinefuse_streams", "none"] == 0
        assert figures["kinefuse_stream_recoveries_total", ""] >= 4


async def test_a_link_whose_will_does_not_come_is_dead_after_its_lease(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as vanishing:
        broker, _, link = await vanishing.enter_async_context(stage(tmp_path))
        board = vanishing.enter_context(Board(broker.address.port, broker.address.root))
        await told(link, "baro", "alive", lambda: board.send("baro", '"pressure_pa": 1e5'))
        health = await told(link, "baro", "link_dead")  # it holds its connection open
        assert health.streams["baro"].silent_s >= 5.0
        assert not health.online


async def test_the_report_and_the_metrics_tell_of_every_stage(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as vanishing:
        broker, port, link = await vanishing.enter_async_context(stage(tmp_path))
        board = vanishing.enter_context(Board(broker.address.port, broker.address.root))
        figures = await scraped(
            port,
            lambda told: all(told["kinefuse_stage_seconds_count", each] for each in STAGES),
            lambda: board.send("hr", '"bpm": 90'),
        )

        def whole(arrival: Incoming) -> bool:
            if not arrival.topic.endswith("/deadlines"):
                return False
            report = msgspec.json.decode(arrival.payload, type=DeadlineReport)
            return report.streams["alive"] == 1 and all(
                report.stages[each].total.count >= figures["kinefuse_stage_seconds_count", each]
                and report.stages[each].total.misses >= figures["kinefuse_stage_misses_total", each]
                for each in STAGES
            )

        await hear(link, whole)
        assert figures["kinefuse_messages_received_total", ""] > 0


async def test_a_server_is_healthy_without_its_broker_but_not_ready(tmp_path: Path) -> None:
    async with stage(tmp_path) as (broker, port, _):
        assert await asyncio.to_thread(get, port, "/healthz") == (200, '{"ok":true}\n')
        assert await asyncio.to_thread(get, port, "/readyz") == (200, '{"ok":true}\n')
        await broker.kill()
        told = await answered(port, "/readyz", 503)
        assert json.loads(told)["reason"] == "no_broker"
        assert (await asyncio.to_thread(get, port, "/healthz"))[0] == 200
        await broker.start()
        await answered(port, "/readyz", 200)


def expressions() -> dict[str, list[str]]:
    """All PromQL that is shipped: of the dashboard and of the alerts."""
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    return {
        "dashboard": [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]],
        "variables": [each["query"]["query"] for each in dashboard["templating"]["list"][1:]],
        "alerts": [rule["expr"] for group in rules["groups"] for rule in group["rules"]],
    }


async def test_the_dashboard_and_the_alerts_use_metrics_that_are_exported(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as vanishing:
        broker, port, _ = await vanishing.enter_async_context(stage(tmp_path))
        board = vanishing.enter_context(Board(broker.address.port, broker.address.root))
        board.send("hr", '"bpm": 900')  # something to refuse: the status tells of it in its time
        await scraped(port, lambda told: ("kinefuse_devices", "") in told)
        status, text = await asyncio.to_thread(get, port, "/metrics")
    assert status == 200
    families = list(text_string_to_metric_families(text))
    exported = {sample.name for family in families for sample in family.samples}
    exported |= {f"{family.name}_total" for family in families if family.type == "counter"}
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    labels |= {"instance", "reason"}  # Prometheus' own; and what is refused first
    used: set[str] = set()
    for source, expressions_ in expressions().items():
        assert expressions_, source
        for expression in expressions_:
            names = set(re.findall(r"\b(?:kinefuse|process)_\w+", expression))
            assert names, expression
            assert exported.issuperset(names), (source, names)
            used |= names
            matched: list[str] = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression)
            grouped = [word for by in re.findall(r"by \(([^)]*)\)", expression) for word in by.split(", ")]
            assert labels.issuperset([*matched, *grouped]), expression
    bases = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in exported}
    page = (FOLDER.parent / "operations.md").read_text().split("\n### Metrics\n")[1].split("\n### ")[0]
    told = set(re.findall(r"`(kinefuse_\w+)`", page))
    assert {name for name in bases if name.startswith("kinefuse")} == told
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert shown.issuperset(name for name in bases if name.startswith("kinefuse")), (
        "a metric that nothing shows"
    )


@pytest.mark.parametrize("kind", ["stage", "cause", "mode"])
def test_the_values_that_expressions_ask_for_are_those_that_there_are(kind: str) -> None:
    values_of: dict[str, set[str]] = {"stage": {*STAGES}, "cause": {*CAUSES, "none"}, "mode": {*MODES}}
    known = values_of[kind]
    for expressions_ in expressions().values():
        for expression in expressions_:
            for values in re.findall(rf"\b{kind}(?:=~|!~|!=|=)\"([^\"]*)\"", expression):
                assert known.issuperset(values.split("|")), expression
