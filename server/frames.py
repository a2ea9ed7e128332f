"""MQTT 3.1.1 frames: taken from the bytes of a connection in C (csrc/frames.c), and written.

Bytes in, records and bytes out: nothing here knows a socket.
"""

import secrets
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import record
from fusion.measurements import Records
from fusion.table import grown

FRAME: Final = record("kf_publish")
NO_DEVICE: Final = int(lib.KF_NO_DEVICE)
HEADER_BYTES_MAX: Final = int(lib.KF_FRAME_HEADER_MAX)  # of a PUBLISH, all but its payload
FRAMES_MAX: Final = 4096
CONTROLS_MAX: Final = 256

PUBLISH: Final = 0x30
PUBACK: Final = 0x40
RETAIN: Final = int(lib.KF_FRAME_RETAIN)
QOS: Final = 6  # both bits of it
QOS_1: Final = 2
PAYLOAD_BYTES_MAX: Final = 268_435_455 - HEADER_BYTES_MAX

DONE, FULL, OVERSIZE = lib.KF_FRAMES_DONE, lib.KF_FRAMES_FULL, lib.KF_FRAMES_OVERSIZE
MALFORMED: Final = {
    lib.KF_FRAME_BAD_TYPE: "a type that there is not",
    lib.KF_FRAME_BAD_LENGTH: "a length of more than four bytes",
    lib.KF_FRAME_TOO_LARGE: "a control frame that is too large",
    lib.KF_FRAME_BAD_QOS: "QoS 3",
    lib.KF_FRAME_BAD_TOPIC: "an empty topic, or one longer than its frame",
    lib.KF_FRAME_BAD_ID: "no packet id",
}

_CONTROL = record("kf_control")
_TOPIC = record("kf_topic")
_GROUP = record("kf_group")
_PLACES_MIN = 64


