"""``kinefuse serve``: the asyncio shell around the work: a link to the broker, ticks and reports."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Coroutine
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from server import realtime
from server.clock import STEP_NS, SystemClock
from server.config import Config, load
from server.deadlines import DeadlineReport, Stage
from server.deadlines.history import Collections, rss_bytes
from server.deadlines.lag import LoopLag
from server.envelopes import Arrivals, count, size
from server.errors import ServerError, WorkerError
from server.figures import Figures
from server.inbox import Inbox
from server.ingest import subscriptions
from server.late import FOLDER, Entry, LateLog
from server.loop import run
from server.messages import ServerStatus
from server.monitoring import Monitor, Snapshot
from server.monitoring.http import Vitals
from server.monitoring.snapshot import StageCounts
from server.mqtt import Link, Sendable, Will, warn_as
from server.publications import encode
from server.publishers import Publishers
from server.trimming import trim
from server.work import Alone, Work
from server.workers.pool import Pool

TICK_S = 0.1  # the longest time between two ticks: steps without a packet fire on it
SILENT_TICK_S = 0.25  # likewise, where nothing has come for a while: streams are looked at no more often,
SILENT_S = 10.0  # and steps that fire still are of whom nothing is heard
FLUSH_S = 0.05  # the longest wait for the outbox, while there is a backlog
PERIOD_S = 0.01  # from tick to tick, where messages are many,
BUSY_PERIOD_S = 0.015  # longer where ticks take half of that, up to this: a tick of many costs little more
QUIET_PERIOD_S = 0.02  # than one of few; so also where messages are few
MANY_HZ = 15_000
TOOK_GAIN = 0.1  # how fast what a tick takes follows what ticks took
TURNS = 3  # of the loop after a tick: for the outbox, the library that is to write, and the socket
BATCH_MAX = 4096  # messages in one tick
REPORT_S = 1.0
STATUS_S = 10.0


class Server:
    """A running server: who works, the link, and what it says of itself; it ends once ``stop`` is set."""

    def __init__(self, config: Config, clock: SystemClock, stop: asyncio.Event) -> None:
        self._config = config
        self._clock = clock
        self._late_log = (
            LateLog(Path(config.server.state_dir) / FOLDER, config.server.late_log_bytes_max)
            if config.server.state_dir
            else None
        )
        work = Pool if config.server.workers else Alone
        self._work: Work = work(config, clock, self._changed, self._late)
        self._started_ms = clock.utc_ns() // 1_000_000
        self._root = config.broker.root
        self._stop = stop
        # In a container every process has the same number.
        self._identifier = config.broker.client_id or f"kinefuse-{os.getpid()}-{os.urandom(3).hex()}"
        will = Will(f"{self._root}/server/status", encode(ServerStatus(self._started_ms, "offline")))
        self._inbox = Inbox[Arrivals](
            config.server.inbox_messages_max, config.server.inbox_bytes_max, size=size, count=count
        )
        self._link = Link(
            config.broker,
            subscriptions=subscriptions(config),
            will=will,
            identifier=self._identifier,
            persistent=bool(config.broker.client_id),
            chunks=self._inbox,
            topics=self._work.topics,
            payload_bytes_max=config.server.payload_bytes_max,
            on_connect=self._connected,
            on_disconnect=self._lost,
            on_sent=self._sent,
            clock=clock,
        )
        self._publishers = Publishers(self._link, self._further)
        self._work.bind(self._publishers)
        self._lag = LoopLag(self._work.deadlines, clock.monotonic_ns)
        self._collections = Collections(clock.monotonic_ns, self._work.deadlines.history.doing)
        self._monitor = Monitor(
            config.metrics,
            Vitals(clock.monotonic_ns, lambda: self._lag.turned_ns, lambda: self._link.connected),
        )
        self._status = ServerStatus(self._started_ms, "online")
        self._is_ahead = False  # of the system's clock
        self._ticked_s = self._rate_hz = 0.0  # the tick before: when, and messages a second
        self._heard_s = 0.0  # the newest tick that something came for
        self._took_s = 0.0  # what a tick takes of late

    async def run(self) -> None:
        """Serve until stopped; raise BrokerError where the broker will never have us."""
        with self._monitor, self._collections, self._late_log or contextlib.nullcontext():
            if self._monitor.warning:
                print(f"kinefuse: {self._monitor.warning}", file=sys.stderr, flush=True)
            lag = asyncio.create_task(self._lag.run(), name="loop lag")
            try:
                await self._run()
            finally:
                lag.cancel()

    async def _run(self) -> None:
        async with self._work:
            if not await self._unless_stopped(self._work.ready()):
                return
            async with self._link as link, self._publishers:
                if await self._unless_stopped(link.ready()):
                    gc.collect()
                    gc.freeze()  # what start-up made stays: later collections need not look at it again
                    try:
                        await self._serve()
                    except* WorkerError:
                        self._tell("offline")
                        raise
                    await self._goodbye()

    async def _serve(self) -> None:
        """Work until stopped."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._tick(), name="ticks"),
                group.create_task(self._report(), name="reports"),
                group.create_task(self._link.wait(), name="link"),
                group.create_task(self._work.wait(), name="work"),
            ]
            await self._stop.wait()
            for task in tasks:
                task.cancel()

    async def _unless_stopped(self, awaited: Coroutine[Any, Any, None]) -> bool:
        """Wait for something; return False where the server is to end before."""
        waiting = asyncio.create_task(awaited)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                return False
            waiting.result()
            return True
        finally:
            waiting.cancel()
            stopped.cancel()

    async def _tick(self) -> None:
        """Drain, advance, publish; at the latest every TICK_S."""
        inbox, work = self._inbox, self._work
        doing, loop = work.deadlines.history.doing, asyncio.get_running_loop()
        while True:
            doing.waiting = len(inbox)
            arrivals = inbox.take(BATCH_MAX) if work.behind else await self._arrivals()
            began_s = loop.time()
            work.take(arrivals)
            self._took_s += TOOK_GAIN * (loop.time() - began_s - self._took_s)
            for _ in range(TURNS):  # also when the inbox never runs empty
                await asyncio.sleep(0)
            if work.behind:  # all wait in one line: let what was published leave before going on
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FLUSH_S):
                        await self._link.flush()

    async def _arrivals(self) -> list[Arrivals]:
        """Wait for messages, for a while, and until the tick before is long enough ago."""
        inbox, loop = self._inbox, asyncio.get_running_loop()
        arrivals: list[Arrivals] = []
        is_silent = self._ticked_s - self._heard_s > SILENT_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENT_TICK_S if is_silent else TICK_S):
                arrivals = await inbox.drain(BATCH_MAX)
        if arrivals:
            period_s = PERIOD_S if self._rate_hz > MANY_HZ else QUIET_PERIOD_S
            period_s = max(period_s, min(2.0 * self._took_s, BUSY_PERIOD_S))
            await asyncio.sleep(max(0.0, self._ticked_s + period_s - loop.time()))
            self._link.read()  # what lies in the socket by now is of this tick
            arrivals += inbox.take(BATCH_MAX - sum(map(count, arrivals)))
        now_s = loop.time()
        self._rate_hz = sum(map(count, arrivals)) / max(now_s - self._ticked_s, PERIOD_S)
        self._ticked_s = now_s
        self._heard_s = now_s if arrivals else self._heard_s
        return arrivals

    async def _report(self) -> None:
        """Publish the deadline report every second, the status now and then."""
        next_s = asyncio.get_running_loop().time()
        status_s = next_s
        while True:
            next_s += REPORT_S
            await asyncio.sleep(max(0.0, next_s - asyncio.get_running_loop().time()))
            self._follow()
            deadlines = self._work.deadlines
            deadlines.history.doing.rss_mib = round(rss_bytes() / 2**20, 1)
            figures = self._work.figures()
            await self._publishers.suffice(figures.athletes)
            report = deadlines.report(self._clock.utc_ns() // 1_000_000, figures.streams)
            self._link.publish(f"{self._root}/server/deadlines", encode(report))
            self._monitor.tell(self._snapshot(report, figures))
            if next_s >= status_s:
                trim()
            if next_s >= status_s or self._log_fails_anew():
                status_s = next_s + STATUS_S
                self._tell("online")

    def _follow(self) -> None:
        """Follow the system's clock where it has gone ahead; say so where it has gone back."""
        step_ns = self._clock.follow()
        if step_ns > STEP_NS:
            told = f"the system's clock went ahead by {step_ns * 1e-9:.0f} s"
            print(f"kinefuse: {told}", file=sys.stderr, flush=True)
        elif step_ns < -STEP_NS and not self._is_ahead:
            back_s = -step_ns * 1e-9
            told = f"the system's clock was set back by {back_s:.0f} s: what is published stays ahead by that"
            print(f"kinefuse: {told} until the server is started again", file=sys.stderr, flush=True)
        self._is_ahead = step_ns < -STEP_NS

    def _tell(self, state: Literal["online", "offline"]) -> None:
        figures = self._work.figures()
        refused = self._work.refused()
        if self._link.refused:
            refused["too_large"] = refused.get("too_large", 0) + self._link.refused
        self._status = status = ServerStatus(
            t_ms=self._clock.utc_ns() // 1_000_000,
            state=state,
            version=_version(),
            started_ms=self._started_ms,
            devices=figures.devices,
            athletes=figures.athletes,
            workouts=figures.workouts,
            received=self._link.received,
            dropped=self._inbox.dropped + self._work.dropped,
            unsent=self._publishers.unsent,
            refused=refused,
            given_up=figures.given_up,
            reader=self._link.reader,
            mode=figures.mode,
            acks=self._link.acks,
            forgotten=figures.forgotten,
            late_log=None if self._late_log is None else self._late_log.status,
            workers=self._work.workers(),
        )
        self._link.publish(f"{self._root}/server/status", encode(status), qos=1, retain=True)

    def _snapshot(self, report: DeadlineReport, figures: Figures) -> Snapshot:
        """Return what Prometheus is told until the next report."""
        link = self._link
        stages: dict[Stage, StageCounts] = {}
        for stage, histogram in self._work.deadlines.stages.items():
            told = report.stages[stage]
            stages[stage] = StageCounts(told.budget_ms / 1e3, told.total.misses, *histogram.cumulative())
        return Snapshot(
            t_s=self._clock.system_utc_ns() * 1e-9,
            stages=stages,
            streams=figures.streams,
            faults=figures.faults,
            recoveries=figures.recoveries,
            status=self._status,
            mode=figures.mode,
            given_up=figures.given_up,
            received=link.received,
            dropped=self._inbox.dropped + self._work.dropped,
            sent=self._publishers.sent,
            unsent=self._publishers.unsent,
            waiting=len(self._inbox),
            waiting_bytes=self._inbox.bytes,
            jobs=figures.jobs,
            connected=link.connected,
            losses=link.losses,
            collections=self._collections.count,
            collecting_s=self._collections.taken_ns * 1e-9,
        )

    def _further(self, number: int) -> Link:
        """Return a connection that only publishes."""
        identifier = f"{self._identifier}-{number}"
        link = Link(
            self._config.broker,
            identifier=identifier,
            on_sent=self._sent,
            on_disconnect=lambda _: link.discard(),
            clock=self._clock,
        )
        return link

    def _late(self, entries: list[Entry], left_out: int) -> None:
        if self._late_log is not None:
            self._late_log.put(entries, left_out)

    def _log_fails_anew(self) -> bool:
        """Return True where the late log cannot be written, and the newest status does not say so."""
        log, told = self._late_log, self._status.late_log
        return log is not None and bool(log.status.error) and not (told is not None and told.error)

    def _changed(self) -> None:
        self._tell("online")

    def _connected(self, first: bool) -> None:
        self._work.connected(is_connected=True)
        broker = self._config.broker
        word = "serving" if first else "connected again,"
        print(f"kinefuse: {word} {broker.root} at {broker.host}:{broker.port}", file=sys.stderr, flush=True)
        self._tell("online")

    def _sent(self, publication: Sendable) -> None:
        now_ns, deadlines = self._clock.monotonic_ns(), self._work.deadlines
        for caused_ns in publication.causes_ns:
            if caused_ns:
                deadlines.observe("end_to_end", now_ns - caused_ns)

    def _lost(self, reason: str) -> None:
        self._work.connected(is_connected=False)
        self._collections.thaw()
        print(f"kinefuse: lost the broker ({reason}); trying again", file=sys.stderr, flush=True)

    async def _goodbye(self) -> None:
        """End the open workouts, so that their summaries are published, and say offline."""
        left = await self._work.goodbye()
        if left:
            print(f"kinefuse: {left} open workouts ended without a summary", file=sys.stderr)
        if self._late_log is not None:
            await asyncio.to_thread(self._late_log.flush)  # so that its last figures are right
        self._tell("offline")


def serve(*, config: Path | None = None, port: int | None = None) -> None:
    """Run the server beside a broker that is there.

    Connects to the broker of the configuration, again and again until it answers; ends on Ctrl-C or SIGTERM,
    when open workouts are ended and their summaries published.

    For example:

        kinefuse serve
        kinefuse serve --config gym.toml
        KINEFUSE_BROKER_HOST=10.0.0.5 kinefuse serve

    Parameters
    ----------
    config
        TOML file; see docs/operations.md. Default: the one that KINEFUSE_CONFIG names, or none.
    port
        The broker's port; default 1883, or what the configuration says.
    """
    settings = load(config, os.environ, port=port)
    warn_as("serve")

    refusal: list[BaseException] = []

    async def main() -> None:
        if settings.server.realtime and (refused := realtime.ask()):
            print(f"kinefuse: {refused}", file=sys.stderr, flush=True)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):  # first: making the server takes a second
            loop.add_signal_handler(number, stop.set)
        try:
            await Server(settings, SystemClock(), stop).run()
        except* ServerError as errors:
            error: BaseException = errors
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            refusal.append(error)

    run(main())
    if refusal:
        raise refusal[0]


@cache  # to look it up reads files
def _version() -> str:
    try:
        return version("kinefuse")
    except PackageNotFoundError:
        return "0"
