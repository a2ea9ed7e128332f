"""Standing still, told by fixes alone: where a receiver tells no Doppler speed, or one near zero.

Raw fixes of an athlete who stands wander by a metre a second, as fast as a slow walk. What tells both apart
is time: noise comes back, a walk goes on. Fixes are averaged over blocks, and an athlete rests when over the
newest 8 to 32 blocks

- the steps from block to block are no larger than noise makes them: nobody walks to and fro,
- noise goes as far as the whole displacement, and as that of the newest 4 blocks and of the newest 8,
- and a slow walker would have gone further, whatever the noise.

The noise is learnt from how the track bends from fix to fix, which a walk hardly does. With steps d between
fixes, white noise of variance w2 and slow noise of density q (m^2/s, a random walk for less than its
correlation time) give the bends d[i] - d[i-1] the variance c0 = 2 q dt + 6 w2 and the covariance of
neighbours c1 = -q dt - 4 w2. Bends of one sign, as in a curve, are neither. A receiver that smooths its
fixes has little of both: then nothing is taken for rest here that the filter's own speed does not tell.

Where no step is told either, an athlete on foot rests too when the newest 4 blocks, and the newest 8, lie so
close together that who went so far in that time would be slower than what counts as standing. That is of the
fixes alone, not of the filter, whose speed a rest holds at zero.

A rest is known late, and its end too. So each verdict also tells what of the track was rest already, and how
far the athlete has come since.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion import timer
from fusion.kalman import Floats, Mask
from fusion.table import Table

BLOCK_NS = 4_000_000_000
WINDOWS = (8, 12, 16, 24, 32)  # blocks
NEWEST = (4, 8)  # blocks by which an end is noticed
BLOCKS = WINDOWS[-1]
SLOW_MPS = 0.5  # the slowest walk
STANDING_MPS = 0.3  # slower is no way, where no step is told
CHANCE = 3.0  # sigmas that noise goes by itself
SURE_BLOCKS = 5  # over which a way is sure that Doppler speed denies
CERTAIN = 1.5  # sigmas by which noise may have shortened a walk
UNLIKE = 1.6  # times the squares of steps that noise makes; more is a way to and fro
BEND_MAX = 6.0  # of the stated accuracy; more is a jump, and no noise
ERROR_TIME_S = 40.0  # correlation time of a fix's slow error
FIXES_MIN = 12  # before that nothing is known of it
MEMORY = 100.0  # fixes from which noise is learnt

FIELDS: list[tuple[Any, ...]] = [
    ("rest", np.int8),  # blocks for which the fixes have said that the athlete stands; 0: they do not
    ("rest_stepless", np.int8),  # it is for want of steps that they do
    ("rest_fixes", np.int32),  # that noise was learnt from
    ("rest_z_m", np.float64, (2,)),  # the newest fix,
    ("rest_step_m", np.float64, (2,)),  # the step to it,
    ("rest_bend_m", np.float64, (2,)),  # and that step less the one before
    ("rest_c0_m2", np.float64),  # means of squares of bends, of products of neighbours,
    ("rest_c1_m2", np.float64),
    ("rest_dt_s", np.float64),  # and of times between fixes
    ("rest_e_m", np.float64, (BLOCKS,)),  # means of blocks of fixes, the newest last
    ("rest_n_m", np.float64, (BLOCKS,)),
    ("rest_t_s", np.float64, (BLOCKS,)),  # before the block that is being filled
    ("rest_way_m", np.float64, (BLOCKS,)),  # how long the track was then
    ("rest_known_m", np.float64),  # and as far as its rests are known
    ("rest_left_m", np.float64),  # a verdict that nobody claimed yet
    ("rest_over_m", np.float64),
    ("rest_blocks", np.int32),  # of them are filled
    ("rest_block_ns", np.int64),  # when the block that is being filled began
    ("rest_sum", np.float64, (4,)),  # of its fixes: east, north, time, count
]

TOTALS = ("rest_way_m", "rest_known_m", "rest_left_m", "rest_over_m")


class Verdict(NamedTuple):
    """What fixes told of rests, m, (n,); 0 where nothing."""

    left_m: Floats  # how far those who stop resting now have come before that was known
    over_m: Floats  # of the track, counted while those who rest now did already


def absorb(
    state: Table,
    rows: timer.Rows,
    t_ns: timer.Times,
    dt_s: Floats,
    z: Floats,
    accuracy_m: Floats,
    use: Mask,
    stepless: Mask,
) -> Mask:
    """Take in a round's fixes, (2, n) m, where ``use``; where not, forget those before.

    ``stepless``: no step is told of them, and on foot.
    Returns whether an athlete who rested is known not to rest any more, (n,).
    """
    rested: Mask = state["rest"][rows] != 0
    if not use.any() and not state["rest_fixes"][rows].any():
        return rested
    for name in ("rest", "rest_stepless", "rest_blocks", "rest_fixes"):
        state[name][rows[~use]] = 0
    state["rest_sum"][rows[~use]] = 0.0
    _learn(state, rows[use], dt_s[use], z[:, use], accuracy_m[use])
    empty = state["rest_sum"][rows, 3] == 0.0
    # The first step ends a rest for want of steps at once.
    steps = (state["rest_stepless"][rows] != 0) & ~stepless
    full = use & ~empty & ((t_ns - state["rest_block_ns"][rows] >= BLOCK_NS) | steps)
    if full.any():
        _push(state, rows[full], t_ns[full], z[:, full], stepless[full])
    begins = use & (empty | full)
    state["rest_sum"][rows[begins]] = 0.0
    state["rest_block_ns"][rows[begins]] = t_ns[begins]
    since_s = (t_ns - state["rest_block_ns"][rows]) * 1e-9
    state["rest_sum"][rows] += np.where(use, np.array([z[0], z[1], since_s, np.ones(len(rows))]), 0.0).T
    left: Mask = rested & (state["rest"][rows] == 0)
    return left


def claim(state: Table, rows: timer.Rows, use: Mask) -> Verdict:
    """Return what the fixes have told since it was claimed last; where ``use`` it is claimed now."""
    verdict = Verdict(state["rest_left_m"][rows], state["rest_over_m"][rows])
    state["rest_left_m"][rows[use]] = 0.0
    state["rest_over_m"][rows[use]] = 0.0
    return verdict


def _learn(state: Table, rows: timer.Rows, dt_s: Floats, z: Floats, accuracy_m: Floats) -> None:
    """Learn noise from the bends of the track."""
    fixes = state["rest_fixes"][rows]
    step = z.T - state["rest_z_m"][rows]
    bend = step - state["rest_step_m"][rows]
    most = BEND_MAX * accuracy_m[:, None]
    bend = np.minimum(np.maximum(bend, -most), most)
    before = state["rest_bend_m"][rows]
    # Across the way: along it, bends are also what a fix's time is wrong by. Without a way, on both axes.
    blocks = (state["rest_e_m"][rows], state["rest_n_m"][rows])
    way_e, way_n = (column[:, -1] - column[:, -NEWEST[0]] for column in blocks)
    length = np.hypot(way_e, way_n)
    under_way = (state["rest_blocks"][rows] >= NEWEST[0]) & (length > 0.0)
    across, across_before = (way_e * b[:, 1] - way_n * b[:, 0] for b in (bend, before))
    square = np.where(under_way, length, 1.0) ** 2
    c0 = np.where(under_way, across * across / square, 0.5 * (bend * bend).sum(axis=1))
    c1 = np.where(under_way, across * across_before / square, 0.5 * (bend * before).sum(axis=1))
    gain = 1.0 / np.minimum(np.maximum(fixes - 2, 1), MEMORY)
    for name, value in (("rest_c0_m2", c0), ("rest_c1_m2", c1), ("rest_dt_s", dt_s)):
        known = state[name][rows]
        state[name][rows] = np.where(fixes > 2, known + gain * (value - known), 0.0)
    state["rest_z_m"][rows], state["rest_step_m"][rows], state["rest_bend_m"][rows] = z.T, step, bend
    state["rest_fixes"][rows] = np.minimum(fixes + 1, 1_000_000)


def surely_moves(state: Table, rows: timer.Rows, accuracy_m: Floats) -> Mask:
    """Return who has gone further over the newest blocks than a receiver's error moves fixes, (n,)."""
    e, n, t_s = (state[name][rows] for name in ("rest_e_m", "rest_n_m", "rest_t_s"))
    known = state["rest_blocks"][rows] >= SURE_BLOCKS
    went = np.hypot(e[:, -1] - e[:, -SURE_BLOCKS], n[:, -1] - n[:, -SURE_BLOCKS])
    lasted_s = t_s[:, -1] - t_s[:, -SURE_BLOCKS]
    moves: Mask = known & (went > SLOW_MPS * lasted_s + CHANCE * accuracy_m)
    return moves


