"""The evaluation of orientation itself: errors whose answer is known, cases, peers in their frames, pages."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from fusion.core import PATHS
from simulators.benchmark import orientation as bench
from simulators.benchmark.command import line
from simulators.benchmark.measure import ratio
from simulators.evaluation import output, peers
from simulators.evaluation.attitude import Floats, errors, product
from simulators.evaluation.command import evaluate
from simulators.evaluation.section import Section
from simulators.evaluation.trials import CASES, Trial, drop, jitter, load, trials_under, uniform
from tests.support.motion import moving


def turn(axis: int, degrees: float) -> Floats:
    q = np.zeros(4)
    q[0], q[1 + axis] = np.cos(np.radians(degrees) / 2), np.sin(np.radians(degrees) / 2)
    return q


def swaying(seconds: float = 60.0) -> Trial:
    """A trial made of the swaying body, whose reference is the truth."""
    m = moving(seconds, rate_hz=300.0)
    n = len(m.t_ns)
    return Trial("made", 300.0, np.full(n, 1 / 300), m.gyro_b, m.accel_b, m.mag_b, m.q_eb, np.ones(n, bool))


def written(folder: Path, trial: Trial) -> Path:
    """Store a trial as BROAD's are stored."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trials.json").write_text("{}")
    path = folder / f"{trial.name}.npz"
    np.savez(
        path,
        gyr=trial.gyro_b,
        acc=trial.accel_b,
        mag=trial.mag_b,
        quat=trial.q_eb,
        movement=trial.moving,
        rate=trial.rate_hz,
    )
    return path


# Errors


def test_a_turn_about_the_vertical_is_heading_and_one_about_the_horizontal_inclination() -> None:
    truth = swaying(5.0).q_eb
    moves = np.ones(len(truth), bool)
    about_z = errors(product(turn(2, 10.0), truth), truth, moves)
    assert about_z.heading_deg == pytest.approx(10)
    assert about_z.total_deg == pytest.approx(10)
    assert about_z.inclination_deg == pytest.approx(0, abs=1e-5)
    about_x = errors(-product(turn(0, -10.0), truth), truth, moves)
    assert about_x.inclination_deg == pytest.approx(10)
    assert about_x.heading_deg == pytest.approx(0, abs=1e-5)


def test_one_constant_heading_is_no_error_once_aligned() -> None:
    truth = swaying(5.0).q_eb
    found = errors(product(turn(2, 170.0), product(turn(0, 3.0), truth)), truth, np.ones(len(truth), bool))
    assert found.heading_deg == pytest.approx(170)
    assert found.aligned_deg == pytest.approx(3)


def test_only_what_moves_and_has_a_reference_counts() -> None:
    truth = np.tile(turn(0, 0.0), (4, 1))
    found = np.array([turn(0, 90.0), turn(0, 1.0), turn(0, 90.0), turn(0, 1.0)])
    truth[2] = np.nan
    counted = errors(found, truth, np.array([False, True, True, True]))
    assert counted.total_deg == pytest.approx(1)


# Cases


def test_block_means_keep_the_turn_and_stand_at_their_last_sample() -> None:
    trial = swaying(10.0)
    for case in (uniform, jitter):
        found = case(trial)
        last = np.round(found.t_s * 300).astype(int) - 1
        turned = np.cumsum(found.gyro_b * found.dt_s[:, None], axis=0)
        assert turned == pytest.approx(np.cumsum(trial.gyro_b / 300, axis=0)[last], abs=1e-9)
        assert np.array_equal(found.q_eb, trial.q_eb[last])
    assert uniform(trial).dt_s == pytest.approx(0.01)
    assert set(np.round(jitter(trial).dt_s * 300)) == {1, 2, 3, 4, 5}


def test_lost_packets_are_whole_ones_and_their_time_is_in_the_next_step() -> None:
    found = drop(swaying(600.0))
    lengths = np.round(found.dt_s * 100).astype(int)
    assert set(lengths) <= {1, 11, 21, 31}
    assert 0.004 < (lengths - 1).sum() / 10 / (lengths.sum() / 10) < 0.025
    assert (lengths[:10] == 1).all()


