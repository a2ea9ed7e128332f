"""How devices, athletes' fusion and the server itself are: what came, was lost, or was refused and why."""

from collections.abc import Container
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from fusion.athletes import Athletes
from fusion.timebase import ClockState, TimeBase
from server.athlete_health import FusionHealth
from server.clock_kind import kind
from server.deadlines import Streams
from server.envelopes import Outgoing
from server.ingest import Ingest
from server.messages import ClockHealth, DeviceHealth, StreamHealth
from server.publications import encode
from server.registry import Device, Registry
from server.schedule import Schedule

PERIOD_NS = 10_000_000_000  # what changes is told at once
LOOKS = 200  # in a period; each time it is another part of the devices that is due
LOOK_NS = PERIOD_NS // LOOKS
TOLD_MIN = 50  # devices of which each look may tell, or twice its share: those told of longest ago come first
SHARE_NS_MAX = PERIOD_NS // 20  # its share is by the time since the look before it, up to this
SILENT_NS = 10_000_000_000

_TOLD = np.dtype([("t_ns", np.int64), ("refused", np.uint64), ("online", np.bool_)])  # when last, and what


class Health:
    """Tells of each device when it is due."""

    def __init__(
        self,
        root: str,
        registry: Registry,
        table: Athletes,
        timebase: TimeBase,
        schedule: Schedule,
        streams: Streams,
        ingest: Ingest,
        rewound: Container[int],
    ) -> None:
        self._root = root
        self._registry = registry
        self._fusion = FusionHealth(root, registry, table, rewound)
        self._timebase = timebase
        self._streams = streams
        self._schedule = schedule
        self._ingest = ingest
        self._looked_ns = 0
        self._told = np.zeros(0, _TOLD)

    def due(self, utc_ns: int, every: int = 1) -> list[Outgoing]:
        """Return the health messages that are due at ``utc_ns``, of each device one of so many.

        A device one of whose streams has changed is told of at once. The health of athletes is beside it.
        """
        changes = self._streams.look(utc_ns, self._timebase.state["jumps"])
        rows = list(dict.fromkeys(change.row for change in changes))
        of_athletes = self._fusion.due(utc_ns, every)
        if utc_ns - self._looked_ns < LOOK_NS:
            return of_athletes + self._tell(rows, utc_ns)
        share_ns = min(utc_ns - self._looked_ns, SHARE_NS_MAX)
        self._looked_ns = utc_ns
        news = dict.fromkeys([*rows, *self._news(utc_ns, every, share_ns).tolist()])
        return of_athletes + self._tell(list(news), utc_ns)

    def _news(self, utc_ns: int, every: int, share_ns: int) -> NDArray[np.intp]:
        """Return the rows of devices of which there is something to tell, and whose turn it is."""
        count = self._reserve()
        links, told = self._schedule.links[:count], self._told[:count]
        news = (links["arrived_ns"] > told["t_ns"]) | (links["refused"] != told["refused"])
        news |= told["online"] & ~self._online(count, utc_ns)
        rows = np.flatnonzero(news)
        periods = _period(rows, utc_ns) - _period(rows, told["t_ns"][rows])
        rows = rows[periods >= every]
        most = max(TOLD_MIN, 2 * count * share_ns // PERIOD_NS)
        if len(rows) <= most:
            return rows
        return rows[np.argsort(told["t_ns"][rows], kind="stable")[:most]]

    def _tell(self, rows: list[int], utc_ns: int) -> list[Outgoing]:
        """Return the health of devices as it is published now."""
        if not rows:
            return []
        count = self._reserve()
        links, told = self._schedule.links[:count], self._told[:count]
        told["t_ns"][rows], told["refused"][rows] = utc_ns, links["refused"][rows]
        told["online"][rows] = self._online(count, utc_ns)[rows]
        told_of = self.of([self._registry.device_rows[row] for row in rows], utc_ns)
        return [Outgoing(f"{self._root}/devices/{each.device}/health", encode(each)) for each in told_of]

    def _online(self, count: int, utc_ns: int) -> NDArray[np.bool_]:
        """Return of which devices something came lately."""
        links = self._schedule.links[:count]
        online: NDArray[np.bool_] = links["flags"] & lib.KF_LINK_ONLINE != 0
        return online & (utc_ns - links["arrived_ns"] <= SILENT_NS) & ~self._streams.dead[:count]

    def _reserve(self) -> int:
        """Have a row for each device; return how many there are."""
        count = len(self._registry.device_rows)
        if count > len(self._told):
            told = np.zeros(max(count, 2 * len(self._told)), _TOLD)
            told[: len(self._told)] = self._told
            self._told = told
        return count

    def forget(self, device: Device) -> None:
        """Forget what was told of a device; what was refused of it still counts, at the server."""
        self._ingest.refused.update(device.refused)
        if device.row < len(self._told):
            self._told[device.row] = np.zeros((), _TOLD)

    def forget_athlete(self, row: int) -> None:
        """Forget what was told of an athlete."""
        self._fusion.forget(row)

    def of(self, devices: list[Device], utc_ns: int) -> list[DeviceHealth]:
        """Return how devices are at ``utc_ns``."""
        rows = np.array([device.row for device in devices], np.intp)
        links = self._schedule.links[rows]
        columns = (links[name].tolist() for name in ("arrived_ns", "rate_hz", "packets", "lost"))
        online = self._online(self._reserve(), utc_ns)[rows].tolist()
        clocks, stamps_ns = self._timebase.clocks(rows), self._timebase.state["newest_ns"][rows].tolist()
        intervals = self._registry.beats.found(rows)
        return [
            DeviceHealth(
                t_ms=utc_ns // 1_000_000,
                device=device.id,
                athlete=device.athlete.id,
                model=device.model,
                placement=device.placement,
                online=is_online,
                silent_s=round(max(0, utc_ns - arrived_ns) * 1e-9, 1) if arrived_ns else 0.0,
                clock=_clock(clock, stamp_ns, recorded=device.recorded),
                imu_rate_hz=round(rate_hz, 2),
                packets=packets,
                lost=lost,
                refused=dict(device.refused),
                battery=device.battery,
                streams={
                    kind: StreamHealth(
                        state=stream.state,
                        silent_s=round(stream.silent_ns * 1e-9, 1),
                        deadline_s=round(stream.deadline_ns * 1e-9, 1),
                    )
                    for kind, stream in streams.items()
                },
                intervals=found,
            )
            for device, streams, is_online, clock, stamp_ns, found, arrived_ns, rate_hz, packets, lost in zip(
                devices,
                self._streams.of(rows, utc_ns),
                online,
                clocks,
                stamps_ns,
                intervals,
                *columns,
                strict=True,
            )
        ]

    def refused(self) -> dict[str, int]:
        """Return how many messages were refused, by reason: of all devices and of none."""
        total = self._ingest.refused.copy()
        devices = self._registry.device_rows
        for row in np.flatnonzero(self._schedule.links["refused"][: len(devices)]).tolist():
            total.update(devices[row].refused)
        return dict(total)


def _clock(clock: ClockState, stamp_ns: int, *, recorded: bool) -> ClockHealth | None:
    """Return how a clock whose newest stamp this is, is told; None where it told no time."""
    if not isfinite(clock.sigma_ns):
        return None
    return ClockHealth(
        offset_ms=round(clock.offset_ns * 1e-6, 3),
        sigma_ms=round(clock.sigma_ns * 1e-6, 3),
        skew_ppm=round(clock.skew_ppm, 2),
        jumps=clock.jumps,
        wraps=clock.wraps,
        kind=kind(clock.offset_ns, stamp_ns),
        round_trip_ms=round(clock.trip_ns * 1e-6, 3) if clock.trip_ns else None,
        recorded=recorded,
    )


def _period(rows: NDArray[np.intp], utc_ns: Any) -> NDArray[np.int64]:
    """Return the number of each device's period; a part of the devices begin theirs with each look."""
    period: NDArray[np.int64] = (utc_ns + rows % LOOKS * LOOK_NS) // PERIOD_NS
    return period
