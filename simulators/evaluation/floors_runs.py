"""What ``evaluate floors`` plays: recorded ways through buildings, and simulated ones of known storeys.

A run is heights in the standard atmosphere and steps, second by second. All runs of a kind go through one
table of athletes, as they would live.
"""

import csv
import math
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.athletes import Athletes
from fusion.measurements import Measurements, Sport
from fusion.models import altitude
from server.errors import FileError
from simulators.sensors import Barometer

Floats = NDArray[np.float64]

START_NS: Final = 1_790_000_000 * 10**9
STEP_HZ: Final = 1.8
GAIT_STEPS: Final = 4  # a gait is told by so many, the first ones then too (csrc/step.c)
STILL_MPS: Final = 0.2  # a recorded walker who rises more slowly is taken to walk on a level
RATE_SPAN_S: Final = 5
LIFT_MPS2: Final = 1.0  # how lifts speed up and stop
LIFT_MPS: Final = 1.0  # over that span; nobody climbs so fast


class Run(NamedTuple):
    """A way through a building at 1 Hz; NaN where no pressure is told."""

    name: str
    pressure_pa: Floats
    steps: NDArray[np.int64]
    storeys: int  # climbed by stairs
    lifts: int  # rides up
    rides: tuple[tuple[int, int], ...] = ()  # in a lift: first second, and the one after the last


_NAME: Final = re.compile(r"([^_]+)_[^_]+_(\d+)_(\d+)")


class Trial(NamedTuple):
    """A recorded trial: where it began to be indoors, and from which floor to which it went."""

    run: Run
    building: str
    start: int
    end: int
    entry: int  # row
    lift: bool  # by its own speed


def trials(data: Path) -> list[Trial]:
    """Return the trials of nyc_floor_barometer, ``<building>_<trial>_<start>_<end>.csv``.

    Raises
    ------
    FileError
        One cannot be read, or is never indoors.
    """
    found = []
    for path in sorted(data.rglob("floor_prediction_test_data/**/*.csv")):
        named = _NAME.fullmatch(path.stem)
        if named is None or not path.is_file():
            continue
        building, start, end = named.groups()
        try:
            pressure, indoors = _recorded(path)
            entry = int(np.flatnonzero((indoors > 0) & np.isfinite(pressure))[0])
        except (OSError, KeyError, ValueError, IndexError, csv.Error) as error:
            raise FileError(path, f"is no recorded trial: {error}") from None
        height = altitude.height_of(pressure)
        rate = (height[RATE_SPAN_S:] - height[:-RATE_SPAN_S]) / RATE_SPAN_S
        fast = np.flatnonzero(np.abs(rate) > LIFT_MPS)
        lift = bool(np.nanmax(rate[entry:]) > LIFT_MPS)
        rides = ((int(fast[0]), int(fast[-1]) + RATE_SPAN_S),) if len(fast) else ()
        level = np.abs(np.gradient(smoothed(height))) < STILL_MPS
        run = Run(path.stem, pressure, _told_steps(level), 0, 1, rides)
        found.append(Trial(run, building, int(start), int(end), entry, lift))
    return found


def _recorded(path: Path) -> tuple[Floats, Floats]:
    """Return pressure, Pa, and whether it is indoors, at each second of a trial."""
    rows = []
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines):
            try:
                t_s = datetime.fromisoformat(row["created_at"].replace("Z", "+00:00")).timestamp()
                rows.append((t_s, float(row["baro_pressure"]) * 1e3, float(row["indoors"])))
            except (TypeError, ValueError):
                continue  # one of rock_e_1_10 is torn
    t_s, pressure, indoors = np.array(rows).T
    second = np.round(t_s - t_s[0]).astype(int)
    at = np.full((2, second[-1] + 1), np.nan)
    at[0, second], at[1, second] = np.where(pressure > 0.0, pressure, np.nan), indoors
    return at[0], np.nan_to_num(at[1])


