"""Which of an athlete's devices speaks, where several measure the same.

One speaks at a time, so that nothing is counted twice. It goes on for as long as it is heard; where it falls
silent the next one that is heard takes over. A better one takes over at once in the first HOLD_NS of all;
later only once it was heard and was better for HOLD_NS, without a silence: who comes and goes is not taken
back. What is better the caller says: a rank by placement and losses, or an accuracy. The rank of who speaks
is a mean, so one bad moment does not cost it its place; a rival has to be better all the time.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Mask
from fusion.table import Fields

KINDS = ("body", "gnss", "baro", "speed", "power", "crank", "gait")
NOBODY = -1
SILENT_NS = 5_000_000_000
HOLD_NS = 10_000_000_000
ANEW_NS = 60_000_000_000  # after a longer silence of who spoke all is open again
RANK_SHARE = 0.02  # of what is new, in the mean of a rank: twelve seconds of windows

FIELDS: list[tuple[Any, ...]] = [
    field
    for kind in KINDS
    for field in (
        (f"{kind}_device", np.int32),  # who speaks; NOBODY: none yet
        (f"{kind}_rank", np.float64),  # its mean; less is better
        (f"{kind}_heard_ns", np.int64),  # the newest of it; 0: never
        (f"{kind}_begin_ns", np.int64),  # when the choice began
        (f"{kind}_rival", np.int32),  # who would be better
        (f"{kind}_rival_ns", np.int64),  # the newest of that one, and
        (f"{kind}_rival_since_ns", np.int64),  # since when it is heard and better all the time
    )
]


def clear(one: Any) -> None:
    """Let nobody speak for a row."""
    for kind in KINDS:
        one[f"{kind}_device"] = one[f"{kind}_rival"] = NOBODY


def since_own_ns(s: Fields, kind: str, device: Any, t_ns: timer.Times) -> timer.Times:
    """Return how long ago each device was heard before, (n,), SILENT_NS at most; 0 where it is not known."""
    same, rival = s[f"{kind}_device"] == device, s[f"{kind}_rival"] == device
    before_ns = np.where(same, s[f"{kind}_heard_ns"], np.where(rival, s[f"{kind}_rival_ns"], 0))
    since_ns: timer.Times = np.minimum(np.maximum(t_ns - before_ns, 0), SILENT_NS)
    return np.where(before_ns == 0, 0, since_ns)


def speaks(
    s: Fields, kind: str, device: Any, t_ns: timer.Times, rank: Any, limit: Any, use: Any = True
) -> Mask:
    """Return whether each device speaks for its athlete, (n,), and remember who does.

    Parameters
    ----------
    kind : str
        One of KINDS.
    device, t_ns, rank : (n,)
        Row of the device, the time of what it tells, and how good it is; less is better.
    limit : (n,) float64
        Of the rank, up to which a device is better than who speaks.
    use : (n,) bool
        Where a device tells anything of this kind.
    """
    heard_ns, rival, rival_ns = s[f"{kind}_heard_ns"], s[f"{kind}_rival"], s[f"{kind}_rival_ns"]
    same = use & (s[f"{kind}_device"] == device)
    silent = (heard_ns == 0) | (t_ns - heard_ns > SILENT_NS)
    better = rank <= limit
    begin_ns = np.where((heard_ns == 0) | (t_ns - heard_ns > ANEW_NS), t_ns, s[f"{kind}_begin_ns"])
    goes_on = (rival == device) & (t_ns - rival_ns <= SILENT_NS)
    since_ns = np.where(goes_on, s[f"{kind}_rival_since_ns"], t_ns)
    proven = (t_ns - begin_ns <= HOLD_NS) | (t_ns - since_ns >= HOLD_NS)
    takes = use & ~same & (silent | (better & proven & (t_ns >= heard_ns)))
    spoke: Mask = same | takes
    _remember_rival(s, kind, device, t_ns, since_ns, use & ~spoke & better, use)
    before = s[f"{kind}_rank"]
    s[f"{kind}_rank"] = np.where(takes, rank, np.where(same, before + RANK_SHARE * (rank - before), before))
    s[f"{kind}_begin_ns"] = np.where(spoke, begin_ns, s[f"{kind}_begin_ns"])
    s[f"{kind}_device"] = np.where(spoke, device, s[f"{kind}_device"])
    s[f"{kind}_heard_ns"] = np.where(spoke, np.maximum(t_ns, heard_ns), heard_ns)
    return spoke


def _remember_rival(
    s: Fields, kind: str, device: Any, t_ns: timer.Times, since_ns: timer.Times, better: Mask, use: Any
) -> None:
    """Keep the first that would be better; forget it where it speaks, is no longer better, or is silent."""
    rival, rival_ns = s[f"{kind}_rival"], s[f"{kind}_rival_ns"]
    free = (rival == NOBODY) | (rival == device) | (t_ns - rival_ns > SILENT_NS)
    claims = better & free
    goes = use & (rival == device) & ~better
    s[f"{kind}_rival"] = np.where(claims, device, np.where(goes, NOBODY, rival))
    s[f"{kind}_rival_ns"] = np.where(claims, t_ns, rival_ns)
    s[f"{kind}_rival_since_ns"] = np.where(claims, since_ns, s[f"{kind}_rival_since_ns"])
