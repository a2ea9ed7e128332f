"""One JSON payload into a typed value, with every way to fail as a DecodeError.

Reasons: ``too_large`` (beyond PAYLOAD_MAX), ``too_deep`` (nested beyond the parser's stack), ``json`` (not
JSON, or not UTF-8), ``schema`` (JSON of another shape, or out of range), ``time`` (a stamp beyond int64).
"""

import re
from typing import Final, TypeVar

import msgspec

from server.errors import DecodeError

PAYLOAD_MAX: Final = 1 << 20  # bytes
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

_AT = re.compile(r"\(byte (\d+)\)")

T = TypeVar("T")


def read(decoder: "msgspec.json.Decoder[T]", payload: bytes | msgspec.Raw) -> T:
    """Return what ``decoder`` makes of ``payload``, or raise DecodeError and nothing else."""
    if len(payload) > PAYLOAD_MAX:
        raise DecodeError("too_large", PAYLOAD_MAX)
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise DecodeError("schema") from error
    except msgspec.DecodeError as error:
        found = _AT.search(str(error))
        raise DecodeError("json", int(found[1]) if found else len(payload)) from error
    except UnicodeDecodeError as error:
        raise DecodeError("json") from error
    except RecursionError as error:
        raise DecodeError("too_deep") from error


def time_ns(t: int | str | None) -> int | None:
    """Return a stamp as an int within int64; None stays None ("on arrival").

    Parameters
    ----------
    t : int, str or None
        Nanoseconds; a str is a decimal integer, as JavaScript must write it to be exact.

    Raises
    ------
    DecodeError
        ``time`` where it is beyond int64 or no decimal integer.
    """
    if t is None:
        return None
    if isinstance(t, str):
        digits = t[1:] if t.startswith("-") else t
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
            raise DecodeError("time")
        t = int(t)
    if not INT64_MIN <= t <= INT64_MAX:
        raise DecodeError("time")
    return t
