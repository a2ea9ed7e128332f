"""Whatever bytes come, a codec returns a value or raises DecodeError with a known reason; nothing else."""

import json
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from server.codecs import imu, imu_json, samples, sensor_logger
from server.codecs.imu_json import ImuRows
from server.codecs.sensor_logger import Reading, SensorLogger
from server.errors import DecodeError
from server.messages import Birth, Command, Gnss, HeartRate, ImuJson

IMU_REASONS = {
    *("short_header", "bad_magic", "bad_version", "bad_columns", "bad_flags", "bad_count"),
    *("bad_reserved", "bad_length", "bad_time", "bad_scale"),
}
JSON_REASONS = {"json", "schema", "time", "too_large", "too_deep"}
READING_REASONS = {"schema", "time", "not_finite", "range", "no_fix", "unpaired", "late"}

int64 = st.integers(-(2**63), 2**63 - 1)
stamps = st.none() | int64 | int64.map(str)
u32 = st.integers(0, 2**32 - 1)
names = st.sampled_from(
    [
        "accelerometer",
        "gravity",
        "gyroscope",
        "magnetometer",
        "totalacceleration",
        "orientation",
        "location",
        "wrist motion",
        "new",
        "accelerometeruncalibrated",
        "barometer",
        "heart rate",
        "pedometer",
        "battery",
    ]
)
fields = st.sampled_from(
    [
        "x",
        "y",
        "z",
        "qx",
        "qy",
        "qw",
        "latitude",
        "longitude",
        "altitude",
        "horizontalAccuracy",
        "speed",
        "speedAccuracy",
        "bearing",
        "pressure",
        "bpm",
        "steps",
        "batteryLevel",
        "gravityX",
        "rotationRateX",
    ]
)
huge = st.sampled_from([10**400, -(10**400), 2**63, 2**64, -(2**63) - 1])
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70) | huge
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def refusal_of(decode: Callable[[], object]) -> DecodeError | None:
    try:
        decode()
    except DecodeError as error:
        return error
    return None


def decode_imu(payload: bytes) -> None:
    refusal = refusal_of(lambda: imu.decode(payload))
    if refusal is None:
        packet = imu.decode(payload)
        assert packet.accel_b.shape == packet.gyro_b.shape == (len(packet.clipped), 3)
    else:
        assert refusal.reason in IMU_REASONS
        assert 0 <= refusal.offset <= len(payload)


def decode_json(kind: str, payload: bytes) -> None:
    def decode() -> None:
        if kind == "imu":
            imu_json.decode(payload)
        elif kind == "sensor-logger":
            assert READING_REASONS.issuperset(SensorLogger().decode(payload).refused)
        else:
            assert JSON_REASONS.issuperset(samples.decode(kind, payload).refused)

    refusal = refusal_of(decode)
    if refusal is not None:
        assert refusal.reason in JSON_REASONS | {"too_many", "device", "bad_length", "not_finite"}
        assert 0 <= refusal.offset <= max(len(payload), 1)


KINDS = [*samples.KINDS, "imu", "sensor-logger"]

GOOD = {
    "hr": samples.encode(HeartRate(t="1764585664362463200", bpm=61.5, rr_ms=[950.0, 1001.5], contact=True)),
    "gnss": samples.encode([Gnss(t=1, lat=1, lon=2), Gnss(t=2, lat=1, lon=2, alt_m=5)]),
    "status": samples.encode(Birth(model="x", placement="foot", rate_hz=100)),
    "command": samples.encode(Command(action="start", id="a", t="12", expires=9)),
    "imu": imu_json.encode(ImuJson(t=5, dt=10, accel=[(1, 2, 3)], gyro=[(1, 2, 3)], mag=[None])),
    "sensor-logger": sensor_logger.encode(
        device="d",
        session="s",
        message_id=1,
        readings=[
            Reading("gravity", 10, {"x": 0, "y": 0, "z": 9.8}),
            Reading("location", 10, {"latitude": 1, "longitude": 2, "altitudeAboveMeanSeaLevel": 5}),
        ],
    ),
}


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(payload: bytes) -> None:
    decode_imu(payload)
    for kind in KINDS:
        decode_json(kind, payload)