def smoothed(height_m: Floats, span: int = 5) -> Floats:
    """Return the mean of the newest readings that are told, as a user would write it."""
    held = height_m[np.maximum.accumulate(np.where(np.isfinite(height_m), np.arange(len(height_m)), 0))]
    held = np.where(np.isnan(held), held[np.isfinite(held)][0], held)
    padded = np.concatenate([np.full(span - 1, held[0]), held])
    return np.convolve(padded, np.full(span, 1.0 / span), "valid")


def _told_steps(walks: NDArray[np.bool_], hz: float = STEP_HZ) -> NDArray[np.int64]:
    """Return the steps that are told each second; those of a gait's beginning come together."""
    told = np.zeros(len(walks), dtype=np.int64)
    taken, kept = 0.0, 0
    for i, walking in enumerate(walks):
        if not walking:
            taken, kept = 0.0, 0
            continue
        taken += hz
        if taken >= GAIT_STEPS:
            told[i], kept = int(taken) - kept, int(taken)
    return told


class Plan:
    """A way through a building that grows, second by second."""

    def __init__(self) -> None:
        self.height_m: list[float] = [10.0]
        self.walks: list[bool] = [True]
        self.storeys = self.lifts = 0
        self.rides: list[tuple[int, int]] = []

    def level(self, seconds: int, *, walks: bool) -> None:
        """Walk or stand."""
        self.height_m += [self.height_m[-1]] * seconds
        self.walks += [walks] * seconds

    def stairs(self, storeys: int, storey_m: float, speed_mps: float, rest_s: int) -> None:
        """Climb, or descend where ``storeys`` is negative: two flights a storey, a landing of 2 s between."""
        sign = 1 if storeys > 0 else -1
        for flight in range(2 * abs(storeys)):
            self._move(sign * 0.5 * storey_m, speed_mps, walks=True)
            self.level(2 if flight % 2 == 0 else rest_s, walks=True)
        self.storeys += max(storeys, 0)

    def lift(self, rise_m: float, speed_mps: float, rng: np.random.Generator) -> None:
        """Walk up to a lift, wait, ride, and walk away as its door opens; it speeds up and stops evenly."""
        self.level(int(rng.integers(2, 12)), walks=False)
        way = abs(rise_m)
        top = min(speed_mps, math.sqrt(way * LIFT_MPS2))
        takes_s = top / LIFT_MPS2
        whole_s = way / top + takes_s
        t = np.arange(1, math.ceil(whole_s) + 1)
        left_s = np.maximum(whole_s - t, 0.0)
        speeding = 0.5 * LIFT_MPS2 * np.minimum(t, takes_s) ** 2 + top * np.maximum(t - takes_s, 0.0)
        gone = np.where(left_s < takes_s, way - 0.5 * LIFT_MPS2 * left_s**2, speeding)
        self.height_m += (self.height_m[-1] + np.sign(rise_m) * gone).tolist()
        self.walks += [False] * len(t)
        self.rides.append((len(self.walks) - len(t), len(self.walks)))
        self.level(int(rng.integers(1, 5)), walks=False)
        self.lifts += rise_m > 0.0

    def _move(self, rise_m: float, speed_mps: float, *, walks: bool) -> None:
        seconds = max(1, math.ceil(abs(rise_m) / speed_mps))
        ramp = np.linspace(0.0, rise_m, seconds + 1)[1:] + self.height_m[-1]
        self.height_m += ramp.tolist()
        self.walks += [walks] * seconds

    def told(self, name: str, rng: np.random.Generator) -> Run:
        """Return what a barometer and an inertial device tell of it."""
        barometer = Barometer(rng)
        pressure = [barometer.pressure_pa(height, float(t)) for t, height in enumerate(self.height_m)]
        hz = float(rng.uniform(1.4, 2.0))
        steps = _told_steps(np.array(self.walks), hz)
        return Run(name, np.array(pressure), steps, self.storeys, self.lifts, tuple(self.rides))


