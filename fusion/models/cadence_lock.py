"""Cadence lock: an optical sensor that tells the rhythm of the arm for that of the heart.

Light through a moving wrist is modulated by the steps; where that is stronger than the pulse the sensor
follows the cadence, or half of it, which is the swing of one arm. What it tells then is a plausible, quiet
heart rate, and gives itself away by three things together, for LOCK_S: it is within NEAR_BPM of cadence or
its half; it moves as the cadence moves, where that moves; and it is away from what the heart does: from the
strap where one speaks, else from an anchor, which follows the filter no faster than hearts do (SLEW).
Readings that are under suspicion teach the filter nothing. The lock is told as soon as it is certain, and
no longer than LEAVE_S after it has ended.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion.kalman import Floats, Mask
from fusion.models import body
from fusion.table import Fields

NEAR_BPM = 3.0
NEAR_STILL_BPM = 5.0  # while it is under suspicion
AWAY_BPM = 6.0
LOCK_S = 10.0
LEAVE_S = 3.0
SLEW = 1.2  # bpm/s: rates rise and fall no faster for longer than a few seconds,
SLEW_NEAR = 0.4  # and near the cadence no more than this is taken for a heart
STEP_MAX_S = 5.0  # a reading speaks for no more time than this
WINDOW_S = 12.0  # of the correlation
RHYTHM_S = 3.0  # light tells a mean of some seconds: so does the rhythm that it is held to
MOVING_VARIANCE = 4.0  # bpm^2: of a cadence that varies less, noise and lag hide whether it is followed
CORRELATION_MIN = 0.0
TOLD_NS = 12_000_000_000
RHYTHM_NS = 4_000_000_000

FIELDS: list[tuple[Any, ...]] = [
    ("lock_s", np.float64),  # for how long all of it has held; LOCK_S and more is a lock
    ("lock_anchor_bpm", np.float64),
    ("lock_on", np.int8),
    ("lock_spm", np.float64),  # the rhythm over RHYTHM_S
    ("lock_means", np.float64, (2,)),  # of reading and rhythm
    ("lock_spread", np.float64, (3,)),  # their variances and covariance
]


class Lock(NamedTuple):
    """What is thought of each reading."""

    on: Mask  # the sensor is locked
    suspect: Mask  # it may be, so it teaches nothing


def rhythm(s: Fields, t_ns: Any) -> Floats:
    """Return the steps a minute (or twice the revolutions of a crank) at t_ns, (n,); 0: none is known."""
    by_body = (t_ns - s["body_t_ns"] <= RHYTHM_NS) & (s["body_t_ns"] != 0)
    spm = np.where(by_body, body.spm(s), 0.0)
    told = (t_ns - s["cadence_spm_ns"] <= TOLD_NS) & (s["cadence_spm_ns"] != 0)
    spm = np.where((spm <= 0.0) & told, s["cadence_spm"], spm)
    crank = (t_ns - s["cadence_rpm_ns"] <= TOLD_NS) & (s["cadence_rpm_ns"] != 0)
    spm = np.where((spm <= 0.0) & crank, 2.0 * s["cadence_rpm"], spm)
    return np.where(spm > 0.0, spm, 0.0)


def judge(s: Fields, bpm: Floats, t_ns: Any, dt_s: Floats, reference: Floats, use: Mask) -> Lock:
    """Judge a reading of light of each row, where ``use``; the heart is thought to be at ``reference``."""
    span = np.minimum(dt_s, STEP_MAX_S)
    steps = _smooth_rhythm(s, t_ns, span, use)
    half = np.abs(bpm - 0.5 * steps) < np.abs(bpm - steps)
    beat = np.where(half, 0.5 * steps, steps)
    starts = s["lock_s"] <= 0.0
    near = (steps > 0.0) & (np.abs(bpm - beat) <= np.where(starts, NEAR_BPM, NEAR_STILL_BPM))
    away = np.abs(bpm - reference) > AWAY_BPM
    suspect = use & near & away
    follows = _follows(s, bpm, beat, span, suspect, starts)
    # Suspicion grows to where it takes LEAVE_S to lose it.
    falls = (LOCK_S + 1.0) / LEAVE_S
    held = np.where(suspect, s["lock_s"] + np.where(starts, 0.0, span) + 1e-3, s["lock_s"] - falls * span)
    held = np.minimum(np.maximum(held, 0.0), LOCK_S + 1.0)
    on = np.where(held >= LOCK_S, (s["lock_on"] != 0) | follows, (s["lock_on"] != 0) & (held > 0.0))
    s["lock_s"] = np.where(use, held, s["lock_s"])
    s["lock_on"] = np.where(use, np.where(on, 1, 0), s["lock_on"])
    on = use & on
    return Lock(on, on | suspect & (held < LOCK_S))


def anchor(s: Fields, rate: Floats, dt_s: Floats, anew: Mask, use: Mask) -> None:
    """Let the anchor follow the filter's rate, as fast as a heart does."""
    before = s["lock_anchor_bpm"]
    pace = np.where(s["lock_s"] > 0.0, SLEW_NEAR, SLEW) * np.minimum(dt_s, STEP_MAX_S)
    moved = before + np.minimum(np.maximum(rate - before, -pace), pace)
    moved = np.where(anew | (before <= 0.0), rate, moved)
    s["lock_anchor_bpm"] = np.where(use, moved, before)


def _smooth_rhythm(s: Fields, t_ns: Any, span: Floats, use: Mask) -> Floats:
    """Return the rhythm over some seconds; 0: none."""
    now, before = rhythm(s, t_ns), s["lock_spm"]
    share = span / (span + RHYTHM_S)
    smooth = np.where((now <= 0.0) | (before <= 0.0), now, before + share * (now - before))
    s["lock_spm"] = np.where(use, smooth, before)
    return smooth


def _follows(s: Fields, bpm: Floats, beat: Floats, span: Floats, use: Mask, starts: Mask) -> Mask:
    """Return whether the readings move as the rhythm does, as far as that moves."""
    means, spread = s["lock_means"], s["lock_spread"]
    share = np.minimum(span * (1.0 / WINDOW_S), 1.0)
    d, e = bpm - means[0], beat - means[1]
    new_means, new_spread = np.zeros_like(means), np.zeros_like(spread)
    for k, (value, difference) in enumerate(((bpm, d), (beat, e))):
        new_means[k] = np.where(starts, value, means[k] + share * difference)
    for k, product in enumerate((d * d, e * e, d * e)):
        new_spread[k] = np.where(starts, 0.0 * value, (1.0 - share) * (spread[k] + share * product))
    s["lock_means"] = np.where(use, new_means, means)
    s["lock_spread"] = np.where(use, new_spread, spread)
    own, rhythms, both = new_spread[0], new_spread[1], new_spread[2]
    together = both >= CORRELATION_MIN * np.sqrt(np.maximum(own * rhythms, 0.0))
    follows: Mask = (rhythms < MOVING_VARIANCE) | together
    return follows
