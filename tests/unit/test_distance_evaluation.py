"""``evaluate distance``: two devices on one run are found by time and place; common time is compared."""

import json
from pathlib import Path

import pytest

from server.errors import ConfigError
from server.files import from_bytes
from server.files.recording import SampleRecording
from simulators.evaluation import distance, holes, pairs
from simulators.evaluation.command import evaluate
from simulators.evaluation.pairs import Device, Pair
from simulators.evaluation.scores import Score, Task
from tests.support.recorded_files import RUNNING, START, STOP_ALL, T0_NS, FitFile, gpx, tcx

NORTH_DEG_PER_S = 2.7e-5  # 3 m/s


def run(seconds: range, east_deg: float = 0.0, pause: range | None = None) -> bytes:
    """Return a FIT file of a run northwards, of a record a second; none within a pause."""
    file = FitFile().timer(seconds[0], START)
    for second in seconds:
        if pause and second == pause[0]:
            file.timer(second, STOP_ALL)
        if pause and second == pause[-1]:
            file.timer(second, START)
        if not pause or second not in pause[1:-1]:
            file.record(
                second, position_lat=47 + second * NORTH_DEG_PER_S, position_long=11 + east_deg, speed=3.0
            )
    file.timer(seconds[-1], STOP_ALL)
    return file.session(seconds[0], seconds[-1], RUNNING, total_distance=3.0 * len(seconds)).to_bytes()


def recording(content: bytes) -> SampleRecording:
    made = from_bytes(Path("made.fit"), content)
    assert isinstance(made, SampleRecording)
    return made


def test_two_devices_on_one_run_are_compared_over_what_both_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.fit").write_bytes(run(range(240)))
    (tmp_path / "a.fit").write_bytes(run(range(12, 252), east_deg=1e-4))  # 8 m beside, 12 s later
    (tmp_path / "another_day.fit").write_bytes(run(range(5000, 5240)))
    (tmp_path / "elsewhere.fit").write_bytes(run(range(240), east_deg=0.01))
    evaluate(["distance"], data=tmp_path, json_=True, report=tmp_path / "docs", workers=1)
    told = json.loads(capsys.readouterr().out)
    (pair,) = told["distance"]["pairs"]
    assert [device["file"] for device in pair["devices"]] == ["a.fit", "b.fit"]
    assert pair["together_s"] == pytest.approx(227)
    assert pair["apart_m"] == pytest.approx(7.6, abs=0.2)
    assert [device["path_m"] for device in pair["devices"]] == [pytest.approx(227 * 3.0, rel=0.01)] * 2
    assert pair["difference_percent"]["ours_m"] < 0.1
    two, ways, climbs, _ = told["targets"]
    assert (two["count"], two["met"], ways["count"], climbs["value"]) == (1, True, 4, None)
    report = (tmp_path / "docs" / "evaluation.md").read_text()
    assert "227 s together, 7.6 m apart" in report


def test_one_recording_in_two_files_is_no_two_devices(tmp_path: Path) -> None:
    (tmp_path / "a.fit").write_bytes(run(range(240)))
    (tmp_path / "copy.fit").write_bytes(run(range(240)))
    task = pairs.Candidate((tmp_path / "a.fit", tmp_path / "copy.fit"), ("a.fit", "copy.fit"))
    assert pairs.compared(task) == (None, True)


def test_only_files_that_share_most_of_their_time_are_candidates() -> None:
    def score(name: str, begin_s: int, end_s: int) -> Score:
        return Score(file=name, start_ns=begin_s * 10**9, end_ns=end_s * 10**9, path_m=1.0)

    scores = [score("a", 0, 1000), score("b", 50, 1040), score("half", 500, 1500), score("part", 0, 300)]
    assert [one.names for one in pairs.candidates(scores, Path())] == [("a", "b")]


def test_a_cut_is_a_workout_of_its_own_with_what_is_left_of_its_pauses() -> None:
    part = pairs.cut(recording(run(range(100), pause=range(40, 61))), *[T0_NS + s * 10**9 for s in (50, 90)])
    assert [(a - T0_NS, b - T0_NS) for a, b in part.pauses] == [(50 * 10**9, 60 * 10**9)]
    kinds = [timed.kind for timed in part.timeline]
    assert (kinds[0], kinds[-1]) == ("command", "command")
    assert kinds.count("command") == 4  # start, pause, resume, stop
    assert kinds.count("gnss") == 31


def test_a_pair_of_which_one_tells_nothing_does_not_differ() -> None:
    def device(metres: float | None) -> Device:
        return Device(
            file="f",
            model="",
            own_m=metres,
            ours_whole_m=1.0,
            ours_m=100.0 if metres is None else 101.0,
            sigma_m=None,
            path_m=None,
            gpxpy_m=None,
            speed_m=None,
        )

    pair = Pair(devices=(device(None), device(5.0)), together_s=1.0, apart_m=1.0)
    assert pair.difference("own_m") is None
    assert pair.difference("ours_m") == pytest.approx(1 / 100.5)
    target, *_ = distance.section([], [pair]).targets
    assert target.missed == ("f and f: 1.00 %",)


def test_fixes_are_taken_away_and_steps_go_on(tmp_path: Path) -> None:
    file = FitFile().timer(0, START)
    for second in range(400):
        north = 47 + second * NORTH_DEG_PER_S
        file.record(second, position_lat=north, position_long=11.0, speed=3.0, cadence=85)
    file.timer(399, STOP_ALL).session(0, 400, RUNNING, total_distance=1200.0)
    (tmp_path / "run.fit").write_bytes(file.to_bytes())
    found = holes.measured(Task(tmp_path / "run.fit", "run.fit"))
    assert found is not None
    assert found.lost_m == pytest.approx(2 * 60 * 3.0, rel=0.01)
    assert abs(found.error_percent) < 1.5  # a straight way is taken for a hundredth longer
    assert abs(found.line_percent) < 0.1
    (tmp_path / "no_steps.fit").write_bytes(run(range(400)))
    assert holes.measured(Task(tmp_path / "no_steps.fit", "no_steps.fit")) is None


def test_a_folder_without_positions_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^distance: no FIT, GPX or TCX file under"):
        evaluate(["distance"], data=tmp_path)
    (tmp_path / "indoors.tcx").write_bytes(tcx([]))
    with pytest.raises(ConfigError, match=r"^distance: no FIT, GPX or TCX file with positions under"):
        evaluate(["distance"], data=tmp_path, workers=1)


def test_a_folder_without_a_pair_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "alone.gpx").write_bytes(gpx([range(60)]))
    evaluate(["distance"], data=tmp_path, workers=1)
    told = capsys.readouterr().out
    assert "No two files here are of one run." in told
    assert "nothing to measure" in told
