"""IMU packets of a live device that come before their predecessor: who waits, for how long, what is told."""

import msgspec
import numpy as np
import pytest

from fusion._core import lib
from server.codecs import imu, imu_json, samples
from server.config import Config
from server.engine import Engine
from server.envelopes import Incoming, Outgoing
from server.figures import ended
from server.messages import Birth, ImuJson, Live, Workout

MS = 1_000_000
S = 1000 * MS
T0 = 1_790_000_000 * S
WAIT_NS = int(lib.KF_ORDER_WAIT_NS)
PERIOD_NS = 100 * MS


def packet(seq: int) -> bytes:
    at_rest = np.tile([0.0, 0.0, 9.81], (10, 1))
    return imu.encode(
        accel_b=at_rest,
        gyro_b=np.zeros((10, 3)),
        boot=1,
        t0_ns=S + seq * PERIOD_NS,
        seq=seq,
        dt_ns=10 * MS,
    )


class StoppedClock:
    def __init__(self, utc_ns: int) -> None:
        self._utc_ns = utc_ns

    def monotonic_ns(self) -> int:
        return 0

    def utc_ns(self) -> int:
        return self._utc_ns


class Desk:
    """An engine that hears packets of one device, each when it was made, unless a time is told."""

    def __init__(self) -> None:
        self.engine = Engine(Config(), lambda: 0)

    def send(self, seq: int, at_ns: int | None = None, payload: bytes | None = None) -> list[Outgoing]:
        at_ns = T0 + (seq + 1) * PERIOD_NS if at_ns is None else at_ns
        body = packet(seq) if payload is None else payload
        arrival = Incoming("kinefuse/v1/in/x/imu", body, False, at_ns, at_ns - T0)
        return self.engine.advance([arrival], at_ns)

    def wait(self, until_ns: int) -> list[Outgoing]:
        return self.engine.advance([], until_ns)

    def tally(self) -> tuple[int, int, dict[str, int]]:
        """Return packets taken in, packets lost, and what was refused."""
        link = self.engine.schedule.links[0]
        return int(link["packets"]), int(link["lost"]), dict(self.engine.registry.devices["x"].refused)


def test_a_packet_that_is_overtaken_is_neither_lost_nor_late() -> None:
    desk = Desk()
    for seq in (0, 1, 3):
        desk.send(seq)
    assert desk.tally() == (3 - 1, 0, {})
    desk.send(2, T0 + 4 * PERIOD_NS + 50 * MS)
    assert desk.tally() == (4, 0, {})


def test_the_wait_ends_by_time_alone_where_nothing_else_comes() -> None:
    desk = Desk()
    for seq in (0, 2):
        desk.send(seq)
    came_ns = T0 + 3 * PERIOD_NS
    desk.wait(came_ns + WAIT_NS - 1)
    assert desk.tally() == (1, 0, {})
    desk.wait(came_ns + WAIT_NS)
    assert desk.tally() == (2, 1, {})
    desk.send(1, came_ns + WAIT_NS + MS)
    assert desk.tally() == (3, 1, {"late": 1})


def test_an_update_that_waited_is_as_late_as_its_packet() -> None:
    desk = Desk()
    causes = {}
    for seq in range(40):
        if seq % 9 == 4:
            continue
        for each in desk.send(seq):
            if each.topic.endswith("/live") and each.caused_ns:
                live = msgspec.json.decode(each.payload, type=Live)
                assert live.cause is not None
                causes[live.cause.seq] = each.caused_ns
    assert len(causes) >= 3
    assert all(caused_ns == (seq + 1) * PERIOD_NS for seq, caused_ns in causes.items())


@pytest.mark.parametrize("what", ["birth", "malformed"])
def test_what_tells_that_nothing_is_missing_ends_the_wait(what: str) -> None:
    desk = Desk()
    for seq in (0, 2):
        desk.send(seq)
    at_ns = T0 + 3 * PERIOD_NS + MS
    if what == "birth":
        birth = Incoming("kinefuse/v1/in/x/status", samples.encode(Birth()), False, at_ns, 0)
        desk.engine.advance([birth], at_ns)
    else:
        desk.send(0, at_ns, packet(1)[:-1])
    assert desk.tally()[1] == 1


def twin(seq: int) -> bytes:
    """Return the JSON twin of a packet."""
    rest, still = [(0.0, 0.0, 9.81)] * 10, [(0.0, 0.0, 0.0)] * 10
    t_ns = S + seq * PERIOD_NS
    return imu_json.encode(ImuJson(dt=10 * MS, accel=rest, gyro=still, t=t_ns, boot=1, seq=seq))


@pytest.mark.parametrize("form", ["binary", "json", "both"])
def test_a_gap_that_comes_behind_newer_packets_is_counted_back(form: str) -> None:
    def payload(seq: int) -> bytes:
        return packet(seq) if form == "binary" or (form == "both" and seq % 2) else twin(seq)

    desk = Desk()
    for seq in (*range(20), *range(50, 60)):
        desk.send(seq, payload=payload(seq))
    assert desk.tally() == (30, 30, {})
    now_ns = T0 + 61 * PERIOD_NS
    for seq in (20, 21, 21, *range(22, 50), 30):
        desk.send(seq, now_ns, payload(seq))
    assert desk.tally() == (62, 0, {"late": 2})
    desk.send(60, now_ns, payload(60))
    assert desk.tally() == (63, 0, {"late": 2})
    clock = desk.engine.timebase.state[0]
    assert clock["jumps"] == 0


def test_the_json_twin_waits_as_well() -> None:
    desk = Desk()
    at_rest = [(0.0, 0.0, 9.81)] * 5
    for seq, arrived in ((0, 0), (2, 1), (1, 2)):
        body = imu_json.encode(
            ImuJson(
                dt=20 * MS,
                accel=at_rest,
                gyro=[(0.0, 0.0, 0.0)] * 5,
                t=S + seq * PERIOD_NS,
                boot=1,
                seq=seq,
            )
        )
        desk.send(seq, T0 + arrived * MS, body)
    assert desk.tally() == (3, 0, {})


def test_a_server_that_stops_takes_in_what_waits_before_it_ends_the_workout() -> None:
    desk = Desk()
    for seq in (*range(20), 21, 22):
        desk.send(seq)
    assert desk.tally() == (20, 0, {})
    clock = StoppedClock(T0 + 23 * PERIOD_NS)
    (workout,) = [
        msgspec.json.decode(each.payload, type=Workout)
        for each in ended(desk.engine, clock, 1)
        if each.topic.endswith("/workout")
    ]
    assert desk.tally() == (22, 1, {})
    assert workout.event == "ended"
    assert workout.workout.elapsed_s == 2.25  # the last whole window of what waited
