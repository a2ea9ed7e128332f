"""What each kind of measurement does to its athlete's row, and what is told of a row: kernels.

Fixes and heights are not among them, but for who tells them: they end in histories, and go through numpy in
rounds.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.kernel import Kernel, choose
from fusion.measurements import DTYPES, DUE, Source
from fusion.metrics import METRICS, distance, energy, floors, moving
from fusion.metrics import speed as speed_metric
from fusion.metrics.metric import evaluate
from fusion.models import (
    altitude,
    barometers,
    body,
    cadence,
    effort,
    heart_rate,
    power,
    receivers,
    speed,
    step_length,
)
from fusion.state import STATE
from fusion.table import Fields

SENSOR_NS = 10_000_000_000  # a wheel or foot pod that spoke in this time is better than steps


def _window(s: Fields, w: Fields) -> list[Any]:
    """Take in a window; tell whether it is of the device that speaks for its athlete."""
    walk = body.absorb(s, w)
    _on_foot(s, w["t_ns"], walk.steps, walk.spm, walk.still, Source.IMU, walk.chosen)
    return [walk.chosen]


def _on_foot(
    s: Fields, t_ns: timer.Times, steps: Floats, spm: Floats, still: Mask, source: Source, use: Mask
) -> None:
    """Turn steps into path and moving time, where ``use`` and nothing better tells."""
    sport = s["sport"]
    step_m = step_length.usual(spm, s["height_m"])
    use = use & choose(speed_metric.STEPPING, sport)
    # Effort learns its own factor, of the heart.
    effort.on_foot(s, t_ns, spm, spm * step_m * (1.0 / 60.0), use)
    metres = np.where(use, steps * step_m, 0.0)
    step_length.gather(s, spm, metres)
    factor, share = step_length.known(s, spm)
    use = use & (np.abs(t_ns - s["sensor_t_ns"]) > SENSOR_NS)
    tells = speed_metric.on_foot(sport, spm + steps, still)
    metres = np.where(use & tells, factor * metres, 0.0)
    distance.from_path(s, t_ns, metres, share, int(source), use & tells)
    free = moving.unclaimed(s, t_ns, "pos_t_ns")
    # In another sport a body that neither steps nor rests may roll or glide: it moves.
    moves = (steps > 0.0) | (spm > 0.0) | ~tells
    moving.accrue(s, t_ns, moves, int(source), use & free)


def _increment(s: Fields, w: Fields) -> list[Any]:
    """Take in the velocity increment and the steps of a window."""
    altitude.gather(s, w)
    floors.walk(s, w["t_ns"], w["steps"])
    return []


def _speed(s: Fields, m: Fields) -> list[Any]:
    """Take in the speed of a wheel or foot pod."""
    t_ns, metres, use = speed.absorb(s, m)
    now, source = s["sensor_mps"], s["sensor_source"]
    distance.from_path(s, t_ns, metres, speed.SHARE, source, use)
    free = use & moving.unclaimed(s, t_ns, "pos_t_ns")
    moving.accrue(s, t_ns, now >= moving.MOVING_MPS, source, free)
    energy.from_motion(s, t_ns, now, free)
    top = np.maximum(s["speed_max_mps"], now)
    s["speed_max_mps"] = np.where(free & timer.counts(s, t_ns), top, s["speed_max_mps"])
    return []


def _power(s: Fields, m: Fields) -> list[Any]:
    """Take in a power."""
    t_ns, use = power.absorb(s, m)
    energy.from_power(s, t_ns, use)
    effort.from_power(s, t_ns, use)
    free = use & moving.unclaimed(s, t_ns, "pos_t_ns", "sensor_t_ns")
    moving.accrue(s, t_ns, s["power_w"] > 0.0, int(Source.POWER), free)
    return []


def _heart_rate(s: Fields, m: Fields) -> list[Any]:
    """Take in a heart rate."""
    energy.from_heart_rate(s, heart_rate.absorb(s, m))
    return []


def _cadence(s: Fields, m: Fields) -> list[Any]:
    """Take in a cadence."""
    t_ns, steps, use = cadence.absorb(s, m)
    floors.walk(s, t_ns, steps, use)
    _on_foot(s, t_ns, steps, s["cadence_spm"], steps < 0.0, Source.CADENCE, use)
    return []


def _live(s: Fields, due: Fields) -> list[Any]:
    """Tell every metric at the moment that is due, and the open workout's elapsed and moving time, s."""
    moving.by_clock(s, due["t_ns"])
    elapsed_s, moving_s, _ = _totals(s, due)
    return [*evaluate(METRICS, s, due["t_ns"]), elapsed_s, moving_s]


def _totals(s: Fields, at: Fields) -> list[Any]:
    """Tell the open workout's elapsed and moving time, s, and distance, m."""
    by_clock_s = np.where(s["moving_source"] != 0, 0.0, timer.running_s(s, at["t_ns"]))
    moving_s = np.maximum(s["moving_s"], by_clock_s)
    return [timer.elapsed_s(s, at["t_ns"]), moving_s, distance.live(s) + s["dist_fill_m"]]


class Kernels(NamedTuple):
    """The kernels of the table of athletes."""

    window: Kernel
    increment: Kernel
    speed: Kernel
    power: Kernel
    heart_rate: Kernel
    cadence: Kernel
    receiver: Kernel
    barometer: Kernel
    live: Kernel
    totals: Kernel


@cache
def kernels() -> Kernels:
    """Return the kernels; they are recorded once, which takes a tenth of a second."""
    windows, heart_rates, gnss, baro, powers, cadences, speeds = DTYPES
    return Kernels(
        window=Kernel(_window, STATE, windows),
        increment=Kernel(_increment, STATE, windows),
        speed=Kernel(_speed, STATE, speeds),
        power=Kernel(_power, STATE, powers),
        heart_rate=Kernel(_heart_rate, STATE, heart_rates),
        cadence=Kernel(_cadence, STATE, cadences),
        receiver=Kernel(receivers.choose, STATE, gnss),
        barometer=Kernel(barometers.choose, STATE, baro),
        live=Kernel(_live, STATE, DUE),
        totals=Kernel(_totals, STATE, DUE),
    )
