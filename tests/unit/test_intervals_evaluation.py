"""The evaluation of intervals counts what it says it counts, and tells what is missed."""

import json

import numpy as np
import pytest

from simulators.evaluation import intervals, intervals_runs
from simulators.evaluation.command import as_figures
from simulators.evaluation.intervals_peer import Textbook
from simulators.evaluation.intervals_runs import Fit, Outcome, Tally


def tally(rng: np.random.Generator, share: float, n: int = 4_000) -> Tally:
    one = Tally()
    for error in rng.normal(size=n):
        one.add(float(error), share)
    one.add(float("nan"), 1.0)
    return one


def test_an_honest_sigma_is_met_and_one_that_is_half_too_small_is_missed() -> None:
    rng = np.random.default_rng(1)
    honest, small = tally(rng, 1.0), tally(rng, 0.5)
    fits = {"position": Fit(100, 3, 2)}, {"position": Fit(100, 30, 40)}
    met = intervals.section(
        Outcome({("runner", "speed"): honest}, {}, fits[0], {}), Outcome({}, {}, fits[0], {})
    )
    assert [target.met for target in met.targets] == [True, False, True, True], "no file is none"
    missed = intervals.section(
        Outcome({("runner", "speed"): small}, {}, fits[1], {}), Outcome({}, {}, fits[1], {})
    )
    assert not any(target.met for target in missed.targets)
    assert missed.targets[0].missed[0].startswith("speed: 5")
    assert missed.targets[2].value == pytest.approx(70.0)


def test_outcomes_are_added_up_and_stay_as_they_were() -> None:
    one = Outcome({("runner", "speed"): Tally(10, 9)}, {}, {"altitude": Fit(4, 1, 0)}, {})
    whole = intervals.joined([one, one])
    assert whole.told["runner", "speed"].count == 20
    assert whole.fits["altitude"] == Fit(8, 2, 0)
    assert one.told["runner", "speed"].count == 10


def test_a_simulated_minute_and_a_half_has_every_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals_runs, "SECONDS", 90)
    outcome = intervals_runs.simulated(1)
    metrics = {metric for _, metric in outcome.told}
    assert metrics == {
        *("heart_rate", "speed", "altitude", "cadence"),
        *("distance", "steps", "ascent", "descent"),
    }
    assert outcome.told["runner", "distance"].count == pytest.approx(30, abs=2)
    assert set(outcome.fits) == set(outcome.peer_fits) == {"position", "altitude", "heart_rate"}
    assert {metric for _, metric in outcome.peer} == {"speed", "altitude", "heart_rate"}
    json.dumps(as_figures([intervals.section(outcome, outcome)]))


def test_the_textbook_filter_is_consistent_on_what_it_is_made_for() -> None:
    rng = np.random.default_rng(4)
    one, inside = Textbook("heart_rate"), Fit()
    x, v = 100.0, 0.0
    for t in range(1, 1_500):
        push = rng.normal(0.0, 0.5)
        x, v = x + v + 0.5 * push, v + push
        one.take(float(t), np.array([x + rng.normal()]))
        inside.add("altitude", one.nis)
    assert intervals.inside(inside) > 85.0
