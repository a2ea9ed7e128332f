"""How the devices and the server itself are: what came, what was lost, what was refused and why."""

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from fusion.timebase import TimeBase
from server.envelopes import Outgoing
from server.ingest import Ingest
from server.messages import ClockHealth, DeviceHealth
from server.publications import encode
from server.registry import Device, Registry
from server.schedule import Schedule

PERIOD_NS = 5_000_000_000
LOOKS = 10  # in a period; each time it is another tenth of the devices that is due
LOOK_NS = PERIOD_NS // LOOKS
SILENT_NS = 10_000_000_000

_TOLD = np.dtype([("t_ns", np.int64), ("refused", np.uint64), ("online", np.bool_)])  # when last, and what


class Health:
    """Tells of each device when it is due."""

    def __init__(
        self, root: str, registry: Registry, timebase: TimeBase, schedule: Schedule, ingest: Ingest
    ) -> None:
        self._root = root
        self._registry = registry
        self._timebase = timebase
        self._schedule = schedule
        self._ingest = ingest
        self._looked_ns = 0
        self._told = np.zeros(0, _TOLD)

    def due(self, utc_ns: int, every: int = 1) -> list[Outgoing]:
        """Return the health messages that are due at ``utc_ns``, of each device one of so many."""
        if utc_ns - self._looked_ns < LOOK_NS:
            return []
        self._looked_ns = utc_ns
        count = len(self._registry.device_rows)
        if count > len(self._told):
            told = np.zeros(max(count, 2 * len(self._told)), _TOLD)
            told[: len(self._told)] = self._told
            self._told = told
        links, told = self._schedule.links[:count], self._told[:count]
        online = links["flags"] & lib.KF_LINK_ONLINE != 0
        online &= utc_ns - links["arrived_ns"] <= SILENT_NS
        news = (links["arrived_ns"] > told["t_ns"]) | (links["refused"] != told["refused"])
        news |= told["online"] & ~online
        periods = _period(np.arange(count), utc_ns) - _period(np.arange(count), told["t_ns"])
        news &= periods >= every
        rows = np.flatnonzero(news)
        told["t_ns"][rows] = utc_ns
        told["online"][rows], told["refused"][rows] = online[rows], links["refused"][rows]
        devices = [self._registry.device_rows[row] for row in rows.tolist()]
        return [
            Outgoing(f"{self._root}/devices/{device.id}/health", encode(self.of(device, utc_ns)))
            for device in devices
        ]

    def of(self, device: Device, utc_ns: int) -> DeviceHealth:
        """Return how a device is at ``utc_ns``."""
        clock = self._timebase.clock(device.row)
        return DeviceHealth(
            t_ms=utc_ns // 1_000_000,
            device=device.id,
            athlete=device.athlete.id,
            model=device.model,
            placement=device.placement,
            online=self._is_online(device, utc_ns),
            silent_s=round(max(0, utc_ns - device.arrived_ns) * 1e-9, 1) if device.arrived_ns else 0.0,
            clock=None
            if not isfinite(clock.sigma_ns)
            else ClockHealth(
                offset_ms=round(clock.offset_ns * 1e-6, 3),
                sigma_ms=round(clock.sigma_ns * 1e-6, 3),
                skew_ppm=round(clock.skew_ppm, 2),
                jumps=clock.jumps,
                recorded=device.recorded,
            ),
            imu_rate_hz=round(device.rate_hz, 2),
            packets=device.packets,
            lost=device.lost,
            refused=dict(device.refused),
            battery=device.battery,
            intervals=dict(device.cleaner.found) if device.cleaner else {},
        )

    def refused(self) -> dict[str, int]:
        """Return how many messages were refused, by reason: of all devices and of none."""
        total = self._ingest.refused.copy()
        for device in self._registry.devices.values():
            total.update(device.refused)
        return dict(total)

    def _is_online(self, device: Device, utc_ns: int) -> bool:
        return device.online and utc_ns - device.arrived_ns <= SILENT_NS


def _period(rows: NDArray[np.intp], utc_ns: Any) -> NDArray[np.int64]:
    """Return the number of each device's period; a tenth of the devices begin theirs with each look."""
    period: NDArray[np.int64] = (utc_ns + rows % LOOKS * LOOK_NS) // PERIOD_NS
    return period
