"""What streams are told, as the engine tells it."""

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from fusion.core import SUMMARY
from fusion.timebase import TimeBase
from server.deadlines import Streams
from server.schedule import EVENT

Times = NDArray[np.int64] | int


def hear(
    streams: Streams,
    rows: NDArray[np.intp] | int,
    kind: int,
    arrived_ns: Times,
    newest_ns: Times,
    *,
    rests: bool = False,
) -> None:
    """Let a stream of each of these devices, by row, be heard once."""
    events = np.zeros(np.size(rows), EVENT)
    events["kind"], events["stream"] = lib.KF_EVENT_SAMPLE, 2 * (kind + 1) + rests
    events["flags"], events["t_ns"] = lib.KF_EVENT_TIMED, newest_ns
    events["device"], events["arrived_ns"] = rows, arrived_ns
    streams.take(TimeBase(max(events["device"], default=0) + 1), events, np.zeros(0, SUMMARY))
