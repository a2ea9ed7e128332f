"""What a heart may be doing: an interacting multiple model (IMM) of steady, ramp and lost.

    x = [rate bpm, slope bpm/s]      slope' = -slope / tau + noise,   rate' = slope + noise
    z = rate + v

Each mode has a tau and noises of its own. *Steady*: a slope dies within seconds. *Ramp*: after a change of
effort the rate goes to its new level with a time constant of half a minute and more (Stirling et al. 2008,
doi 10.2991/jnmp.2008.15.s3.41; Wang, Su and Celler, EMBC 2006), so that its slope decays with that. *Lost*:
what is told is not the heart; it may be anything, and nothing is learnt from it.

The filter is that of Blom and Bar-Shalom 1988 (doi 10.1109/9.1299). Modes follow a Markov chain that forgets
within MEMORY_S towards the shares of SHARES, whatever the step: so a mode mixes with the mean of all alone.
A reading's likelihood is Student's t of seven degrees of freedom, whose tails outliers have; it takes no
exponential, and decays here are rational functions, so that the core and numpy give the same bits.

Arrays: ``modes`` is (5, 3, n): rate, slope and the variances p00, p01, p11 of each mode; ``shares`` (3, n).
"""

from typing import Any, NamedTuple

import numpy as np

from fusion.kalman import Floats

STEADY, RAMP, LOST = range(3)
MODES = (STEADY, RAMP, LOST)
SHARES = (0.69, 0.3, 0.01)  # of time
MEMORY_S = 2.2
TAU_S = (0.3, 28.0, 28.0)  # of the slope
SLOPE_DENSITY = (0.017, 0.05, 0.05)  # bpm^2/s^3
RATE_DENSITY = (0.025, 0.3, 1.0)  # bpm^2/s
SLOPE_SIGMA = 0.5  # bpm/s, before anything is known
LOST_DENSITY = 1.0 / 225.0  # 1/bpm: a lost sensor may tell any rate there is
T7 = 0.385  # Student's t of 7 degrees of freedom, at 0


class Belief(NamedTuple):
    """What is known of all modes together."""

    rate: Floats
    slope: Floats
    p00: Floats
    p01: Floats
    p11: Floats


def decay(u: Floats) -> Floats:
    """Return exp(-u), (n,), for u of 0 and more; to 0.1 % below 0.5, and towards 0 beyond."""
    remains: Floats = 1.0 / (1.0 + u * (1.0 + u * (0.5 + u * (1.0 / 6.0 + u * (1.0 / 24.0)))))
    return remains


def fresh(modes: Floats, bpm: Floats, variance: Floats) -> Floats:
    """Return modes of a rate of which nothing was known before, in the shape of ``modes``."""
    new = np.zeros_like(modes)
    for j in MODES:
        new[0, j], new[1, j] = bpm, 0.0 * bpm
        new[2, j], new[3, j], new[4, j] = variance, 0.0 * bpm, 0.0 * bpm + SLOPE_SIGMA**2
    return new


def prior(shares: Floats) -> Floats:
    """Return the shares of modes of which nothing is known, in the shape of ``shares``."""
    new = np.zeros_like(shares)
    for j in MODES:
        new[j] = 0.0 * shares[j] + SHARES[j]
    return new


def combined(modes: Floats, shares: Floats) -> Belief:
    """Return mean and covariance of all modes, (n,) each."""
    rate = shares[0] * modes[0, 0] + shares[1] * modes[0, 1] + shares[2] * modes[0, 2]
    slope = shares[0] * modes[1, 0] + shares[1] * modes[1, 1] + shares[2] * modes[1, 2]
    sums: list[Any] = [0.0, 0.0, 0.0]
    for j in MODES:
        d, e = modes[0, j] - rate, modes[1, j] - slope
        for k, spread in enumerate((d * d, d * e, e * e)):
            sums[k] = sums[k] + shares[j] * (modes[2 + k, j] + spread)
    return Belief(rate, slope, *sums)


