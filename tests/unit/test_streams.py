"""Streams of devices: the five causes, each reached from a script, and what is no cause at all."""

from collections import Counter

import numpy as np
import pytest

from server import config
from server.deadlines.kinds import IMU, KINDS, may_rest
from server.deadlines.streams import JUDGED_MAX, LOOK_NS, Streams
from server.messages import Baro, Battery, Cadence, Foot, Gnss, HeartRate, Packet, Power, StreamState, Wheel
from tests.support.hearing import hear

SECOND = 1_000_000_000
BEGIN_NS = 1_764_585_664 * SECOND
HR, POWER, BATTERY = KINDS.index("hr"), KINDS.index("power"), KINDS.index("battery")


class Script:
    """A device, and what is told of it while time goes on in steps of a look."""

    def __init__(self, *, silence_ms: float = 2_000.0) -> None:
        self.streams = Streams(config.Deadlines(silence_ms=silence_ms), capacity=1)
        self.streams.add(0)
        self.now_ns = BEGIN_NS
        self.jumps = np.zeros(1, np.int64)
        self.told: list[tuple[float, str, StreamState]] = []
        self.streams.look(self.now_ns, self.jumps)

    def go_on(self, seconds: float, *sent: int, age_s: float = 0.0, rests: bool = False) -> None:
        """Let time pass; packets of these kinds come once a look, the battery's once in 30 s."""
        for _ in range(round(seconds * SECOND / LOOK_NS)):
            self.now_ns += LOOK_NS
            for kind in sent:
                if kind != BATTERY or (self.now_ns - BEGIN_NS) % (30 * SECOND) == 0:
                    newest_ns = self.now_ns - round(age_s * SECOND)
                    hear(self.streams, 0, kind, self.now_ns, newest_ns, rests=rests or kind == BATTERY)
            self.look()

    def look(self) -> None:
        for change in self.streams.look(self.now_ns, self.jumps):
            assert change.before != change.state
            self.told.append(((self.now_ns - BEGIN_NS) / SECOND, change.kind, change.state))

    @property
    def states(self) -> list[tuple[str, StreamState]]:
        return [(kind, state) for _, kind, state in self.told]


def test_a_stream_that_goes_on_is_alive_and_nothing_is_told() -> None:
    script = Script()
    script.go_on(60, IMU, HR, BATTERY)
    assert script.told == []
    assert script.streams.counts["alive"] == 3


def test_a_sensor_is_silent_when_others_of_its_device_go_on() -> None:
    script = Script()
    script.go_on(10, IMU, HR)
    script.go_on(60, HR)
    assert script.states == [("imu", "sensor_silent")]
    assert script.told[0][0] == pytest.approx(12.25, abs=0.3)
    script.go_on(5, IMU, HR)
    assert script.states == [("imu", "sensor_silent"), ("imu", "alive")]
    assert (script.streams.faults["sensor_silent"], script.streams.recoveries) == (1, 1)


def test_a_link_is_dead_when_nothing_at_all_comes_for_its_lease() -> None:
    script = Script()
    script.go_on(10, IMU, HR)
    script.go_on(60)
    assert script.states == [("imu", "link_dead"), ("hr", "link_dead")]
    assert {at_s for at_s, _, _ in script.told} == {20.25}


def test_a_last_will_kills_the_link_at_once_and_a_birth_revives_it() -> None:
    script = Script()
    script.go_on(10, IMU)
    script.streams.death(0)
    script.go_on(60)
    assert script.told == [(10.25, "imu", "link_dead")]
    script.streams.birth(0, script.now_ns)
    script.go_on(1)
    assert script.states[1:] == []  # its data are still awaited
    script.go_on(30, IMU)
    assert script.states[1:] == [("imu", "alive")]


def test_a_device_that_came_back_without_one_of_its_sensors_is_not_dead() -> None:
    script = Script()
    script.go_on(10, IMU, HR)
    script.streams.death(0)
    script.go_on(60)
    script.streams.birth(0, script.now_ns)
    script.told.clear()
    script.go_on(30, HR)
    assert script.states == [("hr", "alive"), ("imu", "sensor_silent")]


def test_what_came_before_the_last_will_does_not_revive_the_link() -> None:
    script = Script()
    script.go_on(10, IMU)
    hear(script.streams, 0, IMU, script.now_ns + 1, script.now_ns + 1)
    script.streams.death(0)
    script.go_on(3)
    assert script.states == [("imu", "link_dead")]


def test_what_comes_right_after_the_last_will_revives_the_link_without_a_word() -> None:
    script = Script()
    script.go_on(10, IMU)
    script.streams.death(0)
    script.go_on(10, IMU)
    assert script.told == []


