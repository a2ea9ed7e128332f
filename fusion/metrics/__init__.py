"""One metric per module, and the list of them."""

from fusion.metrics import (
    altitude,
    ascent,
    cadence,
    descent,
    distance,
    elapsed,
    energy,
    floors,
    heart_rate,
    heart_rate_zone,
    moving,
    pace,
    speed,
    steps,
)
from fusion.metrics.metric import Metric

# Name, unit, tolerance in the unit, tolerance as a share of the value (the larger counts), estimate.
METRICS: tuple[Metric, ...] = (
    Metric("heart_rate", "bpm", 3.0, 0.0, heart_rate.value),
    Metric("heart_rate_zone", "", 0.5, 0.0, heart_rate_zone.value),
    Metric("steps", "", 5.0, 0.03, steps.value),
    Metric("cadence", "1/min", 5.0, 0.0, cadence.value),
    Metric("speed", "m/s", 0.3, 0.05, speed.value),
    Metric("pace", "s/km", 10.0, 0.05, pace.value),
    Metric("distance", "m", 10.0, 0.02, distance.value),
    Metric("altitude", "m", 10.0, 0.0, altitude.value),
    Metric("ascent", "m", 5.0, 0.1, ascent.value),
    Metric("descent", "m", 5.0, 0.1, descent.value),
    Metric("floors", "", 1.0, 0.1, floors.value),
    Metric("energy", "kcal", 5.0, 0.2, energy.value),
    Metric("elapsed", "s", 1.0, 0.0, elapsed.value),
    Metric("moving", "s", 5.0, 0.02, moving.value),
)

__all__ = ["METRICS", "Metric"]
