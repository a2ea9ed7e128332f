"""The Kalman bank and a whole step of all models per athlete, at several numbers of athletes."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from filterpy.kalman import KalmanFilter

from fusion.athletes import Athletes
from fusion.design import scaled_white_noise
from fusion.kalman import Gate, drive, shear, symmetric, update
from fusion.measurements import Measurements, Source, Sport
from simulators.benchmark.measure import Cost, best_us

ROWS = (1, 20, 100, 1000)
T0_NS = 1_700_000_000_000_000_000
S = 1_000_000_000


def costs() -> Iterator[Cost]:
    """Yield the cost of the bank and of a step for each number of rows."""
    peers = {size: best_us({"peer": _filterpy(size)})["peer"] for size in (2, 4)}
    for n in ROWS:
        us = best_us({"bank": _bank(n)})["bank"] / n
        yield Cost(f"Kalman bank, 2 states, {n} rows", us, "row", "filterpy predict+update", peers[2])
    three_us = peers[2] + 2 * peers[4]
    for n in ROWS:
        us = best_us({"step": _step(n, inertial=True)})["step"] / n
        yield Cost(
            f"Athletes.step, 1 s of IMU and heart rate, {n} rows",
            us,
            "athlete",
            "1 filterpy filter alone",
            peers[2],
        )
    for n in ROWS:
        us = best_us({"step": _step(n)})["step"] / n
        yield Cost(
            f"Athletes.step, 1 s of all sensors, {n} rows",
            us,
            "athlete",
            "3 filterpy filters alone",
            three_us,
        )


def _bank(n: int) -> Callable[[], object]:
    x = np.zeros((2, n))
    P = np.repeat(np.eye(2)[:, :, None], n, axis=2)
    residual, R, use, dt_s = np.full(n, 0.5), np.full(n, 4.0), np.ones(n, dtype=bool), np.ones(n)

    def run() -> object:
        rate, spread = x.copy(), P.copy()
        shear(rate, spread, 0, 1, dt_s)
        drive(spread, 0, 1, scaled_white_noise(dt_s, 0.1))
        return update(rate, symmetric(spread), residual, ((0, None),), R, use, Gate())

    return run


def _filterpy(size: int) -> Callable[[], object]:
    kf: Any = KalmanFilter(size, 1)
    kf.F = np.eye(size) + np.eye(size, k=1)
    kf.H = np.eye(1, size)
    kf.Q *= 0.01
    z = np.array([0.5])

    def run() -> object:
        kf.predict()
        return kf.update(z)

    return run


def _step(n: int, *, inertial: bool = False) -> Callable[[], object]:
    """Return a call that steps n runners by their next second: 4 windows, a heart rate, a fix, a pressure.

    Where ``inertial``, only windows and heart rates.
    """
    athletes = Athletes()
    rows = np.array([athletes.add() for _ in range(n)], np.intp)
    for row in rows:
        athletes.begin(int(row), T0_NS, Sport.RUN)
    windows = [
        (row, T0_NS + k * S // 4, row, 4, 0.25, 0.01, 0.05, 3.0, 1.0, k % 2, 0.36, 64)
        for row in range(n)
        for k in range(1, 5)
    ]
    m = Measurements.of(
        windows=windows,
        heart_rates=[(row, T0_NS + S, row, 140.0, 1.0, Source.STRAP, np.nan) for row in range(n)],
        gnss=[(row, T0_NS + S, 0, 48.0, 11.0, 500.0, 3.0, 1.57, 4.0, 6.0, 0.3) for row in range(n)],
        baro=[(row, T0_NS + S, 0, 95_000.0) for row in range(n)],
    )
    if inertial:
        m = m._replace(gnss=m.gnss[:0], baro=m.baro[:0])
    due_ns = np.full(n, T0_NS + S)
    east_deg = 3.0 / (111_320.0 * np.cos(np.radians(48.0)))

    def run() -> object:
        found = athletes.step(rows, due_ns, m)
        due_ns[:] += S
        for records in m:
            records["t_ns"] += S
        m.gnss["lon_deg"] += east_deg
        return found

    return run
