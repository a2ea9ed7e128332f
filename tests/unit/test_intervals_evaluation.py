"""The evaluation of intervals counts what it says it counts, and tells what is missed."""

import json

import numpy as np
import pytest

from simulators.evaluation import intervals, intervals_bodies, intervals_runs
from simulators.evaluation.command import as_figures
from simulators.evaluation.intervals_peer import CHANCE, Textbook
from simulators.evaluation.intervals_tally import Fit, Outcome, Tally, joined


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
    one = Outcome({("runner", "speed"): Tally(10)}, {}, {"altitude": Fit(4, 1, 0)}, {})
    whole = joined([one, one])
    assert whole.told["runner", "speed"].count == 20
    assert whole.fits["altitude"] == Fit(8, 2, 0)
    assert one.told["runner", "speed"].count == 10


def test_a_simulated_minute_and_a_half_has_every_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals_runs, "SECONDS", 90)
    outcome = intervals_runs.simulated(1)
    metrics = {metric for _, metric in outcome.told}
    assert metrics == {
        *("heart_rate", "speed", "altitude", "cadence"),
        *("distance", "steps", "ascent", "descent", "cadence, of the moment"),
        *intervals_runs.CHANGES.values(),
    }
    assert outcome.told["runner", "distance"].count == pytest.approx(30, abs=2)
    assert set(outcome.fits) == set(outcome.peer_fits) == {"position", "altitude", "heart_rate"}
    peers = {metric for _, metric in outcome.peer} - set(intervals_runs.CHANGES.values())
    assert peers == {"speed", "altitude", "heart_rate"}
    json.dumps(as_figures([intervals.section(outcome, outcome)]))


def test_the_textbook_filter_is_consistent_on_what_it_is_made_for() -> None:
    rng = np.random.default_rng(4)
    one, inside = Textbook("heart_rate"), Fit()
    x, v = 100.0, 0.0
    for t in range(1, 1_500):
        push = rng.normal(0.0, 0.5)
        x, v = x + v + 0.5 * push, v + push
        one.take(float(t), np.array([x + rng.normal()]))
        inside.add(one.nis, CHANCE[1])
    assert inside.inside() > 85.0


def test_a_recorded_gait_is_held_to_the_optical_steps_where_none_is_lost() -> None:
    steps_s = np.cumsum(np.full(120, 0.6))
    lossy_s = np.delete(steps_s, [60, 61])
    t_s = np.arange(0.0, 80.0, 0.5)
    truth, known = intervals_bodies._truth(lossy_s, t_s)
    np.testing.assert_allclose(truth[known], 100.0, atol=1e-6)
    assert not known[(t_s > steps_s[59]) & (t_s < steps_s[62])].any()
    assert known.sum() > 80


def test_contacts_that_are_no_steps_make_no_truth_of_a_gait() -> None:
    steps_s = np.cumsum(np.full(120, 0.6))
    shuffled_s = np.sort(np.append(steps_s, [steps_s[80] + 0.3, steps_s[81] + 0.3]))
    t_s = np.arange(0.0, 80.0, 0.5)
    truth, known = intervals_bodies._truth(shuffled_s, t_s)
    np.testing.assert_allclose(truth[known], 100.0, atol=1e-6)
    assert not known[(t_s >= steps_s[80]) & (t_s <= steps_s[82] + 4.0)].any()
    assert known.sum() > 80
