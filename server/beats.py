"""The intervals between beats that devices tell, cleaned by what each of them told before (csrc/beats.c)."""

import numpy as np
from numpy.typing import NDArray

from fusion.intervals import KINDS, Kind
from server.places import Places
from server.schedule import NONE, Schedule


class Beats(Places):
    """What was told by each device: a place for who has told any intervals, of 1824 bytes.

    Parameters
    ----------
    schedule : Schedule
        Whose links tell the place of each device.
    limit : int
        Most devices.
    """

    def __init__(self, schedule: Schedule, limit: int) -> None:
        super().__init__(schedule, "beats", "kf_beats", limit)

    def found(self, rows: NDArray[np.intp]) -> list[dict[Kind, int]]:
        """Return how many intervals of each device were made from each kind, but for kinds of no interval."""
        places = self._schedule.links["beats"][rows]
        told = np.flatnonzero(places != NONE)
        found: list[dict[Kind, int]] = [{} for _ in places]
        counts = self.table["found"][places[told]].tolist()
        for each, count in zip(told.tolist(), counts, strict=True):
            found[each] = {kind: of for kind, of in zip(KINDS, count, strict=True) if of}
        return found
