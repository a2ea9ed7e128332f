"""Heart rate: rate and slope, driven by white noise on the slope.

    x = [rate bpm, slope bpm/s]        z = rate + v,   v of the source's own sigma

Several sources enter the same filter, each with its own noise. After effort changes heart rate follows with
a time constant of half a minute, at slopes of up to about 1 bpm/s; the density below lets a strap's estimate
follow within 2 s and an optical sensor's within 4 s.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.design import scaled_white_noise
from fusion.kalman import REJECTS_MAX, Floats, Gate, Mask, diagonal, drive, of_rows, shear, symmetric, update
from fusion.measurements import Records, Source

SLOPE_DENSITY = 0.05  # bpm^2/s^3
SLOPE_SIGMA = 0.5  # bpm/s, before anything is known
STRAP_SIGMA_BPM = 1.0
OPTICAL_SIGMA_BPM = 3.0
RANGE_BPM = (25.0, 250.0)
GAP_S = 30.0  # the filter starts anew after a longer silence
MEAN_GAP_S = 60.0  # and nothing is averaged over one longer than this
LATE_NS = 2_000_000_000
RATE = ((0, None),)
OPTICAL = int(Source.OPTICAL)
GATE = Gate(inflate=9.0, reject=100.0)

FIELDS: list[tuple[Any, ...]] = [
    ("hr_x", np.float64, (2,)),
    ("hr_P", np.float64, (2, 2)),
    ("hr_t_ns", np.int64),  # 0: never
    ("hr_source", np.int32),
    ("hr_rejects", np.int32),
    ("hr_nis", np.float64),
    ("hr_area", np.float64),  # bpm s, over the moments that count
    ("hr_time_s", np.float64),
    ("hr_max_bpm", np.float64),
]
TOTALS = ("hr_area", "hr_time_s", "hr_max_bpm")


def predict(x: Floats, P: Floats, dt_s: Floats) -> tuple[Floats, Floats]:
    """Return x (2, n) and P (2, 2, n) after steps of dt_s, (n,); x and P are used up."""
    shear(x, P, 0, 1, dt_s)
    drive(P, 0, 1, scaled_white_noise(dt_s, SLOPE_DENSITY))
    return x, symmetric(P)


def noise(m: Records) -> Floats:
    """Return the variance of each measurement, bpm^2, (n,): as told, else by its source."""
    default = np.where(m["source"] == OPTICAL, OPTICAL_SIGMA_BPM, STRAP_SIGMA_BPM)
    told = m["sigma_bpm"]
    sigma = np.where(np.isfinite(told) & (told > 0.0), told, default)
    sigma = np.minimum(np.maximum(sigma, 0.5), 50.0)
    return sigma * sigma


def absorb(state: Records, m: Records) -> Records:
    """Take one round of heart rates into the table; return those that were used."""
    bpm = m["bpm"]
    sane = (bpm >= RANGE_BPM[0]) & (bpm <= RANGE_BPM[1])  # NaN is neither
    if np.count_nonzero(sane) < len(m):
        m = m[sane]
    rows = m["row"].astype(np.intp)
    before_ns = state["hr_t_ns"][rows]
    in_time = before_ns - m["t_ns"] <= LATE_NS
    if np.count_nonzero(in_time) < len(m):
        state["late"][rows[~in_time]] += 1
        m, rows, before_ns = m[in_time], rows[in_time], before_ns[in_time]
    if not len(m):
        return m
    t_ns = np.maximum(m["t_ns"], before_ns)
    gap_s = (t_ns - before_ns) * 1e-9
    dt_s = np.minimum(gap_s, GAP_S)
    anew = (before_ns == 0) | (gap_s > GAP_S)
    rate_before = state["hr_x"][rows, 0]
    taken = _filter(state, rows, m, dt_s, anew)
    _count(state, rows[taken], before_ns[taken], t_ns[taken], rate_before[taken])
    state["hr_t_ns"][rows[taken]] = t_ns[taken]
    state["hr_source"][rows[taken]] = m["source"][taken]
    return m[taken]


def _filter(state: Records, rows: timer.Rows, m: Records, dt_s: Floats, anew: Mask) -> Mask:
    """Predict, update or start anew; return which rows took their measurement."""
    R = noise(m)
    old_x, old_P = of_rows(state["hr_x"][rows]), of_rows(state["hr_P"][rows])
    x, P = predict(old_x.copy(), old_P.copy(), dt_s)
    x, P, nis, taken = update(x, P, m["bpm"] - x[0], RATE, R, np.ones(len(m), dtype=bool), GATE)
    rejects = np.where(taken, 0, state["hr_rejects"][rows] + 1)
    anew = anew | (rejects >= REJECTS_MAX)
    taken = taken | anew
    state["hr_nis"][rows] = np.where(anew, 1.0, np.minimum(nis, 1e6))
    state["hr_rejects"][rows] = np.where(anew, 0, rejects)
    if np.count_nonzero(anew):
        fresh = np.zeros_like(x)
        fresh[0] = m["bpm"]
        x = np.where(anew, fresh, x)
        P = np.where(anew, diagonal(R, SLOPE_SIGMA**2, n=len(m)), P)
    if np.count_nonzero(taken) < len(taken):
        x, P = np.where(taken, x, old_x), np.where(taken, P, old_P)
    state["hr_x"][rows] = x.T
    state["hr_P"][rows] = P.T
    return taken


def _count(
    state: Records, rows: timer.Rows, before_ns: timer.Times, t_ns: timer.Times, rate_before: Floats
) -> None:
    """Add the filtered rate to the workout's mean and maximum."""
    rate = state["hr_x"][rows, 0]
    counted = timer.counts(state, rows, t_ns)
    span = np.where(counted, timer.counted_s(state, rows, before_ns, t_ns), 0.0)
    span = np.where(span > MEAN_GAP_S, 0.0, span)
    through = before_ns >= state["resume_ns"][rows]
    state["hr_area"][rows] += span * np.where(through, 0.5 * (rate_before + rate), rate)
    state["hr_time_s"][rows] += span
    state["hr_max_bpm"][rows] = np.where(
        counted, np.maximum(state["hr_max_bpm"][rows], rate), state["hr_max_bpm"][rows]
    )
