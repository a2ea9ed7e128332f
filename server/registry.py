"""Who is who: devices, the athletes that wear them, and how unknown devices are enrolled."""

from collections import Counter, deque
from dataclasses import dataclass, field

from fusion.athletes import Athletes, Profile
from fusion.core import CoreFull, CoreTable
from fusion.timebase import TimeBase
from server.config import Athlete as AthleteConfig
from server.config import Config
from server.deadlines import Streams
from server.errors import ServerError
from server.messages import Placement
from server.schedule import Lane

# Which of an athlete's devices counts the steps: the lowest rank that has data. A foot cannot miss its own
# step; a wrist swings, holds a phone, or rests on a handlebar.
STEP_RANK: dict[Placement, int] = {"foot": 0, "hip": 1, "chest": 2, "pocket": 3, "wrist": 4, "unknown": 5}

SEEN_KEPT = 16  # messages of one kind by which a duplicate is known


@dataclass(slots=True)
class Device:
    """What the server knows of one device. ``row`` is its row in the core's table and in the time base."""

    id: str
    row: int
    athlete: "Athlete"
    placement: Placement
    model: str = ""
    through: "Device | None" = None  # the device that speaks for it, whose clock it has
    recorded: bool = False
    played: bool = False  # its recording has ended: what comes next is live
    native: bool = False  # it speaks on topics of its own: nobody else may speak for it
    online: bool = True
    battery: float | None = None
    rate_hz: float = 0.0
    newest_ns: int = 0  # aligned time of its newest sample
    arrived_ns: int = 0  # UTC at which its newest packet came
    packets: int = 0
    lost: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    told_ns: int = 0  # when its health was last published,
    told_online: bool = False  # and what it said
    refused_told: int = 0
    seen: dict[str, deque[tuple[int | None, int | None, int | None]]] = field(default_factory=dict)

    def is_duplicate(self, kind: str, key: tuple[int | None, int | None, int | None]) -> bool:
        """Return True when a message of this kind with this (t, boot, seq) came a short while ago."""
        if key[0] is None and key[2] is None:
            return False  # it tells nothing by which to know it again
        recent = self.seen.setdefault(kind, deque(maxlen=SEEN_KEPT))
        if key in recent:
            return True
        recent.append(key)
        return False


@dataclass(slots=True)
class Athlete:
    """What the server knows of one athlete. ``row`` is the row in the fusion table."""

    id: str
    row: int
    name: str
    lane: Lane
    devices: list[Device] = field(default_factory=list)
    recorded: bool = False  # a recording is played: its stamps alone move time

    def now_ns(self, arrived_ns: int) -> int:
        """Return the aligned time of what tells none: its arrival; in a recording the newest time told."""
        if self.recorded and self.lane.watermark_ns is not None:
            return self.lane.watermark_ns
        return arrived_ns

    @property
    def arrived_ns(self) -> int:
        """UTC at which the newest packet of any of the devices came; 0: none yet."""
        return max((device.arrived_ns for device in self.devices), default=0)


class NotEnrolledError(ServerError):
    """The device is not known and may not be enrolled; ``reason`` is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Registry:
    """Devices and athletes by id. Athletes of the configuration are there from the start.

    A device that nobody named becomes a new athlete of the same id where ``server.enroll`` is ``auto``. Where
    the configuration has an athlete of that id it is refused: it names that athlete's devices.
    """

    def __init__(
        self, config: Config, core: CoreTable, timebase: TimeBase, streams: Streams, table: Athletes
    ) -> None:
        self.devices: dict[str, Device] = {}
        self.athletes: dict[str, Athlete] = {}
        self._by_row: dict[int, Device] = {}
        self._core = core
        self._timebase = timebase
        self._streams = streams
        self._table = table
        self._enrolls = config.enrolls
        self._devices_max = config.server.devices_max
        self._athletes_max = config.server.athletes_max
        self._known: dict[str, tuple[AthleteConfig, Placement]] = {}
        for athlete in config.athletes:
            self._add_athlete(athlete.id, athlete)
            for device in athlete.devices:
                self._known[device.id] = (athlete, device.placement)

    def device(self, device_id: str, *, worn_with: Device | None = None) -> Device:
        """Return the device, enrolled if need be, or raise NotEnrolledError.

        ``worn_with`` is the device through which it speaks: unless configured, it has the same athlete.
        """
        found = self.devices.get(device_id)
        return found if found is not None else self._enrol(device_id, worn_with)

    def device_at(self, row: int) -> Device:
        """Return the device at a row of the core's table."""
        return self._by_row[row]

    def _enrol(self, device_id: str, worn_with: Device | None) -> Device:
        known = self._known.get(device_id)
        unnamed = known is None and worn_with is None
        if unnamed and (not self._enrolls or device_id in self.athletes):
            raise NotEnrolledError("unknown_device")
        if len(self.devices) >= self._devices_max:
            raise NotEnrolledError("devices_max")
        if unnamed and len(self.athletes) >= self._athletes_max:
            raise NotEnrolledError("athletes_max")
        if known is not None:
            athlete, placement = self.athletes[known[0].id], known[1]
        elif worn_with is not None:
            athlete, placement = worn_with.athlete, "unknown"
        else:
            athlete, placement = self._add_athlete(device_id, None), "unknown"
        try:
            row = self._core.add(placement=placement)
        except CoreFull:
            raise NotEnrolledError("devices_max") from None
        self._timebase.add(row)
        self._streams.add(row)
        device = Device(device_id, row, athlete, placement, through=worn_with)
        self.devices[device_id] = self._by_row[row] = device
        athlete.devices.append(device)
        return device

    def _add_athlete(self, athlete_id: str, config: AthleteConfig | None) -> Athlete:
        row = self._table.add(_profile(config))
        name = config.name if config is not None and config.name else athlete_id
        athlete = Athlete(athlete_id, row, name, Lane.of(athlete_id, row))
        self.athletes[athlete_id] = athlete
        return athlete


def _profile(config: AthleteConfig | None) -> Profile:
    if config is None:
        return Profile()
    return Profile(
        mass_kg=config.mass_kg,
        height_m=config.height_m,
        birth_year=config.birth_year,
        sex=config.sex,
        resting_bpm=config.resting_bpm,
        max_bpm=config.max_bpm,
        zones=tuple(config.zones),
    )
