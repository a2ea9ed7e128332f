"""How an engine is, and how its workouts are ended: what its shell asks of it beside its ticks."""

from collections.abc import Iterator

from msgspec import Struct

from server.clock import Clock
from server.engine import Engine
from server.envelopes import Outgoing
from server.overload import Mode

GOODBYE_S = 2.0  # for the summaries of workouts that are open when the server is stopped


class Figures(Struct, array_like=True):
    """How an engine is. ``refused`` counts by reason; what follows it is the ladder's."""

    devices: int = 0
    athletes: int = 0
    workouts: int = 0
    refused: dict[str, int] = {}
    given_up: dict[str, int] = {}
    mode: Mode = "full"


def workouts(engine: Engine) -> int:
    """Return how many workouts are open."""
    return sum(map(engine.workouts.is_open, engine.registry.athletes.values()))


def figures(engine: Engine, refused: dict[str, int]) -> Figures:
    """Return how an engine is; ``refused`` is as its health told it, which takes a look at each device."""
    registry = engine.registry
    return Figures(
        len(registry.devices),
        len(registry.athletes),
        workouts(engine),
        refused,
        {what: count for what, count in engine.given_up.items() if count},
        engine.ladder.mode,
    )


def ended(engine: Engine, clock: Clock, until_ns: int) -> Iterator[Outgoing]:
    """End open workouts one by one, until monotonic ``until_ns``."""
    for athlete in engine.registry.athletes.values():
        if clock.monotonic_ns() > until_ns:
            return
        if engine.workouts.is_open(athlete):
            yield engine.end_workout(athlete)
