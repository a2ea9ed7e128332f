"""What the engine sends out: messages built from the estimates of a step."""

from functools import cache
from typing import Any, cast, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from fusion.measurements import Estimates, Reason, Source
from fusion.telling import AGE_DECIMALS, QUALITY_DECIMALS, SIGMA_DECIMALS, Teller
from server.envelopes import Outgoing
from server.messages import Cause, Live, Metric, Reply, Workout, WorkoutState
from server.messages import Reason as ReasonName

Metrics = dict[str, Metric] | msgspec.Raw

_ENCODER = msgspec.json.Encoder()
_SOURCES = tuple(source.name.lower() for source in Source)
_REASONS: tuple[Any, ...] = tuple(reason.name.lower() for reason in Reason)
assert set(_REASONS[1:]) == set(get_args(ReasonName)), "the wire and the models name the same reasons"

_WITHOUT = tuple(Metric(None, reason=reason) for reason in _REASONS)  # they are all alike: made once
_WHOLE = {"steps", "heart_rate_zone", "floors"}
_DECIMALS = {"distance": 2, "elapsed": 3, "moving": 3, "speed": 3, "altitude": 2, "ascent": 2, "descent": 2}


def encode(message: msgspec.Struct) -> bytes:
    """Return a published message as JSON."""
    return _ENCODER.encode(message)


class MetricColumns:
    """The estimates of a step, read off athlete by athlete.

    Parameters
    ----------
    estimates : Estimates
        k metrics of n athletes.
    due_ns : (n,) int64
        What they are estimates for.
    """

    def __init__(self, estimates: Estimates, due_ns: NDArray[np.int64]) -> None:
        self._estimates, self._due_ns = estimates, due_ns
        self._told = _teller(estimates.names)(estimates, due_ns)

    def at(self, place: int) -> Metrics:
        """Return the metrics of the athlete at ``place``, as they are published."""
        told = self._told[place]
        return msgspec.Raw(told) if told else self.structs(place)

    def structs(self, place: int) -> dict[str, Metric]:
        """Return the same as structs: every number rounded by Python, with all of its digits."""
        metrics: dict[str, Metric] = {}
        for name, one in self._estimates.items():
            if one.reason[place]:
                metrics[name] = _WITHOUT[one.reason[place]]
                continue
            number = float(one.value[place])
            age_s = max(0, int(self._due_ns[place] - one.t_ns[place])) * 1e-9
            metrics[name] = Metric(
                value=round(number) if name in _WHOLE else round(number, _DECIMALS.get(name, 2)),
                sigma=round(float(one.sigma[place]), SIGMA_DECIMALS),
                age_s=round(age_s, AGE_DECIMALS),
                source=_SOURCES[one.source[place]],
                quality=round(float(one.quality[place]), QUALITY_DECIMALS),
            )
        return metrics


@cache
def _teller(names: tuple[str, ...]) -> Teller:
    """Return what writes these metrics as `encode` would."""
    return Teller(
        decimals=[0 if name in _WHOLE else _DECIMALS.get(name, 2) for name in names],
        opening=[f'"{name}":{{"value":'.encode() for name in names],
        sources=[f',"source":"{source}","quality":'.encode() for source in _SOURCES],
        reasons=[encode(one).removeprefix(b'{"value":') for one in _WITHOUT],
    )


def live(
    athlete: str,
    due_ns: int,
    cause: Cause | None,
    workout: WorkoutState | None,
    metrics: Metrics,
    mode: str,
) -> bytes:
    """Return the payload of ``athletes/{athlete}/live``."""
    return encode(Live(due_ns // 1_000_000, athlete, cause, workout, cast(Any, metrics), mode))


def workout(root: str, athlete: str, event: Workout) -> Outgoing:
    """Return ``athletes/{athlete}/workout``."""
    return Outgoing(f"{root}/athletes/{athlete}/workout", encode(event), qos=1, retain=True)


def reply(root: str, athlete: str, answer: Reply) -> Outgoing:
    """Return ``athletes/{athlete}/reply/{id}``, the answer to a command."""
    return Outgoing(f"{root}/athletes/{athlete}/reply/{answer.id}", encode(answer), qos=1)
