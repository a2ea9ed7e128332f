"""A table of which those devices have a place that need one: their links tell where."""

from typing import Any, Final

import numpy as np

from fusion._core import ffi
from fusion.core import record
from fusion.measurements import Records
from fusion.table import untouched
from server.schedule import NONE, Schedule


class Places:
    """Places of devices, each given empty when it is needed and free again when its device is forgotten.

    Attributes
    ----------
    table : (limit,) structured
        A place costs memory from when it is given on.
    c : cffi pointer
        To the first place; the table stays where it is.

    Parameters
    ----------
    schedule : Schedule
        Whose links tell the place of each device.
    field : str
        Of the links, NONE: the device has no place.
    struct : str
        Of the core, a place's; all zeros is an empty one.
    limit : int
        Most devices.
    """

    def __init__(self, schedule: Schedule, field: str, struct: str, limit: int) -> None:
        self.table: Records = untouched((limit,), record(struct))
        self.c: Final[Any] = ffi.from_buffer(f"{struct}[]", self.table)
        self._schedule, self._field = schedule, field
        self._free: list[int] = []
        self._given = 0  # places that ever were

    def has(self, row: int) -> bool:
        """Return whether a device has a place."""
        return self.of(row) != NONE

    def of(self, row: int) -> int:
        """Return a device's place, NONE where it has none."""
        return int(self._schedule.links[self._field][row])

    def give(self, row: int) -> None:
        """Give a device that has none a place."""
        if not self._free:
            self._free.append(self._given)
            self._given += 1
        self._schedule.links[self._field][row] = self._free.pop()

    def forget(self, row: int) -> None:
        """Make a device's place that of nobody."""
        place = self.of(row)
        if place != NONE:
            self.table[place] = np.zeros((), self.table.dtype)
            self._free.append(place)
            self._schedule.links[self._field][row] = NONE
