"""A table of one athlete in a workout, and measurements of theirs told in seconds after its start."""

from typing import Any

import numpy as np

from fusion.athletes import Athletes, Profile
from fusion.measurements import Estimate, Estimates, Measurements, Source, Sport

START_NS = 1_790_000_000 * 10**9
Told = tuple[Any, ...]


def athlete(sport: Sport = Sport.RUN, profile: Profile | None = None) -> Athletes:
    """Return a table whose row 0 has a workout open since START_NS."""
    table = Athletes()
    table.begin(table.add(profile), START_NS, sport)
    return table


def step(table: Athletes, t_s: float, *, row: int = 0, device: int = 0, **told: list[Told]) -> Estimates:
    """Step a row to ``t_s``; each measurement begins with its time, s, and goes on as its dtype does.

    Those of windows and heart rates tell their device, the others are all of ``device``.
    """
    arrays = {
        name: [(row, START_NS + round(one[0] * 1e9), *own, *one[1:]) for one in rows]
        for name, rows in told.items()
        for own in [() if name in ("windows", "heart_rates") else (device,)]
    }
    due_ns = np.array([START_NS + round(t_s * 1e9)])
    return table.step(np.array([row]), due_ns, Measurements.of(**arrays))


def fix(
    t_s: float, east_m: float, alt_m: float = np.nan, speed_mps: float = np.nan, v_acc_m: float = np.nan
) -> Told:
    """Return a fix so far east of 46 N 8 E; with a speed its course is east too."""
    lon_deg = 8.0 + east_m / (111_320 * np.cos(np.radians(46.0)))
    course_rad = np.pi / 2 if np.isfinite(speed_mps) else np.nan
    return (t_s, 46.0, lon_deg, alt_m, speed_mps, course_rad, 5.0, v_acc_m, np.nan)


def window(
    t_s: float,
    steps: int = 0,
    interval_s: float = 0.0,
    *,
    rank: int = 5,
    duration_s: float = 0.25,
    dv_mps: float = 0.0,
    accel_rms: float = 2.0,
    gyro_rms: float = 1.0,
    flags: int = 64,
) -> Told:
    """Return a window of device 0 that ends at ``t_s``; its tilt is settled unless ``flags`` say else."""
    return (t_s, 0, rank, duration_s, dv_mps, 0.01, accel_rms, gyro_rms, steps, interval_s, flags)


def second(t_s: float, **told: Any) -> list[Told]:
    """Return the four windows of the second that ends at ``t_s``."""
    return [window(t_s - 0.75 + 0.25 * i, **told) for i in range(4)]


def beat(t_s: float, bpm: float) -> Told:
    """Return a heart rate of a strap."""
    return (t_s, 0, bpm, 1.0, int(Source.STRAP), np.nan)


def errors(one: Estimate, truth: float) -> float:
    """Return how many sigmas a value is off."""
    return float(abs(one.value[0] - truth) / one.sigma[0])
