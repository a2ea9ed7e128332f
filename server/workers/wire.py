"""What the parent and its workers say to each other: msgpack, each message of a type of its own.

Both run the same code, so there is no version; who sends what is none of these has a bug.
"""

from typing import Final

import msgspec
from msgspec import Struct

from server.deadlines.report import Miss, Stage, Times
from server.figures import Figures
from server.late import Entry


class Tick(Struct, tag="tick", array_like=True):
    """Parent to worker: what arrived. A part is whole frames, and when they came: UTC, monotonic, ns."""

    number: int  # they rise
    anchor_ns: int  # UTC minus monotonic time, of the parent's clock
    parts: list[tuple[bytes, int, int]]
    heard_ns: int | None = None  # UTC, up to which all that had arrived is here; None: now


class End(Struct, tag="end", array_like=True):
    """Parent to worker: end the open workouts, within so many seconds, and say `Ended`."""

    within_s: float


class Connected(Struct, tag="connected", array_like=True):
    """Parent to worker: whether there is a broker."""

    is_connected: bool


class Answer(Struct, tag="answer", array_like=True):
    """Worker to parent: what is to be published, and what it has worked on."""

    done: int  # the newest tick; 0: none yet
    frames: bytes  # of QoS 0, ready to be sent
    caused_ns: list[int]  # of each frame; see `server.envelopes.Outgoing`
    assured: list[tuple[str, bytes, int, bool]]  # topic, payload, QoS, retain
    enrolled: list[str]  # devices that are new
    forgotten: list[str]  # and those that were forgotten before
    report: "Report | None" = None
    late: list[Entry] = []  # messages that came too late, where they are kept
    late_left_out: int = 0  # and how many more
    updates: int = 0  # of athletes (`live`), of the frames


class Report(Struct, array_like=True):
    """How a worker is, once a second, with the times and misses since the last one."""

    figures: Figures
    refused: dict[str, int]  # by reason
    times: dict[Stage, Times]
    misses: list[Miss]


class Ended(Struct, tag="ended", array_like=True):
    """Worker to parent: the last word. ``left`` workouts ended without a summary."""

    left: int


Down = Tick | End | Connected
Up = Answer | Ended

_ENCODER: Final = msgspec.msgpack.Encoder()
_DOWN: "Final[msgspec.msgpack.Decoder[Down]]" = msgspec.msgpack.Decoder(Down)
_UP: "Final[msgspec.msgpack.Decoder[Up]]" = msgspec.msgpack.Decoder(Up)


def encode(message: Down | Up) -> bytes:
    """Return a message as bytes."""
    return _ENCODER.encode(message)


def decode_for_worker(data: bytes) -> Down:
    """Return what a parent said."""
    return _DOWN.decode(data)


def decode_for_parent(data: bytes) -> Up:
    """Return what a worker said."""
    return _UP.decode(data)
