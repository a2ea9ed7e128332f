"""The readable twin of csrc/orientation.c, tilt.c and windows.c: tilt, bias, gravity and vertical increments.

Plain numpy with whole matrices, from the same model (see the head of tilt.c), for streams without absent or
clipped vectors and without a magnetometer. The core must agree with it; it shares no code with the core.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.support.motion import Floats, conjugate, product, turned

G = 9.80665
BLOCK_S, GAP_S, WINDOW_NS = 0.03, 0.25, 250_000_000
GYRO_NOISE, GYRO_RATE_NOISE, ACCEL_NOISE = 1.7e-3, 4e-3, 0.05
BIAS_WALK, BIAS_SIGMA, BIAS_MAX = 2e-5, 0.02, 0.35
VELOCITY_NOISE, VELOCITY_SIGMA, TILT_SIGMA = 0.35, 1.0, 0.5
UP_NOISE, GRAVITY_SIGMA, GRAVITY_WALK, GRAVITY_MAX = 1.0, 0.1, 1e-3, 0.5
OPEN_SHARE, SNAP_GAP_S = 0.3, 1.0
REST_RATE, REST_ACCEL, REST_NORM, REST_AFTER_S, REST_LOW_S = 0.035, 0.5, 0.15, 1.5, 0.5
REST_BIAS_NOISE, REST_DV_SIGMA = 1.5e-3, 0.005
USUAL_SHARE, USUAL_JUMP = 1 / 32, 3.0


class Track(NamedTuple):
    """What the twin says, for each sample and each window that is complete."""

    q6: Floats  # (n, 4)
    bias_b: Floats  # (n, 3)
    tilt_sigma: Floats  # (n,)
    window_end_ns: NDArray[np.int64]  # (k,)
    dv_e: Floats  # (k, 3)


def turn(r: Floats) -> Floats:
    """Return the quaternion of rotation vector r."""
    half = np.linalg.norm(r) / 2
    return np.concatenate([[np.cos(half)], np.sinc(half / np.pi) / 2 * r])


class Twin:
    """The state of one device; ``take`` one sample at a time."""

    def __init__(self) -> None:
        self.q = np.array([1.0, 0.0, 0.0, 0.0])
        self.bias = np.zeros(3)
        self.velocity = np.zeros(3)
        self.P = np.diag([TILT_SIGMA, TILT_SIGMA, VELOCITY_SIGMA, VELOCITY_SIGMA, *[BIAS_SIGMA] * 3]) ** 2
        self.gravity_error = 0.0
        self.Pz = np.diag([VELOCITY_SIGMA, GRAVITY_SIGMA]) ** 2
        self.before: tuple[Floats, Floats] | None = None  # gyro_b, free_e
        self.rate_low, self.accel_low = np.zeros(3), np.zeros(3)
        self.calm_s = self.age_s = self.usual_s = 0.0
        self.known = self.still = False
        self.t_ns: int | None = None
        self.clear()

    def clear(self) -> None:
        """Begin a block."""
        self.block_s = self.block_rate2 = self.block_open = 0.0
        self.block_dv, self.block_turn = np.zeros(3), np.zeros((2, 3))

    def hold(self, i: int, sigma: float) -> None:
        """Hold the sigma of state i, row and column together."""
        if self.P[i, i] > sigma**2:
            k = sigma / np.sqrt(self.P[i, i])
            self.P[i, :] *= k
            self.P[:, i] *= k

    def begin_velocity(self, sigma: float) -> None:
        """Count horizontal velocity from here."""
        self.velocity[:2] = 0
        self.P[2:4, :] = self.P[:, 2:4] = 0
        self.P[2, 2] = self.P[3, 3] = sigma**2

    def gap(self, gap_s: float) -> None:
        """Bear a break of the stream."""
        self.clear()
        self.before, self.calm_s, self.still = None, 0.0, False
        if gap_s > SNAP_GAP_S:
            self.known, self.age_s = False, 0.0
        self.velocity[2] = 0
        self.Pz[0] = self.Pz[:, 0] = 0
        self.Pz[0, 0] = VELOCITY_SIGMA**2
        self.open_tilt(gap_s**2)
        self.begin_velocity(VELOCITY_SIGMA)

    def open_tilt(self, variance: float) -> None:
        """Add variance to both tilts."""
        self.P[0, 0] += variance
        self.P[1, 1] += variance
        self.hold(0, TILT_SIGMA)
        self.hold(1, TILT_SIGMA)

    def snap(self, accel_b: Floats) -> None:
        """Take tilt from specific force."""
        u = turned(self.q, accel_b)
        u = u / np.linalg.norm(u)
        half = np.array([1 + u[2], u[1], -u[0], 0.0])
        self.q = product(half / np.linalg.norm(half), self.q)
        self.q /= np.linalg.norm(self.q)
        self.P[:4, :] = self.P[:, :4] = 0
        self.P[:4, :4] = np.diag([TILT_SIGMA, TILT_SIGMA, VELOCITY_SIGMA, VELOCITY_SIGMA]) ** 2
        self.velocity[:2] = 0
        self.known = True

    def judge(self, gyro_b: Floats, accel_b: Floats, dt_s: float) -> None:
        """Decide whether the device lies still."""
        if self.age_s <= 0:
            self.rate_low, self.accel_low = gyro_b, accel_b
        k = dt_s / (REST_LOW_S + dt_s)
        rate, accel = gyro_b - self.rate_low, accel_b - self.accel_low
        self.rate_low, self.accel_low = self.rate_low + k * rate, self.accel_low + k * accel
        off = self.rate_low - self.bias
        weight = np.linalg.norm(self.accel_low) - G - self.gravity_error
        calm = (
            rate @ rate < REST_RATE**2
            and accel @ accel < REST_ACCEL**2
            and off @ off < REST_RATE**2 + 9 * np.trace(self.P[4:, 4:])
            and abs(weight) < REST_NORM + 3 * np.sqrt(self.Pz[1, 1])
        )
        self.calm_s = min(self.calm_s + dt_s, REST_AFTER_S) if calm else 0.0
        self.still = self.calm_s >= REST_AFTER_S

    def correct(self) -> None:
        """Close a block."""
        T = self.block_s
        if self.still:
            self.begin_velocity(0)
        F = np.eye(7)
        F[0:2, 4:7] = -self.block_turn
        F[2, 1], F[3, 0] = (G + self.gravity_error) * T, -(G + self.gravity_error) * T
        self.P = F @ self.P @ F.T
        self.P[2, 2] += ACCEL_NOISE**2 * T
        self.P[3, 3] += ACCEL_NOISE**2 * T
        for i in (4, 5, 6):
            self.P[i, i] += BIAS_WALK**2 * T
            self.hold(i, BIAS_SIGMA)
        self.open_tilt(GYRO_NOISE**2 * T + GYRO_RATE_NOISE**2 * self.block_rate2 + self.block_open)
        self.velocity[:2] += self.block_dv[:2]
        R = REST_DV_SIGMA**2 if self.still else VELOCITY_NOISE**2 / T
        H, z, noise = [2, 3], [-self.velocity[0], -self.velocity[1]], [R, R]
        if self.still:
            H += [4, 5, 6]
            z += list(self.rate_low - self.bias)
            noise += [REST_BIAS_NOISE**2 / T] * 3
        K = np.linalg.solve(self.P[np.ix_(H, H)] + np.diag(noise), self.P[H, :]).T
        self.correct_vertical(T)
        x = K @ np.array(z)
        self.P = self.P - K @ self.P[H, :]
        self.q = product(turn(np.array([x[0], x[1], 0.0])), self.q)
        self.q /= np.linalg.norm(self.q)
        self.velocity[:2] += x[2:4]
        self.bias = self.bias + x[4:7]
        self.bias *= min(1.0, BIAS_MAX / max(float(np.linalg.norm(self.bias)), 1e-12))
        self.clear()

    def correct_vertical(self, T: float) -> None:
        """Learn what gravity reads beyond nominal."""
        if self.still:
            self.velocity[2] = 0
            self.Pz[0, :] = self.Pz[:, 0] = 0
        self.velocity[2] += self.block_dv[2]
        F = np.array([[1.0, -T], [0.0, 1.0]])
        self.Pz = F @ self.Pz @ F.T + np.diag([ACCEL_NOISE**2 * T, GRAVITY_WALK**2 * T])
        if self.Pz[1, 1] > GRAVITY_SIGMA**2:
            k = GRAVITY_SIGMA / np.sqrt(self.Pz[1, 1])
            self.Pz[1, :] *= k
            self.Pz[:, 1] *= k
        S = self.Pz[0, 0] + (REST_DV_SIGMA**2 if self.still else UP_NOISE**2 / T)
        K = self.Pz[:, 0] / S
        x = -K * self.velocity[2]
        self.Pz = self.Pz - np.outer(K, K) * S
        self.velocity[2] += x[0]
        self.gravity_error = float(np.clip(self.gravity_error + x[1], -GRAVITY_MAX, GRAVITY_MAX))

    def free(self, q: Floats, accel_b: Floats) -> Floats:
        """Return free acceleration in e."""
        out: Floats = turned(q, accel_b) - np.array([0.0, 0.0, G + self.gravity_error])
        return out

    def take(self, t_ns: int, gyro_b: Floats, accel_b: Floats, means: bool) -> Floats:
        """Take a sample; return the increment of velocity in e over the step that ends with it."""
        dt_s, usual_s = 0.0, self.usual_s
        if self.t_ns is not None:
            dt_s = (t_ns - self.t_ns) / 1e9
            if dt_s > GAP_S:
                self.gap(dt_s)
                dt_s = 0.0
            elif usual_s <= 0:
                self.usual_s = dt_s
            else:
                self.usual_s += USUAL_SHARE * (min(dt_s, USUAL_JUMP * usual_s) - usual_s)
        self.t_ns = t_ns
        if not self.known:
            self.snap(accel_b)
            dt_s = 0.0
        self.judge(gyro_b, accel_b, dt_s)
        rate = gyro_b - self.bias
        last = self.before[0] - self.bias if self.before else rate
        trapezoid = (last + rate) / 2 * dt_s + np.cross(last, rate) * dt_s**2 / 12
        r = rate * dt_s if means or not self.before else trapezoid
        middle = product(self.q, turn(r / 2))
        speed = float(np.linalg.norm(rate))
        self.q = product(self.q, turn(r))
        now = self.free(self.q, accel_b)
        dv = np.zeros(3)
        if dt_s > 0:
            mean = (
                self.free(middle, accel_b) if means else (now + (self.before[1] if self.before else now)) / 2
            )
            dv = mean * dt_s
            self.block_dv += dv
            self.block_s += dt_s
            self.block_rate2 += speed**2 * dt_s
            self.block_turn += dt_s * np.stack([turned(conjugate(self.q), e) for e in np.eye(3)[:2]])
            if usual_s > 0 and dt_s > 1.8 * usual_s:
                self.block_open += (OPEN_SHARE * speed * (dt_s - usual_s)) ** 2
            self.age_s += dt_s
            if self.block_s >= BLOCK_S:
                self.correct()
        self.before = (gyro_b, now)
        return dv


def track(t_ns: NDArray[np.int64], gyro_b: Floats, accel_b: Floats, *, means: bool = False) -> Track:
    """Run a whole recording through the twin; (n,) stamps that rise, (n, 3) rad/s and m/s^2 in b."""
    twin = Twin()
    out = []
    sums: dict[int, Floats] = {}
    for t, gyro, accel in zip(t_ns.tolist(), gyro_b, accel_b, strict=True):
        dv = twin.take(t, gyro, accel, means)
        end = -(-t // WINDOW_NS) * WINDOW_NS
        sums[end] = sums.get(end, np.zeros(3)) + dv
        out.append((twin.q, twin.bias, np.sqrt((twin.P[0, 0] + twin.P[1, 1]) / 2)))
    if list(sums)[-1] != t_ns[-1]:
        sums.popitem()
    q, bias, sigma = (np.array([sample[k] for sample in out]) for k in range(3))
    return Track(q, bias, sigma, np.array(list(sums), np.int64), np.array(list(sums.values())))
