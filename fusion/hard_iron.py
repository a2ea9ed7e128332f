"""Hard iron: the field that a device adds to every reading of its own magnetometer.

Off by default. One session is learnt from as a whole, and what was learnt serves the next one
(``track(..., mag_offset_b=...)``): an estimate that is used while it is made follows passing disturbances,
and made clean recordings worse (docs/orientation.md, *Hard iron*). The caller keeps it with the device.

A Kalman filter of six states, the field in the earth of q6 and the offset in b:

    z = R m_b = m_e + R o_b + disturbance,    m_e walks as the heading of q6 drifts

so the offset shows where the device takes other poses, and needs neither the field's length nor a sphere.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

BLOCK_S: Final = 0.035  # between readings that are used
DISTURBANCE: Final = 3.0  # uT, of indoor fields along the way, correlated over DISTURBED_S
DISTURBED_S: Final = 1.0
WALK: Final = 0.15  # uT per sqrt(s): of m_e
OFFSET: Final = 30.0  # uT, one sigma, before anything is known
FIELD: Final = 25.0  # uT, likewise, around the first reading
REJECTED_MAX: Final = 0.1  # share of readings that may be far off
SIGMA_MAX: Final = 1.0  # uT: poses differed enough

Floats = NDArray[np.float64]


class HardIron(NamedTuple):
    """What a session told of a device's offset.

    Attributes
    ----------
    offset_b : (3,) float64
        uT, to be taken off every reading.
    sigma : float
        Largest standard deviation of a component, uT.
    rejected : float
        Share of the readings that were too far off to be used, 0 to 1.
    """

    offset_b: Floats
    sigma: float
    rejected: float

    @property
    def usable(self) -> bool:
        """Whether poses differed enough, the field was mostly that of the place, and there is an offset.

        One that is less than the disturbances of a place is not told from them.
        """
        found = float(np.linalg.norm(self.offset_b)) >= DISTURBANCE
        return found and self.sigma <= SIGMA_MAX and self.rejected <= REJECTED_MAX


def learn(t_s: ArrayLike, q6: ArrayLike, mag_b: ArrayLike) -> HardIron:
    """Learn a device's offset from a session.

    Parameters
    ----------
    t_s : (n,)
        Stamps, s, in order.
    q6 : (n, 4)
        Orientations without the magnetometer, as `fusion.orientation.track` gives them.
    mag_b : (n, 3)
        Field, uT, as it was read; rows that are not finite are absent.

    Raises
    ------
    ValueError
        A shape does not fit.
    """
    stamps, q, field = (np.asarray(part, np.float64) for part in (t_s, q6, mag_b))
    if stamps.ndim != 1 or q.shape != (len(stamps), 4) or field.shape != (len(stamps), 3):
        raise ValueError(f"shapes {stamps.shape}, {q.shape}, {field.shape}: want (n,), (n, 4), (n, 3)")
    used = _spaced(stamps, np.asarray(np.isfinite(field).all(axis=1)))
    if len(used) < 2:
        return HardIron(np.zeros(3), OFFSET, 0.0)
    R_eb = _matrices(q[used])
    z = np.einsum("nij,nj->ni", R_eb, field[used])
    x = np.concatenate([z[0], np.zeros(3)])
    P = np.diag([FIELD**2] * 3 + [OFFSET**2] * 3)
    rejected = 0
    for k, dt_s in enumerate(np.diff(stamps[used]).tolist(), start=1):
        P[:3, :3] += np.eye(3) * WALK**2 * dt_s
        H = np.hstack([np.eye(3), R_eb[k]])
        known = H @ P @ H.T
        innovation = z[k] - H @ x
        if innovation @ innovation > 9 * (DISTURBANCE**2 + np.trace(known)):
            rejected += 1
            continue
        noise = 2 * DISTURBANCE**2 * DISTURBED_S / min(dt_s, DISTURBED_S)
        K = np.linalg.solve(known + np.eye(3) * noise, H @ P).T
        x = x + K @ innovation
        P = P - K @ H @ P
    sigma = float(np.sqrt(P.diagonal()[3:].max()))
    return HardIron(x[3:], sigma, rejected / (len(used) - 1))


def _spaced(stamps: Floats, present: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the first reading of each block of time that has one."""
    places = np.flatnonzero(present & np.isfinite(stamps))
    blocks = np.floor(stamps[places] / BLOCK_S)
    first: NDArray[np.intp] = places[np.diff(blocks, prepend=-np.inf) > 0]
    return first


def _matrices(q: Floats) -> Floats:
    """Return the rotation matrices (n, 3, 3) of quaternions (n, 4)."""
    w, x, y, z = q.T
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        1,
    )
