"""Sensor Logger's messages: what phones send, in SI units, specific force and one sign."""

import csv
import lzma
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from server.codecs.imu_json import ACCEL, GYRO, ImuRows
from server.codecs.sensor_logger import Reading, SensorLogger, SensorLoggerBatch, encode
from server.codecs.specific_force import HOLD_NS, PENDING_MAX
from server.errors import DecodeError
from server.messages import Baro, Battery, Cadence, Gnss, HeartRate
from tests.support.recordings import recordings

T0 = 1_764_585_664_362_463_201
G = 9.80665


def xyz(x: float, y: float, z: float) -> dict[str, float]:
    return {"x": x, "y": y, "z": z}


def decode(
    readings: list[Reading], logger: SensorLogger | None = None, session: str = "s"
) -> SensorLoggerBatch:
    payload = encode(device="d", session=session, message_id=4, readings=readings)
    return (logger or SensorLogger()).decode(payload)


def still(count: int, gravity_z: float, step_ns: int = 10_000_000, t0_ns: int = T0) -> list[Reading]:
    out = []
    for i in range(count):
        t_ns = t0_ns + i * step_ns
        out.append(Reading("accelerometer", t_ns, xyz(0.5, 0, 0)))
        out.append(Reading("gravity", t_ns, xyz(0, 0, gravity_z)))
        out.append(Reading("gyroscope", t_ns, xyz(0, 0, 0.25)))
    return out


def force_of(batch: SensorLoggerBatch) -> NDArray[np.float64]:
    (motion,) = [packet for packet in batch.packets if isinstance(packet, ImuRows)]
    rows = motion.rows[motion.rows["sensor"] == ACCEL]
    return np.stack([rows[axis].astype(np.float64) for axis in "xyz"], axis=1)


LIGHT = Reading("light", T0, {"lux": 3})
IOS_FIX = Reading("location", T0, {"latitude": 47.0, "longitude": 11.0, "altitudeAboveMeanSeaLevel": 3000.0})


def test_stamps_are_exact_to_the_nanosecond() -> None:
    batch = decode([LIGHT, *still(2, G)])
    (motion,) = batch.packets
    assert isinstance(motion, ImuRows)
    assert motion.rows["t_ns"].tolist() == [T0, T0, T0 + 10**7, T0 + 10**7]
    assert motion.t_known


def test_android_reads_plus_g_up_at_rest() -> None:
    np.testing.assert_allclose(force_of(decode([LIGHT, *still(2, G)])), [[0.5, 0, G]] * 2, atol=1e-6)


def test_ios_is_turned_to_plus_g_up_at_rest() -> None:
    np.testing.assert_allclose(force_of(decode([IOS_FIX, *still(2, -G)])), [[-0.5, 0, G]] * 2, atol=1e-6)


def test_orientation_overrules_the_fields_of_the_platform() -> None:
    standardised = [Reading("orientation", T0, {"qx": 0.0, "qy": 0.1, "qz": 0.7, "qw": 0.7})]
    np.testing.assert_allclose(
        force_of(decode([IOS_FIX, *standardised, *still(1, G)]))[0], [0.5, 0, G], atol=1e-6
    )
    face_down = [Reading("orientation", T0, {"qx": 1.0, "qy": 0.0, "qz": 0.0, "qw": 0.0})]
    np.testing.assert_allclose(force_of(decode([*face_down, *still(1, G)]))[0], [-0.5, 0, -G], atol=1e-6)


@pytest.mark.parametrize(("unit", "gravity_z"), [(1.0, -G), (G, G)])
def test_the_unit_of_uncalibrated_acceleration_tells_the_sign(unit: float, gravity_z: float) -> None:
    raw = Reading("accelerometeruncalibrated", T0, xyz(0, 0, unit))
    force = force_of(decode([IOS_FIX, raw, *still(1, gravity_z)]))
    assert len(force) == 1, "the uncalibrated one is not fed beside the other"
    assert force[0, 2] == pytest.approx(G)


