"""Effort: the oxygen that motion asks for, and how the heart follows it.

Uptake above rest by the ACSM's equations (Guidelines for Exercise Testing and Prescription): walking
0.1 v + 1.8 w, running 0.2 v + 0.9 w with speed v and climb w in m/min, cycling 10.8 W / M, ml/kg/min. The
heart follows demand with a time constant of half a minute upwards and about a minute downwards (Stirling et
al. 2008, doi 10.2991/jnmp.2008.15.s3.41; Wang, Su and Celler, EMBC 2006); shares of the reserves of oxygen
and of heart rate are the same (Swain and Leutholtz 1997, doi 10.1097/00005768-199703000-00018). Of demand
that the heart has followed only changes are used: what they make of the rate is its gain: at first that of a
trained adult of the athlete's reserve, then what their own rate shows.

Speed without the climb is worse than steps alone: it falls on a hill, where the heart rises. Where no height
is told, the steps tell the speed.
"""

from typing import Any

import numpy as np

from fusion.kalman import Floats, Mask
from fusion.metrics import heart_rate_zone
from fusion.models.heart_modes import decay
from fusion.table import Fields

RISE_S = 30.0
FALL_S = 55.0
WALK, RUN, RIDE = 0.1, 0.2, 10.8
WALK_UP, RUN_UP = 1.8, 0.9
DOWN_MAX, UP_MAX = -0.1, 0.3  # of grade: steeper down saves no more (Minetti et al. 2002)
DOWN_SHARE = 0.5  # of what the level asks for, at least (Minetti et al. 2002)
STRIDE_MIN, STRIDE_MAX = 0.5, 1.6  # of the speed that steps tell
CLIMB_MPS = 0.1  # how fast athletes climb on foot, one sigma: a climb less sure than that counts less
SPEED_NS = 5_000_000_000  # after which a speed or a climb is no longer that of the moment
RUNNING_SPM = 140.0
UPTAKE_RESERVE = 42.0  # ml/kg/min above rest of a trained adult; 30 to 60 is usual, hence
UPTAKE_MAX = 1.5 * UPTAKE_RESERVE
GAIN_SHARE = 0.2  # of what it makes of the rate, one sigma
MEAN_S = 60.0  # rate and effort count as they differ from their means of so long: hearts drift,
LEARN_S = 1_800.0  # and so long an athlete's own gain is learnt
# (ml/kg/min)^2 s: what is known of everybody counts as much as effort that varied by so much for so long.
PRIOR_SPREAD = 6_000.0
GAIN_MAX = 2.0  # of what is known of everybody
BETTER_NS = 10_000_000_000  # power is better than steps for so long
SILENT_S = 5.0  # motion that is not told for longer has not gone on as it was told

FIELDS: list[tuple[Any, ...]] = [
    ("effort", np.float64),  # ml/kg/min above rest, as told last
    ("effort_followed", np.float64),  # what of it the heart has followed at
    ("effort_ns", np.int64),  # this time; 0: never
    ("effort_means", np.float64, (2,)),  # of what was followed, and of the rate
    ("effort_spread", np.float64, (2,)),  # variance of the one, covariance of both
    ("effort_known_s", np.float64),  # for how long
]


def followed(s: Fields, t_ns: Any) -> Floats:
    """Return the demand that the heart has followed at t_ns, ml/kg/min, (n,)."""
    dt_s = np.maximum(t_ns - s["effort_ns"], 0) * 1e-9
    # After SILENT_S nobody knows what is asked for: then what was followed stays.
    dt_s = np.minimum(dt_s, SILENT_S)
    now, before = s["effort"], s["effort_followed"]
    keep = decay(dt_s * np.where(now > before, 1.0 / RISE_S, 1.0 / FALL_S))
    moved: Floats = now + (before - now) * keep
    return np.where(s["effort_ns"] == 0, 0.0, moved)


def gain(s: Fields, t_ns: Any) -> Floats:
    """Return what a unit of demand makes of the rate, bpm per ml/kg/min, (n,): the athlete's own, so far."""
    top, _ = heart_rate_zone.maximum(s, t_ns)
    usual = np.maximum(top - s["resting_bpm"], 40.0) * (1.0 / UPTAKE_RESERVE)
    varies, together = s["effort_spread"]
    prior = PRIOR_SPREAD / np.minimum(np.maximum(s["effort_known_s"], 1.0), LEARN_S)
    own = (together + prior * usual) / (varies + prior)
    bounded: Floats = np.minimum(np.maximum(own, 0.0), GAIN_MAX * usual)
    return bounded


