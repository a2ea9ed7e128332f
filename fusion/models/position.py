"""Position and speed over ground: fixes and Doppler speed in a local plane, east and north.

    x = [E m, N m, vE m/s, vN m/s, s]      E, N driven by white acceleration; s is Gauss-Markov

    fix      z = (E, N) + white noise
    Doppler  z = |v| (1 + s) + white noise, and where the course is told, v across it = 0

A receiver's error is mostly slow (tens of seconds: atmosphere, orbits, its own filter), which moves the track
as a whole and hardly its length; only a small part of the stated accuracy differs from fix to fix. So fixes
enter with that part, or what they scatter by (fusion/models/scatter.py), and what is slow is added to sigma.
Doppler speed is wrong by a slowly changing factor 1 + s: over seconds it leads, over minutes the track does.

The innovations of an optimal filter are white (Mehra 1970, doi 10.1109/TAC.1970.1099422). Neighbours that
lean to the same side come from a receiver that has smoothed its fixes itself; neighbours that do not come
from fixes as raw as they were measured, whose noise makes the track longer than the way. Their correlation is
kept, for the distance.
"""

from typing import Any, NamedTuple

import numpy as np

from fusion import timer
from fusion.design import scaled_white_noise
from fusion.history import History
from fusion.kalman import (
    REJECTS_MAX,
    Floats,
    Gate,
    Mask,
    Row,
    decay,
    diagonal,
    drive,
    gated,
    of_rows,
    shear,
    symmetric,
    update,
)
from fusion.measurements import Records, Sport
from fusion.models import fixes, plane, rest, scatter
from fusion.table import Picked, Table

STATES = 5

# White acceleration, m^2/s^3, by Sport: other, run, walk, hike, ride, swim, ski, row.
ACCEL_DENSITY = np.array([6.0, 0.2, 0.1, 0.1, 0.7, 0.2, 6.0, 0.2])
SPEED_SIGMA_MPS = 5.0  # before anything is known
SCALE_SIGMA = 0.05  # of s,
SCALE_MAX = 3.0 * SCALE_SIGMA  # beyond which it is the fixes that are wrong
SCALE_TIME_S = 300.0
WHITE_SHARE = 0.03  # of the stated horizontal accuracy, from fix to fix, at 1 Hz
WHITE_MIN_M = 0.2
COURSE_SIGMA_RAD = 1.0  # receivers tell a smoothed course, which lags in bends
KEPT_SHARE = 0.02  # of the variance of white noise, that the filter leaves of it in speed, 1/s^2
LED_M2 = 1.0  # of white noise; with more, Doppler speed says how long the way is
BOUND = 1.5  # of innovations in sigmas: a hop of a fix tells nothing of the athlete

CEILING_SHARE, CEILING_MPS = 1.25, 1.5  # over Doppler speed
STILL_MPS = 0.3  # Doppler speed below this says: standing
# By Sport: whether who stands on their feet stands.
ON_FOOT = np.array([sport in (Sport.RUN, Sport.WALK, Sport.HIKE) for sport in Sport])
STEERING_MPS = 0.8  # below this estimated speed the direction of travel is not known well enough
SPEED_MAX_MPS = 70.0  # no athlete is faster; a step between fixes that is, is a jump
GAP_S = 30.0  # the filter starts anew after a longer silence,
PAUSE_GAP_S = 5.0  # or one this long of which a part is a pause
SETTLED_FIXES = 3
EAST, NORTH = ((0, None),), ((1, None),)
FIX_GATE = Gate(inflate=12.0, reject=150.0)  # for two components
DOPPLER_GATE = Gate(inflate=25.0, reject=np.inf)  # where it differs that much, v is what is wrong

