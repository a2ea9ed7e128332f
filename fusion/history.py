"""What the smoother needs of open workouts: for each the newest filtered states, a bounded number of them.

A model appends an entry when its filter took a measurement. When a row's room is full its oldest part is
smoothed with the newest part as look-ahead, handed out and forgotten: so memory and the time of one flush
are bounded however long a workout lasts. The look-ahead is many time constants of every model.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion import design
from fusion._core import ffi
from fusion.measurements import Records
from fusion.table import grown

Floats = NDArray[np.float64]
Transition = Callable[[list[Floats]], tuple[Floats, Floats, Floats]]

ENTRIES_MAX = 64
LOOK_AHEAD = 16
STAGGER = 24  # rows that began together come to their flushes at different entries
STAGGER_NS = 1_000_003


class Smoothed(NamedTuple):
    """A smoothed piece of one section: m entries, the last of which may be the first of the next piece."""

    starts: int  # as it was appended: what lies before the first entry; 0 where the section goes on
    t_ns: NDArray[np.int64]  # (m,)
    x: Floats  # (m, k)
    P: Floats  # (m, k, k)
    way: Floats  # (m, way), from the entry before to each


class Place(NamedTuple):
    """As kf_place: how far a row's history had come: what `History.wind_back` goes back to."""

    tenure: int  # of the slot: which of all that were ever opened; -1: the row had none
    dropped: int  # entries that were flushed by then; without a slot, how many slots had been opened
    held: int  # entries that there were

    @property
    def since(self) -> tuple[int, int]:
        """Return tenure and number of the first entry that may be dropped later than here."""
        return (self.tenure, self.dropped) if self.tenure >= 0 else (self.dropped, 0)


class Dropped(NamedTuple):
    """Entries that a flush forgot, or a whole slot, for as long as `wind_back` may want them."""

    tenure: int
    first: int  # how many were dropped before
    entries: Records
    starts: int  # as the entry that follows had it, before a flush made it the first