def learnt_noise(state: Table, rows: timer.Rows) -> tuple[Floats, Floats]:
    """Return the variance of white noise, m^2, and the density of slow noise, m^2/s, on each axis, (n,)."""
    learnt = state["rest_fixes"][rows] > FIXES_MIN
    c0, c1 = (np.where(learnt, state[name][rows], 0.0) for name in ("rest_c0_m2", "rest_c1_m2"))
    white = np.maximum(-0.5 * (c0 + 2.0 * c1), 0.0)
    slow = np.maximum(-c1 - 4.0 * white, 0.0) / np.maximum(state["rest_dt_s"][rows], 0.1)
    return white, slow


def _push(state: Table, rows: timer.Rows, t_ns: timer.Times, z: Floats, stepless: Mask) -> None:
    """Close the blocks that are full, and judge."""
    sums = state["rest_sum"][rows]
    lasted_s = (t_ns - state["rest_block_ns"][rows]) * 1e-9
    means = sums / sums[:, 3:]
    way_m = state["dist_arcs_m"][rows]
    state["rest_t_s"][rows] -= lasted_s[:, None]
    newest = (means[:, 0], means[:, 1], means[:, 2] - lasted_s, way_m)
    for name, value in zip(("rest_e_m", "rest_n_m", "rest_t_s", "rest_way_m"), newest, strict=True):
        state[name][rows] = np.concatenate([state[name][rows, 1:], value[:, None]], axis=1)
    e, n, t_s = state["rest_e_m"][rows], state["rest_n_m"][rows], state["rest_t_s"][rows]
    blocks = np.minimum(state["rest_blocks"][rows] + 1, BLOCKS)
    state["rest_blocks"][rows] = blocks
    white, slow = learnt_noise(state, rows)
    count = sums[:, 3]
    white = white / count
    since_m = np.full(len(rows), np.inf)
    for window in WINDOWS:
        stands = (blocks >= window) & _stands(e, n, t_s, slow, white, count, window)
        since_m = np.where(stands, np.minimum(since_m, state["rest_way_m"][rows, -window]), since_m)
    for window in NEWEST:
        went, noise, _ = _moved(e, n, t_s, slow, white, window)
        since_m = np.where(went <= CHANCE * noise, since_m, np.inf)
    near = stepless & (blocks >= NEWEST[-1])
    for window in NEWEST:
        near &= _near(e, n, t_s, window)
    state["rest_stepless"][rows] = near
    since_m = np.where(near, np.minimum(since_m, state["rest_way_m"][rows, -NEWEST[0]]), since_m)
    rests, rested = np.isfinite(since_m), state["rest"][rows].astype(np.intp)
    state["rest"][rows] = np.where(rests, np.minimum(rested + 1, BLOCKS), 0)
    # Who leaves has left since the newest blocks, or since the rest began.
    left = (rested > 0) & ~rests
    since = BLOCKS - 1 - np.minimum(rested, NEWEST[0] - 1)
    every = np.arange(len(rows))
    left_m = np.hypot(z[0] - e[every, since], z[1] - n[every, since])
    state["rest_left_m"][rows] += np.where(left, left_m, 0.0)
    known_m = state["rest_known_m"][rows]
    over_m = np.maximum(way_m - np.maximum(since_m, known_m), 0.0)
    state["rest_over_m"][rows] += np.where(rests, over_m, 0.0)
    state["rest_known_m"][rows] = np.where(rests, np.maximum(way_m, known_m), known_m)


