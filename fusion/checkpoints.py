"""What rows of the table of athletes were some time ago, for going back when something comes late.

A base is all that is known of a row at an aligned time: the row itself, and how far its histories had come.
Bases of a row are taken every ten seconds or so, by whoever steps it; the newest few are kept, packed: most
of a row is of models that this athlete's devices never feed. The row as it was before its newest step is kept
as it is: that step can be taken back alone. The C core copies and packs (csrc/bases.c).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.history import History, Place
from fusion.state import OFTEN, zeros
from fusion.table import Table, grown

NONE_NS = np.iinfo(np.int64).min


class Checkpoints:
    """Bases of all rows.

    Parameters
    ----------
    count : int
        Bases that are kept of a row.
    blank : bytes
        The first part of a row of whom nothing is known: rows are packed as they differ from it.
    histories : tuple of (str, History)
        Each with the column of the table that holds its slots.
    """

    def __init__(self, count: int, blank: bytes, *histories: tuple[str, History]) -> None:
        assert len(histories) == lib.KF_HISTORIES, "the core goes through these"
        self._histories = histories
        self._t_ns = np.full((0, count), NONE_NS)
        self._packed: list[list[bytes]] = []  # the rows, a list for each
        # To where the newest step went, and the row before it, whose place is the last of each.
        self._newest_ns = np.full(0, NONE_NS)
        self._before = zeros(0)
        self._places = np.zeros((0, count + 1, len(histories), 3), np.int64)
        self._blank = ffi.from_buffer("uint8_t[]", blank)
        self._c = ffi.new("kf_bases *", {"base_count": count, "blank": self._blank})
        assert OFTEN.fields is not None, "a row has fields"
        for i, (column, history) in enumerate(histories):
            history.keeps = True
            history.c.slot_at = OFTEN.fields[column][1]
            self._c.histories[i] = history.c

    def keep(self, state: Table, rows: NDArray[np.intp], t_ns: NDArray[np.int64]) -> None:
        """Take a base of each row, at its time, in the place of its oldest."""
        self._reserve(state)
        count = len(rows)
        packed = np.empty(count * lib.kf_packed_bytes(state.c), np.uint8)
        at, ends = np.empty(count, np.uint32), np.empty(count, np.uint64)
        room, out = ffi.from_buffer("uint8_t[]", packed), ffi.from_buffer("uint64_t[]", ends)
        places = ffi.from_buffer("uint32_t[]", at)
        lib.kf_bases_keep(self._c, state.c, *_told(rows, t_ns), count, places, room, out)
        begin, written = 0, ffi.buffer(room)
        for row, place, end in zip(rows.tolist(), at.tolist(), ends.tolist(), strict=True):
            self._packed[row][place] = written[begin:end]
            begin = end
        for i, (_, history) in enumerate(self._histories):
            for row in history.droppers(rows):
                history.forget(row, self._place(row, int(self._oldest(row)), i))

    def before_step(
        self, state: Table, rows: NDArray[np.intp], t_ns: NDArray[np.int64], again: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Make rows ready for a step to ``t_ns``, (n,): take note of what they are, or take that step back.

        Returns
        -------
        (n,) bool
            False where a step is to be made ``again`` that was not the newest.
        """
        self._reserve(state)
        verdicts = np.empty(len(rows), np.uint8)
        out = ffi.from_buffer("uint8_t[]", verdicts)
        lib.kf_bases_before(
            self._c, state.c, *_told(rows, t_ns), ffi.from_buffer("uint8_t[]", again), len(rows), out
        )
        for place in np.flatnonzero(verdicts > lib.KF_READY).tolist():
            row = int(rows[place])
            for i, (column, history) in enumerate(self._histories):
                if verdicts[place] & lib.KF_MOVED << i:
                    history.wind_back(state[column], row, self._place(row, -1, i))
        return np.not_equal(verdicts, 0)

    def has(self, row: int, t_ns: int) -> bool:
        """Return whether a base of a row is of ``t_ns``."""
        return row < len(self._t_ns) and bool((self._t_ns[row] == t_ns).any())

    def newest_ns(self, row: int) -> int:
        """Return of when the newest base of a row is, NONE_NS where it has none."""
        return int(self._t_ns[row].max()) if row < len(self._t_ns) else NONE_NS

    def clear(self, row: int) -> None:
        """Forget all bases of a row."""
        if row < len(self._t_ns):
            self._t_ns[row] = self._newest_ns[row] = NONE_NS
            self._packed[row] = [b""] * len(self._packed[row])

    def wind_back(self, state: Table, row: int, t_ns: int) -> list[int]:
        """Make a row what it was at a base that it `has`; return the times of its later bases, now gone."""
        at = int(np.flatnonzero(self._t_ns[row] == t_ns)[0])
        slots = [int(state[column][row]) for column, _ in self._histories]
        packed = self._packed[row][at]
        lib.kf_bases_unpack(self._c, state.c, row, ffi.from_buffer("uint8_t[]", packed), len(packed))
        for i, ((column, history), slot) in enumerate(zip(self._histories, slots, strict=True)):
            state[column][row] = slot
            history.wind_back(state[column], row, self._place(row, at, i))
        self._newest_ns[row] = NONE_NS
        later = self._t_ns[row] > t_ns
        gone: list[int] = sorted(self._t_ns[row, later].tolist())
        self._t_ns[row, later] = NONE_NS
        return gone

    def _oldest(self, row: int) -> int:
        held_ns = self._t_ns[row]
        return int(np.where(held_ns == NONE_NS, np.iinfo(np.int64).max, held_ns).argmin())

    def _place(self, row: int, at: int, history: int) -> Place:
        return Place(*self._places[row, at, history].tolist())

    def _reserve(self, state: Table) -> None:
        """Have room for every row of the table."""
        before, count = len(self._t_ns), len(state)
        if before >= count:
            return
        self._t_ns, self._newest_ns = grown(self._t_ns, count), grown(self._newest_ns, count)
        self._places = grown(self._places, count)
        self._before.grow(count)
        self._t_ns[before:] = self._newest_ns[before:] = NONE_NS
        self._packed += [[b""] * self._t_ns.shape[1] for _ in range(before, count)]
        c = self._c
        c.t_ns = ffi.from_buffer("int64_t[]", self._t_ns)
        c.newest_ns = ffi.from_buffer("int64_t[]", self._newest_ns)
        c.places = ffi.from_buffer("kf_place[]", self._places)
        c.before = self._before.c


def _told(rows: NDArray[np.intp], t_ns: NDArray[np.int64]) -> tuple[Any, Any]:
    """Return rows and times as C takes them."""
    return ffi.from_buffer("int64_t[]", rows), ffi.from_buffer("int64_t[]", t_ns)
