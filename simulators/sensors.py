"""What sensors make of the truth: bias, noise, range and steps of 16 bits.

Inertial figures are of the ST LSM6DSO (data sheet DS12140, table 2: +-16 g with 110 ug/sqrt(Hz), +-2000 dps
with 3.8 mdps/sqrt(Hz), zero-g level +-20 mg, zero-rate level +-1 dps), the noise taken over half the
sampling rate. The barometer is of the order of the Bosch BMP390 (BST-BMP390-DS002: relative accuracy +-3
Pa, absolute +-50 Pa), its drift that of weather and temperature. A receiver's position error is coloured:
first order Gauss-Markov of about 40 s beside white noise; its Doppler speed is white (Kaplan and Hegarty,
Understanding GPS, 3rd ed., ch. 8).

Each sensor draws from a generator of its own and is read forward in time.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.messages import Baro, Cadence, Gnss, HeartRate, Power
from simulators import gait
from simulators.heart import TICK_HZ, Beats
from simulators.jets import Array
from simulators.route import geodetic
from simulators.truth import GRAVITY_MPS2, State, Truth

COUNTS_MAX = 32767

# Made up, like the place: 22 uT to the north, 41 uT up, as in southern latitudes; no declination.
FIELD_E_UT = (0.0, 22.0, 41.0)


@dataclass(frozen=True, slots=True)
class Sheet:
    """The figures of an inertial sensor; ranges and noise per axis."""

    model: str = "LSM6DSO"
    accel_range_mps2: float = 16 * GRAVITY_MPS2
    gyro_range_radps: float = float(np.radians(2000.0))
    mag_range_ut: float = 1_000.0
    accel_noise: float = 110e-6 * GRAVITY_MPS2  # m/s^2/sqrt(Hz)
    gyro_noise: float = float(np.radians(3.8e-3))  # rad/s/sqrt(Hz)
    mag_noise_ut: float = 0.3  # a sample
    accel_bias_mps2: float = 10e-3 * GRAVITY_MPS2  # one sigma of the zero-g level
    gyro_bias_radps: float = float(np.radians(0.5))
    gyro_wander_radps: float = float(np.radians(0.02))  # one sigma, over WANDER_S
    mag_bias_ut: float = 0.5  # what calibration leaves

    @property
    def scales(self) -> tuple[float, float, float]:
        """Units per count of accelerometer, gyroscope and magnetometer."""
        return (
            self.accel_range_mps2 / COUNTS_MAX,
            self.gyro_range_radps / COUNTS_MAX,
            self.mag_range_ut / COUNTS_MAX,
        )


WANDER_S = 300.0
_NOMINAL = {  # sensor axes in the frame before the mount, as columns
    "wrist": np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
    "chest": np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    "foot": np.eye(3),
}


class Samples(NamedTuple):
    """n samples in the sensor's frame b."""

    accel_b: Array  # (n, 3) specific force, m/s^2
    gyro_b: Array  # (n, 3) rad/s
    mag_b: Array | None  # (n, 3) uT, NaN where absent