def learn(s: Fields, t_ns: Any, bpm: Floats, dt_s: Floats, use: Mask) -> None:
    """Learn how the rate goes with the effort that the heart has followed: a regression that forgets."""
    use = use & (s["effort_ns"] != 0)
    span_s = np.minimum(dt_s, SILENT_S)
    known_s = s["effort_known_s"] + span_s
    share = np.minimum(span_s / np.minimum(np.maximum(known_s, 1.0), LEARN_S), 1.0)
    recent = np.minimum(span_s / np.minimum(np.maximum(known_s, 1.0), MEAN_S), 1.0)
    means, spread = s["effort_means"], s["effort_spread"]
    d, e = followed(s, t_ns) - means[0], bpm - means[1]
    new_means, new_spread = np.zeros_like(means), np.zeros_like(spread)
    new_means[0], new_means[1] = means[0] + recent * d, means[1] + recent * e
    new_spread[0] = (1.0 - share) * spread[0] + share * (1.0 - recent) * (d * d)
    new_spread[1] = (1.0 - share) * spread[1] + share * (1.0 - recent) * (d * e)
    s["effort_means"] = np.where(use, new_means, means)
    s["effort_spread"] = np.where(use, new_spread, spread)
    s["effort_known_s"] = np.where(use, known_s, s["effort_known_s"])


def on_foot(s: Fields, t_ns: Any, spm: Floats, by_steps_mps: Floats, use: Mask) -> None:
    """Take in the gait of each row, where ``use`` and no power meter speaks.

    Where a height is told speed is the position filter's, else a wheel's or foot pod's; else that of the
    steps. The climb is the altitude filter's, in so far as it is sure of it.
    """
    runs, steps = spm > RUNNING_SPM, spm > 0.0
    fixed = (np.abs(t_ns - s["pos_t_ns"]) <= SPEED_NS) & (s["pos_fixes"] >= 2)
    sensed = np.abs(t_ns - s["sensor_t_ns"]) <= SPEED_NS
    east, north = s["pos_x"][2], s["pos_x"][3]
    ground = np.where(fixed, np.sqrt(east * east + north * north), s["sensor_mps"])
    # Whose steps tell another speed is carried, or the fixes are wrong.
    ground = np.minimum(np.maximum(ground, STRIDE_MIN * by_steps_mps), STRIDE_MAX * by_steps_mps)
    high = np.abs(t_ns - s["alt_t_ns"]) <= SPEED_NS
    speed = np.where((fixed | sensed) & high & steps, ground, by_steps_mps)
    sure = CLIMB_MPS**2 / (CLIMB_MPS**2 + s["alt_P"][1, 1])
    climb = np.where(high & steps, sure * s["alt_x"][1], 0.0)
    climb = np.minimum(np.maximum(climb, DOWN_MAX * speed), UP_MAX * speed)
    level = np.where(runs, RUN, WALK) * speed
    free = use & (np.abs(t_ns - s["power_t_ns"]) > BETTER_NS)
    demand = 60.0 * np.maximum(level + np.where(runs, RUN_UP, WALK_UP) * climb, DOWN_SHARE * level)
    _take(s, t_ns, np.minimum(demand, UPTAKE_MAX), free)


def from_power(s: Fields, t_ns: Any, use: Mask) -> None:
    """Take in the power at the crank."""
    _take(s, t_ns, RIDE * s["power_w"] / np.maximum(s["mass_kg"], 20.0), use)


def _take(s: Fields, t_ns: Any, demand: Floats, use: Mask) -> None:
    new = use & (t_ns > s["effort_ns"])
    first = s["effort_ns"] == 0
    now = np.where(first, demand, followed(s, t_ns))
    s["effort_followed"] = np.where(new, now, s["effort_followed"])
    s["effort"] = np.where(new, demand, s["effort"])
    s["effort_ns"] = np.where(new, t_ns, s["effort_ns"])
