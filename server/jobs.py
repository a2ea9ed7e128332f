"""Jobs: what has fallen due for athletes, steps of their models above all, is done and told.

In each round it is the first job of every athlete, all steps among them at once: results do not depend on who
steps beside whom.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from fusion.athletes import Athletes
from fusion.measurements import Estimates
from fusion.telling import Names
from server import publications
from server.batch import Order
from server.deadlines import Deadlines
from server.envelopes import Outgoing
from server.messages import Cause
from server.overload import LIVE_EVERY, MODES, Ladder
from server.registry import Athlete, Registry
from server.rewinds import Rewinds
from server.schedule import NONE, STEP_NS, Due, Schedule
from server.workouts import Workouts

STEPS_MAX = 8  # jobs of one athlete in one tick: who is behind catches up in the next ones
REWINDS_MAX = 64  # athletes who are rewound at a time: a step of all of them takes a millisecond,
ROUNDS_MAX = 4  # of which there are so many in one tick, and twenty to thirty in all
ENDS_MAX = 3  # live workouts that are ended in one tick: to smooth one takes up to 5 ms

_ORIENTATION_ONLY = MODES.index("orientation_only")
_STEP, _ORDER = int(lib.KF_JOB_STEP), int(lib.KF_JOB_ORDER)
_KEEP, _REWIND, _REDO = int(lib.KF_JOB_KEEP), int(lib.KF_JOB_REWIND), int(lib.KF_JOB_REDO)


class Jobs:
    """What is due, and what waits of it.

    Parameters
    ----------
    root : str
        Of all topics.
    registry, table, schedule, workouts, ladder, deadlines
        The engine's.
    tell_lane : callable
        Called with an athlete whose workout may stand otherwise than its lane knows.

    Attributes
    ----------
    ordered : Counter of int
        How many commands wait, of each athlete's row.
    given_up : Counter of str
        What was given up so far, for want of time: updates (``live``), steps (``steps``) and ``rewinds``.
    """

    def __init__(
        self,
        root: str,
        registry: Registry,
        table: Athletes,
        schedule: Schedule,
        workouts: Workouts,
        ladder: Ladder,
        deadlines: Deadlines,
        tell_lane: Callable[[Athlete], None],
    ) -> None:
        self.ordered: Counter[int] = Counter()
        self.given_up: Counter[str] = Counter()
        self._root, self._registry, self._table, self._schedule = root, registry, table, schedule
        self._workouts, self._ladder, self._deadlines = workouts, ladder, deadlines
        self._tell_lane = tell_lane
        bases = table.checkpoints
        self._rewinds = None if bases is None else Rewinds(table, bases, workouts, schedule, registry)
        self._out: list[Outgoing] = []
        self._due: list[Due] = []  # of this tick
        self._orders: dict[int, Order] = {}  # that wait, by the number that their job has
        self._order_number = 0
        self._steps_left: list[Due] = []  # of those who have nothing else, and too many for one tick
        self._queues: dict[int, deque[Due]] = {}  # of those who have other jobs, one each
        self._waiting: dict[int, None] = {}  # whose turn to end did not come, who waits longest first

    @property
    def rewound(self) -> Collection[int]:
        """Return the rows of athletes whose models are of some time ago just now."""
        return () if self._rewinds is None else self._rewinds.going

    @property
    def behind(self) -> bool:
        """Return True where work is left for the next tick."""
        return bool(self._queues or self._steps_left)

    def number(self, orders: list[Order]) -> int:
        """Take commands in that lanes are to place; return what is added to a job's index to find its own."""
        first = self._order_number
        self._orders.update(enumerate(orders, first))
        self._order_number += len(orders)
        return first

    def add(self, due: Due) -> None:
        """Take in what has fallen due."""
        self._due.append(due)

    def settle(self, athlete: Athlete) -> None:
        """Let nothing go back to before now: something was done to an athlete that is no job."""
        if self._rewinds is not None:
            self._rewinds.settle(athlete)

    def began(self, athlete: Athlete, t_ns: int) -> None:
        """Go back to no base that knows nothing of a workout that was opened just now, at ``t_ns``."""
        if self._rewinds is not None and self._rewinds.has_since(athlete, t_ns):
            self._rewinds.settle(athlete)

    def run(self, utc_ns: int) -> list[Outgoing]:
        """Run what is due: in each round the first job of every athlete, all steps among them at once.

        Nearly every athlete has nothing but steps to take, and a single one. Who has a command, say, has a
        queue of jobs. Where a whole class stops at once, most wait for the next ticks: results do not depend
        on that. Who waits is served before who comes, so that nobody waits for ever. Returns what is to be
        published.
        """
        self._out = []
        rounds = self._rounds()
        first, self._waiting = self._waiting, {}
        busy = [*first, *(row for row in self._queues if row not in first)]
        ends = 0
        for turn in range(STEPS_MAX):
            steps = rounds[turn : turn + 1]
            begins: list[Due] = []
            remaining = []
            for row in busy:
                queue = self._queues[row]
                kind = queue[0].jobs["kind"][0]
                if kind == _REWIND and self._start(row, queue[0]):
                    continue  # it is taken out of its queue when it is done
                ends += self._ends(row, queue[0])
                if kind == _ORDER and ends > ENDS_MAX:
                    self._waiting[row] = None
                    continue
                job = queue.popleft()
                if kind == _ORDER:
                    self._obey(self._registry.athlete_rows[row], job)
                elif kind == _REWIND:
                    self._give_up(row)
                elif kind == _KEEP:
                    begins.append(job)
                else:
                    steps.append(job)
                if queue:
                    remaining.append(row)
                else:
                    del self._queues[row]
            if steps:
                self._step(Due.joined(steps), utc_ns)
            if begins:
                self._begin(begins)
            busy = remaining
            if not busy and turn + 1 >= len(rounds):
                break
        if self.rewound:
            for _ in range(ROUNDS_MAX):
                self._go_on()
        return self._out

    def finish(self, athlete: Athlete) -> list[Outgoing]:
        """Bring an athlete's rewind to its end, if there is one: till then workouts are of some time ago."""
        self._out = []
        self._finish(athlete.row)
        return self._out

    def rewind_now(self, athlete: Athlete) -> list[Outgoing]:
        """Put into its place what came late and waits for more of its kind: nothing more is awaited."""
        self._out = []
        if self._rewinds is None:
            return self._out
        row = athlete.row
        self._finish(row)
        if self._schedule.lanes["jobs"][row]:
            return self._out
        for job in self._schedule.rewind(row):
            if job.jobs["kind"][0] == _REDO:
                self._step(job, 0)
            else:
                self._queues[row] = deque([job])
                self._start(row, job)
                self._finish(row)
        return self._out

    def _rounds(self) -> list[Due]:
        """Return the steps of this tick's rounds, but for those in queues: the n-th of each athlete.

        What is too much for a tick is left for the next.
        """
        due, self._due, self._steps_left = self._steps_left + self._due, [], []
        if not due:
            return []
        steps = Due.joined(due)
        if self._ladder.level < _ORIENTATION_ONLY and self._schedule.are_single(steps.jobs):
            return [steps]  # as nearly always
        steps = self._queued(steps)
        if self._ladder.level >= _ORIENTATION_ONLY:
            steps = self._without_idle(steps)
        if not len(steps.jobs):
            return []
        if np.bincount(steps.jobs["athlete"]).max() == 1:
            return [steps]
        turns = _turns(steps.jobs["athlete"])
        last = int(turns.max())
        if last >= STEPS_MAX:
            self._steps_left = [steps.of(turns >= STEPS_MAX)]
        return [steps.of(turns == turn) for turn in range(min(last + 1, STEPS_MAX))]

    def _queued(self, due: Due) -> Due:
        """Queue the jobs of athletes who have other jobs than steps; return the others' steps."""
        jobs = due.jobs
        athletes = jobs["athlete"]
        is_other = (jobs["kind"] != _STEP) & (jobs["kind"] != _REDO)
        if not self._queues and not is_other.any():
            return due
        queued = np.isin(athletes, [*self._queues, *athletes[is_other].tolist()])
        for place in np.flatnonzero(queued).tolist():
            queue = self._queues.setdefault(int(athletes[place]), deque())
            queue.append(due.of(np.array([place])))
        return due.of(~queued)

    def _without_idle(self, due: Due) -> Due:
        """Give up the steps of athletes who have no open workout."""
        athletes = due.jobs["athlete"]
        idle = self._schedule.lanes["flags"][athletes] & lib.KF_LANE_OPEN == 0
        self._schedule.done(athletes[idle])
        self.given_up["steps"] += int(np.count_nonzero(idle))
        return due.of(~idle)

    def _ends(self, row: int, job: Due) -> bool:
        """Return True when a job ends a live workout, which is then smoothed."""
        athlete = self._registry.athlete_rows[row]
        if athlete.recorded or job.jobs["kind"][0] != _ORDER:
            return False
        action = self._orders[int(job.jobs["index"][0])].command.action
        return action in ("start", "stop") and self._workouts.is_open(athlete)

    def _begin(self, jobs: list[Due]) -> None:
        """Take the first bases of athletes."""
        assert self._rewinds is not None, "the lanes tell of bases only where there are some"
        for job in jobs:
            self._schedule.done(job.jobs["athlete"].copy())
        self._rewinds.begin(jobs)

    def _start(self, row: int, job: Due) -> bool:
        """Start the rewind that is an athlete's next job, or let it wait; False: it is to be given up."""
        rewinds = self._rewinds
        assert rewinds is not None, "the lanes tell of rewinds only where there are some"
        if row in rewinds.going:
            return True
        if self._ladder.level >= _ORIENTATION_ONLY or not rewinds.can_start(job):
            return False
        if len(rewinds.going) < REWINDS_MAX:
            rewinds.start(job)
        else:
            self._waiting[row] = None
        return True

    def _give_up(self, row: int) -> None:
        """Give up a rewind: a late command stays where it is, so no base before that is right."""
        self._schedule.done(np.array([row], np.uint32))
        self.given_up["rewinds"] += 1
        self.settle(self._registry.athlete_rows[row])

    def _go_on(self) -> None:
        """Let each rewind make its next step; take those that are done out of their queues."""
        if self._rewinds is None or not self._rewinds.going:
            return
        for athlete, events in self._rewinds.go_on():
            row = athlete.row
            self._schedule.done(np.array([row], np.uint32))
            self._queues[row].popleft()
            if not self._queues[row]:
                del self._queues[row]
            self._out += [publications.workout(self._root, athlete.id, event) for event in events]
            self._tell_lane(athlete)

    def _finish(self, row: int) -> None:
        """Bring the rewind of an athlete to its end, if there is one."""
        while self._rewinds is not None and row in self._rewinds.going:
            self._go_on()

    def _obey(self, athlete: Athlete, job: Due) -> None:
        order = self._orders.pop(int(job.jobs["index"][0]))
        self.ordered[athlete.row] -= 1
        self._schedule.done(job.jobs["athlete"].copy())
        reply, events = self._workouts.obey(athlete, order.command, int(job.jobs["due_ns"][0]))
        self._tell_lane(athlete)
        self._out += [publications.workout(self._root, athlete.id, event) for event in events]
        self._out.append(publications.reply(self._root, athlete.id, reply))

    def _step(self, due: Due, utc_ns: int) -> None:
        athletes, due_ns = due.jobs["athlete"].copy(), due.jobs["due_ns"].copy()
        self._schedule.done(athletes)
        rows = athletes.astype(np.intp)
        if self._rewinds is not None:
            ready = self._rewinds.prepare(due, rows, due_ns)
            if not ready.all():
                due, rows, due_ns = due.of(ready), rows[ready], due_ns[ready]
        estimates = self._table.step(rows, due_ns, due.measurements())
        if self._rewinds is not None:
            self._rewinds.keep(due.jobs, rows, due_ns)
        self._deadlines.history.doing.steps += len(rows)
        self._publish(due, estimates, utc_ns)

    def _told_now(self, due: Due) -> NDArray[np.uint32]:
        """Return the places of those whose update is published, in this mode."""
        jobs = due.jobs
        told = jobs["kind"] == _STEP
        every = LIVE_EVERY[self._ladder.level]
        if every > 1:
            recorded = self._schedule.lanes["flags"][jobs["athlete"]] & lib.KF_LANE_RECORDED != 0
            turn = (jobs["due_ns"] // STEP_NS + jobs["athlete"]) % every == 0
            self.given_up["live"] += int(np.count_nonzero(told & ~recorded & ~turn))
            told &= recorded | turn
        return np.flatnonzero(told).astype(np.uint32)

    def _publish(self, due: Due, estimates: Estimates, utc_ns: int) -> None:
        places = self._told_now(due)
        if not len(places):
            return
        registry = self._registry
        states = self._workouts.states(len(registry.athlete_rows))
        names = Names(registry.athlete_ids, registry.device_ids, states)
        payloads = publications.lives(estimates, due.jobs, places, names, self._ladder.mode)
        for i in (i for i, payload in enumerate(payloads) if not payload):
            payloads[i] = self._live(due.jobs[places[i]], estimates, int(places[i]))
        jobs = due.jobs if len(places) == len(due.jobs) else due.jobs[places]
        rows, caused_ns, ages_ns = jobs["athlete"], jobs["received_ns"], utc_ns - jobs["due_ns"]
        recorded = self._schedule.lanes["flags"][rows] & lib.KF_LANE_RECORDED
        if recorded.any():
            # A recording comes as fast as it is played: how long it waits says nothing of the server.
            caused_ns, ages_ns = np.where(recorded, 0, caused_ns), ages_ns[recorded == 0]
        self._deadlines.observe_many("sensor_age", ages_ns)
        athletes, root = registry.athlete_rows, self._root
        topics = [f"{root}/athletes/{athletes[row].id}/live" for row in rows.tolist()]
        self._out += map(Outgoing, topics, payloads, repeat(0), repeat(False), caused_ns.tolist())

    def _live(self, job: np.void, estimates: Estimates, place: int) -> bytes:
        """Return an update that is beyond the core."""
        athlete, device, due_ns = (
            self._registry.athlete_rows[job["athlete"]],
            job["device"],
            int(job["due_ns"]),
        )
        cause = None
        if device != NONE:
            cause = Cause(self._registry.device_rows[device].id, int(job["boot"]), int(job["seq"]))
        state, metrics = self._workouts.state(athlete, due_ns), publications.metrics(estimates, place, due_ns)
        return publications.live(athlete.id, due_ns, cause, state, metrics, self._ladder.mode)


def _turns(athletes: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Return how many places before each, (n,), are the same athlete's."""
    order = np.argsort(athletes, kind="stable")
    ordered = athletes[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    turns = np.empty(len(athletes), np.intp)
    turns[order] = np.arange(len(athletes)) - np.repeat(first, np.diff(first, append=len(athletes)))
    return turns
