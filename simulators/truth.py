"""The truth about one athlete at any time: where, how fast, which step, which heart rate.

Time is in seconds since the simulation's start. A truth depends on its programme, its body and its seed
alone; it can be asked for any instant in any order, so streams run for ever. The programme covers a whole
number of laps, so that slope, effort and heart rate repeat with it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simulators.heart import Body, Heart, demand_bpm
from simulators.jets import Array, Jet, compose
from simulators.programme import Action, Phase, Programme
from simulators.route import Place, Route, geodetic

GRAVITY_MPS2 = 9.80665
AIR_KGPM3 = 1.225
DRAG_AREA_M2 = 0.36
ROLLING = 0.005
DRIVETRAIN = 0.976  # as in Martin et al. 1998, doi:10.1123/jab.14.3.276

_WANDER = ((0.05, 13.0), (0.03, 37.0))  # steps, and over how many steps: cadence breathes by some 3 %


class Motion(NamedTuple):
    """The athlete as a whole at n instants: jets."""

    place: Place
    action: Action
    step_phase: Jet  # a foot strikes whenever it passes a whole number; even: the right one


class State(NamedTuple):
    """What there is to know at n instants; arrays of shape (n,)."""

    t_s: Array
    east_m: Array
    north_m: Array
    altitude_m: Array
    lat_deg: Array
    lon_deg: Array
    speed_mps: Array  # over ground, horizontal
    course_rad: Array  # counter-clockwise from east, not wrapped
    grade: Array
    distance_m: Array  # horizontal, since the start
    steps: Array  # since the start
    cadence_spm: Array
    crank_rpm: Array
    power_w: Array  # at the crank; 0 on foot
    heart_rate_bpm: Array

    def each(self) -> list["State"]:
        """Return one state for each instant."""
        columns = np.array(self)
        return [State(*columns[:, i : i + 1]) for i in range(columns.shape[1])]


class Truth:
    """One athlete.

    Parameters
    ----------
    phases : sequence of Phase
        Repeated for ever; their durations sum to whole seconds.
    body : Body
    rng : numpy Generator
        Draws the route.
    lap_m : float
        Wanted length of a lap; the real one divides what the programme covers.
    grade_max : float
        Bound of rise over run.
    """

    def __init__(
        self,
        phases: Sequence[Phase],
        body: Body,
        rng: np.random.Generator,
        *,
        lap_m: float = 1_500.0,
        grade_max: float = 0.05,
    ) -> None:
        self.programme = Programme(phases)
        self.body = body
        period_s = self.programme.period_s
        if period_s != round(period_s):
            raise ValueError(f"the phases sum to {period_s} s: want whole seconds")
        covered_m = self.programme.distance_m
        laps = max(1, round(covered_m / lap_m))
        self.route = Route(covered_m / laps if covered_m >= 100 else lap_m, grade_max, rng)
        seconds = np.arange(period_s)
        self.heart = Heart(body, self._demand(seconds))

    def motion(self, t_s: Array) -> Motion:
        """Return the athlete's motion at ``t_s``, shape (n,), at least 0."""
        action = self.programme.at(t_s)
        return Motion(self.route.at(action.distance), action, _wandering(action.steps))

    def state(self, t_s: Array) -> State:
        """Return all that is known at ``t_s``, shape (n,), at least 0."""
        motion = self.motion(t_s)
        place, action = motion.place, motion.action
        return State(
            t_s,
            place.east.x,
            place.north.x,
            place.up.x,
            *geodetic(place.east.x, place.north.x),
            action.distance.dx,
            place.heading.x,
            place.grade.x,
            action.distance.x,
            np.floor(motion.step_phase.x),
            motion.step_phase.dx * 60.0,
            action.turns.dx * 60.0,
            self._power(motion),
            self.heart.rate_bpm(t_s),
        )

    def step_times(self, start_s: float, end_s: float) -> Array:
        """Return when feet strike in ``start_s`` < t <= ``end_s``, s, ascending, to a microsecond."""
        ends = _wandering(self.programme.at(np.array([start_s, end_s])).steps).x
        wanted = np.arange(np.floor(ends[0]) + 1, np.floor(ends[1]) + 1)
        low, high = np.full(wanted.shape, start_s), np.full(wanted.shape, end_s)
        for _ in range(int(np.ceil(np.log2(max(end_s - start_s, 1e-6) / 1e-6))) + 1):
            middle = 0.5 * (low + high)
            before = _wandering(self.programme.at(middle).steps).x < wanted
            low, high = np.where(before, middle, low), np.where(before, high, middle)
        return high

    def _demand(self, t_s: Array) -> Array:
        motion = self.motion(t_s)
        action = motion.action
        gait = (action.walk.x, action.run.x, action.ride.x)
        return demand_bpm(self.body, action.distance.dx, motion.place.grade.x, gait, self._power(motion))

    def _power(self, motion: Motion) -> Array:
        """Power at the crank that this speed takes, W; none on foot or where the hill does the work."""
        v, dv = motion.action.distance.dx, motion.action.distance.ddx
        mass_kg = self.body.mass_kg + self.body.bike_kg
        force_n = 0.5 * AIR_KGPM3 * DRAG_AREA_M2 * v * v + mass_kg * (
            GRAVITY_MPS2 * (ROLLING + motion.place.grade.x) + dv
        )
        return np.maximum(np.minimum(force_n * v / DRIVETRAIN, 1_500.0), 0.0) * motion.action.ride.x + 0.0


def _wandering(steps: Jet) -> Jet:
    """Let the step rate wander slowly about what the programme says; still rising everywhere."""
    value, first, second = steps.x.copy(), np.ones_like(steps.x), np.zeros_like(steps.x)
    for size, length in _WANDER:
        rate = 2 * np.pi / length
        angle = rate * steps.x
        value += size * np.sin(angle)
        first += size * rate * np.cos(angle)
        second -= size * rate**2 * np.sin(angle)
    return compose(value, first, second, steps)
