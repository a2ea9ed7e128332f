"""Who is who: devices, the athletes that wear them, and how unknown devices are enrolled."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from fusion.athletes import Athletes, Profile
from fusion.core import CoreTable
from fusion.timebase import TimeBase
from server.beats import Beats
from server.config import Athlete as AthleteConfig
from server.config import Config
from server.deadlines import Streams
from server.errors import ServerError
from server.messages import Placement
from server.schedule import NONE, Schedule
from server.seen import Seen

# Which of an athlete's devices counts the steps: the lowest rank that has data. A foot cannot miss its own
# step; a wrist swings, holds a phone, or rests on a handlebar.
STEP_RANK: dict[Placement, int] = {"foot": 0, "hip": 1, "chest": 2, "pocket": 3, "wrist": 4, "unknown": 5}

VACANT_NS = 2**62
WANTING_MAX = 64
KEPT_MAX = 4096  # devices that were forgotten, of which what they told of themselves is kept


@dataclass(slots=True, eq=False)
class Device:
    """What the server knows of one device; what changes with every packet is in its row of the links."""

    id: str
    row: int  # in the time base and the links; of a device that is forgotten it may be another one's next
    number: int  # of all that ever were: what models know it by
    athlete: "Athlete"
    placement: Placement
    schedule: Schedule
    model: str = ""
    through: "Device | None" = None  # the device that speaks for it, whose clock it has
    speaks_for: int = 0  # devices
    recorded: bool = False
    played: bool = False  # its recording has ended: what comes next is live
    native: bool = False  # it speaks on topics of its own: nobody else may speak for it
    has_topics: bool = False  # frames of its topics are known by its row
    # Ends of what gyroscope, rad/s, and accelerometer, m/s^2, measure.
    ranges: tuple[float, float] = (0.0, 0.0)
    battery: float | None = None
    counted: Counter[str] | None = None  # what was refused

    @property
    def refused(self) -> Counter[str]:
        """Return how many of its messages were refused, by reason."""
        return Counter() if self.counted is None else self.counted

    @property
    def online(self) -> bool:
        """Return False after its goodbye or last will."""
        return bool(self.schedule.links["flags"][self.row] & lib.KF_LINK_ONLINE)

    @property
    def newest_ns(self) -> int:
        """Return the aligned time of its newest measurement; 0: none yet."""
        return int(self.schedule.links["newest_ns"][self.row])

    @property
    def arrived_ns(self) -> int:
        """Return the UTC at which its newest packet came; 0: none yet."""
        return int(self.schedule.links["arrived_ns"][self.row])

    @property
    def packets(self) -> int:
        """Return how many packets came that were in order."""
        return int(self.schedule.links["packets"][self.row])

    def refuse(self, reason: str) -> None:
        """Count a message of it that was refused."""
        self.name_refused(reason, 1)
        self.schedule.links["refused"][self.row] += 1

    def name_refused(self, reason: str, count: int) -> None:
        """Say why messages were refused that its link has counted."""
        if self.counted is None:
            self.counted = Counter()
        self.counted[reason] += count

    def set_online(self, online: bool) -> None:
        """Say whether it is there."""
        self.schedule.set_link(self.row, lib.KF_LINK_ONLINE, online)

    def set_recorded(self, recorded: bool) -> None:
        """Say whether it plays a recording; the packets of one that does are looked at one by one."""
        self.recorded, self.played = recorded, False
        self.schedule.set_link(self.row, lib.KF_LINK_RECORDED, recorded)
        self.schedule.set_link(self.row, lib.KF_LINK_SPECIAL, recorded or self.through is not None)


@dataclass(slots=True, eq=False)
class Athlete:
    """What the server knows of one athlete."""

    id: str
    row: int  # in the table of athletes and the lanes
    name: str
    devices: list[Device] = field(default_factory=list)
    recorded: bool = False  # a recording is played: its stamps alone move time


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
        self,
        config: Config,
        core: CoreTable,
        timebase: TimeBase,
        streams: Streams,
        table: Athletes,
        schedule: Schedule,
        on_athlete: Callable[[Athlete], None],
    ) -> None:
        self.devices: dict[str, Device] = {}
        self.athletes: dict[str, Athlete] = {}
        self.by_number: dict[int, Device] = {}
        self.now_ns = 0  # UTC of the tick
        self.numbers = 0  # of devices that ever were
        self.wanting: set[str] = set()  # who were refused for want of room, some of them
        self._kept: OrderedDict[str, tuple[Placement, str, tuple[float, float]]] = OrderedDict()
        self.device_rows: list[Device] = []  # a vacant row still has the device that is forgotten
        self.athlete_rows: list[Athlete] = []  # likewise
        self.hashes = np.zeros(64, np.int64)  # of their ids
        self.device_ids, self.athlete_ids = np.zeros((2, 64), f"S{lib.KF_ID_BYTES}")  # of each row
        self._core = core
        self._timebase = timebase
        self._streams = streams
        self._table = table
        self._schedule = schedule
        limit = config.server.devices_max
        self.seen, self.beats = Seen(schedule, limit), Beats(schedule, limit)
        self._on_athlete = on_athlete
        self.since_ns = np.zeros(64, np.int64)  # UTC at which each row was given, VACANT_NS: it is nobody's
        self._vacant: list[int] = []
        self._resting: deque[tuple[int, int]] = deque()  # UTC and row of devices just forgotten
        self._enrolls = config.enrolls
        self._devices_max = config.server.devices_max
        self._athletes_max = config.server.athletes_max
        self._configured = frozenset(athlete.id for athlete in config.athletes)
        self._known: dict[str, tuple[AthleteConfig, Placement]] = {}
        for athlete in config.athletes:
            self._add_athlete(athlete.id, athlete)
            for device in athlete.devices:
                self._known[device.id] = (athlete, device.placement)

    @property
    def configured(self) -> int:
        """Return how many athletes the configuration names: they have the first rows, for good."""
        return len(self._configured)

    @property
    def has_room(self) -> bool:
        """Return whether another device, and another athlete, can be enrolled."""
        return len(self.devices) < self._devices_max and len(self.athletes) < self._athletes_max

    def device(self, device_id: str, *, worn_with: Device | None = None) -> Device:
        """Return the device, enrolled if need be, or raise NotEnrolledError.

        ``worn_with`` is the device through which it speaks: unless configured, it has the same athlete.
        """
        found = self.devices.get(device_id)
        return found if found is not None else self._enrol(device_id, worn_with)

    def give_core(self, device: Device) -> int:
        """Return the row of a device that measures motion in the core's table; the first time it gets one."""
        core = self._schedule.links["core"]
        if core[device.row] == NONE:
            gyro_range, accel_range = device.ranges
            core[device.row] = self._core.add(
                placement=device.placement, gyro_range=gyro_range, accel_range=accel_range
            )
        return int(core[device.row])

    def configure(self, device: Device) -> None:
        """Tell the core and the links where a device is worn and what it measures."""
        self._schedule.links["rank"][device.row] = STEP_RANK[device.placement]
        core = self._schedule.links["core"][device.row]
        if core != NONE:
            gyro_range, accel_range = device.ranges
            self._core.configure(
                int(core), placement=device.placement, gyro_range=gyro_range, accel_range=accel_range
            )

    def _enrol(self, device_id: str, worn_with: Device | None) -> Device:
        known = self._known.get(device_id)
        unnamed = known is None and worn_with is None
        if unnamed and (not self._enrolls or device_id in self._configured):
            raise NotEnrolledError("unknown_device")
        if len(self.devices) >= self._devices_max:
            self._want(device_id)
            raise NotEnrolledError("devices_max")
        own = self.athletes.get(device_id) if unnamed else None
        if unnamed and own is None and len(self.athletes) >= self._athletes_max:
            self._want(device_id)
            raise NotEnrolledError("athletes_max")
        if known is not None:
            athlete, placement = self.athletes[known[0].id], known[1]
        elif worn_with is not None:
            athlete, placement = worn_with.athlete, "unknown"
        else:
            athlete, placement = own or self._add_athlete(device_id, None), "unknown"
        # It may be connected all the time, and does not tell a second time what it is.
        placement, model, ranges = self._kept.pop(device_id, (placement, "", (0.0, 0.0)))
        row = self._vacant.pop() if self._vacant else len(self.device_rows)
        number = self.numbers
        self.numbers += 1
        self.since_ns = _with_room(self.since_ns, row)
        self.since_ns[row] = self.now_ns
        self._timebase.add(row)
        self._streams.add(row)
        self._schedule.add_device(row, athlete.row, STEP_RANK[placement], number)
        device = Device(device_id, row, number, athlete, placement, self._schedule, through=worn_with)
        device.model, device.ranges = model, ranges
        device.set_recorded(False)
        if worn_with is not None:
            worn_with.speaks_for += 1
        self.device_ids = _with_room(self.device_ids, row)
        self.device_ids[row] = device_id
        self.devices[device_id] = self.by_number[number] = device
        if row == len(self.device_rows):
            self.device_rows.append(device)
        else:
            self.device_rows[row] = device
        athlete.devices.append(device)
        return device

    def _want(self, device_id: str) -> None:
        if len(self.wanting) < WANTING_MAX:
            self.wanting.add(device_id)

    def forget(self, device: Device) -> None:
        """Forget a device, of which nothing is on its way but frames that are not read yet.

        Those were told by its row. So that is nobody's until `begin_tick` says that there are none any more.
        """
        core = self._schedule.links["core"][device.row]
        if core != NONE:
            self._core.remove(int(core))
        self._timebase.add(device.row)
        self._streams.add(device.row)
        self.seen.forget(device.row)
        self.beats.forget(device.row)
        self._schedule.forget_device(device.row)
        del self.devices[device.id], self.by_number[device.number]
        if device.through is not None:
            device.through.speaks_for -= 1
        self._kept[device.id] = device.placement, device.model, device.ranges
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        device.athlete.devices.remove(device)
        self.since_ns[device.row] = VACANT_NS
        self._resting.append((self.now_ns, device.row))

    def begin_tick(self, now_ns: int, since_ns: int) -> None:
        """Take note of the time, and that nothing that is read from now on came before UTC ``since_ns``.

        Rows that were given up before that are used again.
        """
        self.now_ns = now_ns
        while self._resting and self._resting[0][0] < since_ns:
            self._vacant.append(self._resting.popleft()[1])

    def is_passing(self, athlete: Athlete) -> bool:
        """Return True for one whom no configuration names: they go with their last device."""
        return athlete.id not in self._configured

    def forget_athlete(self, athlete: Athlete) -> None:
        """Forget an athlete who `is_passing`, has no device, and for whom nothing is left to do."""
        del self.athletes[athlete.id]
        self._table.remove(athlete.row)
        self._schedule.forget_athlete(athlete.row)

    def _add_athlete(self, athlete_id: str, config: AthleteConfig | None) -> Athlete:
        row = self._table.add(_profile(config))
        self._schedule.add_athlete(row, athlete_id)
        name = config.name if config is not None and config.name else athlete_id
        athlete = Athlete(athlete_id, row, name)
        self.hashes, self.athlete_ids = _with_room(self.hashes, row), _with_room(self.athlete_ids, row)
        self.athlete_ids[row] = athlete_id
        self.hashes[row] = crc32(athlete_id.encode())
        self.athletes[athlete_id] = athlete
        if row == len(self.athlete_rows):
            self.athlete_rows.append(athlete)
        else:
            self.athlete_rows[row] = athlete
        self._on_athlete(athlete)
        return athlete


def _with_room(column: NDArray[Any], row: int) -> NDArray[Any]:
    return column if row < len(column) else np.concatenate([column, np.zeros(row + 1, column.dtype)])


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
