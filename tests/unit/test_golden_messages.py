"""The protocol's bytes, kept: whoever changes them changes the protocol."""

import inspect
from typing import Any

import msgspec
import numpy as np
import pytest

import server.deadlines.report
import server.messages
from server.codecs import imu, imu_json, samples, schema
from server.codecs.imu_json import ImuRows
from server.codecs.sensor_logger import SensorLogger
from server.messages import Baro, Gnss
from tests.golden.messages import FOLDER, IMU, IMU_JSON, PUBLISHED, SAMPLES, STATUS, T, golden


@pytest.mark.parametrize("name", sorted(golden()))
def test_every_message_is_encoded_to_its_golden_bytes(name: str) -> None:
    assert golden()[name] == (FOLDER / name).read_bytes()


def test_no_golden_bytes_are_left_over() -> None:
    kept = {path.name for path in FOLDER.iterdir() if path.suffix in (".json", ".bin")}
    assert kept == set(golden())


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_golden_samples_are_decoded_to_their_messages(kind: str) -> None:
    message: Any = SAMPLES[kind]
    expected = message if isinstance(message, list) else [message]
    assert samples.decode(kind, (FOLDER / f"{kind}.json").read_bytes()) == (expected, [])


@pytest.mark.parametrize("state", sorted(STATUS))
def test_golden_status_is_decoded(state: str) -> None:
    payload = (FOLDER / f"status_{state}.json").read_bytes()
    assert samples.decode("status", payload).packets == [STATUS[state]]


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_golden_publications_say_what_they_mean(name: str) -> None:
    payload = (FOLDER / f"{name}.json").read_bytes()
    assert msgspec.json.decode(payload) == msgspec.to_builtins(PUBLISHED[name])


@pytest.mark.parametrize("name", sorted(IMU))
def test_golden_imu_packets_are_decoded(name: str) -> None:
    packet = imu.decode((FOLDER / f"{name}.bin").read_bytes())
    meant = IMU[name]
    assert (packet.boot, packet.t0_ns, packet.seq, packet.dt_ns, packet.means) == (
        meant["boot"],
        meant["t0_ns"],
        meant["seq"],
        meant["dt_ns"],
        meant.get("means", False),
    )
    limit = packet.scales[0] * imu.EXTREME
    np.testing.assert_allclose(
        packet.accel_b, np.clip(meant["accel_b"], -limit, limit), atol=packet.scales[0] / 2
    )
    np.testing.assert_allclose(packet.gyro_b, meant["gyro_b"], atol=packet.scales[1] / 2)


def test_the_golden_json_twin_is_decoded() -> None:
    decoded = imu_json.decode((FOLDER / "imu.json").read_bytes())
    assert decoded.rows["t_ns"].tolist() == [T, T]
    assert decoded.rows["z"].tolist() == [np.float32(9.8), np.float32(0.3)]
    assert (decoded.boot, decoded.seq) == (IMU_JSON.boot, IMU_JSON.seq)


@pytest.mark.parametrize("name", ["sensor_logger.json", "sensor_logger_inline.json"])
def test_the_golden_phone_message_is_decoded(name: str) -> None:
    batch = SensorLogger().decode((FOLDER / name).read_bytes())
    fix, pressure, motion = batch.packets
    assert isinstance(motion, ImuRows)
    assert motion.rows.tolist() == [(T, 0.25, 6.75, 6.0, 0), (T, -0.875, 1.0, 0.75, 1)]
    assert fix == Gnss(t=T, lat=47.5, lon=11.5, alt_m=3008.5)
    assert pressure == Baro(t=T, pressure_pa=70_350.0)
    assert (batch.device, batch.session, batch.message_id) == (
        "eeaf6dad-beba-41a1-9be5-132403ba0c65",
        "s-1",
        3,
    )


def test_the_published_schema_is_current() -> None:
    assert schema.PATH.read_bytes() == schema.text(), "run: python -m server.codecs.schema"


def test_the_schema_describes_every_struct_of_the_protocol() -> None:
    structs = {
        name
        for module in (server.messages, server.deadlines.report)
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == module.__name__
    }
    assert structs - {"Sample"} == set(schema.protocol()["$defs"])
