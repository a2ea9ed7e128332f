"""``evaluate floors`` and the beats of ``evaluate heart``: what is played, and files that cannot be read."""

from pathlib import Path

import pytest

from server.errors import FileError
from simulators.evaluation import floors_runs, heart_runs


def test_simulated_stairs_are_counted_and_lifts_are_not() -> None:
    stairs, lift = floors_runs.stairs(1), floors_runs.lifts(1)
    played = floors_runs.play([stairs, lift])
    assert abs(played.floors[0] - stairs.storeys) <= 1
    assert played.floors[1] == 0


@pytest.mark.parametrize(
    "content", [b"", b"created_at,baro_pressure,indoors\n", b"a,b\n1,2\n", b"\xff\xfe\0"]
)
def test_a_trial_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "floor_prediction_test_data"
    folder.mkdir()
    (folder / "notes.csv").write_bytes(content)
    (folder / "mudd_f_4_11 copy.csv").write_bytes(content)
    assert floors_runs.trials(tmp_path) == []
    (folder / "mudd_f_4_11.csv").write_bytes(content)
    with pytest.raises(FileError, match=r"mudd_f_4_11\.csv: is no recorded trial"):
        floors_runs.trials(tmp_path)


def test_beats_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    stray, told = tmp_path / "a" / "b", tmp_path / "subject_01" / "jogging"
    for folder in (stray, told):
        folder.mkdir(parents=True)
        (folder / "annotation_cs.tsv").write_bytes(b"")
    assert heart_runs.gudb(tmp_path) == []
    (told / "annotation_cs.tsv").write_bytes(b"1\n2\nx\xff\n")
    with pytest.raises(FileError, match="holds no beats"):
        heart_runs.gudb(tmp_path)


@pytest.mark.parametrize("text", ["", "[Params]\n", "[HRData]\n500\nmany\n", "[HRData]\n500\n"])
def test_a_polar_recording_without_beats_is_named(tmp_path: Path, text: str) -> None:
    assert heart_runs.hrm(tmp_path, "exercise_rri.hrm") is None
    (tmp_path / "exercise_rri.hrm").write_text(text)
    with pytest.raises(FileError, match="beats"):
        heart_runs.hrm(tmp_path, "exercise_rri.hrm")
