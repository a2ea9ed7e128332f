"""Descent of the workout, m, counted beside ascent."""

from fusion.metrics import ascent
from fusion.metrics.metric import Raw, View


def value(view: View) -> Raw:
    """Return descent."""
    return ascent.of(view, view.state["climb_down_m"], -1.0)