class Imu:
    """An inertial sensor on an athlete.

    Parameters
    ----------
    truth : Truth
    placement : str
        One of ``gait.PLACEMENTS``.
    rng : numpy Generator
        Draws mount, biases and noise.
    rate_hz : float
        Samples per second.
    mag_every : int
        A magnetometer sample with every so many others; 0: there is none.
    """

    def __init__(
        self,
        truth: Truth,
        placement: str,
        rng: np.random.Generator,
        *,
        rate_hz: float = 100.0,
        mag_every: int = 0,
        sheet: Sheet | None = None,
    ) -> None:
        self.truth = truth
        self.placement = placement
        self.rate_hz = rate_hz
        self.mag_every = mag_every
        self.sheet = sheet or Sheet()
        self._rng = rng
        self.mount = _NOMINAL[placement] @ _small_turn(rng.normal(0.0, np.radians(4.0), 3))
        self.accel_bias_b = rng.normal(0.0, self.sheet.accel_bias_mps2, 3)
        self._gyro_bias_b = rng.normal(0.0, self.sheet.gyro_bias_radps, 3)
        self._wander_b = np.zeros(3)
        self._mag_bias_b = rng.normal(0.0, self.sheet.mag_bias_ut, 3)
        self._samples = 0

    @property
    def gyro_bias_b(self) -> Array:
        """The gyroscope's bias as it is now, rad/s, shape (3,)."""
        return self._gyro_bias_b + self._wander_b

    def ideal(self, t_s: Array) -> tuple[Samples, gait.Pose]:
        """Return what a perfect sensor would tell at ``t_s``, shape (n,), and its pose before the mount."""
        at = gait.pose(self.truth.motion(t_s), self.placement, t_s)
        mag_b = None
        if self.mag_every:
            mag_b = self._mounted(gait.into_body(at, np.outer(FIELD_E_UT, np.ones_like(t_s))))
        return Samples(self._mounted(gait.specific_force(at)), self._mounted(gait.rates(at)), mag_b), at

    def read(self, t_s: Array) -> Samples:
        """Return the next samples, taken at ``t_s``, shape (n,), rising by 1 / rate_hz from call to call."""
        ideal, _ = self.ideal(t_s)
        n, sheet = len(t_s), self.sheet
        share = float(np.exp(-n / self.rate_hz / WANDER_S))
        kick = sheet.gyro_wander_radps * np.sqrt(1.0 - share * share)
        self._wander_b = self._wander_b * share + kick * self._rng.normal(size=3)
        noise = self._rng.standard_normal((2, n, 3))
        spread = np.sqrt(self.rate_hz / 2)
        accel = ideal.accel_b + self.accel_bias_b + sheet.accel_noise * spread * noise[0]
        gyro = ideal.gyro_b + self.gyro_bias_b + sheet.gyro_noise * spread * noise[1]
        np.clip(accel, -sheet.accel_range_mps2, sheet.accel_range_mps2, out=accel)
        np.clip(gyro, -sheet.gyro_range_radps, sheet.gyro_range_radps, out=gyro)
        mag_b = None
        if ideal.mag_b is not None:
            mag_b = ideal.mag_b + self._mag_bias_b + sheet.mag_noise_ut * self._rng.standard_normal((n, 3))
            mag_b[np.arange(self._samples, self._samples + n) % self.mag_every != 0] = np.nan
        self._samples += n
        return Samples(accel, gyro, mag_b)

    def q_eb(self, t_s: Array) -> Array:
        """Return the true attitude, quaternions w first, body to earth, shape (n, 4)."""
        _, at = self.ideal(t_s)
        q = _axis_turn(at.yaw.x, 3)
        for angle, axis in ((at.pitch.x, 2), (at.roll.x, 1)):
            q = _product(q, _axis_turn(angle, axis))
        return _product(q, _quaternion(self.mount)[None, :])

    def _mounted(self, vectors: Array) -> Array:
        return (self.mount.T @ vectors).T


class Strap:
    """A chest strap: beats as it hears them, in 1/1024 s."""

    def __init__(self, truth: Truth, rng: np.random.Generator) -> None:
        self._beats = Beats(truth.heart, rng)
        self._last_tick: int | None = None
        self._recent: list[float] = []

    def read(self, t_s: float) -> tuple[HeartRate, float]:
        """Return the reading for the time since the last one, and when its last beat ended, s.

        Without a beat there are no intervals, and the time is ``t_s``.
        """
        ticks = np.rint(self._beats.until(t_s) * TICK_HZ).astype(np.int64).tolist()
        intervals_ms = []
        for tick in ticks:
            if self._last_tick is not None:
                intervals_ms.append((tick - self._last_tick) * 1e3 / TICK_HZ)
            self._last_tick = tick
        self._recent = (self._recent + intervals_ms)[-5:]
        bpm = float(round(60e3 * len(self._recent) / sum(self._recent))) if self._recent else None
        reading = HeartRate(bpm=bpm, rr_ms=intervals_ms, contact=True)
        return reading, ticks[-1] / TICK_HZ if ticks else t_s


class Optical:
    """A heart-rate sensor on the wrist: smoothed, late, whole beats per minute, no intervals."""

    def __init__(self, truth: Truth, rng: np.random.Generator) -> None:
        self._heart = truth.heart
        self._rng = rng
        self._error = _Drift(1, 2.0, 20.0, rng)

    def read(self, t_s: float) -> HeartRate:
        """Return the reading at ``t_s``."""
        bpm = float(self._heart.rate_bpm(np.array([max(t_s - 4.0, 0.0)]))[0]) + float(self._error.at(t_s)[0])
        return HeartRate(bpm=float(round(np.clip(bpm, 30.0, 220.0))), optical=True)