@given(
    st.lists(st.sampled_from([0, 1, 2, 6, 9, 40, 0x4B, 255]), min_size=4, max_size=4),
    st.lists(u32, min_size=9, max_size=9),
    st.integers(0, 120),
)
def test_any_header_is_decoded_or_refused(head: list[int], words: list[int], body: int) -> None:
    decode_imu(struct.pack("<4B9I", *head, *words) + bytes(body))
    counted = [*words[:5], 1, *struct.unpack("<3I", struct.pack("<3f", 1, 1, 1))]
    decode_imu(struct.pack("<4B9I", 0x4B, 1, 6, head[3] & 1, *counted) + bytes(12))


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_a_good_message_cut_or_changed_anywhere_is_decoded_or_refused(kind: str, data: st.DataObject) -> None:
    payload = GOOD[kind]
    decode_json(kind, payload[: data.draw(st.integers(0, len(payload)))])
    changed = bytearray(payload)
    changed[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    decode_json(kind, bytes(changed))


@given(st.sampled_from(KINDS), anything)
def test_any_json_is_decoded_or_refused(kind: str, value: Any) -> None:
    decode_json(kind, json.dumps(value).encode())


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "name": names | st.integers(),
                "time": st.integers(-5, 2**64) | st.floats() | st.text(max_size=20),
            },
            optional={"values": anything | st.dictionaries(fields, numbers | st.none(), max_size=9)},
        )
        | anything,
        max_size=12,
    )
)
def test_any_readings_are_decoded_or_refused(readings: list[Any]) -> None:
    message = {"messageId": 1, "sessionId": "s", "deviceId": "d", "payload": readings}
    decode_json("sensor-logger", json.dumps(message).encode())


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            names,
            st.integers(0, 2**62),
            st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=3),
            st.booleans(),
        ),
        max_size=30,
    ),
    st.integers(1, 29),
)
def test_rows_are_sorted_and_finite(drawn: list[tuple[str, int, list[float], bool]], cut: int) -> None:
    logger = SensorLogger()
    logger.device("d").hint(True)
    for part in (drawn[:cut], drawn[cut:]):
        readings = [
            Reading(name, t, dict(zip("xyz", values, strict=True)) | ({"bpm": 60.0} if more else {}))
            for name, t, values, more in part
        ]
        batch = logger.decode(sensor_logger.encode(device="d", session="s", message_id=1, readings=readings))
        for packet in batch.packets:
            if isinstance(packet, ImuRows):
                assert (np.diff(packet.rows["t_ns"]) >= 0).all()
                assert all(np.isfinite(packet.rows[axis]).all() for axis in "xyz")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"payload":' + b"[" * 200_000,
        b'{"deviceId":"d","payload":[' + b'{"values":' * 100_000,
        b'{"t":' + b"9" * 300_000 + b"}",
        b'{"t":-' + b"9" * 5_000 + b"}",
        b'{"bpm":NaN}',
        b'{"bpm":-Infinity}',
        b'{"bpm":1e99999}',
        b'{"deviceId":"d","payload":[{"name":"gravity","time":' + b"9" * 5_000 + b"}]}",
        b'{"deviceId":"d","payload":[{"name":"barometer","time":1,"pressure":1e999}]}',
        b'{"deviceId":"d","payload":[{"name":"barometer","time":1,"pressure":NaN}]}',
        b'{"deviceId":"\\ud800","payload":[]}',
        b'{"deviceId":"\xed\xa0\x80","payload":[]}',
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"null",
    ],
)
def test_hostile_json_is_refused_or_harmless(kind: str, payload: bytes) -> None:
    decode_json(kind, payload)


counts = hnp.arrays(np.int16, st.tuples(st.integers(1, 20), st.sampled_from([6, 9])))


@given(counts, u32, st.integers(0, 2**62), u32, st.integers(1, 2**32 - 1), st.booleans())
def test_every_packet_is_encoded_as_it_was_decoded(
    body: np.ndarray[Any, np.dtype[np.int16]], boot: int, t0_ns: int, seq: int, dt_ns: int, means: bool
) -> None:
    count, columns = body.shape
    payload = (
        struct.pack(
            "<4BIQII2H3f", 0x4B, 1, columns, means, boot, t0_ns, seq, dt_ns, count, 0, 0.01, 1e-3, 0.1
        )
        + body.tobytes()
    )
    packet = imu.decode(payload)
    again = imu.encode(
        accel_b=packet.accel_b,
        gyro_b=packet.gyro_b,
        mag_b=packet.mag_b,
        boot=packet.boot,
        t0_ns=packet.t0_ns,
        seq=packet.seq,
        dt_ns=packet.dt_ns,
        means=packet.means,
        scales=packet.scales,
    )
    assert again == payload


@given(
    st.lists(
        st.builds(
            HeartRate,
            t=stamps,
            boot=st.none() | u32,
            seq=st.none() | u32,
            bpm=st.none() | st.floats(0, 300),
            rr_ms=st.lists(st.floats(1e-3, 10_000), max_size=5),
            contact=st.none() | st.booleans(),
        ),
        max_size=5,
    )
)
def test_samples_come_back_with_their_stamps_read(sent: list[HeartRate]) -> None:
    packets, refused = samples.decode("hr", samples.encode(list(sent)))
    assert refused == []
    assert packets == [
        msgspec.structs.replace(each, t=None if each.t is None else int(each.t)) for each in sent
    ]
