"""Distance of the workout, m.

Between fixes the filter's speed is integrated, never hops of position. Where fixes are missing for longer a
wheel, foot pod or steps fill the hole, or at last the straight line across it. When the workout ends, the
filter's part is replaced by the length of the smoothed track (fusion/summary.py); what was filled stays.

The sigma holds what a track cannot know of itself: a share of it, the share of what was filled, the two ends'
fixes, what noise may have added, and what the track's length differs by from the integral of the receiver's
own Doppler speed. Two estimates that are as good as each other are each wrong by 1 / sqrt(2) of what they
differ by, one sigma.
"""

from typing import Any

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.measurements import Source
from fusion.metrics.metric import NO_SOURCE, OK, Raw, View, of_workout
from fusion.models import fixes, position
from fusion.table import Fields, Picked, Table

STEPS = (int(Source.IMU), int(Source.CADENCE))  # of a path: lengths of steps, to be weighed against a line
HOLE_NS = 10_000_000_000  # fixes further apart leave a hole that others may fill
EDGE_S = 8.0  # from a resume to the first fix: its speed speaks for that long
CHORD_SHARE = 0.1  # one sigma of a straight line across a hole, of its length
BEND_SHARE = 0.05  # the same where steps or turns tell the way too,
BEND_MEAN = 0.01  # by which the way is longer then, at least
LEAVING_SHARE = 0.3  # one sigma of the way by which a rest is known to be over, or a pause
NOISE_SHARE = 0.5  # one sigma of a track's length, of what noise may have added
TRACK_SHARE = 0.002  # one sigma of a track's length, of what it cannot know of itself
ENDS_SHARE = 0.7  # the same, of the stated accuracy: what both ends are wrong by along the way
APART_SHARE = 0.7  # the same, of what it differs by from Doppler speed: both are wrong alike
SILENT_MPS = position.STILL_MPS  # while nothing is heard an athlete is at least that fast
LONGER_SHARE = 0.005  # by how much any track may be too long, and
RAW_SHARE = 0.1  # by how much noise may lengthen a track of raw fixes
RAW_LEAN = 0.15  # fixes whose innovations correlate less than this are raw
DOPPLER_SHARE = 0.01  # one sigma of the integral of Doppler speed, of the way,
DOPPLER_MPS = 0.05  # and of the speed, where the receiver tells none

FIELDS: list[tuple[Any, ...]] = [
    ("dist_filter_m", np.float64),  # between fixes that follow each other, by the filter
    ("dist_smooth_m", np.float64),  # the same, as far as it is smoothed
    ("dist_arcs_m", np.float64),  # by the filter, before anything is kept back
    ("dist_left_m", np.float64),  # of it: straight lines out of rests
    ("dist_over_m", np.float64),  # counted at first, and then known for noise of a rest,
    ("dist_owed_m", np.float64),  # and not kept back yet
    ("dist_noise_m", np.float64),  # by how much noise may have lengthened it, where no Doppler speed is told
    ("dist_fill_m", np.float64),
    ("dist_fill_sigma_m", np.float64),
    ("dist_fill_source", np.int32),
    ("dist_raw_m", np.float64),  # by how much noise has lengthened it, by Doppler speed: off the live value
    ("dist_doppler_m", np.float64),  # where Doppler speed is told: its integral,
    ("dist_paired_m", np.float64),  # and the filter's of the same moments
    ("dist_paired_s", np.float64),  # how long they took
    ("dist_doppler_error_m", np.float64),  # the integral of Doppler speed's own sigma
    ("dist_t_ns", np.int64),  # newest measurement that told of it
    ("path_m", np.float64),  # by wheel, foot or steps, whether it is needed or not
    ("path_sigma_m", np.float64),
    ("path_mark_m", np.float64),  # path at the newest fix, or as far as it was filled in
    ("path_mark_sigma_m", np.float64),
    ("path_fix_m", np.float64),  # path at the newest fix
    ("path_fix_sigma_m", np.float64),
    ("path_source", np.int32),
    ("path_fills", np.int8),  # fixes are missing and the path fills in
    ("track_doppler_mps", np.float64),  # of the fix before
    ("track_first", np.int8),  # that was the first one behind a pause, and told no speed
]
TOTALS = tuple(name for name, *_ in FIELDS)


