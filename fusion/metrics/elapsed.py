"""Elapsed time of the workout, s: from its start, pauses included."""

from fusion import timer
from fusion.measurements import Source
from fusion.metrics.metric import OK, Raw, View, of_workout

SIGMA_S = 0.01  # of the time base
CLOCK = int(Source.CLOCK)


def value(view: View) -> Raw:
    """Return elapsed time."""
    s = view.state
    reason = of_workout(view, OK)
    return Raw(timer.elapsed_s(s, view.due_ns), SIGMA_S, view.due_ns, CLOCK, reason)
