"""Rows of a wide table, field by field.

A row of the table of athletes has more than a hundred fields. numpy copies records field by field: to take
out whole rows costs as much as fifty operations on one column, to take out one column a quarter of one.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fusion.measurements import Records


class Fields(Protocol):
    """Columns by name, one value per row: (n,), or (k, n) of a filter's states, (k, k, n) of covariances."""

    def __getitem__(self, name: str, /) -> NDArray[Any]:
        """Return a field's column, rows last."""

    def __setitem__(self, name: str, value: Any, /) -> None:
        """Set a field's column."""


def grown(table: NDArray[Any], rows: int) -> NDArray[Any]:
    """Return the table with more rows, zeros; these are not touched, so they cost no memory yet."""
    larger = np.zeros((rows, *table.shape[1:]), dtype=table.dtype)
    larger[: len(table)] = table
    return larger


class Picked:
    """Some rows of a table, each at most once, as contiguous columns; what is set, is set in the table.

    A column is taken out when it is first asked for, and kept: who holds one does not see what is set later.
    """

    def __init__(self, table: Records, rows: NDArray[np.intp]) -> None:
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
