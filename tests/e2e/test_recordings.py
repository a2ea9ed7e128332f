"""Recordings through the engine: each a summary or one line, always the same bytes, as near as the docs say.

The recordings of up to half an hour are run here; ``kinefuse evaluate`` runs all of them.
"""

import functools
import re
import subprocess
import sys
from statistics import median

import pytest

from server.files import FileError, read
from simulators.evaluation.files import HEART_RATE_BPM, MEDIAN_PERCENT, WORST_PERCENT, is_activity, section
from simulators.evaluation.phones import exports_under
from simulators.evaluation.phones import score as phone_score
from simulators.evaluation.scores import Score, Task, score
from simulators.evaluation.workers import share
from tests.support.recordings import ROOT, recordings

pytestmark = pytest.mark.data

SETS = ("fitness_files_msimms", "fit_permissive", "fit_copyleft")
SHORT_S = 1800
REPORT = ROOT / "docs" / "evaluation.md"
STALE_PERCENT = 0.5  # what the report says of a file's error may be this far from what is measured now


def activities() -> list[Task]:
    """Return all FIT, GPX and TCX files of the sets."""
    return [
        Task(path, path.relative_to(recordings()).as_posix())
        for name in SETS
        for path in sorted(recordings(name).rglob("*"))
        if is_activity(path)
    ]


@functools.cache
def short_scores() -> list[Score]:
    """Return the scores of the files whose recording is short."""

    def short(task: Task) -> bool:
        recording = read(task.path)
        return recording.end_ns - recording.start_ns <= SHORT_S * 1_000_000_000

    return share(
        score, [task for task in activities() if short(task)], workers=2, name=lambda task: task.name
    )


def analyze(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "server", "analyze", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=120,
    )


def test_each_short_file_gives_a_summary_with_what_its_sensors_tell() -> None:
    scores = short_scores()
    assert len(scores) >= 15
    for each in scores:
        assert not each.error, each.file
        summary = each.summary
        assert summary is not None, each.file
        assert summary.elapsed_s > 0
        assert 0 <= summary.moving_s <= summary.elapsed_s + 1
        told = {name for name in type(summary).__struct_fields__ if getattr(summary, name) is None}
        assert told == set(summary.reasons), each.file
        if each.path_m:
            assert summary.distance_m is not None, each.file
            assert summary.sigma["distance_m"] > 0
        if each.samples_mean_bpm:
            assert summary.heart_rate_mean_bpm is not None, each.file


def test_what_is_no_recording_is_one_line_and_exit_code_1() -> None:
    files = [path for name in SETS for path in recordings(name).rglob("*") if path.is_file()]
    others = [path for path in files if not is_activity(path)]
    assert others
    for path in others:
        with pytest.raises(FileError) as refused:
            read(path)
        assert "\n" not in str(refused.value)
    done = analyze(others[0], "--json")
    assert (done.returncode, done.stdout) == (1, b"")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["fitness_files_msimms/fit/20181108_run_garmin_fenix_3_hr.fit", "sensorlogger_ski/data2"]
)
def test_the_same_recording_analysed_twice_gives_the_same_bytes(name: str) -> None:
    runs = [analyze(recordings() / name, "--json") for _ in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    assert b'"distance_m"' in runs[0].stdout


def test_distances_of_short_files_keep_the_targets_where_the_report_does_not_say_otherwise() -> None:
    counted = [each for each in short_scores() if not each.excluded]
    errors = {each.file: 100 * abs(e) for each in counted if (e := each.distance_error) is not None}
    assert len(errors) == len(counted) >= 6
    assert median(errors.values()) <= MEDIAN_PERCENT
    beyond = {file for file, error in errors.items() if error > WORST_PERCENT}
    stated = set(re.findall(r"^- (.*): [-+][\d.]+ %$", REPORT.read_text(), re.MULTILINE))
    assert beyond <= stated


def test_mean_heart_rates_of_short_files_keep_the_target() -> None:
    counted = [each for each in short_scores() if not each.excluded]
    errors = {each.file: abs(e) for each in counted if (e := each.heart_rate_error_bpm) is not None}
    assert len(errors) >= 5
    assert max(errors.values()) <= HEART_RATE_BPM


def test_the_report_names_every_file_and_holds_what_is_measured_now() -> None:
    report = REPORT.read_text()
    rows = {
        cells[0]: cells
        for line in report.splitlines()
        if line.startswith("| ")
        and len(cells := [cell.strip() for cell in line.strip("|").split(" | ")]) == 10
    }
    assert {task.name for task in activities()} <= {task.name for task in activities() if task.name in report}
    for each in short_scores():
        error = each.distance_error
        if not each.excluded and error is not None:
            assert float(rows[each.file][6]) == pytest.approx(100 * error, abs=STALE_PERCENT), each.file


def test_no_position_is_in_the_report() -> None:
    assert not re.search(r"\d\.\d{4}", REPORT.read_text())


def test_the_tables_of_the_report_are_made_of_the_same_scores() -> None:
    """The worst error of the short files is at most the report's worst of all."""
    told = re.search(r"\| distance, worst error \| 1\.5 % \| ([\d.]+) %", REPORT.read_text())
    assert told
    worst = section(short_scores()).targets[1].value
    assert worst is not None
    assert worst <= float(told[1]) + STALE_PERCENT


def test_phones_tell_where_they_went_and_how_sure_that_is() -> None:
    exports = exports_under(recordings("sensorlogger_ski"))
    assert len(exports) == 2
    for path in exports:
        each = phone_score(Task(path, path.name))
        summary, sensors = each.summary, each.sensors
        assert summary is not None
        assert summary.distance_m is not None
        assert sensors.path_m is not None
        assert sensors.doppler_m is not None
        # Somewhere between the two answers of the phone itself, or not far from them.
        low, high = sorted((sensors.doppler_m, sensors.path_m))
        assert 0.9 * low <= summary.distance_m <= 1.1 * high
        assert summary.sigma["distance_m"] > 0
        rates = sensors.rates_hz
        if path.name == "data2":
            assert rates["accelerometer"] == pytest.approx(99.9, abs=0.1)
            assert rates["gyroscope"] == pytest.approx(58.9, abs=0.1)
        else:
            assert sensors.path_m == pytest.approx(2458, abs=1)
            assert sensors.doppler_m == pytest.approx(2121, abs=1)
            assert sensors.descent_m == pytest.approx(386, abs=2)
            assert summary.descent_m == pytest.approx(sensors.descent_m, abs=5)
