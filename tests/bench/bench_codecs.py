"""What a message costs to read and to write, against the standard library's json where it is JSON."""

import json
from collections.abc import Callable, Iterator

import numpy as np

from fusion.athletes import Athletes
from fusion.measurements import Measurements, Source, Sport
from server import publications
from server.codecs import imu, imu_json, samples
from server.messages import Cause, Gnss, HeartRate, ImuJson, WorkoutState
from simulators.benchmark.measure import Cost, best_us

T0_NS = 1_700_000_000_000_000_000


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
    live, plain = _live()
    us = best_us(
        {
            "binary": lambda: imu.decode(binary),
            "twin": lambda: imu_json.decode(twin),
            "twin json": lambda: json.loads(twin),
            "hr": lambda: samples.decode("hr", heart),
            "hr json": lambda: json.loads(heart),
            "gnss": lambda: samples.decode("gnss", fix),
            "gnss json": lambda: json.loads(fix),
            "live": live,
            "live json": lambda: json.dumps(plain),
        }
    )
    yield Cost("IMU packet of 10, binary, in Python", us["binary"], "message", "its JSON twin", us["twin"])
    yield Cost(
        "IMU packet of 10, JSON, checked", us["twin"], "message", "json.loads, unchecked", us["twin json"]
    )
    yield Cost("heart rate, checked", us["hr"], "message", "json.loads, unchecked", us["hr json"])
    yield Cost("GNSS fix, checked", us["gnss"], "message", "json.loads, unchecked", us["gnss json"])
    yield Cost("live: from estimates to bytes", us["live"], "message", "json.dumps alone", us["live json"])


def _live() -> tuple[Callable[[], bytes], object]:
    """Return a call that makes one athlete's live message, and the same message as plain objects."""
    athletes = Athletes()
    row = athletes.add()
    athletes.begin(row, T0_NS, Sport.RUN)
    due_ns = T0_NS + 1_000_000_000
    m = Measurements.of(heart_rates=[(row, due_ns, 0, 140.0, 1.0, Source.STRAP)])
    estimates = athletes.step(np.array([row]), np.array([due_ns]), m)
    columns = publications.MetricColumns(estimates)
    cause, state = Cause("watch", 1, 9), WorkoutState("w", "running", "run", 1.0, 1.0, 0)

    def run() -> bytes:
        return publications.live("athlete", due_ns, cause, state, columns.at(0, due_ns))

    return run, json.loads(run())
