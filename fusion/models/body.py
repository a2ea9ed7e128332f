"""What the athlete's body does, by the best-placed inertial device: steps, stride rhythm, standing still.

Of several devices on one athlete the one of the best rank speaks, for as long as it does; another takes over
after 5 s of its silence, so that both feet, wrist and hip do not double a step.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.measurements import Records
from fusion.table import Fields

SILENT_NS = 5_000_000_000
OVERLAP_NS = 50_000_000
STILL_ACCEL = 0.3  # m/s^2, root mean square of free acceleration
STILL_GYRO = 0.15  # rad/s
INTERVAL_RANGE_S = (0.2, 2.0)

FIELDS: list[tuple[Any, ...]] = [
    ("body_device", np.int32),  # -1: none
    ("body_rank", np.int32),
    ("body_t_ns", np.int64),  # end of its newest window; 0: never
    ("body_steps", np.float64),  # of this workout
    ("body_interval_s", np.float64),  # between steps; 0 when not stepping
    ("body_interval_ns", np.int64),
    ("body_stepping_s", np.float64),
]
TOTALS = ("body_steps", "body_stepping_s")


def absorb(state: Records, w: Records) -> tuple[Mask, Floats]:
    """Take one round of windows into the table.

    Returns
    -------
    chosen : (n,) bool
        Windows of the device that speaks for the athlete.
    steps : (n,) float64
        Steps that count for the workout, of each window.
    """
    rows = w["row"].astype(np.intp)
    t_ns = w["t_ns"]
    before_ns = state["body_t_ns"][rows]
    same = state["body_device"][rows] == w["device"]
    silent = (before_ns == 0) | (t_ns - before_ns > SILENT_NS)
    better = (w["rank"] < state["body_rank"][rows]) & (t_ns > before_ns)
    chosen = same | silent | better
    finite = np.isfinite(w["duration_s"]) & np.isfinite(w["accel_rms"]) & np.isfinite(w["gyro_rms"])
    duration = np.where(finite, np.clip(w["duration_s"], 0.0, 1.0), 0.0)
    begins_ns = t_ns - (duration * 1e9).astype(np.int64)
    # Right after a change of device its window may reach back into what the other one counted.
    fresh = same | (begins_ns >= before_ns - OVERLAP_NS)
    counted = chosen & fresh & timer.counts(state, rows, t_ns)
    steps = np.where(counted, np.clip(w["steps"], 0, 20), 0).astype(np.float64)
    interval = w["step_interval_s"]
    stepping = (interval >= INTERVAL_RANGE_S[0]) & (interval <= INTERVAL_RANGE_S[1])
    state["body_steps"][rows] += steps
    state["body_stepping_s"][rows] += np.where(counted & stepping, duration, 0.0)
    mine = rows[chosen]
    state["body_device"][mine] = w["device"][chosen]
    state["body_rank"][mine] = w["rank"][chosen]
    state["body_t_ns"][mine] = np.maximum(t_ns, before_ns)[chosen]
    state["body_interval_s"][mine] = np.where(stepping, interval, 0.0)[chosen]
    state["body_interval_ns"][mine] = t_ns[chosen]
    still = (
        finite & (w["accel_rms"] < STILL_ACCEL) & (w["gyro_rms"] < STILL_GYRO) & (w["steps"] == 0) & ~stepping
    )
    state["still"][mine] = still[chosen]
    state["still_t_ns"][mine] = t_ns[chosen]
    return chosen, steps


def spm(state: Fields) -> Floats:
    """Return steps per minute of the rows given, (n,); 0 when not stepping."""
    interval = state["body_interval_s"]
    return np.where(interval > 0.0, 60.0 / np.where(interval > 0.0, interval, 1.0), 0.0)
