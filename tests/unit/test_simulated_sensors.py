"""Simulated sensors tell what the truth implies, with the errors of their data sheets."""

from itertools import pairwise

import numpy as np
import pytest

from server.codecs import imu, samples
from server.messages import Baro, Birth, Gnss, HeartRate
from simulators import gait, scenarios
from simulators.device import Device, DeviceKind
from simulators.faults import Faults
from simulators.heart import Body
from simulators.jets import Array
from simulators.programme import Phase
from simulators.sensors import FIELD_E_UT, Barometer, Imu, Receiver, Sheet, Strap
from simulators.truth import GRAVITY_MPS2, Truth

START_NS = 1_700_000_000_123_456_789
PERFECT = Faults(offset_s=0.0, skew_ppm=0.0)


def make_truth(*phases: Phase) -> Truth:
    return Truth(phases or [Phase("run", 300, 3.2, 172)], Body(), np.random.default_rng(3), lap_m=1_000)


def make_imu(truth: Truth, placement: str, seed: int = 5, **options: int) -> Imu:
    return Imu(truth, placement, np.random.default_rng(seed), mag_every=options.get("mag_every", 0))


def rotate(q: Array, vectors: Array) -> Array:
    """q_eb takes body to earth: the vector part of q v q*."""
    w, u = q[:, :1], q[:, 1:]
    return vectors + 2 * w * np.cross(u, vectors) + 2 * np.cross(u, np.cross(u, vectors))


def product(p: Array, q: Array) -> Array:
    w = p[:, :1] * q[:, :1] - (p[:, 1:] * q[:, 1:]).sum(1, keepdims=True)
    return np.concatenate(
        [w, p[:, :1] * q[:, 1:] + q[:, :1] * p[:, 1:] + np.cross(p[:, 1:], q[:, 1:])], axis=1
    )


