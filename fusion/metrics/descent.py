"""Descent of the workout, m, counted beside ascent."""

from fusion.measurements import Estimate
from fusion.metrics import ascent
from fusion.metrics.metric import View


def value(view: View) -> Estimate:
    """Return descent."""
    return ascent.of(view, view.state["climb_down_m"])
