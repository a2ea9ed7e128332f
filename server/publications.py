"""What the engine sends out: messages built from the estimates of a step."""

from typing import Any, get_args

import msgspec

from fusion.measurements import Estimate, Reason, Source
from server.messages import Cause, Live, Metric, WorkoutState
from server.messages import Reason as ReasonName

_ENCODER = msgspec.json.Encoder()
_SOURCES = tuple(source.name.lower() for source in Source)
_REASONS: tuple[Any, ...] = tuple(reason.name.lower() for reason in Reason)
assert set(_REASONS[1:]) == set(get_args(ReasonName)), "the wire and the models name the same reasons"

_WITHOUT = tuple(Metric(None, reason=reason) for reason in _REASONS)  # they are all alike: made once
_WHOLE = {"steps", "heart_rate_zone"}
_DECIMALS = {"distance": 2, "elapsed": 3, "moving": 3, "speed": 3, "altitude": 2, "ascent": 2, "descent": 2}


def encode(message: msgspec.Struct) -> bytes:
    """Return a published message as JSON."""
    return _ENCODER.encode(message)


class MetricColumns:
    """The estimates of a step, turned so that each athlete's metrics are read off by its place."""

    def __init__(self, estimates: dict[str, Estimate]) -> None:
        self._columns = [
            (name, *(column.tolist() for column in estimate)) for name, estimate in estimates.items()
        ]

    def at(self, place: int, due_ns: int) -> dict[str, Metric]:
        """Return the metrics of the athlete at ``place``, as of ``due_ns``."""
        metrics: dict[str, Metric] = {}
        for name, value, sigma, t_ns, source, quality, reason in self._columns:
            if reason[place]:
                metrics[name] = _WITHOUT[reason[place]]
                continue
            number = value[place]
            metrics[name] = Metric(
                value=round(number) if name in _WHOLE else round(number, _DECIMALS.get(name, 2)),
                sigma=round(sigma[place], 4),
                age_s=round(max(0, due_ns - t_ns[place]) * 1e-9, 3),
                source=_SOURCES[source[place]],
                quality=round(quality[place], 3),
            )
        return metrics


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
