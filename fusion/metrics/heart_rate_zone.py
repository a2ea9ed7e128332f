"""Heart rate zone, 1 to the number of zones: bands of the maximum heart rate.

The maximum is the athlete's own, else 208 - 0.7 age (Tanaka, Monahan and Seals 2001, doi
10.1016/S0735-1097(00)01054-8; 10 bpm between persons), else 190 with what that leaves open. ``sigma`` is in
zones: how many the rate's and the maximum's error span.
"""

import numpy as np

from fusion.kalman import Floats
from fusion.metrics.metric import OK, Raw, View
from fusion.table import Fields

MAX_DEFAULT_BPM = 190.0
MAX_DEFAULT_SIGMA_BPM = 14.0
MAX_AGE_SIGMA_BPM = 10.0
YEAR_NS = 31_556_952 * 1_000_000_000


def age_years(s: Fields, t_ns: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    """Return the athlete's age at a time, years, (n,); NaN where it is not known."""
    year = 1970.0 + t_ns / YEAR_NS
    born = s["birth_year"]
    return np.where(born > 0, np.minimum(np.maximum(year - born, 5.0), 100.0), np.nan)


def maximum(s: Fields, t_ns: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[Floats, Floats]:
    """Return the athlete's maximum heart rate and its sigma, bpm, (n,) each."""
    age = age_years(s, t_ns)
    known = s["max_bpm"] > 0.0
    ageless = np.isnan(age)
    by_age = np.where(ageless, MAX_DEFAULT_BPM, 208.0 - 0.7 * age)
    by_age_sigma = np.where(ageless, MAX_DEFAULT_SIGMA_BPM, MAX_AGE_SIGMA_BPM)
    return np.where(known, s["max_bpm"], by_age), np.where(known, 0.0, by_age_sigma)


def value(view: View) -> Raw:
    """Return the zone."""
    s = view.state
    rate = view.known["heart_rate"]
    top, top_sigma = maximum(s, view.due_ns)
    none = rate.reason != OK
    share = np.where(none, 0.0, rate.value) / top
    error = np.hypot(np.where(none, 0.0, rate.sigma), share * top_sigma) / top
    zone, spread = 1.0, 0.0
    for bound in s["zones"]:  # infinite where there is no such zone
        distance = np.minimum(np.abs(share - bound) / np.maximum(error, 1e-6), 30.0)
        # Probability that a bound lies on the other side, by a logistic curve.
        spread = spread + 1.0 / (1.0 + np.exp(1.7 * distance))
        zone = zone + (share > bound)
    return Raw(zone, np.sqrt(spread), rate.t_ns, rate.source, rate.reason)
