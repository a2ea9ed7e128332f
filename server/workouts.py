"""The life of a workout: it starts, is paused and resumed, has laps and ends, by command or by silence."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np

from fusion._core import lib
from fusion.athletes import Athletes
from fusion.measurements import Records
from fusion.measurements import Sport as SportCode
from fusion.table import grown
from fusion.telling import TOTAL_DECIMALS, WORKOUT
from server.messages import Command, Lap, Reply, Sport, Summary, Totals, Workout, WorkoutState
from server.registry import Athlete

REPLIES_KEPT = 64  # a command that comes twice gets the answer of the first time
LAPS_MAX = 1_000
DONE_NS = 60_000_000_000  # what was done is known for so long, for rewinds
DONE_MAX = 256
OLD_KEPT = 16  # and of what is older the newest: where a recording has a hole a rewind goes back across it

# As WORKOUT numbers them.
SPORTS: tuple[str, ...] = get_args(Sport)
STATES = ("", "ended", "running", "paused")
assert (STATES[lib.KF_NO_WORKOUT], STATES[lib.KF_WORKOUT_ENDED]) == ("", "ended")


@dataclass(slots=True)
class _Open:
    """A workout that has started; after ``stop`` it stays as the last one until the next begins."""

    state: WorkoutState
    start_ns: int
    laps: tuple[Lap, ...] = ()  # most have none
    ended: Workout | None = None  # what was told of its end


class _Before(NamedTuple):
    """How an athlete's workouts stood before something was done."""

    workout: _Open | None
    state: str
    laps: int
    held_back: bool


class Done(NamedTuple):
    """A command that was obeyed or refused, or a workout that began by itself: there is no command then."""

    t_ns: int
    at_ns: int  # up to when measurements come before it
    command: Command | None
    before: _Before
    sport: Sport | None = None
    id: str = ""  # of the workout that began by itself


Result = tuple[Totals | None, list[Lap], Summary | None]  # what a revision is of