class Topics:
    """Rows of devices by the id in their topics, ``prefix + id + "/imu"`` or another kind of csrc/frames.c.

    Plain bytes in numpy arrays: C looks into them while it splits. They grow by doubling.

    Parameters
    ----------
    prefix : str
        What stands before the id, as in ``kinefuse/v1/in/``.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix.encode()
        self.c = ffi.new("kf_topics *", {"seed": secrets.randbits(64)})
        self._topics: Records = np.zeros(0, _TOPIC)
        self._room(_PLACES_MIN)

    def __len__(self) -> int:
        return int(self.c.topic_count)

    def put(self, device_id: str, row: int) -> None:
        """Enter a device, or give it another row.

        Raises
        ------
        ValueError
            The id has no or too many bytes, or the row is none.
        """
        if not 0 <= row < NO_DEVICE:
            raise ValueError(f"no row of a table: {row}")
        if 2 * (len(self) + 1) > len(self._places):
            self._room(2 * len(self._places))
        if lib.kf_topic_put(self.c, *_bytes(device_id), row):
            raise ValueError(f"an id has 1 to {lib.KF_ID_BYTES} bytes: {device_id[:80]!r}")

    def remove(self, device_id: str) -> None:
        """Take a device out; one that is not in it changes nothing."""
        lib.kf_topic_remove(self.c, *_bytes(device_id))

    def find(self, device_id: str) -> int | None:
        """Return the row of a device, or None."""
        row: int = lib.kf_topic_find(self.c, *_bytes(device_id))
        return None if row == NO_DEVICE else row

    def _room(self, places: int) -> None:
        """Have so many places, a power of two, half of which may be taken."""
        self._topics, self._places = grown(self._topics, places // 2), np.zeros(places, np.uint32)
        self.c.topics = ffi.from_buffer("kf_topic[]", self._topics, require_writable=True)
        self.c.places = ffi.from_buffer("uint32_t[]", self._places, require_writable=True)
        self.c.place_count = places
        lib.kf_topics_place(self.c)


class Split(NamedTuple):
    """What a call of `Splitter.split` found; offsets are from where it began."""

    status: int  # DONE, FULL, OVERSIZE, or one of MALFORMED
    frames: Records  # FRAME: PUBLISH of QoS 0 and 1
    controls: list[tuple[int, int]]  # offset and length of each other frame
    consumed: int
    needed: int  # bytes of the frame that is not whole, as far as is known; else 0
    oversize: int  # bytes of the PUBLISH that is too large, from ``consumed`` on; else 0
    packet_id: int  # of that one, where it wants to be acknowledged; else 0


class Splitter:
    """Splits the bytes of connections into frames.

    Parameters
    ----------
    topics : Topics
        Whose rows the frames are given.
    payload_bytes_max : int
        A PUBLISH with a larger payload is told of, not read.
    frames_max : int
        The most frames of one call.
    """

    def __init__(self, topics: Topics, payload_bytes_max: int, frames_max: int = FRAMES_MAX) -> None:
        self._topics = topics
        self._frames = np.zeros(min(frames_max, FRAMES_MAX), FRAME)
        self._controls = np.zeros(CONTROLS_MAX, _CONTROL)
        self._frames_c = ffi.from_buffer("kf_publish[]", self._frames, require_writable=True)
        self._controls_c = ffi.from_buffer("kf_control[]", self._controls, require_writable=True)
        self._prefix_c = ffi.from_buffer("uint8_t[]", topics.prefix)
        self._rules = ffi.new("kf_rules *", {"topics": topics.c, "payload_max": payload_bytes_max})
        self._rules.prefix = self._prefix_c
        self._rules.prefix_length = len(topics.prefix)
        self._end = ffi.new("kf_split_end *")

    def split(self, data: bytes | bytearray, start: int, stop: int) -> Split:
        """Split ``data[start:stop]``, which begins with a frame."""
        if not 0 <= start <= stop <= len(data) < 2**32:
            raise ValueError(f"no range of {len(data)} bytes: {start} to {stop}")
        end = self._end
        status = lib.kf_split(
            ffi.from_buffer("uint8_t[]", data) + start,
            stop - start,
            self._rules,
            self._frames_c,
            len(self._frames),
            self._controls_c,
            CONTROLS_MAX,
            end,
        )
        controls = self._controls[: end.control_count].tolist() if end.control_count else []
        frames = self._frames[: end.frame_count].copy()
        return Split(status, frames, controls, end.consumed, end.needed, end.oversize, end.packet_id)


class Gathered(NamedTuple):
    """What a group has of a chunk: whole frames, one behind the other."""

    data: bytes
    messages: int


def gather(data: bytes, frames: Records, groups: NDArray[np.uint32], group_count: int) -> list[Gathered]:
    """Sort frames of QoS 0 and 1 by their groups; those of group_count or more are left out.

    Parameters
    ----------
    data : bytes
        Which they were split from.
    frames : Records
        FRAME, shape (n,), in the order of ``data``.
    groups : (n,) uint32
        Of each frame.
    group_count : int
        How many groups there are.
    """
    if frames.dtype != FRAME or groups.dtype != np.uint32 or groups.shape != frames.shape:
        raise TypeError("frames want a group each")
    frames, groups = np.ascontiguousarray(frames), np.ascontiguousarray(groups)
    gathered = bytearray(len(data))
    parts = np.zeros(group_count, _GROUP)
    fault = lib.kf_gather(
        ffi.from_buffer("uint8_t[]", data),
        len(data),
        ffi.from_buffer("kf_publish[]", frames),
        ffi.from_buffer("uint32_t[]", groups),
        len(frames),
        ffi.from_buffer("uint8_t[]", gathered, require_writable=True),
        ffi.from_buffer("kf_group[]", parts, require_writable=True),
        group_count,
    )
    if fault:
        raise ValueError("frames do not lie in the bytes one behind the other")
    with memoryview(gathered) as view:
        return [
            Gathered(bytes(view[start : start + length]), count) for start, length, count, _ in parts.tolist()
        ]


def publish(messages: Iterable[tuple[str, bytes, bool]]) -> bytes:
    """Return PUBLISH frames of QoS 0, one after the other.

    Parameters
    ----------
    messages : iterable of (topic, payload, retain)
        What they say.

    Raises
    ------
    ValueError
        A topic is empty, too long or has a wildcard, or a payload is too large for MQTT.
    """
    parts: list[bytes] = []
    for topic, payload, retain in messages:
        name = topic.encode()
        size = len(name)
        if not 0 < size < 65_536 or "+" in topic or "#" in topic or len(payload) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"cannot be published: {topic[:80]!r}, {len(payload)} bytes")
        length = 2 + size + len(payload)
        if 128 <= length < 16_384:  # as most are
            head = bytes((PUBLISH | retain, length & 127 | 128, length >> 7, size >> 8, size & 255))
        else:
            head = bytes((PUBLISH | retain, *_length(length), size >> 8, size & 255))
        parts += (head, name, payload)
    return b"".join(parts)


def pubacks(packet_ids: NDArray[np.uint16]) -> bytes:
    """Return the PUBACK frames of some packets, one after the other."""
    out = np.empty((len(packet_ids), 4), np.uint8)
    out[:, 0], out[:, 1] = PUBACK, 2
    out[:, 2], out[:, 3] = packet_ids >> 8, packet_ids & 255
    return out.tobytes()


def packet_ids(frames: Iterable[Records]) -> NDArray[np.uint16]:
    """Return the ids of the packets of QoS 1 among some frames, in their order."""
    found = [each["packet_id"][each["flags"] & QOS == QOS_1] for each in frames]
    return np.concatenate(found) if found else np.zeros(0, np.uint16)


def _bytes(device_id: str) -> tuple[bytes, int]:
    data = device_id.encode()
    return data, len(data)


def _length(length: int) -> Iterable[int]:
    """The bytes of a remaining length, the lowest seven bits first."""
    while length > 127:
        yield length & 127 | 128
        length >>= 7
    yield length
