"""One message of every kind, whose bytes are kept beside this file.

``python -m tests.golden.messages`` writes them anew: do so only when the protocol is meant to change.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from server.codecs import imu, imu_json, samples, sensor_logger
from server.codecs.sensor_logger import Reading
from server.messages import (
    AthleteHealth,
    Baro,
    Battery,
    Birth,
    Cadence,
    Cause,
    Clock,
    ClockHealth,
    Command,
    Death,
    DeviceHealth,
    Foot,
    Gnss,
    HeartRate,
    ImuJson,
    Lap,
    LateLogStatus,
    Live,
    Metric,
    ModelHealth,
    Packet,
    Ping,
    Pong,
    Power,
    Reply,
    ServerStatus,
    StreamHealth,
    Summary,
    Wheel,
    Workout,
    WorkoutState,
)

FOLDER = Path(__file__).parent
T = 1_764_585_664_362_463_201

# By kind: the last level of the topic, or command.
SAMPLES: dict[str, Packet | Command | list[Packet]] = {
    "hr": HeartRate(t=T, boot=7, seq=1, bpm=143.5, rr_ms=[421.9, 418.0], contact=True, optical=False),
    "gnss": [
        Gnss(
            t=T,
            lat=47.059618201633896,
            lon=11.668248979300474,
            alt_m=3008.1,
            speed_mps=0.59,
            course_deg=66.4,
            h_acc_m=3.5,
            v_acc_m=3.0,
            speed_acc_mps=0.9,
        ),
        Gnss(t=T + 10**9, lat=-0.5, lon=-180.0),
    ],
    "baro": Baro(t=T, pressure_pa=70336.01),
    "power": Power(t=T, watts=251.0),
    "cadence": [Cadence(t=T, rpm=91.5), Cadence(t=T, spm=172.0)],
    "wheel": Wheel(t=T, speed_mps=9.25),
    "foot": Foot(t=T, speed_mps=3.125),
    "battery": Battery(level=0.5),
    "pong": Pong(t=T, id="ping-1"),
    "command": Command(action="start", id="c-1", expires=T + 10**10, t=T, sport="ski"),
}

STATUS: dict[str, Birth | Death] = {
    "online": Birth(
        t=T,
        boot=7,
        model="iPhone 12 Pro Max",
        placement="pocket",
        sport="ski",
        gyro_range=34.9,
        accel_range=78.5,
        rate_hz=100.0,
        clock=Clock(recorded=True, speed=10.0),
    ),
    "offline": Death(),
}

_STATE = WorkoutState(id="w1", state="running", sport="run", elapsed_s=61.0, moving_s=60.5, revision=2)

PUBLISHED: dict[str, Any] = {
    "live": Live(
        t_ms=1_764_585_664_362,
        athlete="ada",
        cause=Cause(device="strap", boot=7, seq=1),
        workout=_STATE,
        metrics={
            "heart_rate": Metric(value=143.5, sigma=1.5, age_s=0.2, source="strap", quality=0.97),
            "speed": Metric(None, reason="no_source"),
        },
    ),
    "workout": Workout(
        t_ms=1_764_585_664_362,
        athlete="ada",
        event="ended",
        workout=_STATE,
        laps=[Lap(number=1, t_ms=1_764_585_660_000, elapsed_s=30.0, distance_m=101.5)],
        summary=Summary(
            sport="run",
            start_ms=1_764_585_600_000,
            end_ms=1_764_585_664_362,
            elapsed_s=61.0,
            moving_s=60.5,
            distance_m=203.0,
            steps=171,
            sigma={"distance_m": 2.5},
            reasons={"energy_kcal": "needs_profile"},
            sources={"distance_m": "gnss"},
        ),
    ),
    "reply": Reply(id="c-1", ok=False, reason="expired"),
    "ping": Ping(id="1764585664362463201", t_ms=1_764_585_664_362),
    "athlete_health": AthleteHealth(
        t_ms=1_764_585_664_362,
        athlete="ada",
        sources={"steps": "left-foot", "heart_rate": "strap"},
        models={"heart_rate": ModelHealth(nis=1.08, fit="good")},
    ),
    "health": DeviceHealth(
        t_ms=1_764_585_664_362,
        device="strap",
        athlete="ada",
        model="H10",
        placement="chest",
        online=True,
        silent_s=0.4,
        clock=ClockHealth(
            offset_ms=-3.25,
            sigma_ms=0.5,
            skew_ppm=12.5,
            jumps=0,
            wraps=0,
            kind="epoch_2000",
            round_trip_ms=41.5,
            recorded=False,
        ),
        imu_rate_hz=0.0,
        packets=61,
        lost=0,
        refused={"schema": 2},
        battery=None,
        streams={
            "hr": StreamHealth(state="alive", silent_s=0.4, deadline_s=4.0),
            "battery": StreamHealth(state="quiet_unchanged", silent_s=301.0, deadline_s=240.0),
        },
        intervals={"normal": 58, "missed": 2},
    ),
    "server_status": ServerStatus(
        t_ms=1_764_585_664_362,
        state="online",
        version="0.1.0",
        devices=2,
        athletes=1,
        workouts=1,
        received=122,
        late_log=LateLogStatus(written=3, unwritten=1, bytes=954, error="No space left on device"),
    ),
}

IMU: dict[str, dict[str, Any]] = {
    "imu_6": {
        "accel_b": [[0.0, 0.0, 9.80665], [0.5, -0.5, 9.5]],
        "gyro_b": [[0.0, 0.25, -0.25], [1.0, 2.0, 4.0]],
        "boot": 0x01020304,
        "t0_ns": T,
        "seq": 2**32 - 1,
        "dt_ns": 10_000_000,
    },
    "imu_9": {
        "accel_b": [[0.0, 0.0, 9.80665], [np.nan, 1e6, -1e6]],
        "gyro_b": [[0.0, 0.25, -0.25], [1.0, 2.0, 4.0]],
        "mag_b": [[20.0, 1.0, -43.0], [np.nan, np.nan, np.nan]],
        "boot": 1,
        "t0_ns": 0,
        "seq": 0,
        "dt_ns": 2**32 - 1,
        "means": True,
        "scales": (0.01, 0.001, 0.1),
    },
}

IMU_JSON = ImuJson(
    t=str(T), boot=7, seq=2, dt=10_000_000, accel=[(0.0, 0.5, 9.8)], gyro=[(0.1, 0.2, 0.3)], mag=[None]
)

SENSOR_LOGGER: dict[str, Any] = {
    "device": "eeaf6dad-beba-41a1-9be5-132403ba0c65",
    "session": "s-1",
    "message_id": 3,
    "readings": [
        Reading("accelerometer", T, {"z": 1.5, "y": -0.25, "x": 0.25}),
        Reading("gravity", T, {"z": -7.5, "y": -6.5, "x": -0.5}),
        Reading("gyroscope", T, {"z": 0.75, "y": 1.0, "x": -0.875}),
        Reading("location", T, {"latitude": 47.5, "longitude": 11.5, "altitudeAboveMeanSeaLevel": 3008.5}),
        Reading("barometer", T, {"relativeAltitude": 0, "pressure": 703.5}),
    ],
}


def golden() -> dict[str, bytes]:
    """Return the bytes of every message by the name of its file."""
    return {
        **{f"{kind}.json": samples.encode(message) for kind, message in SAMPLES.items()},
        **{f"status_{state}.json": samples.encode(message) for state, message in STATUS.items()},
        **{f"{name}.json": msgspec.json.encode(message) for name, message in PUBLISHED.items()},
        **{f"{name}.bin": imu.encode(**arguments) for name, arguments in IMU.items()},
        "imu.json": imu_json.encode(IMU_JSON),
        "sensor_logger.json": sensor_logger.encode(**SENSOR_LOGGER),
        "sensor_logger_inline.json": sensor_logger.encode(**SENSOR_LOGGER, nested=False),
    }


if __name__ == "__main__":
    for name, payload in golden().items():
        (FOLDER / name).write_bytes(payload)
