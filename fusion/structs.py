"""Structs of C as numpy dtypes, from the compiler's own offsets."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

_NUMPY: Final = {
    "uint8_t": np.uint8,
    "int8_t": np.int8,
    "uint16_t": np.uint16,
    "uint32_t": np.uint32,
    "int32_t": np.int32,
    "uint64_t": np.uint64,
    "int64_t": np.int64,
    "float": np.float32,
    "double": np.float64,
}


def dtype_of(ffi: Any, name: str) -> np.dtype[np.void]:
    """Return the dtype of a struct that a cffi module knows, by its name."""
    return _record(ffi, ffi.typeof(name))


def _record(ffi: Any, ctype: Any) -> np.dtype[np.void]:
    fields = dict(ctype.fields)
    return np.dtype(
        {
            "names": list(fields),
            "formats": [_field_type(ffi, field.type) for field in fields.values()],
            "offsets": [field.offset for field in fields.values()],
            "itemsize": ffi.sizeof(ctype),
        }
    )


def joined(parts: Iterable[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return arrays of one dtype, or their bytes, as one, (n,): a copy, also of a single one.

    As bytes: numpy joins and copies records field by field, at ten times the cost of a few.
    """
    return np.frombuffer(bytearray().join(parts), dtype)


def _field_type(ffi: Any, ctype: Any) -> np.dtype[Any]:
    if ctype.kind == "struct":
        return _record(ffi, ctype)
    if ctype.kind == "array" and ctype.item.cname == "char":
        return np.dtype(("S", ctype.length))
    if ctype.kind == "array":
        return np.dtype((_NUMPY[ctype.item.cname], (ctype.length,)))
    return np.dtype(_NUMPY[ctype.cname])
