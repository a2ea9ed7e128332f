"""What the parent of workers pays for a message, without broker and workers: to split, sort and pack it.

The peer routes the same messages one by one, as a server does whose broker client hands them over so.
"""

from collections.abc import Iterator

import numpy as np

from server.codecs import imu, samples
from server.config import Config
from server.envelopes import Chunk
from server.frames import PAYLOAD_BYTES_MAX, Splitter, publish
from server.messages import HeartRate
from server.workers.routing import Router
from server.workers.wire import Tick, encode
from simulators.benchmark.measure import Cost, best_us

DEVICES = 1_000
WORKERS = 2
T0_NS = 1_700_000_000_000_000_000


def costs() -> Iterator[Cost]:
    """Yield the cost of a message, of IMUs alone and with straps among them."""
    rng = np.random.default_rng(1)
    accel_b, gyro_b, mag_b = rng.normal(0.0, 3.0, (3, 10, 3))
    packet = imu.encode(
        accel_b=accel_b, gyro_b=gyro_b, mag_b=mag_b, boot=1, t0_ns=T0_NS, seq=1, dt_ns=10_000_000
    )
    beat = samples.encode(HeartRate(t=T0_NS, boot=1, seq=9, bpm=141.0, rr_ms=[425.0, 427.0]))
    router = Router(Config(), WORKERS)
    for number in range(DEVICES):
        router.enrolled(f"imu-{number}")
    motion = [(f"kinefuse/v1/in/imu-{number}/imu", packet, False) for number in range(DEVICES)]
    beats = [(f"kinefuse/v1/in/strap-{number}/hr", beat, False) for number in range(DEVICES // 10)]
    splitter = Splitter(router.topics, PAYLOAD_BYTES_MAX)

    def chunk_of(messages: list[tuple[str, bytes, bool]]) -> Chunk:
        data = publish(messages)
        return Chunk(data, splitter.split(data, 0, len(data)).frames, T0_NS, 0)

    def send(chunk: Chunk) -> list[bytes]:
        splitter.split(chunk.data, 0, len(chunk.data))
        return [encode(Tick(1, 0, [(part.data, 0, 0)])) for _, part in router.parts(chunk)]

    alone, mixed = chunk_of(motion), chunk_of(motion + beats)
    single = list(alone.messages())
    us = best_us(
        {
            "alone": lambda: send(alone),
            "mixed": lambda: send(mixed),
            "single": lambda: [router.parts(message) for message in single],
        }
    )
    peer = "routed one by one", us["single"] / DEVICES
    yield Cost(f"{DEVICES} IMU packets to {WORKERS} workers", us["alone"] / DEVICES, "message", *peer)
    what = "the same, and a strap for ten of them"
    yield Cost(what, us["mixed"] / (DEVICES + DEVICES // 10), "message", *peer)
