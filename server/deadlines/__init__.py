"""Deadlines: what a stage may take, how long a stream may be silent, and the history of what was missed.

Words as in ROS 2: a stream's *deadline* is its longest silence, *lifespan* the oldest sample still worth
using, *liveliness* the lease of a link. A *budget* is what a stage may take, on the monotonic clock. Nothing
here reads a clock.
"""

from server.deadlines.budgets import Deadlines
from server.deadlines.report import STAGES, DeadlineReport, Stage
from server.deadlines.streams import Streams

__all__ = ["STAGES", "DeadlineReport", "Deadlines", "Stage", "Streams"]
