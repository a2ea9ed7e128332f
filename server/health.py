"""How devices, athletes' fusion and the server itself are: what came, was lost, or was refused and why."""

from collections.abc import Container, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Final, NamedTuple, get_args

import msgspec
import numpy as np
from msgspec import Struct

from fusion._core import ffi, lib
from fusion.athletes import Athletes
from fusion.core import record
from fusion.intervals import Kind
from fusion.table import grown
from fusion.timebase import TimeBase
from server.athlete_health import FusionHealth
from server.deadlines import Streams
from server.deadlines.rules import STATES
from server.envelopes import Outgoing
from server.ingest import Ingest
from server.messages import ClockKind
from server.registry import Device, Registry
from server.schedule import Schedule

PERIOD_NS: Final = int(lib.KF_HEALTH_NS)  # what changes is told at once
LOOKS: Final = int(lib.KF_HEALTH_TURNS)  # in a period: each time another part of the devices is due
LOOK_NS: Final = PERIOD_NS // LOOKS
# Devices of which a look may tell, or twice its share: who was told of longest ago first.
TOLD_MIN: Final = 50
SHARE_NS_MAX: Final = PERIOD_NS // 20  # its share is by the time since the look before it, up to this
CLOCK_KINDS: Final[tuple[ClockKind, ...]] = get_args(ClockKind)  # in the order of KF_COUNTS_...

_TOLD: Final = record("kf_told")
_encode: Final = msgspec.json.Encoder().encode


class _Who(Struct):
    """What stays of a device for long."""

    device: str
    athlete: str
    model: str
    placement: str


class _Beside(Struct):
    """What few devices have."""

    refused: dict[str, int]
    battery: float | None


_NOTHING_BESIDE: Final = _encode(_Beside({}, None))


class _Names(NamedTuple):
    """Names where the core reads them; ``kept`` is where they lie."""

    texts: Any
    kept: list[Any]


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
        self._rows = np.zeros(0, np.uint32)  # of a look
        self._names = _names(STATES), _names(CLOCK_KINDS)
        self._stream_kinds: tuple[tuple[str, ...], _Names] = (), _names(())

    def due(self, utc_ns: int, every: int = 1) -> list[Outgoing]:
        """Return the health messages that are due at ``utc_ns``, of each device one of so many.

        A device one of whose streams has changed is told of at once. The health of athletes is beside it.
        """
        changes = self._streams.look(utc_ns, self._timebase.state["jumps"])
        out = self._fusion.due(utc_ns, every)
        rows = [change.row for change in changes]
        since_ns = utc_ns - self._looked_ns
        if since_ns >= LOOK_NS:
            self._looked_ns = utc_ns
            rows += self._news(utc_ns, every, min(since_ns, SHARE_NS_MAX))
        if rows:
            out += self._tell(list(dict.fromkeys(rows)), utc_ns)
        return out

    def _news(self, utc_ns: int, every: int, share_ns: int) -> list[int]:
        """Return the rows of devices of which there is something to tell, and whose turn it is."""
        count = self._reserve()
        room = ffi.from_buffer("uint32_t[]", self._rows, require_writable=True)
        rows = self._rows[: lib.kf_health_news(self._tables(), count, utc_ns, every, room)]
        most = max(TOLD_MIN, 2 * count * share_ns // PERIOD_NS)
        if len(rows) > most:
            rows = rows[np.argsort(self._told["t_ns"][rows], kind="stable")[:most]]
        found: list[int] = rows.tolist()
        return found

    def _tell(self, rows: list[int], utc_ns: int) -> list[Outgoing]:
        """Return the health of devices as it is published now."""
        devices = [self._registry.device_rows[row] for row in rows]
        root = f"{self._root}/devices/"
        told = zip(devices, self.of(devices, utc_ns), strict=True)
        return [Outgoing(f"{root}{device.id}/health", text) for device, text in told]

    def _tables(self) -> Any:
        """Return where the core finds what it reads."""
        kinds = self._streams.kinds
        if kinds != self._stream_kinds[0]:
            self._stream_kinds = kinds, _names(kinds)
        return ffi.new(
            "kf_health *",
            (
                ffi.from_buffer("kf_link[]", self._schedule.links),
                ffi.from_buffer("kf_clock[]", self._timebase.state),
                self._streams.c,
                ffi.from_buffer("kf_told[]", self._told, require_writable=True),
                self._stream_kinds[1].texts,
                *(names.texts for names in self._names),
            ),
        )

    def _reserve(self) -> int:
        """Have a row for each device; return how many there are."""
        count = len(self._registry.device_rows)
        if count > len(self._told):
            self._told = grown(self._told, max(count, 2 * len(self._told)))
            self._rows = np.zeros(len(self._told), np.uint32)
        return count

    def forget(self, device: Device) -> None:
        """Forget what was told of a device; what was refused of it still counts, at the server."""
        self._ingest.refused.update(device.refused)
        if device.row < len(self._told):
            self._told[device.row] = np.zeros((), _TOLD)

    def forget_athlete(self, row: int) -> None:
        """Forget what was told of an athlete."""
        self._fusion.forget(row)

    def of(self, devices: Sequence[Device], utc_ns: int) -> list[bytes]:
        """Return how devices are at ``utc_ns``, as it is published, and take note that it was told."""
        self._reserve()
        rows = np.array([device.row for device in devices], np.uint32)
        intervals = self._registry.beats.found(rows.astype(np.intp))
        given = list(chain.from_iterable(map(_given, devices, intervals)))
        room = sum(map(len, given)) + len(devices) * self._device_bytes()
        text, ends = bytearray(room), ffi.new("uint64_t[]", len(devices))
        lib.kf_health_tell(
            self._tables(),
            ffi.from_buffer("uint32_t[]", rows),
            len(devices),
            utc_ns,
            b"".join(given),
            ffi.new("uint32_t[]", list(accumulate(map(len, given)))),
            ffi.from_buffer("char[]", text, require_writable=True),
            room,
            ends,
        )
        with memoryview(text) as written:
            return [bytes(written[begin:end]) for begin, end in pairwise((0, *ends))]

    def _device_bytes(self) -> int:
        """Return how long the text of a device is at most, beside what is given of it."""
        streams: int = len(self._streams.kinds) * lib.KF_HEALTH_STREAM_BYTES
        return int(lib.KF_HEALTH_BYTES) + streams

    def refused(self) -> dict[str, int]:
        """Return how many messages were refused, by reason: of all devices and of none."""
        total = self._ingest.refused.copy()
        devices = self._registry.device_rows
        for row in np.flatnonzero(self._schedule.links["refused"][: len(devices)]).tolist():
            total.update(devices[row].refused)
        return dict(total)


def _given(device: Device, intervals: dict[Kind, int]) -> tuple[bytes, bytes, bytes]:
    """Return what of a device stands in no table: who it is, what few have, and its intervals."""
    who = _encode(_Who(device.id, device.athlete.id, device.model, device.placement))
    beside = _NOTHING_BESIDE
    if device.counted or device.battery is not None:
        beside = _encode(_Beside(device.refused, device.battery))
    return who, beside, _encode(intervals)


def _names(names: Sequence[str]) -> _Names:
    kept = [ffi.from_buffer(name.encode()) for name in names]
    return _Names(ffi.new("kf_text[]", [(each, len(each)) for each in kept]), kept)
