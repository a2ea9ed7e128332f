"""The engine tells of streams that fail, at once, and blames none without reason."""

import msgspec

from server.config import Config
from server.deadlines.streams import LOOK_NS
from server.engine import Engine
from server.envelopes import Incoming
from server.messages import DeviceHealth
from tests.support.health_twin import streams_of

SECOND = 1_000_000_000
BEGIN_NS = 1_764_585_664 * SECOND


class Room:
    """An engine, and one device that sends to it while time goes on."""

    def __init__(self) -> None:
        self.engine = Engine(Config(), iter(range(10**9)).__next__)
        self.now_ns = BEGIN_NS
        self.told: list[DeviceHealth] = []
        self.seq = 0

    def send(self, kind: str, payload: str, *, retained: bool = False, device: str = "ada") -> None:
        topic = f"kinefuse/v1/in/{device}/{kind}"
        message = Incoming(topic, payload.encode(), retained, self.now_ns, 1)
        self.look([message])

    def go_on(self, seconds: float, **sent: str) -> None:
        for _ in range(round(seconds * SECOND / LOOK_NS)):
            self.now_ns += LOOK_NS
            self.look([])
            for kind, body in sent.items():
                self.seq += 1
                self.send(kind, f'{{"t": {self.now_ns + 7}, "seq": {self.seq}, {body}}}')

    def look(self, messages: list[Incoming]) -> None:
        for out in self.engine.advance(messages, self.now_ns):
            if "/devices/" in out.topic and out.topic.endswith("/health"):
                self.told.append(msgspec.json.decode(out.payload, type=DeviceHealth))

    def changes(self, kind: str) -> list[str]:
        """The states of a stream in the order in which health told them, without repetitions."""
        states: list[str] = [each.streams[kind].state for each in self.told if kind in each.streams]
        return [state for place, state in enumerate(states) if place == 0 or state != states[place - 1]]


BARO = '"pressure_pa": 1e5'


def test_a_silent_sensor_is_told_at_once_and_so_is_its_return() -> None:
    room = Room()
    room.go_on(20, hr='"bpm": 90', baro=BARO)
    room.go_on(20, baro=BARO)
    room.go_on(5, hr='"bpm": 90', baro=BARO)
    assert room.changes("hr") == ["alive", "sensor_silent", "alive"]
    assert room.changes("baro") == ["alive"]
    first = next(each for each in room.told if each.streams["hr"].state == "sensor_silent")
    assert first.streams["hr"].silent_s <= first.streams["hr"].deadline_s + 0.6


def test_health_is_told_no_more_often_than_before_where_nothing_changes() -> None:
    room = Room()
    room.go_on(60, hr='"bpm": 90', baro=BARO)
    assert len(room.told) <= 13


def test_a_last_will_is_told_at_once() -> None:
    room = Room()
    room.send("status", '{"state": "online"}')
    room.go_on(10, hr='"bpm": 90')
    room.send("status", '{"state": "offline"}')
    room.told.clear()
    room.go_on(0.5)
    assert room.changes("hr") == ["link_dead"]
    assert not room.told[0].online


def test_a_refused_packet_of_the_imu_is_a_sign_of_life() -> None:
    room = Room()
    room.go_on(20, hr='"bpm": 90')
    rows = '"dt": 10000000, "accel": [[0, 0, 9.8]], "gyro": [[0, 0, 0]]'
    for _ in range(10):
        room.go_on(2)
        room.send("imu", f'{{"t": {BEGIN_NS}, "boot": 1, "seq": 1, {rows}}}')  # the same again and again
    assert room.changes("hr") == ["alive", "sensor_silent"]


def test_a_promised_imu_that_does_not_come_is_missed() -> None:
    room = Room()
    room.send("status", '{"state": "online", "rate_hz": 100}')
    room.go_on(10, hr='"bpm": 90')
    assert room.changes("imu")[-1] == "sensor_silent"


def test_a_recording_that_is_played_fast_has_shorter_deadlines() -> None:
    room = Room()
    room.send("status", '{"state": "online", "clock": {"recorded": true, "speed": 20}}')
    room.go_on(20, hr='"bpm": 90', baro=BARO)
    assert room.told[-1].streams["hr"].deadline_s < 2.0
    room.go_on(2, baro=BARO)
    assert room.changes("hr")[-1] == "sensor_silent"


def test_a_clock_that_was_set_is_told() -> None:
    room = Room()
    room.go_on(20, hr='"bpm": 90')
    shown_ns = room.now_ns
    for _ in range(20):
        room.now_ns += LOOK_NS
        room.seq += 1
        ahead_ns = room.now_ns + 3_600 * SECOND
        room.send("hr", f'{{"t": {ahead_ns}, "seq": {room.seq}, "bpm": 90}}')
    assert room.now_ns > shown_ns
    assert room.changes("hr")[:2] == ["alive", "clock_jumped"]


def test_a_stream_of_motion_is_that_of_its_device_whoever_came_before_it() -> None:
    room = Room()
    room.send("hr", '"bpm": 90'.join("{}"), device="strap")
    room.go_on(3, imu='"dt": 10000000, "accel": [[0, 0, 9.8]], "gyro": [[0, 0, 0]]')
    strap, ada = (room.engine.registry.devices[each].row for each in ("strap", "ada"))
    assert "imu" not in streams_of(room.engine.streams, strap, room.now_ns)
    assert streams_of(room.engine.streams, ada, room.now_ns)["imu"].state == "alive"
