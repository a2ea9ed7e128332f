"""The binary IMU packet and its JSON twin."""

import struct

import numpy as np
import pytest

from fusion.measurements import ROW
from server.codecs import imu, imu_json
from server.errors import DecodeError
from server.messages import ImuJson

GOOD = imu.encode(
    accel_b=[[0.0, 0.0, 9.81], [0.1, np.nan, -1e9]],
    gyro_b=[[0.5, -0.5, 0.0], [1.0, 2.0, 3.0]],
    mag_b=[[np.nan] * 3, [20.0, 0.0, -43.0]],
    boot=7,
    t0_ns=1_764_585_664_362_463_200,
    seq=2**32 + 5,
    dt_ns=10_000_000,
    means=True,
)


def broken(offset: int, form: str, value: float) -> bytes:
    packet = bytearray(GOOD)
    struct.pack_into(form, packet, offset, value)
    return bytes(packet)


def test_a_packet_comes_back_as_it_was_meant() -> None:
    packet = imu.decode(GOOD)
    assert (packet.columns, packet.means, packet.boot, packet.seq) == (9, True, 7, 5)
    assert (packet.t0_ns, packet.dt_ns) == (1_764_585_664_362_463_200, 10_000_000)
    np.testing.assert_allclose(packet.accel_b[0], [0, 0, 9.81], atol=packet.scales[0])
    np.testing.assert_allclose(packet.gyro_b[1], [1, 2, 3], atol=packet.scales[1])
    assert np.isnan(packet.accel_b[1, 1])
    assert packet.mag_b is not None
    assert np.isnan(packet.mag_b[0]).all()
    assert packet.clipped.sum() == 1
    assert packet.clipped[1, 2]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "short_header"),
        (GOOD[:39], "short_header"),
        (broken(0, "B", 0x4C), "bad_magic"),
        (broken(1, "B", 2), "bad_version"),
        (broken(2, "B", 7), "bad_columns"),
        (broken(3, "B", 2), "bad_flags"),
        (broken(24, "<H", 0), "bad_count"),
        (broken(24, "<H", 1001), "bad_count"),
        (broken(26, "<H", 1), "bad_reserved"),
        (GOOD[:-1], "bad_length"),
        (GOOD + b"\0", "bad_length"),
        (broken(24, "<H", 1), "bad_length"),
        (broken(8, "<Q", 2**63), "bad_time"),
        (broken(8, "<Q", 2**63 - 1), "bad_time"),
        (broken(28, "<f", 0.0), "bad_scale"),
        (broken(32, "<f", float("nan")), "bad_scale"),
        (broken(36, "<f", float("inf")), "bad_scale"),
        (broken(28, "<f", 3e38), "bad_scale"),
        (broken(32, "<f", 0.031), "bad_scale"),  # 1,016 rad/s at the end of its range
    ],
)
def test_the_first_fault_names_the_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as error:
        imu.decode(payload)
    assert error.value.reason == reason


def test_six_columns_have_no_magnetometer() -> None:
    packet = imu.decode(imu.encode(accel_b=[[1, 2, 3]], gyro_b=[[0, 0, 0]], boot=1, t0_ns=0, seq=0, dt_ns=1))
    assert packet.columns == 6
    assert packet.mag_b is None


@pytest.mark.parametrize(
    "change",
    [
        {"t0_ns": -1},
        {"t0_ns": 2**63},
        {"dt_ns": 0},
        {"dt_ns": 2**32},
        {"gyro_b": [[0, 0]]},
        {"accel_b": np.zeros((0, 3)), "gyro_b": np.zeros((0, 3))},
        {"scales": (1.0, 0.0, 1.0)},
    ],
)
def test_what_no_decoder_would_take_is_not_encoded(change: dict[str, object]) -> None:
    arguments: dict[str, object] = {
        "accel_b": [[1, 2, 3]],
        "gyro_b": [[0, 0, 0]],
        "boot": 1,
        "t0_ns": 0,
        "seq": 0,
        "dt_ns": 1,
        **change,
    }
    with pytest.raises(ValueError):
        imu.encode(**arguments)  # type: ignore[arg-type]


def message(**change: object) -> ImuJson:
    arguments: dict[str, object] = {"dt": 10, "accel": [(0, 0, 9.8)] * 2, "gyro": [(1, 2, 3)] * 2, **change}
    return ImuJson(**arguments)  # type: ignore[arg-type]


def test_json_rows_are_sorted_by_time_and_the_rate_of_a_stamp_comes_last() -> None:
    decoded = imu_json.decode(
        imu_json.encode(message(t="1764585664362463201", boot=3, seq=4, mag=[None, (1, 2, 3)], means=True))
    )
    assert decoded.rows.dtype == ROW
    assert decoded.rows["sensor"].tolist() == [0, 1, 2, 0, 1]
    assert decoded.rows["t_ns"].tolist() == [1764585664362463201] * 2 + [1764585664362463211] * 3
    assert decoded.rows["z"][2] == 3
    assert decoded[1:] == (3, 4, True, True)


def test_json_without_time_ends_at_zero() -> None:
    decoded = imu_json.decode(imu_json.encode(message()))
    assert not decoded.t_known
    assert decoded.rows["t_ns"].tolist() == [-10, -10, 0, 0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gyro": [(1, 2, 3)]}, "bad_length"),
        ({"mag": [None]}, "bad_length"),
        ({"accel": [(0, 0, 1e30)] * 2}, "not_finite"),
        ({"t": 2**63 - 1}, "time"),
        ({"t": "9999999999999999999"}, "time"),
        ({"dt": 0}, "schema"),
        ({"accel": []}, "schema"),
    ],
)
def test_json_faults_have_a_reason(change: dict[str, object], reason: str) -> None:
    with pytest.raises(DecodeError) as error:
        imu_json.decode(imu_json.encode(message(**change)))
    assert error.value.reason == reason