FIELDS: list[tuple[Any, ...]] = [
    ("pos_x", np.float64, (STATES,)),
    ("pos_P", np.float64, (STATES, STATES)),
    ("pos_t_ns", np.int64),  # of the newest fix that was used; 0: never
    ("pos_counted", np.int8),  # it counted for the workout: the smoother's history ends with it
    ("pos_fixes", np.int32),  # used since the filter started
    ("pos_rejects", np.int32),
    ("pos_nis", np.float64),
    ("pos_e_m", np.float64),  # the newest fix itself, in the unrolled plane
    ("pos_n_m", np.float64),
    ("pos_lat_deg", np.float64),
    ("pos_lon_deg", np.float64),
    ("pos_accuracy_m", np.float64),
    ("pos_doppler_mps", np.float64),  # of the newest fix that was used; NaN: not told
    ("pos_innovation", np.float64, (2,)),  # of the newest fix, east and north, each over its sigma
    ("pos_lean", np.float64),  # sums over the workout: innovations times those before them,
    ("pos_size", np.float64),  # and their squares
    ("track_slot", np.int32),  # of the smoother's history; -1: none
    ("still", np.int8),  # the body does not move, by its own sensors
    ("still_t_ns", np.int64),
    *fixes.FIELDS,
    *rest.FIELDS,
    *scatter.FIELDS,
]

TOTALS = ("pos_counted", "pos_lean", "pos_size", *rest.TOTALS)


class Step(NamedTuple):
    """One round's fixes that were used, with the filter's answer: n rows."""

    rows: timer.Rows
    before_ns: timer.Times  # time of the fix before; 0: none
    t_ns: timer.Times
    counted: Mask  # the fix counts for a workout
    span_s: Floats  # of the time since the fix before, what counts
    joined: Mask  # the track leads here from the fix before; else it starts anew here
    speed_before_mps: Floats
    speed_mps: Floats
    doppler_mps: Floats  # NaN where none
    doppler_sigma_mps: Floats
    chord_m: Floats  # straight from the estimate before to this one
    noise_m2: Floats  # variance that noise gives to the way since the fix before, on each axis
    left_m: Floats  # what rest hid of the way, and the way that was rest: see rest.Verdict
    over_m: Floats


def predict(x: Floats, P: Floats, dt_s: Floats, density: Floats) -> tuple[Floats, Floats]:
    """Return x (5, n) and P (5, 5, n) after steps of dt_s at an acceleration density; x and P are used up."""
    shear(x, P, slice(0, 2), slice(2, 4), dt_s)
    kept = np.exp(-dt_s / SCALE_TIME_S)
    decay(x, P, 4, kept)
    q = scaled_white_noise(dt_s, density)
    drive(P, 0, 2, q)
    drive(P, 1, 3, q)
    P[4, 4] += SCALE_SIGMA**2 * (1.0 - kept * kept)
    return x, symmetric(P)


def transition(way: list[Floats]) -> tuple[Floats, Floats, Floats]:
    """Return the F and Q of `predict`, (m, 5, 5) each, and no input, (m, 5), of ways."""
    dt_s, density, *_ = way
    q00, q01, q11 = scaled_white_noise(dt_s, density)
    m = len(dt_s)
    F, Q = np.zeros((m, STATES, STATES)), np.zeros((m, STATES, STATES))
    F[:] = np.eye(STATES)
    F[:, 0, 2] = F[:, 1, 3] = dt_s
    kept = np.exp(-dt_s / SCALE_TIME_S)
    F[:, 4, 4] = kept
    Q[:, 0, 0] = Q[:, 1, 1] = q00
    Q[:, 0, 2] = Q[:, 2, 0] = Q[:, 1, 3] = Q[:, 3, 1] = q01
    Q[:, 2, 2] = Q[:, 3, 3] = q11
    Q[:, 4, 4] = SCALE_SIGMA**2 * (1.0 - kept * kept)
    return F, Q, np.zeros((m, STATES))


