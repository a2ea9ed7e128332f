"""The engine, fed message by message: who is enrolled, what is refused, what harms nobody."""

from collections import Counter

import msgspec
import numpy as np
import pytest

from fusion._core import lib
from server.codecs import imu, imu_json, samples, sensor_logger
from server.codecs.sensor_logger import Reading
from server.config import Athlete, Config, Device
from server.engine import END_NS, LOOK_SILENT_NS, ORDERS_MAX, Engine
from server.envelopes import Incoming, Outgoing
from server.jobs import STEPS_MAX
from server.messages import Birth, Clock, Command, Gnss, HeartRate, ImuJson, Live, Packet, Reply, Workout
from server.schedule import LIFESPAN_NS, SAMPLES_MAX, SILENT_NS

S = 1_000_000_000
T0 = 1_790_000_000 * S
ROOT = "kinefuse/v1"


class Desk:
    """An engine with a clock of the test's own."""

    def __init__(self, config: Config | None = None) -> None:
        self.engine = Engine(config or Config(), lambda: 0)
        self.now_ns = T0

    def send(self, topic: str, payload: bytes | Packet | Command, retained: bool = False) -> list[Outgoing]:
        body = payload if isinstance(payload, bytes) else samples.encode(payload)
        message = Incoming(f"{ROOT}/{topic}", body, retained, self.now_ns, 0)
        return self._all(self.engine.advance([message], self.now_ns))

    def wait(self, ns: int) -> list[Outgoing]:
        self.now_ns += ns
        return self._all(self.engine.advance([], self.now_ns))

    def _all(self, out: list[Outgoing]) -> list[Outgoing]:
        while self.engine.behind:
            out += self.engine.advance([], self.now_ns)
        return out

    def refused(self, device: str) -> dict[str, int]:
        return dict(self.engine.registry.devices[device].refused)


def on(out: list[Outgoing], topic: str) -> list[bytes]:
    return [each.payload for each in out if each.topic.endswith(topic)]


def reply(out: list[Outgoing], command: str) -> Reply:
    (payload,) = on(out, f"/reply/{command}")
    return msgspec.json.decode(payload, type=Reply)


def test_a_command_on_a_device_topic_is_refused_and_enrols_nobody() -> None:
    desk = Desk()
    assert desk.send("in/x/command", Command("start", "a")) == []
    assert desk.engine.registry.devices == {}
    assert desk.engine.ingest.refused == {"kind": 1}


def test_a_malformed_packet_enrols_nobody() -> None:
    desk = Desk()
    for payload in (b"", b"K", b"{}", b'{"bpm": -1}', b"\xff"):
        desk.send("in/x/imu", payload)
        desk.send("in/x/hr", payload if payload != b"{}" else b'{"bpm": "x"}')
    desk.send("in/x/status", b'{"state": "offline"}', retained=True)
    assert desk.engine.registry.devices == {}


@pytest.mark.parametrize("topic", ["in/a b/hr", "in/a/b/c", "in//hr", "other", "command/a/b", "in/a\n/hr"])
def test_a_topic_that_means_nothing_is_counted(topic: str) -> None:
    desk = Desk()
    desk.send(topic, b'{"bpm": 60}')
    assert desk.engine.ingest.refused == {"topic": 1}


def test_a_retained_sample_is_refused_since_it_is_of_some_time_ago() -> None:
    desk = Desk()
    desk.send("in/x/hr", HeartRate(bpm=60.0))
    desk.send("in/x/hr", HeartRate(bpm=70.0), retained=True)
    assert desk.refused("x") == {"retained": 1}


def test_a_workout_starts_with_the_first_measurement_and_after_a_stop_only_by_command() -> None:
    desk = Desk()
    (started,) = on(desk.send("in/x/hr", HeartRate(bpm=60.0)), "/workout")
    assert msgspec.json.decode(started, type=Workout).event == "started"
    desk.now_ns += S
    assert reply(desk.send("command/x", Command("stop", "a")), "a").ok
    desk.now_ns += S
    assert on(desk.send("in/x/hr", HeartRate(bpm=61.0)), "/workout") == []
    assert reply(desk.send("command/x", Command("start", "b")), "b").ok


def test_a_command_of_the_future_is_refused_and_blocks_nothing() -> None:
    desk = Desk()
    desk.send("in/x/hr", HeartRate(bpm=60.0))
    answer = reply(desk.send("command/x", Command("lap", "a", t=T0 + 500 * S)), "a")
    assert (answer.ok, answer.reason) == (False, "time")
    desk.now_ns += 2 * S
    assert on(desk.send("in/x/hr", HeartRate(bpm=61.0)), "/live")
    assert desk.refused("x") == {}


