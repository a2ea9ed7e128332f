"""``kinefuse simulate``: athletes and their devices over MQTT."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, TextIO

import msgspec
from cyclopts import Parameter

from server.clock import SystemClock
from server.config import Broker, load
from server.errors import ConfigError
from server.loop import run
from server.mqtt import warn_as
from simulators import scenarios
from simulators.faults import parse
from simulators.fleet import Connection, Fleet
from simulators.record import TruthWriter

_FLAG = Parameter(negative=())


def simulate(
    *,
    scenario: str = "demo",
    athletes: int | None = None,
    seed: int = 1,
    seconds: float | None = None,
    rate: int = 100,
    faults: str = "none",
    connection: Connection = "auto",
    workouts: bool = True,
    truth: Path | None = None,
    config: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    root: str | None = None,
    print_config: Annotated[bool, _FLAG] = False,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Publish simulated athletes over MQTT, with their devices, until Ctrl-C.

    Scenarios: demo (a steady runner, a walker, a rider and an interval runner, each with devices of their
    own), class (everybody with one watch, doing a bit of everything), run, walk, ride, intervals, rest.

    For example:

        kinefuse simulate
        kinefuse simulate --scenario class --athletes 100 --seconds 60 --json
        kinefuse simulate --faults mobile,loss=0.05,step_s=30,step_at_s=120
        kinefuse simulate --print-config > athletes.toml

    Parameters
    ----------
    scenario
        Who takes part.
    athletes
        How many; by default one for each role of the scenario.
    seed
        The same seed gives the same athletes, sensors and faults.
    seconds
        End after so long.
    rate
        Inertial samples per second, in ten packets a second.
    faults
        none, wifi, mobile or bad, then key=value with commas: loss, duplicate, reorder (0 to 1), jitter_s,
        delay_s, offset_s, skew_ppm, step_s, step_at_s.
    connection
        One MQTT connection for each device, with its last will, or one for all; auto: by device up to 16.
    workouts
        Start each athlete's workout, and stop it at the end.
    truth
        Write what truly happens to this file, a JSON line for each athlete and second.
    config
        TOML file that says where the broker is.
    host
        The broker's address.
    port
        The broker's port.
    root
        What all topics begin with.
    print_config
        Print the server's configuration of these athletes and their devices as TOML, and do nothing else.
    json_
        Print a report of what was sent and what truly happened as JSON at the end.
    """
    if seconds is not None and not 0 < seconds <= 1e7:
        raise ConfigError("--seconds", f"is {seconds:g}, allowed: above 0 to 1e7")
    if print_config:
        with _asked_rightly():
            print(scenarios.config(scenario, athletes), end="")
        return
    broker = _broker(config, host, port, root)
    start_ns = SystemClock().utc_ns()
    with _asked_rightly():
        made = scenarios.build(
            scenario, athletes, seed=seed, start_ns=start_ns, faults=parse(faults), rate_hz=rate
        )
    warn_as("simulate")
    if not json_:
        _introduce(made, broker)
    with _open(truth) as sink:
        writer = TruthWriter(sink, made, start_ns) if sink else None
        fleet = Fleet(made, broker, start_ns=start_ns, connection=connection, workouts=workouts, truth=writer)
        _run(fleet, float("inf") if seconds is None else seconds)
    if json_:
        print(json.dumps({"scenario": scenario, "seed": seed, **fleet.report()}))
    else:
        _conclude(fleet.report())


def _run(fleet: Fleet, seconds: float) -> None:
    """Run until the end, or until SIGINT or SIGTERM; a second signal changes nothing."""
    gc.freeze()  # the athletes stay: a full collection would walk through them all

    async def main() -> None:
        running = asyncio.create_task(fleet.run(seconds), name="fleet")
        asked = False

        def stop() -> None:
            nonlocal asked
            if not asked:
                asked = True
                running.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            await running

    run(main())


def _broker(config: Path | None, host: str | None, port: int | None, root: str | None) -> Broker:
    """Where the broker is: file and environment, then the command line."""
    broker = load(config, os.environ, port=port).broker
    given: dict[str, Any] = {
        name: value for name, value in (("host", host), ("root", root)) if value is not None
    }
    try:
        return msgspec.convert({**msgspec.to_builtins(broker), **given}, Broker)
    except msgspec.ValidationError as error:
        raise ConfigError("--" + " or --".join(given), str(error)) from None


@contextlib.contextmanager
def _asked_rightly() -> Any:
    """Turn the one-line ValueErrors of scenarios and faults into errors of configuration."""
    try:
        yield
    except ValueError as error:
        raise ConfigError("", str(error)) from None


@contextlib.contextmanager
def _open(path: Path | None) -> Any:
    """The file to write truth to, or None."""
    if path is None:
        yield None
        return
    try:
        sink: TextIO = path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError("--truth", f"cannot write {path}: {error.strerror}") from None
    with sink:
        yield sink


def _introduce(athletes: list[scenarios.Athlete], broker: Broker) -> None:
    print(
        f"Simulating {len(athletes)} athletes for {broker.host}:{broker.port}, under {broker.root}:",
        flush=True,
    )
    for athlete in athletes[:8]:
        devices = ", ".join(device.id for device in athlete.devices)
        print(f"  {athlete.id}: {athlete.role.title.lower()} ({devices})", flush=True)
    if len(athletes) > 8:
        print(f"  ... and {len(athletes) - 8} more", flush=True)


def _conclude(report: dict[str, Any]) -> None:
    sent = sum(report["sent"].values())
    print(
        f"Sent {sent:,} messages in {report['seconds']:.0f} s, {report['unsent']:,} had no connection.",
        file=sys.stderr,
    )