def absorb(state: Table, m: Records, due_ns: timer.Times, history: History) -> tuple[Step, list[int]]:
    """Take one round of fixes into the table.

    Parameters
    ----------
    m : (n,) GNSS
    due_ns : (rows of the table,) int64
        Time of the step of each row, against which a fix is stale.

    Returns
    -------
    step : Step
        The fixes that were used.
    full : list of int
        Slots of the history that want a flush.
    """
    now = _round(state, fixes.usable(state, m, due_ns))
    rows, t_ns, before_ns = now.rows, now.t_ns, now.before_ns
    noise = _noise(state, now)
    old_x, old_P = of_rows(state["pos_x"][rows]), of_rows(state["pos_P"][rows])
    density = ACCEL_DENSITY[state["sport"][rows]]
    predicted = predict(old_x.copy(), old_P.copy(), now.dt_s, density)
    x, P, taken, anew, rests = _filtered(state, now, noise, *predicted)
    both_mps = np.where(taken, 0.5 * (now.doppler + now.doppler_before), np.nan)
    scatter.learn(state, rows, now.step_m, both_mps, 1.0 + old_x[4], now.gap_s)
    ceiling = _ceiling(now, anew)
    state["pos_doppler_mps"][rows] = np.where(taken, now.doppler, now.doppler_before)
    state["pos_x"][rows] = np.where(taken, x, old_x).T
    state["pos_P"][rows] = np.where(taken, P, old_P).T
    state["pos_t_ns"][rows] = np.where(taken, t_ns, before_ns)
    state["pos_accuracy_m"][rows] = now.accuracy
    workout = Picked(state, rows)
    counted, span = timer.counts(workout, t_ns), timer.counted_s(workout, before_ns, t_ns)
    # A fix at the moment of a resume may be heard while the timer stands: it counts no more than the way to
    # it. Where a wheel, foot pod or steps filled the hole before this fix, the track does not count it again.
    follows = (state["pos_counted"][rows] != 0) & (before_ns >= state["resume_ns"][rows])
    joined = ~anew & follows & (state["path_fills"][rows] == 0)
    state["pos_counted"][rows] = np.where(taken, counted, state["pos_counted"][rows])
    full: list[int] = []
    kept = taken & counted
    if kept.any():
        way = np.array([now.dt_s, density, ceiling, rests])[:, kept]
        entries = (t_ns[kept], ~joined[kept], x[:, kept], P[:, :, kept], way)
        full = history.append(state["track_slot"], rows[kept], *entries)
    chord = np.hypot(x[0] - old_x[0], x[1] - old_x[1])
    before_mps, speed = np.minimum(speed_of(old_x), ceiling), np.minimum(speed_of(x), ceiling)
    step = Step(
        *(rows, before_ns, t_ns, counted, span, joined),
        *(before_mps, speed, now.doppler, now.m["speed_acc_mps"], chord, noise.way_m2),
        *rest.claim(state, rows, taken),
    )
    columns: list[Any] = [column[taken] for column in step]
    return Step(*columns), full


class _Round(NamedTuple):
    """A round's fixes as they are told: n rows."""

    rows: timer.Rows
    m: Records
    before_ns: timer.Times  # time of the fix before; 0: none
    t_ns: timer.Times
    gap_s: Floats
    dt_s: Floats  # the same, GAP_S at most
    accuracy: Floats
    doppler: Floats  # NaN where none is told
    doppler_before: Floats
    z: Floats  # (2, n) m
    step_m: Floats  # from the fix before


class _Noise(NamedTuple):
    """What is known of the noise of a round's fixes."""

    R: Floats  # variance of what differs from fix to fix, on each axis
    way_m2: Floats  # variance that it gives to the way since the fix before
    left: Mask  # who rested is known not to rest any more


class _Filtered(NamedTuple):
    """The filter's answer to a round."""

    x: Floats
    P: Floats
    taken: Mask
    anew: Mask  # the filter starts here
    rests: Mask


def _round(state: Table, m: Records) -> _Round:
    """Take in where fixes lie."""
    rows = m["row"].astype(np.intp)
    before_ns = state["pos_t_ns"][rows]
    t_ns = np.maximum(m["t_ns"], before_ns)
    gap_s = (t_ns - before_ns) * 1e-9
    accuracy = fixes.accuracies(m)
    doppler, doppler_before = fixes.speeds(m), state["pos_doppler_mps"][rows]
    # Some write 0 for a speed that they do not know.
    doppler = np.where(_quiet(doppler) & rest.surely_moves(state, rows, accuracy), np.nan, doppler)
    before = np.array([state["pos_e_m"][rows], state["pos_n_m"][rows]])
    z = plane.unrolled(state, rows, m)
    step_m = np.hypot(z[0] - before[0], z[1] - before[1])
    dt_s = np.minimum(gap_s, GAP_S)
    return _Round(rows, m, before_ns, t_ns, gap_s, dt_s, accuracy, doppler, doppler_before, z, step_m)