def test_a_start_told_nine_minutes_late_ends_the_workout_now_and_turns_no_time_back() -> None:
    desk = Desk()
    desk.send("in/x/hr", HeartRate(bpm=60.0))
    before = [on(desk.wait(S), "/live") for _ in range(20)][-1]
    out = desk.send("command/x", Command("start", "a", t=desk.now_ns - 540 * S))
    assert reply(out, "a").ok
    ended, started = (msgspec.json.decode(each, type=Workout) for each in on(out, "/workout"))
    assert ended.summary is not None
    assert ended.summary.elapsed_s == pytest.approx(20.0, abs=0.5)
    assert (started.event, started.t_ms) == ("started", ended.t_ms)
    after = on(out, "/live") + on(desk.wait(S), "/live")
    times = [msgspec.json.decode(each, type=Live).t_ms for each in before + after]
    assert len(after) <= 2
    assert times == sorted(times)


def test_a_sample_of_the_future_is_refused_and_blocks_nothing() -> None:
    desk = Desk()
    for second in range(3):
        desk.send("in/x/hr", HeartRate(t=second * S, bpm=60.0))
        desk.now_ns += S
    desk.send("in/x/hr", HeartRate(t=1_000_000 * S, bpm=60.0))
    desk.now_ns += S
    assert on(desk.send("in/x/hr", HeartRate(t=4 * S, bpm=60.0)), "/live")
    assert desk.refused("x") == {"future": 1}


def test_a_duplicate_is_counted_and_used_once() -> None:
    desk = Desk()
    for _ in range(3):
        desk.send("in/x/gnss", Gnss(t=5 * S, seq=7, lat=1.0, lon=2.0))
    assert desk.refused("x") == {"duplicate": 2}


def test_a_workout_without_a_measurement_ends_where_it_began() -> None:
    desk = Desk()
    desk.send("in/x/status", Birth())
    assert reply(desk.send("command/x", Command("start", "a")), "a").ok
    (out,) = desk.engine.end_workout(desk.engine.registry.athletes["x"])
    ended = msgspec.json.decode(out.payload, type=Workout)
    assert ended.summary is not None
    assert ended.summary.end_ms == ended.summary.start_ms == T0 // 1_000_000
    assert ended.summary.elapsed_s == 0.0


