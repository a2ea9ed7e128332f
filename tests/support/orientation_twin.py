"""The readable twin of csrc/increments.c, filter.h and orientation.c, in float64, many streams side by side.

Written from the model (see the heads of those files and docs/orientation.md), sharing no code with the core:
whole matrices, one joint update per block, rotation vectors by their exact exponential; gaps and clipping are
mended looking at the recording as a whole, not sample by sample. The core must agree with it.

What is decided (at rest or not, a field that fits or not) may fall otherwise in float32 where it hangs on
less than rounding. So the twin also says, for each sample, how near to its threshold the nearest decision up
to then was: ``Track.margin``, relative.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.support.motion import Floats

Mask = NDArray[np.bool_]
Places = NDArray[np.intp]

G = 9.80665
BLOCK_S, GAP_S, SNAP_GAP_S, WINDOW_NS = 0.0345, 0.25, 1.0, 250_000_000
GYRO_NOISE, GYRO_RATE_NOISE, BIAS_WALK, ACCEL_NOISE = 1.7e-3, 3e-3, 8e-5, 0.05
VELOCITY_NOISE, UP_NOISE, GRAVITY_WALK, GRAVITY_MAX = 0.4, 1.0, 1e-3, 0.5
TILT_SIGMA, VELOCITY_SIGMA, BIAS_SIGMA, GRAVITY_SIGMA, BIAS_MAX = 0.5, 1.0, 0.02, 0.1, 0.35
REST_RATE, REST_OFF, REST_NOISE, REST_ACCEL, REST_NORM, REST_FELT = 0.007, 3.5e-3, 0.07, 0.5, 0.15, 0.2
REST_AFTER_S, REST_PROVED_S, REST_LOW_S, REST_BIAS_MAX, REST_BIAS_SIGMA = 1.5, 20.0, 5.0, 0.1, 1e-3
SPEED_NOISE, SPEED_LOW_S, MOTION_SHARE = 0.3, 2.0, 0.2
REST_BIAS_NOISE, REST_DV_SIGMA, REST_OPEN = 1.5e-3, 0.005, 1e-8
FIELD_NOISE, MISFIT_NOISE, FIELD_SIGMA, NORM_SHARE, DIP_TAN = 0.08, 1.5, 0.3, 0.1, 0.17
FIT_S, LOW_S, NEW_LOW_S, RENEW_S, RENEW_RATE, PATIENCE_S, CARE = 0.5, 20.0, 2.0, 15.0, 0.35, 60.0, 25.0
HEADING_VAR_MAX = 9.8696044
GAP_STEPS, BEND_SHARE, BEND_S, BEND_MAX, BEND_OPEN = 1.5, 0.67, 0.14, 1.0, 0.6
GAP_OPEN, GAP_FORCE_OPEN, GAP_FORCE = 0.05, 0.5, 0.5
CLIP_AXIS, CLIP_SLOPE, CLIP_FADE_S, CLIP_SHARE, CLIP_S, CLIP_MAX_S = 0.98, 0.9, 0.065, 1.2, 0.2, 0.5
CLIP_STEP_OPEN, CLIP_OPEN, CLIP_RATE_OPEN, CLIP_LONG_OPEN, CLIP_ACCEL = 0.1, 0.4, 0.25, 0.3, 10.0
BLIND_RATE, TURN_MAX, FIELD_S_MAX, NEAR_RANGE = 0.5, 3.0, 0.25, 0.999
USUAL_SHARE, USUAL_JUMP = 1 / 32, 3.0


@dataclass(frozen=True)
class Samples:
    """A recording: (n,) stamps, (n, 3) vectors of b, not finite where absent; int64 ns, SI, uT."""

    t_ns: NDArray[np.int64]
    gyro_b: Floats
    accel_b: Floats
    mag_b: Floats
    means: bool = False
    gyro_range: float = 0.0
    interval_s: float = 0.0  # 0: the usual one


class Track(NamedTuple):
    """What the twin says of m streams at each of n samples."""

    q6: Floats  # (n, m, 4)
    q9: Floats
    bias_b: Floats  # (n, m, 3)
    tilt_sigma: Floats  # (n, m)
    heading_sigma: Floats
    rest: Mask
    mag_disturbed: Mask
    heading: Floats  # (n, m), rad, of e9 against e6
    dv_e6: Floats  # (n, m, 3), integral of free acceleration over the step, in e of q6
    margin: Floats  # (n, m), of the nearest decision so far


class Increments(NamedTuple):
    """A stream's steps, (n,) each; nothing has happened where not ``taken``."""

    taken: Mask
    broken_s: Floats  # length of the break right before; 0: none
    snap: Mask  # tilt is taken from specific force here
    dt_s: Floats
    turn: Floats  # (n, 3)
    accel: Floats  # (n, 3)
    accel_s: Floats
    mag: Floats  # (n, 3)
    mag_s: Floats
    open: Floats
    open_velocity: Floats
    margin: Floats


