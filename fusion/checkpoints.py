"""What rows of the table of athletes were some time ago, for going back when something comes late.

A base is all that is known of a row at an aligned time: the row itself, and how far its histories had come.
Bases of a row are taken every ten seconds or so, by whoever steps it; the newest few are kept, packed: most
of a row is of models that this athlete's devices never feed. The row as it was before its newest step is kept
as it is: that step can be taken back alone.
"""

from zlib import compress, decompress

import numpy as np
from numpy.typing import NDArray

from fusion.history import History, Place
from fusion.state import zeros
from fusion.table import Table, grown

NONE_NS = np.iinfo(np.int64).min
LEVEL = 1  # of compression: 0.7 of 1.2 kB are left, and a higher one gains little


class Checkpoints:
    """Bases of all rows.

    Parameters
    ----------
    count : int
        Bases that are kept of a row.
    histories : tuple of (str, History)
        Each with the column of the table that holds its slots.
    """

    def __init__(self, count: int, *histories: tuple[str, History]) -> None:
        self._histories = histories
        self._t_ns = np.full((0, count), NONE_NS)
        self._packed: list[list[bytes]] = []  # the rows, a list for each
        self._newest_ns = np.full(0, NONE_NS)  # to where the newest step went,
        self._before = zeros(0)  # and the row before it,
        self._places = np.zeros(
            (0, count + 1, len(histories), 3), np.int64
        )  # whose place is the last of each
        for _, history in histories:
            history.keeps = True

    def keep(self, state: Table, rows: NDArray[np.intp], t_ns: NDArray[np.int64]) -> None:
        """Take a base of each row, at its time, in the place of its oldest."""
        self._reserve(state)
        held_ns = self._t_ns[rows]
        again = held_ns == t_ns[:, None]
        at = np.where(again.any(axis=1), again.argmax(axis=1), held_ns.argmin(axis=1))
        self._t_ns[rows, at] = t_ns
        for row, place in zip(rows.tolist(), at.tolist(), strict=True):
            self._packed[row][place] = compress(state.row_bytes(row), LEVEL)
        self._put_places(state, rows, at)
        for i, (_, history) in enumerate(self._histories):
            for row in history.droppers(rows):
                history.forget(row, self._place(row, int(self._oldest(row)), i))

    def before_step(self, state: Table, rows: NDArray[np.intp], t_ns: NDArray[np.int64]) -> None:
        """Take note of what rows are before a step to ``t_ns``, (n,)."""
        self._reserve(state)
        self._newest_ns[rows] = t_ns
        self._before.take(rows, state)
        self._put_places(state, rows, -1)

    def take_back(self, state: Table, rows: NDArray[np.intp], t_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Take back the newest step of rows; False where that did not go to ``t_ns``, (n,)."""
        known: NDArray[np.bool_] = self._newest_ns[rows] == t_ns
        rows = rows[known]
        slots = [state[column][rows] for column, _ in self._histories]
        state.take(rows, self._before)
        for i, ((column, history), there) in enumerate(zip(self._histories, slots, strict=True)):
            state[column][rows] = there
            before = self._places[rows, -1, i].T
            moved = (history.place(there) != before).any(axis=0) & ((there >= 0) | (before[0] >= 0))
            for row in rows[moved].tolist():
                history.wind_back(state[column], row, self._place(row, -1, i))
        return known

    def has(self, row: int, t_ns: int) -> bool:
        """Return whether a base of a row is of ``t_ns``."""
        return row < len(self._t_ns) and bool((self._t_ns[row] == t_ns).any())

    def clear(self, row: int) -> None:
        """Forget all bases of a row."""
        if row < len(self._t_ns):
            self._t_ns[row] = self._newest_ns[row] = NONE_NS
            self._packed[row] = [b""] * len(self._packed[row])

    def wind_back(self, state: Table, row: int, t_ns: int) -> list[int]:
        """Make a row what it was at a base that it `has`; return the times of its later bases, now gone."""
        at = int(np.flatnonzero(self._t_ns[row] == t_ns)[0])
        slots = [int(state[column][row]) for column, _ in self._histories]
        state.put_bytes(row, decompress(self._packed[row][at]))
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

    def _put_places(self, state: Table, rows: NDArray[np.intp], at: NDArray[np.intp] | int) -> None:
        for i, (column, history) in enumerate(self._histories):
            self._places[rows, at, i] = history.place(state[column][rows]).T

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
