"""``kinefuse replay``: a recording over MQTT, as its device would send it."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from server.config import Broker, Config, load
from server.errors import BrokerError, ConfigError
from server.files import Recording, read_all
from server.loop import run
from server.messages import Death, Workout
from server.mqtt import START_S_MAX, Link, warn_as
from server.playback import play
from server.publications import encode

AHEAD = 200  # messages handed to the link before it must have sent them all: nothing is dropped on the way
ANSWER_S = 10.0  # how long to wait for the server's summary after the end


def replay(
    paths: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    speed: float | Literal["max"] = 1.0,
    loop: Annotated[bool, Parameter(negative=())] = False,
    config: Path | None = None,
    port: int | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Publish recordings over MQTT, as their devices would, all devices at once.

    The birth message says that the clock is a recording's, so the server takes its stamps as they are. When a
    recording ends, so does its workout; the server's summary is printed.

    For example:

        kinefuse replay run.fit --speed 10
        kinefuse replay ski.zip --speed max --json
        kinefuse replay morning.fit evening.gpx --loop

    Parameters
    ----------
    paths
        FIT, GPX, TCX or Sensor Logger recordings, or a server's log of late messages.
    speed
        How many times faster than it happened; "max" as fast as the broker takes it.
    loop
        Begin again when all have ended, until Ctrl-C.
    config
        TOML file that says where the broker is.
    port
        The broker's port.
    json_
        Print the server's workout message of each recording as a JSON line.
    """
    if speed != "max" and not 0 < speed <= 1e6:
        raise ConfigError("--speed", f'is {speed:g}, allowed: above 0 to 1e6, or "max"')
    factor = float("inf") if speed == "max" else speed
    settings = load(config, os.environ, port=port)
    lines: dict[str, list[Recording]] = {}  # what one device recorded is played one after the other
    for recording in (each for path in paths for each in read_all(path)):
        lines.setdefault(recording.device, []).append(_worn(recording, settings))
    warn_as("replay")

    async def main() -> None:
        playing = asyncio.current_task()
        assert playing is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, playing.cancel)
        while True:
            async with asyncio.TaskGroup() as group:
                for line in lines.values():
                    group.create_task(_play_line(line, settings.broker, factor, json_))
            if not loop:
                return

    with contextlib.suppress(asyncio.CancelledError):
        try:
            run(main())
        except* BrokerError as errors:
            raise BrokerError("; ".join(dict.fromkeys(str(error) for error in errors.exceptions))) from None


def _worn(recording: Recording, config: Config) -> Recording:
    """Return the recording as that of the athlete who wears its device."""
    if config.lent(recording.device) is not config:
        raise ConfigError(
            "athletes",
            f'has "{recording.device}" as an athlete, not as a device: '
            f'add {{id = "{recording.device}"}} to the devices of who wears it, here and for the server',
        )
    return replace(recording, athlete=config.wearer(recording.device))


async def _play_line(recordings: list[Recording], broker: Broker, speed: float, as_json: bool) -> None:
    """Publish the recordings of one device, one after the other."""
    for recording in recordings:
        await _play(recording, broker, speed, as_json)


async def _play(recording: Recording, broker: Broker, speed: float, as_json: bool) -> None:
    """Publish one recording and print the summary that the server makes of it."""
    told = f"{broker.root}/athletes/{recording.athlete}/workout"
    status = f"{broker.root}/in/{recording.device}/status"
    goodbye = encode(Death())
    async with Link(broker, subscriptions=[told]) as link:
        await link.ready(START_S_MAX)
        try:
            await _publish(recording, link, broker.root, speed)
            workout = await _ended(link, recording)
        finally:
            link.publish(status, goodbye, qos=1, retain=True)
    if workout is None:
        raise BrokerError(
            f"{recording.device}: published, but no server answered with a summary; is one running? "
            f"kinefuse serve --port {broker.port}"
        )
    if as_json:
        print(msgspec.json.encode(workout).decode(), flush=True)
    elif workout.summary is not None:
        summary = workout.summary
        distance = "no distance" if summary.distance_m is None else f"{summary.distance_m:,.0f} m"
        print(f"{recording.device}: {distance} in {summary.elapsed_s:,.0f} s, {summary.sport}", flush=True)


async def _publish(recording: Recording, link: Link, root: str, speed: float) -> None:
    """Publish all messages when they are due, by one quality of service, so that their order is kept."""
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    shown_s = 0.0
    messages = play(recording, root=root, speed=speed, run=f"{secrets.token_hex(4)}-")
    duration_s = (recording.end_ns - recording.start_ns) * 1e-9
    for count, (offset_s, topic, payload) in enumerate(messages, start=1):
        wait_s = started_s + offset_s - loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        link.publish(topic, payload, qos=1, retain=topic.endswith("/status"))
        if count % AHEAD == 0:
            await link.flush()
        if sys.stderr.isatty() and loop.time() - shown_s > 0.5:
            shown_s = loop.time()
            played_s = min(duration_s, offset_s * speed if speed < float("inf") else 0.0)
            print(f"\r{recording.device}: {played_s:.0f} of {duration_s:.0f} s ", end="", file=sys.stderr)
    await link.flush()
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


async def _ended(link: Link, recording: Recording) -> Workout | None:
    """Wait for the workout message that ends this recording's workout."""
    start_ms = recording.start_ns // 1_000_000
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            async for arrival in link.arrivals():
                workout = msgspec.json.decode(arrival.payload, type=Workout)
                if workout.event == "ended" and not arrival.retained and workout.t_ms >= start_ms:
                    return workout
    return None