def test_motion_waits_for_evidence_but_not_for_long() -> None:
    logger = SensorLogger()
    assert decode(still(10, G), logger).packets == []
    later = decode([Reading("light", T0, {"lux": 1}), *still(1, G, t0_ns=T0 + 10**9)], logger)
    assert len(force_of(later)) == 11
    patient = SensorLogger()
    batch = decode(still(2, G, step_ns=HOLD_NS), patient)
    assert len(force_of(batch)) == 2


def test_a_sign_that_turns_out_wrong_starts_a_new_boot() -> None:
    logger = SensorLogger()
    first = decode(still(2, -G, step_ns=HOLD_NS), logger).packets[0]
    batch = decode([IOS_FIX, *still(1, -G, t0_ns=T0 + 2 * HOLD_NS)], logger)
    second = next(packet for packet in batch.packets if isinstance(packet, ImuRows))
    assert isinstance(first, ImuRows)
    assert first.boot != second.boot
    assert second.rows["z"][0] == pytest.approx(G)


def test_gravity_of_other_stamps_is_interpolated_and_awaited() -> None:
    logger = SensorLogger()
    turning = [
        Reading("gravity", T0 + i * 50_000_000, xyz(G * math.sin(i * 0.1), 0, G * math.cos(i * 0.1)))
        for i in range(5)
    ]
    pushes = [Reading("accelerometer", T0 + i * 10_000_000, xyz(0, 0, 0)) for i in range(21)]
    waits = Reading("accelerometer", T0 + 201_000_000, xyz(0, 0, 0))
    force = force_of(decode([LIGHT, *turning, *pushes, waits], logger))
    angle = np.arctan2(force[:, 0], force[:, 2])
    np.testing.assert_allclose(angle, np.arange(21) * 0.02, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(force, axis=1), G, rtol=1e-6)
    assert len(force_of(decode([Reading("gravity", T0 + 250_000_000, xyz(0, 0, G))], logger))) == 1


def test_acceleration_without_gravity_is_refused_in_the_end() -> None:
    pushes = [Reading("accelerometer", T0 + i * 10_000_000, xyz(0, 0, 0)) for i in range(PENDING_MAX + 9)]
    batch = decode(pushes)
    assert batch.packets == []
    assert batch.refused == ["unpaired"] * 9


def test_no_quantity_is_fed_twice() -> None:
    total = [Reading("totalacceleration", T0 + i * 17_000_000, xyz(0, 0, G)) for i in range(3)]
    raw = [
        Reading("gyroscopeuncalibrated", T0, xyz(9, 9, 9)),
        Reading("accelerometeruncalibrated", T0, xyz(0, 0, G)),
    ]
    batch = decode([*total, *raw, *still(3, G)])
    (motion,) = batch.packets
    assert isinstance(motion, ImuRows)
    assert np.bincount(motion.rows["sensor"]).tolist() == [3, 3]
    assert batch.ignored == 5
    alone = decode(total)
    assert len(force_of(alone)) == 3


def test_a_message_that_comes_twice_is_late_the_second_time() -> None:
    logger = SensorLogger()
    decode([LIGHT, *still(2, G)], logger)
    again = decode([LIGHT, *still(2, G)], logger)
    assert again.packets == []
    assert set(again.refused) == {"late"}


def test_one_wild_stamp_does_not_silence_a_sensor() -> None:
    logger = SensorLogger()
    decode([LIGHT, *still(2, G), *still(1, G, t0_ns=2**61)], logger)
    counts = [len(decode(still(2, G, t0_ns=T0 + i * 10**9), logger).packets) for i in range(1, 5)]
    assert counts == [0, 1, 1, 1]


def wrist(gravity: float, push: float) -> list[Reading]:
    values = {
        "rotationRateX": 0.1,
        "rotationRateY": 0.2,
        "rotationRateZ": 0.3,
        "gravityX": 0.0,
        "gravityY": 0.0,
        "gravityZ": gravity,
        "accelerationX": push,
        "accelerationY": 0.0,
        "accelerationZ": 0.0,
    }
    return [Reading("wrist motion", T0, values)]


