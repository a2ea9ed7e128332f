"""Several satellite receivers on one athlete, a phone and a watch: one of them speaks, in one plane.

Fixes of both would zigzag between their slow errors, which are metres apart. So one speaks at a time
(fusion/models/choice.py): who tells at most half of the other's error takes over, and whoever is heard once
it is silent. While another receiver is heard, its offset from the track is learnt; when it takes over the
plane is moved by it, so that the change of hands is no way. Within one step one receiver speaks.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Mask
from fusion.measurements import Records
from fusion.models import choice, fixes, plane, position
from fusion.rounds import rounds
from fusion.table import Fields, Picked, Table

BETTER = 0.5  # of the accuracy of who speaks
FRESH_NS = 2_000_000_000  # the track says where the athlete is for so long after its newest fix
KNOWN_NS = 60_000_000_000  # an offset is good for so long: by then slow errors have changed
LEARN_S = 20.0  # an offset is a mean over so long

FIELDS: list[tuple[Any, ...]] = [
    ("other_device", np.int32),  # the receiver whose offset is known
    ("other_since_ns", np.int64),  # since when it is learnt, and
    ("other_ns", np.int64),  # its newest moment; 0: never
    ("other_m", np.float64, (2,)),  # east and north of the track
]


def choose(s: Fields, m: Fields) -> list[Any]:
    """Take in that a receiver told a fix; tell whether it speaks."""
    accuracy = m["h_acc_m"]
    told = accuracy > 0.0  # NaN is not
    accuracy = np.where(told, np.maximum(accuracy, fixes.ACCURACY_RANGE_M[0]), fixes.ACCURACY_DEFAULT_M)
    limit = BETTER * s["gnss_rank"]
    accuracy = np.minimum(accuracy, fixes.ACCURACY_RANGE_M[1])
    return [choice.speaks(s, "gnss", m["device"], m["t_ns"], accuracy, limit, _whole(m))]


def speaking(state: Table, gnss: Records, before: Any, spoke: Mask) -> Records:
    """Return the fixes of the receivers that speak.

    Parameters
    ----------
    gnss : (m,) GNSS
    before : (m,) int32
        Who spoke for each fix's athlete before this step.
    spoke : (m,) bool
        What `choose` told of each fix.
    """
    rows = gnss["row"].astype(np.intp)
    strange = (gnss["device"] != before) & (before != choice.NOBODY)
    if not strange.any() and spoke.all():
        return gnss
    tracked = state["pos_fixes"][rows] >= position.SETTLED_FIXES
    for strangers in rounds(gnss[strange & tracked & _whole(gnss)]):
        _learn(state, strangers)
    now = state["gnss_device"][rows]
    _, first = np.unique(rows, return_index=True)
    changed = first[(now[first] != before[first]) & (before[first] != choice.NOBODY)]
    _move(state, rows[changed], gnss["t_ns"][changed])
    speaks: Records = gnss[gnss["device"] == now]
    return speaks


def _learn(state: Table, fixes: Records) -> None:
    """Learn how far from the track other receivers are."""
    rows, t_ns = fixes["row"].astype(np.intp), fixes["t_ns"]
    s = Picked(state, rows)
    since_ns = t_ns - s["pos_t_ns"]
    place = plane.within(s, fixes["lat_deg"], fixes["lon_deg"])
    x, since_s = s["pos_x"], since_ns * 1e-9
    offset = place - (x[:2] + x[2:4] * since_s)
    use = np.abs(since_ns) <= FRESH_NS
    anew = (s["other_device"] != fixes["device"]) | (t_ns - s["other_ns"] > KNOWN_NS)
    begins_ns = np.where(anew, t_ns, s["other_since_ns"])
    span_s = np.minimum((t_ns - begins_ns) * 1e-9, LEARN_S)
    share = np.where(anew, 1.0, np.minimum((t_ns - s["other_ns"]) * 1e-9 / np.maximum(span_s, 1e-3), 1.0))
    share = np.maximum(share, 0.0)
    known = np.where(anew, 0.0, s["other_m"])
    s["other_m"] = np.where(use, known + share * (offset - known), s["other_m"])
    s["other_since_ns"] = np.where(use, begins_ns, s["other_since_ns"])
    s["other_ns"] = np.where(use, t_ns, s["other_ns"])
    s["other_device"] = np.where(use, fixes["device"], s["other_device"])


def _move(state: Table, rows: timer.Rows, t_ns: timer.Times) -> None:
    """Move the plane of rows so that the receiver that speaks now is where the track is."""
    s = Picked(state, rows)
    known = (s["other_device"] == s["gnss_device"]) & (t_ns - s["other_ns"] <= KNOWN_NS)
    offset = np.where(known & (s["other_ns"] != 0), s["other_m"], 0.0)
    s["pos_e_m"] = s["pos_e_m"] - offset[0]
    s["pos_n_m"] = s["pos_n_m"] - offset[1]
    s["other_device"] = np.where(known, choice.NOBODY, s["other_device"])
    s["scatter_m2"] = np.zeros(len(rows))


def _whole(m: Fields) -> Mask:
    """Return which fixes tell a place."""
    whole: Mask = (np.abs(m["lat_deg"]) <= 90.0) & (np.abs(m["lon_deg"]) <= 360.0)  # NaN is beyond
    return whole
