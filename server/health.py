"""How the devices and the server itself are: what came, what was lost, what was refused and why."""

from math import isfinite

from fusion.timebase import TimeBase
from server.deadlines import Streams
from server.envelopes import Outgoing
from server.ingest import Ingest
from server.messages import ClockHealth, DeviceHealth, StreamHealth
from server.publications import encode
from server.registry import Device, Registry

PERIOD_NS = 5_000_000_000
LOOKS = 10  # in a period; each time it is another tenth of the devices that is due
LOOK_NS = PERIOD_NS // LOOKS
SILENT_NS = 10_000_000_000


class Health:
    """Tells of each device when it is due."""

    def __init__(
        self, root: str, registry: Registry, timebase: TimeBase, streams: Streams, ingest: Ingest
    ) -> None:
        self._root = root
        self._registry = registry
        self._timebase = timebase
        self._streams = streams
        self._ingest = ingest
        self._looked_ns = 0

    def due(self, utc_ns: int) -> list[Outgoing]:
        """Return the health messages that are due at ``utc_ns``: at once where a stream changed."""
        changes = self._streams.look(utc_ns, self._timebase.state["jumps"])
        changed = dict.fromkeys(change.row for change in changes)
        out = [self._told(self._registry.device_at(row), utc_ns) for row in changed]
        if utc_ns - self._looked_ns < LOOK_NS:
            return out
        self._looked_ns = utc_ns
        for device in self._registry.devices.values():
            heard = device.arrived_ns > device.told_ns or sum(device.refused.values()) != device.refused_told
            silent = device.told_online and not self._is_online(device, utc_ns)
            if (heard or silent) and _period(device, utc_ns) > _period(device, device.told_ns):
                out.append(self._told(device, utc_ns))
        return out

    def _told(self, device: Device, utc_ns: int) -> Outgoing:
        """Return the health of a device as it is published now."""
        device.told_ns = utc_ns
        device.told_online = self._is_online(device, utc_ns)
        device.refused_told = sum(device.refused.values())
        return Outgoing(f"{self._root}/devices/{device.id}/health", encode(self.of(device, utc_ns)))

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
            streams={
                kind: StreamHealth(
                    state=stream.state,
                    silent_s=round(stream.silent_ns * 1e-9, 1),
                    deadline_s=round(stream.deadline_ns * 1e-9, 1),
                )
                for kind, stream in self._streams.of(device.row, utc_ns).items()
            },
        )

    def refused(self) -> dict[str, int]:
        """Return how many messages were refused, by reason: of all devices and of none."""
        total = self._ingest.refused.copy()
        for device in self._registry.devices.values():
            total.update(device.refused)
        return dict(total)

    def _is_online(self, device: Device, utc_ns: int) -> bool:
        if not device.online or self._streams.is_dead(device.row):
            return False
        return utc_ns - device.arrived_ns <= SILENT_NS


def _period(device: Device, utc_ns: int) -> int:
    """Return the number of the device's period; a tenth of the devices begin theirs with each look."""
    return (utc_ns + device.row % LOOKS * LOOK_NS) // PERIOD_NS
