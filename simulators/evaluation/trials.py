"""BROAD's trials, and what streams do to them.

BROAD (Laidig, Caruso, Cereatti and Seel 2021, doi 10.3390/data6070072): an IMU and an optical reference at
285.7 Hz, 39 trials of one sensor, some with magnets, taps and vibration. A trial is a file ``.npz`` with
``gyr`` rad/s, ``acc`` m/s², ``mag`` µT, ``quat`` (w first, sensor to ENU, NaN where the markers were not
seen), ``movement`` and ``rate`` Hz, beside a ``trials.json``.
"""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from server.errors import FileError

Floats = NDArray[np.float64]

FEW: Final = 3  # source samples in a block: 95 Hz
PACKET: Final = 10
LOST: Final = 0.01  # share of the packets
STEPS: Final = ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.2), (5, 0.1))  # source samples of a jittering step, share


class Trial(NamedTuple):
    """A recording with its reference.

    Attributes
    ----------
    name : str
        As BROAD calls it.
    rate_hz : float
        Nominal.
    dt_s : (n,)
        The true step before each sample.
    gyro_b, accel_b, mag_b : (n, 3)
        rad/s, m/s², µT.
    q_eb : (n, 4)
        The reference, w first; NaN where there is none.
    moving : (n,) bool
        Where errors count.
    gyro_range : float or None
        End of the gyroscope's range, rad/s, where it matters.
    uneven : bool
        Steps differ though no sample is missing: a filter may be told each sample's own interval.
    """

    name: str
    rate_hz: float
    dt_s: Floats
    gyro_b: Floats
    accel_b: Floats
    mag_b: Floats
    q_eb: Floats
    moving: NDArray[np.bool_]
    gyro_range: float | None = None
    uneven: bool = False

    @property
    def t_s(self) -> Floats:
        """Return the stamps, s, from the beginning of the first sample."""
        return np.cumsum(self.dt_s)


def trials_under(folder: Path) -> list[Path]:
    """Return the trials at any depth, sorted by name: ``.npz`` beside a ``trials.json``."""
    return sorted(path for told in folder.rglob("trials.json") for path in told.parent.glob("*.npz"))


def load(path: Path) -> Trial:
    """Return a trial as it was recorded.

    Raises
    ------
    FileError
        The file is no trial.
    """
    try:
        with np.load(path) as stored:
            gyro, accel, mag, q = (stored[name].astype(np.float64) for name in ("gyr", "acc", "mag", "quat"))
            moving, rate_hz = stored["movement"].astype(bool), float(stored["rate"])
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise FileError(path, f"no BROAD trial: {' '.join(str(error).split())}") from None
    return Trial(path.stem, rate_hz, np.full(len(gyro), 1 / rate_hz), gyro, accel, mag, q, moving)


def full(trial: Trial) -> Trial:
    """Return the trial as it was recorded."""
    return trial


def uniform(trial: Trial) -> Trial:
    """Return means of three samples."""
    return _blocks(trial, np.full(len(trial.gyro_b) // FEW, FEW))


def jitter(trial: Trial) -> Trial:
    """Return means of one to five samples; the steps are known."""
    sizes, shares = zip(*STEPS, strict=True)
    drawn = _random(trial).choice(sizes, len(trial.gyro_b) // FEW, p=shares)
    return _blocks(trial, drawn)._replace(uneven=True)


def drop(trial: Trial) -> Trial:
    """Return means of three samples, of which one packet of ten in a hundred is lost, but not the first."""
    blocks = uniform(trial)
    packet = np.arange(len(blocks.gyro_b)) // PACKET
    kept = ~(_random(trial).random(packet[-1] + 1) < LOST)[packet]
    kept[:PACKET] = True
    arrays = {name: getattr(blocks, name)[kept] for name in ("gyro_b", "accel_b", "mag_b", "q_eb", "moving")}
    dt_s = np.diff(blocks.t_s[kept], prepend=0.0)
    return blocks._replace(dt_s=dt_s, **arrays)


def clip500(trial: Trial) -> Trial:
    """Return the trial by a gyroscope whose range ends at 500 deg/s."""
    end = float(np.radians(500.0))
    return trial._replace(gyro_b=np.clip(trial.gyro_b, -end, end), gyro_range=end)


CASES: Final[dict[str, tuple[Callable[[Trial], Trial], str]]] = {
    "full": (full, "full rate, 285.7 Hz"),
    "uniform": (uniform, "95 Hz block means"),
    "jitter": (jitter, "steps of 1 to 5 samples"),
    "drop": (drop, "1 % of packets lost"),
    "clip500": (clip500, "clips at 500 deg/s"),
}


def _random(trial: Trial) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(trial.name.encode()))


def _blocks(trial: Trial, sizes: NDArray[Any]) -> Trial:
    """Return means over blocks of so many samples; the stamp and the reference are those of the last."""
    ends = np.cumsum(sizes)
    ends = ends[ends <= len(trial.gyro_b)]
    starts = np.concatenate([[0], ends[:-1]])

    def means(values: Floats) -> Floats:
        sums = np.vstack([np.zeros(3), np.cumsum(values, axis=0)])
        out: Floats = (sums[ends] - sums[starts]) / (ends - starts)[:, None]
        return out

    return trial._replace(
        rate_hz=trial.rate_hz / FEW,
        dt_s=(ends - starts) / trial.rate_hz,
        gyro_b=means(trial.gyro_b),
        accel_b=means(trial.accel_b),
        mag_b=means(trial.mag_b),
        q_eb=trial.q_eb[ends - 1],
        moving=trial.moving[ends - 1],
    )
