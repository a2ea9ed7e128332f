"""The native JSON messages: low-rate samples, status, pong and commands.

A sample message is one object or a list of up to SAMPLES_MAX. A bad element of a list is refused alone;
its good neighbours are kept.
"""

from typing import Any, Final, NamedTuple

import msgspec

from server.codecs.strict_json import read, time_ns
from server.errors import DecodeError
from server.messages import (
    Baro,
    Battery,
    Birth,
    Cadence,
    Command,
    Death,
    Foot,
    Gnss,
    HeartRate,
    Packet,
    Pong,
    Power,
    Wheel,
)

__all__ = ["KINDS", "LISTED", "SAMPLES_MAX", "Decoded", "decode", "decode_command", "encode", "time_ns"]

SAMPLES_MAX: Final = 1000

# Kinds that may come as a list: the samples.
LISTED: Final[dict[str, type[Packet]]] = {
    "hr": HeartRate,
    "gnss": Gnss,
    "baro": Baro,
    "power": Power,
    "cadence": Cadence,
    "wheel": Wheel,
    "foot": Foot,
    "battery": Battery,
}
KINDS: Final = (*LISTED, "status", "pong", "command")

_ONE: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    **{kind: msgspec.json.Decoder(struct) for kind, struct in LISTED.items()},
    "status": msgspec.json.Decoder(Birth | Death),
    "pong": msgspec.json.Decoder(Pong),
    "command": msgspec.json.Decoder(Command),
}
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODER: Final = msgspec.json.Encoder()
_BLANKS: Final = b" \t\r\n"


class Decoded(NamedTuple):
    """What a payload held: packets in its order, and the reasons of the list elements that were refused.

    Stamps of the packets are None or int: decimal strings are read already.
    """

    packets: list[Packet | Command]
    refused: list[str]


def decode(kind: str, payload: bytes) -> Decoded:
    """Return the packets of a message.

    Parameters
    ----------
    kind : str
        One of KINDS: the last level of the topic, or ``command``.
    payload : bytes
        JSON; one object, or a list where ``kind`` is in LISTED.

    Raises
    ------
    DecodeError
        Reasons of `server.codecs.strict_json`, ``too_many`` for a list beyond SAMPLES_MAX, ``kind`` for an
        unknown kind. Of a list only what concerns it as a whole; its elements' reasons are in ``refused``.
    """
    decoder = _ONE.get(kind)
    if decoder is None:
        raise DecodeError("kind")
    if kind not in LISTED or payload.lstrip(_BLANKS)[:1] != b"[":
        return Decoded([_timed(read(decoder, payload))], [])
    elements = read(_ELEMENTS, payload)
    if len(elements) > SAMPLES_MAX:
        raise DecodeError("too_many")
    packets: list[Packet | Command] = []
    refused: list[str] = []
    for element in elements:
        try:
            packets.append(_timed(read(decoder, element)))
        except DecodeError as error:
            refused.append(error.reason)
    return Decoded(packets, refused)


def decode_command(payload: bytes) -> Command:
    """Return the command in ``payload``, or raise DecodeError as `decode` does."""
    command = decode("command", payload).packets[0]
    assert isinstance(command, Command)
    return command


def encode(message: Packet | Command | list[Packet]) -> bytes:
    """Return the payload of a message or of a list of samples of one kind."""
    return _ENCODER.encode(message)


def _timed(message: Any) -> Any:
    """Return the message with its stamps as int, or raise DecodeError ``time``."""
    if isinstance(message.t, str):
        message.t = time_ns(message.t)
    if isinstance(message, Command) and isinstance(message.expires, str):
        message.expires = time_ns(message.expires)
    return message
