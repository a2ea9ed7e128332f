"""The ladder of degraded modes, and what the engine gives up on it."""

import struct
from collections import Counter

import msgspec
import pytest

from server.codecs import samples
from server.config import Config
from server.engine import Engine
from server.envelopes import Incoming
from server.messages import Command, HeartRate, Live
from server.overload import BUSY_DOWN, HEALTH_EVERY, LIVE_EVERY, LOOK_NS, LOOKS_DOWN, MODES, Ladder
from simulators.rehearsal import cast

S = 1_000_000_000
MS = 1_000_000
T0 = 1_790_000_000 * S
BUDGET_NS = 50 * MS


class Run:
    """A ladder, told of ticks of 10 ms."""

    def __init__(self) -> None:
        self.ladder = Ladder(BUDGET_NS)
        self.now_ns = 0

    def ticks(self, seconds: float, *, busy: float = 0.3, wait_ns: int = 0) -> list[str]:
        """Return the modes that were entered."""
        entered: list[str] = []
        for _ in range(round(seconds * 100)):
            self.now_ns += 10 * MS
            if self.ladder.observe(self.now_ns, int(busy * 10 * MS), wait_ns):
                entered.append(self.ladder.mode)
        return entered


def test_each_mode_has_its_place_in_every_table() -> None:
    assert len(MODES) == len(LIVE_EVERY) == len(HEALTH_EVERY) == len(BUSY_DOWN)
    assert list(LIVE_EVERY) == sorted(LIVE_EVERY)


def test_overload_goes_up_the_ladder_step_by_step_and_its_end_leads_down_within_ten_seconds() -> None:
    run = Run()
    assert run.ticks(10.0) == []
    assert run.ticks(10.0, busy=1.0, wait_ns=400 * MS) == list(MODES[1:])
    assert run.ticks(10.0) == list(MODES[-2::-1])
    assert (run.ladder.ups, run.ladder.downs) == (4, 4)


@pytest.mark.parametrize(("busy", "wait_ns"), [(1.0, 0), (0.2, 101 * MS)])
def test_a_busy_loop_and_a_long_wait_are_overload_each_by_itself(busy: float, wait_ns: int) -> None:
    assert Run().ticks(1.2, busy=busy, wait_ns=wait_ns) != []


def test_one_long_tick_is_no_overload() -> None:
    run = Run()
    for _ in range(20):
        run.now_ns += 400 * MS
        assert not run.ladder.observe(run.now_ns, 400 * MS, 400 * MS)
        assert run.ticks(1.0) == []


def test_it_stays_where_the_step_below_would_not_find_its_time() -> None:
    run = Run()
    run.ticks(0.6, busy=1.0)
    assert run.ladder.mode == "reduced_live"
    assert run.ticks(20.0, busy=0.9) == []
    assert run.ticks(LOOKS_DOWN * LOOK_NS / S + 0.3, busy=0.4) == ["full"]


def test_where_there_may_be_time_it_tries_and_stays_down_where_there_is() -> None:
    run = Run()
    run.ticks(3.0, busy=1.0)
    assert run.ladder.mode == "drop_oldest"
    assert run.ticks(10.0, busy=0.8) == list(MODES[-2::-1])
    assert run.ticks(60.0, busy=0.8) == []


def test_tries_in_vain_become_seldom() -> None:
    run = Run()
    run.ticks(0.6, busy=1.0)
    ups = []
    for _ in range(3):
        before = run.ladder.ups
        for _ in range(600):
            busy = 0.8 if run.ladder.mode == "reduced_live" else 1.0  # what `full` gives back finds no time
            run.ticks(0.25, busy=busy)
        ups.append(run.ladder.ups - before)
    assert ups[0] >= 4
    assert max(ups[1:]) <= 3


def beats(names: list[str], now_ns: int) -> list[Incoming]:
    return [
        Incoming(f"kinefuse/v1/in/{name}/hr", samples.encode(HeartRate(bpm=60.0)), False, now_ns, 0)
        for name in names
    ]


@pytest.mark.parametrize("level", range(len(MODES)))
def test_updates_become_fewer_and_say_so(level: int) -> None:
    engine = Engine(Config(), lambda: 0)
    engine.ladder.level = level
    names = [f"p{number}" for number in range(10)]
    told: Counter[str] = Counter()
    for second in range(30):
        now_ns = T0 + second * S
        for out in engine.advance(beats(names, now_ns), now_ns):
            if out.topic.endswith("/live"):
                live = msgspec.json.decode(out.payload, type=Live)
                assert live.mode == MODES[level]
                told[live.athlete] += 1
    steps = 29 if level == 0 else 30 // LIVE_EVERY[level]
    assert set(told) == set(names)
    assert all(abs(count - steps) <= 1 for count in told.values())
    assert engine.given_up["live"] + told.total() == pytest.approx(29 * len(names), abs=len(names))


