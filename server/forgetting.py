"""Devices that are silent for long are forgotten, so that a server that runs for months never fills up.

Who is silent for FORGET_NS goes; where room is needed, whoever is silent for ROOM_NS, those first who were
heard longest ago. A device stays whose athlete has a workout open or work to be done, or through which
another one speaks. An athlete goes with the last device, unless the configuration names them.

This is done at the end of a tick, when no batch is being read. Nobody inherits anything with a row: tables
are reset when it is given up, and models know devices by numbers that are never used again.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from fusion._core import lib
from server.config import Config
from server.envelopes import Outgoing
from server.frames import Topics
from server.health import Health
from server.jobs import Jobs
from server.pings import Pings
from server.registry import Device, Registry
from server.schedule import Schedule
from server.waiting import Waiting
from server.workouts import Workouts

FORGET_NS: Final = 86_400_000_000_000
ROOM_NS: Final = 60_000_000_000
LOOK_NS: Final = 1_000_000_000
SPARE: Final = 64  # one of so many places is kept free for who is new
FORGOTTEN_MAX: Final = 16  # in one look: each takes half a millisecond
IDS_MAX: Final = 1024


class Forgetting:
    """Forgets devices, and athletes with their last one.

    Attributes
    ----------
    count : int
        Devices that were forgotten.
    ids : deque of str
        The newest of them, for who takes them out.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        schedule: Schedule,
        workouts: Workouts,
        jobs: Jobs,
        health: Health,
        pings: Pings,
        topics: Topics,
        waiting: Waiting,
        go_live: Callable[[Device], None],
    ) -> None:
        self.count = 0
        self.ids: deque[str] = deque(maxlen=IDS_MAX)
        self._devices_max, self._athletes_max = config.server.devices_max, config.server.athletes_max
        self._registry, self._schedule, self._workouts = registry, schedule, workouts
        self._jobs, self._health, self._pings, self._topics = jobs, health, pings, topics
        self._waiting = waiting
        self._go_live = go_live
        self._looked_ns = 0
        self._in_vain = False  # the last look freed nobody though room was wanted

    def due(self, utc_ns: int) -> list[Outgoing]:
        """Forget who is to be forgotten; nothing is being read."""
        registry = self._registry
        if 0 <= utc_ns - self._looked_ns < LOOK_NS and (self._in_vain or not registry.wanting):
            return []
        self._looked_ns, wanted = utc_ns, bool(registry.wanting)
        out: list[Outgoing] = []
        before = self.count
        devices, athletes = self._needed()
        least_ns = ROOM_NS if devices > 0 or athletes > 0 else FORGET_NS
        for device, silent_ns in self._silent(utc_ns, least_ns, passing=devices <= 0 < athletes):
            makes_room = devices > 0 or (athletes > 0 and registry.is_passing(device.athlete))
            if (silent_ns < FORGET_NS and not makes_room) or not self._may_go(device):
                continue
            known = len(registry.athletes)
            out += self._forget(device)
            devices, athletes = devices - 1, athletes - known + len(registry.athletes)
            if self.count == before + FORGOTTEN_MAX:
                break
        self._in_vain = wanted and self.count == before
        return out

    def _needed(self) -> tuple[int, int]:
        """Return how many devices and athletes have to go for those who are new."""
        registry, wanted = self._registry, len(self._registry.wanting)
        registry.wanting.clear()
        devices = len(registry.devices) - self._devices_max + max(wanted, self._devices_max // SPARE)
        athletes = len(registry.athletes) - self._athletes_max + max(wanted, self._athletes_max // SPARE)
        return devices, athletes

    def _silent(self, utc_ns: int, least_ns: int, *, passing: bool) -> Iterator[tuple[Device, int]]:
        """Yield devices that are silent for so long, and how long, who was heard longest ago first.

        Where ``passing``, those that are silent for less than FORGET_NS are of athletes who may go too.
        """
        rows, since_ns = self._registry.device_rows, self._registry.since_ns
        heard_ns = np.maximum(self._schedule.links["arrived_ns"][: len(rows)], since_ns[: len(rows)])
        old = np.flatnonzero(heard_ns <= utc_ns - least_ns)
        athletes = self._schedule.links["athlete"][old]
        flags, jobs = (self._schedule.lanes[name][athletes] for name in ("flags", "jobs"))
        may = (flags & lib.KF_LANE_OPEN == 0) & (jobs == 0)
        if passing:
            may &= (athletes >= self._registry.configured) | (heard_ns[old] <= utc_ns - FORGET_NS)
        old = old[may]
        for row in old[np.argsort(heard_ns[old], kind="stable")].tolist():
            yield rows[row], utc_ns - int(heard_ns[row])

    def _may_go(self, device: Device) -> bool:
        """Return False where something is left of it to be worked on, or somebody needs it."""
        athlete = device.athlete
        if self._workouts.is_open(athlete) or self._jobs.ordered[athlete.row]:
            return False
        if athlete.row in self._jobs.rewound or self._waiting.holds(device.row):
            return False
        return not device.speaks_for

    def _forget(self, device: Device) -> list[Outgoing]:
        registry, athlete = self._registry, device.athlete
        out = self._jobs.rewind_now(athlete)
        if device.recorded:
            self._go_live(device)  # its athlete may have others, or come again
        self._topics.remove(device.id)
        self._pings.forget(device)
        self._health.forget(device)
        registry.forget(device)
        self.count += 1
        self.ids.append(device.id)
        if not athlete.devices and registry.is_passing(athlete):
            self._workouts.drop(athlete)
            self._health.forget_athlete(athlete.row)
            registry.forget_athlete(athlete)
        return out
