"""Heart rate: rate and slope, driven by white noise on the slope.

    x = [rate bpm, slope bpm/s]        z = rate + v,   v of the source's own sigma

Several sources enter the same filter, each with its own noise. When effort sets in or ends the rate's slope
goes to 1 to 2 bpm/s and back within twenty seconds: that is the density below.

A source tells a mean over beats that are past. So it is late, which the slope makes an error of, and the
errors of neighbouring readings go together, so that the filter averages away less of them than it believes.
Both widen its sigma; the rate is not moved by them, since lags differ between makers.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.design import scaled_white_noise
from fusion.kalman import REJECTS_MAX, Floats, Gate, Mask, drive, shear, symmetric, update, with_diagonal
from fusion.measurements import Source
from fusion.table import Fields

SLOPE_DENSITY = 0.1  # bpm^2/s^3
SLOPE_SIGMA = 0.5  # bpm/s, before anything is known
STRAP_SIGMA_BPM = 1.0
OPTICAL_SIGMA_BPM = 3.0
STRAP_LAG_S = 2.0  # a mean of about five beats
OPTICAL_LAG_S = 5.0  # a window of light of about ten seconds
SLOPE_MAX = 3.0  # bpm/s: a reading that jumps more is no heart that changes
LASTING_SHARE = 0.5  # of a source's sigma, that does not change from reading to reading
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
    ("hr_sigma_area", np.float64),  # bpm s, of the sigma without the lag
    ("hr_max_bpm", np.float64),
    ("hr_max_sigma_bpm", np.float64),  # at that moment
]
TOTALS = ("hr_area", "hr_time_s", "hr_sigma_area", "hr_max_bpm", "hr_max_sigma_bpm")


def predict(x: Floats, P: Floats, dt_s: Floats) -> tuple[Floats, Floats]:
    """Return x (2, n) and P (2, 2, n) after steps of dt_s, (n,); x and P are used up."""
    shear(x, P, 0, 1, dt_s)
    drive(P, 0, 1, scaled_white_noise(dt_s, SLOPE_DENSITY))
    return x, symmetric(P)


def noise(m: Fields) -> Floats:
    """Return the variance of each measurement, bpm^2, (n,): as told, else by its source."""
    default = np.where(m["source"] == OPTICAL, OPTICAL_SIGMA_BPM, STRAP_SIGMA_BPM)
    told = m["sigma_bpm"]
    sigma = np.where(np.isfinite(told) & (told > 0.0), told, default)
    sigma = np.minimum(np.maximum(sigma, 0.5), 50.0)
    return sigma * sigma


def steady_variance(P: Floats, source: Any) -> Floats:
    """Return the variance of a rate that does not change, of covariances (2, 2, n), bpm^2, (n,)."""
    lasting = LASTING_SHARE * np.where(source == OPTICAL, OPTICAL_SIGMA_BPM, STRAP_SIGMA_BPM)
    variance: Floats = P[0, 0] + lasting * lasting
    return variance


def variance(x: Floats, P: Floats, source: Any) -> Floats:
    """Return the variance of the rate, which the source tells late, bpm^2, (n,)."""
    late = np.where(source == OPTICAL, OPTICAL_LAG_S, STRAP_LAG_S) * np.minimum(np.abs(x[1]), SLOPE_MAX)
    total: Floats = steady_variance(P, source) + late * late
    return total


def absorb(s: Fields, m: Fields) -> Mask:
    """Take in a heart rate of each row; return which were used."""
    bpm, before_ns = m["bpm"], s["hr_t_ns"]
    sane = (bpm >= RANGE_BPM[0]) & (bpm <= RANGE_BPM[1])  # NaN is neither
    in_time = before_ns - m["t_ns"] <= LATE_NS
    s["late"] = s["late"] + (sane & ~in_time)
    t_ns = np.maximum(m["t_ns"], before_ns)
    gap_s = (t_ns - before_ns) * 1e-9
    anew = (before_ns == 0) | (gap_s > GAP_S)
    rate_before = s["hr_x"][0]
    taken = _filter(s, m, np.minimum(gap_s, GAP_S), anew, sane & in_time)
    s["hr_source"] = np.where(taken, m["source"], s["hr_source"])
    _count(s, t_ns, rate_before, taken)
    s["hr_t_ns"] = np.where(taken, t_ns, before_ns)
    return taken


def _filter(s: Fields, m: Fields, dt_s: Floats, anew: Mask, use: Mask) -> Mask:
    """Predict, update or start anew where ``use``; return which rows took their measurement."""
    R = noise(m)
    old_x, old_P = s["hr_x"], s["hr_P"]
    x, P = predict(old_x.copy(), old_P.copy(), dt_s)
    x, P, nis, taken = update(x, P, m["bpm"] - x[0], RATE, R, use, GATE)
    rejects = np.where(taken, 0, s["hr_rejects"] + 1)
    anew = use & (anew | (rejects >= REJECTS_MAX))
    taken = taken | anew
    s["hr_nis"] = np.where(use, np.where(anew, 1.0, np.minimum(nis, 1e6)), s["hr_nis"])
    s["hr_rejects"] = np.where(use, np.where(anew, 0, rejects), s["hr_rejects"])
    fresh = np.zeros_like(x)
    fresh[0] = m["bpm"]
    x = np.where(anew, fresh, x)
    P = np.where(anew, with_diagonal(P, R, SLOPE_SIGMA**2), P)
    s["hr_x"], s["hr_P"] = np.where(taken, x, old_x), np.where(taken, P, old_P)
    return taken


def _count(s: Fields, t_ns: timer.Times, rate_before: Floats, use: Mask) -> None:
    """Add the filtered rate and its sigma to the workout's mean and maximum, where ``use``."""
    x, P, source, before_ns = s["hr_x"], s["hr_P"], s["hr_source"], s["hr_t_ns"]
    rate = x[0]
    counted = use & timer.counts(s, t_ns)
    span = np.where(counted, timer.counted_s(s, before_ns, t_ns), 0.0)
    span = np.where(span > MEAN_GAP_S, 0.0, span)
    through = before_ns >= s["resume_ns"]
    s["hr_area"] = s["hr_area"] + span * np.where(through, 0.5 * (rate_before + rate), rate)
    s["hr_time_s"] = s["hr_time_s"] + span
    # The lags of a rise and of a fall cancel in a mean.
    s["hr_sigma_area"] = s["hr_sigma_area"] + span * np.sqrt(steady_variance(P, source))
    top = counted & (rate > s["hr_max_bpm"])
    s["hr_max_bpm"] = np.where(top, rate, s["hr_max_bpm"])
    s["hr_max_sigma_bpm"] = np.where(top, np.sqrt(variance(x, P, source)), s["hr_max_sigma_bpm"])