def stairs(seed: int, storey_m: tuple[float, float] = (2.8, 3.3)) -> Run:
    """Return a day on stairs: climbs and descents of one to six storeys between level ways."""
    rng = np.random.default_rng([seed, 1])
    plan, storey = Plan(), float(rng.uniform(*storey_m))
    for _ in range(6):
        plan.level(int(rng.integers(20, 90)), walks=True)
        count = int(rng.integers(1, 7)) * int(rng.choice([-1, 1]))
        plan.stairs(count, storey, float(rng.uniform(0.2, 0.4)), int(rng.integers(2, 15)))
        plan.level(int(rng.integers(0, 40)), walks=False)
    plan.level(20, walks=True)
    return plan.told(f"stairs {seed}", rng)


def lifts(seed: int) -> Run:
    """Return a day of lifts: rides of one to ten storeys at 1 to 2.5 m/s, up and down, walks between."""
    rng = np.random.default_rng([seed, 2])
    plan = Plan()
    for _ in range(8):
        plan.level(int(rng.integers(5, 60)), walks=True)
        rise = float(rng.uniform(2.8, 4.5)) * int(rng.integers(1, 11)) * int(rng.choice([-1, 1]))
        plan.lift(rise, float(rng.uniform(1.0, 2.5)), rng)
    plan.level(20, walks=True)
    return plan.told(f"lifts {seed}", rng)


class Played(NamedTuple):
    """What came of n runs of k seconds: floors at the end, their sigmas, and what was told each second."""

    floors: Floats
    sigma: Floats
    height_m: Floats  # (n, k) relative; NaN before the first
    told: Floats  # (n, k) floors so far


def play(runs: Sequence[Run], *, steps: bool = True) -> Played:
    """Play runs through one table; without ``steps`` its inertial devices say that nobody takes one."""
    table = Athletes()
    for _ in runs:
        table.begin(table.add(), START_NS, Sport.WALK)
    rows = np.arange(len(runs))
    longest = max(len(run.steps) for run in runs)
    heights, told = np.full((2, len(runs), longest), np.nan)
    for second in range(longest):
        now_ns = START_NS + (second + 1) * 10**9
        baro, windows = [], []
        for row, run in enumerate(runs):
            if second >= len(run.steps):
                continue
            count = int(run.steps[second]) if steps else 0
            windows.append((row, now_ns, row, 5, 1.0, 0.0, 0.1, 2.0, 1.0, count, 0.55 * (count > 0), 0))
            if np.isfinite(run.pressure_pa[second]):
                baro.append((row, now_ns, 0, run.pressure_pa[second]))
        table.step(rows, np.full(len(runs), now_ns), Measurements.of(baro=baro, windows=windows))
        heights[:, second] = np.where(
            table.state["alt_t_ns"][rows] > 0, table.state["alt_x"][rows, 0], np.nan
        )
        told[:, second] = table.state["floors"][rows]
    ends = [table.end(row, START_NS + (longest + 1) * 10**9) for row in range(len(runs))]
    floors = np.array([end.values["floors"] for end in ends], dtype=float)
    return Played(floors, np.array([end.sigma.get("floors", np.nan) for end in ends]), heights, told)


def threshold(run: Run, *, steps: bool, floor_m: float = 3.0, window_s: int = 45) -> NDArray[np.int64]:
    """Return the floors so far, (k,), that a threshold on smoothed pressure counts, as a user would write it.

    A floor each time the mean of 5 s stands ``floor_m`` above the lowest of 45 s, from where it goes on;
    with ``steps`` only where ten of them were taken in that time.
    """
    height = smoothed(altitude.height_of(run.pressure_pa))
    counted, begin = np.zeros(len(height), dtype=np.int64), 0
    for i in range(len(height)):
        begin = max(begin, i - window_s)
        if height[i] - height[begin : i + 1].min() >= floor_m:
            walked = int(run.steps[begin : i + 1].sum()) >= 10
            counted[i] = walked or not steps
            begin = i
    return np.cumsum(counted)
