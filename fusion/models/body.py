"""What the athlete's body does, by the best-placed inertial device: steps, stride rhythm, standing still.

Of several devices on one athlete one speaks (fusion/models/choice.py), so that both feet, wrist and hip do
not double a step: that of the best rank by its placement. One that loses half of its samples ranks behind
the others.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.models import choice
from fusion.models.heart_modes import decay
from fusion.table import Fields

SILENT_NS = choice.SILENT_NS
OVERLAP_NS = 50_000_000
STILL_ACCEL = 0.3  # m/s^2, root mean square of free acceleration
STILL_GYRO = 0.15  # rad/s
INTERVAL_RANGE_S = (0.2, 2.0)
UNREST_S = 1.0
STEPS_MAX = 20  # in one window
LOST_MIN_S = 0.045  # between neighbours; less is their samples' spacing
POOR_RANK = 6.0  # worse is a device of whose time half is lost

FIELDS: list[tuple[Any, ...]] = [
    ("body_t_ns", np.int64),  # end of its newest window; 0: never
    ("body_steps", np.float64),  # of this workout
    ("body_interval_s", np.float64),  # between steps; 0 when not stepping
    ("body_interval_ns", np.int64),
    ("body_unrest", np.float64),  # (1/min)^2, by how much the rhythm changed within about UNREST_S
    ("body_stepping_s", np.float64),
    ("body_lost_steps", np.float64),  # that the rhythm would have made while samples were lost
]
TOTALS = ("body_steps", "body_stepping_s", "body_lost_steps")


class Walk(NamedTuple):
    """What a window says, where it is of the device that speaks for its athlete."""

    chosen: Mask
    steps: Floats  # that count for the workout
    spm: Floats  # 0 when not stepping
    still: Mask  # the device lies still


def absorb(s: Fields, w: Fields) -> Walk:
    """Take in a window of each row."""
    t_ns = w["t_ns"]
    finite = np.isfinite(w["duration_s"]) & np.isfinite(w["accel_rms"]) & np.isfinite(w["gyro_rms"])
    duration = np.where(finite, np.minimum(np.maximum(w["duration_s"], 0.0), 1.0), 0.0)
    chosen, fresh = _speaking(s, w, duration)
    counted = chosen & fresh & timer.counts(s, t_ns)
    steps = np.where(counted, np.minimum(np.maximum(w["steps"], 0), STEPS_MAX), 0).astype(np.float64)
    interval = w["step_interval_s"]
    stepping = (interval >= INTERVAL_RANGE_S[0]) & (interval <= INTERVAL_RANGE_S[1])
    interval = np.where(stepping, interval, 0.0)
    still = (
        finite & (w["accel_rms"] < STILL_ACCEL) & (w["gyro_rms"] < STILL_GYRO) & (w["steps"] == 0) & ~stepping
    )
    s["body_steps"] = s["body_steps"] + steps
    s["body_stepping_s"] = s["body_stepping_s"] + np.where(counted & stepping, duration, 0.0)
    lost = _lost_steps(s, t_ns, duration, interval)
    s["body_lost_steps"] = s["body_lost_steps"] + np.where(chosen, lost, 0.0)
    unrest = _unrest(s, t_ns, interval)
    newest = {
        "body_unrest": unrest,
        "body_interval_s": interval,
        "body_interval_ns": t_ns,
        "still": still,
        "still_t_ns": t_ns,
    }
    for name, value in newest.items():
        s[name] = np.where(chosen, value, s[name])
    return Walk(chosen, steps, _per_minute(interval), still)


def _unrest(s: Fields, t_ns: timer.Times, interval_s: Floats) -> Floats:
    """Return how much the rhythm has changed of late, (1/min)^2, (n,); to begin and to stop is no change."""
    before, now = spm(s), _per_minute(interval_s)
    moved = np.where((before > 0.0) & (now > 0.0), now - before, 0.0)
    dt_s = np.minimum(np.maximum(t_ns - s["body_interval_ns"], 0) * 1e-9, 60.0)
    unrest: Floats = s["body_unrest"] * decay(dt_s * (1.0 / UNREST_S)) + moved * moved
    return unrest


def _lost_steps(s: Fields, t_ns: timer.Times, duration_s: Floats, interval_s: Floats) -> Floats:
    """Return the steps that the rhythm makes of counted time before each window that no sample tells of."""
    before_ns = s["body_interval_ns"]
    lost_s = timer.counted_s(s, before_ns, t_ns) - duration_s
    lost_s = np.where((before_ns != 0) & (lost_s > LOST_MIN_S), lost_s, 0.0)
    return lost_s * np.maximum(spm(s), _per_minute(interval_s)) / 60.0


def _speaking(s: Fields, w: Fields, duration_s: Floats) -> tuple[Mask, Mask]:
    """Return which windows are of the device that speaks, and which do not repeat what another counted."""
    now_ns, before_ns, device = w["t_ns"], s["body_t_ns"], w["device"]
    same = s["body_device"] == device
    since_s = choice.since_own_ns(s, "body", device, now_ns) * 1e-9
    rank = w["rank"] + np.where(since_s > 2.0 * duration_s, POOR_RANK, 0.0)
    speaks = choice.speaks(s, "body", device, now_ns, rank, s["body_rank"] - 1.0)
    # Right after a change of device its window may reach back into what the other one counted.
    begins_ns = now_ns - (duration_s * 1e9).astype(np.int64)
    fresh = same | (begins_ns >= before_ns - OVERLAP_NS)
    s["body_t_ns"] = np.where(speaks, np.maximum(now_ns, before_ns), before_ns)
    return speaks, fresh


def spm(state: Fields) -> Floats:
    """Return steps per minute of the rows given, (n,); 0 when not stepping."""
    return _per_minute(state["body_interval_s"])


def _per_minute(interval_s: Floats) -> Floats:
    stepping = interval_s > 0.0
    return np.where(stepping, 60.0 / np.where(stepping, interval_s, 1.0), 0.0)
