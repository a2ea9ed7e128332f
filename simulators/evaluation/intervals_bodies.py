"""Recorded hearts and walks with a truth of their own: beats of a chest strap, steps under an optical gait.

*Hearts* are told as in ``evaluate heart``, never gone: every beat, or the strap's own rate; their truth is
the mean rate over 10 s about each moment. *Walks* are on a treadmill (TRIPOD), one inertial device at a time;
an optical system beside it (OptoGait) tells every step. Its clock is not the devices': the shift between
them is the one at which the two feet agree best, so the other devices are blind to it.
"""

import csv
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fusion.athletes import Athletes
from fusion.core import PACKET, CoreTable
from fusion.measurements import WINDOW, Measurements, Sport
from fusion.metrics.cadence import SPAN_S
from server.codecs import imu
from server.errors import FileError
from simulators.evaluation import heart_runs
from simulators.evaluation.heart_runs import Run, Sensors
from simulators.evaluation.intervals_runs import CHANGES, CHANGING_BPM_S
from simulators.evaluation.intervals_tally import Outcome, empty, plain
from simulators.truth import GRAVITY_MPS2

Floats = NDArray[np.float64]

SETTLED_S: Final = 30
START_NS: Final = heart_runs.START_NS
RATE_HZ: Final = 128  # Physilog
# LH, RH and RL are left out: said to be hands, they move as feet do (6 to 9 m/s^2).
PLACES: Final = {"LF": "foot", "RF": "foot", "SA": "hip"}
EDGE_S: Final = (8.0, 2.0)  # of a walk, that do not count: while the belt speeds up, and as it stops
STEP_MAX_S: Final = 1.5  # the optical system has lost a step
EXTRA_SHARE: Final = 0.75  # of the median interval: a shorter one is a contact that is no step
SHIFTS_S: Final = np.arange(-30.0, 30.0, 0.25)


def bodies(data: Path) -> Outcome:
    """Return what came of all recorded hearts and walks under a folder; empty where there are none.

    Raises
    ------
    FileError
        A file cannot be read.
    """
    outcome = empty()
    # Subjects with odd numbers: a search chose the heart's modes on the even ones (evaluate heart).
    beats = [heart_runs.recorded(name, rr) for who, name, rr in heart_runs.gudb(data) if int(who[-2:]) % 2]
    long = heart_runs.hrm(data, "exercise_rri.hrm")
    sensors = {"beats": heart_runs.by_beats, "rates": heart_runs.by_strap}
    for sensor, by in sensors.items():
        if beats:
            _hearts(outcome, f"GUDB, {sensor}", beats, by)
        if long is not None:
            _hearts(outcome, f"Polar, {sensor}", [heart_runs.recorded("polar", long)], by)
    for folder in sorted(path.parent.parent for path in data.rglob("OptoGait/optogait.csv")):
        _walk(outcome, folder)
    return plain(outcome)


def _hearts(outcome: Outcome, who: str, runs: Sequence[Run], by: Sensors) -> None:
    told = heart_runs.ours(runs, by)
    for i, run in enumerate(runs):
        slope = np.gradient(run.truth)
        for k in range(SETTLED_S, len(run.truth)):
            error, sigma = told.value[i, k] - run.truth[k], told.sigma[i, k]
            for name in ("heart_rate", CHANGES[bool(abs(slope[k]) > CHANGING_BPM_S)]):
                outcome.told[who, name].add(error, sigma)
            outcome.fits["heart_rate"].add(told.nis[i, k], tuple(told.bounds[:, i, k].tolist()))


def _walk(outcome: Outcome, folder: Path) -> None:
    """Take in one walk, device by device."""
    steps_s = _optical(folder / "OptoGait" / "optogait.csv")
    paths = {name: folder / "IMU" / f"{name}.csv.xz" for name in PLACES}
    told = {name: rhythm(path) for name, path in paths.items() if path.exists()}
    feet = [one for name, one in told.items() if PLACES[name] == "foot"]
    if len(steps_s) < 20 or not feet:
        return
    together = np.concatenate(feet)
    shift_s = min(SHIFTS_S, key=lambda shift: _disagreement(together, steps_s, float(shift)))
    for name, one in told.items():
        truth, known = _truth(steps_s, one[:, 0] + shift_s)
        for value, sigma, true in np.column_stack([one[:, 1:], truth])[known]:
            outcome.told[f"TRIPOD, {PLACES[name]}", "cadence"].add(value - true, sigma)


