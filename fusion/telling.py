"""Estimates as JSON, written by the C core (csrc/live.c): all metrics of one athlete are a thousand bytes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.measurements import Estimates

SIGMA_DECIMALS, AGE_DECIMALS = int(lib.KF_SIGMA_DECIMALS), int(lib.KF_AGE_DECIMALS)
QUALITY_DECIMALS = int(lib.KF_QUALITY_DECIMALS)
_METRIC_BYTES = 160  # of a metric's numbers, and what stands between them


class Teller:
    """Writes the metrics of athletes, for one thread at a time.

    Parameters
    ----------
    decimals : sequence of int
        Of each metric's value; 0 tells it as a whole number.
    opening : sequence of bytes
        What stands before each metric's value.
    sources, reasons : sequence of bytes
        What stands between age and quality for each Source, and instead of a value for each Reason.
    """

    def __init__(
        self,
        decimals: Sequence[int],
        opening: Sequence[bytes],
        sources: Sequence[bytes],
        reasons: Sequence[bytes],
    ) -> None:
        self._decimals = np.array(decimals, dtype=np.uint8)
        self._texts = {}
        self._kept = []
        for name, pieces in (("opening", opening), ("sources", sources), ("reasons", reasons)):
            held = [ffi.from_buffer(piece) for piece in pieces]
            self._kept.append(held)
            told = [(one, len(piece)) for one, piece in zip(held, pieces, strict=True)]
            self._texts[name] = ffi.new("kf_text[]", told)
        words = max(map(len, (*sources, *reasons)))
        self._room = sum(map(len, opening)) + len(opening) * (_METRIC_BYTES + words)
        self._text = np.empty((0, self._room), dtype=np.uint8)  # kept: new memory costs more than to write it

    def __call__(self, estimates: Estimates, due_ns: NDArray[np.int64]) -> list[bytes]:
        """Return a JSON object for each athlete, empty where numbers are to be rounded with more care."""
        metrics, athletes = estimates.value.shape
        if athletes > len(self._text):
            self._text = np.empty((athletes, self._room), dtype=np.uint8)
        text = self._text
        lengths = np.empty(athletes, dtype=np.uint32)
        arrays = {
            **{
                name: np.ascontiguousarray(getattr(estimates, name)) for name in ("value", "sigma", "quality")
            },
            **{name: np.ascontiguousarray(getattr(estimates, name)) for name in ("t_ns", "source", "reason")},
            "due_ns": np.ascontiguousarray(due_ns),
            "decimals": self._decimals,
        }
        live = ffi.new(
            "kf_live *",
            {
                "metric_count": metrics,
                "athlete_count": athletes,
                **{name: ffi.from_buffer(_POINTERS[name], array) for name, array in arrays.items()},
                **self._texts,
            },
        )
        lib.kf_tell(live, ffi.from_buffer("char[]", text), self._room, ffi.from_buffer("uint32_t[]", lengths))
        written = text.data.cast("B")
        begins = range(0, athletes * self._room, self._room)
        return [bytes(written[at : at + n]) for at, n in zip(begins, lengths.tolist(), strict=True)]


_POINTERS = {
    **dict.fromkeys(("value", "sigma", "quality"), "double[]"),
    **dict.fromkeys(("t_ns", "due_ns"), "int64_t[]"),
    **dict.fromkeys(("source", "reason"), "int32_t[]"),
    "decimals": "uint8_t[]",
}
