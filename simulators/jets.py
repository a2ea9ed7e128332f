"""Functions of time with their first two derivatives, so that truth needs no numerical differences.

A jet holds f, df/dt and d2f/dt2 at the same n instants. Sums, products and compositions of jets follow the
rules of calculus exactly: acceleration is the true second derivative of position, the gyroscope's rate the
true derivative of attitude.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(slots=True)
class Jet:
    """A function at n instants: ``x`` its value, ``dx`` and ``ddx`` its time derivatives, each shape (n,)."""

    x: Array
    dx: Array
    ddx: Array

    def __add__(self, other: "Jet | float") -> "Jet":
        if isinstance(other, Jet):
            return Jet(self.x + other.x, self.dx + other.dx, self.ddx + other.ddx)
        return Jet(self.x + other, self.dx, self.ddx)

    __radd__ = __add__

    def __neg__(self) -> "Jet":
        return Jet(-self.x, -self.dx, -self.ddx)

    def __sub__(self, other: "Jet | float") -> "Jet":
        return self + (-other)

    def __mul__(self, other: "Jet | float") -> "Jet":
        if isinstance(other, Jet):
            return Jet(
                self.x * other.x,
                self.dx * other.x + self.x * other.dx,
                self.ddx * other.x + 2.0 * self.dx * other.dx + self.x * other.ddx,
            )
        return Jet(self.x * other, self.dx * other, self.ddx * other)

    __rmul__ = __mul__


def compose(value: Array, first: Array, second: Array, of: Jet) -> Jet:
    """Return f(g(t)), where the arrays are f, f' and f'' at g and ``of`` is g."""
    return Jet(value, first * of.dx, second * of.dx**2 + first * of.ddx)


def sine(of: Jet) -> Jet:
    """Return sin(g(t)); g in rad."""
    value = np.sin(of.x)
    return compose(value, np.cos(of.x), -value, of)


def circle(of: Jet) -> tuple[Jet, Jet]:
    """Return cos(g(t)) and sin(g(t)); g in rad."""
    c, s = np.cos(of.x), np.sin(of.x)
    return compose(c, -s, -c, of), compose(s, c, -s, of)


def smooth_step(of: Jet) -> Jet:
    """Return the quintic that rises from 0 at g <= 0 to 1 at g >= 1 with two continuous derivatives."""
    u = np.clip(of.x, 0.0, 1.0)
    v = u * (1.0 - u)
    return compose(u**3 * (10.0 - 15.0 * u + 6.0 * u * u), 30.0 * v * v, 60.0 * v * (1.0 - 2.0 * u), of)


def bump(of: Jet) -> Jet:
    """Return 64 (g (1 - g))^3: 1 at g = 1/2 and 0, with two derivatives, outside 0 to 1."""
    u = np.clip(of.x, 0.0, 1.0)
    v, slope = u * (1.0 - u), 1.0 - 2.0 * u
    return compose(64.0 * v**3, 192.0 * v * v * slope, 384.0 * v * (slope * slope - v), of)
