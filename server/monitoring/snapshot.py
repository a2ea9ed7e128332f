"""What Prometheus is told: a copy of the server's own tables, made once a second beside the report.

A scrape reads the newest copy in a thread of its own; nothing that the event loop works on is ever shared.
No series is labelled by device or athlete: a label is a stage, a cause, a reason or a mode, from a fixed set.
"""

from collections.abc import Iterator
from typing import NamedTuple, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from server.deadlines.histogram import BOUNDS_S
from server.deadlines.report import Stage
from server.deadlines.rules import Cause
from server.messages import DropCause, MissCause, ServerStatus, StreamState
from server.overload import MODES


class StageCounts(NamedTuple):
    """One stage since the start: its budget, how many times were within each of BOUNDS_S, and their sum."""

    budget_s: float
    misses: int
    within: list[int]
    times: int
    sum_s: float


class Snapshot(NamedTuple):
    """All that is told. ``status`` counts devices, athletes, workouts and refusals, at most 10 s old."""

    t_s: float
    stages: dict[Stage, StageCounts]
    streams: dict[StreamState, int]
    faults: dict[Cause, int]
    recoveries: int
    status: ServerStatus
    mode: str
    given_up: dict[str, int]
    received: int
    dropped: dict[DropCause, int]
    missed: dict[MissCause, int]
    sent: int
    unsent: int
    waiting: int
    waiting_bytes: int
    jobs: int
    connected: bool
    losses: int
    collections: int
    collecting_s: float


class SnapshotCollector(Collector):
    """Gives the newest snapshot to Prometheus."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        snapshot = self.snapshot
        if snapshot is None:
            return
        yield from _stages(snapshot)
        yield from _streams(snapshot)
        yield from _server(snapshot)


def _stages(snapshot: Snapshot) -> Iterator[Metric]:
    times = HistogramMetricFamily("kinefuse_stage_seconds", "Time that a stage took.", labels=["stage"])
    budgets = GaugeMetricFamily("kinefuse_stage_budget_seconds", "What it may take.", labels=["stage"])
    misses = CounterMetricFamily("kinefuse_stage_misses", "Times above the budget.", labels=["stage"])
    for stage, counts in snapshot.stages.items():
        buckets = [
            *((str(bound), within) for bound, within in zip(BOUNDS_S, counts.within, strict=True)),
            ("+Inf", counts.times),
        ]
        times.add_metric([stage], buckets, counts.sum_s)
        budgets.add_metric([stage], counts.budget_s)
        misses.add_metric([stage], counts.misses)
    yield from (times, budgets, misses)


def _streams(snapshot: Snapshot) -> Iterator[Metric]:
    states = GaugeMetricFamily("kinefuse_streams", "Streams of devices, by what ails them.", labels=["cause"])
    for state, count in snapshot.streams.items():
        states.add_metric(["none" if state == "alive" else state], count)
    faults = CounterMetricFamily("kinefuse_stream_faults", "Streams that came to a cause.", labels=["cause"])
    for cause, count in snapshot.faults.items():
        faults.add_metric([cause], count)
    yield states
    yield faults
    yield _counter("kinefuse_stream_recoveries", "Streams that came back.", snapshot.recoveries)


def _server(snapshot: Snapshot) -> Iterator[Metric]:
    status = snapshot.status
    refused = CounterMetricFamily(
        "kinefuse_messages_refused", "Messages that could not be used.", labels=["reason"]
    )
    for reason, count in status.refused.items():
        refused.add_metric([reason], count)
    mode = GaugeMetricFamily("kinefuse_mode", "1 for the mode that the server is in.", labels=["mode"])
    for name in MODES:
        mode.add_metric([name], float(name == snapshot.mode))
    given_up = CounterMetricFamily(
        "kinefuse_given_up",
        "Updates (live), steps, rewinds and packets given up for want of time.",
        labels=["reason"],
    )
    for what in ("live", "steps", "rewinds", "packets"):
        given_up.add_metric([what], snapshot.given_up.get(what, 0))
    yield refused
    yield given_up
    yield mode
    yield _counter("kinefuse_messages_received", "Messages that came from the broker.", snapshot.received)
    dropped = CounterMetricFamily(
        "kinefuse_messages_dropped", "Arrivals for which there was no room.", labels=["cause"]
    )
    for drop in get_args(DropCause):
        dropped.add_metric([drop], snapshot.dropped.get(drop, 0))
    missed = CounterMetricFamily("kinefuse_updates_missed", "Updates that nobody made.", labels=["cause"])
    for miss in get_args(MissCause):
        missed.add_metric([miss], snapshot.missed.get(miss, 0))
    yield dropped
    yield missed
    yield _counter("kinefuse_publications_sent", "Publications that went out.", snapshot.sent)
    yield _counter(
        "kinefuse_publications_unsent", "Publications dropped, or too old to send.", snapshot.unsent
    )
    late = status.late_log
    yield _counter("kinefuse_late_written", "Late messages written to the log.", late.written if late else 0)
    yield _counter(
        "kinefuse_late_unwritten", "Late messages that the log could not take.", late.unwritten if late else 0
    )
    yield _gauge("kinefuse_inbox_messages", "Messages that wait for the engine.", snapshot.waiting)
    yield _gauge("kinefuse_inbox_bytes", "Their bytes.", snapshot.waiting_bytes)
    yield _gauge("kinefuse_jobs_waiting", "Steps and commands left for later ticks.", snapshot.jobs)
    yield _gauge("kinefuse_devices", "Devices known.", status.devices)
    yield _counter("kinefuse_devices_forgotten", "Devices that were silent for long.", status.forgotten)
    yield _gauge("kinefuse_athletes", "Athletes known.", status.athletes)
    away = sum(worker.state != "running" for worker in status.workers)
    yield _gauge("kinefuse_workers_away", "Workers that do not work now.", away)
    restarts = sum(worker.restarts for worker in status.workers)
    yield _counter("kinefuse_worker_restarts", "Workers that were started again.", restarts)
    yield _gauge("kinefuse_workouts", "Workouts that are open.", status.workouts)
    yield _gauge("kinefuse_broker_connected", "1 while connected and subscribed.", snapshot.connected)
    yield _counter("kinefuse_broker_losses", "Connections to the broker that were lost.", snapshot.losses)
    yield _counter("kinefuse_gc_collections", "Garbage collections.", snapshot.collections)
    yield _counter("kinefuse_gc_seconds", "Time that they took.", snapshot.collecting_s)
    yield _gauge("kinefuse_report_timestamp_seconds", "UTC of these figures.", snapshot.t_s)


def _counter(name: str, help_: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_, value=value)


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_, value=value)
