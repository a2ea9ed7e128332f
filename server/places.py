"""A table of which those devices have a place that need one: their links tell where."""

from typing import Any, Final

import numpy as np

from fusion.measurements import Records
from server.schedule import NONE, Schedule

_ROOM: Final = 64


class Places:
    """Places of devices, each given empty when it is needed and free again when its device is forgotten.

    Attributes
    ----------
    table : (capacity,) structured
        Moves where a place is given.

    Parameters
    ----------
    schedule : Schedule
        Whose links tell the place of each device.
    field : str
        Of the links, NONE: the device has no place.
    dtype : dtype
        All zeros is an empty place.
    """

    def __init__(self, schedule: Schedule, field: str, dtype: "np.dtype[Any]") -> None:
        self.table: Records = np.zeros(0, dtype)
        self._schedule, self._field = schedule, field
        self._free: list[int] = []

    def has(self, row: int) -> bool:
        """Return whether a device has a place."""
        return self.of(row) != NONE

    def of(self, row: int) -> int:
        """Return a device's place, NONE where it has none."""
        return int(self._schedule.links[self._field][row])

    def give(self, row: int) -> None:
        """Give a device a place, which is empty."""
        if not self._free:
            size = len(self.table)
            self.table.resize(size + _ROOM, refcheck=False)  # in place, as a rule: see Schedule
            self._free.extend(range(size + _ROOM - 1, size - 1, -1))
        self._schedule.links[self._field][row] = self._free.pop()

    def forget(self, row: int) -> None:
        """Make a device's place that of nobody."""
        place = self.of(row)
        if place != NONE:
            self.table[place] = np.zeros((), self.table.dtype)
            self._free.append(place)
            self._schedule.links[self._field][row] = NONE
