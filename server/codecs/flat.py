"""Plain low-rate messages in columns: what csrc/flat.c reads, many in one call.

A message is plain where it is one flat JSON object of what its kind has, with at most eight intervals between
beats. Its values are those that `server.codecs.samples` would give; what is not plain goes there.
"""

from functools import cache
from math import inf
from typing import Any, Final

import msgspec
import numpy as np

from fusion._core import ffi, lib
from fusion.core import record
from fusion.measurements import Records
from server.messages import Baro, Cadence, Foot, Gnss, HeartRate, Packet, Power, Sample, Wheel

FLAT: Final = record("kf_flat")
FRAME: Final = record("kf_publish")
TIMED: Final = int(lib.KF_FLAT_T)
BOOT: Final = int(lib.KF_FLAT_BOOT)

# By the number that csrc/frames.c gives to the last level of a topic.
STRUCTS: Final[dict[int, type[Packet]]] = {
    lib.KF_TOPIC_HR: HeartRate,
    lib.KF_TOPIC_GNSS: Gnss,
    lib.KF_TOPIC_BARO: Baro,
    lib.KF_TOPIC_POWER: Power,
    lib.KF_TOPIC_CADENCE: Cadence,
    lib.KF_TOPIC_WHEEL: Wheel,
    lib.KF_TOPIC_FOOT: Foot,
}
NUMBERS: Final[dict[type, int]] = {struct: kind for kind, struct in STRUCTS.items()}
IMU: Final = int(lib.KF_TOPIC_IMU)


@cache
def fields(struct: type[Packet]) -> dict[str, int]:
    """Return which column of ``values`` each of a message's fields has."""
    return {each.encode_name: place for place, each in enumerate(_plain(struct))}


def read(data: bytes | bytearray, frames: Records) -> Records:
    """Read messages.

    Parameters
    ----------
    data : bytes-like
        Into which frames refer.
    frames : (n,) FRAME
        Of any kinds.

    Returns
    -------
    (n,) FLAT
        Where ``plain`` is 0 nothing is said of a message.
    """
    messages = np.empty(len(frames), FLAT)
    lib.kf_flat_read(
        ffi.from_buffer("uint8_t[]", data),
        ffi.from_buffer("kf_publish[]", frames),
        len(frames),
        _KINDS,
        ffi.from_buffer("kf_flat[]", messages, require_writable=True),
    )
    return messages


def _plain(struct: type[Packet]) -> list[Any]:
    """Return the fields of a message that are numbers or flags, as msgspec tells of them."""
    return [each for each in _fields(struct) if _scalar(each.type) is not None]


def _fields(struct: type[Packet]) -> list[Any]:
    """Return the fields that a message has of its own."""
    common = {each.name for each in msgspec.structs.fields(Sample)}
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return [each for each in info.fields if each.name not in common]


def _scalar(told: Any) -> Any:
    """Return what a field is besides null, if that is a number or a flag."""
    of = told.types if isinstance(told, msgspec.inspect.UnionType) else [told]
    (kind,) = (each for each in of if not isinstance(each, msgspec.inspect.NoneType))
    return kind if isinstance(kind, msgspec.inspect.FloatType | msgspec.inspect.BoolType) else None


def _field(encode_name: str, kind: Any, required: bool) -> dict[str, Any]:
    name = encode_name.encode()
    field = {"name": list(name), "length": len(name), "required": required}
    if isinstance(kind, msgspec.inspect.BoolType):
        return field | {"is_flag": 1}
    least = kind.ge if kind.ge is not None else kind.gt
    assert kind.lt is None, "no range is open above"
    return field | {
        "above": kind.gt is not None,
        "least": -inf if least is None else least,
        "most": inf if kind.le is None else kind.le,
    }


def _kind(struct: type[Packet] | None) -> dict[str, Any]:
    if struct is None:
        return {"count": 0}
    told = [_field(each.encode_name, _scalar(each.type), each.required) for each in _plain(struct)]
    lists = [each for each in _fields(struct) if isinstance(each.type, msgspec.inspect.ListType)]
    assert len(lists) <= 1, "there is room for one"
    list_of = [_field(each.encode_name, each.type.item_type, required=False) for each in lists]
    return {"count": len(told), "fields": told} | ({"list": list_of[0]} if lists else {})


_KINDS: Final = ffi.new("kf_flat_kind[]", [_kind(STRUCTS.get(kind)) for kind in range(lib.KF_TOPICS)])
