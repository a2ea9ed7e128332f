"""What every metric is made of: what it sees, and how a value, its error and its age become an estimate."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.measurements import Estimate, Reason, Records, Source

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIGMA_MAX = 1e9
FRESH_NS = 12_000_000_000  # smart-recorded files tick every 1 to 7 s; older is stale


class View(NamedTuple):
    """The rows of a step: their state as it is now, and the time the estimates are for."""

    state: Records  # (n,) a copy
    due_ns: NDArray[np.int64]  # (n,)


class Metric(NamedTuple):
    """A metric: its name in ``live``, its unit, and the error below which it is called right.

    The tolerance is the larger of an absolute one, in the unit, and a share of the value.
    """

    name: str
    unit: str
    tolerance: float
    share: float
    estimate: Callable[[View], Estimate]


def estimate(
    value: Any, sigma: Any, t_ns: NDArray[np.int64], source: Any, reason: NDArray[np.int32]
) -> Estimate:
    """Return an estimate with no value where there is a reason; quality is filled in by `with_quality`."""
    n = len(t_ns)
    value = np.broadcast_to(np.asarray(value, dtype=np.float64), (n,))
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (n,))
    reason = np.where((reason == Reason.NONE) & ~np.isfinite(value), Reason.NOT_ENOUGH_DATA, reason)
    none = reason != Reason.NONE
    return Estimate(
        np.where(none, np.nan, value),
        np.where(none, np.nan, np.clip(sigma, 0.0, SIGMA_MAX)),
        t_ns,
        np.where(none, Source.NONE, np.broadcast_to(source, (n,))).astype(np.int32),
        np.zeros(n),
        reason.astype(np.int32),
    )


def freshness(
    t_ns: NDArray[np.int64], due_ns: NDArray[np.int64], span_ns: int = FRESH_NS
) -> NDArray[np.int32]:
    """Return why a measurement of t_ns says nothing about due_ns: NO_SOURCE, STALE, or NONE."""
    return np.where(
        t_ns == 0, Reason.NO_SOURCE, np.where(due_ns - t_ns > span_ns, Reason.STALE, Reason.NONE)
    ).astype(np.int32)


def of_workout(view: View, reason: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the reason of a total: without an open workout there is none to speak of."""
    return np.where(view.state["open"] != 0, reason, Reason.NOT_APPLICABLE).astype(np.int32)


def within(tolerance: Floats, sigma: Floats) -> Floats:
    """Return the probability that a normal error of ``sigma`` is within ``tolerance``, any shape.

    The error function by Abramowitz and Stegun 1964, 7.1.26: to 1.5e-7.
    """
    z = np.minimum(tolerance / np.maximum(sigma, 1e-9) / np.sqrt(2.0), 6.0)
    t = 1.0 / (1.0 + 0.3275911 * z)
    series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    return np.clip(1.0 - series * np.exp(-z * z), 0.0, 1.0)


def with_quality(metrics: tuple[Metric, ...], estimates: list[Estimate]) -> dict[str, Estimate]:
    """Return the estimates by name, each with its quality."""
    value = np.nan_to_num(np.array([e.value for e in estimates]), nan=0.0)
    sigma = np.nan_to_num(np.array([e.sigma for e in estimates]), nan=SIGMA_MAX)
    absolute = np.array([[m.tolerance] for m in metrics])
    share = np.array([[m.share] for m in metrics])
    quality = within(np.maximum(absolute, share * np.abs(value)), sigma)
    return {
        metric.name: one._replace(quality=np.where(one.reason == Reason.NONE, q, 0.0))
        for metric, one, q in zip(metrics, estimates, quality, strict=True)
    }
