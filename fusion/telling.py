"""Live updates as JSON, written by the C core (csrc/live.c): one is two thousand bytes."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import record
from fusion.measurements import Estimates, Records

SIGMA_DECIMALS, AGE_DECIMALS = int(lib.KF_SIGMA_DECIMALS), int(lib.KF_AGE_DECIMALS)
QUALITY_DECIMALS, TOTAL_DECIMALS = int(lib.KF_QUALITY_DECIMALS), int(lib.KF_TOTAL_DECIMALS)
ID_BYTES: Final = int(lib.KF_ID_BYTES)
WORKOUT: Final = record("kf_workout")
_METRIC_BYTES = 160  # of a metric's numbers, and what stands between them
_FRAME_BYTES = 1024  # of what stands before the metrics: five ids, times


class Names(NamedTuple):
    """Who is told of."""

    athletes: NDArray[np.bytes_]  # (n,) S64, the id of each row
    devices: NDArray[np.bytes_]  # (m,) likewise
    workouts: Records  # (n,) WORKOUT


class Teller:
    """Writes live updates, for one thread at a time.

    Parameters
    ----------
    decimals : sequence of int
        Of each metric's value; 0 tells it as a whole number.
    opening : sequence of bytes
        What stands before each metric's value.
    sources, reasons : sequence of bytes
        What stands between age and quality for each Source, and instead of a value for each Reason.
    states, sports : sequence of bytes
        Their names, as WORKOUT numbers them.
    """

    def __init__(self, decimals: Sequence[int], **texts: Sequence[bytes]) -> None:
        self._c = ffi.new("kf_live *", {"metric_count": len(decimals)})
        self._kept: list[Any] = []
        self._c.decimals = self._keep(ffi.from_buffer("uint8_t[]", bytes(decimals)))
        for name, pieces in texts.items():
            told = [(self._keep(ffi.from_buffer(piece)), len(piece)) for piece in pieces]
            setattr(self._c, name, self._keep(ffi.new("kf_text[]", told)))
        words = max(map(len, (*texts["sources"], *texts["reasons"])))
        opening = texts["opening"]
        self._room = _FRAME_BYTES + sum(map(len, opening)) + len(opening) * (_METRIC_BYTES + words)
        self._text = ffi.new("char[]", 0)  # kept: new memory costs more than to write it

    def __call__(
        self,
        estimates: Estimates,
        jobs: Records,
        places: NDArray[np.uint32],
        names: Names,
        closing: bytes,
    ) -> list[bytes]:
        """Return the live updates of jobs, empty where numbers are to be rounded with more care.

        Parameters
        ----------
        estimates : Estimates
            Of n jobs.
        jobs : (n,) kf_job
        places : (k,)
            Of the jobs that are told of.
        names : Names
        closing : bytes
            What stands behind the metrics.
        """
        count, c = len(places), self._c
        if count * self._room > len(self._text):
            self._text = ffi.new("char[]", count * self._room)
        ends = np.empty(count, np.uint64)
        c.job_count = len(jobs)
        c.told = ffi.from_buffer("kf_value[]", estimates.told)
        c.jobs = ffi.from_buffer("kf_job[]", jobs)
        c.athletes = ffi.from_buffer("char[]", names.athletes)
        c.devices = ffi.from_buffer("char[]", names.devices)
        c.workouts = ffi.from_buffer("kf_workout[]", names.workouts)
        c.closing.bytes, c.closing.length = ffi.from_buffer(closing), len(closing)
        which = ffi.from_buffer("uint32_t[]", places)
        lib.kf_tell(c, which, count, self._text, self._room, ffi.from_buffer("uint64_t[]", ends))
        written, until = ffi.buffer(self._text), ends.tolist()
        return [written[begin:end] for begin, end in zip([0, *until], until, strict=False)]

    def _keep(self, held: Any) -> Any:
        """Hold what C only points to."""
        self._kept.append(held)
        return held
