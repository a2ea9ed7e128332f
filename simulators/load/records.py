"""The structs of load.h as numpy dtypes, from the compiler's own offsets."""

from typing import Any, Final

import numpy as np

from simulators.load._load import ffi

_NUMPY = {
    "uint8_t": np.uint8,
    "uint16_t": np.uint16,
    "int32_t": np.int32,
    "uint32_t": np.uint32,
    "int64_t": np.int64,
    "uint64_t": np.uint64,
    "double": np.float64,
}


def _field_type(ctype: Any) -> np.dtype[Any]:
    if ctype.kind == "array" and ctype.item.cname == "char":
        return np.dtype(("S", ctype.length))
    if ctype.kind == "array":
        return np.dtype((_NUMPY[ctype.item.cname], (ctype.length,)))
    return np.dtype(_NUMPY[ctype.cname])


def _record(name: str) -> np.dtype[np.void]:
    ctype = ffi.typeof(name)
    fields = dict(ctype.fields)
    return np.dtype(
        {
            "names": list(fields),
            "formats": [_field_type(field.type) for field in fields.values()],
            "offsets": [field.offset for field in fields.values()],
            "itemsize": ffi.sizeof(ctype),
        }
    )


STREAM: Final = _record("ld_stream")
DUE: Final = _record("ld_due")
LINK: Final = _record("ld_link")
READING: Final = _record("ld_reading")
ATHLETE: Final = _record("ld_athlete")
BIN: Final = _record("ld_bin")
