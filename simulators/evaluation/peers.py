"""The orientation filters of others, from PyPI (the extra ``peers``), each in its own units and frame.

Every one is told as much as its interface lets it be told: Fusion and Madgwick the true step before each
sample, VQF the mean rate only. Where steps differ a caller of VQF can scale the rates by step over usual
step, so that each turns by the right angle; this best workaround stands beside it.
"""

import importlib
import importlib.metadata
import importlib.util
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulators.evaluation.attitude import product
from simulators.evaluation.trials import Trial

Floats = NDArray[np.float64]

PACKAGES: Final = ("vqf", "imufusion", "ahrs")
G: Final = 9.80665

# From earths with x north to ENU, x east: a quarter turn about up.
_NWU_TO_ENU: Final = np.array([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])
_INVERSE: Final = np.array([1.0, -1.0, -1.0, -1.0])
# The settings of Fusion's own advanced example. It is not told where a gyroscope clips: it then begins anew,
# which is worse.
_FUSION: Final = {
    "gain": 0.5,
    "gyroscope_range": 2000.0,
    "acceleration_rejection": 10.0,
    "magnetic_rejection": 10.0,
    "rejection_timeout": 5.0,
}


class Answer(NamedTuple):
    """A filter's quaternions, (n, 4) w first, sensor to ENU: with the magnetometer, and without it."""

    q9: Floats
    q6: Floats


def versions() -> dict[str, str]:
    """Return the packages that are installed, with their versions."""
    return {
        name: importlib.metadata.version(name)
        for name in PACKAGES
        if importlib.util.find_spec(name) is not None
    }


def missing() -> str:
    """Return one line on what is not installed, or nothing."""
    lacks = [name for name in PACKAGES if name not in versions()]
    return f"without peers that are not installed: pip install {' '.join(lacks)}" if lacks else ""


def vqf(trial: Trial) -> Answer:
    """VQF, its C++ over the whole recording; defaults."""
    return _vqf(trial.rate_hz, trial.gyro_b, trial)


def vqf_scaled(trial: Trial) -> Answer:
    """VQF with rates scaled by step over usual step."""
    step_s = float(np.median(trial.dt_s))
    return _vqf(1 / step_s, trial.gyro_b * (trial.dt_s / step_s)[:, None], trial)


def fusion(trial: Trial) -> Answer:
    """x-io Fusion, revised AHRS algorithm, with its estimator of the bias; deg/s, g and any field."""
    imufusion: Any = importlib.import_module("imufusion")
    gyro_dps, accel_g = np.degrees(trial.gyro_b), trial.accel_b / G
    found = []
    for with_mag in (True, False):
        ahrs, bias = imufusion.Ahrs(), imufusion.Bias()
        ahrs.set_settings(
            imufusion.AhrsSettings(sample_rate=trial.rate_hz, convention=imufusion.CONVENTION_NWU, **_FUSION)
        )
        bias.set_settings(imufusion.BiasSettings(sample_rate=trial.rate_hz))
        q = np.empty((len(gyro_dps), 4))
        for i, (dt_s, gyro, accel) in enumerate(zip(trial.dt_s.tolist(), gyro_dps, accel_g, strict=True)):
            ahrs.set_sample_period(dt_s)
            if with_mag:
                ahrs.update(bias.update(gyro), accel, trial.mag_b[i])
            else:
                ahrs.update_no_magnetometer(bias.update(gyro), accel)
            q[i] = ahrs.get_quaternion()
        found.append(product(_NWU_TO_ENU, q))
    return Answer(*found)


def madgwick(trial: Trial) -> Answer:
    """Madgwick's filter of 2010 in Python (ahrs), defaults, begun at the first sample's orientation."""
    filters: Any = importlib.import_module("ahrs.filters")
    found = []
    for with_mag in (True, False):
        first = first_orientation(trial.accel_b[0], trial.mag_b[0] if with_mag else None)
        # The field's horizontal part is x of its earth.
        q = np.empty((len(trial.gyro_b), 4))
        q[0] = product(_NWU_TO_ENU * _INVERSE, first)
        made = filters.Madgwick(gain=0.041 if with_mag else 0.033)
        for i in range(1, len(q)):
            sample = (q[i - 1], trial.gyro_b[i], trial.accel_b[i])
            if with_mag:
                q[i] = made.updateMARG(*sample, trial.mag_b[i], dt=trial.dt_s[i])
            else:
                q[i] = made.updateIMU(*sample, dt=trial.dt_s[i])
        found.append(product(_NWU_TO_ENU, q))
    return Answer(*found)


# By the package that each needs.
PEERS: Final = {
    "VQF": ("vqf", vqf),
    "VQF, scaled": ("vqf", vqf_scaled),
    "Fusion": ("imufusion", fusion),
    "Madgwick": ("ahrs", madgwick),
}


def first_orientation(accel: Floats, mag: Floats | None) -> Floats:
    """Return the quaternion, sensor to ENU, that puts specific force up, and the field across it north.

    Without a field the sensor's most level axis points east.
    """
    up = accel / np.linalg.norm(accel)
    axes = np.eye(3)
    east = np.cross(mag, up) if mag is not None else axes[np.argmin(np.abs(up))] - up * np.min(np.abs(up))
    east = east / np.linalg.norm(east)
    rows = np.array([east, np.cross(up, east), up])
    return _quaternion(rows)


def _quaternion(R: Floats) -> Floats:
    """Return the quaternion of a rotation matrix (Shepperd 1978: by its largest component)."""
    skew = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    squares = np.array([np.trace(R), R[0, 0], R[1, 1], R[2, 2]])
    k = int(np.argmax(squares))
    q = np.empty(4)
    if k == 0:
        q[0] = 1 + np.trace(R)
        q[1:] = skew
    else:
        i, j, m = k - 1, k % 3, (k + 1) % 3
        q[0] = skew[i]
        q[k] = 1 + R[i, i] - R[j, j] - R[m, m]
        q[1 + j] = R[j, i] + R[i, j]
        q[1 + m] = R[m, i] + R[i, m]
    out: Floats = q / np.linalg.norm(q)
    return out


def _vqf(rate_hz: float, gyro: Floats, trial: Trial) -> Answer:
    VQF: Any = importlib.import_module("vqf").VQF
    gyro, accel, mag = (np.ascontiguousarray(each) for each in (gyro, trial.accel_b, trial.mag_b))
    found = VQF(1 / rate_hz).updateBatch(gyro, accel, mag)
    return Answer(found["quat9D"], found["quat6D"])