def from_fixes(state: Table, step: position.Step) -> Floats:
    """Add what a round of fixes tells; return the way since the fix before, m, (n,).

    It is NaN where none is counted between both: at a start or resume, a jump, or where others filled a hole.
    """
    rows, t_ns = step.rows, step.t_ns
    if not len(rows):
        return np.zeros(0)
    counted, span = step.counted, step.span_s
    now = np.where(step.speed_mps < position.STILL_MPS, 0.0, step.speed_mps)
    before = np.where(step.speed_before_mps < position.STILL_MPS, 0.0, step.speed_before_mps)
    known = _edge_before(state, step, before)
    # The first fix behind a pause tells no speed, but for Doppler: that of the second one speaks for it.
    second = step.joined & (state["track_first"][rows] != 0)
    before = np.where(second, now, before)
    filled = state["path_fills"][rows] != 0
    arc = 0.5 * (before + now) * span
    joined = counted & step.joined
    left = np.where(counted, step.left_m, 0.0)
    added = np.where(joined, arc, 0.0) + left
    # A total does not fall: what was counted while the athlete rested already is kept back from what comes.
    over = np.where(counted, step.over_m, 0.0) + np.where(joined, known, 0.0)
    owed = state["dist_owed_m"][rows] + over
    paid = np.minimum(added, owed)
    state["dist_owed_m"][rows] = owed - paid
    state["dist_filter_m"][rows] += added - paid
    state["dist_arcs_m"][rows] += added
    state["dist_left_m"][rows] += left
    state["dist_over_m"][rows] += over
    # Noise alone goes sqrt(pi / 2) of its sigma on each axis; across a way it adds in square.
    way = np.sqrt(np.maximum(arc * arc - 0.5 * np.pi * step.noise_m2, 0.0))
    state["dist_noise_m"][rows] += np.where(joined, arc - way, 0.0)
    doppler_before = state["track_doppler_mps"][rows]
    # A reading near zero may be the receiver's own floor: slow walking is left to the fixes.
    paired = joined & (doppler_before >= position.STILL_MPS) & (step.doppler_mps >= position.STILL_MPS)
    both = 0.5 * (np.where(paired, doppler_before, 0.0) + np.where(paired, step.doppler_mps, 0.0)) * span
    state["dist_doppler_m"][rows] += both
    state["dist_paired_m"][rows] += np.where(paired, arc, 0.0)
    state["dist_paired_s"][rows] += np.where(paired, span, 0.0)
    told = np.minimum(step.doppler_sigma_mps, fixes.DOPPLER_RANGE_MPS[1])
    told = np.where(told > 0.0, told, DOPPLER_MPS)  # NaN is not more than 0
    state["dist_doppler_error_m"][rows] += np.where(paired, told * span, 0.0)
    off = np.where(paired, _weight(Picked(state, rows)) * (arc - both), 0.0)
    off = np.minimum(off, added - paid)
    state["dist_raw_m"][rows] += off
    state["track_doppler_mps"][rows] = step.doppler_mps
    holes = counted & filled & ~step.joined
    if holes.any():
        _take_path(Picked(state, rows), holes)
        on_foot = np.isin(state["path_source"][rows], STEPS)
        _straighten(state, step, holes & on_foot & (step.before_ns >= state["resume_ns"][rows]))
    between = np.where(joined, arc - off, np.nan)
    apart = counted & ~step.joined & ~filled
    if apart.any():
        line = _across(state, step, apart, span, now)
        between = np.where(line, step.chord_m, between)
    state["track_first"][rows] = _first(state, step, apart) & (state["pos_fixes"][rows] == 1)
    if second.any():
        _add_edge_behind(state, step, counted & second, now)
    for name in ("path_mark", "path_fix"):
        state[f"{name}_m"][rows] = state["path_m"][rows]
        state[f"{name}_sigma_m"][rows] = state["path_sigma_m"][rows]
    state["path_fills"][rows] = 0
    state["dist_t_ns"][rows] = np.where(counted, t_ns, state["dist_t_ns"][rows])
    return between


