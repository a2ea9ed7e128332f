"""Rows of a wide table, field by field.

A row of the table of athletes has more than a hundred fields. numpy copies records field by field: to take
out whole rows costs as much as fifty operations on one column, to take out one column a quarter of one.
"""

import mmap
from math import prod
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi
from fusion.measurements import Records


class Fields(Protocol):
    """Columns by name, one value per row: (n,), or (k, n) of a filter's states, (k, k, n) of covariances."""

    def __getitem__(self, name: str, /) -> NDArray[Any]:
        """Return a field's column, rows last."""

    def __setitem__(self, name: str, value: Any, /) -> None:
        """Set a field's column."""


def untouched(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return zeros of which each page costs memory from when something is written to it on.

    What `numpy.zeros` returns is so only sometimes: it may have been somebody's before, and be cleared. And
    when it is given back, the process mostly keeps it.
    """
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    if size < mmap.PAGESIZE:
        return np.zeros(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), dtype).reshape(shape)


def grown(table: NDArray[Any], rows: int) -> NDArray[Any]:
    """Return the table with more rows, zeros; these are not touched, so they cost no memory yet."""
    larger = untouched((rows, *table.shape[1:]), table.dtype)
    larger[: len(table)] = table
    return larger


def grown_sparsely(table: NDArray[Any], rows: int) -> NDArray[Any]:
    """Return the table, (n, m), with more rows; those that are all zeros are not touched either."""
    larger = untouched((rows, *table.shape[1:]), table.dtype)
    used = np.flatnonzero(table.any(axis=1))
    larger[used] = table[used]
    return larger


def joined(often: np.dtype[Any], seldom: np.dtype[Any]) -> np.dtype[Any]:
    """Return the fields of two records as those of one that lies behind the other."""
    parts = ((often, 0), (seldom, often.itemsize))
    fields = [(name, dtype[name], at + shift) for dtype, shift in parts for name, at in _offsets(dtype)]
    names, formats, offsets = (list(each) for each in zip(*fields, strict=True))
    size = often.itemsize + seldom.itemsize
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def _offsets(dtype: np.dtype[Any]) -> list[tuple[str, int]]:
    assert dtype.fields is not None, "a record has fields"
    return [(name, field[1]) for name, field in dtype.fields.items()]


class Table:
    """Rows of many fields, in two arrays: of what every row has, and of what few rows ever have.

    Memory of zeros costs nothing until something is written to it. So what is zero in the second array stays
    untouched: there nothing is written where nothing changes.

    Parameters
    ----------
    often, seldom : (n,) structured
        No field has the same name in both.
    dtype : dtype
        All fields, `joined`.
    """

    def __init__(self, often: Records, seldom: Records, dtype: np.dtype[Any]) -> None:
        self.often, self.seldom, self.dtype = often, seldom, dtype
        self._columns: dict[Any, NDArray[Any]] = {}
        self._often = frozenset(often.dtype.names or ())
        self._c: Any = None

    @property
    def c(self) -> Any:
        """Return the table as C takes it, kf_table; it stands until the table grows."""
        if self._c is None:
            often, seldom = self.often, self.seldom
            if not (often.flags.c_contiguous and seldom.flags.c_contiguous):
                raise TypeError("a table must be contiguous")
            held = [ffi.from_buffer("uint8_t[]", part, require_writable=True) for part in (often, seldom)]
            self._c = ffi.new("kf_table *", (*held, often.itemsize, seldom.itemsize, len(often)))
        return self._c

    def __len__(self) -> int:
        return len(self.often)

    @overload
    def __getitem__(self, key: str, /) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, key: int, /) -> "Row": ...
    @overload
    def __getitem__(self, key: slice, /) -> "Table": ...
    def __getitem__(self, key: Any, /) -> Any:
        """Return a field's column, or a row, or some of the rows."""
        if not isinstance(key, str):
            return self._part(key) if isinstance(key, slice) else Row(self, key)
        column = self._columns.get(key)
        if column is None:
            part = self.often if self.has_often(key) else self.seldom
            column = self._columns[key] = part[key]
        return column

    def __setitem__(self, name: str, value: Any, /) -> None:
        """Set a field's column."""
        self[name][:] = value

    def has_often(self, name: str) -> bool:
        """Return whether every row has a field: it may be written to for nothing."""
        return name in self._often

    def copy(self) -> "Table":
        """Return the same rows elsewhere."""
        return Table(self.often.copy(), self.seldom.copy(), self.dtype)

    def grow(self, rows: int) -> None:
        """Have more rows; those that were are the same."""
        seldom = grown_sparsely(self._words(), rows)
        self.often, self.seldom = grown(self.often, rows), seldom.view(self.seldom.dtype).reshape(rows)
        self._columns.clear()
        self._c = None

    def clear(self, row: int) -> None:
        """Make all fields of a row zero."""
        self.often[row : row + 1].view(np.uint8)[:] = 0
        if self._words()[row].any():
            self._words()[row] = 0

    def _part(self, rows: slice) -> "Table":
        return Table(self.often[rows], self.seldom[rows], self.dtype)

    def _words(self) -> NDArray[np.uint64]:
        return self.seldom.view(np.uint64).reshape(len(self), self.seldom.itemsize // 8)


class Row:
    """A row of a table: its fields by name."""

    __slots__ = ("_row", "_table")

    def __init__(self, table: Table, row: int) -> None:
        self._table, self._row = table, row

    def __getitem__(self, name: str) -> Any:
        return self._table[name][self._row]

    def __setitem__(self, name: str, value: Any) -> None:
        column = self._table[name]
        if self._table.has_often(name):
            column[self._row] = value
            return
        differs = column[self._row] != value
        if differs.any() if isinstance(differs, np.ndarray) else differs:
            column[self._row] = value


class Picked:
    """Some rows of a table, each at most once, as contiguous columns; what is set, is set in the table.

    A column is taken out when it is first asked for, and kept: who holds one does not see what is set later.
    """

    def __init__(self, table: Table | Records, rows: NDArray[np.intp]) -> None:
        self._table, self._rows = table, rows
        self._columns: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        column = self._columns.get(name)
        if column is None:
            column = self._table[name][self._rows]
            if column.ndim > 1:
                column = np.ascontiguousarray(column.T)
            self._columns[name] = column
        return column

    def __setitem__(self, name: str, value: Any) -> None:
        self._table[name][self._rows] = value.T if isinstance(value, np.ndarray) else value
        self._columns.pop(name, None)