def _noise(state: Table, now: _Round) -> _Noise:
    """Return the noise of fixes: a share of what is stated, or what was learnt of it where that is more."""
    rows, dt_s, accuracy = now.rows, now.dt_s, now.accuracy
    watched = _quiet(now.doppler) & (now.gap_s <= GAP_S) & ~_driven(state, rows, now.t_ns)
    stepless = _stepless(state, rows, now)
    left = rest.absorb(state, rows, now.t_ns, dt_s, now.z, accuracy, watched, stepless)
    white, slow = rest.learnt_noise(state, rows)
    learnt = np.maximum(white, scatter.of(state, rows, now.doppler, now.gap_s))
    R = np.maximum(fix_noise(accuracy, dt_s), np.minimum(learnt, accuracy * accuracy))
    # Where fixes scatter Doppler speed leads, and has the noise that is told, across the way too.
    told = now.m["speed_acc_mps"]
    told = np.where(told > 0.0, np.minimum(told, fixes.DOPPLER_RANGE_MPS[1]), 0.0)
    speed2 = KEPT_SHARE * learnt + learnt / (learnt + LED_M2) * told * told
    return _Noise(R, slow * dt_s + speed2 * np.minimum(dt_s, 1.0) ** 2, left)


def _filtered(state: Table, now: _Round, noise: _Noise, x: Floats, P: Floats) -> _Filtered:
    """Update predicted states with a round, or start them anew from it."""
    rows, m, doppler = now.rows, now.m, now.doppler
    x, P, nis, innovation, taken = _fix(x, P, now.z, noise.R)
    rejects = np.where(taken, 0, state["pos_rejects"][rows] + 1)
    used = state["pos_fixes"][rows]
    limit = np.where(used < SETTLED_FIXES, 1, REJECTS_MAX)
    # Who has left a rest: the filter still stands where they rested.
    anew = (used == 0) | (now.gap_s > GAP_S) | (rejects >= limit) | noise.left | _across_pause(state, now)
    if anew.any():
        fresh_x, fresh_P = _fresh(now.z, m, doppler, now.accuracy)
        x, P = np.where(anew, fresh_x, x), np.where(anew, fresh_P, P)
    goes_on = taken & ~anew
    x, P = _doppler(x, P, m, doppler, goes_on)
    x, P, rests = _at_rest(state, rows, now.t_ns, x, P, doppler, goes_on)
    _compare(state, rows, innovation, goes_on & (used >= SETTLED_FIXES), anew)
    taken = taken | anew
    state["pos_rejects"][rows] = np.where(anew, 0, rejects)
    state["pos_nis"][rows] = np.where(anew, 2.0, np.minimum(nis, 1e6))
    state["pos_fixes"][rows] = np.where(anew & ~noise.left, 1, np.minimum(used + taken, 1_000_000))
    return _Filtered(np.clip(x, -1e9, 1e9), P, taken, anew, rests)


def _ceiling(now: _Round, anew: Mask) -> Floats:
    """Return the fastest that the track can have been: fixes hop, Doppler speed does not."""
    before = np.where(anew, now.doppler, now.doppler_before)
    ceiling = CEILING_SHARE * np.fmax(now.doppler, before) + CEILING_MPS
    return np.where(np.isnan(now.doppler) | np.isnan(ceiling), np.inf, ceiling)


def _compare(state: Table, rows: timer.Rows, innovation: Floats, use: Mask, anew: Mask) -> None:
    """Compare a fix's innovations, east and north over their sigmas, (2, n), with those of the fix before."""
    bounded = np.minimum(np.maximum(innovation, -BOUND), BOUND)
    before = state["pos_innovation"][rows].T
    lean = np.where(use, bounded[0] * before[0] + bounded[1] * before[1], 0.0)
    state["pos_lean"][rows] += lean
    state["pos_size"][rows] += np.where(use, bounded[0] * bounded[0] + bounded[1] * bounded[1], 0.0)
    kept = np.where(anew, 0.0, np.where(use, bounded, before))
    state["pos_innovation"][rows] = kept.T


