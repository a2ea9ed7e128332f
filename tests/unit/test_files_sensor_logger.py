import io
import json
import lzma
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from server.codecs.sensor_logger import SensorLogger
from server.files import FileError, content, from_bytes, read, sensor_logger
from tests.support.recorded_files import START_NS, phone_export

PERIOD_NS = 200_000_000


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


def zipped(files: dict[str, bytes], under: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(under + name, data)
    return buffer.getvalue()


def batches(recording: Any) -> list[dict[str, Any]]:
    return [json.loads(e.payload) for e in recording.events() if e.absolute]


def test_an_export_becomes_the_batches_of_the_phone(tmp_path: Path) -> None:
    recording = read(folder(tmp_path, phone_export()))
    events = list(recording.events())
    assert [e.topic for e in events[:3]] == ["in/abc-def-01/status", "command/abc-def-01", "sensor-logger"]
    assert events[-1].topic == "command/abc-def-01"
    assert [e.t_ns for e in events[2:-1]] == [START_NS + i * PERIOD_NS for i in range(1, 6)]
    messages = batches(recording)
    assert [m["messageId"] for m in messages] == [0, 1, 2, 3, 4]
    assert {m["deviceId"] for m in messages} == {"abc-def-01"}
    counted = Counter(row["name"] for m in messages for row in m["payload"])
    assert counted == {"accelerometer": 100, "gyroscope": 100, "location": 2, "annotation": 1}
    assert json.loads(events[0].payload)["placement"] == "pocket"
    assert recording.model == "Phone 9"


def test_stamps_stay_exact_and_empty_cells_are_absent(tmp_path: Path) -> None:
    rows = [row for m in batches(read(folder(tmp_path, phone_export()))) for row in m["payload"]]
    acceleration = [row for row in rows if row["name"] == "accelerometer"]
    assert acceleration[7] == {
        "name": "accelerometer",
        "time": START_NS + 70_000_001,
        "values": {"z": 9.81, "y": 0.5, "x": 0.875},
    }
    assert [row["values"].keys() for row in rows if row["name"] == "location"][1] == {"latitude", "longitude"}
    note = next(row for row in rows if row["name"] == "annotation")
    assert note["values"] == {"text": "go!", "millisecond_press_duration": 80}


def test_a_row_older_than_the_recording_is_delivered_at_its_start_as_it_is(tmp_path: Path) -> None:
    recording = read(folder(tmp_path, phone_export()))
    first = batches(recording)[0]["payload"][0]
    assert (first["name"], first["time"]) == ("location", START_NS - 108 * 10**9)
    assert (recording.start_ns, recording.end_ns) == (START_NS, START_NS + 990_000_001)
    assert "older than the recording" in recording.warnings[0]


def test_folder_zip_and_packed_members_are_the_same_recording(tmp_path: Path) -> None:
    files = phone_export()
    expected = list(read(folder(tmp_path, files)).events())
    packed = {f"{name}.xz": lzma.compress(data) for name, data in files.items()}
    (tmp_path / "packed").mkdir()
    assert list(read(folder(tmp_path / "packed", packed)).events()) == expected
    for archive in (zipped(files), zipped(packed), zipped(files, "2024-01-01/")):
        assert list(from_bytes(Path("export.zip"), archive).events()) == expected


def test_the_json_export_is_the_same_recording(tmp_path: Path) -> None:
    files = phone_export()
    rows = []
    for name, data in files.items():
        head, *lines = data.decode().splitlines()
        if name != "Notes.csv":
            keys = head.split(",")
            rows += [
                {"sensor": name.removesuffix(".csv"), **dict(zip(keys, line.split(","), strict=True))}
                for line in lines
            ]
    recording = from_bytes(Path("export.json"), json.dumps(rows).encode())
    expected = read(folder(tmp_path, files))
    assert batches(recording) == batches(expected)
    assert recording.device == expected.device


def test_the_codec_takes_what_the_recording_sends(tmp_path: Path) -> None:
    recording = read(folder(tmp_path, phone_export()))
    decoders = SensorLogger()
    decoded = [decoders.decode(e.payload) for e in recording.events() if e.absolute]
    assert {batch.device for batch in decoded} == {recording.device}


def test_rows_without_a_time_are_left_out_and_counted(tmp_path: Path) -> None:
    files = phone_export()
    files["Barometer.csv"] = f"time,pressure\n,1000\nx,1000\n{START_NS},1000\n1,2,3\n".encode()
    recording = read(folder(tmp_path, files))
    assert "3 rows without a time: left out" in recording.warnings


def test_a_stray_stamp_does_not_make_the_recording_years_long(tmp_path: Path) -> None:
    files = phone_export()
    files["Barometer.csv"] = f"time,pressure\n{START_NS * 2},1000\n".encode()
    recording = read(folder(tmp_path, files))
    assert recording.end_ns - recording.start_ns < 2 * 10**9


def test_without_metadata_the_start_is_what_the_elapsed_times_tell(tmp_path: Path) -> None:
    files = phone_export()
    del files["Metadata.csv"]
    (tmp_path / "walk").mkdir()
    recording = read(folder(tmp_path / "walk", files))
    assert recording.start_ns == START_NS + 1
    assert recording.device == "walk"


@pytest.mark.parametrize("files", [{}, {"Notes.csv": b"a,b\n1,2\n"}, {"Location.csv": b"time,latitude\n"}])
def test_a_folder_without_an_export_says_so(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(FileError, match="no Sensor Logger export"):
        read(folder(tmp_path, files))


def test_a_zip_that_would_grow_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor_logger, "EXPORT_MAX", 100_000)
    bomb = zipped({"Location.csv": b"time,latitude\n" + b"0" * 10_000_000})
    assert len(bomb) < 50_000
    with pytest.raises(FileError, match="larger than"):
        from_bytes(Path("bomb.zip"), bomb)


def test_xz_that_would_grow_beyond_the_limit_is_refused() -> None:
    with pytest.raises(FileError, match="larger than 1 MiB when unpacked"):
        content.unpacked(lzma.compress(b"0" * 10_000_000), Path("bomb.xz"), 2**20)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"0" * (2**20 + 1))
    with pytest.raises(FileError, match="larger than 1 MiB"):
        content.load(path, 2**20)


def test_a_damaged_zip_says_so() -> None:
    archive = zipped(phone_export())
    with pytest.raises(FileError, match="damaged zip"):
        from_bytes(Path("export.zip"), archive[: len(archive) // 2])
