"""Rewinds: what came late is put into its place, and an athlete's models step again from before it.

What came late by less than a step has that step made again: the next live update tells of it. For what came
later, the lane tells a rewind when it is due (csrc/lanes.c): to which base the athlete goes
back, up to where the models had stepped, and all measurements between, those that came late among them. Here
the steps are made again, as they would have been in order, commands between them; nothing of the past is
published again but what of totals, laps and summary has changed.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from fusion.athletes import Athletes
from fusion.checkpoints import Checkpoints
from fusion.measurements import Records
from server.messages import Workout
from server.registry import Athlete, Registry
from server.schedule import JOB, STEP_NS, Due, Schedule
from server.workouts import Done, Result, Workouts

FRESH_NS = -int(lib.KF_LONG_AGO_NS)  # the base before an athlete's first measurement

_BEGIN, _STEP, _ORDER = range(3)  # of what has one time, this is the order
_BASE, _REDO = int(lib.KF_KEEP), int(lib.KF_JOB_REDO)
_NO_JOBS = np.zeros(0, JOB)


class _Cut(NamedTuple):
    """Something that was done at a time, between measurements."""

    t_ns: int
    kind: int
    done: Done | None  # None: a step of the models


class _Going(NamedTuple):
    """A rewind that is on its way."""

    athlete: Athlete
    until_ns: int
    before: dict[str, tuple[int, Result]]  # what was told of workouts
    steps: Iterator[tuple[int, Records]]


class Rewinds:
    """Carries out rewinds; ``bases`` are what it goes back to.

    Attributes
    ----------
    going : dict of int
        Those that are on their way, by their athletes' rows: what these hold is of some time ago.
    """

    def __init__(
        self, table: Athletes, bases: Checkpoints, workouts: Workouts, schedule: Schedule, registry: Registry
    ) -> None:
        self._table, self._bases, self._workouts = table, bases, workouts
        self._schedule, self._registry = schedule, registry
        self.going: dict[int, _Going] = {}

    def begin(self, jobs: list[Due]) -> None:
        """Take the first bases of athletes: of what they were before the first measurement or command."""
        rows = [int(job.jobs["athlete"][0]) for job in jobs]
        for row, job in zip(rows, jobs, strict=True):
            self._bases.clear(row)
            self._workouts.forget(self._registry.athlete_rows[row], int(job.jobs["received_ns"][0]))
        self._bases.keep(self._table.state, np.array(rows), np.full(len(rows), FRESH_NS))

    def keep(self, jobs: Records, rows: NDArray[np.intp], due_ns: NDArray[np.int64]) -> None:
        """Take the bases that steps have come to."""
        chosen = jobs["index"] == _BASE
        if chosen.any():
            self._bases.keep(self._table.state, rows[chosen], due_ns[chosen])

    def prepare(self, due: Due, rows: NDArray[np.intp], due_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Make rows ready for their steps: what is made again is taken back before.

        Return which are, (n,); a step that is to be made again, but was given up, is not among them.
        """
        return self._bases.before_step(self._table.state, rows, due_ns, due.jobs["kind"] == _REDO)

    def can_start(self, job: Due) -> bool:
        """Return False where the step to go back to was given up, or more was done since than is known."""
        row = int(job.jobs["athlete"][0])
        base_ns = int(job.jobs["due_ns"][0])
        known = self._workouts.can_rewind(self._registry.athlete_rows[row], base_ns)
        return known and self._bases.has(row, base_ns)

    def has_since(self, athlete: Athlete, t_ns: int) -> bool:
        """Return whether an athlete's models have a base of ``t_ns`` or later."""
        return self._bases.newest_ns(athlete.row) >= t_ns

    def settle(self, athlete: Athlete) -> None:
        """Let nothing go back to before now: something was done that is no job."""
        self._schedule.settle(athlete.row)
        self._bases.clear(athlete.row)
        self._workouts.forget(athlete)

    def start(self, job: Due) -> None:
        """Begin a rewind; until it is done nothing else is to be done for its athlete."""
        athlete = self._registry.athlete_rows[int(job.jobs["athlete"][0])]
        until_ns = int(job.jobs["received_ns"][0])
        before = self._workouts.results(athlete, until_ns)
        self._table.stepped[athlete.row] = True  # back, perhaps without a step on
        self.going[athlete.row] = _Going(athlete, until_ns, before, self._steps(athlete, job))

    def go_on(self) -> list[tuple[Athlete, list[Workout]]]:
        """Make the next step of each that goes on; return who is done, and what is to be told of workouts."""
        turns = [(each, next(each.steps, None)) for each in self.going.values()]
        done = [each for each, step in turns if step is None]
        for each in done:
            del self.going[each.athlete.row]
        steps = [step for _, step in turns if step is not None]
        if steps:
            due_ns = np.array([t_ns for t_ns, _ in steps], np.int64)
            items = np.concatenate([items for _, items in steps])
            self._table.step(np.array(list(self.going), np.intp), due_ns, Due(_NO_JOBS, items).measurements())
        return [(each.athlete, self._workouts.revise(*each[:3])) for each in done]

    def _steps(self, athlete: Athlete, job: Due) -> Iterator[tuple[int, Records]]:
        """Go back, then yield each step's time and measurements; whoever takes one makes it."""
        row, base_ns = athlete.row, int(job.jobs["due_ns"][0])
        later_ns = self._bases.wind_back(self._table.state, row, base_ns)
        first, count = int(job.jobs["first"][0]), int(job.jobs["count"][0])
        items = job.items[first : first + count]
        orders = self._workouts.wind_back(athlete, base_ns)
        if base_ns == FRESH_NS and orders and orders[0].command is None:
            begun_ns = min(orders[0].t_ns, int(items["t_ns"][0]))
            orders[0] = orders[0]._replace(t_ns=begun_ns, at_ns=begun_ns - 1)
        taken = 0
        for cut in self._cuts(row, job, items, orders):
            until = int(np.searchsorted(items["t_ns"], cut.t_ns, side="right"))
            if cut.kind == _STEP or (cut.kind == _ORDER and until > taken):
                yield cut.t_ns, items[taken:until]
                taken = until
            if cut.done is not None:
                self._workouts.redo(athlete, cut.done)
            elif cut.t_ns in later_ns:
                self._bases.keep(self._table.state, np.array([row]), np.array([cut.t_ns]))

    def _cuts(self, row: int, job: Due, items: Records, orders: list[Done]) -> list[_Cut]:
        """Return steps and commands in the order of time."""
        base_ns, until_ns = int(job.jobs["due_ns"][0]), int(job.jobs["received_ns"][0])
        if base_ns == FRESH_NS:
            base_ns = min([*(done.t_ns for done in orders), *items["t_ns"][:1].tolist()])
        phase_ns = int(self._schedule.lanes["phase_ns"][row])
        first_ns = (base_ns - phase_ns) // STEP_NS * STEP_NS + STEP_NS + phase_ns
        cuts = [_Cut(t_ns, _STEP, None) for t_ns in range(first_ns, until_ns + 1, STEP_NS)]
        cuts += [_Cut(each.at_ns, _BEGIN if each.command is None else _ORDER, each) for each in orders]
        return sorted(cuts, key=lambda cut: cut[:2])
