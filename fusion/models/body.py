"""What the athlete's body does, by the best-placed inertial device: steps, stride rhythm, standing still.

Of several devices on one athlete the one of the best rank speaks, for as long as it does; another takes over
after 5 s of its silence, so that both feet, wrist and hip do not double a step.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.measurements import Records
from fusion.rounds import in_order, turns, values_before
from fusion.table import Fields

SILENT_NS = 5_000_000_000
OVERLAP_NS = 50_000_000
STILL_ACCEL = 0.3  # m/s^2, root mean square of free acceleration
STILL_GYRO = 0.15  # rad/s
INTERVAL_RANGE_S = (0.2, 2.0)
STEPS_MAX = 20  # in one window
LOST_MIN_S = 0.045  # between neighbours; less is their samples' spacing

FIELDS: list[tuple[Any, ...]] = [
    ("body_device", np.int32),  # -1: none
    ("body_rank", np.int32),
    ("body_t_ns", np.int64),  # end of its newest window; 0: never
    ("body_steps", np.float64),  # of this workout
    ("body_interval_s", np.float64),  # between steps; 0 when not stepping
    ("body_interval_ns", np.int64),
    ("body_stepping_s", np.float64),
    ("body_lost_steps", np.float64),  # that the rhythm would have made while samples were lost
]
TOTALS = ("body_steps", "body_stepping_s", "body_lost_steps")


class Walk(NamedTuple):
    """Windows of the devices that speak for their athletes, by row and time, and what they say."""

    windows: Records
    rows: timer.Rows
    t_ns: timer.Times
    steps: Floats  # that count for the workout
    spm: Floats  # 0 when not stepping
    still: Mask  # the device lies still


def absorb(state: Records, windows: Records) -> Walk:
    """Take the windows of a step into the table, any number of each row at once.

    Only who speaks depends on the windows before; all else is the newest, or sums, taken one after the other.
    """
    w = in_order(windows)
    rows, t_ns = w["row"].astype(np.intp), w["t_ns"]
    finite = np.isfinite(w["duration_s"]) & np.isfinite(w["accel_rms"]) & np.isfinite(w["gyro_rms"])
    duration = np.where(finite, np.minimum(np.maximum(w["duration_s"], 0.0), 1.0), 0.0)
    chosen, fresh = _speaking(state, rows, w, duration)
    counted = chosen & fresh & timer.counts(state, rows, t_ns)
    steps = np.where(counted, np.minimum(np.maximum(w["steps"], 0), STEPS_MAX), 0).astype(np.float64)
    interval = w["step_interval_s"]
    stepping = (interval >= INTERVAL_RANGE_S[0]) & (interval <= INTERVAL_RANGE_S[1])
    interval = np.where(stepping, interval, 0.0)
    np.add.at(state["body_steps"], rows, steps)
    np.add.at(state["body_stepping_s"], rows, np.where(counted & stepping, duration, 0.0))
    still = (
        finite & (w["accel_rms"] < STILL_ACCEL) & (w["gyro_rms"] < STILL_GYRO) & (w["steps"] == 0) & ~stepping
    )
    if not chosen.all():
        w, rows, t_ns, steps, duration = (
            w[chosen],
            rows[chosen],
            t_ns[chosen],
            steps[chosen],
            duration[chosen],
        )
        interval, still = interval[chosen], still[chosen]
    np.add.at(state["body_lost_steps"], rows, _lost_steps(state, rows, t_ns, duration, interval))
    # Of several windows of a row the last one's value stays.
    state["body_interval_s"][rows] = interval
    state["body_interval_ns"][rows] = t_ns
    state["still"][rows] = still
    state["still_t_ns"][rows] = t_ns
    return Walk(w, rows, t_ns, steps, _per_minute(interval), still)


def _lost_steps(
    state: Records, rows: timer.Rows, t_ns: timer.Times, duration_s: Floats, interval_s: Floats
) -> Floats:
    """Return the steps that the rhythm makes of counted time before each window that no sample tells of."""
    before_ns = values_before(rows, state["body_interval_ns"][rows], t_ns)
    lost_s = timer.counted_s(state, rows, before_ns, t_ns) - duration_s
    lost_s = np.where((before_ns != 0) & (lost_s > LOST_MIN_S), lost_s, 0.0)
    rhythm = values_before(rows, state["body_interval_s"][rows], interval_s)
    return lost_s * np.maximum(_per_minute(rhythm), _per_minute(interval_s)) / 60.0


def _speaking(state: Records, rows: timer.Rows, w: Records, duration_s: Floats) -> tuple[Mask, Mask]:
    """Return which windows are of the device that speaks, and which do not repeat what another counted."""
    t_ns, device, rank = w["t_ns"], w["device"], w["rank"]
    same = state["body_device"][rows] == device
    if same.all():
        state["body_rank"][rows] = rank
        np.maximum.at(state["body_t_ns"], rows, t_ns)
        return same, same
    chosen, fresh = np.zeros(len(w), dtype=bool), np.zeros(len(w), dtype=bool)
    begins_ns = t_ns - (duration_s * 1e9).astype(np.int64)
    for turn in turns(rows):
        row, now_ns = rows[turn], t_ns[turn]
        before_ns = state["body_t_ns"][row]
        same = state["body_device"][row] == device[turn]
        silent = (before_ns == 0) | (now_ns - before_ns > SILENT_NS)
        better = (rank[turn] < state["body_rank"][row]) & (now_ns > before_ns)
        speaks = same | silent | better
        chosen[turn] = speaks
        # Right after a change of device its window may reach back into what the other one counted.
        fresh[turn] = same | (begins_ns[turn] >= before_ns - OVERLAP_NS)
        mine = row[speaks]
        state["body_device"][mine] = device[turn][speaks]
        state["body_rank"][mine] = rank[turn][speaks]
        state["body_t_ns"][mine] = np.maximum(now_ns, before_ns)[speaks]
    return chosen, fresh


def spm(state: Fields) -> Floats:
    """Return steps per minute of the rows given, (n,); 0 when not stepping."""
    return _per_minute(state["body_interval_s"])


def _per_minute(interval_s: Floats) -> Floats:
    stepping = interval_s > 0.0
    return np.where(stepping, 60.0 / np.where(stepping, interval_s, 1.0), 0.0)
