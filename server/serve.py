"""``kinefuse serve``: the asyncio shell around the engine: a link to the broker, ticks and reports."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from server.clock import SystemClock
from server.config import Config, load
from server.engine import Engine
from server.envelopes import Arrivals, count, size
from server.errors import BrokerError
from server.inbox import Inbox
from server.loop import run
from server.messages import ServerStatus
from server.mqtt import Link, Publication, Will, warn_as
from server.publications import encode

TICK_S = 0.05  # the longest time between two ticks: steps without a packet fire on it
LINGER_S = 0.01  # what comes so soon after a first message is of its tick: one of many costs little more
BATCH_MAX = 4096  # messages in one tick
REPORT_S = 1.0
STATUS_S = 10.0
GOODBYE_S = 2.0  # for the summaries of workouts that are open when the server is stopped


class Server:
    """A running server: the engine, its link, and what it says of itself."""

    def __init__(self, config: Config, clock: SystemClock) -> None:
        self._config = config
        self._clock = clock
        self._engine = Engine(config, clock.monotonic_ns)
        self._started_ms = clock.utc_ns() // 1_000_000
        self._root = config.broker.root
        self._stop = asyncio.Event()
        will = Will(f"{self._root}/server/status", encode(ServerStatus(self._started_ms, "offline")))
        self._inbox = Inbox[Arrivals](
            config.server.inbox_messages_max, config.server.inbox_bytes_max, size=size, count=count
        )
        self._link = Link(
            config.broker,
            subscriptions=[topic for topic, _ in self._engine.ingest.subscriptions()],
            will=will,
            identifier=config.broker.client_id or f"kinefuse-{os.getpid()}",
            persistent=bool(config.broker.client_id),
            chunks=self._inbox,
            topics=self._engine.topics,
            payload_bytes_max=config.server.payload_bytes_max,
            on_connect=self._connected,
            on_disconnect=self._lost,
            on_sent=self._sent,
            clock=clock,
        )

    def stop(self) -> None:
        """Ask the server to end; a second call changes nothing."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until stopped; raise BrokerError where the broker will never have us."""
        async with self._link as link:
            ready = asyncio.create_task(link.ready())
            stopped = asyncio.create_task(self._stop.wait())
            await asyncio.wait({ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not stopped.done():
                ready.result()
                gc.collect()
                gc.freeze()  # what start-up made stays: later collections need not look at it again
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self._tick(), name="engine"),
                        group.create_task(self._report(), name="reports"),
                        group.create_task(link.wait(), name="link"),
                    ]
                    await self._stop.wait()
                    for task in tasks:
                        task.cancel()
                self._goodbye()
            ready.cancel()
            stopped.cancel()

    async def _tick(self) -> None:
        """Drain, advance, publish; at the latest every TICK_S."""
        inbox, engine, clock = self._inbox, self._engine, self._clock
        while True:
            arrivals = inbox.take(BATCH_MAX) if engine.behind else await self._arrivals()
            woke_ns = clock.monotonic_ns()
            out = engine.advance(arrivals, clock.utc_ns())
            self._link.done(arrivals)
            began_ns = clock.monotonic_ns()
            self._link.publish_all(out)
            if out:
                engine.deadlines.observe("publish", clock.monotonic_ns() - began_ns)
            now_ns = clock.monotonic_ns()
            wait_ns = now_ns - arrivals[0].received_ns if arrivals else 0
            if engine.ladder.observe(now_ns, now_ns - woke_ns, wait_ns):
                self._tell("online")
            await asyncio.sleep(0)  # the socket's turn, also when the inbox never runs empty
            if engine.behind:  # all wait in one line: let what was published leave before going on
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self._link.flush()

    async def _arrivals(self) -> list[Arrivals]:
        """Wait for messages, at most TICK_S, and for what comes right after them."""
        inbox = self._inbox
        arrivals: list[Arrivals] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                arrivals = await inbox.drain(BATCH_MAX)
        if arrivals:
            await asyncio.sleep(LINGER_S)
            arrivals += inbox.take(BATCH_MAX - sum(map(count, arrivals)))
        return arrivals

    async def _report(self) -> None:
        """Publish the deadline report every second, the status now and then."""
        next_s = asyncio.get_running_loop().time()
        status_s = next_s
        while True:
            next_s += REPORT_S
            await asyncio.sleep(max(0.0, next_s - asyncio.get_running_loop().time()))
            report = self._engine.deadlines.report(self._clock.utc_ns() // 1_000_000)
            self._link.publish(f"{self._root}/server/deadlines", encode(report))
            if next_s >= status_s:
                status_s = next_s + STATUS_S
                self._tell("online")

    def _tell(self, state: Literal["online", "offline"]) -> None:
        registry = self._engine.registry
        athletes = registry.athletes.values()
        refused = self._engine.health.refused()
        if self._link.refused:
            refused["too_large"] = refused.get("too_large", 0) + self._link.refused
        status = ServerStatus(
            t_ms=self._clock.utc_ns() // 1_000_000,
            state=state,
            version=_version(),
            started_ms=self._started_ms,
            devices=len(registry.devices),
            athletes=len(registry.athletes),
            workouts=sum(self._engine.workouts.is_open(athlete) for athlete in athletes),
            received=self._link.received,
            dropped=self._inbox.dropped,
            unsent=self._link.dropped + self._link.stale,
            refused=refused,
            mode=self._engine.ladder.mode,
            given_up={what: count for what, count in self._engine.given_up.items() if count},
            reader=self._link.reader,
            acks=self._link.acks,
        )
        self._link.publish(f"{self._root}/server/status", encode(status), qos=1, retain=True)

    def _connected(self, first: bool) -> None:
        broker = self._config.broker
        word = "serving" if first else "connected again,"
        print(f"kinefuse: {word} {broker.root} at {broker.host}:{broker.port}", file=sys.stderr, flush=True)
        self._tell("online")

    def _sent(self, publication: Publication) -> None:
        if publication.caused_ns:
            taken_ns = self._clock.monotonic_ns() - publication.caused_ns
            self._engine.deadlines.observe("end_to_end", taken_ns)

    def _lost(self, reason: str) -> None:
        print(f"kinefuse: lost the broker ({reason}); trying again", file=sys.stderr, flush=True)

    def _goodbye(self) -> None:
        """End the open workouts, so that their summaries are published, and say offline."""
        until_ns = self._clock.monotonic_ns() + int(GOODBYE_S * 1e9)
        left = 0
        for athlete in self._engine.registry.athletes.values():
            if not self._engine.workouts.is_open(athlete):
                continue
            if self._clock.monotonic_ns() > until_ns:
                left += 1
                continue
            event = self._engine.end_workout(athlete)
            self._link.publish_all([event])
        if left:
            print(f"kinefuse: {left} open workouts ended without a summary", file=sys.stderr)
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
        server = Server(settings, SystemClock())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        try:
            await server.run()
        except* BrokerError as errors:
            error: BaseException = errors
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            refusal.append(error)

    run(main())
    if refusal:
        raise refusal[0]


def _version() -> str:
    try:
        return version("kinefuse")
    except PackageNotFoundError:
        return "0"
