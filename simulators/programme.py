"""What an athlete does when: phases of walking, running, riding and rest, repeated for ever.

Every quantity is constant within a phase and goes over to the next one's along a quintic over the first
RAMP_S of it, so that speed has two continuous derivatives and distance a closed form at any time.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from simulators.jets import Array, Jet

RAMP_S = 3.0
CYCLES_MAX = 1e6

Activity = Literal["rest", "walk", "run", "ride"]


class Phase(NamedTuple):
    """One stretch of a programme.

    ``duration_s`` is at least RAMP_S; ``cadence`` is in steps/min on foot and crank rpm on the bike; at rest
    speed and cadence are 0.
    """

    activity: Activity
    duration_s: float
    speed_mps: float = 0.0
    cadence: float = 0.0


class Action(NamedTuple):
    """What a programme says at n instants, as jets; the first three integrate the next three."""

    distance: Jet  # m, along the route
    steps: Jet  # steps taken, a real number that rises evenly
    turns: Jet  # of the crank
    walk: Jet  # 0 to 1, how much of the gait it is
    run: Jet
    ride: Jet
    stride: Jet  # two steps, m


class Programme:
    """Phases, repeated for ever.

    Raises
    ------
    ValueError
        Where a phase is shorter than RAMP_S, or its numbers are out of range.
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        _check(phases)
        self.phases = tuple(phases)
        ends = np.cumsum([phase.duration_s for phase in phases])
        self.period_s = float(ends[-1])
        self._starts = np.concatenate([[0.0], ends[:-1]])
        self._after = np.array([_channels(phase) for phase in phases]).T
        self._before = np.roll(self._after, 1, axis=1)
        durations = np.array([phase.duration_s for phase in phases])
        mean = self._after * durations - (self._after - self._before) * RAMP_S / 2
        self._integrals = np.concatenate([np.zeros((len(mean), 1)), np.cumsum(mean, axis=1)], axis=1)[:3]

    @property
    def distance_m(self) -> float:
        """What one repetition covers, m."""
        return float(self._integrals[0, -1])

    def at(self, t_s: Array) -> Action:
        """Return what is done at ``t_s``, shape (n,), seconds since the start, at least 0."""
        cycle = np.floor(t_s / self.period_s)
        inside = np.clip(t_s - cycle * self.period_s, 0.0, self.period_s)
        k = np.searchsorted(self._starts, inside, side="right") - 1
        since = inside - self._starts[k]
        u = np.minimum(since / RAMP_S, 1.0)
        v = u * (1.0 - u)
        before, change = self._before[:, k], (self._after - self._before)[:, k]
        value = before + change * (u**3 * (10.0 - 15.0 * u + 6.0 * u * u))
        first = change * (30.0 * v * v / RAMP_S)
        second = change * (60.0 * v * (1.0 - 2.0 * u) / RAMP_S**2)
        risen = RAMP_S * u**4 * (u * u - 3.0 * u + 2.5) + np.maximum(since - RAMP_S, 0.0)
        total = (
            self._integrals[:, -1:] * cycle + self._integrals[:, k] + before[:3] * since + change[:3] * risen
        )
        integrals = [Jet(total[i], value[i], first[i]) for i in range(3)]
        return Action(*integrals, *(Jet(value[i], first[i], second[i]) for i in range(3, 7)))


def _channels(phase: Phase) -> list[float]:
    on_foot = phase.activity in ("walk", "run") and phase.cadence > 0
    rate_hz = phase.cadence / 60.0
    return [
        phase.speed_mps,
        rate_hz if on_foot else 0.0,
        rate_hz if phase.activity == "ride" else 0.0,
        *(float(phase.activity == name) for name in ("walk", "run", "ride")),
        2.0 * phase.speed_mps / rate_hz if on_foot else 0.0,
    ]


def _check(phases: Sequence[Phase]) -> None:
    if not phases:
        raise ValueError("a programme needs at least one phase")
    for phase in phases:
        if not (phase.duration_s >= RAMP_S and 0 <= phase.speed_mps <= 25 and 0 <= phase.cadence <= 260):
            raise ValueError(
                f"{phase}: duration from {RAMP_S} s, speed 0 to 25 m/s, cadence 0 to 260 per minute"
            )
        if phase.activity == "rest" and (phase.speed_mps or phase.cadence):
            raise ValueError(f"{phase}: at rest speed and cadence are 0")
