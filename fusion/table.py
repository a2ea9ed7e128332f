"""Rows of a wide table, field by field.

A row of the table of athletes has more than a hundred fields. numpy copies records field by field: to take
out whole rows costs as much as fifty operations on one column, to take out one column a quarter of one.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fusion.measurements import Records


class Fields(Protocol):
    """Columns by name, one value per row: a structured array, or some rows of one."""

    def __getitem__(self, name: str, /) -> NDArray[Any]:
        """Return a field's column, (n, ...)."""


class Picked(dict[str, NDArray[Any]]):
    """Some rows of a table as contiguous columns, each taken out when it is first asked for, and kept."""

    def __init__(self, table: Records, rows: NDArray[np.intp]) -> None:
        super().__init__()
        self._table, self._rows = table, rows

    def __missing__(self, name: str) -> NDArray[Any]:
        column: NDArray[Any] = self._table[name][self._rows]
        self[name] = column
        return column
