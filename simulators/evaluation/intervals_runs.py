"""Simulated athletes through the engine: what it tells with its sigmas, and windowed NIS."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final

import numpy as np

from fusion.metrics.cadence import SPAN_S
from fusion.models import consistency
from server.codecs import samples
from server.engine import Engine
from server.messages import Live
from simulators import rehearsal
from simulators.device import Device
from simulators.evaluation.intervals_peer import Peer
from simulators.evaluation.intervals_tally import Fit, Outcome, empty, plain
from simulators.faults import Message
from simulators.scenarios import Athlete
from simulators.truth import State, Truth

SCENARIO: Final = "demo"  # a runner, a walker, a rider and a runner of intervals, with their devices
SECONDS: Final = 480
SETTLED_S: Final = 60.0
CHANGING_BPM_S: Final = 0.3  # a heart rate that changes by more than that is told apart
CHANGES: Final = {True: "heart rate, changing", False: "heart rate, steady"}


def simulated(seed: int) -> Outcome:
    """Return what came of all athletes of SCENARIO, who are what the seed makes of them."""
    outcome = empty()
    engine, cast = Engine(rehearsal.config(SCENARIO), lambda: 0), rehearsal.cast(SCENARIO, seed=seed)
    roles = {athlete.id: athlete for athlete in cast}
    peers = {athlete.id: Peer() for athlete in cast}
    lives: dict[str, list[tuple[Live, dict[str, tuple[float, float]]]]] = defaultdict(list)
    for message in _heard(engine, cast, peers):
        if message.t_ms * 1e-3 - rehearsal.START_NS * 1e-9 < SETTLED_S:
            continue
        peer = peers[message.athlete]
        lives[message.athlete].append((message, peer.told()))
        look(engine, engine.registry.athletes[message.athlete].row, outcome.fits)
        peer.look(outcome.peer_fits)
    for name, messages in lives.items():
        _compare(outcome, roles[name], messages)
    return plain(outcome)


def _compare(
    outcome: Outcome, athlete: Athlete, messages: list[tuple[Live, dict[str, tuple[float, float]]]]
) -> None:
    """Hold what was told of an athlete, and what the peer told, to the truth of the same moments."""
    t_s = np.array([live.t_ms * 1e-3 - rehearsal.START_NS * 1e-9 for live, _ in messages])
    elapsed_s = np.array([live.workout.elapsed_s if live.workout else 0.0 for live, _ in messages])
    truths = _truths(athlete.truth, t_s, np.maximum(t_s - elapsed_s, 0.0))
    slope = np.gradient(truths["heart_rate"], t_s)
    role = athlete.role.name
    for i, (live, peer_told) in enumerate(messages):
        for metric, truth in truths.items():
            one = live.metrics.get(metric)
            names = [metric]
            if metric == "heart_rate":
                names.append(CHANGES[bool(abs(slope[i]) > CHANGING_BPM_S)])
            for name in names:
                if one is not None and one.value is not None and one.sigma is not None:
                    outcome.told[role, name].add(one.value - truth[i], one.sigma)
                if metric in peer_told:
                    value, sigma = peer_told[metric]
                    outcome.peer[role, name].add(value - truth[i], sigma)
        cadence = live.metrics.get("cadence")
        if cadence is not None and cadence.value is not None and cadence.sigma is not None:
            now = float(_cadence(athlete.truth.state(t_s[i : i + 1]))[0])
            outcome.told[role, "cadence, of the moment"].add(cadence.value - now, cadence.sigma)


def _heard(engine: Engine, cast: list[Athlete], peers: dict[str, Peer]) -> Iterator[Live]:
    """Yield what is live, when each athlete's peer has taken in what their devices had sent by then."""
    waiting: list[tuple[float, Peer, Message]] = []

    def overheard(athlete: Athlete) -> Athlete:
        peer = peers[athlete.id]

        def hear(messages: list[Message]) -> None:
            waiting.extend((one.due_s, peer, one) for one in messages if not one.topic.endswith("/imu"))

        return replace(athlete, devices=tuple(_Overheard(device, hear) for device in athlete.devices))

    heard = rehearsal.rehearse(engine, [overheard(one) for one in cast], SECONDS, ticks=4)
    for t_s, live in rehearsal.lives(heard):
        waiting.sort(key=itemgetter(0))
        while waiting and waiting[0][0] <= t_s:
            due_s, peer, message = waiting.pop(0)
            for packet in samples.decode(message.topic.rsplit("/")[-1], message.payload)[0]:
                peer.take(due_s, packet)
        yield live


class _Overheard(Device):
    """A device whose messages another one hears too."""

    def __init__(self, device: Device, hear: Callable[[list[Message]], None]) -> None:
        self.__dict__.update(device.__dict__)
        self._hear = hear

    def second(self, number: int) -> list[Message]:
        """Return what arrives of what the device sends in a second."""
        messages = super().second(number)
        self._hear(messages)
        return messages


def _truths(truth: Truth, t_s: Any, begin_s: Any) -> dict[str, Any]:
    """Return the truth of each metric at moments, (n,), totals since the workout began."""
    now, then = truth.state(t_s), truth.state(begin_s)
    grid = np.arange(0.0, SECONDS + 2.0, 0.25)
    every = truth.state(grid)
    rises = np.diff(every.altitude_m)
    up = np.concatenate([[0.0], np.cumsum(np.maximum(rises, 0.0))])
    down = np.concatenate([[0.0], np.cumsum(np.maximum(-rises, 0.0))])
    # Cadence is told of the newest SPAN_S (docs/metrics.md), a crank's of its newest turn.
    turns = np.concatenate([[0.0], np.cumsum(0.125 * (_cadence(every)[1:] + _cadence(every)[:-1]))])
    span = np.where(now.crank_rpm > 0.0, 60.0 / np.maximum(now.crank_rpm, 15.0), SPAN_S)
    return {
        "heart_rate": now.heart_rate_bpm,
        "speed": now.speed_mps,
        "altitude": now.altitude_m,
        "cadence": (np.interp(t_s, grid, turns) - np.interp(t_s - span, grid, turns)) / span,
        "distance": now.distance_m - then.distance_m,
        "steps": now.steps - then.steps,
        "ascent": np.interp(t_s, grid, up) - np.interp(begin_s, grid, up),
        "descent": np.interp(t_s, grid, down) - np.interp(begin_s, grid, down),
    }


def _cadence(state: State) -> Any:
    return np.where(state.crank_rpm > 0.0, state.crank_rpm, state.cadence_spm)


def look(engine: Engine, row: int, fits: dict[str, Fit]) -> None:
    """Take in how well the models of a row fit now."""
    one = engine.table.state[row]
    for name, model in consistency.MODELS.items():
        if consistency.known(one, name):
            low, high = consistency.bounds(one, name)
            fits[name].add(float(one[model.field]), (float(low), float(high)))
