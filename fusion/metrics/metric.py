"""What every metric is made of: what it sees, and how a value, its error and its age become an estimate."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.measurements import Reason
from fusion.table import Fields

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Reasons as plain numbers: an enumeration's members are slow to reach, and slow in arrays.
OK, NO_SOURCE, STALE, SETTLING, NOT_APPLICABLE, NOT_ENOUGH_DATA = (
    int(reason)
    for reason in (
        Reason.NONE,
        Reason.NO_SOURCE,
        Reason.STALE,
        Reason.SETTLING,
        Reason.NOT_APPLICABLE,
        Reason.NOT_ENOUGH_DATA,
    )
)

SIGMA_MAX = 1e9
SQRT_2 = float(np.sqrt(2.0))
FRESH_NS = 12_000_000_000  # smart-recorded files tick every 1 to 7 s; older is stale


class Raw(NamedTuple):
    """What a metric tells before it is checked; each an array (n,) or one number for all rows."""

    value: Any  # anything where there is a reason
    sigma: Any
    t_ns: Any
    source: Any
    reason: Any  # OK where there is a value


class View(NamedTuple):
    """The rows of a step: their state as it is now, and the time the estimates are for."""

    state: Fields  # n rows
    due_ns: NDArray[np.int64]  # (n,)
    known: dict[str, Raw]  # the metrics before this one in the list


class Metric(NamedTuple):
    """A metric: its name in ``live``, its unit, and the error below which it is called right.

    The tolerance is the larger of an absolute one, in the unit, and a share of the value.
    """

    name: str
    unit: str
    tolerance: float
    share: float
    estimate: Callable[[View], Raw]


def freshness(
    t_ns: NDArray[np.int64], due_ns: NDArray[np.int64], span_ns: int = FRESH_NS
) -> NDArray[np.int64]:
    """Return why a measurement of t_ns says nothing about due_ns: NO_SOURCE, STALE, or NONE."""
    stale = np.where(due_ns - t_ns > span_ns, STALE, OK)
    return np.where(t_ns == 0, NO_SOURCE, stale)


def age_s(t_ns: NDArray[np.int64], due_ns: NDArray[np.int64]) -> Floats:
    """Return how old a measurement is, s, (n,); at most a day."""
    age: Floats = np.minimum(np.maximum(due_ns - t_ns, 0) * 1e-9, 86_400.0)
    return age


def of_workout(view: View, reason: Any) -> NDArray[np.int64]:
    """Return the reason of a total: without an open workout there is none to speak of."""
    return np.where(view.state["open"] != 0, reason, NOT_APPLICABLE)


def within(tolerance: Floats, sigma: Floats) -> Floats:
    """Return the probability that a normal error of ``sigma`` is within ``tolerance``, any shape.

    The error function by Abramowitz and Stegun 1964, 7.1.26: to 1.5e-7.
    """
    z = np.minimum(tolerance / np.maximum(sigma, 1e-9) / SQRT_2, 6.0)
    t = 1.0 / (1.0 + 0.3275911 * z)
    series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    probability: Floats = np.minimum(np.maximum(1.0 - series * np.exp(-z * z), 0.0), 1.0)
    return probability


def evaluate(metrics: tuple[Metric, ...], state: Fields, due_ns: NDArray[np.int64]) -> list[Any]:
    """Return the columns of every metric: all values, sigmas, qualities, times, sources and reasons.

    A value that is not finite is none; a sigma is at least 0 and finite.
    """
    view = View(state, due_ns, {})
    columns = []
    for metric in metrics:
        raw = view.known[metric.name] = metric.estimate(view)
        reason = np.where(~np.isfinite(raw.value) & (raw.reason == OK), NOT_ENOUGH_DATA, raw.reason)
        none = reason != OK
        value, sigma = np.where(none, 0.0, raw.value), np.where(none, 0.0, raw.sigma)
        sigma = np.minimum(np.maximum(np.where(np.isfinite(sigma), sigma, SIGMA_MAX), 0.0), SIGMA_MAX)
        quality = within(np.maximum(metric.tolerance, metric.share * np.abs(value)), sigma)
        value, sigma = np.where(none, np.nan, value), np.where(none, np.nan, sigma)
        quality, source = np.where(none, 0.0, quality), np.where(none, 0, raw.source)
        columns.append((value, sigma, quality, raw.t_ns, source, reason))
    return [column for kind in zip(*columns, strict=True) for column in kind]