class Receiver:
    """A satellite receiver."""

    H_SIGMA_M = 1.8  # coloured, per horizontal axis
    V_SIGMA_M = 3.0
    WHITE_M = 0.4
    TAU_S = 40.0
    SPEED_SIGMA_MPS = 0.12  # per horizontal axis

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._error = _Drift(3, 1.0, self.TAU_S, rng)

    def read(self, state: State) -> Gnss:
        """Return the fix at a state of one instant."""
        coloured = self._error.at(float(state.t_s[0]))
        noise = self._rng.standard_normal(6).tolist()
        east = state.east_m + self.H_SIGMA_M * coloured[0] + self.WHITE_M * noise[0]
        north = state.north_m + self.H_SIGMA_M * coloured[1] + self.WHITE_M * noise[1]
        lat, lon = geodetic(east, north)
        speed, course = float(state.speed_mps[0]), float(state.course_rad[0])
        v_east = speed * np.cos(course) + self.SPEED_SIGMA_MPS * noise[3]
        v_north = speed * np.sin(course) + self.SPEED_SIGMA_MPS * noise[4]
        claimed = 1.0 + 0.1 * float(np.clip(noise[5], -2.0, 2.0))
        return Gnss(
            lat=round(float(lat[0]), 8),
            lon=round(float(lon[0]), 8),
            alt_m=round(
                float(state.altitude_m[0])
                + self.V_SIGMA_M * float(coloured[2])
                + 2 * self.WHITE_M * noise[2],
                2,
            ),
            speed_mps=round(float(np.hypot(v_east, v_north)), 3),
            course_deg=round(float(np.degrees(np.arctan2(v_east, v_north))) % 360.0, 2),
            h_acc_m=round(float(np.hypot(self.H_SIGMA_M, self.WHITE_M)) * claimed, 2),
            v_acc_m=round(float(np.hypot(self.V_SIGMA_M, 2 * self.WHITE_M)) * claimed, 2),
            speed_acc_mps=round(self.SPEED_SIGMA_MPS * claimed, 3),
        )


class Barometer:
    """An absolute pressure sensor in drifting weather."""

    NOISE_PA = 1.2
    DRIFT_PA = 25.0
    DRIFT_S = 3_600.0
    SEA_LEVEL_SIGMA_PA = 600.0

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._sea_pa = 101_325.0 + float(rng.normal(0.0, self.SEA_LEVEL_SIGMA_PA))
        self._drift = _Drift(1, self.DRIFT_PA, self.DRIFT_S, rng)

    def read(self, state: State) -> Baro:
        """Return the pressure at a state of one instant."""
        return Baro(pressure_pa=round(self.pressure_pa(float(state.altitude_m[0]), float(state.t_s[0])), 2))

    def pressure_pa(self, altitude_m: float, t_s: float) -> float:
        """Return the pressure that is told at a height, Pa, by the ICAO standard atmosphere."""
        share = (1.0 - 2.25577e-5 * altitude_m) ** 5.25588
        drift_pa = float(self._drift.at(t_s)[0])
        noise_pa = self.NOISE_PA * float(self._rng.standard_normal())
        return float(self._sea_pa * share + drift_pa + noise_pa)


def read_power(state: State, rng: np.random.Generator) -> Power:
    """Return a crank power meter's reading: 1 % and 2 W of noise, whole watts."""
    watts = float(state.power_w[0])
    if watts > 0:
        watts += float(rng.normal(0.0, 2.0 + 0.01 * watts))
    return Power(watts=float(max(round(watts), 0)))


def read_crank(state: State) -> Cadence:
    """Return a crank sensor's reading, whole revolutions per minute."""
    return Cadence(rpm=float(round(float(state.crank_rpm[0]))))


class _Drift:
    """Gauss-Markov processes of the first order, independent, at rising instants."""

    def __init__(self, count: int, sigma: float, tau_s: float, rng: np.random.Generator) -> None:
        self._sigma, self._tau_s, self._rng = sigma, tau_s, rng
        self._value = sigma * rng.standard_normal(count)
        self._t_s = 0.0

    def at(self, t_s: float) -> Array:
        share = float(np.exp(-(t_s - self._t_s) / self._tau_s))
        kick = self._sigma * np.sqrt(max(1.0 - share * share, 0.0))
        self._value = self._value * share + kick * self._rng.standard_normal(len(self._value))
        self._t_s = t_s
        return self._value


def _small_turn(angles_rad: Array) -> Array:
    """Rotation matrix of a small rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(angles_rad))
    x, y, z = angles_rad / angle
    K = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turn: Array = np.eye(3) + np.sin(angle) * K + (1.0 - np.cos(angle)) * (K @ K)
    return turn


def _axis_turn(angle_rad: Array, axis: int) -> Array:
    q = np.zeros((len(angle_rad), 4))
    q[:, 0], q[:, axis] = np.cos(angle_rad / 2), np.sin(angle_rad / 2)
    return q


def _product(p: Array, q: Array) -> Array:
    a, b, c, d = p.T
    w, x, y, z = q.T
    return np.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        axis=1,
    )


def _quaternion(R: NDArray[np.float64]) -> Array:
    """The quaternion of a rotation matrix, by its largest component (Shepperd 1978, doi:10.2514/3.55767b)."""
    trace = float(np.trace(R))
    squares = np.array([trace, *np.diag(R)])
    k = int(np.argmax(squares))
    if k == 0:
        q = np.array([1 + trace, R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    else:
        i, j, m = k - 1, k % 3, (k + 1) % 3
        q = np.empty(4)
        q[0] = R[m, j] - R[j, m]
        q[1 + i] = 1 + R[i, i] - R[j, j] - R[m, m]
        q[1 + j], q[1 + m] = R[j, i] + R[i, j], R[m, i] + R[i, m]
    unit: Array = q / np.linalg.norm(q)
    return unit
