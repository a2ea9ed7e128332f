"""Recorded workouts through one engine, all at once: their totals against the files' own, and windowed NIS.

What is told of an athlete does not depend on who else is in the table, so that files which are played side by
side give what each would give alone; a step of all of them costs little more than one of one.
"""

import heapq
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from server.config import Config
from server.engine import Engine
from server.envelopes import Incoming, Outgoing
from server.errors import FileError
from server.files import read
from server.files.recording import SampleRecording
from server.messages import Summary, Workout
from server.playback import SPEED_MAX, play
from simulators import rehearsal
from simulators.evaluation.intervals_runs import look
from simulators.evaluation.intervals_tally import Outcome, empty, plain
from simulators.evaluation.scores import Task

SECONDS_MAX: Final = 2_700.0  # longer files are left out: it is a matter of minutes
TICK_S: Final = 4.0
TOTALS: Final = {
    "distance_m": "distance",
    "ascent_m": "ascent",
    "descent_m": "descent",
    "steps": "steps",
    "heart_rate_mean_bpm": "mean heart rate",
}


class _Message(NamedTuple):
    due_s: float
    number: int  # of the recording
    topic: str
    payload: bytes


def files(tasks: Sequence[Task]) -> Outcome:
    """Return what came of files that can be read and last no longer than SECONDS_MAX."""
    recordings = [one for one in map(_recording, tasks) if one is not None]
    outcome = empty()
    for number, summary in _played(recordings, outcome).items():
        own_of = recordings[number].totals
        for name, metric in TOTALS.items():
            own, value = own_of.get(name), getattr(summary, name)
            if own and value is not None and name in summary.sigma:
                outcome.told["files", metric].add(value - own, summary.sigma[name])
    return plain(outcome)


def _recording(task: Task) -> SampleRecording | None:
    try:
        recording = read(task.path)
    except FileError:
        return None
    if not isinstance(recording, SampleRecording) or not recording.timeline:
        return None
    lasts_s = (recording.timeline[-1].t_ns - recording.timeline[0].t_ns) * 1e-9
    return recording if lasts_s <= SECONDS_MAX else None


def _played(recordings: Sequence[SampleRecording], outcome: Outcome) -> dict[int, Summary]:
    """Play recordings from their starts on, side by side; return the summaries by their numbers."""
    config = Config()
    config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, enroll="auto"))
    engine, summaries = Engine(config, lambda: 0), dict[int, Summary]()
    for number, chunk in enumerate(_ticks(recordings, config.broker.root)):
        arrived_ns = rehearsal.START_NS + number * round(TICK_S * 1e9)
        arrivals = [Incoming(one.topic, one.payload, False, arrived_ns, 0) for one in chunk]
        published = engine.advance(arrivals, arrived_ns)
        while engine.behind:
            published += engine.advance([], arrived_ns)
        playing = {one.number for one in chunk}
        for athlete in engine.registry.athletes.values():
            if int(athlete.id.removeprefix("file-")) in playing:
                look(engine, athlete.row, outcome.fits)
        summaries |= _ended(published)
    assert len(summaries) == len(recordings), "every recording ends with a stop"
    return summaries


def _ticks(recordings: Sequence[SampleRecording], root: str) -> Iterator[list[_Message]]:
    """Yield the messages of all recordings, TICK_S at a time."""
    chunk: list[_Message] = []
    end_s = TICK_S
    streams = [_messages(number, one, root) for number, one in enumerate(recordings)]
    for message in heapq.merge(*streams, key=lambda one: one.due_s):
        while message.due_s >= end_s:
            if chunk:
                yield chunk
            chunk, end_s = [], end_s + TICK_S
        chunk.append(message)
    yield chunk


def _messages(number: int, recording: SampleRecording, root: str) -> Iterator[_Message]:
    for one in play(recording, root=root, device=f"file-{number}", speed=SPEED_MAX):
        yield _Message(one.due_s * SPEED_MAX, number, one.topic, one.payload)


def _ended(published: Sequence[Outgoing]) -> dict[int, Summary]:
    """Return the summaries of workouts that have ended, by the number of the recording."""
    found = {}
    for out in published:
        if out.topic.endswith("/workout"):
            workout = msgspec.json.decode(out.payload, type=Workout)
            if workout.event == "ended" and workout.summary is not None:
                found[int(workout.athlete.removeprefix("file-"))] = workout.summary
    return found
