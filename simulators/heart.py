"""The heart: what rate an effort asks for, how the rate lags behind it, and when each beat comes.

Demand follows oxygen uptake by the ACSM equations (Guidelines for Exercise Testing and Prescription):
walking 0.1 v + 1.8 v G + 3.5, running 0.2 v + 0.9 v G + 3.5 with v in m/min, cycling 10.8 W / M + 7, in
ml/kg/min; the share of the oxygen reserve is the share of the heart-rate reserve (Swain and Leutholtz 1997,
doi:10.1097/00005768-199703000-00018). The rate follows with a time constant of RISE_S upwards and FALL_S
downwards, the first order of heart-rate kinetics (Stirling et al. 2008, doi:10.2991/jnmp.2008.15.s3.41;
recovery after moderate work around 55 s: Wang, Su and Celler, EMBC 2006).

Beats come from an integral pulse frequency modulator: a beat whenever the integral of the modulated rate
passes a whole number. The modulation is respiratory sinus arrhythmia and 1/f noise, equal power per octave
(bands as in McSharry et al. 2003, doi:10.1109/TBME.2003.808805); both shrink as the vagus lets go with
effort.
"""

from dataclasses import dataclass

import numpy as np

from simulators.jets import Array

RISE_S = 30.0
FALL_S = 55.0
BREATHS_HZ = 0.25
TICK_HZ = 1024.0  # straps tell intervals in 1/1024 s (Bluetooth Heart Rate Service)

_OCTAVES_HZ = 0.004 * 2.0 ** np.arange(7)
_OCTAVE_SHARE = 0.012
_BREATH_SHARE = 0.045
_STANDING = 0.06  # of the reserve, on one's feet without moving
_GRID_HZ = 50.0


@dataclass(frozen=True, slots=True)
class Body:
    """The athlete as the laws of effort see them."""

    mass_kg: float = 72.0
    height_m: float = 1.76
    birth_year: int = 1990
    sex: str = "unknown"
    resting_bpm: float = 56.0
    max_bpm: float = 188.0
    uptake_max: float = 52.0  # ml/kg/min
    bike_kg: float = 9.0


def demand_bpm(
    body: Body, speed_mps: Array, grade: Array, gait: tuple[Array, Array, Array], power_w: Array
) -> Array:
    """Return the rate at which the heart would settle, 1/min, shape (n,).

    Parameters
    ----------
    body : Body
    speed_mps, grade, power_w : (n,)
        Speed over ground, rise over run, power at the crank.
    gait : three arrays (n,)
        How much of it is walking, running and riding, each 0 to 1.
    """
    walk, run, ride = gait
    v, G = speed_mps * 60.0, np.clip(grade, -0.04, 0.3)
    uptake = (
        walk * (0.1 * v + 1.8 * v * G)
        + run * (0.2 * v + 0.9 * v * G)
        + ride * (10.8 * power_w / body.mass_kg + 3.5)
    )
    share = np.clip(_STANDING + uptake / (body.uptake_max - 3.5), 0.0, 0.98)
    reserve_bpm = body.max_bpm - body.resting_bpm
    return np.asarray(body.resting_bpm + reserve_bpm * share)


class Heart:
    """The rate over time for a demand that repeats.

    Parameters
    ----------
    body : Body
    demand : (n,) float64
        Rate asked for, 1/min, once a second over one period; the first period starts from rest.
    """

    def __init__(self, body: Body, demand: Array) -> None:
        self.body = body
        self.period_s = float(len(demand))
        rate, rates = body.resting_bpm + 12.0, []
        rise, fall = -np.expm1(-1.0 / RISE_S), -np.expm1(-1.0 / FALL_S)
        for goal in [*demand.tolist(), *demand.tolist(), float(demand[0])]:
            rates.append(rate)
            rate += (goal - rate) * (rise if goal > rate else fall)
        self._rates = np.array(rates)
        self._seconds = np.arange(float(len(rates)))

    def rate_bpm(self, t_s: Array) -> Array:
        """Return the rate at ``t_s``, 1/min, shape (n,), without its beat-to-beat variation."""
        late = t_s >= 2 * self.period_s
        t_s = np.where(late, self.period_s + np.mod(t_s, self.period_s), t_s)
        rates: Array = np.interp(t_s, self._seconds, self._rates)
        return rates


class Beats:
    """The beats of a heart, one after the other.

    Parameters
    ----------
    heart : Heart
    rng : numpy Generator
        Draws the phases of the variation.
    """

    def __init__(self, heart: Heart, rng: np.random.Generator) -> None:
        self._heart = heart
        self._phases = rng.uniform(0.0, 2 * np.pi, len(_OCTAVES_HZ) + 1)
        self._rates = 2 * np.pi * np.append(_OCTAVES_HZ, BREATHS_HZ)
        self._shares = np.append(np.full(len(_OCTAVES_HZ), _OCTAVE_SHARE), _BREATH_SHARE)
        self._t_s = 0.0
        self._phase = 0.0

    def until(self, t_s: float) -> Array:
        """Return the times of the beats since the last call up to ``t_s``, s, shape (k,).

        ``t_s`` must not be less than it was in the last call.
        """
        points = int(np.ceil((t_s - self._t_s) * _GRID_HZ)) + 1
        if points < 2:
            return np.empty(0)
        grid = np.linspace(self._t_s, t_s, points)
        rate_hz = self._rate_hz(grid)
        step = (grid[1] - grid[0]) * 0.5 * (rate_hz[1:] + rate_hz[:-1])
        phase = self._phase + np.concatenate([[0.0], np.cumsum(step)])
        whole = np.arange(np.floor(phase[0]) + 1, np.floor(phase[-1]) + 1)
        self._t_s, self._phase = t_s, float(phase[-1])
        return np.interp(whole, phase, grid)

    def _rate_hz(self, t_s: Array) -> Array:
        body = self._heart.body
        bpm = self._heart.rate_bpm(t_s)
        effort = np.clip((bpm - body.resting_bpm) / (body.max_bpm - body.resting_bpm), 0.0, 1.0)
        waves = np.sin(np.multiply.outer(self._rates, t_s) + self._phases[:, None])
        variation = (self._shares[:, None] * waves).sum(0) * (0.08 + 0.92 * (1.0 - effort) ** 2)
        rate_hz: Array = bpm / 60.0 * (1.0 + variation)
        return rate_hz
