"""The evaluation itself: peers whose answer is known, rules, targets, a report that keeps what it holds."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from server.errors import ConfigError
from server.files import from_bytes
from server.files.recording import SampleRecording
from server.messages import Summary
from simulators.evaluation import command, files, output
from simulators.evaluation.command import as_figures, data_folder, evaluate
from simulators.evaluation.parts import PARTS, part
from simulators.evaluation.phones import climbs
from simulators.evaluation.scores import Score, Task, score
from simulators.evaluation.section import Column, Section, Table, Target
from simulators.evaluation.tracks import EARTH_M, peers_of
from tests.support.recorded_files import RUNNING, START, STOP_ALL, SWIMMING, FitFile, fit_run, gpx

DEGREE_M = EARTH_M * 3.141592653589793 / 180


def made(content: bytes, name: str = "made.fit") -> SampleRecording:
    recording = from_bytes(Path(name), content)
    assert isinstance(recording, SampleRecording)
    return recording


def counted(name: str, error: float = 0.0, bpm: float = 0.0) -> Score:
    """Return a file whose own distance is 1 km and mean heart rate 150, with our errors."""
    summary = Summary(sport="run", start_ms=0, end_ms=1, elapsed_s=1, moving_s=1)
    summary.distance_m, summary.heart_rate_mean_bpm = 1000 * (1 + error), 150 + bpm
    return Score(
        file=name, sport="run", own={"distance_m": 1000.0, "heart_rate_mean_bpm": 150.0}, summary=summary
    )


def section(name: str = "files", **more: object) -> Section:
    table = Table("T", (Column("file", "left"), Column("s", volatile=True)), (("a|b<c", "0.123"),))
    return Section(name, f"Title of {name}", ("What.",), (table,), **more)  # type: ignore[arg-type]


# Peers


def test_a_straight_run_is_as_long_for_every_peer_as_its_arc() -> None:
    peers = peers_of(made(fit_run(60).to_bytes()))
    assert peers.path_m == pytest.approx(59 * 2.7e-5 * DEGREE_M, rel=1e-4)
    assert peers.gpxpy_m == pytest.approx(peers.path_m, rel=0.01)
    assert peers.doppler_m == pytest.approx(59 * 3.0)
    assert peers.heart_rate_bpm == pytest.approx(140)
    assert peers.fixed_share == pytest.approx(1.0)


def test_what_lies_in_a_pause_belongs_to_no_peer() -> None:
    file = FitFile().timer(0, START)
    for second in (*range(31), *range(100, 131)):  # carried away during the pause
        file.record(second, position_lat=47 + second * 2.7e-5, position_long=11.0, speed=3.0)
        if second == 30:
            file.timer(second, STOP_ALL).timer(100, START)
    file.timer(130, STOP_ALL).session(0, 131, RUNNING, total_distance=180.0)
    peers = peers_of(made(file.to_bytes()))
    assert peers.path_m == pytest.approx(60 * 2.7e-5 * DEGREE_M, rel=1e-3)
    assert peers.doppler_m == pytest.approx(180.0)
    assert peers.fixed_share == pytest.approx(1.0)


def test_without_speeds_there_is_no_integral_of_speed() -> None:
    assert peers_of(made(gpx([range(30)]), "made.gpx")).doppler_m is None


def test_climbs_count_between_turns_and_not_the_noise_on_them() -> None:
    up = [0.1 * i for i in range(301)]
    wavering = [height + (0.5 if i % 2 else -0.5) for i, height in enumerate(up)]
    ascent, descent = climbs(heights(wavering + wavering[::-1]))
    assert ascent == pytest.approx(30, abs=1.1)
    assert descent == pytest.approx(30, abs=1.1)
    assert climbs(heights([0.0, 1.0, 0.0, 1.0])) == (0.0, 0.0)


def heights(values: list[float]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


# Rule and targets


def test_a_file_counts_by_sport_positions_and_own_total_alone(tmp_path: Path) -> None:
    run = tmp_path / "run.fit"
    run.write_bytes(fit_run(40).to_bytes())
    assert score(Task(run, "run")).excluded == ""
    swim = FitFile().timer(0, START)
    for second in range(40):
        swim.record(second, position_lat=47 + second * 1e-5, position_long=11.0)
    swim.timer(39, STOP_ALL).session(0, 40, SWIMMING, total_distance=45.0)
    (tmp_path / "swim.fit").write_bytes(swim.to_bytes())
    assert score(Task(tmp_path / "swim.fit", "swim")).excluded == "its sport is swim"
    (tmp_path / "run.gpx").write_bytes(gpx([range(40)]))
    assert score(Task(tmp_path / "run.gpx", "gpx")).excluded == "it states no total distance"


def test_a_file_that_cannot_be_read_is_listed_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "x.fit").write_bytes(b"nothing of the kind")
    found = score(Task(tmp_path / "x.fit", "x.fit"))
    assert found.error
    assert found.excluded
    told = output.markdown([files.section([found, counted("good.fit")])])
    assert f"| x.fit | {found.error} |" in told


def test_each_file_beyond_a_target_is_named_and_one_on_it_is_not() -> None:
    scores = [counted("a", 0.015), counted("b", -0.016), counted("c", 0.001, bpm=-1.2)]
    median, worst, rate = files.section(scores).targets
    assert median.value == pytest.approx(1.5)
    assert not median.met
    assert worst.missed == ("b: -1.60 %",)
    assert not worst.met
    assert rate.missed == ("c: -1.20 bpm",)
    assert rate.count == 3


def test_a_file_without_our_distance_misses_the_target() -> None:
    silent = counted("silent")
    assert silent.summary is not None
    silent.summary.distance_m = None
    worst = files.section([silent, counted("good")]).targets[1]
    assert worst.missed == ("silent: no distance",)
    assert not worst.met


def test_nothing_measured_is_not_a_target_met() -> None:
    assert not Target("t", 1.0, None, "m", 0).met
    assert all(not target.met for target in files.section([]).targets)


# Report


def test_a_report_holds_what_was_not_evaluated_anew() -> None:
    both = output.markdown([section("files"), section("phones")])
    again = output.markdown([section("phones")], both)
    assert again == both
    renewed = output.markdown([section("phones", targets=(Target("new", 1, 0.5, "m", 2),))], both)
    assert "Title of files" in renewed
    assert "| new | 1 m | 0.50 m | 2 | met |" in renewed
    assert renewed.index("Title of files") < renewed.index("Title of phones")


def test_a_report_tells_nothing_of_the_machine_and_breaks_at_no_file_name() -> None:
    told = output.markdown([section()])
    assert "0.123" not in told
    assert r"| a\|b&lt;c |" in told


def test_the_figures_say_of_each_target_whether_it_is_met() -> None:
    figures = json.loads(json.dumps(as_figures([section(targets=(Target("t", 1.0, 2.0, "m", 3, ("x",)),))])))
    assert figures["targets"] == [
        {
            "part": "files",
            "name": "t",
            "limit": 1.0,
            "value": 2.0,
            "unit": "m",
            "count": 3,
            "missed": ["x"],
            "met": False,
        }
    ]


# The command


@pytest.mark.parametrize("name", PARTS)
def test_every_part_in_the_list_is_there(name: str) -> None:
    assert callable(part(name))


def test_what_is_not_in_the_list_is_told_with_the_list() -> None:
    with pytest.raises(ConfigError, match="'speling' cannot be evaluated; there are: files, distance, "):
        evaluate(["speling"])


def test_the_data_folder_is_the_one_given_then_the_environments(tmp_path: Path) -> None:
    given, named = tmp_path / "given", tmp_path / "named"
    given.mkdir()
    named.mkdir()
    assert data_folder(given, {"KINEFUSE_DATA": str(named)}) == given
    assert data_folder(None, {"KINEFUSE_DATA": str(named)}) == named
    with pytest.raises(ConfigError, match=r"--data: no folder of recordings at .*absent$"):
        data_folder(tmp_path / "absent", {})


def test_without_recordings_simulated_parts_go_on_and_others_say_where_to_name_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_CHECKOUT", tmp_path / "checkout")
    monkeypatch.delenv("KINEFUSE_DATA", raising=False)
    assert not data_folder(None, {}).exists()
    with pytest.raises(ConfigError, match=r"^files: no FIT.*; name a folder of recordings with --data or"):
        evaluate(["files"])


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^files: no FIT, GPX or TCX file under \S+; phones: no Sensor"
    ) as told:
        evaluate(["files", "phones", "orientation"], data=tmp_path)
    assert "\n" not in str(told.value)


def test_activities_are_known_by_name_packed_or_not() -> None:
    assert files.is_activity(Path("a/B.FIT"))
    assert files.is_activity(Path("a/b.gpx.xz"))
    assert not files.is_activity(Path("a/fit/description.csv"))
    assert not files.is_activity(Path("a/b.json.xz"))


def test_other_peoples_folder_is_scored_and_written_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data" / "deep"
    data.mkdir(parents=True)
    (data / "run.fit").write_bytes(fit_run(60).to_bytes())
    (data / "bad.tcx").write_bytes(b"<TrainingCenterDatabase>")
    evaluate(["files"], data=tmp_path / "data", json_=True, report=tmp_path / "docs")
    told = json.loads(capsys.readouterr().out)
    bad, run = told["files"]["files"]
    assert bad["error"]
    assert run["file"] == "deep/run.fit"
    assert abs(run["distance_error_percent"]) < 2
    report = (tmp_path / "docs" / "evaluation.md").read_text()
    assert "deep/run.fit" in report
    evaluate(["files"], data=tmp_path / "data", report=tmp_path / "docs")
    assert (tmp_path / "docs" / "evaluation.md").read_text() == report