def test_a_stored_trial_is_read_back(tmp_path: Path) -> None:
    trial = swaying(2.0)
    path = written(tmp_path / "deep", trial)
    (tmp_path / "other.npz").write_bytes(b"not beside a trials.json")
    assert trials_under(tmp_path) == [path]
    assert load(path).gyro_b == pytest.approx(trial.gyro_b)


# Peers


@pytest.mark.parametrize("name", peers.PEERS)
def test_a_peer_answers_in_our_frame(name: str) -> None:
    package, run = peers.PEERS[name]
    pytest.importorskip(package)
    trial = uniform(swaying())
    settled = trial.t_s > 30
    answer = run(trial)
    assert errors(answer.q9, trial.q_eb, settled).total_deg < 5
    assert errors(answer.q6, trial.q_eb, settled).inclination_deg < 5


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("degrees", [0.0, 100.0, 180.0])
def test_the_first_orientation_is_that_of_a_still_device(axis: int, degrees: float) -> None:
    q = product(turn((axis + 1) % 3, 20.0), turn(axis, degrees))
    back = q * np.array([1.0, -1.0, -1.0, -1.0])

    def seen(v: list[float]) -> Floats:
        return product(product(back, np.array([0.0, *v])), q)[1:]

    found = peers.first_orientation(seen([0, 0, 9.8]), seen([0, 20, -40]))
    assert abs(found @ q) == pytest.approx(1)


def test_what_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert peers.missing() == "without peers that are not installed: pip install vqf imufusion ahrs"


# The part and its page


def test_without_peers_ours_is_scored_alone_and_the_page_keeps_what_surrounds_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "versions", dict)
    written(tmp_path / "data", swaying(20.0))
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "orientation.md"
    page.write_text("# O\n\n<!-- orientation -->\n\n\n<!-- end of orientation -->\n\n## Limits\n")
    evaluate(["orientation"], data=tmp_path / "data", json_=True, report=tmp_path / "docs")
    out, err = capsys.readouterr()
    assert "pip install vqf imufusion ahrs" in err
    told = json.loads(out)["orientation"]
    assert [each["case"] for each in told["trials"]] == list(CASES)
    assert set(told["mean_deg"]["drop"]) == {"ours"}
    text = page.read_text()
    assert text.startswith("# O\n\n<!-- orientation -->\n\n## Measured")
    assert text.endswith("<!-- end of orientation -->\n\n## Limits\n")
    assert (tmp_path / "docs" / "orientation-cases.svg").read_text().startswith("<?xml")
    assert not (tmp_path / "docs" / "evaluation.md").exists()


def test_a_page_that_is_not_there_begins_with_its_name() -> None:
    section = Section("orientation", "T", ("What.",), (), page="orientation.md")
    text = output.page("orientation.md", [section])
    assert text == "# Orientation\n\n<!-- orientation -->\n\n## T\n\nWhat.\n\n<!-- end of orientation -->\n"
    assert output.page("orientation.md", [section], text) == text


# Speed


@pytest.mark.parametrize("path", PATHS)
def test_the_benchmarks_packets_are_taken_for_as_long_as_it_runs(path: str) -> None:
    case = bench._Advance(20, path)
    for _ in range(bench.AHEAD + 2):
        case.prepare()
        summaries = case().summaries
        assert not summaries["status"].any()
        assert (summaries["samples"] == bench.PACKET_SAMPLES).all()


def test_a_ratio_is_the_median_of_those_of_the_rounds() -> None:
    assert ratio([1.0, 10.0, 3.0], [2.0, 2.0, 2.0]) == 1.5


def test_a_row_says_whether_its_target_is_met() -> None:
    assert line(bench.Row("a", "sample", 0.1, 0.31, 0.3)).endswith("limit 0.3x: missed")
    assert line(bench.Row("a", "packet", 1.4, 0.5, 1.5, "us")).endswith("limit 1.5 us: met")
    assert line(bench.Row("a", "sample", 0.1, None, 0.3)).endswith("limit 0.3x: -")
    assert bench.Row("a", "sample", 0.1, 0.5).met is None
