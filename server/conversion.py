"""Packets to measurements: what the protocol says becomes what the models take in (csrc/measures.c)."""

from typing import Final

from fusion._core import ffi, lib
from fusion.core import record
from fusion.measurements import (
    BARO,
    CADENCE,
    DTYPES,
    GNSS,
    HEART_RATE,
    POWER,
    SPEED,
    WINDOW,
    Source,
)
from server.beats import Beats
from server.codecs.flat import NUMBERS, STRUCTS, TIMED, fields
from server.messages import Baro, Cadence, Foot, Gnss, HeartRate, Packet, Power, Wheel
from server.registry import STEP_RANK, Device
from server.schedule import NONE, Item

_NAN: Final = float("nan")
_TOLD: Final = {
    HeartRate: "kf_told_hr",
    Gnss: "kf_told_gnss",
    Baro: "kf_told_baro",
    Power: "kf_told_power",
    Cadence: "kf_told_cadence",
    Wheel: "kf_told_speed",
    Foot: "kf_told_speed",
}

# The core tells these by number and place.
assert all(tuple(fields(struct)) == record(name).names for struct, name in _TOLD.items())
assert DTYPES == (WINDOW, HEART_RATE, GNSS, BARO, POWER, CADENCE, SPEED)
assert DTYPES[lib.KF_KIND_HEART_RATE] == record("kf_measured_heart_rate")
assert DTYPES[lib.KF_KIND_GNSS] == record("kf_measured_gnss")
assert DTYPES[lib.KF_KIND_BARO] == record("kf_measured_baro")
assert DTYPES[lib.KF_KIND_POWER] == record("kf_measured_power")
assert DTYPES[lib.KF_KIND_CADENCE] == record("kf_measured_cadence")
assert DTYPES[lib.KF_KIND_SPEED] == record("kf_measured_speed")
assert (Source.STRAP, Source.OPTICAL) == (lib.KF_SOURCE_STRAP, lib.KF_SOURCE_OPTICAL)
assert (Source.FOOT, Source.WHEEL) == (lib.KF_SOURCE_FOOT, lib.KF_SOURCE_WHEEL)
assert STEP_RANK["wrist"] == lib.KF_RANK_WRIST


def measurement(packet: Packet, device: Device, beats: Beats) -> Item | None:
    """Return what a packet measured, or None when it holds no measurement; when, the schedule finds out."""
    kind = NUMBERS.get(type(packet))
    if kind is None:
        return None
    told = [getattr(packet, name) for name in fields(STRUCTS[kind])]
    message = ffi.new("kf_flat *")
    message.values[0 : len(told)] = [_NAN if value is None else value for value in told]
    if packet.t is not None:
        assert not isinstance(packet.t, str), "codecs read decimal strings"
        message.t_ns, message.told = packet.t, TIMED
    own, intervals_ms = ffi.NULL, packet.rr_ms if isinstance(packet, HeartRate) else []
    if intervals_ms:
        if not beats.has(device.row):
            beats.give(device.row)
        own = beats.c + beats.of(device.row)
    link = ffi.from_buffer("kf_link[]", device.schedule.links) + device.row
    measured = ffi.new("kf_record *")
    place = lib.kf_measure(own, link, kind, message, intervals_ms, len(intervals_ms), measured)
    return None if place == NONE else Item(place, bytes(ffi.buffer(measured)))
