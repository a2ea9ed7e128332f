"""Distance of the workout, m.

Between fixes the filter's speed is integrated, never hops of position. Where fixes are missing for longer a
wheel, foot pod or steps fill the hole, or at last the straight line across it. When the workout ends, the
filter's part is replaced by the length of the smoothed track (fusion/summary.py); what was filled stays.

The sigma holds what a track cannot know of itself: half a percent, the share of what was filled, the two
ends' fixes, and the whole difference between the track's length and the integral of the receiver's own
Doppler speed.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.measurements import Records, Source
from fusion.metrics.metric import NO_SOURCE, OK, Raw, View, of_workout
from fusion.models import position

HOLE_NS = 10_000_000_000  # fixes further apart leave a hole that others may fill
EDGE_S = 8.0  # from a resume to the first fix: its speed speaks for that long
CHORD_SHARE = 0.1  # one sigma of a straight line across a hole, of its length
TRACK_SHARE = 0.005
STEP_SHARE = 0.15

FIELDS: list[tuple[Any, ...]] = [
    ("dist_filter_m", np.float64),  # between fixes that follow each other, by the filter
    ("dist_smooth_m", np.float64),  # the same, as far as it is smoothed
    ("dist_fill_m", np.float64),
    ("dist_fill_sigma_m", np.float64),
    ("dist_fill_source", np.int32),
    ("dist_doppler_m", np.float64),  # where Doppler speed is told: its integral,
    ("dist_paired_m", np.float64),  # and the filter's of the same moments
    ("dist_t_ns", np.int64),  # newest measurement that told of it
    ("path_m", np.float64),  # by wheel, foot or steps, whether it is needed or not
    ("path_sigma_m", np.float64),
    ("path_mark_m", np.float64),  # path at the newest fix, or as far as it was filled in
    ("path_mark_sigma_m", np.float64),
    ("path_source", np.int32),
    ("path_fills", np.int8),  # fixes are missing and the path fills in
    ("track_doppler_mps", np.float64),  # of the fix before
]
TOTALS = tuple(name for name, *_ in FIELDS)


def from_fixes(state: Records, step: position.Step) -> None:
    """Add what a round of fixes tells."""
    rows, t_ns = step.rows, step.t_ns
    if not len(rows):
        return
    counted, span = step.counted, step.span_s
    before = np.where(step.speed_before_mps < position.STILL_MPS, 0.0, step.speed_before_mps)
    now = np.where(step.speed_mps < position.STILL_MPS, 0.0, step.speed_mps)
    filled = state["path_fills"][rows] != 0
    arc = 0.5 * (before + now) * span
    joined = counted & step.joined
    state["dist_filter_m"][rows] += np.where(joined, arc, 0.0)
    doppler_before = state["track_doppler_mps"][rows]
    paired = joined & np.isfinite(doppler_before) & np.isfinite(step.doppler_mps)
    both = 0.5 * (np.where(paired, doppler_before, 0.0) + np.where(paired, step.doppler_mps, 0.0)) * span
    state["dist_doppler_m"][rows] += both
    state["dist_paired_m"][rows] += np.where(paired, arc, 0.0)
    state["track_doppler_mps"][rows] = step.doppler_mps
    holes = counted & filled & ~step.joined
    if holes.any():
        _take_path(state, rows, holes)
    apart = counted & ~step.joined & ~filled
    if apart.any():
        _across(state, step, apart, span, now)
    state["path_mark_m"][rows] = state["path_m"][rows]
    state["path_mark_sigma_m"][rows] = state["path_sigma_m"][rows]
    state["path_fills"][rows] = 0
    state["dist_t_ns"][rows] = np.where(counted, t_ns, state["dist_t_ns"][rows])


def _across(state: Records, step: position.Step, use: Mask, span: Floats, now: Floats) -> None:
    """Fill in what lies before a fix that does not follow another: a hole, a jump, or a resume."""
    rows = step.rows
    resumed = step.before_ns < state["resume_ns"][rows]
    silent = (step.t_ns - step.before_ns) * 1e-9 > position.GAP_S
    told = np.where(np.isfinite(step.doppler_mps), step.doppler_mps, now)
    line = silent & ~resumed & (step.chord_m < position.SPEED_MAX_MPS * span)
    chord = np.where(line, step.chord_m, 0.0)
    edge = np.where(
        ~silent | resumed, np.minimum(span, EDGE_S) * np.where(told < position.STILL_MPS, 0.0, told), 0.0
    )
    metres = np.where(use, np.where(line, chord, edge), 0.0)
    state["dist_fill_m"][rows] += metres
    state["dist_fill_sigma_m"][rows] += CHORD_SHARE * metres
    state["dist_fill_source"][rows] = np.where(metres > 0.0, Source.GNSS, state["dist_fill_source"][rows])


def from_path(
    state: Records, rows: timer.Rows, t_ns: timer.Times, metres: Floats, share: float, source: Any
) -> None:
    """Add metres along the path of a wheel, foot or steps, and fill a hole between fixes with it."""
    if not len(rows):
        return
    state["path_m"][rows] += metres
    state["path_sigma_m"][rows] += share * metres
    state["path_source"][rows] = source
    alone = t_ns - state["pos_t_ns"][rows] > HOLE_NS
    counted = timer.counts(state, rows, t_ns)
    state["path_fills"][rows[alone & counted]] = 1
    _take_path(state, rows, alone & counted)
    state["dist_t_ns"][rows] = np.where(alone & counted, t_ns, state["dist_t_ns"][rows])


def _take_path(state: Records, rows: timer.Rows, use: Mask) -> None:
    """Fill with the path since the mark, and move the mark."""
    rows = rows[use]
    state["dist_fill_m"][rows] += state["path_m"][rows] - state["path_mark_m"][rows]
    state["dist_fill_sigma_m"][rows] += state["path_sigma_m"][rows] - state["path_mark_sigma_m"][rows]
    state["dist_fill_source"][rows] = state["path_source"][rows]
    state["path_mark_m"][rows] = state["path_m"][rows]
    state["path_mark_sigma_m"][rows] = state["path_sigma_m"][rows]


def add_edge(state: Records, row: int, t_ns: int) -> None:
    """Add what lies between the newest fix and a pause or end: its speed, for a few seconds at most."""
    one = state[row]
    since_ns = max(int(one["pos_t_ns"]), int(one["resume_ns"]))
    if one["pos_fixes"] > 0 and not one["path_fills"] and t_ns > since_ns == one["pos_t_ns"]:
        now = float(np.sqrt(one["pos_x"][2] ** 2 + one["pos_x"][3] ** 2))
        metres = now * min((t_ns - since_ns) * 1e-9, EDGE_S) if now >= position.STILL_MPS else 0.0
        one["dist_fill_m"] += metres
        one["dist_fill_sigma_m"] += CHORD_SHARE * metres


def sigma_of(state: Records, track_m: Floats) -> Floats:
    """Return one sigma of the whole distance, m, (n,), where the track's part is track_m."""
    paired = state["dist_paired_m"]
    scale = np.where(paired > 1.0, track_m / np.maximum(paired, 1.0), 0.0)
    apart = np.where(paired > 1.0, np.abs(track_m - state["dist_doppler_m"] * np.clip(scale, 0.0, 2.0)), 0.0)
    # Where Doppler covers only part of the track, its difference is scaled to the whole.
    ends = np.where(track_m > 0.0, np.clip(state["pos_accuracy_m"], 1.0, 100.0), 0.0)
    fill = state["dist_fill_sigma_m"]
    sigma: Floats = np.sqrt((TRACK_SHARE * track_m) ** 2 + apart * apart + fill * fill + ends * ends)
    return sigma


def value(view: View) -> Raw:
    """Return distance."""
    s = view.state
    track, fill = s["dist_filter_m"], s["dist_fill_m"]
    known = (s["pos_t_ns"] > 0) | (s["path_source"] != 0)
    reason = np.where(known, OK, NO_SOURCE)
    by_track = (track >= fill) & (s["pos_t_ns"] > 0)
    source = np.where(
        by_track, int(Source.GNSS), np.where(fill > 0.0, s["dist_fill_source"], s["path_source"])
    )
    return Raw(track + fill, sigma_of(s, track), s["dist_t_ns"], source, of_workout(view, reason))
