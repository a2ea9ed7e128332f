"""What the engine sends out: messages built from the estimates of a step."""

from functools import cache
from typing import Any, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from fusion.measurements import Estimates, Reason, Source
from server.messages import Cause, Live, Metric, WorkoutState
from server.messages import Reason as ReasonName

_ENCODER = msgspec.json.Encoder()
_SOURCES = tuple(source.name.lower() for source in Source)
_REASONS: tuple[Any, ...] = tuple(reason.name.lower() for reason in Reason)
assert set(_REASONS[1:]) == set(get_args(ReasonName)), "the wire and the models name the same reasons"

_WITHOUT = tuple(Metric(None, reason=reason) for reason in _REASONS)  # they are all alike: made once
_WHOLE = {"steps", "heart_rate_zone"}
_DECIMALS = {"distance": 2, "elapsed": 3, "moving": 3, "speed": 3, "altitude": 2, "ascent": 2, "descent": 2}
_SIGMA, _AGE, _QUALITY = 4, 3, 3
_POWERS = np.array([1.0, 1e1, 1e2, 1e3, 1e4])


def encode(message: msgspec.Struct) -> bytes:
    """Return a published message as JSON."""
    return _ENCODER.encode(message)


def rounded(values: NDArray[np.float64], decimals: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Return finite values rounded as Python's ``round`` does it, which looks at all of a number's digits.

    numpy's own rounds what multiplication has rounded already. So it is asked for all but those that come out
    next to a tie.

    Parameters
    ----------
    values : any shape
    decimals : int, or array that broadcasts to it
        0 to 4.
    """
    scale = _POWERS[decimals]
    scaled = values * scale
    whole = np.rint(scaled)
    found: NDArray[np.float64] = whole / scale
    doubtful = np.abs(np.abs(scaled - whole) - 0.5) <= 1e-12 + 4e-16 * np.abs(scaled)
    if doubtful.any():
        places = np.broadcast_to(decimals, values.shape)[doubtful].tolist()
        found[doubtful] = list(map(round, values[doubtful].tolist(), places))
    return found


class MetricColumns:
    """The estimates of a step, turned so that each athlete's metrics are read off by its place.

    Parameters
    ----------
    estimates : Estimates
        k metrics of n athletes.
    due_ns : (n,) int64
        What they are estimates for.
    """

    def __init__(self, estimates: Estimates, due_ns: NDArray[np.int64]) -> None:
        names = self._names = estimates.names
        self._whole = [i for i, name in enumerate(names) if name in _WHOLE]
        numbers = np.array(
            [
                estimates.value,
                estimates.sigma,
                np.maximum(due_ns - estimates.t_ns, 0) * 1e-9,
                estimates.quality,
            ]
        )
        numbers[:2, estimates.reason != 0] = 0.0
        self._numbers = rounded(numbers, _decimals(names)).transpose(2, 0, 1).tolist()
        self._sources, self._reasons = estimates.source.T.tolist(), estimates.reason.T.tolist()

    def at(self, place: int) -> dict[str, Metric]:
        """Return the metrics of the athlete at ``place``."""
        value, sigma, age_s, quality = self._numbers[place]
        for i in self._whole:
            value[i] = int(value[i])
        each = zip(
            *(self._names, value, sigma, age_s, self._sources[place], quality, self._reasons[place]),
            strict=True,
        )
        return {
            name: _WITHOUT[reason] if reason else Metric(number, error, age, _SOURCES[source], chance)
            for name, number, error, age, source, chance, reason in each
        }


@cache
def _decimals(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return with how many decimals values, sigmas, ages and qualities are told, (4, metrics, 1)."""
    of_values = [0 if name in _WHOLE else _DECIMALS.get(name, 2) for name in names]
    each = [of_values, *([decimals] * len(names) for decimals in (_SIGMA, _AGE, _QUALITY))]
    return np.array(each)[:, :, None]


def live(
    athlete: str,
    due_ns: int,
    cause: Cause | None,
    workout: WorkoutState | None,
    metrics: dict[str, Metric],
    mode: str,
) -> bytes:
    """Return the payload of ``athletes/{athlete}/live``."""
    return encode(Live(due_ns // 1_000_000, athlete, cause, workout, metrics, mode))
