"""What the engine sends out: messages built from the estimates of a step."""

from functools import cache
from typing import Any, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from fusion.measurements import Estimates, Reason, Records, Source
from fusion.telling import AGE_DECIMALS, QUALITY_DECIMALS, SIGMA_DECIMALS, Names, Teller
from server.envelopes import Outgoing
from server.messages import Cause, Live, Metric, Reply, Workout, WorkoutState
from server.messages import Reason as ReasonName
from server.workouts import SPORTS, STATES

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


def lives(
    estimates: Estimates, jobs: Records, places: NDArray[np.uint32], names: Names, mode: str
) -> list[bytes]:
    """Return payloads of ``athletes/{athlete}/live`` as the core writes them.

    Parameters
    ----------
    estimates : Estimates
        Of n jobs.
    jobs : (n,) server.schedule.JOB
    places : (k,)
        Of the jobs that are told of.
    names : Names
    mode : str

    Returns
    -------
    list of bytes
        One for each place; empty where a number is beyond the core, and `live` is to write it.
    """
    return _teller(estimates.names)(estimates, jobs, places, names, f',"mode":"{mode}"}}'.encode())


def live(
    athlete: str,
    due_ns: int,
    cause: Cause | None,
    workout: WorkoutState | None,
    metrics: dict[str, Metric],
    mode: str,
) -> bytes:
    """Return one such payload: every number rounded by Python, with all of its digits."""
    return encode(Live(due_ns // 1_000_000, athlete, cause, workout, metrics, mode))


def metrics(estimates: Estimates, place: int, due_ns: int) -> dict[str, Metric]:
    """Return the metrics of the athlete at a place, for ``due_ns``."""
    told: dict[str, Metric] = {}
    for name, one in estimates.items():
        if one.reason[place]:
            told[name] = _WITHOUT[one.reason[place]]
            continue
        number = float(one.value[place])
        age_s = max(0, due_ns - int(one.t_ns[place])) * 1e-9
        told[name] = Metric(
            value=round(number) if name in _WHOLE else round(number, _DECIMALS.get(name, 2)),
            sigma=round(float(one.sigma[place]), SIGMA_DECIMALS),
            age_s=round(age_s, AGE_DECIMALS),
            source=_SOURCES[one.source[place]],
            quality=round(float(one.quality[place]), QUALITY_DECIMALS),
        )
    return told


@cache
def _teller(names: tuple[str, ...]) -> Teller:
    """Return what writes updates of these metrics as `live` would."""
    return Teller(
        decimals=[0 if name in _WHOLE else _DECIMALS.get(name, 2) for name in names],
        opening=[f'"{name}":{{"value":'.encode() for name in names],
        sources=[f',"source":"{source}","quality":'.encode() for source in _SOURCES],
        reasons=[encode(one).removeprefix(b'{"value":') for one in _WITHOUT],
        states=[state.encode() for state in STATES],
        sports=[sport.encode() for sport in SPORTS],
    )


def workout(root: str, athlete: str, event: Workout) -> Outgoing:
    """Return ``athletes/{athlete}/workout``."""
    return Outgoing(f"{root}/athletes/{athlete}/workout", encode(event), qos=1, retain=True)


def reply(root: str, athlete: str, answer: Reply) -> Outgoing:
    """Return ``athletes/{athlete}/reply/{id}``, the answer to a command."""
    return Outgoing(f"{root}/athletes/{athlete}/reply/{answer.id}", encode(answer), qos=1)