def _across(state: Table, step: position.Step, use: Mask, span: Floats, now: Floats) -> Mask:
    """Fill in what lies before a fix that does not follow another: a hole, a jump, or a resume.

    Return where the straight line across a hole did.
    """
    rows = step.rows
    resumed = step.before_ns < state["resume_ns"][rows]
    silent = (step.t_ns - step.before_ns) * 1e-9 > position.GAP_S
    told = np.where(np.isfinite(step.doppler_mps), step.doppler_mps, now)
    line: Mask = use & silent & ~resumed & (step.chord_m < position.SPEED_MAX_MPS * span)
    chord = np.where(line, step.chord_m, 0.0)
    edge = np.where(
        ~silent | resumed, np.minimum(span, EDGE_S) * np.where(told < position.STILL_MPS, 0.0, told), 0.0
    )
    metres = np.where(use, np.where(line, chord, edge), 0.0)
    state["dist_fill_m"][rows] += metres
    state["dist_fill_sigma_m"][rows] += CHORD_SHARE * metres
    state["dist_fill_source"][rows] = np.where(metres > 0.0, Source.GNSS, state["dist_fill_source"][rows])
    return line


def _first(state: Table, step: position.Step, apart: Mask) -> Mask:
    """Return which fixes are the first ones behind a pause and tell no speed, (n,)."""
    resume_ns = state["resume_ns"][step.rows]
    first: Mask = apart & (step.before_ns < resume_ns) & np.isnan(step.doppler_mps)
    return first & (resume_ns > state["start_ns"][step.rows])


def _edge_before(state: Table, step: position.Step, before: Floats) -> Floats:
    """Return what `add_edge` has told already of the way to a fix that is heard behind its pause, m, (n,)."""
    pause_ns = state["pause_ns"][step.rows]
    paused = pause_ns != timer.NEVER_NS
    from_s, to_s = (np.where(paused, pause_ns - t_ns, 0) * 1e-9 for t_ns in (step.before_ns, step.t_ns))
    told_s = np.minimum(from_s, EDGE_S) - np.minimum(to_s, EDGE_S)
    return np.where(paused, np.maximum(told_s, 0.0) * before, 0.0)


def _add_edge_behind(state: Table, step: position.Step, use: Mask, now: Floats) -> None:
    """Add what lies between a resume and the first fix behind it, now that the second one tells the speed."""
    rows = step.rows
    since_s = np.maximum(step.before_ns - state["resume_ns"][rows], 0) * 1e-9
    metres = np.where(use, np.minimum(since_s, EDGE_S) * now, 0.0)
    state["dist_fill_m"][rows] += metres
    state["dist_fill_sigma_m"][rows] += LEAVING_SHARE * metres


def from_path(s: Fields, t_ns: timer.Times, metres: Floats, share: Any, source: Any, use: Any = True) -> None:
    """Add metres along the path of a wheel, foot or steps, and fill a hole between fixes with it.

    Where not ``use``, metres are 0 and nothing is told.
    """
    tells = ((metres > 0.0) | (s["path_source"] == 0)) & use  # no step is no source
    s["path_source"] = np.where(tells, source, s["path_source"])
    s["path_m"] = s["path_m"] + metres
    s["path_sigma_m"] = s["path_sigma_m"] + share * metres
    fills = (t_ns - s["pos_t_ns"] > HOLE_NS) & timer.counts(s, t_ns) & use
    _take_path(s, fills)
    s["path_fills"] = np.where(fills, 1, s["path_fills"])
    s["dist_t_ns"] = np.where(fills, t_ns, s["dist_t_ns"])


