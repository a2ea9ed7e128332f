from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.files import FileError, Recording, from_bytes, read
from tests.support.recorded_files import (
    CYCLING,
    RUNNING,
    START,
    STOP_ALL,
    SWIMMING,
    T0_NS,
    T0_S,
    TRANSITION,
    FitFile,
    fit_run,
)

PATH = Path("out/My run (1).fit.xz")
SECOND = 10**9


def reading(file: FitFile | bytes) -> Recording:
    return from_bytes(PATH, file if isinstance(file, bytes) else file.to_bytes())


def sent(recording: Recording, kind: str) -> list[dict[str, Any]]:
    """Return the messages of a topic's last level, or the commands."""
    return [
        msgspec.json.decode(event.payload)
        for event in recording.events()
        if kind in (event.topic.split("/")[0], event.topic.rsplit("/", 1)[1])
    ]


def orders(recording: Recording) -> list[tuple[str, int]]:
    return [(c["action"], (c["t"] - T0_NS) // SECOND) for c in sent(recording, "command")]


def test_a_run_is_born_starts_is_sampled_in_order_and_stops() -> None:
    recording = reading(fit_run(60))
    events = list(recording.events())
    assert recording.device == "My-run--1-"
    assert [e.topic for e in events[:2]] == ["in/My-run--1-/status", "command/My-run--1-"]
    assert events[-1].topic == "command/My-run--1-"
    assert [e.t_ns for e in events] == sorted(e.t_ns for e in events)
    assert orders(recording) == [("start", 0), ("stop", 59)]
    counted = Counter(e.topic.rsplit("/", 1)[1] for e in events if e.topic.startswith("in/"))
    assert counted == {"status": 1, "gnss": 60, "hr": 60, "cadence": 60}
    assert sent(recording, "command")[0]["sport"] == "run"
    birth = sent(recording, "status")[0]
    assert birth["clock"]["recorded"] is True
    assert recording.records == 60
    assert recording.warnings == ()


def test_positions_heights_and_speeds_come_in_degrees_and_si_units() -> None:
    fix = sent(reading(fit_run()), "gnss")[10]
    assert fix["lat"] == pytest.approx(47.0 + 10 * 2.7e-5, abs=1e-7)
    assert fix["lon"] == pytest.approx(11.0, abs=1e-7)
    assert (fix["alt_m"], fix["speed_mps"]) == (pytest.approx(510), pytest.approx(3))
    assert fix["t"] == T0_NS + 10 * SECOND


def test_the_distance_of_the_file_is_told_as_a_total_and_never_sent() -> None:
    recording = reading(fit_run(60))
    assert recording.totals == {"distance_m": 180, "moving_s": 60, "heart_rate_mean_bpm": 140}
    assert not any(b"distance" in event.payload for event in recording.events())


def test_totals_sum_over_sessions_and_heart_rate_is_weighted_by_time() -> None:
    file = fit_run(60).session(
        60, 80, RUNNING, total_distance=20.0, total_timer_time=20.0, avg_heart_rate=180
    )
    assert reading(file).totals == {"distance_m": 200, "moving_s": 80, "heart_rate_mean_bpm": 150}


def test_a_run_counts_both_legs_with_fractions_and_a_ride_its_crank() -> None:
    run = FitFile().record(0, cadence=85, fractional_cadence=0.5).session(0, 1, RUNNING)
    ride = FitFile().record(0, cadence=85, fractional_cadence=0.5).session(0, 1, CYCLING)
    swim = FitFile().record(0, cadence=30).session(0, 1, SWIMMING)
    assert sent(reading(run), "cadence")[0]["spm"] == 171
    assert sent(reading(ride), "cadence")[0]["rpm"] == 85.5
    assert sent(reading(swim), "cadence") == []


def test_a_heart_rate_of_zero_and_invalid_values_are_absent() -> None:
    file = FitFile().record(0, heart_rate=0, power=None, cadence=None, position_lat=None, position_long=None)
    file.record(1, heart_rate=None, position_lat=0.0, position_long=0.0).session(0, 1, RUNNING)
    recording = reading(file)
    assert [e.topic.rsplit("/", 1)[0] for e in recording.events()][1:-1] == ["command"]
    assert recording.records == 2


def test_a_stopped_timer_pauses_but_not_at_the_end() -> None:
    file = FitFile().timer(0, START)
    for second in (*range(20), *range(50, 70)):
        file.record(second, heart_rate=120)
    file.timer(20, STOP_ALL).timer(49, START).timer(69, STOP_ALL)
    recording = reading(file)
    assert orders(recording) == [("start", 0), ("pause", 20), ("resume", 49), ("stop", 69)]
    assert recording.pauses == ((T0_NS + 20 * SECOND, T0_NS + 49 * SECOND),)


def test_a_timer_that_is_never_started_again_stays_stopped() -> None:
    file = FitFile().timer(0, START)
    for second in range(60):
        file.record(second, heart_rate=120)
    assert orders(reading(file.timer(20, STOP_ALL))) == [("start", 0), ("pause", 20), ("stop", 59)]


def test_records_before_the_first_start_come_before_the_workout() -> None:
    file = FitFile()
    for second in range(10):
        file.record(second, heart_rate=100)
    recording = reading(file.timer(5, START))
    assert orders(recording) == [("start", 5), ("stop", 9)]
    assert len(sent(recording, "hr")) == 10


def test_laps_begin_where_the_file_says_but_not_at_the_start() -> None:
    file = fit_run(60)
    for begin, end in ((0, 20), (20, 45), (45, 60)):
        file.add("lap", timestamp=T0_S + end, start_time=T0_S + begin)
    assert orders(reading(file)) == [("start", 0), ("lap", 20), ("lap", 45), ("stop", 59)]


def test_beats_come_with_the_record_that_follows_them() -> None:
    file = FitFile()
    for second in range(5):
        file.add("hrv", time=[0.5, 0.51, None, None, None]).record(second, heart_rate=120)
    assert [hr["rr_ms"] for hr in sent(reading(file), "hr")] == [[500, 510]] * 5


def test_beats_of_a_long_silence_are_spread_over_it() -> None:
    file = FitFile().record(0, heart_rate=120)
    for _ in range(60):
        file.add("hrv", time=[0.5, 0.5])
    rates = sent(reading(file.record(60, heart_rate=120)), "hr")
    assert sum(len(hr.get("rr_ms", [])) for hr in rates) == 120
    stamps = [(hr["t"] - T0_NS) / SECOND for hr in rates]
    assert stamps == pytest.approx([0, *range(5, 65, 5)])


def test_a_straps_own_beats_fill_in_where_records_have_no_heart_rate() -> None:
    def packed(*ticks: int) -> list[int]:
        pairs = zip(ticks[::2], ticks[1::2], strict=True)
        return [
            octet for a, b in pairs for octet in (a & 0xFF, (a >> 8 & 0xF) | (b & 0xF) << 4, b >> 4 & 0xFF)
        ]

    file = FitFile()
    for second in range(20):
        file.record(second, speed=1.0)
    file.record(20, heart_rate=130).session(0, 20, SWIMMING)
    first = 4000  # ticks of 1/1024 s: the low 12 bits wrap within the next beats
    beats = [first + 512 * beat for beat in range(1, 9)]
    file.add(
        "hr", timestamp=T0_S, fractional_timestamp=0.5, filtered_bpm=[119], event_timestamp=[first / 1024]
    )
    file.add("hr", filtered_bpm=[120] * 8, event_timestamp_12=packed(*beats))
    file.add("hr", filtered_bpm=[125] * 2, event_timestamp_12=packed(beats[-1] + 3000, beats[-1] + 6500))
    file.add("hr", filtered_bpm=[126] * 2, event_timestamp_12=packed(beats[-1] + 10500, beats[-1] + 13000))
    rates = sent(reading(file), "hr")
    stamps = [(rate["t"] - T0_NS) / SECOND for rate in rates]
    expected = [0.5 + beat / 2 for beat in range(9)] + [4.5 + ticks / 1024 for ticks in (3000, 6500, 10500)]
    assert stamps == pytest.approx([*expected, 20], abs=2e-6)
    assert [rate["bpm"] for rate in rates[-4:]] == [125, 125, 126, 130]


def test_records_of_one_second_are_merged_and_the_first_value_is_believed() -> None:
    file = FitFile().record(0, heart_rate=120).record(0, heart_rate=150, power=200).record(1, heart_rate=121)
    recording = reading(file)
    assert [hr["bpm"] for hr in sent(recording, "hr")] == [120, 121]
    assert sent(recording, "power")[0]["watts"] == 200
    assert recording.warnings == ("1 records repeat a second: merged",)


def test_time_that_runs_backward_is_sorted_and_said() -> None:
    file = FitFile().record(5, heart_rate=125).record(3, heart_rate=123).record(6, heart_rate=126)
    recording = reading(file)
    assert [hr["bpm"] for hr in sent(recording, "hr")] == [123, 125, 126]
    assert recording.warnings == ("time runs backward 1 times: sorted",)


def test_a_stamp_years_away_does_not_make_the_workout_years_long() -> None:
    recording = reading(fit_run(30).record(10**9, heart_rate=99))
    assert recording.end_ns - recording.start_ns == 29 * SECOND
    assert "more than 7 days" in recording.warnings[0]


def test_a_clock_that_was_set_on_the_way_loses_only_the_records_before() -> None:
    file = FitFile().add("record", timestamp=100, heart_rate=90)
    recording = reading(file.record(0, heart_rate=120).record(1, heart_rate=121))
    assert recording.records == 2
    assert recording.warnings == ("1 records without a time: left out",)


def test_a_developer_field_stands_for_the_native_one_where_that_is_missing() -> None:
    assert sent(reading(FitFile().developed_record(0, 7, 250)), "power")[0]["watts"] == 250


def test_indoors_the_speed_is_the_wheels_or_the_feets() -> None:
    ride = FitFile().record(0, speed=8.0).session(0, 1, CYCLING)
    run = FitFile().record(0, speed=3.0).session(0, 1, RUNNING)
    swim = FitFile().record(0, speed=1.0).session(0, 1, SWIMMING)
    assert sent(reading(ride), "wheel")[0]["speed_mps"] == 8
    assert sent(reading(run), "foot")[0]["speed_mps"] == 3
    assert [e.topic.split("/")[0] for e in reading(swim).events()] == ["in", "command", "command"]


def test_several_sports_are_one_workout_and_each_has_its_own_cadence() -> None:
    file = FitFile().record(0, cadence=80).record(30, cadence=80).record(60, cadence=80)
    file.session(0, 20, RUNNING).session(20, 40, TRANSITION).session(40, 61, CYCLING)
    recording = reading(file)
    assert recording.sport == "other"
    assert [sorted(c.keys() - {"t"}) for c in sent(recording, "cadence")] == [["spm"], ["rpm"]]
    assert orders(recording) == [("start", 0), ("stop", 60)]


def test_the_order_of_bytes_does_not_matter() -> None:
    little, big = reading(fit_run(20)), reading(fit_run(20, order=">"))
    assert list(little.events()) == list(big.events())


def test_a_chained_file_is_one_recording() -> None:
    second = FitFile()
    for t in range(60, 90):
        second.record(t, heart_rate=150)
    recording = reading(fit_run(60).to_bytes() + second.to_bytes())
    assert (recording.records, recording.warnings) == (90, ())


def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    whole = fit_run(60).to_bytes()
    recording = reading(whole[: len(whole) // 2])
    assert 20 < recording.records < 40
    assert "cut off" in recording.warnings[0]
    assert recording.totals == {"distance_m": 3.0 * (recording.records - 1)}


def test_a_file_that_was_never_closed_is_read() -> None:
    recording = reading(fit_run(60).to_bytes(body_size=0))
    assert recording.records == 60
    assert "never closed" in recording.warnings[0]


def test_a_wrong_checksum_is_said() -> None:
    data = fit_run(60).to_bytes()
    recording = reading(data[:-2] + bytes((data[-2] ^ 1, data[-1])))
    assert (recording.records, len(recording.warnings)) == (60, 1)
    assert "checksum" in recording.warnings[0]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (FitFile().to_bytes(), "no record: its type is activity"),
        (FitFile().add("record", heart_rate=120).to_bytes(), "no record with a time"),
        (FitFile().to_bytes()[:20], "no record: the file is cut off"),
        (b"", "the file is empty"),
        (FitFile().add("file_id", type=6).record(0, heart_rate=1).to_bytes(), "a course"),
    ],
)
def test_a_file_without_records_says_what_is_wrong(content: bytes, cause: str) -> None:
    with pytest.raises(FileError, match=cause) as raised:
        reading(content)
    assert str(PATH) in str(raised.value)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        read(tmp_path / "absent.fit")


def test_a_fit_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "upload.bin"
    path.write_bytes(fit_run(5).to_bytes())
    assert read(path).kind == "fit"


def test_another_device_takes_over_topics_and_athlete() -> None:
    recording = reading(fit_run(5)).renamed("left watch")
    assert {e.topic.split("/")[1] for e in recording.events()} == {"left-watch"}
