"""Whoever was there before: a device whose row was another one's is told of as if it were the first."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.codecs import imu, imu_json, samples
from server.config import Config, Server
from server.engine import Engine
from server.envelopes import Incoming, Outgoing
from server.forgetting import FORGET_NS, LOOK_NS
from server.messages import Baro, Birth, Clock, Command, Gnss, HeartRate, ImuJson, Pong, Power

S = 1_000_000_000
T0 = 1_790_000_000 * S
TENTH = S // 10
KINDS = ("imu", "imu", "imu", "lost", "twin", "hr", "rr", "gnss", "baro", "power", "battery", "pong", "wrong")

histories = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 9)), min_size=5, max_size=60)
births = st.none() | st.builds(
    Birth,
    placement=st.sampled_from(["foot", "wrist", "unknown"]),
    gyro_range=st.sampled_from([None, 35.0]),
    rate_hz=st.sampled_from([None, 100.0]),
    clock=st.builds(Clock, recorded=st.booleans(), pings=st.booleans()),
)


class Story:
    """What a device does, and all that is published of it."""

    def __init__(self, engine: Engine, device: str, athlete: str, now_ns: int) -> None:
        self.engine, self.device, self.athlete, self.now_ns = engine, device, athlete, now_ns
        self.seq = 0
        self.out: list[Outgoing] = []

    def send(self, topic: str, payload: bytes) -> None:
        arrival = Incoming(f"kinefuse/v1/{topic}", payload, False, self.now_ns, 0)
        self.out += self.engine.advance([arrival], self.now_ns)
        while self.engine.behind:
            self.out += self.engine.advance([], self.now_ns)

    def tell(self, birth: Birth | None, history: list[tuple[str, int]], boot: int) -> "Story":
        if birth is not None:
            self.send(f"in/{self.device}/status", samples.encode(birth))
        for kind, number in history:
            self.now_ns += TENTH * (1 + number % 3)
            self.one(kind, number, boot)
        return self

    def one(self, kind: str, number: int, boot: int) -> None:
        t_ns = self.now_ns
        if kind in ("imu", "lost"):
            self.seq += 1 if kind == "imu" else 3
            values = np.tile([0.1 * number, 0.0, 9.81], (10, 1))
            payload = imu.encode(
                accel_b=values,
                gyro_b=values / 9.0,
                boot=boot,
                t0_ns=t_ns - T0,
                seq=self.seq,
                dt_ns=10_000_000,
            )
        elif kind == "twin":
            accel, gyro = [(0.0, 0.0, 9.8)] * 4, [(0.0, 0.1, 0.0)] * 4
            payload = imu_json.encode(ImuJson(t=t_ns - T0, dt=10_000_000, accel=accel, gyro=gyro))
        else:
            payload = {
                "hr": samples.encode(HeartRate(t=t_ns - T0, bpm=100.0 + number)),
                "rr": samples.encode(HeartRate(t=t_ns - T0, bpm=100.0, rr_ms=[600.0 + number])),
                "gnss": samples.encode(Gnss(t=t_ns - T0, lat=47.0, lon=8.0 + number * 1e-5, h_acc_m=3.0)),
                "baro": samples.encode(Baro(t=t_ns - T0, pressure_pa=95_000.0 - number)),
                "power": samples.encode(Power(t=t_ns - T0, watts=100.0 + number)),
                "battery": b'{"level":0.5}',
                "pong": samples.encode(Pong(id="1", t=t_ns - T0)),
                "wrong": b"{",
            }[kind]
        topic = {"lost": "imu", "twin": "imu", "rr": "hr", "wrong": "hr"}.get(kind, kind)
        self.send(f"in/{self.device}/{topic}", payload)

    def end(self) -> None:
        self.send(f"command/{self.athlete}", samples.encode(Command("stop", f"end-{self.device}")))
        self.wait(2 * S)

    def wait(self, ns: int) -> None:
        self.now_ns += ns
        self.out += self.engine.advance([], self.now_ns)
        while self.engine.behind:
            self.out += self.engine.advance([], self.now_ns)

    def of(self, name: str) -> list[tuple[str, bytes]]:
        return [(each.topic, each.payload) for each in self.out if f"/{name}/" in each.topic]


def engine() -> Engine:
    return Engine(Config(server=Server(enroll="auto")), lambda: 0)


@settings(max_examples=25, deadline=None)
@given(births, histories, births, histories)
def test_nothing_is_inherited_with_a_row(
    old_birth: Birth | None,
    old: list[tuple[str, int]],
    new_birth: Birth | None,
    new: list[tuple[str, int]],
) -> None:
    used, fresh = engine(), engine()
    before = Story(used, "old", "old", T0).tell(old_birth, old, boot=3)
    before.end()
    known = used.registry.devices.get("old")
    for later_ns in (FORGET_NS, LOOK_NS, LOOK_NS, LOOK_NS):  # what waited is worked on first
        before.wait(later_ns)
        fresh.advance([], before.now_ns)  # so that both look at the same times
    assert not used.registry.devices
    stories = [Story(one, "new", "new", before.now_ns).tell(new_birth, new, boot=9) for one in (used, fresh)]
    for story in stories:
        story.end()
    assert stories[0].of("new") == stories[1].of("new")
    assert used.streams.counts == fresh.streams.counts
    device = used.registry.devices.get("new")
    assert device is None or known is None or (device.row, device.number) == (known.row, 1)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=10, max_size=60), st.integers(2, 5))
def test_tables_stay_as_small_as_the_most_devices_at_once(names: list[str], most: int) -> None:
    one = Engine(Config(server=Server(enroll="auto", devices_max=most)), lambda: 0)
    now_ns = T0
    for name in names:
        now_ns += 70 * S
        for _ in range(3):
            now_ns += S
            payload = samples.encode(HeartRate(bpm=70))
            one.advance([Incoming(f"kinefuse/v1/in/{name}/hr", payload, False, now_ns, 0)], now_ns)
            while one.behind:  # who has work left stays
                one.advance([], now_ns)
        assert name in one.registry.devices
        stop = samples.encode(Command("stop", f"{now_ns}"))
        one.advance([Incoming(f"kinefuse/v1/command/{name}", stop, False, now_ns, 0)], now_ns)
        assert len(one.registry.devices) <= most
    assert len(one.registry.device_rows) <= most + 1
    assert len(one.registry.athlete_rows) <= most
    changes = sum(before != after for before, after in pairwise(names)) + 1
    assert one.registry.numbers <= changes
