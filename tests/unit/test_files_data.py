"""Real files of many makers, some broken on purpose: each is a recording or a clear FileError."""

import itertools
from pathlib import Path

import pytest

from server.files import FileError, Recording, read
from server.files.sensor_logger import PhoneRecording
from tests.support.recordings import recordings

pytestmark = pytest.mark.data

FOLDERS = ["fitness_files_msimms", "fit_permissive", "fit_copyleft"]
SUFFIXES = {".fit", ".gpx", ".tcx"}


def files(folder: str) -> list[Path]:
    return sorted(path for path in recordings(folder).rglob("*") if path.is_file())


def outcome(path: Path) -> Recording | FileError:
    try:
        return read(path)
    except FileError as error:
        return error


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_file_is_a_recording_in_order_or_a_file_error_of_one_line(folder: str) -> None:
    for path in files(folder):
        found = outcome(path)
        activity = path.with_suffix("").suffix if path.suffix == ".xz" else path.suffix
        if activity.lower() not in SUFFIXES:
            assert isinstance(found, FileError), path
            assert str(found).startswith(f"{path}: ")
            assert "\n" not in str(found)
            continue
        assert isinstance(found, Recording), path
        times = [event.t_ns for event in found.events()]
        assert times == sorted(times), path
        assert found.start_ns < found.end_ns, path
        timer_s = (found.end_ns - found.start_ns - sum(b - a for a, b in found.pauses)) / 1e9
        if found.kind == "fit":  # the pauses are the timer's own
            assert timer_s == pytest.approx(found.totals["moving_s"], abs=15), path


def test_the_ski_recording_begins_with_its_stale_fix_and_keeps_its_clock() -> None:
    recording = read(recordings("sensorlogger_ski") / "data")
    assert isinstance(recording, PhoneRecording)
    assert recording.records == 110_064
    assert (recording.end_ns - recording.start_ns) / 1e9 == pytest.approx(362.99, abs=0.01)
    first = next(event for event in recording.events() if event.absolute)
    assert b'"time":1764585556005611800' in first.payload[:200]


def test_two_formats_of_one_run_are_the_same_track() -> None:
    folder = recordings("fitness_files_msimms")
    name = "20210119_run_garmin_fenix6_sapphire"
    tracks = []
    for kind in ("gpx", "tcx"):
        recording = read(folder / kind / f"{name}.{kind}.xz")
        tracks.append([event for event in recording.events() if event.topic.endswith("/gnss")])
    assert len(tracks[0]) == len(tracks[1]) == 1232
    assert all(a.t_ns == b.t_ns for a, b in itertools.islice(zip(*tracks, strict=True), 1000))