def test_a_watch_is_another_body_and_its_g_are_made_metres() -> None:
    for gravity, push, sign in ((-1.0, 0.5, -1), (G, 0.5 * G, 1)):
        batch = decode([*wrist(gravity, push), *still(1, gravity * (G if sign < 0 else 1))])
        assert batch.watch is not None
        rows = batch.watch.rows
        assert rows["sensor"].tolist() == [ACCEL, GYRO]
        assert rows[0]["x"] == pytest.approx(sign * 0.5 * G)
        assert rows[0]["z"] == pytest.approx(G)
        assert force_of(batch)[0, 2] == pytest.approx(G), "the watch's unit tells the phone's sign"


def test_low_rate_readings_become_samples() -> None:
    batch = decode(
        [
            Reading("barometer", T0 + 1, {"pressure": 703.36, "relativeAltitude": 0}),
            Reading("heart rate", T0 + 2, {"bpm": 101}),
            Reading("battery", T0 + 3, {"batteryLevel": 0.5, "batteryState": "unplugged"}),
            Reading("pedometer", T0, {"steps": 10}),
            Reading("pedometer", T0 + 3_000_000_000, {"steps": 18}),
            Reading("annotation", T0, {"text": "hill", "millisecond_press_duration": 3}),
            Reading("a new sensor", T0, {}),
        ]
    )
    assert batch.packets == [
        Baro(t=T0 + 1, pressure_pa=703.36 * 100),
        HeartRate(t=T0 + 2, bpm=101, optical=True),
        Battery(t=T0 + 3, level=0.5),
        Cadence(t=T0 + 3_000_000_000, spm=160.0),
    ]
    assert batch.refused == []
    assert batch.ignored == 2


@pytest.mark.parametrize("pressure", [101.325, 1013.25, 101_325.0])
def test_kilopascal_hectopascal_and_pascal_are_told_apart(pressure: float) -> None:
    (packet,) = decode([Reading("watch barometer", T0, {"pressure": pressure})]).packets
    assert isinstance(packet, Baro)
    assert packet.pressure_pa == pytest.approx(101_325)


def location(**change: float | None) -> dict[str, float | None]:
    return {
        "latitude": 47.0,
        "longitude": 11.0,
        "altitude": 3058.0,
        "speed": 2.0,
        "bearing": 66.0,
        "horizontalAccuracy": 3.5,
        "verticalAccuracy": 3.0,
        "speedAccuracy": 0.9,
        "bearingAccuracy": 5.0,
        **change,
    }


def test_a_fix_keeps_what_is_valid() -> None:
    full = Gnss(
        t=T0,
        lat=47,
        lon=11,
        alt_m=3058,
        speed_mps=2,
        course_deg=66,
        h_acc_m=3.5,
        v_acc_m=3,
        speed_acc_mps=0.9,
    )
    cases: list[tuple[dict[str, float | None], dict[str, float | None]]] = [
        ({}, {}),
        ({"altitudeAboveMeanSeaLevel": 3008.0}, {"alt_m": 3008.0}),
        ({"speed": -1.0, "speedAccuracy": -1.0}, {"speed_mps": None, "speed_acc_mps": None}),
        ({"bearing": -1.0, "bearingAccuracy": -1.0}, {"course_deg": None}),
        ({"bearing": 0.0, "bearingAccuracy": 0.0}, {"course_deg": None}),
        ({"verticalAccuracy": -1.0}, {"alt_m": None, "v_acc_m": None}),
        ({"horizontalAccuracy": 0.0, "altitude": None}, {"h_acc_m": None, "alt_m": None}),
    ]
    for change, expected in cases:
        (packet,) = decode([Reading("location", T0, location(**change))]).packets
        assert packet == msgspec.structs.replace(full, **expected)


def test_an_invalid_fix_is_refused() -> None:
    batch = decode([Reading("location", T0, location(horizontalAccuracy=-1.0)), Reading("location", T0, {})])
    assert batch.packets == []
    assert sorted(batch.refused) == ["no_fix", "range"]


