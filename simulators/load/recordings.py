"""What the devices of a load play, for ever: a minute each of some athletes on foot, made beforehand.

Motion is that of the simulators (gait, then a sensor's bias, noise, range and 16 bits). The second that would
follow the minute is faded into its first one, so that the loop closes without a jump of acceleration or
rotation; the way is nearly straight, so that heading closes within some degrees, too.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.codecs import imu, samples
from simulators.heart import Body
from simulators.load.records import READING
from simulators.programme import Phase
from simulators.sensors import Imu, Samples, Sheet, Strap
from simulators.truth import Truth

RATE_HZ: Final = 100
SECONDS: Final = 60
ATHLETES: Final = 32
FROM_S: Final = 300.0  # by then the heart has settled
FADE_S: Final = 1
LAP_M: Final = 10_000.0
PROGRAMME_S: Final = 3_600.0
PLACEMENT: Final = "chest"


class Recordings(NamedTuple):
    """A minute of each athlete.

    Attributes
    ----------
    motion : (athletes, SECONDS * RATE_HZ, 9) int16
        Counts of accelerometer, gyroscope and magnetometer, by ``Sheet().scales``.
    pulse : (athletes, SECONDS) READING
        What the strap tells in each second.
    """

    motion: NDArray[np.int16]
    pulse: NDArray[Any]


def make(athletes: int = ATHLETES, *, seed: int = 1) -> Recordings:
    """Return the recordings; each depends on the seed and its number alone."""
    motion = np.empty((athletes, SECONDS * RATE_HZ, 9), np.int16)
    pulse = np.zeros((athletes, SECONDS), READING)
    for k in range(athletes):
        rng = np.random.default_rng([seed, k])
        truth = Truth([_phase(k, rng)], Body(), rng, lap_m=LAP_M, grade_max=0.02)
        motion[k] = _motion(truth, rng)
        pulse[k] = _pulse(truth, rng)
    return Recordings(motion, pulse)


def header(packet_samples: int) -> bytes:
    """Return the header of a packet; clock, boot and seq are for others to fill in."""
    none = np.zeros((packet_samples, 3))
    whole = imu.encode(
        accel_b=none,
        gyro_b=none,
        mag_b=none,
        boot=0,
        t0_ns=0,
        seq=0,
        dt_ns=10**9 // RATE_HZ,
        scales=Sheet().scales,
    )
    return whole[: imu.HEADER.size]


def _phase(k: int, rng: np.random.Generator) -> Phase:
    """One in three walks, the others run."""
    if k % 3 == 0:
        return Phase("walk", PROGRAMME_S, rng.uniform(1.2, 1.7), rng.uniform(104, 124))
    return Phase("run", PROGRAMME_S, rng.uniform(2.6, 3.9), rng.uniform(160, 184))


def _motion(truth: Truth, rng: np.random.Generator) -> NDArray[np.int16]:
    length, fade = SECONDS * RATE_HZ, FADE_S * RATE_HZ
    sensor = Imu(truth, PLACEMENT, rng, rate_hz=RATE_HZ, mag_every=1)
    read = sensor.read(FROM_S + np.arange(length + fade) / RATE_HZ)
    assert read.mag_b is not None
    share = (np.arange(fade) / fade)[:, None]
    looped = []
    for part in (read.accel_b, read.gyro_b, read.mag_b):
        loop = part[:length].copy()
        loop[:fade] = share * part[:fade] + (1.0 - share) * part[length:]
        looped.append(loop)
    return _counts(Samples(looped[0], looped[1], looped[2]))


def _counts(read: Samples) -> NDArray[np.int16]:
    """Return the counts as a packet would hold them."""
    parts = []
    for begin in range(0, len(read.accel_b), imu.SAMPLES_MAX):
        rows = slice(begin, begin + imu.SAMPLES_MAX)
        assert read.mag_b is not None
        packet = imu.encode(
            accel_b=read.accel_b[rows],
            gyro_b=read.gyro_b[rows],
            mag_b=read.mag_b[rows],
            boot=0,
            t0_ns=0,
            seq=0,
            dt_ns=1,
            scales=Sheet().scales,
        )
        parts.append(np.frombuffer(packet, "<i2", offset=imu.HEADER.size).reshape(-1, 9))
    return np.concatenate(parts)


def _pulse(truth: Truth, rng: np.random.Generator) -> NDArray[Any]:
    strap = Strap(truth, rng)
    strap.read(FROM_S - 5.0)  # all beats until then, which nobody hears
    for second in range(-4, 0):
        strap.read(FROM_S + second)
    readings = np.zeros(SECONDS, READING)
    for second in range(SECONDS):
        at_s = FROM_S + second
        reading, beat_s = strap.read(at_s)
        text = samples.encode(reading)[1:-1]
        readings[second] = (round((at_s - beat_s) * 1e9), len(text), text)
        assert readings[second]["length"] == len(readings[second]["text"]), "it fits the struct"
    return readings
