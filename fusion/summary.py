"""The workout as a whole: what the smoothed track and heights give, and the summary at its end."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion import timer
from fusion.history import Smoothed
from fusion.measurements import Reason, Source
from fusion.metrics import ascent, climb, distance, energy, floors, steps
from fusion.metrics import moving as moving_metric
from fusion.models import altitude, position
from fusion.table import Table

Floats = NDArray[np.float64]

HEART_MEAN_SHARE = 0.5  # of the mean of the sigmas: errors of neighbouring readings go together
TURN_MAX_RAD = 1.6  # between two fixes; more is a turning round, of which only the chord is known


@dataclass(frozen=True)
class WorkoutSummary:
    """A workout's numbers by the field names of the wire's Summary.

    Attributes
    ----------
    values : dict of str to float or None
        None where there is no honest value; ``reasons`` then says why (lower-case names of Reason).
    sigma : dict of str to float
        One sigma of the values that are measured.
    reasons, sources : dict of str to str
    """

    values: dict[str, float | None]
    sigma: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)


def absorb_track(one: Any, piece: Smoothed) -> None:
    """Add a smoothed piece of the track to a row's totals."""
    moves = piece.way[:, 3] == 0.0
    lengths = arcs(piece.t_ns, piece.x, piece.way[1:, 2])
    one["dist_smooth_m"] += float(np.sum(np.where(moves[1:], lengths, 0.0)))
    speeds = np.where(moves, np.minimum(np.hypot(piece.x[:, 2], piece.x[:, 3]), piece.way[:, 2]), 0.0)
    one["speed_max_mps"] = max(float(one["speed_max_mps"]), float(np.max(speeds)))


def arcs(t_ns: NDArray[np.int64], x: Floats, ceiling_mps: Floats) -> Floats:
    """Return the length of track between neighbouring states, m, (m - 1,).

    The arc of a circle that turns by the angle between both velocities, over the chord between both
    positions: so a bend between fixes that are seconds apart is not cut, and nothing is added on the
    straight. It is not faster than ``ceiling_mps``, (m - 1,).
    """
    dt = np.maximum(np.diff(t_ns) * 1e-9, 1e-3)
    chord = np.hypot(np.diff(x[:, 0]), np.diff(x[:, 1]))
    east, north = x[:, 2], x[:, 3]
    speed = np.hypot(east, north)
    slower, faster = np.minimum(speed[:-1], speed[1:]), np.maximum(speed[:-1], speed[1:])
    turn = np.arctan2(
        np.abs(east[:-1] * north[1:] - north[:-1] * east[1:]), east[:-1] * east[1:] + north[:-1] * north[1:]
    )
    half = np.where(slower >= position.STILL_MPS, np.minimum(0.5 * turn, TURN_MAX_RAD / 2.0), 0.0)
    length = chord * np.where(half > 1e-6, half / np.sin(np.maximum(half, 1e-6)), 1.0)
    # Noise of a fix moves a standing athlete the less the longer the step takes.
    standing = np.maximum(faster, chord / dt) < position.STILL_MPS / np.sqrt(np.maximum(dt, 1.0))
    return np.where(standing, 0.0, np.minimum(length, ceiling_mps * dt))


def absorb_heights(one: Any, piece: Smoothed) -> None:
    """Add a smoothed piece of relative height to a row's totals."""
    if piece.starts == altitude.BREAK_SCALE:
        ascent.leap(one, "smooth")
    now = climb.Climb(*(np.array([one[f"smooth_{name}"]]) for name in climb.Climb._fields))
    known = altitude.source(one) == Source.BARO
    sigma = np.sqrt(np.maximum(piece.P[:, 0, 0], 0.0))
    for i in range(len(piece.t_ns)):
        now = climb.advance(now, piece.x[i : i + 1, 0], sigma[i : i + 1], known)
    for name, column in zip(climb.Climb._fields, now, strict=True):
        one[f"smooth_{name}"] = column[0]
    height = piece.x[:, 0] - piece.x[:, 3]
    one["altitude_min_m"] = min(float(one["altitude_min_m"]), float(np.min(height)))
    one["altitude_max_m"] = max(float(one["altitude_max_m"]), float(np.max(height)))


def summarise(one: Table, t_ns: int) -> WorkoutSummary:
    """Return the summary of a workout that ends at t_ns, all of it smoothed and taken in.

    Parameters
    ----------
    one : (1,) structured
        The athlete's row.
    """
    page = _Page()
    s = one[0]
    t = np.array([t_ns], dtype=np.int64)
    page.put("elapsed_s", float(timer.elapsed_s(one, t)[0]), 0.01, Source.CLOCK)
    told = s["moving_source"] != Source.NONE
    moving = float(s["moving_s"]) if told else float(timer.running_s(one, t)[0])
    sigma = float(moving_metric.sigma_of(one, one["moving_s"] if told else timer.running_s(one, t))[0])
    page.put("moving_s", moving, sigma, s["moving_source"] if told else Source.CLOCK)
    _way(page, one, moving)
    _heights(page, one, t)
    if floors.known(one)[0]:
        page.put("floors", float(s["floors"]), float(floors.sigma_of(one)[0]), Source.BARO)
    else:
        page.lack(Reason.NO_SOURCE, "floors")
    _heart(page, s)
    _effort(page, one)
    return WorkoutSummary(page.values, page.sigma, page.reasons, page.sources)