def predict(
    modes: Floats, shares: Floats, mean: Belief, dt_s: Floats, push: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Return modes and shares after steps of dt_s, (n,).

    Parameters
    ----------
    mean : Belief
        What all modes are together before it.
    push : two (n,) float64
        What effort adds to the rate, bpm, and the variance of that.
    """
    keep = decay(dt_s * (1.0 / MEMORY_S))
    new, new_shares = np.zeros_like(modes), np.zeros_like(shares)
    for j in MODES:
        stayed = keep * shares[j]
        new_shares[j] = stayed + (1.0 - keep) * SHARES[j]
        stays = stayed / new_shares[j]
        mixed = _mixed(modes[:, j], mean, stays)
        for k, value in enumerate(_moved(mixed, dt_s, TAU_S[j], SLOPE_DENSITY[j], RATE_DENSITY[j])):
            new[k, j] = value
        new[0, j], new[2, j] = new[0, j] + push[0], new[2, j] + push[1]
    return new, new_shares


def _mixed(mode: Floats, mean: Belief, stays: Floats) -> Belief:
    """Return what a mode begins with: its own in so far as it lasted, else the mean of all."""
    comes = 1.0 - stays
    d, e = mode[0] - mean.rate, mode[1] - mean.slope
    both = stays * comes
    return Belief(
        mean.rate + stays * d,
        mean.slope + stays * e,
        stays * mode[2] + comes * mean.p00 + both * (d * d),
        stays * mode[3] + comes * mean.p01 + both * (d * e),
        stays * mode[4] + comes * mean.p11 + both * (e * e),
    )


def _moved(b: Belief, dt_s: Floats, tau_s: float, slope_density: float, rate_density: float) -> Belief:
    """Return a mode after dt_s: the slope is an Ornstein-Uhlenbeck process (Singer 1970, eq. 12)."""
    u = dt_s * (1.0 / tau_s)
    a = decay(u)
    way = tau_s * (1.0 - a)
    q11 = (0.5 * slope_density * tau_s) * (1.0 - a * a)
    q01 = (0.5 * slope_density) * (way * way)
    q00 = (slope_density * tau_s**3) * np.maximum(u - 2.0 * (1.0 - a) + 0.5 * (1.0 - a * a), 0.0)
    p01 = b.p01 + way * b.p11
    return Belief(
        b.rate + way * b.slope,
        a * b.slope,
        b.p00 + way * (b.p01 + p01) + q00 + rate_density * dt_s,
        a * p01 + q01,
        a * a * b.p11 + q11,
    )


class Innovation(NamedTuple):
    """How a reading differs from what was expected of all modes together."""

    nis: Floats
    S: Floats


def innovation(modes: Floats, shares: Floats, bpm: Floats, R: Floats) -> Innovation:
    """Return the normalised innovation squared of a reading, (n,), and the innovation's variance."""
    b = combined(modes, shares)
    S = b.p00 + R
    y = bpm - b.rate
    return Innovation(y * y / S, S)


def update(modes: Floats, shares: Floats, bpm: Floats, R: Floats, extra: Floats) -> tuple[Floats, Floats]:
    """Return modes and shares after a reading of each row.

    Parameters
    ----------
    R, extra : (n,) float64
        The reading's variance, and what a gate adds to it before it counts.
    """
    new, weights = np.zeros_like(modes), np.zeros_like(shares)
    for j in MODES:
        rate, slope, p00, p01, p11 = (modes[k, j] for k in range(5))
        y, S = bpm - rate, p00 + R
        if j == LOST:  # nothing is learnt
            for k in range(5):
                new[k, j] = modes[k, j]
            weights[j] = shares[j] * LOST_DENSITY
            continue
        tail = 1.0 / (1.0 + y * y / S * (1.0 / 7.0))
        tail = tail * tail
        weights[j] = shares[j] * (T7 * (tail * tail) / np.sqrt(S))
        K0, K1 = p00 / (S + extra), p01 / (S + extra)
        new[0, j], new[1, j] = rate + K0 * y, slope + K1 * y
        new[2, j], new[3, j], new[4, j] = (1.0 - K0) * p00, (1.0 - K0) * p01, p11 - K1 * p01
    whole = weights[0] + weights[1] + weights[2]
    for j in MODES:
        weights[j] = weights[j] / whole
    return new, weights
