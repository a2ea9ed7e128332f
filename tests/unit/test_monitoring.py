"""The HTTP side: what it tells of the server's life, and what it does where it may not listen."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server import config
from server.deadlines import Deadlines
from server.deadlines.histogram import BOUNDS_S
from server.errors import ConfigError, PortTakenError
from server.messages import ServerStatus
from server.monitoring import Monitor, Snapshot, http
from server.monitoring.http import REQUESTS_MAX, STALLED_NS, Vitals
from server.monitoring.snapshot import StageCounts
from tests.support.brokers import free_port
from tests.support.http import get

MS = 1_000_000


class Vital:
    """The values that a server would have."""

    def __init__(self) -> None:
        self.now_ns = self.turned_ns = 10**9
        self.connected = True

    def vitals(self) -> Vitals:
        return Vitals(lambda: self.now_ns, lambda: self.turned_ns, lambda: self.connected)


@pytest.fixture
def vital() -> Vital:
    return Vital()


@pytest.fixture
def monitor(vital: Vital) -> Iterator[Monitor]:
    with Monitor(config.Metrics(port=free_port()), vital.vitals()) as monitor:
        yield monitor


def snapshot(**changes: Any) -> Snapshot:
    deadlines = Deadlines(config.Deadlines())
    deadlines.observe("fuse", 30 * MS)
    deadlines.observe("fuse", 3 * MS)
    report = deadlines.report(1_000)
    stages = {
        stage: StageCounts(report.stages[stage].budget_ms / 1e3, report.stages[stage].total.misses, *told)
        for stage, told in ((stage, each.cumulative()) for stage, each in deadlines.stages.items())
    }
    plain: dict[str, Any] = dict.fromkeys(Snapshot._fields, 0)
    told = {"stages": stages, "streams": {"alive": 2, "late": 1}, "faults": {"late": 3}}
    status = ServerStatus(1_000, "online", devices=4, refused={"schema": 5})
    return Snapshot(
        **{
            **plain,
            **told,
            "status": status,
            "connected": True,
            "mode": "slow_live",
            "given_up": {"live": 6},
            "dropped": {"worker_died": 7},
            "missed": {},
            **changes,
        }
    )


def samples(text: str) -> dict[str, float]:
    """All samples of an exposition by their name and labels."""
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_those_of_the_newest_snapshot(monitor: Monitor) -> None:
    assert "kinefuse" not in get(monitor.port, "/metrics")[1]
    monitor.tell(snapshot())
    monitor.tell(snapshot(received=17))
    status, text = get(monitor.port, "/metrics")
    told = samples(text)
    assert status == 200
    assert told["kinefuse_messages_received_total"] == 17
    assert told["kinefuse_stage_misses_total,stage=fuse"] == 1
    assert told["kinefuse_stage_budget_seconds,stage=fuse"] == 0.025
    assert told["kinefuse_stage_seconds_count,stage=fuse"] == 2
    assert told["kinefuse_stage_seconds_sum,stage=fuse"] == pytest.approx(0.033)
    assert told["kinefuse_stage_seconds_bucket,le=0.005,stage=fuse"] == 1
    assert told["kinefuse_stage_seconds_bucket,le=+Inf,stage=fuse"] == 2
    assert told["kinefuse_streams,cause=none"] == 2
    assert told["kinefuse_stream_faults_total,cause=late"] == 3
    assert told["kinefuse_messages_refused_total,reason=schema"] == 5
    assert (told["kinefuse_mode,mode=full"], told["kinefuse_mode,mode=slow_live"]) == (0, 1)
    assert told["kinefuse_given_up_total,reason=live"] == 6
    assert told["kinefuse_devices"] == 4
    assert told["process_resident_memory_bytes"] > 0


def test_no_series_is_labelled_by_what_could_grow(monitor: Monitor) -> None:
    monitor.tell(snapshot())
    labels = {
        label
        for family in text_string_to_metric_families(get(monitor.port, "/metrics")[1])
        for sample in family.samples
        for label in sample.labels
    }
    assert labels == {"stage", "cause", "reason", "mode", "le"}
    assert len(BOUNDS_S) < 20


def test_a_server_whose_loop_turns_is_healthy_and_ready(monitor: Monitor) -> None:
    assert get(monitor.port, "/healthz") == (200, '{"ok":true}\n')
    assert get(monitor.port, "/readyz") == (200, '{"ok":true}\n')


def test_a_server_without_a_broker_is_healthy_and_not_ready(monitor: Monitor, vital: Vital) -> None:
    vital.connected = False
    assert get(monitor.port, "/healthz")[0] == 200
    status, text = get(monitor.port, "/readyz")
    assert (status, json.loads(text)) == (503, {"ok": False, "reason": "no_broker"})


def test_a_server_whose_loop_stands_is_neither(monitor: Monitor, vital: Vital) -> None:
    vital.now_ns = vital.turned_ns + STALLED_NS + 200 * MS
    for path in ("/healthz", "/readyz"):
        status, text = get(monitor.port, path)
        assert (status, json.loads(text)) == (503, {"ok": False, "reason": "loop_stalled", "stalled_s": 5.2})


def test_what_is_not_there_is_not_found_and_nothing_can_be_posted(monitor: Monitor) -> None:
    assert get(monitor.port, "/")[0] == 404
    assert get(monitor.port, "/metrics", method="POST")[0] == 405


def test_who_holds_requests_open_does_not_hold_threads_without_end(monitor: Monitor) -> None:
    before = threading.active_count()
    held = [socket.create_connection(("127.0.0.1", monitor.port)) for _ in range(3 * REQUESTS_MAX)]
    refused = 0
    try:
        for each in held[REQUESTS_MAX:]:
            each.settimeout(10)
            refused += each.recv(1) == b""
        assert refused == 2 * REQUESTS_MAX
        assert threading.active_count() <= before + REQUESTS_MAX
    finally:
        for each in held:
            each.close()


def test_port_0_listens_nowhere(vital: Vital) -> None:
    with Monitor(config.Metrics(port=0), vital.vitals()) as monitor:
        assert (monitor.port, monitor.warning) == (0, "")


def test_a_taken_port_that_was_asked_for_is_an_error(monitor: Monitor, vital: Vital) -> None:
    other = Monitor(config.Metrics(port=monitor.port), vital.vitals())
    with pytest.raises(PortTakenError, match=r"metrics\.port"), other:
        pass


def test_a_host_that_is_not_here_is_an_error_of_the_configuration(vital: Vital) -> None:
    with (
        pytest.raises(ConfigError, match=r"metrics\.host"),
        Monitor(config.Metrics(host="192.0.2.1", port=free_port()), vital.vitals()),
    ):
        pass


def test_a_taken_port_that_nobody_asked_for_is_a_warning(
    monitor: Monitor, vital: Vital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "PORT", monitor.port)
    with Monitor(config.Metrics(), vital.vitals()) as other:
        assert other.port == 0
        assert str(monitor.port) in other.warning
