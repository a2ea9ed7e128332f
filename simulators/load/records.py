"""The structs of load.h as numpy dtypes."""

from typing import Final

from fusion.structs import dtype_of
from simulators.load._load import ffi

STREAM: Final = dtype_of(ffi, "ld_stream")
DUE: Final = dtype_of(ffi, "ld_due")
LINK: Final = dtype_of(ffi, "ld_link")
READING: Final = dtype_of(ffi, "ld_reading")
ATHLETE: Final = dtype_of(ffi, "ld_athlete")
BIN: Final = dtype_of(ffi, "ld_bin")