def test_who_has_no_workout_is_not_stepped_where_only_orientation_goes_on() -> None:
    engine = Engine(Config(), lambda: 0)
    engine.ladder.level = MODES.index("orientation_only")
    engine.advance(beats(["idle", "runs"], T0), T0)
    stop = samples.encode(Command("stop", "x"))
    engine.advance([Incoming("kinefuse/v1/command/idle", stop, False, T0 + S, 0)], T0 + S)
    topics: Counter[str] = Counter()
    for second in range(2, 22):
        now_ns = T0 + second * S
        topics.update(out.topic for out in engine.advance(beats(["idle", "runs"], now_ns), now_ns))
    assert topics["kinefuse/v1/athletes/idle/live"] <= 1
    assert topics["kinefuse/v1/athletes/runs/live"] >= 3
    assert engine.given_up["steps"] >= 18
    assert engine.schedule.jobs_waiting == 0


def test_a_rewind_to_a_step_that_was_given_up_is_given_up_and_ends_nothing() -> None:
    engine = Engine(Config(), lambda: 0)
    engine.advance(beats(["idle"], T0), T0)
    stop = samples.encode(Command("stop", "x"))
    engine.advance([Incoming("kinefuse/v1/command/idle", stop, False, T0 + S, 0)], T0 + S)
    engine.ladder.level = MODES.index("orientation_only")
    for second in range(2, 22):
        engine.advance(beats(["idle"], T0 + second * S), T0 + second * S)
    engine.ladder.level = 0
    for second in range(22, 30):
        late = samples.encode(HeartRate(t=T0 + (second - 4) * S, bpm=70.0))
        topic = "kinefuse/v1/in/idle-late/hr"
        told = beats(["idle"], T0 + second * S)
        engine.advance([*told, Incoming(topic, late, False, T0 + second * S, 0)], T0 + second * S)
    assert engine.schedule.jobs_waiting == 0


def test_a_device_that_floods_is_held_to_its_rate_and_harms_nobody() -> None:
    engine = Engine(Config(), lambda: 0)
    device = cast("demo")[0].devices[0]
    packets = [
        bytearray(message.payload)
        for second in range(5)
        for message in device.second(second)
        if message.topic.endswith("/imu")
    ]

    def packet(name: str, seq: int, t0_ns: int, arrived_ns: int) -> Incoming:
        payload = packets[seq % len(packets)]
        struct.pack_into("<QI", payload, 8, t0_ns, seq)
        return Incoming(f"kinefuse/v1/in/{name}/imu", bytes(payload), False, arrived_ns, 0)

    honest = flood = 0
    for second in range(10):
        now_ns = T0 + second * S
        several = []
        for k in range(2_000):
            several.append(packet("flood", flood, flood * 500_000, now_ns + k * S // 2_000))
            flood += 1
            if k % 200 == 0:
                several.append(packet("honest", honest, honest * S // 10, now_ns + k * S // 2_000))
                honest += 1
        engine.advance(several, now_ns + S)
    devices = engine.registry.devices
    assert devices["honest"].packets == honest
    assert not devices["honest"].refused
    assert devices["flood"].refused["flooding"] == flood - devices["flood"].packets - sum(
        count for reason, count in devices["flood"].refused.items() if reason != "flooding"
    )
    assert 4_000 <= devices["flood"].packets <= 4_000 + 10 * 250 + 10


def test_low_rate_messages_of_a_flood_are_refused_too() -> None:
    engine = Engine(Config(), lambda: 0)
    for second in range(5):
        now_ns = T0 + second * S
        engine.advance(beats(["flood"] * 1_000 + ["honest"], now_ns), now_ns)
    devices = engine.registry.devices
    assert devices["honest"].packets == 5
    assert devices["flood"].refused["flooding"] >= 5_000 - 1_000 - 5 * 100 - 10


def test_who_catches_up_with_a_recording_is_no_overload() -> None:
    engine = Engine(Config(), lambda: 0)
    for now_ns in range(0, 4 * S, 10 * MS):
        engine.behind = True
        assert not engine.observe(now_ns, 10 * MS, 0)
    assert engine.ladder.mode == "full"
