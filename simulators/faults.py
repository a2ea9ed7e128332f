"""What befalls messages on their way: loss, delay, jitter, disorder, duplicates, as data beside one seed.

Jitter alone keeps the order, as a TCP connection does; ``reorder`` is the share of messages that others
overtake, ``duplicate`` the share that comes twice.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np

OVERTAKEN_S = 0.25  # longer than between two IMU packets
AGAIN_S = 0.05
JITTERS_MAX = 8.0


class Message(NamedTuple):
    """A message on its way: when it is due, true s since the start, and what it is."""

    due_s: float
    topic: str  # below the root
    payload: bytes


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares are 0 to 1, times are seconds.

    ``jitter_s`` is the mean of an exponential delay, cut at 8 times that, beside the constant ``delay_s``.
    The clock of each device is off by normally distributed ``offset_s`` and ``skew_ppm``, and jumps by
    ``step_s`` at ``step_at_s``.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    jitter_s: float = 0.0
    delay_s: float = 0.0
    offset_s: float = 0.5
    skew_ppm: float = 15.0
    step_s: float = 0.0
    step_at_s: float = float("inf")

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name):g}, allowed: 0 to 1")
        for name, most in (("jitter_s", 60.0), ("delay_s", 60.0), ("offset_s", 1e9), ("skew_ppm", 1e4)):
            if not 0.0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name):g}, allowed: 0 to {most:g}")
        if not abs(self.step_s) <= 1e9 or not self.step_at_s >= 0.0:
            raise ValueError("step_s is -1e9 to 1e9, step_at_s at least 0")


PRESETS = {
    "none": Faults(),
    "wifi": Faults(loss=0.002, jitter_s=0.008, delay_s=0.005),
    "mobile": Faults(loss=0.01, duplicate=0.003, reorder=0.005, jitter_s=0.04, delay_s=0.06),
    "bad": Faults(
        loss=0.05, duplicate=0.02, reorder=0.03, jitter_s=0.1, delay_s=0.1, offset_s=5.0, skew_ppm=60.0
    ),
}


def parse(text: str) -> Faults:
    """Return the faults that a command line names: a preset, ``key=value`` pairs, or both, with commas.

    Raises
    ------
    ValueError
        In one line: which word is not understood, or which range is left.
    """
    faults, known = Faults(), {field.name for field in fields(Faults)}
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, is_pair, value = word.partition("=")
        if not is_pair and name in PRESETS:
            faults = PRESETS[name]
        elif is_pair and name in known:
            try:
                faults = replace(faults, **{name: float(value)})
            except ValueError as error:
                raise ValueError(f'faults: "{word}": {error}') from None
        else:
            raise ValueError(
                f'faults: "{word}" is neither of {", ".join(PRESETS)} nor {"=, ".join(sorted(known))}='
            )
    return faults


class Channel:
    """The way of one device's messages.

    Parameters
    ----------
    faults : Faults
    rng : numpy Generator
    """

    def __init__(self, faults: Faults, rng: np.random.Generator) -> None:
        self.faults = faults
        self.counts: Counter[str] = Counter()  # lost, duplicated, reordered
        self._rng = rng
        self._last_s = 0.0

    def carry(self, messages: Iterable[Message]) -> list[Message]:
        """Return the messages as they arrive; they come in the order of ``due_s``, call after call."""
        faults, carried = self.faults, []
        for message in messages:
            lost, twice, late, delay = self._rng.random(4).tolist()
            if lost < faults.loss:
                self.counts["lost"] += 1
                continue
            delay_s = faults.delay_s - faults.jitter_s * max(float(np.log1p(-delay)), -JITTERS_MAX)
            due_s = max(message.due_s + delay_s, self._last_s)
            if late < faults.reorder:
                self.counts["reordered"] += 1
                due_s += OVERTAKEN_S
            else:
                self._last_s = due_s
            carried.append(message._replace(due_s=due_s))
            if twice < faults.duplicate:
                self.counts["duplicated"] += 1
                carried.append(message._replace(due_s=due_s + AGAIN_S))
        return carried
