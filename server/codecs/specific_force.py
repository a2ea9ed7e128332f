"""User acceleration plus gravity, as phones report them, into specific force; and the sign of the platform.

The sum. Operating systems split what the accelerometer reads into gravity and user acceleration, stamped
alike or apart. Their sum is the accelerometer again; where stamps differ, gravity is interpolated to the
acceleration's and held to its length.

The sign. Flat on a table, screen up, gravity is z = +9.8 on Android (and on iOS with "Standardise Units &
Frames" on) and z = -9.8 on iOS as it comes. Specific force (+g up at rest) is the sum on the former and minus
the sum on the latter. The sign cannot be seen in the motion itself: f and -f turn alike under the gyroscope
(df/dt = -w x f), and with -f "up" points down, q_eb is turned by pi about a horizontal axis, and the free
acceleration along that "up" is still the true upward one: -(a + g up) . (-up) - g = a . up. So a wrong sign
costs neither steps nor vertical velocity nor any magnitude; it shows posture upside down and mirrors turns
and headings. Evidence therefore comes from what is known of the platform, the strongest first:

5. a hint of the caller (the export's metadata, a device's configuration);
4. ``orientation``: its z axis is up on both platforms, and the z component of up in the body,
   1 - 2 (qx^2 + qy^2), depends neither on the direction of the rotation nor on the sign of q. Its product
   with gravity's z is positive where gravity points up;
3. the units: only iOS without the standardised frames gives ``accelerometeruncalibrated`` or the watch's
   gravity in g. A length near 1 is that, near 9.8 is the other. And Android alone has ``totalacceleration``,
   ``light`` and an ``accuracy`` beside the time;
1. iOS alone has ``altitudeAboveMeanSeaLevel``, a watch and headphones; its standardised frames are off unless
   somebody turned them on;
0. nothing within HOLD_NS of motion: the sum as it is.

Sources: tszheichoi/awesome-sensor-logger COORDINATES.md, CROSSPLATFORM.md and UNITS.md. Checked on both
recordings of sensorlogger_ski (tests/unit/test_codec_sensor_logger.py): on the iPhone the turning about f
explains the GNSS course with a correlation of 0.85, 2 s before the receiver tells it, and so f points up; on
Android the sum is the phone's own total acceleration, and gravity's z is orientation's to 4e-7.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

STANDARD_GRAVITY: Final = 9.80665  # m/s^2
HOLD_NS: Final = 3_000_000_000  # motion waits so long for evidence of its sign
PENDING_MAX: Final = 512  # samples that wait for gravity
GRAVITY_GAP_NS: Final = 200_000_000  # gravity is not interpolated over more
BACK_NS: Final = 5_000_000_000  # a stream that stands so far behind itself began anew
CLEAR: Final = 0.3  # cosine from which orientation tells the sign

HINT: Final = 5
ORIENTATION: Final = 4
UNITS: Final = 3
FIELDS: Final = 1

Stamps = NDArray[np.int64]  # (n,)
Vectors = NDArray[np.float64]  # (n, 3)


class Series(NamedTuple):
    """Samples of one sensor, in the order of time."""

    t_ns: Stamps
    values: Vectors  # (n, 3)

    @classmethod
    def none(cls) -> "Series":
        """Return the series without samples."""
        return cls(np.empty(0, np.int64), np.empty((0, 3)))

    def then(self, other: "Series") -> "Series":
        """Return both in the order of time; of samples with one stamp the first."""
        if not len(self.t_ns):
            joined = other
        elif not len(other.t_ns):
            return self
        else:
            joined = Series(
                np.concatenate((self.t_ns, other.t_ns)), np.concatenate((self.values, other.values))
            )
        if (np.diff(joined.t_ns) > 0).all():
            return joined
        t_ns, first = np.unique(joined.t_ns, return_index=True)
        return Series(t_ns, joined.values[first])

    def since(self, t_ns: int) -> "Series":
        """Return the samples after ``t_ns``."""
        keep = self.t_ns > t_ns
        return self if keep.all() else Series(self.t_ns[keep], self.values[keep])

    def newest(self, count: int) -> "Series":
        """Return the last ``count`` samples."""
        return Series(self.t_ns[-count:].copy(), self.values[-count:].copy())


class Sign:
    """What is known of the sign of gravity: +1 where it points up, -1 where it points down."""

    def __init__(self) -> None:
        self.value = 1
        self.strength = 0

    def tell(self, value: int, strength: int) -> None:
        """Take in evidence; stronger evidence overrules, equal evidence does not."""
        if strength > self.strength:
            self.value, self.strength = value, strength

    def tell_unit(self, lengths: NDArray[np.float64]) -> None:
        """Take in the lengths of vectors that hold gravity, in g or m/s^2, shape (n,)."""
        if len(lengths):
            self.tell(-1 if np.median(lengths) < 3.0 else 1, UNITS)

    def tell_orientation(self, t_ns: Stamps, quaternion_xy: NDArray[np.float64], gravity: Series) -> None:
        """Take in orientation: its stamps (n,), its qx and qy (n, 2), and gravity at about the same time."""
        if self.strength >= ORIENTATION or not len(t_ns) or not len(gravity.t_ns):
            return
        at = np.minimum(np.searchsorted(gravity.t_ns, t_ns), len(gravity.t_ns) - 1)
        near = np.abs(gravity.t_ns[at] - t_ns) < GRAVITY_GAP_NS
        up_z = 1.0 - 2.0 * (quaternion_xy**2).sum(axis=1)
        lengths = np.maximum(np.linalg.norm(gravity.values[at], axis=1), 1e-9)
        product = up_z * gravity.values[at, 2] / lengths
        clear = near & (np.abs(product) > CLEAR**2)
        if clear.any():
            self.tell(1 if np.median(product[clear]) > 0 else -1, ORIENTATION)


class Recombiner:
    """Joins user acceleration with gravity; holds what waits for its gravity, at most PENDING_MAX samples."""

    def __init__(self) -> None:
        self._acceleration = Series.none()
        self._gravity = Series.none()

    @property
    def gravity(self) -> Series:
        """The gravity samples that are held, in the sign in which they came."""
        return self._gravity

    def join(self, acceleration: Series, gravity: Series) -> tuple[Series, int]:
        """Return the sums that can be formed now, in the platform's own sign, and how many were given up.

        Parameters
        ----------
        acceleration, gravity : Series
            What came new, m/s^2.
        """
        held = self._gravity
        if len(gravity.t_ns) and len(held.t_ns) and gravity.t_ns[-1] < held.t_ns[-1] - BACK_NS:
            self._keep(Series.none(), Series.none())  # a stamp was wild, or the clock went back
        alike = np.array_equal(acceleration.t_ns, gravity.t_ns)
        if alike and not len(self._acceleration.t_ns):
            self._keep(Series.none(), gravity.newest(1) if len(gravity.t_ns) else self._gravity)
            return Series(acceleration.t_ns, acceleration.values + gravity.values), 0
        a = self._acceleration.then(acceleration)
        g = self._gravity.then(gravity)
        if not len(g.t_ns) or not len(a.t_ns):
            waiting = a.newest(PENDING_MAX)
            self._keep(waiting, g.newest(PENDING_MAX))
            return Series.none(), len(a.t_ns) - len(waiting.t_ns)
        after = np.searchsorted(g.t_ns, a.t_ns)
        high = np.minimum(after, len(g.t_ns) - 1)
        exact = g.t_ns[high] == a.t_ns
        low = np.where(exact, high, np.maximum(after - 1, 0))
        span_ns = (g.t_ns[high] - g.t_ns[low]).astype(np.float64)
        spanned = exact | ((after > 0) & (after < len(g.t_ns)) & (span_ns <= GRAVITY_GAP_NS))
        share = np.where(exact, 0.0, (a.t_ns - g.t_ns[low]) / np.maximum(span_ns, 1.0))[:, None]
        between = g.values[low] + share * (g.values[high] - g.values[low])
        length = np.linalg.norm(g.values[low], axis=1, keepdims=True)
        between *= length / np.maximum(np.linalg.norm(between, axis=1, keepdims=True), 1e-9)
        waits = a.t_ns > g.t_ns[-1]
        waiting = Series(a.t_ns[waits], a.values[waits]).newest(PENDING_MAX)
        needed = int(np.searchsorted(g.t_ns, waiting.t_ns[0] if len(waiting.t_ns) else g.t_ns[-1])) - 1
        kept = Series(g.t_ns[max(needed, 0) :], g.values[max(needed, 0) :])
        self._keep(waiting, kept.newest(PENDING_MAX))
        lost = len(a.t_ns) - int(spanned.sum()) - len(waiting.t_ns)
        return Series(a.t_ns[spanned], (a.values + between)[spanned]), lost

    def _keep(self, acceleration: Series, gravity: Series) -> None:
        self._acceleration, self._gravity = acceleration, gravity