def _moved(
    e: Floats, n: Floats, t_s: Floats, slow: Floats, white: Floats, window: int
) -> tuple[Floats, Floats, Floats]:
    """Return the displacement over the newest blocks, one sigma of it by noise, m, and the time, s."""
    lasted_s = t_s[:, -1] - t_s[:, -window]
    went = np.hypot(e[:, -1] - e[:, -window], n[:, -1] - n[:, -window])
    variance = slow * ERROR_TIME_S * (1.0 - np.exp(-lasted_s / ERROR_TIME_S)) + 2.0 * white
    return went, np.sqrt(2.0 * variance), lasted_s


def _near(e: Floats, n: Floats, t_s: Floats, window: int) -> Mask:
    """Return whether the newest blocks lie no further apart than who stands would go, (rows,)."""
    near: Mask = _extent(e, n, window) < STANDING_MPS * (t_s[:, -1] - t_s[:, -window])
    return near


def _extent(e: Floats, n: Floats, window: int) -> Floats:
    """Return the diagonal of the box around the newest blocks, m, (rows,)."""
    sides = ((axis[:, -window:].max(axis=1) - axis[:, -window:].min(axis=1)) for axis in (e, n))
    extent: Floats = np.hypot(*sides)
    return extent


def _stands(
    e: Floats, n: Floats, t_s: Floats, slow: Floats, white: Floats, count: Floats, window: int
) -> Mask:
    """Return whether the newest blocks, each (rows, blocks), are those of athletes who stand, (rows,)."""
    e, n, t_s = e[:, -window:], n[:, -window:], t_s[:, -window:]
    lasted_s = t_s[:, -1] - t_s[:, 0]
    # Means over blocks of m fixes move by (2 m^2 + 1) / (3 m^2) of what slow noise does between two fixes.
    averaged = (2.0 + 1.0 / (count * count)) / 3.0
    expected = 2.0 * (slow * averaged * lasted_s + 2.0 * white * (window - 1))
    steps = (np.diff(e, axis=1) ** 2 + np.diff(n, axis=1) ** 2).sum(axis=1)
    # Noise that was learnt too large must not make a walk too short to be seen.
    share = np.minimum(steps / np.maximum(expected, 1e-9), 1.0)
    went, noise, _ = _moved(e, n, t_s, slow * share, white * share, window)
    stands: Mask = (steps <= UNLIKE * expected) & (went <= CHANCE * noise)
    stands &= _extent(e, n, window) + CERTAIN * noise / np.sqrt(2.0) < SLOW_MPS * lasted_s
    return stands