def fix_noise(accuracy_m: Floats, dt_s: Floats) -> Floats:
    """Return the variance of what differs from fix to fix, m^2, (n,).

    Fixes that follow faster than 1 Hz share more of their error: n of them in a second tell what one would.
    """
    white = np.maximum(WHITE_SHARE * accuracy_m, WHITE_MIN_M)
    return white * white / np.clip(dt_s, 0.01, 1.0)


def _fix(x: Floats, P: Floats, z: Floats, R: Floats) -> tuple[Floats, Floats, Floats, Floats, Mask]:
    """Update with both components of a position under one gate; also return NIS and scaled innovations."""
    y = z - x[:2]
    S = np.array([P[0, 0] + R, P[1, 1] + R])
    nis = y[0] * y[0] / S[0] + y[1] * y[1] / S[1]
    extra, taken = gated(nis, np.maximum(S[0], S[1]), FIX_GATE)
    x, P, _, _ = update(x, P, y[0], EAST, R + extra, taken)
    x, P, _, _ = update(x, P, z[1] - x[1], NORTH, R + extra, taken)
    return x, P, nis, y / np.sqrt(S), taken


def _fresh(z: Floats, m: Records, speed: Floats, accuracy: Floats) -> tuple[Floats, Floats]:
    """Return the state that one fix alone tells."""
    n = len(m)
    course = m["course_rad"].copy()
    known = (speed >= STILL_MPS) & np.isfinite(course)
    sine, cosine = np.sin(np.where(known, course, 0.0)), np.cos(np.where(known, course, 0.0))
    pace = np.where(known, np.minimum(speed, SPEED_MAX_MPS), 0.0)
    x = np.zeros((STATES, n))
    x[0], x[1] = z
    x[2], x[3] = pace * sine, pace * cosine
    still = speed < STILL_MPS
    variance = np.where(known | still, 1.0, SPEED_SIGMA_MPS**2)
    R = fix_noise(accuracy, np.ones(n))
    return x, diagonal(R, R, variance, variance, SCALE_SIGMA**2, n=n)


def _doppler(x: Floats, P: Floats, m: Records, z: Floats, use: Mask) -> tuple[Floats, Floats]:
    """Update with the speed along the direction of travel, and with none across a course that is told."""
    sigma = fixes.speed_accuracies(m)
    R = sigma * sigma
    told = use & np.isfinite(z)
    if not told.any():
        return x, P
    still = told & (z < STILL_MPS)
    moving = told & ~still
    course = m["course_rad"].copy()
    steered = moving & np.isfinite(course)
    speed = speed_of(x)
    slow = speed < STEERING_MPS
    safe = np.where(speed > 0.0, speed, 1.0)
    course_e, course_n = np.sin(np.where(steered, course, 0.0)), np.cos(np.where(steered, course, 0.0))
    # Doppler speed is the length of v: along the course alone, what fixes scatter across lengthens the track.
    led = steered & slow
    u_e, u_n = np.where(led, course_e, x[2] / safe), np.where(led, course_n, x[3] / safe)
    # Standing, both components are measured as zero, east first: u is then east.
    u_e, u_n = np.where(still, 1.0, u_e), np.where(still, 0.0, u_n)
    along = u_e * x[2] + u_n * x[3]
    factor = np.where(still, 1.0, 1.0 + x[4])
    H: Row = ((2, u_e * factor), (3, u_n * factor), (4, np.where(still, 0.0, along)))
    use_along = still | steered | (moving & ~slow)
    residual = np.where(still, 0.0, z) - along * factor
    x, P, _, _ = update(x, P, residual, H, R, use_along, DOPPLER_GATE)
    sideways = still | steered
    if sideways.any():
        u_e, u_n = np.where(steered, course_e, u_e), np.where(steered, course_n, u_n)
        across = u_e * x[3] - u_n * x[2]
        sigma = np.where(still, sigma, COURSE_SIGMA_RAD * np.where(moving, z, 0.0) + 0.3)
        x, P, _, _ = update(x, P, -across, ((2, -u_n), (3, u_e)), sigma * sigma, sideways, DOPPLER_GATE)
    x[4] = np.clip(x[4], -SCALE_MAX, SCALE_MAX)
    return x, P


