"""Measurements in rounds: each round holds at most one of each row, in the order of time."""

from collections.abc import Iterator

import numpy as np

from fusion.measurements import Records


def rounds(records: Records) -> Iterator[Records]:
    """Yield the first measurement of each row, then the second of each row that has one, and so on.

    Parameters
    ----------
    records : (m,) structured with ``row`` and ``t_ns``
        Equal stamps of a row keep their order.
    """
    if len(records) < 2:
        if len(records):
            yield records
        return
    ordered = records[np.lexsort((records["t_ns"], records["row"]))]
    row = ordered["row"]
    index = np.arange(len(row))
    first = np.ones(len(row), dtype=bool)
    first[1:] = row[1:] != row[:-1]
    place = index - np.maximum.accumulate(np.where(first, index, 0))
    for k in range(int(place.max()) + 1):
        yield ordered[place == k]
