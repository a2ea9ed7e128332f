"""Errors of orientation, as BROAD defines them (Laidig et al. 2021, doi 10.3390/data6070072).

The error is a rotation of the earth: what turns the reference's earth onto the filter's. Split into a turn
about the vertical and a turn about a horizontal axis, it is heading and inclination.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Errors(msgspec.Struct, frozen=True):
    """Root mean squares over the moving part of a trial, deg.

    ``aligned_deg`` is the total once one constant heading, that of the mean error, is taken off: heading
    without a magnetometer counts from an arbitrary zero.
    """

    total_deg: float
    heading_deg: float
    inclination_deg: float
    aligned_deg: float


def product(a: Floats, b: Floats) -> Floats:
    """Return the quaternion product of a and b, (..., 4), w first."""
    a, b = np.broadcast_arrays(a, b)
    w = a[..., 0] * b[..., 0] - (a[..., 1:] * b[..., 1:]).sum(-1)
    v = a[..., :1] * b[..., 1:] + b[..., :1] * a[..., 1:] + np.cross(a[..., 1:], b[..., 1:])
    out: Floats = np.concatenate([w[..., None], v], -1)
    return out


def angles(q: Floats, reference: Floats) -> tuple[Floats, Floats, Floats]:
    """Return total error (from 0), heading error (signed) and inclination error (from 0) by sample, rad."""
    q = np.asarray(q, np.float64)
    q = q / np.linalg.norm(q, axis=1, keepdims=True)
    reference = reference / np.linalg.norm(reference, axis=1, keepdims=True)
    off = product(q, reference * np.array([1.0, -1.0, -1.0, -1.0]))
    w, z = off[:, 0], off[:, 3]
    heading = 2 * np.arctan2(z, w)
    return (
        2 * np.arccos(np.clip(np.abs(w), 0, 1)),
        _wrapped(heading),
        2 * np.arccos(np.clip(np.hypot(w, z), 0, 1)),
    )


def errors(q: Floats, reference: Floats, moving: NDArray[np.bool_]) -> Errors:
    """Return the errors of a filter over a trial.

    Parameters
    ----------
    q, reference : (n, 4)
        Sensor to ENU, w first; where the reference is NaN nothing counts.
    moving : (n,) bool
        What counts.
    """
    counts = moving & np.isfinite(reference).all(axis=1)
    total, heading, inclination = angles(q[counts], reference[counts])
    mean = float(np.angle(np.mean(np.exp(1j * heading))))
    rest = _wrapped(heading - mean)
    aligned = 2 * np.arccos(np.clip(np.cos(inclination / 2) * np.abs(np.cos(rest / 2)), 0, 1))
    return Errors(*(_rms_deg(each) for each in (total, heading, inclination, aligned)))


def _wrapped(angle: Floats) -> Floats:
    """Return the angle from -pi to pi."""
    out: Floats = np.angle(np.exp(1j * angle))
    return out


def _rms_deg(angle: Floats) -> float:
    return float(np.degrees(np.sqrt(np.mean(angle**2))))
