"""How an engine is, and how its workouts are ended: what its shell asks of it beside its ticks."""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from fusion._core import lib
from server.clock import Clock
from server.deadlines.rules import Cause
from server.engine import Engine
from server.envelopes import Outgoing
from server.messages import StreamState
from server.overload import Mode
from server.schedule import SILENT_NS

GOODBYE_S = 2.0  # for the summaries of workouts that are open when the server is stopped


class Figures(Struct, array_like=True):
    """How an engine is: what it knows of, its ladder, and the streams of its devices."""

    devices: int = 0
    athletes: int = 0
    workouts: int = 0
    jobs: int = 0
    mode: Mode = "full"
    given_up: dict[str, int] = {}
    streams: dict[StreamState, int] = {}
    faults: dict[Cause, int] = {}
    recoveries: int = 0
    forgotten: int = 0
    updated: int = 0  # athletes who have an update once a second


def figures(engine: Engine) -> Figures:
    """Return how an engine is."""
    registry, streams = engine.registry, engine.streams
    return Figures(
        len(registry.devices),
        len(registry.athletes),
        engine.schedule.open_workouts,
        engine.deadlines.history.doing.jobs,
        engine.ladder.mode,
        {what: count for what, count in engine.given_up.items() if count},
        dict(streams.counts),
        dict(streams.faults),
        streams.recoveries,
        engine.forgetting.count,
        _updated(engine),
    )


def _updated(engine: Engine) -> int:
    """Return how many athletes have an update once a second, whatever comes: see `kf_schedule_pass`."""
    lanes = engine.schedule.lanes
    live = lanes["flags"] & (lib.KF_LANE_STARTED | lib.KF_LANE_RECORDED) == lib.KF_LANE_STARTED
    heard = lanes["arrived_ns"] >= engine.registry.now_ns - SILENT_NS
    return int(np.count_nonzero(live & (heard | (lanes["flags"] & lib.KF_LANE_OPEN != 0))))


def ended(engine: Engine, clock: Clock, until_ns: int) -> Iterator[Outgoing]:
    """End open workouts one by one, with all that came for them, until monotonic ``until_ns``."""
    yield from engine.finish(clock.utc_ns())
    while engine.behind and clock.monotonic_ns() <= until_ns:
        yield from engine.advance([], clock.utc_ns())
    for athlete in engine.registry.athletes.values():
        if clock.monotonic_ns() > until_ns:
            return
        yield from engine.jobs.finish(athlete)
        if engine.workouts.is_open(athlete):
            yield from engine.end_workout(athlete)
