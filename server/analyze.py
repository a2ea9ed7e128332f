"""``kinefuse analyze``: a recording through the very same engine, without a broker, as fast as it goes."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from cyclopts import Parameter

from server.clock import SystemClock
from server.config import Config, load
from server.engine import Engine
from server.envelopes import Incoming
from server.errors import FileError, printable
from server.files import Recording, read_all
from server.messages import Summary, Workout
from server.playback import play

CHUNK = 64  # messages in one tick of the engine: fewer than can fill its queues, so that nothing is refused
START_NS = (
    1_000_000_000_000_000_000  # UTC of the first arrival; a fixed one, so that nothing depends on today
)


def analyze(
    paths: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    config: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Run recordings through the engine and print each finished workout's summary.

    Reads FIT, GPX and TCX files, Sensor Logger exports (folder or zip) and a server's log of late messages;
    each may be packed with xz.
    Exit code 1 and one line on stderr for a file that cannot be read; the others are still analysed.

    For example:

        kinefuse analyze run.fit
        kinefuse analyze ski.zip --json | jq .summary.distance_m
        kinefuse analyze season/*.fit --json          one JSON object per line

    Parameters
    ----------
    paths
        Files or folders to analyse.
    config
        TOML file with the athletes; what it says of the recording's device id is used.
    json_
        Print one JSON object per recording instead of a table.
    """
    settings = load(config, os.environ)
    failed = False
    for path in paths:
        try:
            recordings = read_all(path)
        except FileError as error:
            print(f"kinefuse: {error}", file=sys.stderr)
            failed = True
            continue
        for recording in recordings:
            _analyze(path, recording, settings, as_json=json_)
    if failed:
        sys.exit(1)


def _analyze(path: Path, recording: Recording, settings: Config, *, as_json: bool) -> None:
    """Run a recording through the engine and print its summary."""
    workout, refused = analysis_of(recording, settings)
    if refused:
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
        recording = replace(recording, warnings=(*recording.warnings, f"samples of no use: {told}"))
    if as_json:
        print(json.dumps(report(path, recording, workout)))
    else:
        _print(path, recording, workout)


class Analysis(NamedTuple):
    """A finished workout, and how many of the recording's samples were of no use, by reason."""

    workout: Workout
    refused: dict[str, int]


def analysis_of(recording: Recording, config: Config) -> Analysis:
    """Return the finished workout of a recording.

    The same messages as ``kinefuse replay`` publishes go through the same engine, so the totals are the same.
    """
    server = msgspec.structs.replace(config.server, enroll="auto")
    config = msgspec.structs.replace(config, server=server).lent(recording.device)
    recording = replace(recording, athlete=config.wearer(recording.device))
    engine = Engine(config, SystemClock().monotonic_ns)
    ended: Workout | None = None
    chunk: list[Incoming] = []
    arrived_ns = START_NS

    def flush() -> None:
        nonlocal ended
        published = engine.advance(chunk, arrived_ns)
        while engine.behind:
            published += engine.advance([], arrived_ns)
        for out in published:
            if out.topic.endswith("/workout"):
                workout = msgspec.json.decode(out.payload, type=Workout)
                ended = workout if workout.summary is not None else ended
        chunk.clear()

    for offset_s, topic, payload in play(recording, root=config.broker.root, speed=float("inf")):
        del offset_s  # a recording's own stamps are its time
        arrived_ns += 1_000
        chunk.append(Incoming(topic, payload, retained=False, arrived_ns=arrived_ns, received_ns=0))
        if len(chunk) == CHUNK:
            flush()
    flush()
    assert ended is not None, "every recording ends with a stop"
    return Analysis(ended, engine.health.refused())


def report(path: Path, recording: Recording, workout: Workout) -> dict[str, Any]:
    """Return the JSON object that ``--json`` prints for a recording."""
    return {
        "file": str(path),
        "device": recording.device,
        "model": recording.model,
        "summary": msgspec.to_builtins(workout.summary),
        "laps": msgspec.to_builtins(workout.laps),
        "warnings": list(recording.warnings),
    }


_ROWS = (
    ("distance_m", "distance", "m", 0),
    ("elapsed_s", "elapsed", "s", 0),
    ("moving_s", "moving", "s", 0),
    ("speed_mean_mps", "mean speed", "m/s", 2),
    ("speed_max_mps", "top speed", "m/s", 2),
    ("ascent_m", "ascent", "m", 0),
    ("descent_m", "descent", "m", 0),
    ("floors", "floors", "", 0),
    ("heart_rate_mean_bpm", "mean heart rate", "bpm", 0),
    ("heart_rate_max_bpm", "top heart rate", "bpm", 0),
    ("steps", "steps", "", 0),
    ("cadence_mean_spm", "mean cadence", "/min", 0),
    ("power_mean_w", "mean power", "W", 0),
    ("energy_kcal", "energy", "kcal", 0),
)


def _print(path: Path, recording: Recording, workout: Workout) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    summary = workout.summary
    assert isinstance(summary, Summary)
    title = printable(f"{path.name}: {summary.sport}" + (f", {recording.model}" if recording.model else ""))
    table = Table("", "value", "± sigma", "unit", "source", title=Text(title), title_justify="left")
    for field, name, unit, decimals in _ROWS:
        value = getattr(summary, field)
        if value is None:
            reason = summary.reasons.get(field, "no_source").replace("_", " ")
            table.add_row(name, "-", "", "", reason, style="dim")
            continue
        sigma = summary.sigma.get(field)
        told = "" if sigma is None else f"{sigma:.{max(decimals, 1)}f}"
        table.add_row(name, f"{value:,.{decimals}f}", told, unit, summary.sources.get(field, ""))
    console = Console()
    console.print(table)
    for warning in recording.warnings:
        console.print(f"note: {warning}", style="yellow", markup=False)
