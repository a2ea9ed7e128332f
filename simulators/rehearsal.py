"""Simulated athletes straight into the engine: no broker, no waiting; arrival times are simulated too."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from server.config import Config
from server.engine import Engine
from server.envelopes import Incoming, Outgoing
from server.messages import Live
from simulators import scenarios
from simulators.faults import Faults, Message
from simulators.scenarios import Athlete

START_NS = 1_790_000_000_000_000_000  # UTC at which every rehearsal begins
BEFORE_S = 0.5  # births come this long before the first sample


class Heard(NamedTuple):
    """What the engine published after a tick that ended ``t_s`` seconds after the start."""

    t_s: float
    out: list[Outgoing]


def config(scenario: str, athletes: int | None = None) -> Config:
    """Return the server's configuration of a scenario's athletes."""
    return msgspec.toml.decode(scenarios.config(scenario, athletes).encode(), type=Config)


def cast(
    scenario: str, athletes: int | None = None, *, seed: int = 1, faults: Faults | None = None
) -> list[Athlete]:
    """Return the athletes of a scenario, who begin at START_NS."""
    return scenarios.build(scenario, athletes, seed=seed, start_ns=START_NS, faults=faults)


def rehearse(engine: Engine, athletes: list[Athlete], seconds: int, *, ticks: int = 20) -> Iterator[Heard]:
    """Let athletes run into an engine, and yield what it publishes, tick by tick.

    Parameters
    ----------
    engine : Engine
        Fresh, with ``config`` of the same scenario.
    athletes : list of Athlete
        From ``cast``, fresh.
    seconds : int
        How long, at least 1.
    ticks : int
        Ticks in a second.
    """
    root = "kinefuse/v1"
    waiting = [
        Message(device.begins_s(0) - BEFORE_S, f"in/{device.id}/status", device.birth(0.0))
        for athlete in athletes
        for device in athlete.devices
    ]
    for second in range(seconds):
        waiting += [
            message for athlete in athletes for device in athlete.devices for message in device.second(second)
        ]
        waiting.sort(key=_due)
        for tick in range(1, ticks + 1):
            t_s = second + tick / ticks
            due = [message for message in waiting if message.due_s <= t_s]
            del waiting[: len(due)]
            messages = [_arrived(root, message) for message in due]
            yield Heard(t_s, engine.advance(messages, START_NS + round(t_s * 1e9)))


def lives(heard: Iterator[Heard]) -> Iterator[tuple[float, Live]]:
    """Yield the live messages among what was heard, each with its tick's time, s."""
    for t_s, out in heard:
        for message in out:
            if message.topic.endswith("/live"):
                yield t_s, msgspec.json.decode(message.payload, type=Live)


def _arrived(root: str, message: Message) -> Incoming:
    arrived_ns = START_NS + round(message.due_s * 1e9)
    return Incoming(f"{root}/{message.topic}", message.payload, False, arrived_ns, 0)


def _due(message: Message) -> float:
    return message.due_s