def test_a_stream_at_rest_may_be_quiet_while_its_device_lives() -> None:
    script = Script()
    script.go_on(10, POWER, HR)
    script.go_on(10, POWER, HR, rests=True)
    script.go_on(60, HR)
    assert script.states == [("power", "quiet_unchanged")]
    script.go_on(1, POWER, HR)
    assert script.states[1:] == [("power", "alive")]


def test_a_device_at_rest_is_believed_to_live_until_its_will_comes() -> None:
    script = Script()
    script.streams.birth(0, script.now_ns)
    script.go_on(10, POWER, rests=True)
    script.go_on(3_600)
    assert script.states == [("power", "quiet_unchanged")]
    script.streams.death(0)
    script.go_on(1)
    assert script.states[1:] == [("power", "link_dead")]


def test_a_device_at_rest_without_a_will_is_dead_after_its_lease() -> None:
    script = Script()
    script.go_on(10, POWER, rests=True)
    script.go_on(60)
    assert script.states == [("power", "quiet_unchanged"), ("power", "link_dead")]


def test_data_older_than_their_lifespan_are_late() -> None:
    script = Script()
    script.go_on(10, IMU)
    script.go_on(10, IMU, age_s=2.1)
    script.go_on(10, IMU, age_s=1.9)
    assert script.states == [("imu", "late"), ("imu", "alive")]


def test_a_clock_that_jumped_is_told_for_a_while() -> None:
    script = Script()
    script.go_on(10, IMU)
    script.jumps[0] += 1
    script.go_on(10, IMU)
    assert script.states == [("imu", "clock_jumped"), ("imu", "alive")]
    assert script.told[1][0] - script.told[0][0] == pytest.approx(5, abs=0.3)


def test_a_clock_that_begins_anew_has_not_jumped() -> None:
    script = Script()
    script.jumps[0] = 3
    script.streams.look(script.now_ns, script.jumps)
    script.go_on(10, IMU)
    script.told.clear()
    script.jumps[0] = 0
    script.go_on(10, IMU)
    assert script.told == []


def test_a_device_that_promised_a_rate_and_sends_nothing_is_missed() -> None:
    script = Script()
    script.streams.birth(0, script.now_ns, rate_hz=100.0)
    script.go_on(20, HR)
    assert script.states == [("imu", "sensor_silent")]


def test_a_birth_that_was_retained_promises_nothing() -> None:
    script = Script()
    script.streams.birth(0, script.now_ns, rate_hz=100.0, retained=True)
    script.go_on(60)
    assert script.told == []
    assert script.streams.of(np.array([0]), script.now_ns)[0] == {}


def test_a_device_that_only_tells_its_battery_has_a_lease_that_fits() -> None:
    script = Script()
    script.go_on(600, BATTERY)
    assert script.told == []
    script.go_on(10, BATTERY, IMU)
    script.go_on(600, BATTERY)
    # Nothing tells at first that the link lives on; the battery does, and from then on is what is waited for.
    assert script.states == [
        ("imu", "link_dead"),
        ("battery", "link_dead"),
        ("battery", "alive"),
        ("imu", "sensor_silent"),
    ]


@pytest.mark.parametrize("interval_s", [0.5, 5.0, 20.0])
def test_a_deadline_follows_from_the_stream_and_an_outage_does_not_blunt_it(interval_s: float) -> None:
    streams = Streams(config.Deadlines(), capacity=1)
    streams.add(0)
    now_ns = BEGIN_NS
    for _ in range(200):
        hear(streams, 0, HR, now_ns, now_ns)
        streams.look(now_ns)
        now_ns += round(interval_s * SECOND)
    usual_s = streams.of(np.array([0]), now_ns)[0]["hr"].deadline_ns / SECOND
    assert usual_s == pytest.approx(max(2.0, 4 * interval_s), rel=0.1)
    hear(streams, 0, HR, now_ns + 3_600 * SECOND, now_ns + 3_600 * SECOND)
    assert streams.of(np.array([0]), now_ns)[0]["hr"].deadline_ns / SECOND <= 1.8 * usual_s


def test_bursts_are_not_taken_for_the_rate() -> None:
    script = Script()
    for _ in range(40):
        for packet in range(50):
            at_ns = script.now_ns + packet * 1_000_000
            hear(script.streams, 0, IMU, at_ns, at_ns)
        script.go_on(8)
    script.told.clear()
    for _ in range(10):
        for packet in range(50):
            at_ns = script.now_ns + packet * 1_000_000
            hear(script.streams, 0, IMU, at_ns, at_ns)
        script.go_on(8)
    assert script.told == []


def test_the_deadlines_of_a_recording_scale_with_its_speed() -> None:
    slow, fast = Script(), Script()
    fast.streams.play(0, 4.0)
    for script in (slow, fast):
        script.go_on(20, IMU, HR)
        script.go_on(1, HR)
    assert slow.told == []
    assert fast.states == [("imu", "sensor_silent")]