def test_values_beside_the_name_are_read_like_nested_ones() -> None:
    readings = [LIGHT, *still(3, G), Reading("location", T0, location())]
    nested = encode(device="d", session="s", message_id=1, readings=readings)
    inline = encode(device="d", session="s", message_id=1, readings=readings, nested=False)
    assert str(SensorLogger().decode(nested)) == str(SensorLogger().decode(inline))


def test_bad_readings_do_not_harm_their_neighbours() -> None:
    payload = msgspec.json.encode(
        {
            "messageId": 1,
            "sessionId": "s",
            "deviceId": "d",
            "payload": [
                3,
                {"time": T0},
                {"name": "gravity", "time": 1.7e18, "values": xyz(0, 0, G)},
                {"name": "gravity", "values": xyz(0, 0, G)},
                {"name": "gyroscope", "time": T0, "values": {"x": 1, "y": 2}},
                {"name": "gyroscope", "time": T0, "values": {"x": 1, "y": 2, "z": "3"}},
                {"name": "gyroscope", "time": str(T0 + 1), "values": xyz(1e300, 0, 0)},
                {"name": "gyroscope", "time": str(T0 + 1), "values": xyz(1, 2, 3)},
                {"name": "gyroscope", "time": float(2**52), "values": xyz(1, 2, 3)},
            ],
        }
    )
    batch = SensorLogger().decode(payload)
    (motion,) = batch.packets
    assert isinstance(motion, ImuRows)
    assert motion.rows["t_ns"].tolist() == [2**52, T0 + 1]
    assert sorted(batch.refused) == ["not_finite", "schema", "schema", "schema", "schema", "time", "time"]


def test_the_device_id_is_made_fit_for_a_topic() -> None:
    payload = encode(device="A b/+#\u00e9" + "x" * 99, session="s", message_id=1, readings=[])
    assert SensorLogger().decode(payload).device == ("A-b----" + "x" * 99)[:64]
    assert SensorLogger().decode(b'{"sessionId":"only","payload":[]}').device == "only"
    with pytest.raises(DecodeError, match="device"):
        SensorLogger().decode(b'{"payload":[]}')


def test_a_new_session_is_a_new_boot_and_the_table_is_bounded() -> None:
    logger = SensorLogger(limit=1)
    boots = []
    for session in ("one", "two"):
        (motion,) = decode([LIGHT, *still(1, G)], logger, session).packets
        assert isinstance(motion, ImuRows)
        boots.append(motion.boot)
    assert boots[0] != boots[1]
    one = logger.device("d")
    logger.device("e")
    assert logger.device("d") is not one


# On what phones really recorded.


def column_series(path: Path) -> tuple[NDArray[np.int64], list[dict[str, float]]]:
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]
    t_ns = np.array([int(row.pop("time")) for row in rows], np.int64)
    for row in rows:
        row.pop("seconds_elapsed")
    return t_ns, [{key: float(value) for key, value in row.items()} for row in rows]


Motion = dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]


def replayed(
    folder: Path, names: list[str]
) -> tuple[dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]], int]:
    """Return stamps (s) and values of accelerometer and gyroscope, and the sign that was decided."""
    readings = []
    for name in names:
        t_ns, values = column_series(next(folder.glob(name + ".csv*")))
        readings += [Reading(name.lower(), t, v) for t, v in zip(t_ns.tolist(), values, strict=True)]
    readings.sort(key=lambda reading: reading.time_ns)
    logger = SensorLogger()
    rows = []
    for start in range(0, len(readings), 150):
        batch = decode(readings[start : start + 150], logger)
        assert batch.refused == []
        rows += [packet.rows for packet in batch.packets if isinstance(packet, ImuRows)]
    joined = np.concatenate(rows)
    out: Motion = {}
    for sensor in (ACCEL, GYRO):
        mine = joined[joined["sensor"] == sensor]
        vectors = np.stack([mine[axis].astype(np.float64) for axis in "xyz"], axis=1)
        out[sensor] = ((mine["t_ns"] - joined["t_ns"][0]) * 1e-9, vectors)
    return out, logger.device("d").gravity_sign


