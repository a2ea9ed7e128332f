"""What truly happened, for those who compare: a line a second, and totals."""

import json
from typing import Any, TextIO

import numpy as np

from simulators.scenarios import Athlete
from simulators.truth import State

MOVING_MPS = 0.3


def truth_line(athlete: Athlete, state: State, start_ns: int) -> dict[str, Any]:
    """Return the truth at the first instant of ``state`` as a plain object; ``t_ms`` is UTC."""
    return {
        "t_ms": start_ns // 1_000_000 + round(float(state.t_s[0]) * 1e3),
        "athlete": athlete.id,
        "heart_rate_bpm": round(float(state.heart_rate_bpm[0]), 2),
        "cadence_spm": round(float(state.cadence_spm[0]), 2),
        "crank_rpm": round(float(state.crank_rpm[0]), 2),
        "speed_mps": round(float(state.speed_mps[0]), 4),
        "distance_m": round(float(state.distance_m[0]), 3),
        "altitude_m": round(float(state.altitude_m[0]), 3),
        "power_w": round(float(state.power_w[0]), 1),
        "steps": int(state.steps[0]),
        "lat": round(float(state.lat_deg[0]), 8),
        "lon": round(float(state.lon_deg[0]), 8),
    }


class TruthWriter:
    """Writes a JSON line per athlete and second."""

    def __init__(self, sink: TextIO, athletes: list[Athlete], start_ns: int) -> None:
        self._sink, self._athletes, self._start_ns = sink, athletes, start_ns
        self._next_s = 0

    def write_until(self, t_s: float) -> None:
        """Write what is missing up to ``t_s``, seconds since the start."""
        while self._next_s <= t_s:
            for athlete in self._athletes:
                state = athlete.truth.state(np.array([float(self._next_s)]))
                self._sink.write(json.dumps(truth_line(athlete, state, self._start_ns)) + "\n")
            self._next_s += 1
            self._sink.flush()


def totals(athlete: Athlete, seconds: float) -> dict[str, Any]:
    """Return what the athlete did in the first ``seconds``; climbs are summed over a second each."""
    state = athlete.truth.state(np.linspace(0.0, seconds, max(int(seconds), 1) + 1))
    climbs = np.diff(state.altitude_m)
    return {
        "elapsed_s": round(seconds, 3),
        "moving_s": round(float(np.mean(state.speed_mps > MOVING_MPS)) * seconds, 1),
        "distance_m": round(float(state.distance_m[-1]), 2),
        "steps": int(state.steps[-1]),
        "ascent_m": round(float(climbs[climbs > 0].sum()), 2),
        "descent_m": round(float(-climbs[climbs < 0].sum()), 2),
        "heart_rate_mean_bpm": round(float(state.heart_rate_bpm.mean()), 2),
    }
