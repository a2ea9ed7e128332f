"""Energy that the athlete's body spends in the workout, kcal, gross.

From the best source that speaks:

* mechanical power over a gross efficiency of 0.2 (19.8 %: Moseley and Jeukendrup 2001, doi
  10.1097/00005768-200104000-00017);
* heart rate, mass, age and sex (Keytel et al. 2005, doi 10.1080/02640410470001730089), fitted above a rate of
  90, never below rest;
* speed and grade: running and walking (Minetti et al. 2002, doi 10.1152/japplphysiol.01177.2001: above rest)
  plus rest; cycling by road resistance (Martin et al. 1998, doi 10.1123/jab.14.3.276) over the same gross
  efficiency, which holds rest; other sports by their metabolic equivalent (Ainsworth et al. 2011, doi
  10.1249/MSS.0b013e31821ece12).

Adults change from a walk to a run at about 2 m/s (Hreljac 1993, Med Sci Sports Exerc 25, 1158); the cost goes
over from the one polynomial to the other around it.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.kernel import choose
from fusion.measurements import Source, Sport
from fusion.metrics.gap import LOST_SHARE, OPEN_SHARE, REACH_NS, Gap
from fusion.metrics.heart_rate_zone import age_years
from fusion.metrics.metric import NO_SOURCE, OK, Raw, View, of_workout
from fusion.table import Fields, Picked, Table

KCAL_J = 4184.0
REST_W_PER_KG = 1.162  # 1 kcal/kg/h
EFFICIENCY = 0.2
AGE_DEFAULT = 35.0
SHARES = {Source.POWER: 0.10, Source.HEART_RATE: 0.22, Source.MODEL: 0.30}
NO_PROFILE_SHARE = 0.15  # added in square where mass, age or sex are not told
# Where they are told, and where not.
_MODEL_SHARES = {
    source: (share, float(np.hypot(share, NO_PROFILE_SHARE))) for source, share in SHARES.items()
}

WALKING_MPS, RUNNING_MPS = 1.6, 2.4  # between them the one turns into the other
PEDAL_MAX_W = 600.0
GRADE_MAX = 0.45
WALK_COST = (280.5, -58.7, -76.8, 51.9, 19.6, 2.5)  # J/kg/m, by falling powers of grade
RUN_COST = (155.4, -30.4, -43.3, 46.3, 19.5, 3.6)
ROLLING, DRAG_AREA_M2, AIR_KG_M3, BIKE_KG, GRAVITY = 0.005, 0.36, 1.2, 9.0, 9.80665
# Metabolic equivalents where speed tells little: by Sport other, run, walk, hike, ride, swim, ski, row.
EQUIVALENT = np.array([4.0, 9.0, 3.5, 5.5, 7.0, 7.0, 5.5, 7.0])

PRIOR_NS = 12_000_000_000

FIELDS: list[tuple[Any, ...]] = [
    ("energy_j", np.float64),
    ("energy_sigma_j", np.float64),
    ("energy_t_ns", np.int64),  # accounted for up to here
    ("energy_source", np.int32),
]
TOTALS = tuple(name for name, *_ in FIELDS)


def from_power(s: Fields, t_ns: timer.Times, use: Mask) -> None:
    """Account for the time up to a new power reading, where ``use``."""
    watts = np.maximum(s["power_w"] / EFFICIENCY, REST_W_PER_KG * s["mass_kg"])
    _accrue(s, t_ns, watts, Source.POWER, use)


def from_heart_rate(s: Fields, use: Mask) -> None:
    """Account for the time up to a new heart rate, where ``use`` and no power meter speaks."""
    t_ns = s["hr_t_ns"]
    free = np.abs(t_ns - s["power_t_ns"]) > PRIOR_NS
    _accrue(s, t_ns, heart_rate_watts(s, t_ns), Source.HEART_RATE, use & free)


def from_motion(s: Fields, t_ns: timer.Times, speed_mps: Floats, use: Any = True) -> None:
    """Account for the time up to a new speed, where ``use`` and neither power nor heart rate speaks."""
    free = _unclaimed(s, t_ns) & use
    if free.any():
        _accrue(s, t_ns, _motion_watts(s, t_ns, speed_mps), Source.MODEL, free)


def over_gaps(state: Table, gap: Gap) -> None:
    """Account for gaps between fixes, before the fix after them speaks, by the mean speed."""
    s, until_ns = Picked(state, gap.rows), gap.until_ns
    free = _unclaimed(s, until_ns) & (s["energy_t_ns"] < until_ns)
    _accrue(s, until_ns, _motion_watts(s, until_ns, gap.mean_mps), Source.MODEL, free, gap.since_ns)


def heart_rate_watts(s: Fields, t_ns: timer.Times) -> Floats:
    """Return metabolic power at the filtered heart rate, W, (n,)."""
    age = age_years(s, t_ns)
    age = np.where(np.isnan(age), AGE_DEFAULT, age)
    rate, mass = s["hr_x"][0], s["mass_kg"]
    man = -55.0969 + 0.6309 * rate + 0.1988 * mass + 0.2017 * age  # kJ/min
    woman = -20.4022 + 0.4472 * rate - 0.1263 * mass + 0.074 * age
    kj_min: Floats = np.where(s["sex"] == 2, man, np.where(s["sex"] == 1, woman, 0.5 * (man + woman)))
    watts: Floats = np.maximum(kj_min * (1000.0 / 60.0), REST_W_PER_KG * mass)
    return watts


def motion_watts(s: Fields, speed_mps: Floats, climb_mps: Floats) -> Floats:
    """Return metabolic power of a speed over ground and a climb rate, W, (n,), by sport."""
    mass, sport = s["mass_kg"], s["sport"]
    rest = REST_W_PER_KG * mass
    moving = speed_mps > 0.3
    grade = climb_mps / np.where(moving, speed_mps, 1.0)
    grade = np.minimum(np.maximum(grade, -GRADE_MAX), GRADE_MAX)
    runs = np.minimum(np.maximum((speed_mps - WALKING_MPS) / (RUNNING_MPS - WALKING_MPS), 0.0), 1.0)
    walk, run = polynomial(WALK_COST, grade), polynomial(RUN_COST, grade)
    cost = walk + runs * (run - walk)
    on_foot = rest + mass * np.maximum(cost, 0.0) * np.minimum(speed_mps, 8.0)
    air = 0.5 * AIR_KG_M3 * DRAG_AREA_M2 * speed_mps * speed_mps
    pedal = ((mass + BIKE_KG) * GRAVITY * (ROLLING + grade) + air) * speed_mps
    riding = np.maximum(np.minimum(pedal, PEDAL_MAX_W) / EFFICIENCY, rest)
    other = rest * np.where(moving, choose(EQUIVALENT, sport), 1.0)
    foot = (sport == Sport.RUN) | (sport == Sport.WALK) | (sport == Sport.HIKE)
    foot |= (sport == Sport.OTHER) & (speed_mps < 5.0)
    return np.where(foot, on_foot, np.where(sport == Sport.RIDE, riding, other))


def polynomial(coefficients: tuple[float, ...], x: Floats) -> Floats:
    """Return the polynomial with the coefficients, highest power first, at x, (n,), by Horner."""
    result: Floats = np.where(x == x, coefficients[0], x)  # as many as x has, NaN where it is
    for coefficient in coefficients[1:]:
        result = result * x + coefficient
    return result


def _unclaimed(s: Fields, t_ns: timer.Times) -> Mask:
    """Return whether neither power nor heart rate spoke lately, (n,)."""
    free: Mask = (np.abs(t_ns - s["power_t_ns"]) > PRIOR_NS) & (np.abs(t_ns - s["hr_t_ns"]) > PRIOR_NS)
    return free


def _motion_watts(s: Fields, t_ns: timer.Times, speed_mps: Floats) -> Floats:
    """Return metabolic power of a speed, W, (n,), with the climb rate where it is known at t_ns."""
    known = (t_ns - s["alt_t_ns"]) < PRIOR_NS
    return motion_watts(s, speed_mps, np.where(known, s["alt_x"][1], 0.0))


def _accrue(
    s: Fields,
    t_ns: timer.Times,
    watts: Floats,
    source: Source,
    use: Mask,
    gap_since_ns: timer.Times | None = None,
) -> None:
    """Account for the time up to t_ns at a metabolic power: for what it speaks, or from a gap's begin."""
    before_ns = s["energy_t_ns"]
    since = np.maximum(before_ns, t_ns - REACH_NS if gap_since_ns is None else gap_since_ns)
    counted = use & timer.counts(s, t_ns)
    joules = np.where(counted, watts * timer.counted_s(s, since, t_ns), 0.0)
    told = (s["birth_year"] > 0) & (s["sex"] > 0)
    share = SHARES[source] if source == Source.POWER else np.where(told, *_MODEL_SHARES[source])
    lost = np.where(counted, watts * timer.counted_s(s, before_ns, since), 0.0)
    if gap_since_ns is not None:
        lost = lost + OPEN_SHARE * joules
    s["energy_j"] = s["energy_j"] + joules
    s["energy_sigma_j"] = s["energy_sigma_j"] + (share * joules + LOST_SHARE * lost)
    s["energy_t_ns"] = np.where(counted, np.maximum(t_ns, since), before_ns)
    s["energy_source"] = np.where(counted, int(source), s["energy_source"])


def value(view: View) -> Raw:
    """Return energy."""
    s = view.state
    reason = np.where(s["energy_source"] == 0, NO_SOURCE, OK)
    sigma = s["energy_sigma_j"] / KCAL_J + 1.0
    return Raw(s["energy_j"] / KCAL_J, sigma, s["energy_t_ns"], s["energy_source"], of_workout(view, reason))