def _driven(state: Table, rows: timer.Rows, t_ns: timer.Times) -> Mask:
    """Return whether steps, a wheel or a foot pod say that the athlete moves, (n,)."""
    steps = (state["body_interval_s"][rows] > 0.0) & (t_ns - state["body_interval_ns"][rows] <= fixes.LATE_NS)
    turns = (state["sensor_mps"][rows] > 0.0) & (t_ns - state["sensor_t_ns"][rows] <= fixes.LATE_NS)
    driven: Mask = steps | turns
    return driven


def _stepless(state: Table, rows: timer.Rows, now: _Round) -> Mask:
    """Return whose cadence is told as zero, on foot and where no Doppler speed is told, (n,)."""
    fresh = now.t_ns - state["cadence_spm_ns"][rows] <= fixes.LATE_NS
    on_foot, untold = ON_FOOT[state["sport"][rows]], np.isnan(now.doppler)
    stepless: Mask = fresh & (state["cadence_spm"][rows] == 0.0) & on_foot & untold
    return stepless


def _across_pause(state: Table, now: _Round) -> Mask:
    """Return whose fixes leave out a pause: the way in it, over its time, is no speed to go on with, (n,)."""
    stood = (state["pause_ns"][now.rows] != timer.NEVER_NS) | (now.before_ns < state["resume_ns"][now.rows])
    across: Mask = (state["open"][now.rows] != 0) & stood & (now.gap_s > PAUSE_GAP_S)
    return across


def _at_rest(
    state: Table, rows: timer.Rows, t_ns: timer.Times, x: Floats, P: Floats, doppler: Floats, use: Mask
) -> tuple[Floats, Floats, Mask]:
    """Zero velocity where the body's own sensors or the fixes say that it stands; also return where.

    Those who go on foot and are still go nowhere, whatever the fixes. In another sport, and where Doppler
    speed is told, the filter may object.
    """
    fresh = np.abs(t_ns - state["still_t_ns"][rows]) <= fixes.LATE_NS
    still = fresh & (state["still"][rows] != 0)
    untold, quiet = np.isnan(doppler), _quiet(doppler)
    rests = (quiet & (state["rest"][rows] != 0)) | (still & untold & ON_FOOT[state["sport"][rows]])
    use = use & (rests | (still & (speed_of(x) < 1.0)))
    if use.any():
        R = np.full(len(rows), 0.01)
        for i in (2, 3):
            x, P, _, _ = update(x, P, -x[i], ((i, None),), R, use, DOPPLER_GATE)
    return x, P, use & quiet


def _quiet(doppler_mps: Floats) -> Mask:
    """Return where Doppler speed tells of no motion: a reading near zero may be its floor."""
    quiet: Mask = ~(doppler_mps >= STILL_MPS)  # NaN is not
    return quiet


def speed_of(x: Floats) -> Floats:
    """Return the speed over ground of states (5, n), m/s, (n,)."""
    speed: Floats = np.sqrt(x[2] * x[2] + x[3] * x[3])
    return speed


def speed_sigma(x: Floats, P: Floats) -> Floats:
    """Return one sigma of the speed of states (5, n), covariances (5, 5, n), m/s, (n,)."""
    speed = speed_of(x)
    safe = np.where(speed > 0.1, speed, 1.0)
    u_e, u_n = np.where(speed > 0.1, x[2] / safe, 1.0), np.where(speed > 0.1, x[3] / safe, 0.0)
    variance = u_e * u_e * P[2, 2] + u_n * u_n * P[3, 3] + 2.0 * (u_e * u_n) * P[2, 3]
    sigma: Floats = np.sqrt(np.maximum(variance, 0.0))
    return sigma
