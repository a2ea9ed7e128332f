"""Simulated athletes under satellites that are lost, and how what is told of them is scored."""

import numpy as np
import pytest

from simulators.evaluation import gnss, gnss_runs
from simulators.evaluation.gnss_runs import GAP_S, GAPS_AT_S, KINDS, Outcome

LOST, STOPS, CITY, HILLS = KINDS


def test_one_seed_gives_one_run_and_fixes_are_lost_where_they_shall_be() -> None:
    run = gnss_runs.simulated(LOST, 1)
    assert gnss_runs.simulated(LOST, 1).fixes == run.fixes
    gone = [second for second, fix in enumerate(run.fixes) if fix is None]
    assert gone == [second for at in GAPS_AT_S for second in range(at, at + GAP_S)]


def test_the_city_states_its_larger_errors_and_hills_climb() -> None:
    city, hills = gnss_runs.simulated(CITY, 1), gnss_runs.simulated(HILLS, 1)
    assert city.fixes[0] is not None
    assert hills.fixes[0] is not None
    assert city.fixes[0].h_acc_m == pytest.approx(4 * 1.844, rel=0.25)
    assert hills.fixes[0].h_acc_m == pytest.approx(1.844, rel=0.25)
    assert gnss.climbed(hills.truth.altitude_m) > 2 * gnss.climbed(city.truth.altitude_m)


def test_drift_is_the_rise_after_an_athlete_has_stood_and_no_other() -> None:
    standing = np.array([[False, True, True, True, False, True, True]])
    distance_m = np.array([[0.0, 5.0, 6.0, 6.0, 9.0, 9.5, 9.5]])
    assert gnss.drift(distance_m, standing) == pytest.approx(0.5)  # 1 m in two stops
    assert np.isnan(gnss.drift(distance_m, np.zeros_like(standing)))


def test_the_truth_itself_has_no_error_and_is_covered() -> None:
    runs = [gnss_runs.simulated(STOPS, seed) for seed in (1, 2)]
    distance = np.array([run.truth.distance_m for run in runs])
    speed = np.array([run.truth.speed_mps for run in runs])
    up = np.array([np.cumsum(np.maximum(np.diff(run.truth.altitude_m, prepend=np.inf), 0)) for run in runs])
    sigma = np.full_like(distance, 1e-6)
    told = Outcome(distance, sigma, up, sigma, speed, sigma)
    peers = list(zip(distance, up, strict=True))
    result = gnss.score("stops", "steps", runs, told, peers, gaps=False)
    assert (result.distance, result.distance_worst, result.distance_inside) == (0.0, 0.0, 1.0)
    assert result.stop_m == pytest.approx(0.0, abs=0.1)  # its speed is below 1 mm/s, not nought
    assert result.speed_inside == 1.0
    assert np.isnan(result.gap)


def test_distance_at_a_stop_stands_still_with_a_device_on_the_body() -> None:
    runs = [gnss_runs.simulated(STOPS, 3)]
    told = gnss_runs.ours(runs, inertial=True)
    assert gnss.drift(told.distance_m, np.array([runs[0].standing])) < 0.5
    assert told.distance_m[0, -1] == pytest.approx(runs[0].truth.distance_m[-1], rel=0.05)
