"""What is within reach of a silent strap: laws that know the gap are as near as they should be."""

import numpy as np
import pytest

from simulators.evaluation.heart_reach import by_athlete, reach
from simulators.evaluation.heart_runs import Floats, Run


def run(truth: Floats) -> Run:
    none = np.full(len(truth), np.nan)
    return Run("one", truth, truth, np.full((len(truth), 3), np.nan), none, none)


def test_an_exponential_is_within_reach_of_the_law_alone() -> None:
    t_s = np.arange(100.0)
    truth = 120.0 + 30.0 * np.exp(-np.maximum(t_s - 49.0, 0.0) / 15.0)
    found = reach([run(truth)], [[50]], 30)
    assert found.law == pytest.approx(0.0, abs=1e-9)
    assert found.last_truth > found.level > 3.0


def test_who_stays_is_within_reach_of_all() -> None:
    assert reach([run(np.full(100, 80.0))], [[20, 60]], 30) == (0.0, 0.0, 0.0)


def test_errors_are_told_by_athlete() -> None:
    ours, held = (
        [np.full(30, 1.0), np.full(60, 2.5), np.empty(0)],
        [np.full(30, 4.0), np.full(60, 7.0), np.empty(0)],
    )
    assert by_athlete(["a/sit", "a/run", "b/sit"], ours, held, 30) == (("a", 3, 2.0, 6.0),)