class _Page:
    """The numbers of a summary as they are filled in."""

    def __init__(self) -> None:
        self.values: dict[str, float | None] = {}
        self.sigma: dict[str, float] = {}
        self.reasons: dict[str, str] = {}
        self.sources: dict[str, str] = {}

    def put(self, name: str, value: float, sigma: float, source: int) -> None:
        self.values[name] = value
        self.sigma[name] = sigma
        self.sources[name] = Source(int(source)).name.lower()

    def lack(self, reason: Reason, *names: str) -> None:
        for name in names:
            self.values[name] = None
            self.reasons[name] = reason.name.lower()


def _way(page: _Page, one: Table, moving_s: float) -> None:
    """Distance, from the smoothed track and what was filled in, and speed."""
    s = one[0]
    if s["dist_t_ns"] == 0:
        page.lack(Reason.NO_SOURCE, "distance_m", "speed_mean_mps", "speed_max_mps")
        return
    smooth = distance.rested(one, one["dist_smooth_m"])
    track = float(distance.corrected(one, smooth)[0])
    fill = float(s["dist_fill_m"])
    sigma = float(distance.sigma_of(one, smooth)[0])
    source = Source.GNSS if track >= fill else s["dist_fill_source"]
    page.put("distance_m", track + fill, sigma, source)
    if moving_s >= 1.0:
        mean = (track + fill) / moving_s
        page.put("speed_mean_mps", mean, sigma / moving_s + 0.01 * mean, source)
    else:
        page.lack(Reason.NOT_ENOUGH_DATA, "speed_mean_mps")
    page.put("speed_max_mps", float(s["speed_max_mps"]), 0.1 + 0.05 * float(s["speed_max_mps"]), source)


def _heights(page: _Page, one: Table, t_ns: timer.Times) -> None:
    """Ascent, descent and the range of altitude."""
    s = one[0]
    names = ("ascent_m", "descent_m", "altitude_min_m", "altitude_max_m")
    if s["climb_t_ns"] == 0 or not np.isfinite(s["altitude_min_m"]):
        page.lack(Reason.NO_SOURCE, *names)
        return
    source = int(altitude.source(one)[0])
    for name, column, up in (("ascent_m", "smooth_up_m", 1.0), ("descent_m", "smooth_down_m", -1.0)):
        sigma = ascent.sigma_of(one, "smooth", one[column], up, t_ns)
        page.put(name, float(s[column]), float(sigma[0]), source)
    P = s["alt_P"]
    variance = max(float(P[0, 0] + P[3, 3] - 2.0 * P[0, 3]), 0.0)
    slow = float(s["alt_slow_m"]) if source == Source.GNSS else 0.0
    for name in names[2:]:
        page.put(name, float(s[name]), float(np.sqrt(variance + slow * slow)), source)


def _heart(page: _Page, s: Any) -> None:
    """Mean, by time, and maximum of heart rate."""
    if s["hr_time_s"] <= 0.0:
        reason = Reason.NO_SOURCE if s["hr_t_ns"] == 0 else Reason.NOT_ENOUGH_DATA
        page.lack(reason, "heart_rate_mean_bpm", "heart_rate_max_bpm")
        return
    mean_s = float(s["hr_time_s"])
    sigma = HEART_MEAN_SHARE * float(s["hr_sigma_area"]) / mean_s
    page.put("heart_rate_mean_bpm", float(s["hr_area"]) / mean_s, sigma, s["hr_source"])
    page.put("heart_rate_max_bpm", float(s["hr_max_bpm"]), float(s["hr_max_sigma_bpm"]), s["hr_source"])


def _effort(page: _Page, one: Table) -> None:
    """Steps, cadence, power and energy."""
    s = one[0]
    counted, told = float(s["body_steps"]), float(s["cadence_steps"])
    stepping_s = float(s["body_stepping_s"] + s["cadence_stepping_s"])
    source = Source.IMU if counted >= told and s["body_t_ns"] > 0 else Source.CADENCE
    if s["body_t_ns"] == 0 and s["cadence_spm_ns"] == 0:
        page.lack(Reason.NO_SOURCE, "steps", "cadence_mean_spm")
    else:
        total = float(round(counted + told))
        page.put("steps", total, float(steps.sigma_of(one)[0]), source)
        if stepping_s >= 10.0:
            page.put("cadence_mean_spm", 60.0 * (counted + told) / stepping_s, 2.0, source)
        else:
            page.lack(Reason.NOT_ENOUGH_DATA, "cadence_mean_spm")
    if s["power_time_s"] > 0.0:
        mean = float(s["power_area"] / s["power_time_s"])
        page.put("power_mean_w", mean, 0.02 * mean + 1.0, Source.POWER)
    else:
        page.lack(Reason.NO_SOURCE, "power_mean_w")
    if s["energy_source"] == Source.NONE:
        page.lack(Reason.NO_SOURCE, "energy_kcal")
    else:
        joules = float(s["energy_j"])
        error = float(s["energy_sigma_j"]) / energy.KCAL_J + 1.0
        page.put("energy_kcal", joules / energy.KCAL_J, error, s["energy_source"])
