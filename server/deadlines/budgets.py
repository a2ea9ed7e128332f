"""Budgets: how long each stage takes, and how often it took too long."""

import numpy as np
from numpy.typing import NDArray

from server import config
from server.deadlines.histogram import Histogram
from server.deadlines.history import History
from server.deadlines.report import STAGES, DeadlineReport, Stage, Times
from server.messages import MissCause, StreamState


class Deadlines:
    """The histograms of all stages, and the history of their misses.

    Parameters
    ----------
    budgets : server.config.Deadlines
        What each stage may take, ms.

    Attributes
    ----------
    history : History
        The newest misses, and what the server is doing.
    stages : dict of Stage to Histogram
    """

    def __init__(self, budgets: config.Deadlines) -> None:
        self.history = History()
        self.stages: dict[Stage, Histogram] = {
            stage: Histogram(round(getattr(budgets, f"{stage}_ms") * 1e6)) for stage in STAGES
        }
        self._reported_ms: int | None = None

    def observe(self, stage: Stage, ns: int) -> bool:
        """Record what a stage took, ns; return True if it was in time."""
        histogram = self.stages[stage]
        in_time = histogram.observe(ns)
        if not in_time:
            self.history.add(stage, 1, ns, histogram.budget_ns)
        return in_time

    def observe_many(self, stage: Stage, times_ns: NDArray[np.int64]) -> int:
        """Record what a stage took, ns, shape (n,), in one call; return how many were misses."""
        histogram = self.stages[stage]
        misses = histogram.observe_many(times_ns)
        if misses:
            self.history.add(stage, misses, int(times_ns.max()), histogram.budget_ns)
        return misses

    def take(self) -> dict[Stage, Times]:
        """Return what was observed since the last time, and forget it: to be added to those of a parent."""
        found = {stage: histogram.take() for stage, histogram in self.stages.items()}
        return {stage: times for stage, times in found.items() if times is not None}

    def add(self, times: dict[Stage, Times]) -> None:
        """Record what was observed in another process."""
        for stage, each in times.items():
            self.stages[stage].add(each)

    def report(
        self,
        t_ms: int,
        streams: dict[StreamState, int] | None = None,
        missed: dict[MissCause, int] | None = None,
    ) -> DeadlineReport:
        """Return the figures since the last report and since the start; ``t_ms`` is UTC, ms.

        ``streams`` counts streams by their state, ``missed`` updates that nobody made.
        """
        stages = {stage: histogram.report() for stage, histogram in self.stages.items()}
        since_ms = t_ms if self._reported_ms is None else self._reported_ms
        self._reported_ms = t_ms
        misses = sum(stage.interval.misses for stage in stages.values())
        interval_s = (t_ms - since_ms) / 1e3
        newest = self.history.newest()
        return DeadlineReport(t_ms, interval_s, misses, stages, streams or {}, newest, missed or {})
