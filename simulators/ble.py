"""A Bluetooth Low Energy link with a phone behind it: when packets that a device sends arrive at the server.

A link has connection events on a grid, whose clock is the phone's. A packet waits for the next event. An
event may fail, and then all that waits is sent at a later one, so packets arrive in bursts and in their
order. Failures come in spells (Gilbert 1960, Elliott 1963: a good and a bad state, each with its own share
of failures). An event carries ``PER_EVENT`` packets, ``SPACING_S`` apart; what is left waits again. The hop
from the phone to the server adds an exponential delay, and ``floor_s`` is what no packet can fall below.

``RECORDED`` is fitted to the arrivals of 548 heart rate notifications at a phone (polar_verity_sense of the
data folder, see `simulators.evaluation.links`): one a second, they come 0, 20 and 10 ms after the earliest,
in turn, as a grid of 30 ms makes them, and late in spells. ``BURSTY`` is the same radio in longer bad spells.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

PER_EVENT: Final = 4  # as many as an iPhone takes, and what is between them: Apple, bluetooth-dev, 2012
SPACING_S: Final = 0.0006


@dataclass(frozen=True, slots=True)
class Ble:
    """Shares are 0 to 1, times are seconds.

    Parameters
    ----------
    interval_s : float
        From connection event to connection event.
    failing_good, failing_bad : float
        The share of events that fail, in good and bad spells.
    worsens, recovers : float
        The chance, from event to event, that a good spell ends and that a bad one does.
    hop_s : float
        Mean of the exponential delay behind the phone.
    floor_s : float
        The constant delay.
    """

    interval_s: float = 0.03
    failing_good: float = 0.15
    failing_bad: float = 0.8
    worsens: float = 0.03
    recovers: float = 0.15
    hop_s: float = 0.002
    floor_s: float = 0.008

    def __post_init__(self) -> None:
        for name in ("failing_good", "failing_bad", "worsens", "recovers"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} is {getattr(self, name):g}, allowed: 0 up to 1")


RECORDED: Final = Ble()
BURSTY: Final = Ble(failing_bad=0.92, worsens=0.012, recovers=0.07)


def arrivals(sent_s: Floats, link: Ble, rng: np.random.Generator) -> Floats:
    """Return when packets arrive, s, in the order in which they were sent.

    Parameters
    ----------
    sent_s : (n,) float
        When the device has each one ready, not falling.
    link : Ble
    rng : numpy Generator
    """
    events_s = successes(float(sent_s[0]), float(sent_s[-1]), link, rng)
    first = np.searchsorted(events_s, sent_s)
    hops_s = rng.exponential(link.hop_s, len(sent_s))
    arrived_s = np.empty(len(sent_s))
    event, carried, last_s = 0, 0, -np.inf
    for i, (reached, hop_s) in enumerate(zip(first.tolist(), hops_s.tolist(), strict=True)):
        if reached > event:
            event, carried = reached, 0
        elif carried == PER_EVENT:
            event, carried = event + 1, 0
        last_s = max(last_s, float(events_s[event]) + carried * SPACING_S + hop_s)
        arrived_s[i] = last_s
        carried += 1
    return arrived_s + link.floor_s


def successes(begin_s: float, end_s: float, link: Ble, rng: np.random.Generator) -> Floats:
    """Return the connection events that do not fail, s, from a random phase to well beyond the end."""
    count = int((end_s - begin_s) / link.interval_s) + 4096
    draws = rng.random((count, 2))
    failed = np.empty(count, np.bool_)
    bad = False
    for i, (turns, fails) in enumerate(draws.tolist()):
        bad = turns >= link.recovers if bad else turns < link.worsens
        failed[i] = fails < (link.failing_bad if bad else link.failing_good)
    events_s = begin_s + (np.arange(count) + rng.random()) * link.interval_s
    succeeded: Floats = events_s[~failed]
    return succeeded
