"""What becomes of a stream: its deadline, the lease of its link, and which of the causes holds.

Functions over rows of the tables that `server.deadlines.streams` keeps; that module says what the words mean.
"""

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from fusion.core import record
from fusion.measurements import Records
from server import config
from server.messages import StreamState

Cause = Literal["late", "clock_jumped", "quiet_unchanged", "sensor_silent", "link_dead"]
CAUSES: Final[tuple[Cause, ...]] = ("late", "clock_jumped", "quiet_unchanged", "sensor_silent", "link_dead")
STATES: Final[tuple[StreamState, ...]] = ("alive", *CAUSES)

ALIVE, LATE, JUMPED, QUIET, SILENT, DEAD = range(len(STATES))
UNHEARD: Final = int(lib.KF_STREAM_UNHEARD)
assert (ALIVE, DEAD) == (lib.KF_STREAM_ALIVE, lib.KF_STREAM_DEAD)

INTERVALS: Final = 4.0  # a deadline holds so many usual intervals
DEADLINE_NS_MAX: Final = 600_000_000_000
PLAYED_NS_MIN: Final = 500_000_000  # networks do not stall less where a recording is played fast
JUMP_NS: Final = 5_000_000_000  # how long a jump is told: aligned time finds its way again
NEVER: Final = 2**62


def _table(name: str, *truths: str) -> np.dtype[np.void]:
    """Return a struct of the core as a dtype in which these fields are truths."""
    told = record(name)
    fields = dict(told.fields or {})
    return np.dtype(
        {
            "names": list(fields),
            "formats": [np.bool_ if each in truths else field[0] for each, field in fields.items()],
            "offsets": [field[1] for field in fields.values()],
            "itemsize": told.itemsize,
        }
    )


STREAM: Final = _table("kf_supervised_stream", "rests")
DEVICE: Final = _table("kf_supervised_device", "willed", "gone", "dead", "waits")


class Rules:
    """The limits of the configuration, and what follows from them.

    Parameters
    ----------
    limits : server.config.Deadlines
    """

    def __init__(self, limits: config.Deadlines) -> None:
        self.silence_ns = round(limits.silence_ms * 1e6)
        self.lease_ns = round(limits.lease_ms * 1e6)
        self.lifespan_s = limits.lifespan_ms / 1e3

    def judge(
        self, streams: Records, devices: Records, of_devices: Records, *, since_ns: int, now_ns: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
        """Return each stream's state, when it may change next, and whether a sign of life may change it.

        Parameters
        ----------
        streams, devices : (n,) STREAM, DEVICE
            Each stream, and its device.
        of_devices : (n, kinds) STREAM
            All streams of that device.
        since_ns, now_ns : int
            Silence before ``since_ns`` does not count.
        """
        state = streams["state"]
        base_ns = np.maximum(np.maximum(streams["heard_ns"], devices["revived_ns"]), since_ns)
        end_ns = base_ns + self.deadline_ns(streams["interval_s"], devices["speed"])
        overdue = now_ns > end_ns
        lease_end_ns, believed = self._lease(of_devices, devices, since_ns)
        dead = devices["gone"] | devices["dead"] | ((now_ns > lease_end_ns) & ~believed)
        jump_end_ns = devices["jumped_ns"] + JUMP_NS
        jumped = (devices["jumped_ns"] > 0) & (now_ns < jump_end_ns)
        signed = (devices["heard_ns"] > end_ns) | (state == SILENT)
        awaited = overdue | (devices["revived_ns"] > streams["heard_ns"])  # not heard since its link revived
        after = np.select(
            [dead, overdue & streams["rests"], overdue & signed, awaited, jumped],
            [DEAD, QUIET, SILENT, state, JUMPED],
            np.where(streams["age_s"] > self.lifespan_s, LATE, ALIVE),
        ).astype(np.uint8)
        again_ns = np.where(believed, now_ns + self.lease_ns, lease_end_ns) + 1
        due_ns = np.select(
            [dead, overdue, jumped & ~awaited],
            [NEVER, again_ns, np.minimum(jump_end_ns, end_ns + 1)],
            end_ns + 1,
        )
        return after, due_ns, dead | (overdue & ~streams["rests"] & ~signed)

    def _lease(
        self, streams: Records, devices: Records, since_ns: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return when the lease of each link ends, and whether the link is believed to live all the same."""
        known = streams["state"] != UNHEARD
        deadline_ns = self.deadline_ns(streams["interval_s"], devices["speed"][:, None])
        comes = known & (streams["state"] <= JUMPED)
        shortest_ns = np.where(comes, deadline_ns, NEVER).min(axis=1)
        longest_ns = np.where(known, deadline_ns, 0).max(axis=1)
        lease_ns = np.maximum(self.lease_ns, np.where(shortest_ns < NEVER, shortest_ns, longest_ns))
        base_ns = np.maximum(devices["heard_ns"], since_ns)
        believed = devices["willed"] & (streams["rests"] | ~known).all(axis=1)
        return base_ns + lease_ns, believed

    def deadline_ns(self, interval_s: Any, speed: Any) -> Any:
        """Return the longest silence of streams with these usual intervals, ns."""
        played = speed > 0
        if not np.any(played):
            return np.clip(INTERVALS * 1e9 * interval_s, self.silence_ns, DEADLINE_NS_MAX).astype(np.int64)
        scale = np.where(played, speed, 1.0)
        longest_ns = np.clip(INTERVALS * 1e9 * interval_s * scale, self.silence_ns, DEADLINE_NS_MAX) / scale
        return np.where(played, np.maximum(longest_ns, PLAYED_NS_MIN), longest_ns).astype(np.int64)
