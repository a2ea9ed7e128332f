"""A hilly closed loop in the middle of an ocean, in closed form over arc length.

Heading is a constant turn plus even harmonics of the lap, so that the second half is the first one turned
by 180 degrees and the loop closes exactly. Altitude is a sum of harmonics. Frame e is ENU with its origin
at ORIGIN and z = altitude above mean sea level; the map to latitude and longitude is linear in the radii of
curvature of WGS 84 there (NIMA TR8350.2), which over some km is exact to less than a ppm.
"""

from typing import NamedTuple

import numpy as np

from simulators.jets import Array, Jet, compose

# The oceanic pole of inaccessibility: nobody lives within 2,600 km.
ORIGIN_LAT_DEG = -48.8767
ORIGIN_LON_DEG = -123.3933

WGS84_A_M = 6_378_137.0
WGS84_E2 = 6.694379990141e-3

_TURNS = np.array([2.0, 4.0, 6.0])
_HILLS = np.array([1.0, 2.0, 3.0, 5.0])
_CELL_M = 1.0


class Place(NamedTuple):
    """Where the athlete's feet are: jets in e, and the heading."""

    east: Jet  # m
    north: Jet  # m
    up: Jet  # m above mean sea level
    heading: Jet  # rad, counter-clockwise from east, not wrapped
    grade: Jet  # rise over run


class Route:
    """A closed loop.

    Parameters
    ----------
    length_m : float
        Of one lap, at least 100 m.
    grade_max : float
        Bound of rise over run, 0 to 0.3.
    rng : numpy Generator
        Draws the shape.
    """

    def __init__(self, length_m: float, grade_max: float, rng: np.random.Generator) -> None:
        if not (length_m >= 100.0 and 0.0 <= grade_max <= 0.3):
            raise ValueError(f"length_m {length_m}: at least 100; grade_max {grade_max}: 0 to 0.3")
        self.length_m = length_m
        self._start_rad = rng.uniform(0.0, 2 * np.pi)
        self._turns_rad = rng.uniform(0.3, 0.6, 3) / _TURNS * 2.0
        self._turns_phase = rng.uniform(0.0, 2 * np.pi, 3)
        shape = rng.uniform(0.5, 1.0, 4) / _HILLS**1.5
        self._hills_m = shape * grade_max * length_m / (2 * np.pi * float(np.sum(shape * _HILLS)))
        self._hills_phase = rng.uniform(0.0, 2 * np.pi, 4)
        self._base_m = 40.0 + float(np.sum(self._hills_m)) + rng.uniform(0.0, 60.0)
        self._nodes = self._integrate()

    def at(self, distance: Jet) -> Place:
        """Return the place after ``distance``, m along the loop."""
        east, north = self._position(distance.x)
        heading = compose(*self._heading(distance.x), distance)
        c, s = np.cos(heading.x), np.sin(heading.x)
        v, dv, turn = distance.dx, distance.ddx, heading.dx
        altitude = self._altitude(distance.x)
        return Place(
            Jet(east, c * v, c * dv - s * turn * v),
            Jet(north, s * v, s * dv + c * turn * v),
            compose(*altitude[:3], distance),
            heading,
            compose(*altitude[1:], distance),
        )

    def grade(self, distance_m: Array) -> Array:
        """Return rise over run after ``distance_m``."""
        return self._altitude(distance_m)[1]

    def _heading(self, s: Array) -> tuple[Array, Array, Array]:
        k = 2 * np.pi / self.length_m
        angle = np.multiply.outer(_TURNS * k, s) + self._turns_phase[:, None]
        rate = _TURNS * k
        sines, cosines = np.sin(angle), np.cos(angle)
        return (
            self._start_rad + k * s + (self._turns_rad[:, None] * sines).sum(0),
            k + ((self._turns_rad * rate)[:, None] * cosines).sum(0),
            -((self._turns_rad * rate**2)[:, None] * sines).sum(0),
        )

    def _altitude(self, s: Array) -> tuple[Array, Array, Array, Array]:
        """Altitude and its first three derivatives by s."""
        rate = _HILLS * (2 * np.pi / self.length_m)
        angle = np.multiply.outer(rate, s) + self._hills_phase[:, None]
        sines, cosines = np.sin(angle), np.cos(angle)
        return (
            self._base_m + (self._hills_m[:, None] * sines).sum(0),
            ((self._hills_m * rate)[:, None] * cosines).sum(0),
            -((self._hills_m * rate**2)[:, None] * sines).sum(0),
            -((self._hills_m * rate**3)[:, None] * cosines).sum(0),
        )

    def _integrate(self) -> Array:
        """East, north and their steps at cell borders, shape (4, cells + 1); Gauss, 3 points a cell."""
        cells = int(np.ceil(self.length_m / _CELL_M))
        self._cell_m = self.length_m / cells
        borders = np.linspace(0.0, self.length_m, cells + 1)
        offsets: Array = (0.5 + 0.15**0.5 * np.array([-1.0, 0.0, 1.0])) * self._cell_m
        inner = (borders[:-1, None] + offsets).ravel()
        heading = self._heading(inner)[0].reshape(cells, 3)
        weights = np.array([5.0, 8.0, 5.0]) / 18.0 * self._cell_m
        steps = np.array([(np.cos(heading) * weights).sum(1), (np.sin(heading) * weights).sum(1)])
        places = np.concatenate([np.zeros((2, 1)), np.cumsum(steps, axis=1)], axis=1)
        ends = self._heading(borders)[0]
        return np.concatenate([places, [np.cos(ends) * self._cell_m, np.sin(ends) * self._cell_m]])

    def _position(self, s: Array) -> tuple[Array, Array]:
        """East and north, m, by cubic Hermite interpolation: better than 1e-6 m in cells of 1 m."""
        cell = np.mod(s, self.length_m) / self._cell_m
        i = np.minimum(cell.astype(np.intp), self._nodes.shape[1] - 2)
        u = cell - i
        a, b = self._nodes[:, i], self._nodes[:, i + 1]
        rise = u * u * (3.0 - 2.0 * u)
        place = a[:2] + (b[:2] - a[:2]) * rise + u * (1.0 - u) * ((1.0 - u) * a[2:] - u * b[2:])
        return place[0], place[1]


def geodetic(east_m: Array, north_m: Array) -> tuple[Array, Array]:
    """Return latitude and longitude, deg, of places in e, m."""
    sine = np.sin(np.radians(ORIGIN_LAT_DEG))
    w = 1.0 - WGS84_E2 * sine**2
    meridian_m = WGS84_A_M * (1.0 - WGS84_E2) / w**1.5
    parallel_m = WGS84_A_M / np.sqrt(w) * np.cos(np.radians(ORIGIN_LAT_DEG))
    return ORIGIN_LAT_DEG + np.degrees(north_m / meridian_m), ORIGIN_LON_DEG + np.degrees(east_m / parallel_m)
