"""How devices are, from the same tables as the core's text (csrc/health.c), through structs and msgspec."""

from math import isfinite
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from fusion.timebase import ClockState
from server.deadlines import Streams
from server.deadlines.rules import STATES, UNHEARD
from server.engine import Engine
from server.health import LOOK_NS, LOOKS, PERIOD_NS
from server.messages import ClockHealth, ClockKind, DeviceHealth, StreamHealth, StreamKind, StreamState
from server.registry import Device

S: Final = 1_000_000_000
TOLERANCE_NS: Final = 120 * S
QUARTER_NS: Final = 900 * S
EPOCHS: Final[dict[ClockKind, int]] = {
    "utc": 0,
    "gps": 315_964_800 - 18,
    "epoch_1900": -2_208_988_800,
    "epoch_1989": 631_065_600,
    "epoch_2000": 946_684_800,
    "epoch_2001": 978_307_200,
}


class Stream(NamedTuple):
    """How a stream is."""

    state: StreamState
    silent_ns: int
    deadline_ns: int


def streams_of(streams: Streams, row: int, now_ns: int) -> dict[StreamKind, Stream]:
    """Return how the streams are that a device ever had."""
    told: dict[StreamKind, Stream] = {}
    speed = float(streams._devices["speed"][row])
    for kind, (_, heard_ns, interval_s, _, state, _) in zip(
        streams.kinds, streams._streams[row].tolist(), strict=True
    ):
        if state != UNHEARD:
            deadline_ns = int(lib.kf_stream_deadline_ns(streams.c, interval_s, speed))
            told[kind] = Stream(STATES[state], max(0, now_ns - heard_ns), deadline_ns)
    return told


def counts_from(offset_ns: int, device_ns: int) -> ClockKind:
    """Return what a clock seems to count from."""
    for name, epoch_s in EPOCHS.items():
        if abs(offset_ns - epoch_s * S) <= TOLERANCE_NS:
            return name
    for name, epoch_s in EPOCHS.items():
        if name != "gps" and _is_zone(epoch_s * S - offset_ns):
            return "local" if name == "utc" else name
    return "uptime" if 0 <= device_ns < 5 * 365 * 86_400 * S else "unknown"


def _is_zone(ahead_ns: int) -> bool:
    off_ns = (ahead_ns + QUARTER_NS // 2) % QUARTER_NS - QUARTER_NS // 2
    within = -12 * 3600 * S - TOLERANCE_NS <= ahead_ns <= 14 * 3600 * S + TOLERANCE_NS
    return within and abs(off_ns) <= TOLERANCE_NS


def health_of(engine: Engine, device: Device, utc_ns: int) -> DeviceHealth:
    """Return how a device is."""
    link = engine.schedule.links[device.row]
    arrived_ns = int(link["arrived_ns"])
    (found,) = engine.registry.beats.found(np.array([device.row], np.intp))
    clock, stamp_ns = engine.timebase.clock(device.row), int(engine.timebase.state["newest_ns"][device.row])
    return DeviceHealth(
        t_ms=utc_ns // 1_000_000,
        device=device.id,
        athlete=device.athlete.id,
        model=device.model,
        placement=device.placement,
        online=bool(online(engine, utc_ns)[device.row]),
        silent_s=round(max(0, utc_ns - arrived_ns) * 1e-9, 1) if arrived_ns else 0.0,
        clock=_clock(clock, stamp_ns, recorded=device.recorded),
        imu_rate_hz=round(float(link["rate_hz"]), 2),
        packets=int(link["packets"]),
        lost=int(link["lost"]),
        refused=dict(device.refused),
        battery=device.battery,
        streams={
            kind: StreamHealth(
                state=stream.state,
                silent_s=round(stream.silent_ns * 1e-9, 1),
                deadline_s=round(stream.deadline_ns * 1e-9, 1),
            )
            for kind, stream in streams_of(engine.streams, device.row, utc_ns).items()
        },
        intervals={str(kind): count for kind, count in found.items()},
    )


def _clock(clock: ClockState, stamp_ns: int, *, recorded: bool) -> ClockHealth | None:
    if not isfinite(clock.sigma_ns):
        return None
    return ClockHealth(
        offset_ms=round(clock.offset_ns * 1e-6, 3),
        sigma_ms=round(clock.sigma_ns * 1e-6, 3),
        skew_ppm=round(clock.skew_ppm, 2),
        jumps=clock.jumps,
        wraps=clock.wraps,
        kind=counts_from(clock.offset_ns, stamp_ns),
        round_trip_ms=round(clock.trip_ns * 1e-6, 3) if clock.trip_ns else None,
        recorded=recorded,
    )


def online(engine: Engine, utc_ns: int) -> NDArray[np.bool_]:
    """Return of which devices something came lately."""
    count = len(engine.registry.device_rows)
    links = engine.schedule.links[:count]
    heard = (links["flags"] & lib.KF_LINK_ONLINE != 0) & (utc_ns - links["arrived_ns"] <= 10 * S)
    return np.asarray(heard & ~engine.streams.dead[:count])


def news(engine: Engine, utc_ns: int, every: int) -> list[int]:
    """Return the rows of devices of which there is something to tell, and whose turn it is."""
    count = len(engine.registry.device_rows)
    links, told = engine.schedule.links[:count], engine.health._told[:count]
    new = (links["arrived_ns"] > told["t_ns"]) | (links["refused"] != told["refused"])
    new |= (told["online"] != 0) & ~online(engine, utc_ns)
    rows = np.flatnonzero(new)
    periods = _period(rows, utc_ns) - _period(rows, told["t_ns"][rows])
    found: list[int] = rows[periods >= every].tolist()
    return found


def _period(rows: NDArray[np.intp], utc_ns: Any) -> Any:
    return (utc_ns + rows % LOOKS * LOOK_NS) // PERIOD_NS
