"""Workouts as messages, and a phone that loses its network: in what order these come."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import msgspec

from server.codecs import samples
from server.config import Config
from server.files import read
from server.messages import Birth, Clock, Command
from server.playback import play
from simulators import rehearsal

ROOT: Final = "kinefuse/v1"
LASTS_S: Final = 600.0  # so much of a recording is played
SIMULATED_S: Final = 90

GAP_S: Final = (20.0, 120.0)  # between losses of the network
LOST_S: Final = (1.0, 25.0)
MIXED: Final = 0.5  # share of losses after which what was kept back comes in any order
SINGLE, SINGLE_S = 0.02, 3.0  # share of messages that come late for themselves, by at most so much
DUPLICATES: Final = 0.02
IN_ORDER: Final = ("/imu", "sensor-logger")  # packets of one device, unless they are mixed
BEHIND_S: Final = 1.5  # so much of what is new goes before what is old
OVERTAKEN: Final = 8  # by so many packets of its own device at most, where they are mixed


class Message(NamedTuple):
    """A message, and when it is due, s."""

    due_s: float
    topic: str
    payload: bytes


def recorded(path: Path) -> list[Message]:
    """Return the first part of a recording; its stop comes with the last of it."""
    recording = replace(read(path), athlete="athlete").renamed("athlete")
    played = [Message(*each) for each in play(recording, root=ROOT, speed=1.0)]
    begin = [each for each in played if each.due_s <= LASTS_S and not _ends(each)]
    return [*begin, _stop("athlete", _last_ns(begin), begin[-1].due_s + 1.0)]


def simulated(athlete: str) -> list[Message]:
    """Return a session of an athlete of the demo: motion, beats, satellites, pressure."""
    (who,) = [each for each in rehearsal.cast("demo") if each.id == athlete]
    birth = samples.encode(Birth(placement="wrist", sport="run", clock=Clock(recorded=True)))
    births = [Message(-1.0, f"{ROOT}/in/{device.id}/status", birth) for device in who.devices]
    measured = [
        Message(each.due_s, f"{ROOT}/{each.topic}", each.payload)
        for device in who.devices
        for second in range(SIMULATED_S)
        for each in device.second(second)
    ]
    laps = [_command(athlete, "lap", time_s) for time_s in range(20, SIMULATED_S, 25)]
    middle = sorted([*measured, *laps], key=lambda each: each.due_s)
    end_ns = rehearsal.START_NS + SIMULATED_S * 10**9
    return [*births, *middle, _stop(athlete, end_ns, SIMULATED_S + 1.0)]


def config(name: str) -> Config:
    """Return the configuration that knows the devices of a session of `simulated`; "": of a recording."""
    return rehearsal.config(name) if name else Config()


def late(messages: list[Message], seed: int) -> list[Message]:
    """Return messages in the order in which a phone that loses its network now and then delivers them."""
    random = Random(seed)  # noqa: S311 (nothing is secret here)
    losses = list(_losses(random, messages[-1].due_s))
    latest: dict[str, float] = {}
    arrivals: list[tuple[float, int, Message]] = []
    for number, each in enumerate(messages):
        lost = next((loss for loss in losses if loss[0] <= each.due_s < loss[1]), None)
        arrives_s = each.due_s
        if lost is not None:
            arrives_s = lost[1] + (random.random() if lost[2] else 0.0)
        elif random.random() < SINGLE:
            arrives_s += random.uniform(0.0, SINGLE_S)
        if each.topic.endswith(IN_ORDER) or b'"rr' in each.payload or "/status" in each.topic:
            arrives_s = latest[each.topic] = max(arrives_s, latest.get(each.topic, arrives_s))
        if "/status" in each.topic or number < 2:
            arrives_s = each.due_s  # the workout has begun before the network is lost
        arrivals.append((arrives_s, number, each))
        if random.random() < DUPLICATES:
            arrivals.append((arrives_s + random.uniform(0.0, 1.0), number, each))
    return [each for *_, each in sorted(arrivals, key=lambda arrival: arrival[:2])]


def mixed(messages: list[Message], seed: int) -> list[Message]:
    """Return messages with the IMU packets of each device in another order: few overtake each."""
    random = Random(seed)  # noqa: S311 (nothing is secret here)
    out = list(messages)
    for topic in sorted({each.topic for each in messages if each.topic.endswith("/imu")}):
        places = [place for place, each in enumerate(messages) if each.topic == topic]
        keys = [number + random.uniform(0.0, OVERTAKEN) for number in range(len(places))]
        order = sorted(range(len(places)), key=keys.__getitem__)
        for place, number in zip(places, order, strict=True):
            out[place] = messages[places[number]]
    return out


def behind(messages: list[Message], seed: int) -> list[Message]:
    """Return messages where IMU packets of a while come behind newer ones: what is new goes first.

    Once the network is back, each new packet of a device brings some of the old ones, oldest first.
    """
    random = Random(seed)  # noqa: S311 (nothing is secret here)
    begin_s, lasts_s, rate = random.uniform(10.0, 40.0), random.uniform(*LOST_S), random.randint(1, 20)
    old: dict[str, list[Message]] = {}
    out: list[Message] = []
    for each in messages:
        if each.topic.endswith("/imu") and begin_s <= each.due_s < begin_s + lasts_s:
            old.setdefault(each.topic, []).append(each)
            continue
        if _ends(each):
            out += [one for kept in old.values() for one in kept]
        out.append(each)
        kept = old.get(each.topic, [])
        if each.due_s >= begin_s + lasts_s + BEHIND_S:
            out += kept[:rate]
            del kept[:rate]
    return out


def _losses(random: Random, end_s: float) -> Iterator[tuple[float, float, bool]]:
    """Yield when the network is lost and back, and whether what was kept back then comes mixed."""
    at_s = random.uniform(5.0, GAP_S[0])
    while at_s < end_s:
        back_s = at_s + random.uniform(*LOST_S)
        yield at_s, back_s, random.random() < MIXED
        at_s = back_s + random.uniform(*GAP_S)


def _command(athlete: str, action: str, time_s: float) -> Message:
    command = Command(action, f"{action}-{round(time_s)}", t=rehearsal.START_NS + round(time_s * 1e9))  # type: ignore[arg-type]
    return Message(time_s, f"{ROOT}/command/{athlete}", samples.encode(command))


def _stop(athlete: str, t_ns: int, due_s: float) -> Message:
    return Message(due_s, f"{ROOT}/command/{athlete}", samples.encode(Command("stop", "end", t=t_ns)))


def _ends(message: Message) -> bool:
    return "/command/" in message.topic and b'"stop"' in message.payload


def _last_ns(messages: list[Message]) -> int:
    """Return the newest stamp of what was measured."""
    stamps = [msgspec.json.decode(each.payload).get("t") for each in messages if "/in/" in each.topic]
    return max(int(stamp) for stamp in stamps if stamp is not None)