class History:
    """Histories of one model, a slot for each open workout that has an entry; slots are reused.

    A table's column holds each row's slot, -1 where it has none: who never has an entry costs nothing.

    Parameters
    ----------
    states : int
        The model's states, k.
    way : int
        Numbers that describe the way from one entry to the next.
    transition : callable
        From the ways into m entries, a list of ``way`` arrays (m,), to F and Q, (m, k, k) each, and the known
        input u, (m, k).
    """

    def __init__(self, states: int, way: int, transition: Transition) -> None:
        k = states
        self._transition = transition
        entry: list[Any] = [
            ("t_ns", np.int64),
            ("starts", np.int8),  # not 0: a section starts here, nothing leads here from the entry before
            ("x", np.float64, (k,)),
            ("P", np.float64, (k, k)),
            ("way", np.float64, (way,)),
        ]
        self._entries = np.zeros((0, ENTRIES_MAX), dtype=np.dtype(entry))
        self._count = np.zeros(0, dtype=np.int64)
        self._row = np.zeros(0, dtype=np.intp)  # whose each slot is
        self._tenure = np.zeros(0, dtype=np.int64)
        self._flushed = np.zeros(0, dtype=np.int64)  # entries of each slot
        self._free: list[int] = []
        self.c: Any = ffi.new("kf_history *")  # as C takes it
        self.keeps = False  # what is dropped
        self._dropped: dict[int, list[Dropped]] = {}  # of rows, oldest first

    def open(self, column: NDArray[np.int32], row: int) -> int:
        """Give a row an empty slot, and return it."""
        if not self._free:
            size = len(self._count)
            extra = max(size, 4)
            self._entries, self._count, self._row, self._tenure, self._flushed = (
                grown(table, size + extra)
                for table in (self._entries, self._count, self._row, self._tenure, self._flushed)
            )
            self._free = list(range(size + extra - 1, size - 1, -1))
            self._point()
        slot = self._free.pop()
        self._count[slot], self._row[slot] = 0, row
        self._tenure[slot], self._flushed[slot] = self.c.tenures, 0
        self.c.tenures += 1
        column[row] = slot
        return slot

    def close(self, column: NDArray[np.int32], row: int) -> None:
        """Take a row's slot away, if it has one."""
        slot = int(column[row])
        if slot >= 0:
            self._drop(slot, int(self._count[slot]))
            self._count[slot] = 0
            self._free.append(slot)
            column[row] = -1

    def row_of(self, slot: int) -> int:
        """Return whose a slot is."""
        return int(self._row[slot])

    def append(
        self,
        column: NDArray[np.int32],
        rows: NDArray[np.intp],
        t_ns: NDArray[np.int64],
        starts: NDArray[np.bool_] | NDArray[np.int8],
        x: Floats,
        P: Floats,
        way: Floats,
    ) -> list[int]:
        """Append one entry to each row's slot, open it where need be, and return those that want a flush now.

        A slot wants one at 41 to 64 entries; which, its oldest entry's time decides, so that a row's results
        depend on nothing but its own measurements.

        Parameters
        ----------
        column : (rows of the table,) int32
            The slot of each row.
        rows : (n,) intp
            Each at most once.
        t_ns, starts : (n,)
        x : (k, n) float64
        P : (k, k, n) float64
        way : (way, n) float64
            What `transition` needs of the way from the entry before.
        """
        for row in rows[column[rows] < 0]:
            self.open(column, int(row))
        slots = column[rows].astype(np.intp)
        count = self._count[slots]
        entries = self._entries
        entries["t_ns"][slots, count] = t_ns
        entries["starts"][slots, count] = starts
        entries["x"][slots, count] = x.T
        entries["P"][slots, count] = P.T
        entries["way"][slots, count] = way.T
        self._count[slots] = count + 1
        limit = ENTRIES_MAX - (entries["t_ns"][slots, 0] // STAGGER_NS) % STAGGER
        return [int(slot) for slot in slots[count + 1 >= limit]]

    def flush(self, slot: int, *, everything: bool = False) -> list[Smoothed]:
        """Smooth and forget the oldest part of a slot, or all of it, and return it piece by piece."""
        if slot < 0:
            return []
        count = int(self._count[slot])
        entries = self._entries[slot, :count]
        keep_from = count if everything else count - LOOK_AHEAD
        starts = [0, *(int(i) for i in np.flatnonzero(entries["starts"]) if i > 0), count]
        pieces = []
        for first, last in pairwise(starts):
            if first < keep_from and first < last:
                end = min(last, keep_from + 1)
                pieces.append(self._smoothed(entries[first:last], end - first))
        self._drop(slot, keep_from)
        kept = entries[keep_from:].copy()
        if len(kept) and keep_from not in starts:
            kept["starts"][0] = 0
        self._entries[slot, : len(kept)] = kept
        self._count[slot] = len(kept)
        return pieces

    def _drop(self, slot: int, count: int) -> None:
        """Note that a slot's first entries go."""
        if not self.keeps or count <= 0:
            return
        entries = self._entries[slot, :count].copy()
        follows = self._entries["starts"][slot, count] if count < self._count[slot] else 0
        gone = Dropped(int(self._tenure[slot]), int(self._flushed[slot]), entries, int(follows))
        self._dropped.setdefault(int(self._row[slot]), []).append(gone)
        self._flushed[slot] += count

    def _point(self) -> None:
        """Tell C where the tables lie."""
        for name, table in (("tenure", self._tenure), ("flushed", self._flushed), ("held", self._count)):
            setattr(self.c, name, ffi.from_buffer("int64_t[]", table))

    def droppers(self, rows: NDArray[np.intp]) -> list[int]:
        """Return those of rows of which something dropped is still kept."""
        return [row for row in rows.tolist() if row in self._dropped] if self._dropped else []

    def forget(self, row: int, oldest: Place) -> None:
        """Forget what of a row was dropped before a place."""
        gone = self._dropped.get(row)
        if gone is None:
            return
        kept = [each for each in gone if (each.tenure, each.first) >= oldest.since]
        if kept:
            self._dropped[row] = kept
        else:
            del self._dropped[row]

    def wind_back(self, column: NDArray[np.int32], row: int, to: Place) -> None:
        """Make a row's history what it was at a place; nothing of it is forgotten yet."""
        slot = int(column[row])
        if slot >= 0 and (self._tenure[slot], self._flushed[slot]) == (to.tenure, to.dropped):
            self._count[slot] = to.held
            return
        gone = self._dropped.get(row, [])
        self._dropped[row] = [each for each in gone if (each.tenure, each.first) < to.since]
        if not self._dropped[row]:
            del self._dropped[row]
        parts = [each for each in gone if each.tenure == to.tenure and each.first >= to.dropped]
        entries = [each.entries for each in parts]
        if slot >= 0 and self._tenure[slot] == to.tenure:
            entries.append(self._entries[slot, : int(self._count[slot])].copy())
        for part, following in zip(parts, entries[1:], strict=False):
            following["starts"][0] = part.starts
        if slot >= 0:
            self._count[slot] = 0  # or else closing it would note what is dropped
            self.close(column, row)
        if to.tenure < 0:
            return
        slot = self.open(column, row)
        self._tenure[slot], self._flushed[slot], self._count[slot] = to.tenure, to.dropped, to.held
        if to.held:
            self._entries[slot, : to.held] = np.concatenate(entries)[: to.held]

    def _smoothed(self, entries: Records, end: int) -> Smoothed:
        """Smooth one section and return its first ``end`` entries."""
        way = [np.ascontiguousarray(column) for column in entries["way"].T]
        F, Q, u = self._transition(way)
        x, P = design.smooth(entries["x"], entries["P"], F, Q, u)
        return Smoothed(
            int(entries["starts"][0]),
            entries["t_ns"][:end].copy(),
            x[:end],
            P[:end],
            entries["way"][:end].copy(),
        )

    def snapshot(self, slot: int) -> bytes:
        """Return a slot's content as bytes, none for a row without one."""
        if slot < 0:
            return b""
        return self._entries[slot, : int(self._count[slot])].tobytes()

    def holds(self, block: bytes) -> bool:
        """Return whether a block is a whole number of entries that fit in a slot."""
        size = self._entries.dtype.itemsize
        return len(block) % size == 0 and len(block) // size < ENTRIES_MAX

    def restore(self, column: NDArray[np.int32], row: int, block: bytes) -> None:
        """Give a row without a slot what `snapshot` gave; the block is one that `holds`."""
        if not block:
            return
        entries = np.frombuffer(block, dtype=self._entries.dtype)
        slot = self.open(column, row)
        self._entries[slot, : len(entries)] = entries
        self._count[slot] = len(entries)