def test_what_is_recorded_is_never_late() -> None:
    script = Script()
    script.streams.play(0, 1.0)
    script.go_on(10, IMU, age_s=1e6)
    assert script.told == []


def test_while_the_broker_is_away_silence_says_nothing_of_the_devices() -> None:
    script = Script()
    script.go_on(10, IMU)
    script.streams.pause()
    script.go_on(600)
    script.streams.resume(script.now_ns)
    script.go_on(5)
    assert script.told == []
    script.go_on(10)
    assert script.states == [("imu", "link_dead")]


def test_a_server_that_was_held_up_blames_no_device() -> None:
    script = Script()
    script.go_on(10, IMU)
    script.now_ns += 60 * SECOND
    script.look()
    script.go_on(1)
    script.go_on(10, IMU)
    assert script.told == []


def test_a_clock_that_was_set_back_blames_no_device() -> None:
    script = Script()
    script.go_on(20, IMU)
    script.now_ns -= 15 * SECOND
    script.look()
    script.go_on(20, IMU)
    assert script.told == []
    script.go_on(20)
    assert script.states == [("imu", "link_dead")]


def test_a_row_that_is_used_again_is_a_device_never_heard_of() -> None:
    script = Script()
    script.go_on(10, IMU)
    script.streams.add(0)
    script.go_on(60)
    assert script.told == []
    assert sum(script.streams.counts.values()) == 0


def test_when_all_fall_silent_at_once_each_is_told_once_and_a_look_stays_short() -> None:
    devices = 3 * JUDGED_MAX
    streams = Streams(config.Deadlines())
    for row in range(devices):
        streams.add(row)
    rows, now_ns = np.arange(devices), BEGIN_NS
    told: Counter[int] = Counter()
    for look in range(200):
        now_ns += LOOK_NS
        if look < 20:
            hear(streams, rows, IMU, np.full(devices, now_ns), np.full(devices, now_ns))
        changes = streams.look(now_ns)
        assert len(changes) <= 2 * JUDGED_MAX
        told.update(change.row for change in changes)
    assert told == dict.fromkeys(range(devices), 1)
    assert streams.counts["link_dead"] == devices


def test_those_who_are_always_due_keep_nobody_waiting() -> None:
    devices = 2 * JUDGED_MAX
    streams = Streams(config.Deadlines())
    for row in range(devices):
        streams.add(row)
    now_ns = BEGIN_NS
    everyone, late = np.arange(devices), np.arange(devices - 1)
    hear(streams, everyone, IMU, np.full(devices, now_ns), np.full(devices, now_ns))
    told: set[int] = set()
    for _ in range(100):
        now_ns += LOOK_NS
        arrived_ns = np.full(len(late), now_ns)
        hear(streams, late, IMU, arrived_ns, arrived_ns - 3 * SECOND)
        told |= {change.row for change in streams.look(now_ns) if change.state == "link_dead"}
    assert told == {devices - 1}


@pytest.mark.parametrize(
    ("packet", "rests"),
    [
        (HeartRate(bpm=60.0), False),
        (HeartRate(bpm=60.0, contact=False), True),
        (HeartRate(bpm=0.0), True),
        (HeartRate(rr_ms=[800.0]), False),
        (Power(watts=0.0), True),
        (Power(watts=1.0), False),
        (Cadence(rpm=0.0), True),
        (Cadence(spm=160.0), False),
        (Wheel(speed_mps=0.0), True),
        (Foot(speed_mps=2.0), False),
        (Battery(level=0.5), True),
        (Baro(pressure_pa=1e5), False),
        (Gnss(lat=0.0, lon=0.0, speed_mps=0.0), False),
    ],
)
def test_what_may_rest_is_what_an_honest_sensor_does_not_repeat(packet: Packet, rests: bool) -> None:
    assert may_rest(packet) is rests


def test_a_kind_that_is_heard_late_changes_nothing_of_the_others() -> None:
    early, late = Streams(config.Deadlines()), Streams(config.Deadlines())
    for streams in (early, late):
        for row in range(3):
            streams.add(row)
    rows, now_ns = np.arange(3), BEGIN_NS
    hear(early, rows[:1], BATTERY, np.array([now_ns]), np.array([now_ns]))
    for streams in (early, late):
        hear(streams, rows, IMU, np.full(3, now_ns), np.full(3, now_ns))
    hear(late, rows[:1], BATTERY, np.array([now_ns]), np.array([now_ns]))
    for streams in (early, late):
        hear(streams, rows[1:2], HR, np.array([now_ns + SECOND]), np.array([now_ns + SECOND]))
    for t_ns in range(now_ns, now_ns + 20 * SECOND, LOOK_NS):
        assert early.look(t_ns) == late.look(t_ns)
    assert early.of(rows, now_ns + 20 * SECOND) == late.of(rows, now_ns + 20 * SECOND)
    assert early.counts == late.counts