@pytest.fixture(params=gait.PLACEMENTS)
def placement(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_at_rest_the_accelerometer_reads_one_g_upwards(placement: str) -> None:
    device = make_imu(make_truth(Phase("rest", 300)), placement)
    t_s = np.arange(10.0, 20.0, 0.01)
    ideal, _ = device.ideal(t_s)
    np.testing.assert_allclose(np.linalg.norm(ideal.accel_b, axis=1), GRAVITY_MPS2, atol=0.02)
    up = rotate(device.q_eb(t_s), ideal.accel_b)
    np.testing.assert_allclose(up, np.tile([0.0, 0.0, GRAVITY_MPS2], (len(t_s), 1)), atol=0.02)


def test_specific_force_turned_to_earth_is_acceleration_plus_g(placement: str) -> None:
    """Integrated twice over a minute of running it gives the sensor's own way."""
    truth = make_truth()
    device = make_imu(truth, placement)
    dt_s = 0.001
    t_s = np.arange(20.0, 40.0, dt_s)
    ideal, at = device.ideal(t_s)
    acceleration = rotate(device.q_eb(t_s), ideal.accel_b) - [0.0, 0.0, GRAVITY_MPS2]
    way = np.stack([at.east.x, at.north.x, at.up.x], axis=1)
    begin = np.array([at.east.dx[0], at.north.dx[0], at.up.dx[0]])
    velocity = begin + np.cumsum(0.5 * (acceleration[1:] + acceleration[:-1]) * dt_s, axis=0)
    velocity = np.concatenate([[begin], velocity])
    moved = np.cumsum(0.5 * (velocity[1:] + velocity[:-1]) * dt_s, axis=0)
    np.testing.assert_allclose(moved, way[1:] - way[0], atol=0.02)


def test_integrating_the_gyroscope_reproduces_the_attitude(placement: str) -> None:
    device = make_imu(make_truth(), placement)
    dt_s = 0.002
    t_s = np.arange(20.0, 40.0, dt_s)
    q = device.q_eb(t_s)
    rate_b = device.ideal(t_s[:-1] + dt_s / 2)[0].gyro_b
    size = np.linalg.norm(rate_b, axis=1, keepdims=True)
    turns = np.concatenate([np.cos(size * dt_s / 2), rate_b / size * np.sin(size * dt_s / 2)], axis=1)
    now = q[:1]
    for turn in turns:
        now = product(now, turn[None, :])
    error_rad = 2 * np.arccos(min(abs(float((now[0] * q[-1]).sum())), 1.0))
    assert error_rad < 2e-3


def test_the_magnetometer_sees_the_field_at_its_own_rate() -> None:
    device = make_imu(make_truth(), "wrist", mag_every=5)
    t_s = np.arange(0.0, 1.0, 0.01)
    read = device.read(t_s)
    assert read.mag_b is not None
    there = ~np.isnan(read.mag_b[:, 0])
    np.testing.assert_array_equal(np.flatnonzero(there), np.arange(0, 100, 5))
    field = rotate(device.q_eb(t_s[there]), read.mag_b[there])
    np.testing.assert_allclose(field.mean(0), FIELD_E_UT, atol=2.0)


def test_bias_and_noise_are_those_of_the_data_sheet() -> None:
    device = make_imu(make_truth(Phase("rest", 600)), "foot")
    t_s = np.arange(0.0, 100.0, 0.01)
    read, (ideal, _) = device.read(t_s), device.ideal(t_s)
    error = read.accel_b - ideal.accel_b
    np.testing.assert_allclose(error.mean(0), device.accel_bias_b, atol=1e-3)
    assert error.std() == pytest.approx(
        np.hypot(110e-6 * 9.80665 * 50**0.5, device.accel_bias_b.std()), rel=0.05
    )
    turn = read.gyro_b - ideal.gyro_b
    np.testing.assert_allclose(turn.mean(0), device.gyro_bias_b, atol=1e-4)
    np.testing.assert_allclose(turn.std(0), np.radians(3.8e-3) * 50**0.5, rtol=0.05)


def test_each_sensor_clips_at_its_range() -> None:
    truth = make_truth()
    sheet = Sheet(accel_range_mps2=20.0, gyro_range_radps=2.0)
    device = Imu(truth, "foot", np.random.default_rng(1), sheet=sheet)
    read = device.read(np.arange(20.0, 30.0, 0.01))
    assert np.abs(read.accel_b).max() == 20.0
    assert np.abs(read.gyro_b).max() == 2.0


def make_device(*sensors: str, faults: Faults = PERFECT, truth: Truth | None = None, seed: int = 9) -> Device:
    kind = DeviceKind("all", "test", sensors, "wrist", mag_every=5)
    seeds = np.random.SeedSequence(seed)
    return Device("dev", kind, truth or make_truth(), seeds, start_ns=START_NS, faults=faults)


def payloads(device: Device, topic: str, seconds: int) -> list[bytes]:
    sent = [message for k in range(seconds) for message in device.second(k)]
    return [message.payload for message in sent if message.topic == f"in/dev/{topic}"]


def test_ten_packets_a_second_decode_to_the_sensor_within_half_a_step() -> None:
    device, twin = make_device("imu"), make_device("imu")
    packets = [imu.decode(payload) for payload in payloads(device, "imu", 5)]
    assert twin._imu is not None
    t_s = twin.phase_s + np.arange(500) / 100
    read = twin._imu.read(t_s)
    scales = twin._imu.sheet.scales
    assert [packet.seq for packet in packets] == list(range(50))
    assert {packet.boot for packet in packets} == {twin.boot}
    assert all(packet.dt_ns == 10_000_000 and not packet.means for packet in packets)
    for name, scale in zip(("accel_b", "gyro_b"), scales, strict=False):
        told = np.concatenate([getattr(packet, name) for packet in packets])
        assert np.abs(told - getattr(read, name)).max() <= 0.5001 * scale
    mags = np.concatenate([packet.mag_b for packet in packets if packet.mag_b is not None])
    assert np.isnan(mags[:, 0]).sum() == 400
    stamps = [packet.t0_ns for packet in packets]
    assert all(abs(b - a - 100_000_000) <= 1 for a, b in pairwise(stamps))


def test_a_packet_leaves_when_its_last_sample_is_taken() -> None:
    device = make_device("imu")
    for message in device.second(0):
        if message.topic.endswith("/imu"):
            packet = imu.decode(message.payload)
            last_ns = packet.t0_ns + 9 * packet.dt_ns
            assert START_NS + message.due_s * 1e9 == pytest.approx(last_ns, abs=1_000)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    def everything(seed: int) -> list[object]:
        made = scenarios.build(
            "demo", 5, seed=seed, start_ns=START_NS, faults=Faults(loss=0.1, jitter_s=0.05)
        )
        return [device.second(k) for k in range(7) for athlete in made for device in athlete.devices]

    assert everything(11) == everything(11)
    assert everything(11) != everything(12)


def test_an_athlete_does_not_depend_on_how_many_others_there_are() -> None:
    alone, among = (scenarios.build("class", n, seed=1, start_ns=START_NS)[0].devices[0] for n in (1, 3))
    assert [alone.second(k) for k in range(3)] == [among.second(k) for k in range(3)]


def test_intervals_of_the_strap_sum_to_the_time_between_its_stamps() -> None:
    device = make_device("hr")
    decoded = [samples.decode("hr", payload).packets[0] for payload in payloads(device, "hr", 120)]
    readings = [packet for packet in decoded if isinstance(packet, HeartRate) and packet.rr_ms]
    first, last = readings[0].t, readings[-1].t
    assert isinstance(first, int)
    assert isinstance(last, int)
    told_ms = sum(sum(reading.rr_ms) for reading in readings[1:])
    assert (last - first) / 1e6 == pytest.approx(told_ms, abs=0.01)
    assert [packet.seq for packet in decoded if isinstance(packet, HeartRate)] == list(range(120))


def test_the_strap_tells_the_rate_of_the_heart() -> None:
    truth = make_truth()
    strap = Strap(truth, np.random.default_rng(1))
    told = [strap.read(float(t))[0].bpm for t in range(1, 281)]
    true = truth.heart.rate_bpm(np.arange(1.0, 281.0))
    errors = [bpm - rate for bpm, rate in zip(told[10:], true[10:], strict=True) if bpm is not None]
    assert len(errors) == 270
    assert abs(np.mean(errors)) < 1.0
    assert np.max(np.abs(errors)) < 8.0


def test_position_errors_are_coloured_and_speed_errors_white() -> None:
    truth = make_truth()
    receiver = Receiver(np.random.default_rng(2))
    state = truth.state(np.arange(0.0, 4_000.0))
    fixes = [receiver.read(each) for each in state.each()]
    north_m = (np.array([fix.lat for fix in fixes]) - state.lat_deg) * 111_200
    claimed_m = float(np.mean([fix.h_acc_m or 0.0 for fix in fixes]))
    assert north_m.std() == pytest.approx(claimed_m, rel=0.25)
    lagged = np.corrcoef(north_m[:-40], north_m[40:])[0, 1]
    assert lagged == pytest.approx(np.exp(-1) * 0.95, abs=0.2)
    speed_errors = np.array([fix.speed_mps or 0.0 for fix in fixes]) - state.speed_mps
    assert speed_errors.std() == pytest.approx(Receiver.SPEED_SIGMA_MPS, rel=0.1)
    assert abs(np.corrcoef(speed_errors[:-1], speed_errors[1:])[0, 1]) < 0.1


def test_pressure_falls_with_height_as_in_the_standard_atmosphere() -> None:
    truth = make_truth()
    barometer = Barometer(np.random.default_rng(2))
    state = truth.state(np.arange(0.0, 300.0))
    pressures = np.array([barometer.read(each).pressure_pa for each in state.each()])
    slope_pa_per_m = np.polyfit(state.altitude_m, pressures, 1)[0]
    assert slope_pa_per_m == pytest.approx(-11.9, abs=0.8)


def test_every_message_of_every_device_decodes() -> None:
    kinds: dict[str, int] = {}
    for athlete in scenarios.build("demo", 4, seed=3, start_ns=START_NS):
        for device in athlete.devices:
            birth = samples.decode("status", device.birth(0.0)).packets[0]
            assert isinstance(birth, Birth)
            assert birth.sport == athlete.role.sport
            assert samples.decode("status", device.death()).packets
            assert samples.decode("pong", device.pong("p1", 1.0)).packets
            for message in [message for k in range(3) for message in device.second(k)]:
                kind = message.topic.rpartition("/")[2]
                kinds[kind] = kinds.get(kind, 0) + 1
                if kind == "imu":
                    imu.decode(message.payload)
                else:
                    decoded = samples.decode(kind, message.payload)
                    assert len(decoded.packets) == 1
                    assert not decoded.refused
    assert set(kinds) == {"imu", "hr", "gnss", "baro", "power", "cadence", "battery"}


def test_a_fix_and_a_pressure_carry_the_devices_own_time() -> None:
    ahead = Faults(offset_s=0.0, skew_ppm=0.0, step_s=30.0, step_at_s=2.0)
    device = make_device("gnss", "baro", faults=ahead)
    stamps = [
        (message.due_s, samples.decode(message.topic.rpartition("/")[2], message.payload).packets[0])
        for k in range(5)
        for message in device.second(k)
    ]
    for due_s, packet in stamps:
        if isinstance(packet, Gnss | Baro):
            ahead_s = 30.0 if due_s >= 2.0 else 0.0
            assert packet.t == pytest.approx(START_NS + (due_s + ahead_s) * 1e9, abs=1_000)
