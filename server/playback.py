"""Playing a recording: the very messages, with the times at which they are due, of both replay and analysis.

Nothing here waits or reads a clock: the caller does, or feeds the messages as fast as they come.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from server.files import Recording

SPEED_MAX: Final = 1e6  # the fastest that a birth can tell; "as fast as it goes" is told as this


class Played(NamedTuple):
    """A message and when it is due, s after the first one."""

    due_s: float
    topic: str
    payload: bytes


def play(
    recording: Recording, *, root: str, device: str | None = None, speed: float = 1.0, run: str = ""
) -> Iterator[Played]:
    """Yield the messages of a recording in the order of their delivery.

    The first is the birth: its clock is recorded, and tells the speed, so that the server takes the stamps as
    they are and scales its deadlines. It is to be published retained, as a device does.

    Parameters
    ----------
    recording : Recording
        From `server.files.read`.
    root : str
        Goes before the topics of the protocol; an app's own topic stays as it is.
    device : str, optional
        Another id for the device, and so for the athlete.
    speed : float
        How many times as fast as it was recorded, greater than 0, at most SPEED_MAX; infinite: all is due
        at once.
    run : str
        Goes before the ids of the commands, so that a server that heard them before obeys them again; at most
        16 of ``[A-Za-z0-9_-]``.

    Raises
    ------
    ValueError
        The speed is out of its range.
    """
    if not (speed == math.inf or 0 < speed <= SPEED_MAX):
        raise ValueError(f"speed must be greater than 0 and at most {SPEED_MAX:g}, or infinite, not {speed}")
    if device is not None:
        recording = recording.renamed(device)
    recording = replace(recording, run=run)
    first_ns: int | None = None
    for event in recording.events(min(speed, SPEED_MAX)):
        first_ns = event.t_ns if first_ns is None else first_ns
        topic = event.topic if event.absolute else f"{root}/{event.topic}"
        yield Played((event.t_ns - first_ns) / 1e9 / speed, topic, event.payload)
