"""``kinefuse watch``: a live table of athletes in the terminal."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.live import Live as LiveDisplay
from rich.table import Table
from rich.text import Text

from server.config import Broker, load
from server.messages import Live, Metric
from server.mqtt import Link

GONE_S = 60.0  # an athlete who has not been told of for this long is taken off the table
REFRESH_HZ = 4

# Metric, heading, unit, decimals, and the least width of the terminal at which it is shown.
COLUMNS = (
    ("heart_rate", "heart", "bpm", 0, 0),
    ("cadence", "cadence", "/min", 0, 50),
    ("speed", "speed", "m/s", 2, 0),
    ("distance", "distance", "m", 0, 0),
    ("altitude", "altitude", "m", 1, 100),
    ("ascent", "ascent", "m", 0, 115),
    ("steps", "steps", "", 0, 85),
    ("energy", "energy", "kcal", 0, 130),
)


def watch(
    *,
    config: Path | None = None,
    port: int | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Show a live table of all athletes; Ctrl-C ends it.

    For example:

        kinefuse watch
        kinefuse watch --port 1884
        kinefuse watch --json | jq .metrics.heart_rate.value

    Parameters
    ----------
    config
        TOML file that says where the broker is.
    port
        The broker's port.
    json_
        Print each live message as a JSON line instead of a table.
    """
    settings = load(config, os.environ, port=port)

    async def main() -> None:
        showing = asyncio.current_task()
        assert showing is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, showing.cancel)
        await (_print(settings.broker) if json_ else _show(settings.broker))

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main())


def table(athletes: dict[str, Live], width: int) -> Table:
    """Return the table of the newest message of each athlete, for a terminal of ``width`` columns."""
    shown = [column for column in COLUMNS if width >= column[4]]
    out = Table(title="kinefuse", title_justify="left", expand=False, pad_edge=False)
    out.add_column("athlete", no_wrap=True)
    if width >= 70:
        out.add_column("workout", no_wrap=True)
    for _, heading, unit, _, _ in shown:
        out.add_column(f"{heading}\n{unit}", justify="right", no_wrap=True)
    for name in sorted(athletes):
        live = athletes[name]
        cells = [_cell(live.metrics.get(metric), decimals, width) for metric, _, _, decimals, _ in shown]
        out.add_row(name, *([_workout(live)] if width >= 70 else []), *cells)
    return out


def _workout(live: Live) -> str:
    if live.workout is None:
        return "-"
    seconds = int(live.workout.elapsed_s)
    state = "" if live.workout.state == "running" else f" {live.workout.state}"
    return f"{live.workout.sport} {seconds // 60}:{seconds % 60:02d}{state}"


def _cell(metric: Metric | None, decimals: int, width: int) -> Text:
    if metric is None or metric.value is None or metric.sigma is None or metric.quality is None:
        reason = "" if metric is None or metric.reason is None else metric.reason.replace("_", " ")
        return Text(reason if width >= 120 else "-", style="dim")
    told = f"{metric.value:,.{decimals}f}"
    if width >= 100:
        told += f" ±{metric.sigma:.{decimals}f}" if metric.sigma >= 0.5 * 10**-decimals else ""
    return Text(told, style="" if metric.quality >= 0.5 else "yellow")


async def _print(broker: Broker) -> None:
    async with Link(broker, subscriptions=[f"{broker.root}/athletes/+/live"]) as link:
        await link.ready()
        async for arrival in link.arrivals():
            print(arrival.payload.decode(), flush=True)


async def _show(broker: Broker) -> None:
    athletes: dict[str, Live] = {}
    heard_s: dict[str, float] = {}
    console = Console()
    loop = asyncio.get_running_loop()
    waiting = f"waiting for athletes at {broker.host}:{broker.port} ({broker.root})"
    async with Link(broker, subscriptions=[f"{broker.root}/athletes/+/live"]) as link:
        with LiveDisplay(waiting, console=console, auto_refresh=False) as display:
            if not sys.stdout.isatty():
                print(waiting, file=sys.stderr)
            while not link.inbox.closed:
                await asyncio.sleep(1 / REFRESH_HZ)
                for arrival in link.inbox.take():
                    live = msgspec.json.decode(arrival.payload, type=Live)
                    athletes[live.athlete] = live
                    heard_s[live.athlete] = loop.time()
                for name in [name for name, at_s in heard_s.items() if loop.time() - at_s > GONE_S]:
                    del athletes[name], heard_s[name]
                if athletes:
                    display.update(table(athletes, console.width), refresh=True)
                elif not link.connected:
                    display.update(f"no broker at {broker.host}:{broker.port} yet", refresh=True)
            await link.wait()