class Workouts:
    """The workouts of all athletes.

    A workout starts by itself with an athlete's first measurement, unless the last one was stopped by a
    command: then only ``start`` opens the next, since the sensors go on after the athlete has finished.
    """

    def __init__(self, table: Athletes) -> None:
        self._table = table
        self._states = np.zeros(64, WORKOUT)
        self._workouts: dict[str, _Open] = {}
        self._held_back: set[str] = set()
        self._starting: set[str] = set()
        self._replies: dict[str, OrderedDict[str, Reply]] = {}
        self._sports: dict[str, Sport] = {}
        self._done: dict[str, list[Done]] = {}  # newest last, if not in the order of their times
        self._dropped_ns: dict[str, int] = {}  # the newest that is no longer known

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

    def drop(self, athlete: Athlete) -> None:
        """Forget an athlete, who has no workout open."""
        self._held_back.discard(athlete.id)
        self._starting.discard(athlete.id)
        for known in (self._workouts, self._replies, self._sports, self._done, self._dropped_ns):
            known.pop(athlete.id, None)
        self._put_state(athlete)

    def queued(self, athlete: Athlete, command: Command) -> None:
        """A command waits for its turn: while that is ``start``, nothing else opens a workout."""
        if command.action == "start":
            self._starting.add(athlete.id)

    def state(self, athlete: Athlete, t_ns: int) -> WorkoutState | None:
        """Return where an athlete's workout stands at an aligned time, None where there never was one."""
        current = self._workouts.get(athlete.id)
        if current is None:
            return None
        state = current.state
        if state.state != "ended":
            totals = self._table.totals(athlete.row, t_ns)
            state.elapsed_s = round(totals["elapsed_s"], TOTAL_DECIMALS)
            state.moving_s = round(totals["moving_s"], TOTAL_DECIMALS)
        return state

    def states(self, count: int) -> Records:
        """Return where the workout of each athlete stands, for what is told once a second.

        Parameters
        ----------
        count : int
            Athletes whose rows there are at least, also of those who never had a workout.

        Returns
        -------
        (capacity,) fusion.telling.WORKOUT
        """
        if count > len(self._states):
            self._states = grown(self._states, max(count, 2 * len(self._states)))
        return self._states

    def _put_state(self, athlete: Athlete) -> None:
        """Write down where an athlete's workout stands, which has changed."""
        current, row = self._workouts.get(athlete.id), athlete.row
        states = self.states(row + 1)
        states[row] = np.zeros((), WORKOUT)
        if current is None:
            return
        state, told = current.state, states[row]
        told["id_ms"] = int(state.id.removeprefix(f"{athlete.id}-"))
        told["elapsed_s"], told["moving_s"], told["revision"] = (
            state.elapsed_s,
            state.moving_s,
            state.revision,
        )
        told["state"], told["sport"] = STATES.index(state.state), SPORTS.index(state.sport)

    def begin(self, athlete: Athlete, t_ns: int) -> Workout:
        """Open a workout by its first measurement, at aligned time ``t_ns``."""
        before = self._before(athlete)
        event = self._start(athlete, t_ns, self._sports.get(athlete.id, "other"))
        at_ns = self._start_at_ns(athlete, t_ns)
        self._note(athlete, Done(t_ns, at_ns, None, before, event.workout.sport, event.workout.id))
        return event

    def _start(self, athlete: Athlete, t_ns: int, sport: Sport, workout_id: str = "") -> Workout:
        self._table.begin(athlete.row, t_ns, SportCode[sport.upper()])
        start_ms = t_ns // 1_000_000
        state = WorkoutState(workout_id or f"{athlete.id}-{start_ms}", "running", sport, 0.0, 0.0, 0)
        self._workouts[athlete.id] = _Open(state, t_ns)
        self._held_back.discard(athlete.id)
        self._put_state(athlete)
        return Workout(start_ms, athlete.id, "started", state)

    def obey(self, athlete: Athlete, command: Command, t_ns: int) -> tuple[Reply, list[Workout]]:
        """Carry out a command at aligned time ``t_ns``; return the answer and what happened."""
        if command.action == "start":
            self._starting.discard(athlete.id)
        told = self._replies.setdefault(athlete.id, OrderedDict())
        if command.id in told:
            return told[command.id], []
        before = self._before(athlete)
        reason, events = self._carry_out(athlete, command, t_ns)
        at_ns = self._start_at_ns(athlete, t_ns) if command.action == "start" else t_ns
        self._note(athlete, Done(t_ns, at_ns, command, before))
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
        self._put_state(athlete)
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
        current.ended = Workout(t_ns // 1_000_000, athlete.id, "ended", state, list(current.laps), told)
        return current.ended

    # Rewinds: what was done is undone, and done again between the steps where it belongs.

    def wind_back(self, athlete: Athlete, t_ns: int) -> list[Done]:
        """Undo what was done at ``t_ns`` or later; return it in the order of time, for `redo`."""
        done = self._done.pop(athlete.id, [])
        kept = [each for each in done if each.at_ns < t_ns]
        undone = [each for each in done if each.at_ns >= t_ns]
        if kept:
            self._done[athlete.id] = kept
        if undone:
            self._put_back(athlete, undone[0].before)
        return sorted(undone, key=lambda each: each.at_ns)

    def redo(self, athlete: Athlete, done: Done) -> None:
        """Do again what was undone; what was told of it stays told."""
        before = self._before(athlete)
        if done.command is None:
            self._start(athlete, done.t_ns, done.sport or "other", done.id)
        else:
            self._carry_out(athlete, done.command, done.t_ns)
        self._note(athlete, done._replace(before=before))

    def forget(self, athlete: Athlete, since_ns: int | None = None) -> None:
        """Forget what was done, as nothing goes back to it; but for a last beginning at ``since_ns``."""
        self._dropped_ns.pop(athlete.id, None)
        done = self._done.pop(athlete.id, [])
        if done and done[-1].command is None and done[-1].t_ns == since_ns:
            self._done[athlete.id] = done[-1:]

    def can_rewind(self, athlete: Athlete, t_ns: int) -> bool:
        """Return False where more was done since aligned ``t_ns`` than is known."""
        return self._dropped_ns.get(athlete.id, t_ns - 1) < t_ns

    def results(self, athlete: Athlete, t_ns: int) -> dict[str, tuple[int, Result]]:
        """Return, by their ids, revision and result at ``t_ns`` of workouts that may be revised."""
        return {
            each.state.id: (each.state.revision, self._result(athlete, each, t_ns))
            for each in self._revisable(athlete)
        }

    def revise(self, athlete: Athlete, t_ns: int, before: dict[str, tuple[int, Result]]) -> list[Workout]:
        """Number the results that are not as `results` told them before; return what is to be told."""
        events = []
        for each in self._revisable(athlete):
            revision, result = before.get(each.state.id, (0, None))
            each.state.revision = revision
            now = self._result(athlete, each, t_ns)
            if now == result:
                continue
            each.state.revision += 1
            totals, laps, summary = now
            at_ms = t_ns // 1_000_000 if each.ended is None else each.ended.t_ms
            events.append(Workout(at_ms, athlete.id, "revised", each.state, laps, summary, totals))
        self._put_state(athlete)
        return events

    def _revisable(self, athlete: Athlete) -> list[_Open]:
        """Return the workouts of which something was done of late, the current one last."""
        found = [each.before.workout for each in self._done.get(athlete.id, ())]
        found.append(self._workouts.get(athlete.id))
        by_id = {each.state.id: each for each in found if each is not None}
        return list(by_id.values())

    def _result(self, athlete: Athlete, workout: _Open, t_ns: int) -> Result:
        if workout.ended is not None:
            return None, list(workout.laps), workout.ended.summary
        told = {name: round(value, 2) for name, value in self._table.totals(athlete.row, t_ns).items()}
        workout.state.elapsed_s, workout.state.moving_s = told["elapsed_s"], told["moving_s"]
        return Totals(**told), list(workout.laps), None

    def _before(self, athlete: Athlete) -> _Before:
        held_back, current = athlete.id in self._held_back, self._workouts.get(athlete.id)
        if current is None:
            return _Before(None, "", 0, held_back)
        return _Before(current, current.state.state, len(current.laps), held_back)

    def _put_back(self, athlete: Athlete, before: _Before) -> None:
        (self._held_back.add if before.held_back else self._held_back.discard)(athlete.id)
        if before.workout is None:
            self._workouts.pop(athlete.id, None)
            self._put_state(athlete)
            return
        current = self._workouts[athlete.id] = before.workout
        current.state.state = before.state  # type: ignore[assignment]  # as it was
        current.laps = current.laps[: before.laps]
        if before.state != "ended":
            current.ended = None
        self._put_state(athlete)

    def _start_at_ns(self, athlete: Athlete, t_ns: int) -> int:
        """What has a start's time belongs to its workout, but behind another command of that time."""
        done = self._done.get(athlete.id)
        return t_ns if done and done[-1].at_ns == t_ns else t_ns - 1

    def _note(self, athlete: Athlete, done: Done) -> None:
        if self._table.checkpoints is None:
            return  # nothing is ever wound back
        known, old_ns = self._done.get(athlete.id, []), done.t_ns - DONE_NS
        kept = [each for each in known[:-OLD_KEPT] if each.t_ns > old_ns] + known[-OLD_KEPT:]
        dropped = [each.t_ns for each in known[:-OLD_KEPT] if each.t_ns <= old_ns]
        dropped += [each.t_ns for each in kept[:-DONE_MAX]]
        if dropped:
            before_ns = self._dropped_ns.get(athlete.id, dropped[0])
            self._dropped_ns[athlete.id] = max(before_ns, *dropped)
        kept = kept[-DONE_MAX:]
        self._done[athlete.id] = [*kept, done]

    def _carry_out(self, athlete: Athlete, command: Command, t_ns: int) -> tuple[str, list[Workout]]:
        """Return the reason of a refusal, empty when there is none, and what happened."""
        if command.action == "start":
            ended = [self.end(athlete, t_ns)] if self.is_open(athlete) else []
            sport = command.sport or self._sports.get(athlete.id, "other")
            return "", [*ended, self._start(athlete, t_ns, sport)]
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
            lap = Lap(
                number=len(current.laps) + 1,
                t_ms=t_ns // 1_000_000,
                elapsed_s=round(totals["elapsed_s"], 3),
                distance_m=round(totals["distance_m"], 2),
            )
            current.laps = (*current.laps, lap)
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
        self._put_state(athlete)
        return "", [self._event(athlete, event, t_ns)]

    def _event(self, athlete: Athlete, event: Any, t_ns: int) -> Workout:
        state = self.state(athlete, t_ns)
        assert state is not None, "an event is of a workout"
        return Workout(t_ns // 1_000_000, athlete.id, event, state, list(self._workouts[athlete.id].laps))
