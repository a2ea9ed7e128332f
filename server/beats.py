"""What is known of the intervals between beats that devices tell: a place for who has told any."""

import numpy as np
from numpy.typing import NDArray

from fusion.intervals import BEATS, KINDS, Kind
from server.places import Places
from server.schedule import NONE, Schedule


class Beats(Places):
    """Places of BEATS.

    Parameters
    ----------
    schedule : Schedule
        Whose links tell the place of each device.
    """

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule, "beats", BEATS)

    def found(self, rows: NDArray[np.intp]) -> list[dict[Kind, int]]:
        """Return how many intervals of each device were made from each kind, but for kinds of no interval."""
        places = self._schedule.links["beats"][rows]
        told = np.flatnonzero(places != NONE)
        found: list[dict[Kind, int]] = [{} for _ in places]
        counts = self.table["found"][places[told]].tolist()
        for each, count in zip(told.tolist(), counts, strict=True):
            found[each] = {kind: of for kind, of in zip(KINDS, count, strict=True) if of}
        return found
