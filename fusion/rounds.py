"""Measurements in rounds: each round holds at most one of each row, in the order of time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fusion.measurements import Records


def in_order(records: Records) -> Records:
    """Return records by row, those of each row in the order of time; equal stamps of a row keep their order.

    Parameters
    ----------
    records : (m,) structured with ``row`` and ``t_ns``
    """
    if len(records) < 2:
        return records
    return records.take(np.lexsort((records["t_ns"], records["row"])))


def turns(row: NDArray[np.integer]) -> list[NDArray[np.intp] | slice]:
    """Return where the first record of each row stands, where the second of each row that has one, and so on.

    Parameters
    ----------
    row : (m,) int
        Rows of records that are in order: equal ones stand together.

    Returns
    -------
    list
        Indices, or a slice of everything where each row has one record.
    """
    count = len(row)
    again = row[1:] == row[:-1]
    if not count or not again.any():
        return [slice(None)] if count else []
    index = np.arange(count)
    first = np.zeros(count, dtype=np.intp)
    first[1:] = np.where(again, 0, index[1:])
    place = index - np.maximum.accumulate(first)
    return [np.flatnonzero(place == k) for k in range(int(place.max()) + 1)]


def rounds(records: Records) -> Iterator[Records]:
    """Yield the first measurement of each row, then the second of each row that has one, and so on.

    Parameters
    ----------
    records : (m,) structured with ``row`` and ``t_ns``
        Equal stamps of a row keep their order.
    """
    if not len(records):
        return
    ordered = in_order(records)
    for turn in turns(ordered["row"]):
        yield ordered[turn] if isinstance(turn, slice) else ordered.take(turn)