@pytest.mark.data
def test_an_iphone_on_skis_turns_about_up_as_its_course_does() -> None:
    folder = recordings("sensorlogger_ski") / "data"
    motion, sign = replayed(folder, ["Accelerometer", "Gravity", "Gyroscope", "Location"])
    assert sign == -1
    t_s, force = motion[ACCEL]
    up = np.stack([np.convolve(force[:, k], np.ones(200) / 200, "same") for k in range(3)], axis=1)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    rate_up = (motion[GYRO][1] * up).sum(axis=1)
    turned_rad = np.concatenate(([0.0], np.cumsum(rate_up[1:] * np.diff(t_s))))
    fix_ns, fixes = column_series(folder / "Location.csv")
    start_ns = column_series(folder / "Gyroscope.csv.xz")[0][0]
    at_s = (fix_ns - start_ns) * 1e-9
    course_rad = np.radians([fix["bearing"] for fix in fixes])
    course_rate = (np.diff(course_rad) + np.pi) % (2 * np.pi) - np.pi
    fast = (at_s > 4) & np.array([fix["speed"] > 2 and fix["bearing"] >= 0 for fix in fixes])
    both = fast[1:] & fast[:-1]
    assert both.sum() > 100
    agreement = [  # the receiver's course is filtered, and comes seconds after the turn
        np.corrcoef(-np.diff(np.interp(at_s - lag_s, t_s, turned_rad))[both], course_rate[both])[0, 1]
        for lag_s in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    ]
    assert max(agreement) > 0.7  # a course counts clockwise, an angle about up the other way
    assert min(agreement) > -0.3


@pytest.mark.data
@pytest.mark.parametrize(("name", "agreement"), [("data", 0.99), ("data2", 0.95)])
def test_gravity_turns_in_the_body_as_the_gyroscope_says(name: str, agreement: float) -> None:
    folder = recordings("sensorlogger_ski") / name
    gravity_ns, gravity = column_series(folder / "Gravity.csv.xz")
    gyro_ns, gyro = column_series(folder / "Gyroscope.csv.xz")
    t_s = (gyro_ns - gravity_ns[0]) * 1e-9
    omega = np.array([[row[axis] for axis in "xyz"] for row in gyro])
    g = np.array([[row[axis] for axis in "xyz"] for row in gravity])
    up = np.stack([np.interp(t_s, (gravity_ns - gravity_ns[0]) * 1e-9, g[:, k]) for k in range(3)], axis=1)
    rate = np.gradient(up, t_s, axis=0)
    assert np.corrcoef(rate.ravel(), -np.cross(omega, up).ravel())[0, 1] > agreement


@pytest.mark.data
def test_androids_sum_is_its_total_acceleration() -> None:
    folder = recordings("sensorlogger_ski") / "data2"
    motion, sign = replayed(
        folder, ["Accelerometer", "Gravity", "Gyroscope", "TotalAcceleration", "Orientation"]
    )
    assert sign == 1
    t_s, force = motion[ACCEL]
    assert len(t_s) / t_s[-1] == pytest.approx(99.9, abs=0.3)
    assert len(motion[GYRO][0]) / t_s[-1] == pytest.approx(58.9, abs=0.3)
    total_ns, total = column_series(folder / "TotalAcceleration.csv.xz")
    start_ns = column_series(folder / "Gravity.csv.xz")[0][0]
    at_s = (total_ns - start_ns) * 1e-9
    for k, axis in enumerate("xyz"):
        difference = np.interp(at_s, t_s, force[:, k]) - [row[axis] for row in total]
        assert abs(np.mean(difference)) < 0.15  # gravity has the standard length, the sensor its bias
        assert np.std(difference) < 0.3


@pytest.mark.data
def test_orientation_alone_decides_for_android() -> None:
    folder = recordings("sensorlogger_ski") / "data2"
    assert replayed(folder, ["Accelerometer", "Gravity", "Gyroscope", "Orientation"])[1] == 1
