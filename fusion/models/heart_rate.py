"""Heart rate from several sources: a strap, light on the wrist, beats.

Readings of all sources enter one IMM (fusion/models/heart_modes.py). Each source has

* a noise, as told, times a factor that follows its own innovations (Mehra 1970, doi
10.1109/TAC.1970.1099422):
  contact, skin and firmware differ between persons, and no data sheet tells them;
* light also a bias, Gauss-Markov, learnt while a strap speaks beside it. Alone it cannot be seen, and its
  variance is part of the rate's;
* a lag: it tells a mean over beats that are past. Where the lag is known (beats) the reading counts
  as of then, and the modes carry it on. Where it is not, as makers differ, the rate is not moved by it: the
  slope makes an error of it, which widens sigma.

A reading beyond the gate counts less, then not at all; after five of these in a row the filter starts anew.
Light that follows the cadence (fusion/models/cadence_lock.py) teaches nothing. While nothing is learnt the
modes are carried on, and sigma grows.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion import timer
from fusion.kalman import REJECTS_MAX, Floats, Gate, Mask, gated
from fusion.measurements import Source
from fusion.models import cadence_lock, effort, heart_modes
from fusion.table import Fields

STRAP_SIGMA_BPM = 1.0
OPTICAL_SIGMA_BPM = 3.0
STRAP_LAG_S = 3.0  # a mean of five beats or of five seconds, and what comes late
OPTICAL_LAG_S = 8.0  # a window of light of about ten seconds, and what the filter adds to it
KNOWN_LAG_S = 1.0  # what is left of one that is told
TREND_S = 5.0  # in which the slope of the filtered rate is learnt
FILTER_LAG_S = 1.0  # by which modes trail a slope that they do not hold: (1 - K) / K readings, K about half
TREND_NOISE = 0.3  # bpm/s: what the variation of recorded hearts that are steady makes of it, one sigma
SLOPE_MAX = 3.0  # bpm/s: a reading that jumps more is no heart that changes
LASTING_SHARE = 0.3  # of the variance of a reading, that neighbouring readings have in common, and
STRAP_LASTING_BPM = 0.7  # of a strap's error, that does not change through a workout
UNREST_S = 4.0  # in which is learnt how the rate moves, and what of it the filter does not follow
UNFOLLOWED_SHARE = 1.1  # of what it does not follow, and
BUSTLE_SHARE = 0.3  # of how it moves within the lag: a strap's variance, beside the modes' and the slope's;
CALM = 0.35  # bpm^2/s: the calmest heart moves by so much, and
WANDER = 0.85  # bpm^2/s: hearts go astray by so much while nothing is heard, but for the first
SPELL_S = 4.0  # in which they do what they do from reading to reading
RAMP_S = 28.0  # a rise or fall goes on so long where nothing is heard (heart_modes.TAU_S), and
GOES_ON = 0.5  # may be off by such a share of its way
EVERY_READINGS = 5.0  # in which is learnt how often a strap tells
BACK_S = 5.0  # what beats' own variation made of the slope is gone by so many seconds of it,
BACK_TIME_S = 4.0  # in this time
TRAILING = 8.0  # what is not followed of a steady rise, over that from reading to reading, squared
OWN_BPM2 = 2.0  # what is not followed beyond that is as likely beats' own variation as not
BIAS_SIGMA_BPM = 2.0  # of light
BIAS_TIME_S = 300.0
NOISE_TIME_S = 8.0  # in which a source's noise is learnt
NOISE_MIN = 0.03  # the factor: sensors smooth, and what neighbours have in common is no noise
NOISE_MAX = 9.0
NIS_WINDOW = 15.0  # readings
NIS_HIGH = 1.6  # the upper end of what chance makes of it (95 %), were readings white; more widens sigma
OFF_MEMORY = 480  # readings in which is learnt how their innovations squared stray, and
OFF_PRIOR = 60  # for how many chi-square counts
LAG_MAX_S = 20.0
RANGE_BPM = (25.0, 250.0)
GAP_S = 60.0  # the filter starts anew after a longer silence
MEAN_GAP_S = 60.0  # and nothing is averaged over one longer than this
STRAP_NS = 10_000_000_000  # a strap that spoke in this time is what light is held to
LATE_NS = 2_000_000_000
OPTICAL, MODEL = int(Source.OPTICAL), int(Source.MODEL)
GATE = Gate(inflate=9.0, reject=100.0)

FIELDS: list[tuple[Any, ...]] = [
    ("hr_modes", np.float64, (3, 5)),
    ("hr_shares", np.float64, (3,)),  # probability of each mode
    ("hr_x", np.float64, (2,)),  # of all modes together
    ("hr_P", np.float64, (2, 2)),
    ("hr_state_ns", np.int64),  # which they are of; 0: never
    ("hr_trend", np.float64),  # slope of the filtered rate, bpm/s,
    ("hr_bustle", np.float64),  # and the square of what it moved from reading to reading, of late, bpm^2/s
    ("hr_innovation", np.float64),  # of the newest reading of a strap, bpm, and
    ("hr_unfollowed", np.float64),  # the mean product of each with the one before, bpm^2, of late
    ("hr_every_s", np.float64),  # between readings of a strap, of late
    ("hr_effort", np.float64),  # that the heart had followed then, ml/kg/min
    ("hr_t_ns", np.int64),  # of the newest reading that was believed; 0: never
    ("hr_strap_ns", np.int64),  # of the newest of a strap
    ("hr_light_ns", np.int64),  # of the newest of light, believed or not
    ("hr_source", np.int32),
    ("hr_of_strap", np.int32),  # 1: a strap spoke last; light that was not believed does not speak
    ("hr_device", np.int32),  # that told the newest reading that was believed, a strap's before light's
    ("hr_lag_s", np.float64),  # that is not known, of the newest source
    ("hr_noise", np.float64, (2,)),  # factor of the variance, of strap and light
    ("hr_R", np.float64),  # variance of the newest reading, bpm^2
    ("hr_bias", np.float64, (2,)),  # of light, bpm, and its variance
    ("hr_rejects", np.int32),
    ("hr_nis", np.float64),  # mean over a window
    ("hr_off", np.float64, (3,)),  # as fit_*_off (fusion/models/consistency.py), and for how many readings:
    ("hr_off_count", np.int32),
    ("hr_area", np.float64),  # bpm s, over the moments that count
    ("hr_time_s", np.float64),
    ("hr_sigma_area", np.float64),  # bpm s, of the sigma without the lag
    ("hr_max_bpm", np.float64),
    ("hr_max_sigma_bpm", np.float64),  # at that moment
    *cadence_lock.FIELDS,
]
TOTALS = ("hr_area", "hr_time_s", "hr_sigma_area", "hr_max_bpm", "hr_max_sigma_bpm")


class Reading(NamedTuple):
    """A reading of each row, and when it comes."""

    bpm: Floats
    optical: Mask
    t_ns: timer.Times
    at_ns: timer.Times  # what it tells of: earlier by its lag, where that is known
    dt_s: Floats  # since the state
    use: Mask
    anew: Mask  # nothing is known of the heart now
    beside: Mask  # a strap speaks


class Carried(NamedTuple):
    """The rate at a moment, (n,) each."""

    rate: Floats
    slope: Floats
    variance: Floats  # of the filter alone
    astray: Floats  # by what a heart that is not heard goes astray, bpm^2


def told_sigma(m: Fields) -> Floats:
    """Return the sigma of each measurement, bpm, (n,): as told, else by its source."""
    default = np.where(m["source"] == OPTICAL, OPTICAL_SIGMA_BPM, STRAP_SIGMA_BPM)
    told = m["sigma_bpm"]
    sigma = np.where(np.isfinite(told) & (told > 0.0), told, default)
    return np.minimum(np.maximum(sigma, 0.3), 50.0)


def carried(s: Fields, t_ns: timer.Times) -> Carried:
    """Return the rate at t_ns, (n,), as the modes go on by themselves, and by what they trail their trend."""
    dt_s = np.minimum(np.maximum(t_ns - s["hr_state_ns"], 0) * 1e-9, GAP_S)
    push = _push(s, t_ns)
    modes, shares = heart_modes.predict(s["hr_modes"], s["hr_shares"], _belief(s), dt_s, push)
    belief = heart_modes.combined(modes, shares)
    slope = np.minimum(np.maximum(s["hr_trend"], -SLOPE_MAX), SLOPE_MAX)
    missing = slope - s["hr_x"][1]
    sure = missing * missing / (missing * missing + TREND_NOISE**2)
    rate = belief.rate + FILTER_LAG_S * sure * missing - _back(s, slope, t_ns)
    return Carried(rate, slope, belief.p00, _astray(s, belief.p00 - push[1], slope, t_ns) + push[1])


def _astray(s: Fields, p00: Floats, slope: Floats, t_ns: timer.Times) -> Floats:
    """Return by what a heart goes astray whose strap is silent, bpm^2, (n,).

    The modes know how unsure their slope is: what that makes of the rate grows with time. Recorded hearts go
    astray sooner, like a random walk. A slope that is more than beats' variation makes the rate go on, nobody
    knows how far.
    """
    silent_s = np.minimum(np.maximum(t_ns - s["hr_strap_ns"], 0) * 1e-9, GAP_S)
    grown = np.maximum(p00 - s["hr_P"][0, 0], WANDER * silent_s)
    real = slope * slope / (slope * slope + TREND_NOISE**2)
    way_s = RAMP_S * (1.0 - heart_modes.decay(silent_s * (1.0 / RAMP_S)))
    way = GOES_ON * real * slope * way_s
    total: Floats = grown * silent_s / (silent_s + SPELL_S) + way * way
    return total


def _back(s: Fields, slope: Floats, t_ns: timer.Times) -> Floats:
    """Return by how much a rate goes back in a silence, bpm, (n,).

    Beats vary alike for some seconds: a slope that they make does not last, and what it did is undone. The
    filter trails them, as it trails a heart that rises, but by more than the slope explains.
    """
    silent_s = np.maximum(t_ns - s["hr_t_ns"], 0) * 1e-9
    trailing = slope * np.maximum(s["hr_every_s"], 1.0)
    own = np.maximum(s["hr_unfollowed"] - TRAILING * trailing * trailing, 0.0)
    own = own * own
    strap = s["hr_of_strap"] != 0
    gone = 1.0 - heart_modes.decay(silent_s * (1.0 / BACK_TIME_S))
    return np.where(strap, BACK_S * own / (own + OWN_BPM2**2) * slope * gone, 0.0)


def steady_variance(s: Fields, p00: Floats) -> Floats:
    """Return the variance of a rate that does not change, bpm^2, (n,), with what lasts through a workout."""
    light = s["hr_of_strap"] == 0
    alone = s["hr_light_ns"] - s["hr_strap_ns"] > STRAP_NS
    lasting = np.where(light & alone, s["hr_bias"][1], STRAP_LASTING_BPM**2) + LASTING_SHARE * s["hr_R"]
    total: Floats = (p00 + lasting) * _worse(s)
    return total


def variance(s: Fields, now: Carried) -> Floats:
    """Return the variance of the rate at a moment, whose source tells it late, bpm^2, (n,)."""
    strap = s["hr_of_strap"] != 0
    lag_s, bustle = s["hr_lag_s"], s["hr_bustle"]
    # A lag that is not known is evenly spread from none on.
    steep = np.minimum(np.abs(now.slope), SLOPE_MAX)
    late = (lag_s * steep) ** 2 * (1.0 / 3.0)
    unrest = UNFOLLOWED_SHARE * np.maximum(s["hr_unfollowed"], 0.0) + BUSTLE_SHARE * lag_s * (bustle + CALM)
    beats = s["hr_P"][0, 0] * _worse(s) + unrest + now.astray
    # Light has smoothed its beats' variation away.
    light = steady_variance(s, now.variance) + FILTER_LAG_S * bustle
    total: Floats = late + np.where(strap, beats, light)
    return total


def _worse(s: Fields) -> Floats:
    """Return by what factor readings fit worse than chance makes of it, (n,)."""
    return np.maximum(s["hr_nis"] * (1.0 / NIS_HIGH), 1.0)


def absorb(s: Fields, m: Fields) -> Mask:
    """Take in a heart rate of each row; return which were used."""
    bpm, state_ns, heard_ns = m["bpm"], s["hr_state_ns"], s["hr_t_ns"]
    sane = (bpm >= RANGE_BPM[0]) & (bpm <= RANGE_BPM[1])  # NaN is neither
    in_time = state_ns - m["t_ns"] <= LATE_NS
    s["late"] = s["late"] + (sane & ~in_time)
    t_ns = np.maximum(m["t_ns"], state_ns)
    known = np.isfinite(m["lag_s"])
    lag_s = np.where(known, np.minimum(np.maximum(m["lag_s"], 0.0), LAG_MAX_S), 0.0)
    at_ns = np.maximum(t_ns - (lag_s * 1e9).astype(np.int64), state_ns)
    dt_s = np.minimum((at_ns - state_ns) * 1e-9, GAP_S)
    first = heard_ns == 0
    anew = first | ((t_ns - heard_ns) * 1e-9 > GAP_S)
    beside = (s["hr_strap_ns"] != 0) & (t_ns - s["hr_strap_ns"] <= STRAP_NS)
    reading = Reading(bpm, m["source"] == OPTICAL, t_ns, at_ns, dt_s, sane & in_time, anew, beside)
    rate_before = s["hr_x"][0]
    _forget(s, reading, first)
    taken = _filter(s, m, reading)
    _follow(s, reading, rate_before)
    # Light beside a strap teaches, but the strap speaks.
    speaks = taken & ~(reading.optical & beside)
    source = np.where(speaks, m["source"], s["hr_source"])
    s["hr_device"] = np.where(speaks, m["device"], s["hr_device"])
    s["hr_source"] = np.where(reading.use & (s["lock_on"] != 0) & ~beside & ~taken, MODEL, source)
    s["hr_of_strap"] = np.where(speaks, ~reading.optical, s["hr_of_strap"])
    s["hr_strap_ns"] = np.where(taken & ~reading.optical, t_ns, s["hr_strap_ns"])
    s["hr_light_ns"] = np.where(reading.use & reading.optical, t_ns, s["hr_light_ns"])
    unknown = np.where(reading.optical, OPTICAL_LAG_S, STRAP_LAG_S)
    s["hr_lag_s"] = np.where(speaks, np.where(known, KNOWN_LAG_S, unknown), s["hr_lag_s"])
    effort.learn(s, at_ns, s["hr_x"][0], dt_s, taken & ~anew)
    _count(s, t_ns, rate_before, taken)
    s["hr_t_ns"] = np.where(taken, t_ns, heard_ns)
    s["hr_state_ns"] = np.where(reading.use, at_ns, state_ns)
    s["hr_effort"] = np.where(reading.use, effort.followed(s, at_ns), s["hr_effort"])
    return taken


def _forget(s: Fields, r: Reading, first: Mask) -> None:
    """Let noise and bias begin, and the bias go back to what is known of light at large."""
    begin = r.use & first
    noise, bias = s["hr_noise"], s["hr_bias"]
    new_noise, new_bias = np.zeros_like(noise), np.zeros_like(bias)
    keep = heart_modes.decay(np.where(r.use, r.dt_s, 0.0) * (1.0 / BIAS_TIME_S))
    back = BIAS_SIGMA_BPM**2 * (1.0 - keep * keep)
    new_bias[0] = np.where(begin, 0.0, keep * bias[0])
    new_bias[1] = np.where(begin, BIAS_SIGMA_BPM**2, keep * keep * bias[1] + back)
    new_noise[0], new_noise[1] = np.where(begin, 1.0, noise[0]), np.where(begin, 1.0, noise[1])
    s["hr_noise"], s["hr_bias"] = new_noise, new_bias
    s["hr_nis"] = np.where(begin, 1.0, s["hr_nis"])
    new_off = np.zeros_like(s["hr_off"])
    new_off[0], new_off[1], new_off[2] = 0.0, 2.0, 0.0  # of chi-square
    s["hr_off"] = np.where(begin, new_off, s["hr_off"])


def _filter(s: Fields, m: Fields, r: Reading) -> Mask:
    """Predict, update or start anew; return which rows took their reading."""
    old, old_shares = s["hr_modes"], s["hr_shares"]
    push = _push(s, r.at_ns)
    s["lock_anchor_bpm"] = s["lock_anchor_bpm"] + np.where(r.use & ~r.anew, push[0], 0.0)
    modes, shares = heart_modes.predict(old, old_shares, _belief(s), r.dt_s, push)
    expected = heart_modes.combined(modes, shares).rate
    sigma = told_sigma(m)
    R = sigma * sigma
    noisy = R * np.where(r.optical, s["hr_noise"][1], s["hr_noise"][0])
    z = r.bpm - np.where(r.optical, s["hr_bias"][0], 0.0)
    nis, S = heart_modes.innovation(modes, shares, z, noisy)
    was_on = s["lock_on"] != 0
    lock = _judged(s, r, expected)
    free = r.use & ~lock.suspect
    extra, plausible = gated(nis, S, GATE)
    learnt, learnt_shares = heart_modes.update(modes, shares, z, noisy, extra)
    taken = free & plausible & (learnt_shares[heart_modes.LOST] < 0.5)
    rejects = np.where(taken, 0, s["hr_rejects"] + 1)
    rejects = np.where(free, rejects, s["hr_rejects"])
    # Light does not overrule a strap that speaks.
    anew = free & (r.anew | (rejects >= REJECTS_MAX) & ~(r.optical & r.beside))
    taken = taken | anew
    s["hr_R"] = np.where(taken, noisy, s["hr_R"])
    s["hr_rejects"] = np.where(anew, 0, rejects)
    s["hr_unfollowed"] = np.where(anew, 0.0, s["hr_unfollowed"])
    s["hr_every_s"] = np.where(anew, 1.0, s["hr_every_s"])
    s["hr_innovation"] = np.where(anew, 0.0, s["hr_innovation"])
    _learn(s, r, nis, (expected, S, noisy), taken & ~anew)
    # A lock that crept in has taken the filter with it: back to where the heart was.
    back = lock.on & ~was_on & ~r.beside
    anchor = s["lock_anchor_bpm"]
    back = back & (np.abs(anchor - expected) > 0.5 * cadence_lock.AWAY_BPM)
    again = heart_modes.fresh(modes, np.where(back, anchor, z), np.where(back, cadence_lock.AWAY_BPM**2, R))
    modes, shares = (
        np.where(free & plausible, learnt, modes),
        np.where(free & plausible, learnt_shares, shares),
    )
    modes = np.where(anew | back, again, modes)
    shares = np.where(anew | back, heart_modes.prior(shares), shares)
    s["hr_modes"], s["hr_shares"] = np.where(r.use, modes, old), np.where(r.use, shares, old_shares)
    _combine(s, r.use)
    cadence_lock.anchor(s, s["hr_x"][0], r.dt_s, r.anew, r.use)
    used: Mask = taken
    return used


def _judged(s: Fields, r: Reading, expected: Floats) -> cadence_lock.Lock:
    """Judge light for cadence lock, against the strap or what the heart was."""
    since_s = np.minimum((r.t_ns - s["hr_light_ns"]) * 1e-9, GAP_S)
    reference = np.where(r.beside, expected, s["lock_anchor_bpm"])
    known = r.use & r.optical & (~r.anew | (s["lock_on"] != 0))
    return cadence_lock.judge(s, r.bpm, r.t_ns, since_s, reference, known)


def _learn(s: Fields, r: Reading, nis: Floats, expected: tuple[Floats, Floats, Floats], use: Mask) -> None:
    """Learn the noise of a source, the bias of light, and how well all of it fits."""
    rate, S, _R = expected
    bounded = np.minimum(nis, GATE.inflate)
    s["hr_nis"] = np.where(use, s["hr_nis"] + (bounded - s["hr_nis"]) * (1.0 / NIS_WINDOW), s["hr_nis"])
    _spread(s, bounded - 1.0, use)
    _unfollow(s, r, (rate, S), use & ~r.optical)
    noise, bias = s["hr_noise"], s["hr_bias"]
    new_noise, new_bias = np.zeros_like(noise), np.zeros_like(bias)
    # What a ramp is wrong by is no noise of the sensor's.
    share = np.minimum(r.dt_s, 2.0) * (1.0 / NOISE_TIME_S) * s["hr_shares"][heart_modes.STEADY]
    for k, own in ((0, ~r.optical), (1, r.optical)):
        factor = noise[k] * (1.0 + share * (bounded - 1.0))
        factor = np.minimum(np.maximum(factor, NOISE_MIN), NOISE_MAX)
        new_noise[k] = np.where(use & own, factor, noise[k])
    beside = use & r.optical & r.beside
    K = bias[1] / (S + bias[1])
    new_bias[0] = np.where(beside, bias[0] + K * (r.bpm - rate - bias[0]), bias[0])
    new_bias[1] = np.where(beside, (1.0 - K) * bias[1], bias[1])
    s["hr_noise"], s["hr_bias"] = new_noise, new_bias


def _unfollow(s: Fields, r: Reading, expected: tuple[Floats, Floats], strap: Mask) -> None:
    """Learn what the filter does not follow of a strap, by its own clock: light that tells beside it is none.

    A reading's neighbour is the one before, as far as it is from there to the next as a rule.
    """
    rate, S = expected
    beyond = np.sqrt(GATE.inflate * S)
    y = np.minimum(np.maximum(r.bpm - rate, -beyond), beyond)
    every_s = s["hr_every_s"]
    since_s = np.minimum((r.t_ns - s["hr_strap_ns"]) * 1e-9, GAP_S)
    near = np.where(since_s <= np.maximum(UNREST_S, 3.0 * every_s), s["hr_innovation"], 0.0)
    unfollowed = s["hr_unfollowed"]
    unfollowed = unfollowed + (y * near - unfollowed) * since_s / (UNREST_S + since_s)
    s["hr_unfollowed"] = np.where(strap, unfollowed, s["hr_unfollowed"])
    s["hr_innovation"] = np.where(strap, y, s["hr_innovation"])
    usual_s = np.minimum(since_s, UNREST_S * np.maximum(every_s, 1.0))  # one gap is no new habit
    s["hr_every_s"] = np.where(strap, every_s + (usual_s - every_s) * (1.0 / EVERY_READINGS), every_s)


def _spread(s: Fields, off: Floats, use: Mask) -> None:
    """Learn how far innovations squared stray, and how alike neighbours are: the bounds of their mean."""
    before, count = s["hr_off"], np.minimum(s["hr_off_count"] + 1, OFF_MEMORY)
    new = np.zeros_like(before)
    share = 1.0 / (count + OFF_PRIOR)
    new[0] = off
    new[1] = before[1] + (off * off - before[1]) * share
    new[2] = before[2] + (off * before[0] - before[2]) * share
    s["hr_off"] = np.where(use, new, before)
    s["hr_off_count"] = np.where(use, count, s["hr_off_count"])


def _follow(s: Fields, r: Reading, rate_before: Floats) -> None:
    """Learn the slope of the filtered rate, which the modes forget; a jump of it has none."""
    moved = s["hr_x"][0] - rate_before
    trend = s["hr_trend"] + (moved - s["hr_trend"] * r.dt_s) / (TREND_S + r.dt_s)
    jumped = r.anew | (np.abs(moved) > SLOPE_MAX * (1.0 + r.dt_s))
    s["hr_trend"] = np.where(r.use, np.where(jumped, 0.0, trend), s["hr_trend"])
    bustle = s["hr_bustle"] + (moved * moved - s["hr_bustle"] * r.dt_s) / (UNREST_S + r.dt_s)
    s["hr_bustle"] = np.where(r.use, np.where(jumped, 0.0, bustle), s["hr_bustle"])


def _push(s: Fields, t_ns: timer.Times) -> tuple[Floats, Floats]:
    """Return what the effort since the state adds to the rate at t_ns, bpm, and its variance, (n,) each."""
    change = effort.gain(s, t_ns) * (effort.followed(s, t_ns) - s["hr_effort"])
    unsure = effort.GAIN_SHARE * change
    return change, unsure * unsure


def _belief(s: Fields) -> heart_modes.Belief:
    """Return what all modes together were after the newest reading."""
    x, P = s["hr_x"], s["hr_P"]
    return heart_modes.Belief(x[0], x[1], P[0, 0], P[0, 1], P[1, 1])


def _combine(s: Fields, use: Mask) -> None:
    """Set the mean and covariance of all modes together."""
    x, P = s["hr_x"], s["hr_P"]
    b = heart_modes.combined(s["hr_modes"], s["hr_shares"])
    new_x, new_P = np.zeros_like(x), np.zeros_like(P)
    new_x[0], new_x[1] = b.rate, b.slope
    new_P[0, 0], new_P[0, 1], new_P[1, 0], new_P[1, 1] = b.p00, b.p01, b.p01, b.p11
    s["hr_x"], s["hr_P"] = np.where(use, new_x, x), np.where(use, new_P, P)


def _count(s: Fields, t_ns: timer.Times, rate_before: Floats, use: Mask) -> None:
    """Add the filtered rate and its sigma to the workout's mean and maximum, where ``use``."""
    p00, before_ns = s["hr_P"][0, 0], s["hr_t_ns"]
    rate = s["hr_x"][0]
    now = Carried(rate, s["hr_trend"], p00, 0.0 * p00)
    counted = use & timer.counts(s, t_ns)
    span = np.where(counted, timer.counted_s(s, before_ns, t_ns), 0.0)
    span = np.where(span > MEAN_GAP_S, 0.0, span)
    through = before_ns >= s["resume_ns"]
    s["hr_area"] = s["hr_area"] + span * np.where(through, 0.5 * (rate_before + rate), rate)
    s["hr_time_s"] = s["hr_time_s"] + span
    # The lags of a rise and of a fall cancel in a mean.
    s["hr_sigma_area"] = s["hr_sigma_area"] + span * np.sqrt(steady_variance(s, p00))
    top = counted & (rate > s["hr_max_bpm"])
    s["hr_max_bpm"] = np.where(top, rate, s["hr_max_bpm"])
    s["hr_max_sigma_bpm"] = np.where(top, np.sqrt(variance(s, now)), s["hr_max_sigma_bpm"])