def test_silence_ends_a_workout_and_then_one_message_tells_of_thirty_seconds() -> None:
    desk = Desk()
    desk.send("in/x/hr", HeartRate(bpm=60.0))
    (ended,) = on(desk.wait(END_NS + S) + desk.wait(LOOK_SILENT_NS), "/workout")
    assert msgspec.json.decode(ended, type=Workout).event == "ended"
    counts = [len(on(desk.wait(S), "/live")) for _ in range(2 * lib.KF_IDLE_NS // S)]
    assert 1 <= sum(counts) <= 2
    assert max(counts) == 1


def test_steps_go_on_by_the_clock_where_no_packet_comes() -> None:
    desk = Desk()
    desk.send("in/x/hr", HeartRate(bpm=60.0))
    lives = [
        msgspec.json.decode(payload, type=Live)
        for _ in range(int(SILENT_NS // S) + 70)
        for payload in on(desk.wait(S), "/live")
    ]
    assert len(lives) >= 28
    heart = [live.metrics["heart_rate"] for live in lives]
    assert heart[0].value is not None
    assert heart[-1].value is None
    assert heart[-1].reason == "stale"
    ages = [metric.age_s for metric in heart if metric.age_s is not None]
    assert ages == sorted(ages)


def test_a_recordings_steps_wait_for_its_own_stamps() -> None:
    desk = Desk()
    desk.send("in/x/status", Birth(clock=Clock(recorded=True)))
    desk.send("in/x/hr", HeartRate(t=10 * S, bpm=60.0))
    assert on(desk.wait(60 * S), "/live") == []
    assert len(on(desk.send("in/x/hr", HeartRate(t=13 * S, bpm=60.0)), "/live")) == 3


def test_unknown_devices_are_refused_where_only_known_ones_are_enrolled() -> None:
    config = msgspec.convert(
        {"server": {"enroll": "known"}, "athletes": [{"id": "ann", "devices": [{"id": "strap"}]}]}, Config
    )
    desk = Desk(config)
    desk.send("in/other/hr", HeartRate(bpm=60.0))
    desk.send("in/strap/hr", HeartRate(bpm=60.0))
    assert list(desk.engine.registry.devices) == ["strap"]
    assert desk.engine.ingest.refused == {"unknown_device": 1}


def test_enrolment_stops_at_the_limit() -> None:
    desk = Desk(msgspec.convert({"server": {"devices_max": 3}}, Config))
    for number in range(5):
        desk.send(f"in/d{number}/hr", HeartRate(bpm=60.0))
    assert len(desk.engine.registry.devices) == 3
    assert desk.engine.ingest.refused == {"devices_max": 2}


def test_a_flood_of_steps_of_one_athlete_is_spread_over_ticks() -> None:
    desk = Desk()
    desk.send("in/x/status", Birth(clock=Clock(recorded=True)))
    flood = b",".join(b'{"bpm": 60, "t": %d}' % (T0 + i * 590 * S) for i in range(1000))
    message = Incoming(f"{ROOT}/in/x/hr", b"[" + flood + b"]", False, desk.now_ns, 0)
    assert len(on(desk.engine.advance([message], desk.now_ns), "/live")) <= STEPS_MAX
    assert desk.engine.behind
    assert desk.engine.schedule.jobs_waiting <= lib.KF_JOBS_MAX + 600
    assert desk.refused("x")["too_fast"] > 0


def test_samples_of_one_kind_in_a_step_are_bounded() -> None:
    desk = Desk()
    flood = b",".join(b'{"bpm": 60, "t": %d}' % (10 * S + i) for i in range(1000))
    desk.send("in/x/hr", b"[" + flood + b"]")
    assert desk.refused("x") == {"too_fast": 1000 - SAMPLES_MAX}


@pytest.mark.parametrize("t", [-(2**62) - 1, -(2**63)])
def test_a_first_stamp_of_long_ago_opens_no_workout(t: int) -> None:
    desk = Desk()
    assert on(desk.send("in/x/hr", HeartRate(t=t, bpm=60.0)), "/workout") == []
    assert desk.refused("x") == {"stale": 1}
    assert len(on(desk.send("in/x/hr", HeartRate(t=1 * S, bpm=60.0)), "/workout")) == 1


@pytest.mark.parametrize("t", [-50 * 365 * 86_400 * S, 0, T0 - 3600 * S])
def test_a_clock_that_does_not_show_utc_opens_a_workout_on_arrival(t: int) -> None:
    desk = Desk()
    (started,) = on(desk.send("in/x/hr", HeartRate(t=t, bpm=60.0)), "/workout")
    assert msgspec.json.decode(started, type=Workout).t_ms == T0 // 1_000_000


def test_a_list_that_reaches_far_back_opens_a_workout_at_most_a_lifespan_before_its_arrival() -> None:
    desk = Desk()
    beats = b",".join(b'{"bpm": 60, "t": %d}' % (i * S) for i in range(60, 0, -4))
    (started,) = on(desk.send("in/x/hr", b"[" + beats + b"]"), "/workout")
    assert msgspec.json.decode(started, type=Workout).t_ms == (T0 - 8 * S) // 1_000_000
    assert desk.refused("x") == {"stale": 12}


def test_a_packet_of_slow_rows_opens_a_workout_at_most_a_lifespan_before_its_arrival() -> None:
    desk = Desk()
    rows = [(0.0, 0.0, 9.8)] * 10
    out = desk.send("in/x/imu", imu_json.encode(ImuJson(t=5 * S, dt=4 * S, accel=rows, gyro=rows)))
    for started in on(out, "/workout"):
        assert msgspec.json.decode(started, type=Workout).t_ms >= (T0 - LIFESPAN_NS) // 1_000_000
    assert desk.refused("x")["stale"] > 0


def phone(desk: Desk, device: str, *readings: Reading) -> list[Outgoing]:
    payload = sensor_logger.encode(device=device, session="s", message_id=1, readings=readings)
    return desk.engine.advance([Incoming("sensor-logger", payload, False, desk.now_ns, 0)], desk.now_ns)


BEAT = Reading("heartrate", T0, {"bpm": 200})
WRIST = Reading(
    "wristmotion",
    T0,
    {f"{kind}{axis}": 0.1 for kind in ("rotationRate", "gravity", "acceleration") for axis in "XYZ"},
)


@pytest.mark.parametrize("first", [HeartRate(bpm=60.0), Birth()])
def test_a_phone_does_not_speak_for_a_device_with_topics_of_its_own(first: Packet) -> None:
    desk = Desk()
    desk.send("in/good/status" if isinstance(first, Birth) else "in/good/hr", first)
    before = desk.engine.registry.devices["good"].packets
    phone(desk, "good", BEAT)
    assert desk.engine.registry.devices["good"].packets == before
    assert desk.refused("good") == {}
    assert desk.engine.ingest.refused == {"taken": 1}


def test_a_phone_s_watch_does_not_speak_for_a_device_with_topics_of_its_own() -> None:
    desk = Desk()
    imu = ImuJson(dt=10_000_000, accel=[(0.0, 0.0, 9.8)], gyro=[(0.0, 0.0, 0.0)])
    desk.send("in/good-watch/imu", imu_json.encode(imu))
    phone(desk, "good", BEAT, WRIST)
    devices = desk.engine.registry.devices
    assert (devices["good"].packets, devices["good-watch"].packets) == (1, 1)
    assert desk.engine.ingest.refused == {"taken": 1}


@pytest.mark.parametrize("recorded", [False, True])
def test_a_phone_speaks_for_a_configured_device_and_for_one_that_plays_a_recording(recorded: bool) -> None:
    config = msgspec.convert({"athletes": [{"id": "ann", "devices": [{"id": "pocket"}]}]}, Config)
    desk = Desk(config)
    if recorded:
        desk.send("in/pocket/status", Birth(clock=Clock(recorded=True)))
    assert len([out for out in phone(desk, "pocket", BEAT) if out.topic.endswith("ann/workout")]) == 1
    assert desk.engine.ingest.refused == {}


def test_a_device_takes_its_id_back_from_a_phone() -> None:
    desk = Desk()
    phone(desk, "good", BEAT)
    desk.now_ns += S
    desk.send("in/good/hr", HeartRate(bpm=60.0))
    phone(desk, "good", BEAT)
    assert desk.engine.registry.devices["good"].packets == 2
    assert desk.engine.ingest.refused == {"taken": 1}


def test_an_unknown_device_does_not_join_the_configured_athlete_whose_id_it_has() -> None:
    config = msgspec.convert({"server": {"enroll": "auto"}, "athletes": [{"id": "ann"}]}, Config)
    desk = Desk(config)
    assert desk.send("in/ann/hr", HeartRate(bpm=60.0)) == []
    phone(desk, "ann", BEAT)
    assert desk.engine.registry.devices == {}
    assert desk.engine.ingest.refused == {"unknown_device": 2}
    named = msgspec.convert({"athletes": [{"id": "ann", "devices": [{"id": "ann"}]}]}, Config)
    assert on(Desk(named).send("in/ann/hr", HeartRate(bpm=60.0)), "ann/workout")


@pytest.mark.parametrize("recorded", [False, True])
def test_a_live_message_is_held_to_the_end_to_end_budget_unless_it_is_of_a_recording(recorded: bool) -> None:
    desk = Desk()
    desk.send("in/x/status", Birth(clock=Clock(recorded=recorded)))
    out: list[Outgoing] = []
    for second in range(5):
        body = samples.encode(HeartRate(t=desk.now_ns, bpm=100.0))
        message = Incoming(f"{ROOT}/in/x/hr", body, False, desk.now_ns, 7 + second)
        out += desk.engine.advance([message], desk.now_ns)
        desk.now_ns += S
    caused = {each.caused_ns for each in out if each.topic.endswith("/live")}
    assert caused
    assert (caused == {0}) is recorded


def test_commands_that_wait_are_bounded_and_the_others_are_answered() -> None:
    desk = Desk()
    desk.send("in/x/hr", HeartRate(bpm=60.0))
    laps = [b'{"id": "c%d", "action": "lap"}' % number for number in range(3000)]
    flood = [Incoming(f"{ROOT}/command/x", lap, False, desk.now_ns, 0) for lap in laps]
    out = desk.engine.advance(flood, desk.now_ns)
    told = [msgspec.json.decode(each.payload, type=Reply) for each in out if "/reply/" in each.topic]
    assert Counter(each.reason for each in told if not each.ok) == {"too_many": 3000 - ORDERS_MAX}
    while desk.engine.behind:
        out += desk.engine.advance([], desk.now_ns)
    told = [msgspec.json.decode(each.payload, type=Reply) for each in out if "/reply/" in each.topic]
    assert sum(each.ok or each.reason == "laps_max" for each in told) == ORDERS_MAX
    assert on(desk.send("command/x", Command("pause", "again")), "/reply/again")


def test_who_never_had_a_workout_is_told_of_without_one_whatever_the_row() -> None:
    athletes = [Athlete(id=f"a{number}", devices=[Device(id=f"d{number}")]) for number in range(100)]
    desk = Desk(Config(athletes=athletes))
    assert not reply(desk.send("command/a99", Command("pause", "early")), "early").ok
    at_rest, told = np.array([[0.0, 0.0, 9.81]]), list[bytes]()
    desk.wait(S)
    for seq in range(6):  # too few samples for a window, which would open a workout
        desk.wait(S // 500)
        packet = imu.encode(
            accel_b=at_rest, gyro_b=np.zeros((1, 3)), boot=1, t0_ns=desk.now_ns, seq=seq, dt_ns=S // 500
        )
        told += on(desk.send("in/d99/imu", packet), "/a99/live")
    for _ in range(8):
        told += on(desk.wait(S // 2), "/a99/live")
    assert msgspec.json.decode(told[0], type=Live).workout is None
    assert len(desk.engine.workouts.states(0)) >= 100