def _optical(path: Path) -> Floats:
    """Return when each step was, s, (n,), on the optical system's clock."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in csv.DictReader(lines) if row["L/R"] in ("L", "R") and row["Split"]]
        return np.array([float(row["Split"]) for row in rows])
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise FileError(path, f"holds no steps: {error}") from None


def _truth(steps_s: Floats, t_s: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the mean cadence of the newest SPAN_S at moments, 1/min, (n,), and where it is known."""
    count = np.arange(float(len(steps_s)))
    mean = (np.interp(t_s, steps_s, count) - np.interp(t_s - SPAN_S, steps_s, count)) * 60.0 / SPAN_S
    interval_s = np.diff(steps_s)
    # As the belt stops feet shuffle: contacts 0.3 to 0.5 s apart, while all devices see the gait slow down.
    extra = interval_s < EXTRA_SHARE * np.median(interval_s)
    wrong = np.flatnonzero((interval_s > STEP_MAX_S) | extra)
    known = (t_s > steps_s[0] + EDGE_S[0]) & (t_s < steps_s[-1] - EDGE_S[1])
    for i in wrong:
        known &= (t_s < steps_s[i]) | (t_s > steps_s[i + 1] + SPAN_S)
    return mean, known


def _disagreement(told: Floats, steps_s: Floats, shift_s: float) -> float:
    """Return the median size of the difference between feet and optical system, 1/min."""
    truth, known = _truth(steps_s, told[:, 0] + shift_s)
    known &= told[:, 1] > 0.0
    return float(np.median(np.abs(told[known, 1] - truth[known]))) if known.sum() > 60 else np.inf


def rhythm(path: Path) -> Floats:
    """Return time, cadence and its sigma at each second of a Physilog export, (n, 3); 1/min, NaN: none."""
    try:
        with lzma.open(path, "rt") as lines:
            rows = np.genfromtxt(lines, delimiter=",", skip_header=8, usecols=range(7), ndmin=2)
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        raise FileError(path, f"holds no motion: {error}") from None
    rows = rows[np.isfinite(rows).all(1)]
    gyro_b, accel_b = np.radians(rows[:, 1:4]), rows[:, 4:7] * GRAVITY_MPS2
    core, table = CoreTable(), Athletes()
    core.add(placement=PLACES[path.name[:2]])
    row = np.array([table.add()], dtype=np.intp)
    table.begin(0, START_NS, Sport.WALK)
    told = []
    for second in range(len(rows) // RATE_HZ):
        part = slice(second * RATE_HZ, (second + 1) * RATE_HZ)
        payload = imu.encode(
            accel_b=accel_b[part],
            gyro_b=gyro_b[part],
            boot=1,
            t0_ns=START_NS + second * 10**9,
            seq=second,
            dt_ns=10**9 // RATE_HZ,
        )
        packet = np.zeros(1, PACKET)
        packet["length"] = len(payload)
        due_ns = START_NS + (second + 1) * 10**9
        windows = _measured(core.advance(payload, packet).windows)
        live = table.step(row, np.array([due_ns]), Measurements.of(windows=windows))["cadence"]
        told.append((second + 1.0, live.value[0], live.sigma[0]))
    return np.array(told)


def _measured(windows: NDArray[np.void]) -> NDArray[np.void]:
    """Return windows of the core as the models take them."""
    measured = np.zeros(len(windows), WINDOW)
    for name in ("t_ns", "duration_s", "accel_rms", "gyro_rms", "steps", "step_interval_s", "flags"):
        measured[name] = windows[name]
    measured["dv_up_mps"] = np.nan
    return measured