def product(a: Floats, b: Floats) -> Floats:
    """Return the quaternion product of a and b, (..., 4)."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    parts = (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )
    return np.stack(parts, -1)


def matrix(q: Floats) -> Floats:
    """Return the rotation matrices (..., 3, 3) of q (..., 4)."""
    w, x, y, z = np.moveaxis(q, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def turned(q: Floats, v: Floats) -> Floats:
    """Return v (..., 3) rotated by q (..., 4)."""
    out: Floats = (matrix(q) @ v[..., None])[..., 0]
    return out


def exponential(r: Floats) -> Floats:
    """Return the quaternions of rotation vectors r (..., 3)."""
    half = np.sqrt((r * r).sum(-1, keepdims=True)) / 2
    return np.concatenate([np.cos(half), np.sinc(half / np.pi) / 2 * r], -1)


def logarithm(q: Floats) -> Floats:
    """Return the rotation vector of q (4,), at most pi long."""
    q = q if q[0] >= 0 else -q
    n = float(np.linalg.norm(q[1:]))
    out: Floats = q[1:] * (2 * np.arctan2(n, q[0]) / n if n > 1e-12 else 2.0)
    return out


def hermite(
    t_s: Floats, rates: Floats, at: int, before: tuple[int, int], after: tuple[int, int]
) -> tuple[Floats, float]:
    """Return what a fifth-degree polynomial adds to the trapezoid over the step that ends at ``at``.

    It has the rates, slopes and curvatures of the two parabolas through ``at`` - 1 and ``before``, and
    through ``at`` and ``after``. Also return the step's length.
    """
    D = float(t_s[at] - t_s[at - 1])
    sides = []
    for own, others in ((at - 1, before), (at, after)):
        places = [own, *others]
        parabola = np.polyfit(t_s[places] - t_s[own], rates[places], 2)
        sides.append((parabola[1], 2 * parabola[0]))
    (slope0, curvature0), (slope1, curvature1) = sides
    return D**2 * (slope0 - slope1) / 10 + D**3 * (curvature0 + curvature1) / 120, D


class Stream:
    """The increments of one recording."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.gyro, gyro_clipped = held(samples.gyro_b, 1e3, samples.gyro_range)
        self.accel, accel_clipped = held(samples.accel_b, 1e4, 0)
        self.mag, mag_clipped = held(samples.mag_b, 1e5, 0)
        self.has_gyro, self.has_accel = present(self.gyro), present(self.accel)
        self.has_mag = present(self.mag) & ~mag_clipped
        self.gyro_clipped, self.accel_clipped = self.has_gyro & gyro_clipped, self.has_accel & accel_clipped
        n = len(samples.t_ns)
        self.taken, self.snap = np.zeros(n, bool), np.zeros(n, bool)
        self.dt_s, self.own_s, self.broken_s = np.zeros(n), np.zeros(n), np.zeros(n)
        self.turn, self.force, self.field = np.zeros((n, 3)), np.zeros((n, 3)), np.zeros((n, 3))
        self.accel_s, self.mag_s, self.open, self.open_velocity = (np.zeros(n) for _ in range(4))
        self.margin = np.full(n, np.inf)

    def increments(self) -> Increments:
        """Return all of them."""
        self.join()
        kept = np.flatnonzero(self.taken)
        for thread in self.threads(kept):
            self.turns(thread)
        self.forces(kept)
        self.fields(kept)
        n2 = (self.turn**2).sum(1)
        for k in np.flatnonzero(n2 > TURN_MAX**2):
            n = np.sqrt(n2[k])
            self.turn[k] *= (n - 2 * np.pi * np.floor(n / (2 * np.pi) + 0.5)) / n
        parts = (self.turn, self.force, self.accel_s, self.field, self.mag_s, self.open, self.open_velocity)
        return Increments(self.taken, self.broken_s, self.snap, self.dt_s, *parts, self.margin)

    def note(self, k: int, slack: float) -> None:
        """Remember how near a decision at sample k was."""
        self.margin[k] = min(self.margin[k], abs(slack))

    def join(self) -> None:
        """Find the steps, the breaks, and where tilt is taken from specific force."""
        newest_ns: int | None = None
        usual_s, known, count = 0.0, False, 0
        for k, t_ns in enumerate(self.samples.t_ns.tolist()):
            any_of = self.has_gyro[k] or self.has_accel[k]
            if not any_of or (newest_ns is not None and t_ns <= newest_ns):
                continue
            dt_s = 0.0 if newest_ns is None else (t_ns - newest_ns) / 1e9
            own_s = self.samples.interval_s or usual_s
            newest_ns = t_ns
            if dt_s > GAP_S:
                self.broken_s[k] = dt_s
                self.note(k, dt_s / SNAP_GAP_S - 1)
                known = known and dt_s <= SNAP_GAP_S and count >= 2
                dt_s, count = 0.0, 0
            elif dt_s > 0:
                usual_s = (
                    usual_s + USUAL_SHARE * (min(dt_s, USUAL_JUMP * usual_s) - usual_s) if usual_s else dt_s
                )
            if not known and self.has_accel[k] and np.linalg.norm(self.accel[k]) >= 1e-3:
                self.snap[k] = known = True
                dt_s = 0.0
            self.taken[k] = known
            count = count + 1 if known and self.has_gyro[k] else 0
            self.dt_s[k] = dt_s if known else 0.0
            self.own_s[k] = own_s if 0 < own_s < dt_s else dt_s

    def threads(self, kept: Places) -> list[Places]:
        """Return the runs of samples with a gyroscope that nothing interrupts."""
        starts = (self.dt_s[kept] == 0) | ~self.has_gyro[kept] | ~np.roll(self.has_gyro[kept], 1)
        runs = np.split(kept, np.flatnonzero(starts[1:]) + 1)
        blind = [run for run in runs if len(run) and not self.has_gyro[run[0]]]
        for run in blind:
            self.open[run] = BLIND_RATE**2 * self.dt_s[run]
        return [run for run in runs if len(run) and self.has_gyro[run[0]]]

    def turns(self, thread: Places) -> None:
        """Rotation over the steps of one thread."""
        w, dt, own = self.gyro[thread], self.dt_s[thread], self.own_s[thread]
        means = self.samples.means
        gaps: Mask = (dt > GAP_STEPS * own) & (np.arange(len(thread)) > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            self.margin[thread[1:]] = np.fmin(self.margin[thread[1:]], np.abs(dt / (GAP_STEPS * own) - 1)[1:])
        last = np.vstack([w[:1], w[:-1]])
        line = dt[:, None] * (last + w) / 2
        coning = dt[:, None] ** 2 / 12 * np.cross(last, w)
        if means:
            bridge = line + own[:, None] * (w - last) / 2 + coning
            plain = np.where(gaps, own, dt)[:, None] * w
            plain_before = np.vstack([np.zeros(3), plain[:-1]])
            plain_before[1:2] = 0  # the first sample's own step joins no rate before it
            turn = plain + np.cross(plain_before, plain) / 12
            turn[gaps] = bridge[gaps]
        else:
            turn = line + coning
        turn[0] = dt[0] * w[0]
        steps = turn.copy()
        for at in np.flatnonzero(gaps).tolist():
            length = dt[at] - own[at]
            self.open[thread[at]] += (GAP_OPEN * length) ** 2 * (w[at] @ w[at] + last[at] @ last[at]) / 2
            if at < 3 or at + 2 >= len(thread) or gaps[at + 1 : at + 3].any():
                continue
            self.note(thread[at], (dt[at - 1] + dt[at - 2]) / (4 * own[at]) - 1)
            if dt[at - 1] + dt[at - 2] > 4 * own[at]:
                continue
            added, D = hermite(np.cumsum(dt), w, at, (at - 2, at - 3), (at + 1, at + 2))
            added = np.clip(added, -BEND_MAX, BEND_MAX)
            part = BEND_SHARE / (1 + (D / BEND_S) ** 4) * added
            here = exponential(steps[at] / 2 + steps[at + 1])  # from the middle of the gap to here
            part = turned(here * [1, -1, -1, -1], part)
            turn[at + 2] = logarithm(product(exponential(part), exponential(steps[at + 2])))
            self.open[thread[at + 2]] += BEND_OPEN**2 * (added @ added)
        if self.gyro_clipped[thread].any():
            self.clips(thread, turn)
        self.turn[thread] = turn

    def clips(self, thread: Places, turn: Floats) -> None:
        """Mend the rotation of one thread where axes stood at the end of their range."""
        w, dt = self.gyro[thread], self.dt_s[thread]
        top = CLIP_AXIS * np.abs(w).max(1, keepdims=True)
        out = self.gyro_clipped[thread][:, None] & (np.abs(w) >= top)
        out[0] = False
        slack = np.where(self.gyro_clipped[thread], np.abs(np.abs(w) / np.maximum(top, 1e-9) - 1).min(1), 1)
        self.margin[thread] = np.minimum(self.margin[thread], slack)
        begins: list[int | None] = [None] * 3  # first sample at the end, by axis
        assumed = np.zeros(3)
        first: int | None = None  # of those that go on
        for k in range(1, len(thread)):
            for i in range(3):
                begin = begins[i]
                if begin is not None and k - 1 > begin and not out[k - 1, i]:  # it returned one sample ago
                    half = turn[first:k].sum(0) / 2
                    self.end_clip(thread[k], w[:, i], dt, i, (begin, k), assumed[i], half, turn[k])
                    begin = begins[i] = None
                if not out[k, i]:
                    continue
                if begin is None:
                    begin = begins[i] = k
                    assumed[i] = 0.0
                    first = k if first is None else first
                t = dt[begin : k + 1].sum() - dt[k] / 2
                more = CLIP_SLOPE * clip_slope(w[:, i], dt, begin) * t * np.exp(-t / CLIP_FADE_S) * dt[k]
                more = np.clip(more * np.sign(w[k, i]), 0, abs(w[k, i]) * dt[k] / 2) * np.sign(w[k, i])
                assumed[i] += more
                turn[k, i] += more
                self.open[thread[k]] += (CLIP_STEP_OPEN * dt[k] * w[k, i]) ** 2
            if all(begin is None for begin in begins):
                first = None

    def end_clip(
        self,
        place: int,
        w: Floats,
        dt: Floats,
        axis: int,
        span: tuple[int, int],
        assumed: float,
        half: Floats,
        turn: Floats,
    ) -> None:
        """Replace what was assumed of an axis over samples ``span``, before the turn of the sample after."""
        begin, k = span
        D = dt[begin:k].sum()
        rate = w[begin - 1]
        self.note(place, D / CLIP_MAX_S - 1)
        if D > CLIP_MAX_S:
            self.open[place] += (CLIP_LONG_OPEN * D * rate) ** 2
            return
        measured = (dt[begin:k] * (w[begin - 1 : k - 1] + w[begin:k]) / 2).sum()
        slopes = clip_slope(w, dt, begin) - (w[k] - w[k - 1]) / dt[k]
        cubic = D * (rate + w[k - 1]) / 2 + CLIP_SHARE / (1 + (D / CLIP_S) ** 2) * D**2 / 12 * slopes
        outward = 1.0 if rate > 0 else -1.0
        hidden = np.clip(outward * (cubic - measured), 0, D * abs(rate))
        more = np.zeros(3)
        more[axis] = outward * hidden - assumed
        more = turned(exponential(half) * [1, -1, -1, -1], more)
        turn[:] = logarithm(product(exponential(more), exponential(turn)))
        self.open[place] += (CLIP_OPEN * hidden + CLIP_RATE_OPEN * D * min(1, D / CLIP_S)) ** 2

    def forces(self, kept: Places) -> None:
        """Mean specific force over each step."""
        dt, own = self.dt_s[kept], self.own_s[kept]
        here: Mask = self.has_accel[kept]
        accel = np.where(here[:, None], self.accel[kept], 0)
        joined = here & np.append(False, here[:-1]) & (dt > 0)
        gap_s = np.where(joined & (dt > GAP_STEPS * own), dt - own, 0)
        change = np.where(joined[:, None], np.vstack([accel[:1], accel[:-1]]) - accel, 0)
        half = gap_s / (2 * np.where(dt > 0, dt, 1)) if self.samples.means else 0.5
        self.force[kept] = accel + np.reshape(half, (-1, 1)) * change
        self.accel_s[kept] = np.where(here, dt, 0)
        unknown2 = (change**2).sum(1) / 4 + (norms(accel) - G) ** 2 + GAP_FORCE**2
        self.open_velocity[kept] = (gap_s * GAP_FORCE_OPEN) ** 2 * unknown2
        self.open_velocity[kept] += np.where(self.accel_clipped[kept], CLIP_ACCEL * dt, 0) ** 2

    def fields(self, kept: Places) -> None:
        """Field, and for how long it stands: the time since the one before."""
        used = kept[self.has_mag[kept] & (norms(self.mag[kept]) >= 1e-3)]
        run = np.cumsum(self.broken_s > 0)[used]  # nothing stands across a break
        since_s = np.diff(self.samples.t_ns[used], prepend=0) / 1e9
        first = np.diff(run, prepend=-1) > 0
        self.field[used] = self.mag[used]
        if not self.samples.means:  # of the step's end: as it stood halfway
            self.field[used] = turned(exponential(self.turn[used] / 2), self.mag[used])
        self.mag_s[used] = np.minimum(np.where(first, self.dt_s[used], since_s), FIELD_S_MAX)


def norms(v: Floats) -> Floats:
    """Return the lengths of v (..., 3)."""
    out: Floats = np.sqrt((v * v).sum(-1))
    return out


def present(v: Floats) -> Mask:
    """Return which of v (n, 3) are there."""
    out: Mask = np.asarray(np.isfinite(v).all(1))
    return out


def held(v: Floats, limit: float, limit_of_sensor: float) -> tuple[Floats, Mask]:
    """Return v as float32 holds it, within the limit, and where it stands at an end."""
    v = np.asarray(v, np.float32).astype(float)
    v[~present(v)] = np.nan
    top = np.abs(v).max(1)
    clipped: Mask = top > limit
    if limit_of_sensor > 0:
        clipped = clipped | (top >= NEAR_RANGE * float(np.float32(limit_of_sensor)))
    return np.clip(v, -limit, limit), clipped


def clip_slope(w: Floats, dt: Floats, begin: int) -> float:
    """Return the slope of a rate before it reached its end."""
    return float((w[begin - 1] - w[begin - 3]) / (dt[begin - 1] + dt[begin - 2])) if begin >= 3 else 0.0


class Twin:
    """The filters of m streams."""

    def __init__(self, m: int) -> None:
        self.q = np.tile([1.0, 0.0, 0.0, 0.0], (m, 1))
        self.bias, self.velocity = np.zeros((m, 3)), np.zeros((m, 2))
        sigmas = np.array([TILT_SIGMA, TILT_SIGMA, VELOCITY_SIGMA, VELOCITY_SIGMA, *[BIAS_SIGMA] * 3])
        self.P = np.tile(np.diag(sigmas**2), (m, 1, 1))
        self.up, self.gravity_error = np.zeros(m), np.zeros(m)
        self.Pz = np.tile(np.diag([VELOCITY_SIGMA**2, GRAVITY_SIGMA**2]), (m, 1, 1))
        self.heading, self.heading_var = np.zeros(m), np.full(m, HEADING_VAR_MAX)
        self.field, self.field_new = np.zeros((m, 2)), np.zeros((m, 2))  # horizontal, up
        self.fit_s, self.misfit_s, self.new_s, self.mag_s = (np.zeros(m) for _ in range(4))
        self.rate_low, self.force_low = np.zeros((m, 3)), np.zeros((m, 3))
        self.still_s, self.age_s, self.speed2 = np.zeros(m), np.zeros(m), np.zeros(m)
        self.heading_known, self.still, self.field_off = (np.zeros(m, bool) for _ in range(3))
        self.block_s, self.block_accel_s, self.block_mag_s = np.zeros(m), np.zeros(m), np.zeros(m)
        self.block_rate2, self.block_open, self.block_open_velocity = np.zeros(m), np.zeros(m), np.zeros(m)
        self.block_turn, self.block_force, self.block_field = (np.zeros((m, 3)) for _ in range(3))
        self.margin = np.full(m, np.inf)

    def decide(self, rows: Places, *slacks: Floats) -> Mask:
        """Return where all slacks are above 0; remember how near the one that decides was."""
        slack = np.minimum.reduce(slacks)
        self.margin[rows] = np.minimum(self.margin[rows], np.abs(slack))
        out: Mask = slack > 0
        return out

    def clear(self, rows: Places) -> None:
        """Begin a block."""
        self.block_s[rows] = self.block_accel_s[rows] = self.block_mag_s[rows] = self.block_rate2[rows] = 0
        self.block_open[rows] = self.block_open_velocity[rows] = 0
        self.block_turn[rows] = self.block_force[rows] = self.block_field[rows] = 0

    def hold_tilt(self, rows: Places) -> None:
        """Hold the sigma of both tilts, row and column together."""
        for i in (0, 1):
            k = np.minimum(1, TILT_SIGMA / np.sqrt(self.P[rows, i, i]))
            self.P[rows, i, :] *= k[:, None]
            self.P[rows, :, i] *= k[:, None]

    def begin_velocity(self, rows: Places, sigma: float) -> None:
        """Count horizontal velocity from here."""
        self.velocity[rows] = 0
        for i in (2, 3):
            self.P[rows, i, :] = self.P[rows, :, i] = 0
            self.P[rows, i, i] = sigma**2

    def bear_break(self, rows: Places, gap_s: Floats) -> None:
        """Bear a break of the stream: a turn of a radian a second, any velocity."""
        gap_s = np.minimum(gap_s, 1e3)
        self.clear(rows)
        self.up[rows] = 0
        self.Pz[rows, 0, :] = self.Pz[rows, :, 0] = 0
        self.Pz[rows, 0, 0] = VELOCITY_SIGMA**2
        self.P[rows, 0, 0] += gap_s**2
        self.P[rows, 1, 1] += gap_s**2
        self.hold_tilt(rows)
        self.begin_velocity(rows, VELOCITY_SIGMA)
        self.still[rows], self.still_s[rows], self.speed2[rows] = False, 0, 0
        self.heading_var[rows] = np.minimum(self.heading_var[rows] + gap_s**2, HEADING_VAR_MAX)

    def snap(self, rows: Places, accel_b: Floats) -> None:
        """Take tilt from specific force, by the smallest turn that does."""
        self.age_s[rows] = 0
        u = turned(self.q[rows], accel_b)
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        half = np.stack([1 + u[:, 2], u[:, 1], -u[:, 0], 0 * u[:, 0]], -1)
        half[u[:, 2] < -0.999999] = [0, 1, 0, 0]
        self.q[rows] = product(half / np.linalg.norm(half, axis=1, keepdims=True), self.q[rows])
        for i in range(4):
            self.P[rows, i, :] = self.P[rows, :, i] = 0
        self.P[rows, 0, 0] = self.P[rows, 1, 1] = TILT_SIGMA**2
        self.begin_velocity(rows, VELOCITY_SIGMA)

    def step(self, rows: Places, s: Increments) -> Floats:
        """Turn by one step each (fields of s: those of ``rows``); return the increment of velocity in e6."""
        turn = s.turn - s.dt_s[:, None] * self.bias[rows]
        q = self.q[rows]
        half = exponential(turn / 2)
        middle = product(q, half)
        self.q[rows] = product(middle, half)
        R_eb = matrix(middle)
        force, field = (R_eb @ np.stack([s.accel, s.mag])[..., None])[..., 0]
        free = force - [0, 0, G] - np.outer(self.gravity_error[rows], [0, 0, 1])
        with np.errstate(invalid="ignore", divide="ignore"):
            rate2_s = np.where(s.dt_s > 0, (turn * turn).sum(1) / s.dt_s, 0)
        self.block_turn[rows] += turn
        self.block_force[rows] += s.accel_s[:, None] * force
        self.block_field[rows] += s.mag_s[:, None] * field
        self.block_s[rows] += s.dt_s
        self.block_accel_s[rows] += s.accel_s
        self.block_mag_s[rows] += s.mag_s
        self.block_rate2[rows] += rate2_s
        self.block_open[rows] += s.open
        self.block_open_velocity[rows] += s.open_velocity
        self.age_s[rows] += s.dt_s
        due = rows[self.decide(rows, self.block_s[rows] / BLOCK_S - 1)]
        if len(due):
            self.correct(due)
        out: Floats = s.accel_s[:, None] * free
        return out

    def judge_rest(self, rows: Places) -> None:
        """Decide whether the device lies still: this block is like those before, for a while."""
        T = self.block_s[rows, None]
        first = (self.age_s[rows] <= self.block_s[rows])[:, None]
        k = np.where(first, 1, T / (T + np.minimum(self.still_s[rows, None], REST_LOW_S)))
        turn = self.block_turn[rows] / T
        rate = turn + self.bias[rows] - self.rate_low[rows]
        felt = self.block_accel_s[rows] >= REST_FELT * T[:, 0]
        felt_s = np.where(felt, self.block_accel_s[rows], 1)[:, None]
        force = self.block_force[rows] / felt_s - self.force_low[rows]
        self.rate_low[rows] += k * rate
        self.force_low[rows] += k * force
        off = self.rate_low[rows] - self.bias[rows]
        off2 = REST_OFF**2 + 14 / 3 * np.trace(self.P[rows, 4:, 4:], axis1=1, axis2=2)
        spread = self.block_rate2[rows] / T[:, 0] - (turn**2).sum(1)
        weight = norms(self.force_low[rows]) - G - self.gravity_error[rows]
        calm = self.decide(
            rows,
            1 - (rate**2).sum(1) / REST_RATE**2,
            1 - spread / REST_NOISE**2,
            1 - (force**2).sum(1) / REST_ACCEL**2,
            1 - self.block_open[rows] / REST_OPEN,
            1 - np.abs(weight) / (REST_NORM + 3 * np.sqrt(self.Pz[rows, 1, 1])),
        )
        calm &= ~first[:, 0] & felt
        self.still_s[rows] = np.where(calm, np.minimum(self.still_s[rows] + T[:, 0], REST_PROVED_S), 0)
        near = self.decide(rows, 1 - (off**2).sum(1) / off2)
        proved = np.zeros(len(rows), bool)
        long = self.still_s[rows] > REST_PROVED_S - 1
        proved[long] = self.decide(
            rows[long],
            np.where(
                self.still_s[rows[long]] >= REST_PROVED_S, 1, self.still_s[rows[long]] / REST_PROVED_S - 1
            ),
            1 - (self.rate_low[rows[long]] ** 2).sum(1) / REST_BIAS_MAX**2,
        )
        for i in (4, 5, 6):
            self.P[rows[proved & ~near], i, i] = BIAS_SIGMA**2
        self.still[rows] = self.decide(rows, self.still_s[rows] / REST_AFTER_S - 1) & (near | proved)

    def update(self, rows: Places, states: list[int], residual: Floats, R: Floats, share: float) -> Floats:
        """Update all states of rows jointly by residuals (r, h) of some, known to variances R; return x.

        The bias takes a share of its gain, and P is that of such a gain.
        """
        P = self.P[rows]
        PH = P[:, states]
        S = PH[:, :, states] + R[:, :, None] * np.eye(len(states))
        K = np.linalg.solve(S, PH).swapaxes(1, 2)
        less = K @ PH
        less[:, 4:, 4:] *= share * (2 - share)
        self.P[rows] = P - less
        x: Floats = (K @ residual[:, :, None])[:, :, 0]
        x[:, 4:] *= share
        return x

    def correct(self, rows: Places) -> None:
        """Close a block."""
        T, felt_s, rate2 = self.block_s[rows], self.block_accel_s[rows], self.block_rate2[rows]
        self.judge_rest(rows)
        still = self.still[rows]
        if still.any():
            self.begin_velocity(rows[still], 0)
        F = np.tile(np.eye(7), (len(rows), 1, 1))
        R_eb = matrix(self.q[rows])
        F[:, 0:2, 4:7] = -T[:, None, None] * R_eb[:, :2]
        F[:, 2, 1] = (G + self.gravity_error[rows]) * felt_s
        F[:, 3, 0] = -F[:, 2, 1]
        P = F @ self.P[rows] @ F.swapaxes(1, 2)
        tilt_var = GYRO_NOISE**2 * T + GYRO_RATE_NOISE**2 * rate2 + self.block_open[rows]
        for i in (0, 1):
            P[:, i, i] += tilt_var
            P[:, 2 + i, 2 + i] += ACCEL_NOISE**2 * T + self.block_open_velocity[rows]
        for i in (4, 5, 6):
            P[:, i, i] += BIAS_WALK**2 * T * np.maximum(0, 1 - P[:, i, i] / BIAS_SIGMA**2)
        self.P[rows] = P
        self.hold_tilt(rows)
        self.velocity[rows] += self.block_force[rows, :2]
        x = np.zeros((len(rows), 7))
        fell = felt_s > 0
        for group, noise in ((fell & still, REST_DV_SIGMA**2), (fell & ~still, None)):
            of = rows[group]
            if noise is None:
                seen = VELOCITY_NOISE**2 + SPEED_NOISE * self.speed2[of]
                R = np.tile((seen / felt_s[group])[:, None], 2)
            else:
                R = np.full((len(of), 2), noise)
            if len(of):
                x[group] = self.update(of, [2, 3], -self.velocity[of], R, MOTION_SHARE)
        if still.any():
            of = rows[still]
            residual = self.rate_low[of] - self.bias[of] - x[still, 4:]
            x[still] += self.update(
                of, [4, 5, 6], residual, np.tile(REST_BIAS_NOISE**2 / T[still, None], 3), 1
            )
            for i in (4, 5, 6):
                self.P[of, i, i] = np.maximum(self.P[of, i, i], REST_BIAS_SIGMA**2)
        self.correct_vertical(rows, fell)
        self.q[rows] = product(exponential(np.hstack([x[:, :2], np.zeros((len(rows), 1))])), self.q[rows])
        self.q[rows] /= np.linalg.norm(self.q[rows], axis=1, keepdims=True)
        self.velocity[rows] += x[:, 2:4]
        speed2 = (self.velocity[rows] ** 2).sum(1) / 2
        self.speed2[rows] += T / (T + SPEED_LOW_S) * (speed2 - self.speed2[rows])
        self.bias[rows] = np.clip(self.bias[rows] + x[:, 4:], -BIAS_MAX, BIAS_MAX)
        up_b = R_eb[:, 2]
        bias_var = np.maximum(0, np.einsum("ni,nij,nj->n", up_b, self.P[rows][:, 4:, 4:], up_b))
        var = self.heading_var[rows]
        drift = np.where(still, 0, 2 * T * np.sqrt(var * bias_var))
        self.heading_var[rows] = np.minimum(var + drift + tilt_var, HEADING_VAR_MAX)
        came = self.block_mag_s[rows] > 0
        if came.any():
            self.correct_heading(rows[came], np.sqrt(rate2 / T)[came])
        self.clear(rows)

    def correct_vertical(self, rows: Places, fell: Mask) -> None:
        """Learn what gravity reads beyond nominal."""
        T, still = self.block_accel_s[rows], self.still[rows]
        self.up[rows[still]] = 0
        self.Pz[rows[still], 0, :] = self.Pz[rows[still], :, 0] = 0
        self.up[rows] += self.block_force[rows, 2] - (G + self.gravity_error[rows]) * T
        F = np.tile(np.eye(2), (len(rows), 1, 1))
        F[:, 0, 1] = -T
        walk = GRAVITY_WALK**2 * T * np.maximum(0, 1 - self.Pz[rows, 1, 1] / GRAVITY_SIGMA**2)
        P = F @ self.Pz[rows] @ F.swapaxes(1, 2)
        P[:, 0, 0] += ACCEL_NOISE**2 * T + self.block_open_velocity[rows]
        P[:, 1, 1] += walk
        R = np.where(still, REST_DV_SIGMA**2, UP_NOISE**2 / np.where(fell, T, 1))
        K = np.where(fell[:, None], P[:, :, 0] / (P[:, 0, 0] + R)[:, None], 0)
        x = -K * self.up[rows, None]
        self.Pz[rows] = P - K[:, :, None] * P[:, None, 0, :]
        self.up[rows] += x[:, 0]
        self.gravity_error[rows] = np.clip(self.gravity_error[rows] + x[:, 1], -GRAVITY_MAX, GRAVITY_MAX)

    def fits(self, rows: Places, field: Floats, reference: Floats) -> Mask:
        """Decide whether fields (horizontal, up) have the length and the dip of their references."""
        norm, norm_ref = np.linalg.norm(field, axis=1), np.linalg.norm(reference, axis=1)
        along = (field * reference).sum(1)
        beside = np.abs(field[:, 0] * reference[:, 1] - field[:, 1] * reference[:, 0])
        return self.decide(
            rows,
            1 - np.abs(norm - norm_ref) / (NORM_SHARE * norm_ref),
            (DIP_TAN * along - beside) / (DIP_TAN * norm * norm_ref),
        )

    def correct_heading(self, rows: Places, rate: Floats) -> None:
        """Learn heading from the block's mean field."""
        mean = self.block_field[rows] / self.block_mag_s[rows, None]
        across, up = np.hypot(mean[:, 0], mean[:, 1]), mean[:, 2]
        usable = self.decide(rows, across / 1e-3 - 1, across / np.maximum(1e-3 * np.abs(up), 1e-9) - 1)
        rows, rate, mean, T = rows[usable], rate[usable], mean[usable], self.block_mag_s[rows[usable]]
        field = np.stack([across, up], -1)[usable]
        begins = ~self.heading_known[rows]
        new = rows[begins]
        self.field[new] = self.field_new[new] = field[begins]
        self.fit_s[new], self.heading_known[new] = FIT_S, True

        fit = self.fits(rows, field, self.field[rows])
        fit_s = np.where(fit, self.fit_s[rows] + T, 0)
        self.fit_s[rows] = np.minimum(fit_s, FIT_S)
        good = fit.copy()
        good[fit] = self.decide(rows[fit], fit_s[fit] / FIT_S - 1)
        off = ~fit
        same = off.copy()
        same[off] = self.fits(rows[off], field[off], self.field_new[rows[off]])
        turning = same.copy()
        turning[same] = self.decide(rows[same], rate[same] / RENEW_RATE - 1)
        self.new_s[rows[turning]] += T[turning]
        self.new_s[rows[good | (off & ~same)]] = 0
        renewed = off.copy()
        renewed[off] = self.decide(rows[off], self.new_s[rows[off]] / RENEW_S - 1)

        # The reference follows a field that fits; a second one follows quickly a field that does not.
        slow = T / (np.minimum(self.mag_s[rows] + T, LOW_S) + T)
        quick = T / (T + NEW_LOW_S)
        of = rows[good]
        self.field[of] += slow[good, None] * (field[good] - self.field[of])
        self.field_new[of] = self.field[of]
        of = rows[off]
        self.field_new[of] += quick[off, None] * (field[off] - self.field_new[of])
        of = rows[renewed]
        self.field[of] = self.field_new[of]
        self.new_s[of], self.fit_s[of] = 0, FIT_S
        self.heading_var[of] = np.maximum(self.heading_var[of], FIELD_SIGMA**2)
        misfit_s = np.where(good | renewed, 0, self.misfit_s[rows] + T)
        self.misfit_s[rows] = np.minimum(misfit_s, PATIENCE_S)
        self.field_off[rows] = np.where(good, False, np.where(off, True, self.field_off[rows]))
        self.mag_s[rows] = np.minimum(self.mag_s[rows] + T, LOW_S)

        careful = ~good
        careful[~good] = self.decide(rows[~good], misfit_s[~good] / PATIENCE_S - 1)
        misfit2 = ((field - self.field[rows]) ** 2).sum(1) / self.field[rows, 0] ** 2
        R = (MISFIT_NOISE**2 * misfit2 + FIELD_NOISE**2) / T * np.where(careful, CARE, 1)
        gain = self.heading_var[rows] / (self.heading_var[rows] + R)
        gain = np.where(begins, 1, np.where(good | careful, gain, 0))
        c, s = np.cos(self.heading[rows]), np.sin(self.heading[rows])
        angle = np.arctan2(c * mean[:, 0] - s * mean[:, 1], s * mean[:, 0] + c * mean[:, 1])
        self.decide(rows[gain > 0], 1 - np.abs(angle[gain > 0]) / np.pi)
        self.heading[rows] += gain * angle
        self.heading_var[rows] = np.where(begins, FIELD_SIGMA**2, (1 - gain) * self.heading_var[rows])


def track(streams: list[Samples]) -> Track:
    """Run recordings of one length n through the twin, side by side."""
    parts = [Stream(samples).increments() for samples in streams]
    steps = Increments(*(np.stack(field, 1) for field in zip(*parts, strict=True)))
    n, m = steps.dt_s.shape
    twin = Twin(m)
    q6, dv = np.empty((n, m, 4)), np.zeros((n, m, 3))
    bias, tilt, heading, heading_var = (
        np.empty((n, m, 3)),
        np.empty((n, m)),
        np.empty((n, m)),
        np.empty((n, m)),
    )
    margin, rest, off = np.empty((n, m)), np.empty((n, m), bool), np.empty((n, m), bool)
    for k in range(n):
        twin.margin = np.minimum(twin.margin, steps.margin[k])
        broken = np.flatnonzero(steps.broken_s[k])
        if len(broken):
            twin.bear_break(broken, steps.broken_s[k, broken])
        snaps = np.flatnonzero(steps.snap[k])
        if len(snaps):
            twin.snap(snaps, steps.accel[k, snaps])
        rows = np.flatnonzero(steps.taken[k])
        if len(rows):
            dv[k, rows] = twin.step(rows, Increments(*(field[k, rows] for field in steps)))
        q6[k], bias[k], margin[k], rest[k], off[k] = (
            twin.q,
            twin.bias,
            twin.margin,
            twin.still,
            twin.field_off,
        )
        tilt[k] = np.sqrt((twin.P[:, 0, 0] + twin.P[:, 1, 1]) / 2)
        heading[k] = twin.heading
        heading_var[k] = np.where(twin.heading_known, twin.heading_var, np.pi**2)
    about_z = np.stack([np.cos(heading / 2), 0 * heading, 0 * heading, np.sin(heading / 2)], -1)
    sigma = np.minimum(np.sqrt(heading_var), np.pi)
    return Track(q6, product(about_z, q6), bias, tilt, sigma, rest, off, heading, dv, margin)


def windows(t_ns: NDArray[np.int64], dv_e6: Floats, heading: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return ends and dv_e of the windows of one stream that are complete; stamps rise."""
    ends = -(-t_ns // WINDOW_NS) * WINDOW_NS
    last = np.flatnonzero(np.diff(ends, append=ends[-1] + 1))  # the samples that end a window
    sums = np.diff(np.cumsum(dv_e6, axis=0)[last], axis=0, prepend=0)
    c, s = np.cos(heading[last]), np.sin(heading[last])
    out = np.stack([c * sums[:, 0] - s * sums[:, 1], s * sums[:, 0] + c * sums[:, 1], sums[:, 2]], -1)
    told = len(last) if t_ns[-1] == ends[-1] else len(last) - 1
    return ends[last][:told], out[:told]
