"""The kinds of streams, and after which values each of them may be quiet."""

from typing import Final, get_args

from server.codecs.flat import STRUCTS
from server.messages import (
    Baro,
    Battery,
    Cadence,
    Foot,
    Gnss,
    HeartRate,
    Packet,
    Power,
    StreamKind,
    Wheel,
)

KINDS: Final[tuple[StreamKind, ...]] = get_args(StreamKind)
IMU: Final = KINDS.index("imu")
PLACES: Final[dict[type, int]] = {
    HeartRate: KINDS.index("hr"),
    Gnss: KINDS.index("gnss"),
    Baro: KINDS.index("baro"),
    Power: KINDS.index("power"),
    Cadence: KINDS.index("cadence"),
    Wheel: KINDS.index("wheel"),
    Foot: KINDS.index("foot"),
    Battery: KINDS.index("battery"),
}  # of a packet's stream in KINDS; a packet that is not here is of no stream
assert all(PLACES[struct] + 1 == kind for kind, struct in STRUCTS.items()), "csrc/measures.c tells them so"


def may_rest(packet: Packet) -> bool:
    """Return whether a device that sends on change only may be quiet after this packet."""
    match packet:
        case HeartRate(bpm=bpm, rr_ms=rr_ms, contact=contact):
            return contact is False or (not bpm and not rr_ms)
        case Power(watts=rate) | Wheel(speed_mps=rate) | Foot(speed_mps=rate):
            return rate == 0
        case Cadence(rpm=rpm, spm=spm):
            return not rpm and not spm
        case Battery():
            return True
        case _:
            return False


def stream_of(packet: Packet) -> int:
    """Return what an event tells of a packet's stream: twice its place from 1 on, and 1 where it may rest."""
    place = PLACES.get(type(packet))
    return 0 if place is None else 2 * (place + 1) + may_rest(packet)
