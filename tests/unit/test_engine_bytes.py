"""What the engine keeps of the bytes that came: no more than what waits, whatever is sent."""

import tracemalloc

import numpy as np

from server.codecs import imu, samples
from server.config import Config
from server.engine import Engine
from server.envelopes import Chunk
from server.frames import PAYLOAD_BYTES_MAX, Splitter, publish
from server.messages import Birth, HeartRate

MS = 1_000_000
S = 1000 * MS
T0 = 1_790_000_000 * S
SAMPLES = 160


def chunk(engine: Engine, messages: list[tuple[str, bytes]], at_ns: int) -> Chunk:
    data = publish((f"kinefuse/v1/in/{topic}", payload, False) for topic, payload in messages)
    split = Splitter(engine.topics, PAYLOAD_BYTES_MAX).split(data, 0, len(data))
    assert split.consumed == len(data)
    return Chunk(data, split.frames.copy(), at_ns, at_ns - T0)


def packet(seq: int) -> bytes:
    at_rest = np.tile([0.0, 0.0, 9.81], (SAMPLES, 1))
    t0_ns = S + seq * SAMPLES * MS
    return imu.encode(accel_b=at_rest, gyro_b=np.zeros((SAMPLES, 3)), boot=1, t0_ns=t0_ns, seq=seq, dt_ns=MS)


def beat(number: int) -> bytes:
    return samples.encode(HeartRate(t=T0 + number, bpm=60.0, seq=number))


def test_bytes_of_which_nothing_is_taken_in_are_not_kept() -> None:
    engine = Engine(Config(), lambda: 0)
    nonsense = [("stranger/nonsense", bytes(50_000))]
    engine.advance([chunk(engine, nonsense, T0)], T0)
    tracemalloc.start()
    try:
        for number in range(1, 101):
            at_ns = T0 + number * 50 * MS
            engine.advance([chunk(engine, nonsense, at_ns)], at_ns)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000  # of 5 MB


def test_births_between_messages_do_not_multiply_what_waits_for_predecessors() -> None:
    engine = Engine(Config(), lambda: 0)
    names = [f"w{number}" for number in range(20)]
    engine.advance([chunk(engine, [(f"{name}/imu", packet(0)) for name in names], T0)], T0)
    at_ns = T0 + S // 10
    engine.advance([chunk(engine, [("evil/hr", beat(0))], at_ns)], at_ns)
    engine.advance([chunk(engine, [(f"{name}/imu", packet(1)) for name in names], at_ns)], at_ns)
    behind_a_gap = [(f"{name}/imu", packet(seq)) for seq in range(3, 11) for name in names]
    at_ns += S // 10
    engine.advance([chunk(engine, behind_a_gap, at_ns)], at_ns)
    waiting_bytes = sum(len(payload) for _, payload in behind_a_gap)
    assert len(engine.waiting) == len(behind_a_gap)
    turns = [
        each
        for i in range(200)
        for each in (("evil/status", samples.encode(Birth())), ("evil/hr", beat(i + 1)))
    ]
    at_ns += 10 * MS
    told = chunk(engine, turns, at_ns)
    tracemalloc.start()
    try:
        engine.advance([told], at_ns)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * (waiting_bytes + len(told.data))  # 200 times as much without care