def _take_path(s: Fields, use: Mask) -> None:
    """Fill with the path since the mark, and move the mark."""
    for fill, path, mark in (
        ("dist_fill_m", "path_m", "path_mark_m"),
        ("dist_fill_sigma_m", "path_sigma_m", "path_mark_sigma_m"),
    ):
        s[fill] = s[fill] + np.where(use, s[path] - s[mark], 0.0)
        s[mark] = np.where(use, s[path], s[mark])
    s["dist_fill_source"] = np.where(use, s["path_source"], s["dist_fill_source"])


def _straighten(state: Table, step: position.Step, use: Mask) -> None:
    """Weigh the steps' path that filled a hole against the straight line across it.

    The way is at least the line, and a little more. By how much more, the path tells. A small excess is
    mostly noise, a large one is a bend: the line's sigma is a share of it and, in square, the excess itself.
    """
    rows = step.rows
    path = state["path_m"][rows] - state["path_fix_m"][rows]
    path_sigma = state["path_sigma_m"][rows] - state["path_fix_sigma_m"][rows]
    line = (1.0 + BEND_MEAN) * step.chord_m
    use = use & (line < position.SPEED_MAX_MPS * step.span_s)
    more = np.maximum(path - line, 0.0)
    variance, bend = path_sigma * path_sigma, (BEND_SHARE * line) ** 2 + more * more
    both = np.maximum(variance + bend, 1e-9)
    change = np.where(use, line + more * bend / both - path, 0.0)
    sigma = np.sqrt(variance * bend / both)
    state["dist_fill_m"][rows] += np.maximum(change, 0.0)
    # A total does not fall: what was too much is kept back from what comes.
    state["dist_owed_m"][rows] += np.maximum(-change, 0.0)
    state["dist_over_m"][rows] += np.maximum(-change, 0.0)
    state["dist_fill_sigma_m"][rows] += np.where(use, sigma - path_sigma, 0.0)


def add_edge(state: Table, row: int, t_ns: int) -> None:
    """Add what lies between the newest fix and a pause or end: its speed, for a few seconds at most."""
    one = state[row]
    since_ns = max(int(one["pos_t_ns"]), int(one["resume_ns"]))
    if one["pos_fixes"] > 0 and not one["path_fills"] and t_ns > since_ns == one["pos_t_ns"]:
        now = float(np.sqrt(one["pos_x"][2] ** 2 + one["pos_x"][3] ** 2))
        metres = now * min((t_ns - since_ns) * 1e-9, EDGE_S) if now >= position.STILL_MPS else 0.0
        one["dist_fill_m"] += metres
        one["dist_fill_sigma_m"] += CHORD_SHARE * metres


def live(s: Fields) -> Floats:
    """Return the length of the track so far, m, (n,)."""
    length: Floats = s["dist_filter_m"] - s["dist_raw_m"]
    return length


def doppler_of(state: Fields) -> Floats:
    """Return the integral of Doppler speed, m, (n,), scaled up to the whole track where it covers a part."""
    paired = state["dist_paired_m"]
    whole = np.minimum(state["dist_filter_m"] / np.maximum(paired, 1.0), 10.0)
    return np.where(paired > 1.0, state["dist_doppler_m"] * whole, np.nan)


def rested(state: Fields, smooth_m: Floats) -> Floats:
    """Return the length of a smoothed track without the rests that were known too late, m, (n,)."""
    left, over = state["dist_left_m"], state["dist_over_m"]
    whole = np.maximum(state["dist_arcs_m"], 1e-3)
    share = np.minimum((smooth_m + left) / whole, 1.0)  # of what was counted, that smoothing leaves
    length: Floats = np.maximum(smooth_m + left - share * over, 0.0)
    return length


