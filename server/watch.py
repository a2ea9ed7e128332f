"""``kinefuse watch``: a live table of athletes in the terminal."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.live import Live as LiveDisplay
from rich.table import Table
from rich.text import Text

from server.config import Broker, Config, load
from server.envelopes import Incoming
from server.messages import Live, Metric, ServerStatus
from server.mqtt import Link

STALE_S = 5.0  # a row that is older is marked: a live message comes once a second
GONE_S = 60.0  # and one that is older than this is taken off the table
REFRESH_HZ = 4
NAME_MIN = 12  # columns for the athletes that are worth more than to show how sure the numbers are

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

    A row that is not of now is dimmed, with its age; the title says if the broker or the server is gone.

    For example:

        kinefuse watch
        kinefuse watch --port 1884
        kinefuse watch --config gym.toml
        kinefuse watch --json | jq .metrics.heart_rate.value

    Parameters
    ----------
    config
        TOML file that says where the broker is and what the athletes are called.
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
        await (_print(settings.broker) if json_ else _show(settings))

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main())


class Board:
    """What was heard of the athletes and of the server, and when.

    Times are in s, of any clock that only goes forward.
    """

    def __init__(self, settings: Config) -> None:
        self._broker = settings.broker
        self._names = {each.id: " ".join(each.name.split()) for each in settings.athletes if each.name}
        self._athletes: dict[str, Live] = {}
        self._heard_s: dict[str, float] = {}
        self._offline = False

    def hear(self, arrival: Incoming, now_s: float) -> None:
        """Take in a message; one that cannot be read, as of a newer server, changes nothing."""
        with contextlib.suppress(ValueError, RecursionError):
            if arrival.topic == f"{self._broker.root}/server/status":
                self._offline = msgspec.json.decode(arrival.payload, type=ServerStatus).state == "offline"
                return
            live = msgspec.json.decode(arrival.payload, type=Live)
            self._athletes[live.athlete] = live
            self._heard_s[live.athlete] = now_s

    def draw(self, now_s: float, width: int, no_link: str = "") -> Table | Text:
        """Return what to show in ``width`` columns; ``no_link`` says why there is no connection."""
        for athlete in [name for name, at_s in self._heard_s.items() if now_s - at_s > GONE_S]:
            del self._athletes[athlete], self._heard_s[athlete]
        trouble = no_link or ("the server is offline" if self._offline else "")
        if not self._athletes:
            return Text(trouble or self.waiting)
        ages_s = {athlete: now_s - at_s for athlete, at_s in self._heard_s.items()}
        old = {athlete: age_s for athlete, age_s in ages_s.items() if trouble or age_s > STALE_S}
        return table(self._athletes, width, names=self._names, ages_s=old, trouble=trouble)

    @property
    def waiting(self) -> str:
        """What is shown while no athlete is."""
        return f"waiting for athletes at {self._broker.host}:{self._broker.port} ({self._broker.root})"


def table(
    athletes: Mapping[str, Live],
    width: int,
    *,
    names: Mapping[str, str] = MappingProxyType({}),
    ages_s: Mapping[str, float] = MappingProxyType({}),
    trouble: str = "",
) -> Table:
    """Return the table of the newest message of each athlete.

    Numbers are shown in full: where room is short names are cut, and how sure the numbers are is left out.

    Parameters
    ----------
    athletes : mapping
        The newest message by the athlete's id.
    width : int
        Columns of the terminal.
    names : mapping
        What athletes are called, by id; others are shown by their id.
    ages_s : mapping
        The age, s, of those messages that no longer tell of now, by id: their rows are dimmed.
    trouble : str
        What is wrong, for the title.
    """
    metrics = [column for column in COLUMNS if width >= column[4]]
    heads = ["athlete", *(["age\ns"] if ages_s else []), *(["workout"] if width >= 70 else [])]
    heads += [f"{heading}\n{unit}" for _, heading, unit, _, _ in metrics]
    called = sorted((names.get(athlete, athlete), athlete) for athlete in athletes)
    for detail in range((width >= 100) + (width >= 120), -1, -1):
        rows = []
        for name, athlete in called:
            live = athletes[athlete]
            row = [Text(name, no_wrap=True, overflow="ellipsis")]
            if ages_s:
                row.append(Text(f"{ages_s[athlete]:.0f}" if athlete in ages_s else ""))
            if width >= 70:
                row.append(Text(_workout(live)))
            rows.append(
                row + [_cell(live.metrics.get(key), digits, detail) for key, _, _, digits, _ in metrics]
            )
        if _least_width(heads, rows) <= width:
            break

    title = Text(f"kinefuse: {trouble}", style="bold red") if trouble else "kinefuse"
    out = Table(title=title, title_justify="left", expand=False, pad_edge=False)
    # The one column that may be cut, so it is the one that rich takes from.
    out.add_column(Text(heads[0], no_wrap=True, overflow="ellipsis"), max_width=max(1, width // 3))
    for head in heads[1:]:
        out.add_column(head, justify="left" if head == "workout" else "right", no_wrap=True)
    for (_, athlete), row in zip(called, rows, strict=True):
        out.add_row(*row, style="dim" if athlete in ages_s else None)
    return out


def _least_width(heads: list[str], rows: list[list[Text]]) -> int:
    """Return the columns that a table takes in which no more is cut than names of more than NAME_MIN."""
    widths = [max(map(len, head.split("\n"))) for head in heads]
    for row in rows:
        widths = [max(width, cell.cell_len) for width, cell in zip(widths, row, strict=True)]
    return min(widths[0], NAME_MIN) + sum(widths[1:]) + 3 * len(widths) - 1


def _workout(live: Live) -> str:
    if live.workout is None:
        return "-"
    seconds = int(live.workout.elapsed_s)
    state = "" if live.workout.state == "running" else f" {live.workout.state}"
    return f"{live.workout.sport} {seconds // 60}:{seconds % 60:02d}{state}"


def _cell(metric: Metric | None, decimals: int, detail: int) -> Text:
    """One number; with ``detail`` 1 and 2 also how sure it is, with 2 in words why there is none."""
    if metric is None or metric.value is None or metric.sigma is None or metric.quality is None:
        reason = "" if metric is None or metric.reason is None else metric.reason.replace("_", " ")
        return Text(reason if detail == 2 else "-", style="dim")
    told = f"{metric.value:,.{decimals}f}"
    if detail and metric.sigma >= 0.5 * 10**-decimals:
        told += f" ±{metric.sigma:.{decimals}f}"
    return Text(told, style="" if metric.quality >= 0.5 else "yellow")


async def _print(broker: Broker) -> None:
    async with Link(broker, subscriptions=[f"{broker.root}/athletes/+/live"]) as link:
        await link.ready()
        async for arrival in link.arrivals():
            print(arrival.payload.decode(), flush=True)


async def _show(settings: Config) -> None:
    broker, board, console = settings.broker, Board(settings), Console()
    loop = asyncio.get_running_loop()
    topics = [f"{broker.root}/athletes/+/live", f"{broker.root}/server/status"]
    async with Link(broker, subscriptions=topics) as link:
        with LiveDisplay(Text(board.waiting), console=console, auto_refresh=False) as display:
            if not sys.stdout.isatty():
                print(board.waiting, file=sys.stderr)
            while not link.inbox.closed:
                await asyncio.sleep(1 / REFRESH_HZ)
                for arrival in link.inbox.take():
                    board.hear(arrival, loop.time())
                display.update(board.draw(loop.time(), console.width, _no_link(link, broker)), refresh=True)
            await link.wait()


def _no_link(link: Link, broker: Broker) -> str:
    if link.connected:
        return ""
    return "lost the broker, trying again" if link.losses else f"no broker at {broker.host}:{broker.port} yet"
