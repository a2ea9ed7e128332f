"""The list of what is evaluated, in the order in which it is reported."""

import importlib
from collections.abc import Callable
from typing import Final

from simulators.evaluation.section import Options, Section

PARTS: Final[dict[str, tuple[str, str]]] = {
    "files": ("simulators.evaluation.files:evaluate", "FIT, GPX and TCX files against their own totals"),
    "distance": (
        "simulators.evaluation.distance:evaluate",
        "two devices on one run; distance and ascent against the files' own totals",
    ),
    "phones": ("simulators.evaluation.phones:evaluate", "Sensor Logger exports against their own sensors"),
    "clock": ("simulators.evaluation.clock:evaluate", "device clocks over simulated Bluetooth links"),
    "late": ("simulators.evaluation.late:evaluate", "workouts whose data come late, in any order"),
    "orientation": (
        "simulators.evaluation.orientation:evaluate",
        "BROAD's trials against their optical reference",
    ),
    "heart": (
        "simulators.evaluation.heart:evaluate",
        "heart rate without its strap, with light astray, and beats",
    ),
    "gnss": (
        "simulators.evaluation.gnss:evaluate",
        "distance and ascent while GNSS is lost, at stops, in a city, over hills",
    ),
    "floors": ("simulators.evaluation.floors:evaluate", "which floor, floors climbed, and lifts"),
    "bank": ("simulators.evaluation.bank:evaluate", "the Kalman bank and its models against filterpy"),
    "intervals": (
        "simulators.evaluation.intervals:evaluate",
        "whether 90 % intervals hold, and how well the models fit",
    ),
}


def part(name: str) -> Callable[[Options], Section]:
    """Return the function that evaluates a part of PARTS; its module is imported only now.

    Raises
    ------
    KeyError
        There is no such part.
    """
    module, _, function = PARTS[name][0].partition(":")
    found: Callable[[Options], Section] = getattr(importlib.import_module(module), function)
    return found
