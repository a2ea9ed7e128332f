"""Athletes through the engine, simulated and recorded: what it tells with its sigmas, and windowed NIS."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from fusion.models import consistency
from server.clock import SystemClock
from server.codecs import samples
from server.config import Config
from server.engine import Engine
from server.envelopes import Incoming
from server.errors import FileError
from server.files import read
from server.files.recording import SampleRecording
from server.messages import Live, Summary, Workout
from server.playback import play
from simulators import rehearsal
from simulators.device import Device
from simulators.evaluation.intervals_peer import Peer
from simulators.evaluation.scores import Task
from simulators.faults import Message
from simulators.scenarios import Athlete
from simulators.truth import State, Truth

SCENARIO: Final = "demo"  # a runner, a walker, a rider and a runner of intervals, with their devices
SECONDS: Final = 600
SETTLED_S: Final = 60.0
NORMAL_90: Final = 1.645
CHUNK: Final = 20  # messages of a recording between two looks: some seconds
SUMMARY: Final = {
    "distance_m": "distance",
    "ascent_m": "ascent",
    "descent_m": "descent",
    "heart_rate_mean_bpm": "heart_rate",
}


class Tally(msgspec.Struct):
    """Moments at which something was told: how many, how many within the 90 % interval, and sums."""

    count: int = 0
    inside: int = 0
    error: float = 0.0  # of its size
    sigma: float = 0.0
    z2: float = 0.0  # of (error / sigma)^2

    def add(self, error: float, sigma: float) -> None:
        """Take a moment in."""
        if not (np.isfinite(error) and np.isfinite(sigma)):
            return
        self.count += 1
        self.inside += int(abs(error) <= NORMAL_90 * sigma)
        self.error += float(abs(error))
        self.sigma += float(sigma)
        self.z2 += float(min((error / max(sigma, 1e-9)) ** 2, 100.0))

    def join(self, other: "Tally") -> None:
        """Add another one's moments."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Fit(msgspec.Struct):
    """Moments at which a model's windowed NIS was known: how many, above its bounds and below them."""

    count: int = 0
    above: int = 0
    below: int = 0

    def add(self, model: str, nis: float) -> None:
        """Take a moment in; NaN is none."""
        if np.isfinite(nis):
            bounds = consistency.MODELS[model]
            self.count += 1
            self.above += int(nis > bounds.high)
            self.below += int(nis < bounds.low)

    def join(self, other: "Fit") -> None:
        """Add another one's moments."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Outcome(NamedTuple):
    """What came of a seed or a recording; ``told`` and ``peer`` by the athlete's role and the metric."""

    told: dict[tuple[str, str], Tally]
    peer: dict[tuple[str, str], Tally]
    fits: dict[str, Fit]
    peer_fits: dict[str, Fit]


def _outcome() -> Outcome:
    return Outcome(defaultdict(Tally), defaultdict(Tally), defaultdict(Fit), defaultdict(Fit))


def _plain(outcome: Outcome) -> Outcome:
    return Outcome(*(dict(one) for one in outcome))  # type: ignore[arg-type]


