"""Packets to measurements: what the protocol says becomes what the models take in (csrc/measures.c)."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    Records,
    Source,
)
from server.beats import Beats
from server.codecs.flat import NUMBERS, STRUCTS, TIMED, fields
from server.glance import Glance
from server.messages import Baro, Cadence, Foot, Gnss, HeartRate, Packet, Power, Wheel
from server.registry import STEP_RANK, Device
from server.schedule import EVENT, NONE, RECORD_BYTES, Item
from server.seen import ADMITTED, Seen

_NAN: Final = float("nan")
_NOBODY: Final = np.zeros(0, np.intp)
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


class Taken(NamedTuple):
    """What came of plain messages."""

    events: Records  # (m,) EVENT of those that are taken, in their order
    records: NDArray[np.uint8]  # (m, RECORD_BYTES) to which they refer
    refused: NDArray[np.intp]  # of the messages, those that are not taken,
    verdicts: NDArray[np.uint8]  # and why: FLOODING, or they were seen before


def take_plain(
    glance: Glance, places: NDArray[np.intp], first: int, links: Records, seen: Seen, beats: Beats
) -> Taken:
    """Take plain messages but for those that are too many or came before.

    What is taken measures what `measurement` says.

    Parameters
    ----------
    glance : Glance
    places : (n,) intp
        Of frames of live devices that have a place among the seen, rising.
    first : int
        Number of the stretch's first message.
    links : (devices,) LINK
    seen : Seen
    beats : Beats
    """
    stretch, count = glance.stretch, len(places)
    chosen = np.searchsorted(glance.places, places)
    arrived_ns, received_ns = stretch.arrived_ns[places], stretch.received_ns[places]
    events, records = np.empty(count, EVENT), np.empty((count, RECORD_BYTES), np.uint8)
    verdicts, done = np.empty(count, np.uint8), ffi.new("size_t[2]")
    while lib.kf_take_plain(
        ffi.from_buffer("kf_link[]", links, require_writable=True),
        seen.c,
        beats.c,
        ffi.from_buffer("kf_publish[]", stretch.frames),
        first,
        ffi.from_buffer("int64_t[]", glance.places),
        ffi.from_buffer("kf_flat[]", glance.messages),
        ffi.from_buffer("int64_t[]", chosen),
        ffi.from_buffer("int64_t[]", arrived_ns),
        ffi.from_buffer("int64_t[]", received_ns),
        count,
        ffi.from_buffer("kf_event[]", events, require_writable=True),
        ffi.from_buffer("kf_record[]", records, require_writable=True),
        ffi.from_buffer("uint8_t[]", verdicts, require_writable=True),
        done,
    ):
        beats.give(int(stretch.frames["device"][places[done[0]]]))
    taken = done[1]
    refused = np.flatnonzero(verdicts != ADMITTED) if taken < count else _NOBODY
    return Taken(events[:taken], records[:taken], refused, verdicts[refused])
