"""Whatever a file holds: a recording whose messages the codecs accept, or a FileError of one line."""

import lzma
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.codecs import samples
from server.codecs.sensor_logger import SensorLogger
from server.files import FileError, Recording, from_bytes
from server.playback import play
from tests.support.recorded_files import CYCLING, FitFile, fit_run, gpx, phone_export, tcx, tcx_lap
from tests.unit.test_files_gpx_tcx import HR_EXTENSION, TCX_POINT
from tests.unit.test_files_sensor_logger import zipped

RIDE = FitFile().timer(0, 0).add("hrv", time=[0.5, 0.6]).developed_record(3, 7, 250).record(4, speed=8.0)
RIDE.session(0, 5, CYCLING, total_distance=40.0, avg_heart_rate=120)

SEEDS = {
    "run.fit": fit_run(12).to_bytes(),
    "ride.fit": RIDE.to_bytes() + fit_run(3).to_bytes(),
    "track.gpx": gpx([range(4), range(20, 24)], extension=HR_EXTENSION),
    "laps.tcx": tcx([tcx_lap(0, 8, [range(4), range(20, 24)], TCX_POINT)]),
    "phone.zip": zipped(phone_export(0.05)),
    "phone.json": b'[{"sensor":"Barometer","time":"1700000000000000000","pressure":"1013.2"}]',
    "packed.gpx.xz": lzma.compress(gpx([range(4)])),
}
NAMES = st.sampled_from(["a.fit", "a.gpx", "a.tcx", "a.zip", "a.json", "a.csv", "a", "a.fit.xz"])
SIGNATURES = st.sampled_from(
    [b"", b"\x0e\x10\x54\x08\x40\x00\x00\x00.FIT\x00\x00", b"PK\x03\x04", b"\xfd7zXZ\x00"]
)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """Return a good file with some bytes overwritten, a piece cut out or doubled, or its end missing."""
    name = draw(st.sampled_from(sorted(SEEDS)))
    data = bytearray(SEEDS[name])
    places = st.integers(0, len(data) - 1)
    for place, byte in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=12)):
        data[place] = byte
    begin, end = sorted((draw(places), draw(places)))
    match draw(st.sampled_from(["keep", "cut", "double", "truncate", "splice"])):
        case "cut":
            del data[begin:end]
        case "double":
            data[end:end] = data[begin:end]
        case "truncate":
            del data[begin:]
        case "splice":
            data[begin:end] = draw(st.binary(max_size=64))
    return name, bytes(data)


def outcome(path: Path, content: bytes) -> Recording | FileError:
    try:
        return from_bytes(path, content)
    except FileError as error:
        return error


def holds(name: str, content: bytes) -> None:
    """Assert the claim of this module for one content."""
    recording = outcome(Path(name), content)
    if isinstance(recording, FileError):
        assert str(recording).startswith(f"{name}: ")
        assert "\n" not in str(recording)
        return
    phones = SensorLogger()
    due_s = 0.0
    for message in play(recording, root="k"):
        assert message.due_s >= due_s
        due_s = message.due_s
        if message.topic == "sensor-logger":
            phones.decode(message.payload)
        else:
            kind = "command" if message.topic.startswith("k/command/") else message.topic.rsplit("/", 1)[1]
            assert not samples.decode(kind, message.payload).refused
    assert message.topic.startswith("k/command/")
    assert recording.end_ns - recording.start_ns <= 14 * 86_400 * 10**9
    assert all(a < b for a, b in recording.pauses)


@given(NAMES, SIGNATURES, st.binary(max_size=400))
def test_any_bytes_are_a_recording_or_a_file_error(name: str, signature: bytes, content: bytes) -> None:
    holds(name, signature + content)


@settings(max_examples=600, deadline=None)
@given(mutated())
@example(("run.fit", SEEDS["run.fit"]))
@example(("ride.fit", SEEDS["ride.fit"]))
@example(("phone.zip", SEEDS["phone.zip"]))
@example(("phone.json", SEEDS["phone.json"]))
@example(("packed.gpx.xz", SEEDS["packed.gpx.xz"]))
def test_a_damaged_file_is_a_recording_or_a_file_error(file: tuple[str, bytes]) -> None:
    holds(*file)


@given(st.sampled_from(sorted(SEEDS)), st.floats(0, 1))
def test_a_file_that_is_cut_off_is_a_recording_or_a_file_error(name: str, part: float) -> None:
    holds(name, SEEDS[name][: round(part * len(SEEDS[name]))])
