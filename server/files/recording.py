"""What a file becomes: the messages that its device would have sent, in the order of delivery.

The messages of a file and its own totals are kept apart: the totals are what an evaluation compares with, and
never reach the engine. Times are ns of the UTC epoch, int64.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple, Self

from msgspec import structs

from server.codecs import samples
from server.messages import Birth, Clock, Command, Packet, Placement, Sport

_ID_MAX: Final = 64
_SUFFIXES: Final = {".xz", ".fit", ".gpx", ".tcx", ".zip", ".json", ".csv"}


class Event(NamedTuple):
    """One message of a recording."""

    t_ns: int
    topic: str  # below the root (``in/{device}/hr``), or as it is where ``absolute``
    payload: bytes
    absolute: bool = False


class Timed(NamedTuple):
    """A packet or command before it is encoded; ``kind`` is the topic's last level."""

    t_ns: int
    kind: str
    message: Packet | Command


@dataclass(frozen=True, kw_only=True)
class Recording(ABC):
    """A workout from a file.

    Attributes
    ----------
    path : Path
        Where it comes from.
    kind : str
        The format, one of `server.files.FORMATS`.
    device : str
        The device id; matches ``[A-Za-z0-9_-]{1,64}``.
    athlete : str
        The id of the athlete who wears it; empty: an unknown device makes an athlete of its own id.
    model : str
        What the file says about the device.
    sport : Sport or None
        None where the file does not tell, or tells of several.
    start_ns, end_ns : int
        When the workout starts and ends; the times of the ``start`` and the ``stop`` command.
    records : int
        Records, track points or sensor rows that were read.
    pauses : tuple of (int, int)
        Where the timer stood still, from and to, ns.
    totals : dict
        The file's own totals by the names of `server.messages.Summary`; never fed to the engine.
    warnings : tuple of str
        What was left out or is damaged.
    """

    path: Path
    kind: str
    device: str
    model: str
    sport: Sport | None
    start_ns: int
    end_ns: int
    records: int
    pauses: tuple[tuple[int, int], ...] = ()
    totals: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    placement: Placement = "unknown"
    athlete: str = ""
    run: str = ""  # goes before the ids of commands: a server obeys each id once

    def renamed(self, device: str) -> Self:
        """Return the same recording of another device."""
        return replace(self, device=device_id(device))

    def birth(self, speed: float = 1.0) -> Birth:
        """Return the birth: a clock that is recorded and played ``speed`` times as fast as it ran."""
        return Birth(
            t=self.start_ns,
            model=self.model[:128],
            placement=self.placement,
            sport=self.sport,
            clock=Clock(recorded=True, speed=speed),
        )

    def events(self, speed: float = 1.0) -> Iterator[Event]:
        """Yield all messages by ``t_ns``, first the birth and the start, last the stop."""
        status = f"in/{self.device}/status"
        yield Event(min(self.first_ns, self.start_ns), status, samples.encode(self.birth(speed)))
        yield from self._middle()

    @property
    @abstractmethod
    def first_ns(self) -> int:
        """Return when the first message is delivered."""

    @abstractmethod
    def _middle(self) -> Iterator[Event]:
        """Yield all messages but the birth."""

    def _event(self, timed: Timed) -> Event:
        message = timed.message
        if isinstance(message, Command):
            payload = samples.encode(structs.replace(message, id=f"{self.run}{message.id}"))
            return Event(timed.t_ns, f"command/{self.athlete or self.device}", payload)
        return Event(timed.t_ns, f"in/{self.device}/{timed.kind}", samples.encode(message))


@dataclass(frozen=True, kw_only=True)
class SampleRecording(Recording):
    """A recording whose messages are native samples: FIT, GPX, TCX."""

    timeline: Sequence[Timed] = field(repr=False)

    @property
    def first_ns(self) -> int:
        """Return when the first message is delivered."""
        return self.timeline[0].t_ns

    def _middle(self) -> Iterator[Event]:
        return map(self._event, self.timeline)


def command(t_ns: int, action: str, number: int, sport: Sport | None, start_ns: int) -> Timed:
    """Return a command of a recording; ids are unique among the recordings of a device."""
    order = Command(action=action, id=f"{start_ns // 10**9}-{number}", t=t_ns, sport=sport)  # type: ignore[arg-type]
    return Timed(t_ns, "command", order)


def device_id(text: str) -> str:
    """Return ``text`` as an id: what an id may not hold becomes ``-``, cut to 64 characters."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)[:_ID_MAX] or "recording"


def device_of(path: Path) -> str:
    """Return a device id from a file's name without the suffixes of the formats."""
    while path.suffix.lower() in _SUFFIXES:
        path = path.with_suffix("")
    return device_id(path.name)
