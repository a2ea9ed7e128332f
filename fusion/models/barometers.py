"""Several barometers on one athlete: one of them speaks, and another that takes over does so on its scale.

Absolute pressures of two sensors are some hectopascals apart, that is metres; each alone tells changes to
decimetres. While another one is heard, the ratio of their pressures is learnt; when it takes over, its
pressures are multiplied by it, so that the change of hands is no climb.
"""

from typing import Any

import numpy as np

from fusion.models import choice
from fusion.table import Fields

PRESSURE_PA = (1_000.0, 200_000.0)
FRESH_NS = 2_000_000_000  # what who speaks told last holds for so long
LEARN_SHARE = 0.1  # of each reading, in the mean of the ratio

FIELDS: list[tuple[Any, ...]] = [
    ("baro_scale", np.float64),  # by which what is told is multiplied; 0: as 1
    ("baro_pa", np.float64),  # the newest that counted, on the scale
    ("other_baro", np.int32),  # the sensor whose ratio is known
    ("other_ratio", np.float64),  # of the pressure on the scale to its own
]


def choose(s: Fields, m: Fields) -> list[Any]:
    """Take in a pressure; tell whether it counts, and what it is on the scale, Pa."""
    pressure, device = m["pressure_pa"], m["device"]
    sane = (pressure >= PRESSURE_PA[0]) & (pressure <= PRESSURE_PA[1])
    before, heard_ns = s["baro_device"], s["baro_heard_ns"]
    speaks = choice.speaks(s, "baro", device, m["t_ns"], 0.0, -1.0, sane)
    changed = speaks & (before != device)
    known = s["other_baro"] == device
    scale = np.where(s["baro_scale"] > 0.0, s["baro_scale"], 1.0)
    scale = np.where(changed, np.where(known & (s["other_ratio"] > 0.0), s["other_ratio"], 1.0), scale)
    pascal = np.where(sane, pressure, PRESSURE_PA[0])
    beside = sane & ~speaks & (np.abs(m["t_ns"] - heard_ns) <= FRESH_NS) & (s["baro_pa"] > 0.0)
    ratio = s["baro_pa"] / pascal
    mean = np.where(known, s["other_ratio"] + LEARN_SHARE * (ratio - s["other_ratio"]), ratio)
    s["other_ratio"] = np.where(beside, mean, s["other_ratio"])
    other = np.where(beside, device, s["other_baro"])
    s["other_baro"] = np.where(changed, choice.NOBODY, other)
    s["baro_scale"] = np.where(speaks, scale, s["baro_scale"])
    s["baro_pa"] = np.where(speaks, scale * pascal, s["baro_pa"])
    return [speaks, np.where(speaks, scale * pressure, pressure)]