def simulated(seed: int) -> Outcome:
    """Return what came of all athletes of SCENARIO, who are what the seed makes of them."""
    outcome = _outcome()
    engine, cast = Engine(rehearsal.config(SCENARIO), lambda: 0), rehearsal.cast(SCENARIO, seed=seed)
    roles = {athlete.id: athlete for athlete in cast}
    peers = {athlete.id: Peer() for athlete in cast}
    lives: dict[str, list[tuple[Live, dict[str, tuple[float, float]]]]] = defaultdict(list)
    for message in _heard(engine, cast, peers):
        if message.t_ms * 1e-3 - rehearsal.START_NS * 1e-9 < SETTLED_S:
            continue
        peer = peers[message.athlete]
        lives[message.athlete].append((message, peer.told()))
        _look(engine, engine.registry.athletes[message.athlete].row, outcome.fits)
        peer.look(outcome.peer_fits)
    for name, messages in lives.items():
        t_s = np.array([live.t_ms * 1e-3 - rehearsal.START_NS * 1e-9 for live, _ in messages])
        begin_s = t_s - np.array([live.workout.elapsed_s if live.workout else 0.0 for live, _ in messages])
        truths = _truths(roles[name].truth, t_s, np.maximum(begin_s, 0.0))
        for i, (live, peer_told) in enumerate(messages):
            for metric, truth in truths.items():
                one = live.metrics.get(metric)
                if one is not None and one.value is not None and one.sigma is not None:
                    outcome.told[roles[name].role.name, metric].add(one.value - truth[i], one.sigma)
                if metric in peer_told:
                    value, sigma = peer_told[metric]
                    outcome.peer[roles[name].role.name, metric].add(value - truth[i], sigma)
    return _plain(outcome)


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
    rises = np.diff(truth.state(grid).altitude_m)
    up = np.concatenate([[0.0], np.cumsum(np.maximum(rises, 0.0))])
    down = np.concatenate([[0.0], np.cumsum(np.maximum(-rises, 0.0))])
    return {
        "heart_rate": now.heart_rate_bpm,
        "speed": now.speed_mps,
        "altitude": now.altitude_m,
        "cadence": _cadence(now),
        "distance": now.distance_m - then.distance_m,
        "steps": now.steps - then.steps,
        "ascent": np.interp(t_s, grid, up) - np.interp(begin_s, grid, up),
        "descent": np.interp(t_s, grid, down) - np.interp(begin_s, grid, down),
    }


def _cadence(state: State) -> Any:
    return np.where(state.crank_rpm > 0.0, state.crank_rpm, state.cadence_spm)


def _look(engine: Engine, row: int, fits: dict[str, Fit]) -> None:
    """Take in how well the models of a row fit now."""
    one = engine.table.state[row]
    for name, model in consistency.MODELS.items():
        if consistency.known(one, name):
            fits[name].add(name, float(one[model.field]))


def recorded(task: Task) -> Outcome | None:
    """Return what came of a recording against its own totals; None where it cannot be read."""
    try:
        recording = read(task.path)
    except FileError:
        return None
    if not isinstance(recording, SampleRecording):
        return None
    outcome, peer = _outcome(), Peer()
    summary = _played(recording, outcome.fits)
    for name, metric in SUMMARY.items():
        own, value = recording.totals.get(name), getattr(summary, name)
        if own and value is not None and name in summary.sigma:
            outcome.told[recording.sport or "other", metric].add(value - own, summary.sigma[name])
    first_ns = recording.start_ns
    for i, timed in enumerate(recording.timeline):
        peer.take((timed.t_ns - first_ns) * 1e-9, timed.message)
        if i % CHUNK == 0:
            peer.look(outcome.peer_fits)
    return _plain(outcome)


def _played(recording: SampleRecording, fits: dict[str, Fit]) -> Summary:
    """Let a recording through the engine as `server.analyze` does, and look at the models as it goes."""
    config = Config()
    config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, enroll="auto"))
    config = config.lent(recording.device)
    told = replace(recording, athlete=config.wearer(recording.device))
    engine, arrived_ns = Engine(config, SystemClock().monotonic_ns), rehearsal.START_NS
    ended: Workout | None = None
    chunk: list[Incoming] = []
    messages = list(play(told, root=config.broker.root, speed=float("inf")))
    for i, (_, topic, payload) in enumerate(messages, 1):
        arrived_ns += 1_000
        chunk.append(Incoming(topic, payload, retained=False, arrived_ns=arrived_ns, received_ns=0))
        if i % CHUNK and i < len(messages):
            continue
        published = engine.advance(chunk, arrived_ns)
        while engine.behind:
            published += engine.advance([], arrived_ns)
        chunk.clear()
        if len(engine.table):
            _look(engine, 0, fits)
        for out in published:
            if out.topic.endswith("/workout"):
                workout = msgspec.json.decode(out.payload, type=Workout)
                ended = workout if workout.event == "ended" else ended
    assert ended is not None, "every recording ends with a stop"
    assert ended.summary is not None
    return ended.summary
