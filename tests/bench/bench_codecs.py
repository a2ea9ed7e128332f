"""What a message costs to read and to write, against the standard library's json where it is JSON."""

import json
from collections.abc import Callable, Iterator

import numpy as np

from fusion.athletes import Athletes
from fusion.measurements import Measurements, Source, Sport
from fusion.telling import ID_BYTES, WORKOUT, Names
from server import publications
from server.codecs import imu, imu_json, samples
from server.messages import Gnss, HeartRate, ImuJson
from server.schedule import JOB
from server.workouts import STATES
from simulators.benchmark.measure import Cost, best_us

T0_NS = 1_700_000_000_000_000_000
STEPPED = 50


def costs() -> Iterator[Cost]:
    """Yield the cost of each codec."""
    rng = np.random.default_rng(1)
    accel_b, gyro_b = rng.normal(0.0, 3.0, (2, 10, 3))
    binary = imu.encode(
        accel_b=accel_b, gyro_b=gyro_b, mag_b=None, boot=1, t0_ns=T0_NS, seq=1, dt_ns=10_000_000
    )
    twin = imu_json.encode(
        ImuJson(t=T0_NS, dt=10_000_000, accel=accel_b.round(4).tolist(), gyro=gyro_b.round(4).tolist())
    )
    heart = samples.encode(HeartRate(t=T0_NS, boot=1, seq=9, bpm=141.0, rr_ms=[425.0, 427.0]))
    fix = samples.encode(Gnss(t=T0_NS, boot=1, seq=9, lat=48.1, lon=11.5, alt_m=520.0, speed_mps=3.1))
    (one, plain), (many, _) = _live(1), _live(STEPPED)
    us = best_us(
        {
            "binary": lambda: imu.decode(binary),
            "twin": lambda: imu_json.decode(twin),
            "twin json": lambda: json.loads(twin),
            "hr": lambda: samples.decode("hr", heart),
            "hr json": lambda: json.loads(heart),
            "gnss": lambda: samples.decode("gnss", fix),
            "gnss json": lambda: json.loads(fix),
            "live": one,
            "lives": many,
            "live json": lambda: json.dumps(plain),
        }
    )
    yield Cost("IMU packet of 10, binary, in Python", us["binary"], "message", "its JSON twin", us["twin"])
    yield Cost(
        "IMU packet of 10, JSON, checked", us["twin"], "message", "json.loads, unchecked", us["twin json"]
    )
    yield Cost("heart rate, checked", us["hr"], "message", "json.loads, unchecked", us["hr json"])
    yield Cost("GNSS fix, checked", us["gnss"], "message", "json.loads, unchecked", us["gnss json"])
    peer = "json.dumps alone", us["live json"]
    yield Cost("live: from estimates to bytes, a step of 1", us["live"], "message", *peer)
    yield Cost(f"live: from estimates to bytes, a step of {STEPPED}", us["lives"] / STEPPED, "message", *peer)


def _live(n: int) -> tuple[Callable[[], list[bytes]], object]:
    """Return a call that makes the live messages of so many athletes, and one as plain objects."""
    athletes = Athletes()
    rows = np.array([athletes.add() for _ in range(n)], np.intp)
    for row in rows:
        athletes.begin(int(row), T0_NS, Sport.RUN)
    due_ns = np.full(n, T0_NS + 1_000_000_000)
    m = Measurements.of(
        windows=[
            (row, T0_NS + k * 250_000_000, row, 4, 0.25, 0.01, 0.05, 3.0, 1.0, k % 2, 0.36, 64)
            for row in rows
            for k in range(1, 5)
        ],
        heart_rates=[(row, due_ns[0], 0, 140.0, 1.0, Source.STRAP, np.nan) for row in rows],
    )
    estimates = athletes.step(rows, due_ns, m)
    jobs = np.zeros(n, JOB)
    jobs["athlete"], jobs["due_ns"], jobs["boot"], jobs["seq"] = rows, due_ns, 1, 9
    workouts = np.zeros(n, WORKOUT)
    workouts["state"], workouts["id_ms"] = STATES.index("running"), T0_NS // 1_000_000
    names = Names(np.full(n, b"athlete", f"S{ID_BYTES}"), np.array([b"watch"], f"S{ID_BYTES}"), workouts)
    places = np.arange(n, dtype=np.uint32)

    def run() -> list[bytes]:
        return publications.lives(estimates, jobs, places, names, "full")

    return run, json.loads(run()[0])
