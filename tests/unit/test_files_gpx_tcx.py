import lzma
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.files import FileError, Recording, from_bytes, read
from tests.support.recorded_files import T0_NS, gpx, tcx, tcx_lap

SECOND = 10**9
BEGIN_NS = T0_NS // (3600 * SECOND) * 3600 * SECOND - 3600 * SECOND
HR_EXTENSION = (
    "<gpxtpx:TrackPointExtension><gpxtpx:hr>141</gpxtpx:hr><gpxtpx:cad>85</gpxtpx:cad>"
    "</gpxtpx:TrackPointExtension><power>250</power>"
)
TCX_POINT = (
    "<HeartRateBpm><Value>152</Value></HeartRateBpm><Extensions><ns3:TPX><ns3:Speed>3.1</ns3:Speed>"
    "<ns3:RunCadence>86</ns3:RunCadence><ns3:Watts>260</ns3:Watts></ns3:TPX></Extensions>"
)


def reading(content: bytes, name: str = "track") -> Recording:
    return from_bytes(Path(name), content)


def sent(recording: Recording, kind: str) -> list[dict[str, Any]]:
    """Return the messages of a topic's last level, or the commands."""
    return [
        msgspec.json.decode(event.payload)
        for event in recording.events()
        if kind in (event.topic.split("/")[0], event.topic.rsplit("/", 1)[1])
    ]


def orders(recording: Recording) -> list[tuple[str, float]]:
    start_ns = recording.start_ns
    return [(c["action"], (c["t"] - start_ns) / SECOND) for c in sent(recording, "command")]


def test_a_gpx_point_becomes_a_fix_with_its_time_to_the_millisecond() -> None:
    recording = reading(gpx([range(10)]))
    fix = sent(recording, "gnss")[3]
    assert fix["lat"] == pytest.approx(47 + 3 * 2.7e-5)
    assert (fix["lon"], fix["alt_m"]) == (11, 503)
    assert fix["t"] - recording.start_ns == 3 * SECOND
    assert recording.start_ns % SECOND == 250_000_000
    assert (recording.sport, recording.model, recording.totals) == ("run", "A watch", {})


def test_the_extensions_of_gpx_points_are_sensors() -> None:
    recording = reading(gpx([range(3)], extension=HR_EXTENSION))
    assert sent(recording, "hr")[0]["bpm"] == 141
    assert sent(recording, "cadence")[0]["spm"] == 170
    assert sent(recording, "power")[0]["watts"] == 250


def test_a_cadence_whose_unit_nobody_knows_is_left_out_and_said() -> None:
    recording = reading(gpx([range(3)], extension=HR_EXTENSION, kind=""))
    assert (recording.sport, sent(recording, "cadence")) == (None, [])
    assert "3 cadences" in recording.warnings[0]


def test_between_two_segments_the_timer_stood() -> None:
    recording = reading(gpx([range(10), range(40, 50)]))
    assert orders(recording) == [("start", 0), ("pause", 9), ("resume", 40), ("stop", 49)]


def test_a_track_without_time_is_no_recording_and_says_so() -> None:
    with pytest.raises(FileError, match="the track has no time"):
        reading(gpx([range(10)], time=False))


def test_a_gpx_of_waypoints_holds_no_track() -> None:
    with pytest.raises(FileError, match="no track"):
        reading(b'<gpx version="1.1"><wpt lat="1" lon="2"/></gpx>')


@pytest.mark.parametrize("name", ["gpx", "TrainingCenterDatabase"])
def test_a_document_type_is_refused_so_no_entity_can_grow(name: str) -> None:
    bomb = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "ha"}">' for i in range(9))
    with pytest.raises(FileError, match="document type"):
        reading(f"<!DOCTYPE x [{bomb}]><{name}>&e8;</{name}>".encode())


def test_elements_nested_too_deeply_are_refused() -> None:
    with pytest.raises(FileError, match="nested"):
        reading(b"<gpx>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</gpx>")


def test_xml_that_breaks_off_is_one_clear_line() -> None:
    with pytest.raises(FileError, match="not well-formed") as raised:
        reading(gpx([range(100)])[:5000], "broken.gpx")
    assert str(raised.value).startswith("broken.gpx: ")
    assert "\n" not in str(raised.value)


def test_a_tcx_point_becomes_a_fix_and_its_sensors() -> None:
    recording = reading(tcx([tcx_lap(0, 10, [range(10)], TCX_POINT)]))
    fix = sent(recording, "gnss")[3]
    assert fix["lat"] == pytest.approx(47 + 3 * 2.7e-5)
    assert (fix["alt_m"], fix["speed_mps"]) == (503, 3.1)
    assert sent(recording, "hr")[0]["bpm"] == 152
    assert sent(recording, "cadence")[0]["spm"] == 172
    assert sent(recording, "power")[0]["watts"] == 260
    assert (recording.sport, recording.model) == ("run", "A watch")


def test_the_cadence_of_a_tcx_ride_is_its_cranks() -> None:
    lap = tcx_lap(0, 3, [range(3)], "<Cadence>90</Cadence>")
    assert sent(reading(tcx([lap], "Biking")), "cadence")[0]["rpm"] == 90


def test_tcx_totals_sum_over_the_laps() -> None:
    recording = reading(tcx([tcx_lap(0, 10, [range(10)]), tcx_lap(10, 20, [range(10, 30)])]))
    assert recording.totals == {"distance_m": 90, "moving_s": 30, "heart_rate_mean_bpm": 150}


def test_a_new_track_within_a_lap_is_a_pause_and_a_new_lap_is_none() -> None:
    laps = [tcx_lap(0, 20, [range(10), range(40, 50)]), tcx_lap(50, 10, [range(50, 60)])]
    assert orders(reading(tcx(laps))) == [
        ("start", 0),
        ("pause", 9),
        ("resume", 40),
        ("lap", 50),
        ("stop", 59),
    ]


def test_a_lap_longer_than_its_own_timer_has_its_pause_in_its_longest_gap() -> None:
    points = [*range(100), *range(400, 500, 5)]
    recording = reading(tcx([tcx_lap(0, 195, [points])]))
    assert orders(recording) == [("start", 0), ("pause", 99), ("resume", 400), ("stop", 495)]


def test_gaps_of_a_lap_that_ran_through_are_smart_recording() -> None:
    points = [*range(100), *range(400, 500, 5)]
    assert orders(reading(tcx([tcx_lap(0, 495, [points])]))) == [("start", 0), ("stop", 495)]


def test_a_tcx_without_points_says_so() -> None:
    with pytest.raises(FileError, match="no track point with a time"):
        reading(tcx([tcx_lap(0, 10, [])]))
    with pytest.raises(FileError, match="no activity"):
        reading(b"<TrainingCenterDatabase><Courses/></TrainingCenterDatabase>")


def test_a_file_packed_with_xz_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "morning.gpx.xz"
    path.write_bytes(lzma.compress(gpx([range(10)])))
    assert (read(path).kind, read(path).device) == ("gpx", "morning")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b'{"a": 1}', "JSON"),
        (b"a,b,c\n1,2,3\n", "CSV"),
        (b"<svg/>", "XML"),
        (b"\x00\x01\x02", "neither"),
        (b"", "empty"),
        (lzma.compress(b"x" * 100)[:40], "damaged xz"),
    ],
)
def test_what_is_no_recording_is_named(content: bytes, cause: str) -> None:
    with pytest.raises(FileError, match=cause):
        reading(content)