def corrected(state: Table, track_m: Floats) -> Floats:
    """Return the length of a track without what the noise of raw fixes adds to it, m, (n,).

    Noise makes a track longer than the way on average (Ranacher et al. 2016, doi
    10.1080/13658816.2015.1086924). Where neighbouring innovations show that the receiver did not smooth its
    fixes, the track may be too long by RAW_SHARE; the integral of Doppler speed then corrects it, each with
    its own weight.
    """
    doppler = doppler_of(state)
    uncovered = np.maximum(state["dist_filter_m"] - state["dist_paired_m"], 0.0)
    weight = _weight(state, track_m, uncovered)
    use = (weight > 0.0) & (doppler < track_m)  # NaN is not
    return np.where(use, track_m + weight * (np.where(use, doppler, 0.0) - track_m), track_m)


def _weight(state: Fields, track_m: Floats | None = None, uncovered_m: Floats | float = 0.0) -> Floats:
    """Return how much Doppler speed is believed beside the track, (n,): 0 where a receiver smooths its fixes.

    Without a track_m, that of the moments in which both are told; there it is 0 too where Doppler is longer.
    """
    paired = state["dist_paired_m"]
    length = paired if track_m is None else track_m
    lean = state["pos_lean"] / np.maximum(state["pos_size"], 1.0)
    raw = np.minimum(np.maximum(1.0 - lean / RAW_LEAN, 0.0), 1.0)
    longer = (LONGER_SHARE**2 + (RAW_SHARE * raw) ** 2) * length * length
    error = state["dist_doppler_error_m"] * length / np.maximum(paired, 1.0)
    other = (DOPPLER_SHARE * length) ** 2 + error * error + uncovered_m * uncovered_m
    use = (raw > 0.0) & ((state["dist_doppler_m"] < paired) if track_m is None else True)
    return np.where(use, longer / np.maximum(longer + other, 1e-9), 0.0)


def sigma_of(state: Fields, track_m: Floats) -> Floats:
    """Return one sigma of the whole distance, m, (n,), where the track is track_m long."""
    doppler = doppler_of(state)
    apart = np.where(np.isfinite(doppler), np.abs(track_m - doppler), 0.0)
    ends = ENDS_SHARE * np.where(
        track_m > 0.0, np.minimum(np.maximum(state["pos_accuracy_m"], 1.0), 100.0), 0.0
    )
    fill = state["dist_fill_sigma_m"]
    noise = NOISE_SHARE * state["dist_noise_m"] + LEAVING_SHARE * state["dist_left_m"]
    own = (TRACK_SHARE * track_m) ** 2 + noise * noise
    sigma: Floats = np.sqrt(own + (APART_SHARE * apart) ** 2 + fill * fill + ends * ends)
    return sigma


def value(view: View) -> Raw:
    """Return distance."""
    s = view.state
    track, fill = live(s), s["dist_fill_m"]
    known = (s["pos_t_ns"] > 0) | (s["path_source"] != 0)
    reason = np.where(known, OK, NO_SOURCE)
    by_track = (track >= fill) & (s["pos_t_ns"] > 0)
    source = np.where(
        by_track, int(Source.GNSS), np.where(fill > 0.0, s["dist_fill_source"], s["path_source"])
    )
    # What the athlete goes on while nothing is heard is not in the value.
    fixed = s["pos_t_ns"] >= s["sensor_t_ns"]
    last_mps = np.where(fixed, np.hypot(s["pos_x"][2], s["pos_x"][3]), s["sensor_mps"])
    unheard = np.maximum(last_mps, SILENT_MPS) * timer.unheard_s(s, s["dist_t_ns"], view.due_ns)
    owed = s["dist_owed_m"]
    raw = NOISE_SHARE * s["dist_raw_m"]
    sigma = np.sqrt(sigma_of(s, track) ** 2 + unheard * unheard + owed * owed + raw * raw)
    return Raw(track + fill, sigma, s["dist_t_ns"], source, of_workout(view, reason))
