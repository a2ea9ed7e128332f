"""Messages that came too late: what is kept of them, the files that hold them, the recordings in these."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from server.analyze import analysis_of
from server.codecs import imu, samples, sensor_logger
from server.codecs.sensor_logger import Reading
from server.config import Config, Server
from server.engine import Engine
from server.envelopes import Incoming
from server.errors import FileError
from server.files import read, read_all
from server.files.late_log import GAP_NS
from server.late import PARTS, WAITING_BYTES_MAX, Entry, LateLog, Record, files_of
from server.messages import Birth, Gnss, HeartRate, LateLogStatus

S = 1_000_000_000
T0 = 1_790_000_000 * S
MIB = 2**20
TOPIC = "kinefuse/v1/in/strap/hr"


def packet(seq: int, boot: int = 7) -> bytes:
    at_rest = np.tile([0.0, 0.0, 9.81], (10, 1))
    t0_ns = S + seq * S // 10
    return imu.encode(
        accel_b=at_rest, gyro_b=np.zeros((10, 3)), boot=boot, t0_ns=t0_ns, seq=seq, dt_ns=10_000_000
    )


def engine(state_dir: str = "/var/lib/kinefuse") -> Engine:
    return Engine(Config(server=Server(state_dir=state_dir)), lambda: 0)


def send(one: Engine, topic: str, payload: bytes, at_ns: int) -> None:
    one.advance([Incoming(topic, payload, False, at_ns, 0)], at_ns)


def minute(one: Engine) -> None:
    """Have a strap speak for a minute."""
    for second in range(60):
        at_ns = T0 + second * S
        send(one, TOPIC, samples.encode(HeartRate(t=at_ns, bpm=120)), at_ns)


def entry(t_s: int, bpm: int = 120, device: str = "strap") -> Entry:
    payload = samples.encode(HeartRate(t=T0 + t_s * S, bpm=bpm))
    return Entry(T0 + 100 * S, f"kinefuse/v1/in/{device}/hr", "stale", payload)


def written(folder: Path, entries: list[Entry], bytes_max: int = 32 * MIB) -> LateLogStatus:
    with LateLog(folder, bytes_max) as log:
        log.put(entries)
    return log.status


def work(log: LateLog, entries: list[Entry]) -> None:
    """Have messages written, as its thread would: that has not begun, or either might wait for ever."""
    assert not log._thread.is_alive()
    log.put(entries)
    log._queue.put(None)
    log._run()


def lines(folder: Path) -> list[Record]:
    return [
        msgspec.json.decode(line, type=Record)
        for path in files_of(folder)
        for line in path.read_bytes().splitlines()
    ]


def test_a_stale_message_is_kept_once_as_it_came() -> None:
    one = engine()
    minute(one)
    late = samples.encode([HeartRate(t=T0 - 5 * S, bpm=99), HeartRate(t=T0 - 4 * S, bpm=98)])
    send(one, TOPIC, late, T0 + 60 * S)
    assert one.late.take() == ([Entry(T0 + 60 * S, TOPIC, "stale", late)], 0)
    assert one.late.take() == ([], 0)
    assert one.registry.devices["strap"].refused == {"stale": 2}


def test_a_stale_message_behind_its_birth_in_one_tick_is_kept_and_no_other() -> None:
    one = engine()
    minute(one)
    now_ns = T0 + 61 * S
    stale = samples.encode(HeartRate(t=T0 + S // 2, bpm=99))
    told = [
        ("kinefuse/v1/in/other/hr", b'{"bpm":61}'),
        ("kinefuse/v1/in/strap/status", samples.encode(Birth())),
        (TOPIC, stale),
    ]
    one.advance([Incoming(*each, False, now_ns, 0) for each in told], now_ns)
    entries, left_out = one.late.take()
    assert [(each.topic, each.payload) for each in entries] == [(TOPIC, stale)]
    assert left_out == 0


def test_a_topic_that_is_no_text_ends_no_log(tmp_path: Path) -> None:
    bad = entry(1)._replace(topic="\ud800")
    log = LateLog(tmp_path, 32 * MIB)
    work(log, [bad])
    work(log, [entry(2)])
    assert (log.status.written, log.status.unwritten) == (1, 1)


def test_an_imu_packet_behind_newer_ones_is_kept_as_it_came() -> None:
    one = engine()
    topic = "kinefuse/v1/in/watch/imu"
    for seq in (*range(5), *range(20, 40)):
        send(one, topic, packet(seq), T0 + seq * S // 10)
    send(one, topic, packet(4, boot=6), T0 + 4 * S)  # of the boot before
    for seq in range(41, 45):
        send(one, topic, packet(seq), T0 + seq * S // 10)
    send(one, topic, packet(9), T0 + 5 * S)  # not the next of the gap
    entries, left_out = one.late.take()
    assert left_out == 0
    assert {each.reason for each in entries} == {"late"}
    assert packet(9) in [each.payload for each in entries]
    assert {each.topic for each in entries} == {topic}


def test_without_a_directory_nothing_is_kept() -> None:
    one = engine(state_dir="")
    minute(one)
    send(one, TOPIC, samples.encode(HeartRate(t=T0 - 5 * S, bpm=99)), T0 + 60 * S)
    assert one.late.take() == ([], 0)
    assert one.ingest.message(0) is None


def test_lines_tell_arrival_topic_reason_and_the_payload_whatever_its_bytes(tmp_path: Path) -> None:
    entries = [entry(0), Entry(T0, "kinefuse/v1/in/watch/imu", "late", packet(3))]
    status = written(tmp_path / "late", entries)
    first, second = lines(tmp_path / "late")
    assert (first.t_ms, first.topic, first.reason) == (T0 // 10**6 + 100_000, TOPIC, "stale")
    assert (first.payload or "").encode() == entries[0].payload
    assert second.payload is None
    assert status == LateLogStatus(2, 0, (tmp_path / "late" / "late-00000001.jsonl").stat().st_size)


def test_files_follow_each_other_and_all_together_stay_in_their_bound(tmp_path: Path) -> None:
    bytes_max = 32 * MIB
    big = Entry(T0, TOPIC, "stale", b"1" * MIB)
    log = LateLog(tmp_path, bytes_max)
    for _ in range(12):
        work(log, [big] * 6)
        assert sum(path.stat().st_size for path in files_of(tmp_path)) <= bytes_max
    status = log.status
    assert status.written == 72
    assert len(files_of(tmp_path)) <= 2 * PARTS
    assert status.bytes == sum(path.stat().st_size for path in files_of(tmp_path)) > bytes_max // 2
    assert files_of(tmp_path)[0].name > "late-00000001.jsonl"


def test_it_goes_on_where_it_stopped_and_a_line_that_was_cut_off_harms_no_other(tmp_path: Path) -> None:
    written(tmp_path, [entry(0)])
    path = tmp_path / "late-00000001.jsonl"
    with path.open("ab") as file:
        file.write(b'{"t_ms":17')
    status = written(tmp_path, [entry(1)])
    assert status.bytes == path.stat().st_size
    (recording,) = read_all(tmp_path)
    assert recording.records == 2
    assert recording.warnings == ("lines of no use: 1",)


def test_a_failure_is_counted_and_named_and_ends_with_its_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "late"
    folder.write_text("in the way")
    log = LateLog(folder, 32 * MIB)
    for _ in range(2):
        work(log, [entry(0)])
    assert log.status == LateLogStatus(0, 2, 0, "File exists")
    folder.unlink()
    work(log, [entry(0)])
    assert log.status.written == 1
    assert log.status.error == ""
    assert capsys.readouterr().err.count("the late log cannot be written: File exists") == 1


def test_what_waits_for_the_disk_is_bounded(tmp_path: Path) -> None:
    log = LateLog(tmp_path, 32 * MIB)  # nobody writes yet
    big = Entry(T0, TOPIC, "stale", b"1" * MIB)
    for _ in range(20):
        log.put([big])
    with log:
        pass
    most = WAITING_BYTES_MAX // big.size
    assert (log.status.written, log.status.unwritten) == (most, 20 - most)


def test_recordings_are_by_device_in_the_order_of_stamps_and_end_where_a_workout_would(
    tmp_path: Path,
) -> None:
    far_s = GAP_NS // S + 20
    entries = [entry(3), entry(1), entry(2, device="other"), entry(far_s), entry(far_s + 5)]
    phone = sensor_logger.encode(
        device="phone", session="s", message_id=1, readings=[Reading("heart rate", T0, {"bpm": 70.0})]
    )
    written(tmp_path, [*entries, Entry(T0, "sensor-logger", "stale", phone)])
    found = read_all(tmp_path)
    spans = [(each.device, (each.start_ns - T0) // S, (each.end_ns - T0) // S) for each in found]
    assert spans == [("other", 2, 2), ("phone", 0, 0), ("strap", 1, 3), ("strap", far_s, far_s + 5)]
    topics = [event.topic for event in found[2].events()]
    assert topics == ["in/strap/status", "command/strap", "in/strap/hr", "in/strap/hr", "command/strap"]
    assert [event.topic for event in found[1].events()][2] == "sensor-logger"
    with pytest.raises(FileError, match="holds 4 recordings"):
        read(tmp_path / "late-00000001.jsonl")


def test_what_came_too_late_is_analysed_as_any_recording(tmp_path: Path) -> None:
    fixes = [
        Entry(
            T0 + 200 * S,
            "kinefuse/v1/in/watch/gnss",
            "stale",
            samples.encode(Gnss(t=T0 + t * S, lat=47.0, lon=8.0 + 4e-5 * t, h_acc_m=3.0)),
        )
        for t in reversed(range(60))
    ]
    written(tmp_path, fixes)
    (recording,) = read_all(tmp_path)
    summary = analysis_of(recording, Config()).workout.summary
    assert summary is not None
    assert summary.distance_m == pytest.approx(4e-5 * 59 * 75_900, rel=0.03)


def test_a_log_of_nothing_of_use_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "late-00000001.jsonl"
    path.write_text('{"t_ms":1,"topic":"a/in/b/hr","reason":"stale","payload":"{}"}\n')
    with pytest.raises(FileError, match="no message in it is of use"):
        read_all(path)
