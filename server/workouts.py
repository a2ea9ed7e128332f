"""The life of a workout: it starts, is paused and resumed, has laps and ends, by command or by silence."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.athletes import Athletes
from fusion.measurements import Sport as SportCode
from server.messages import Command, Lap, Reply, Sport, Summary, Workout, WorkoutState
from server.registry import Athlete

REPLIES_KEPT = 64  # a command that comes twice gets the answer of the first time
LAPS_MAX = 1_000


@dataclass(slots=True)
class _Open:
    """A workout that has started; after ``stop`` it stays as the last one until the next begins."""

    state: WorkoutState
    start_ns: int
    laps: list[Lap] = field(default_factory=list)


class Workouts:
    """The workouts of all athletes.

    A workout starts by itself with an athlete's first measurement, unless the last one was stopped by a
    command: then only ``start`` opens the next, since the sensors go on after the athlete has finished.
    """

    def __init__(self, table: Athletes) -> None:
        self._table = table
        self._workouts: dict[str, _Open] = {}
        self._held_back: set[str] = set()
        self._starting: set[str] = set()
        self._replies: dict[str, OrderedDict[str, Reply]] = {}
        self._sports: dict[str, Sport] = {}

    def expect(self, athlete: Athlete, sport: Sport | None) -> None:
        """A device told which sport it is set to: the next workout is of that sport."""
        if sport is not None:
            self._sports[athlete.id] = sport

    def is_open(self, athlete: Athlete) -> bool:
        """Return True between a workout's start and its end."""
        current = self._workouts.get(athlete.id)
        return current is not None and current.state.state != "ended"

    def starts_by_itself(self, athlete: Athlete) -> bool:
        """Return True when the athlete's next measurement opens a workout."""
        return not (self.is_open(athlete) or athlete.id in self._held_back or athlete.id in self._starting)

    def release(self, athlete: Athlete) -> None:
        """Forget that a stop was ordered: it was a recording's, and what comes is not."""
        self._held_back.discard(athlete.id)

    def queued(self, athlete: Athlete, command: Command) -> None:
        """A command waits for its turn: while that is ``start``, nothing else opens a workout."""
        if command.action == "start":
            self._starting.add(athlete.id)

    def states(self, athletes: list[Athlete], t_ns: NDArray[np.int64]) -> list[WorkoutState | None]:
        """Return where athletes' workouts stand at aligned times, (n,), None where there never was one."""
        rows = np.array([athlete.row for athlete in athletes], np.intp)
        elapsed_s, moving_s, _ = (column.tolist() for column in self._table.totals_of(rows, t_ns))
        states = []
        for athlete, elapsed, moving in zip(athletes, elapsed_s, moving_s, strict=True):
            current = self._workouts.get(athlete.id)
            if current is not None and current.state.state != "ended":
                current.state.elapsed_s, current.state.moving_s = round(elapsed, 3), round(moving, 3)
            states.append(None if current is None else current.state)
        return states

    def start(self, athlete: Athlete, t_ns: int, sport: Sport | None = None) -> Workout:
        """Open a workout at aligned time ``t_ns``."""
        chosen: Sport = sport or self._sports.get(athlete.id, "other")
        self._table.begin(athlete.row, t_ns, SportCode[chosen.upper()])
        start_ms = t_ns // 1_000_000
        state = WorkoutState(f"{athlete.id}-{start_ms}", "running", chosen, 0.0, 0.0, 0)
        self._workouts[athlete.id] = _Open(state, t_ns)
        self._held_back.discard(athlete.id)
        return Workout(start_ms, athlete.id, "started", state)

    def obey(self, athlete: Athlete, command: Command, t_ns: int) -> tuple[Reply, list[Workout]]:
        """Carry out a command at aligned time ``t_ns``; return the answer and what happened."""
        if command.action == "start":
            self._starting.discard(athlete.id)
        told = self._replies.setdefault(athlete.id, OrderedDict())
        if command.id in told:
            return told[command.id], []
        reason, events = self._carry_out(athlete, command, t_ns)
        current = self._workouts.get(athlete.id)
        reply = Reply(command.id, not reason, reason, current.state.id if current else "")
        told[command.id] = reply
        if len(told) > REPLIES_KEPT:
            told.popitem(last=False)
        return reply, events

    def end(self, athlete: Athlete, t_ns: int) -> Workout:
        """End the open workout; what is published holds its summary."""
        current = self._workouts[athlete.id]
        t_ns = max(t_ns, current.start_ns)
        state = current.state
        summary = self._table.end(athlete.row, t_ns)
        values: dict[str, Any] = {
            name: value if value is None else round(value, 3) for name, value in summary.values.items()
        }
        for name in ("steps", "floors"):
            if values.get(name) is not None:
                values[name] = round(values[name])
        state.state = "ended"
        state.elapsed_s = values["elapsed_s"]
        state.moving_s = values["moving_s"]
        reasons: dict[str, Any] = dict(summary.reasons)
        told = Summary(
            sport=state.sport,
            start_ms=current.start_ns // 1_000_000,
            end_ms=t_ns // 1_000_000,
            sigma={name: round(value, 4) for name, value in summary.sigma.items()},
            reasons=reasons,
            sources=dict(summary.sources),
            **values,
        )
        return Workout(t_ns // 1_000_000, athlete.id, "ended", state, current.laps, told)

    def _carry_out(self, athlete: Athlete, command: Command, t_ns: int) -> tuple[str, list[Workout]]:
        """Return the reason of a refusal, empty when there is none, and what happened."""
        if command.action == "start":
            ended = [self.end(athlete, t_ns)] if self.is_open(athlete) else []
            return "", [*ended, self.start(athlete, t_ns, command.sport)]
        if not self.is_open(athlete):
            return "no_workout", []
        current = self._workouts[athlete.id]
        if command.action == "stop":
            self._held_back.add(athlete.id)
            return "", [self.end(athlete, t_ns)]
        if command.action == "lap":
            if len(current.laps) >= LAPS_MAX:
                return "laps_max", []
            totals = self._table.totals(athlete.row, t_ns)
            current.laps.append(
                Lap(
                    number=len(current.laps) + 1,
                    t_ms=t_ns // 1_000_000,
                    elapsed_s=round(totals["elapsed_s"], 3),
                    distance_m=round(totals["distance_m"], 2),
                )
            )
            return "", [self._event(athlete, "lap", t_ns)]
        wanted, event = ("paused", "paused") if command.action == "pause" else ("running", "resumed")
        if current.state.state == wanted:
            return f"already_{wanted}", []
        if command.action == "pause":
            self._table.pause(athlete.row, t_ns)
            current.state.state = "paused"
        else:
            self._table.resume(athlete.row, t_ns)
            current.state.state = "running"
        return "", [self._event(athlete, event, t_ns)]

    def _event(self, athlete: Athlete, event: Any, t_ns: int) -> Workout:
        (state,) = self.states([athlete], np.array([t_ns]))
        assert state is not None, "an event is of a workout"
        return Workout(t_ns // 1_000_000, athlete.id, event, state, self._workouts[athlete.id].laps)
