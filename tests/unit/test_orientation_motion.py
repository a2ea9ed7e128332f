"""What the orientation makes of motions that once misled it; simulated, so the truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fusion._core import lib
from fusion.core import ROW, CoreTable
from fusion.orientation import Track, track
from tests.support.motion import Floats, conjugate, merged, packets_of, product, rows_of, turned

G = 9.80665
FIELD_E = np.array([0.0, 20.0, -40.0])  # uT
BIAS = np.array([0.004, -0.003, 0.005])  # rad/s
FINER = 4  # the motion is known this many times as often as it is sampled


def about(axis: int, angle: Floats) -> Floats:
    """Return the turns about an axis."""
    q = np.zeros((len(angle), 4))
    q[:, 0], q[:, 1 + axis] = np.cos(angle / 2), np.sin(angle / 2)
    return q


def sampled(q: Floats, accel_e: Floats, rate_hz: float) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return stamps, means of rate, force and field over each step, and the truth at its end.

    The motion is at ``FINER`` times the rate; noise is that of a usual sensor.
    """
    rng = np.random.default_rng(1)
    step = product(conjugate(q[:-1]), q[1:])
    length = np.linalg.norm(step[:, 1:], axis=1)
    angle = 2 * np.arctan2(length, step[:, 0])
    gyro = (angle / np.maximum(length, 1e-15) * rate_hz * FINER)[:, None] * step[:, 1:]
    force = turned(conjugate(q), accel_e + np.array([0, 0, G]))
    field = turned(conjugate(q), np.broadcast_to(FIELD_E, force.shape))
    n = (len(q) - 1) // FINER

    def mean(v: Floats) -> Floats:
        means: Floats = v[: n * FINER].reshape(n, FINER, 3).mean(1)
        return means

    ends = np.arange(1, n + 1) * FINER
    return (
        ends / (rate_hz * FINER),
        mean(gyro) + BIAS + rng.normal(0, 0.003, (n, 3)),
        mean((force[:-1] + force[1:]) / 2) + rng.normal(0, 0.05, (n, 3)),
        mean((field[:-1] + field[1:]) / 2) + rng.normal(0, 0.4, (n, 3)),
        q[ends],
    )


def clock(seconds: float, rate_hz: float) -> Floats:
    return np.arange(round(seconds * rate_hz) * FINER + 1) / (rate_hz * FINER)


def heading_off(q: NDArray[np.floating], truth: Floats) -> Floats:
    """Return errors of heading, rad, from -pi to pi."""
    d = product(q.astype(float), conjugate(truth))
    return np.angle(np.exp(2j * np.arctan2(d[:, 3], d[:, 0])))


def tilt_off(q: NDArray[np.floating], truth: Floats) -> Floats:
    d = product(q.astype(float), conjugate(truth))
    return 2 * np.arcsin(np.minimum(1, np.hypot(d[:, 1], d[:, 2])))


def rms(v: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(v))))


def tracked(q: Floats, accel_e: Floats, rate_hz: float = 100.0) -> tuple[Track, Floats, Floats]:
    t_s, gyro, accel, mag, truth = sampled(q, accel_e, rate_hz)
    return track(t_s, gyro, accel, mag, means=True), truth, t_s


@pytest.mark.parametrize(("peak", "period_s"), [(5.0, 30.0), (8.0, 40.0), (15.0, 120.0)])
def test_a_slow_turn_to_and_fro_is_no_rest(peak: float, period_s: float) -> None:
    t = clock(300, 100)
    yaw = np.radians(peak) * period_s / (2 * np.pi) * (1 - np.cos(2 * np.pi * t / period_s))
    out, truth, t_s = tracked(product(about(2, yaw), about(0, np.full(len(t), 0.2))), np.zeros((len(t), 3)))
    assert out.q9 is not None
    late = t_s > 30
    off = heading_off(out.q9, truth)[late]
    assert rms(off) < np.radians(2)
    assert rms(off / out.heading_sigma[late]) < 1.5


def arm(seconds: float, rest_s: float) -> tuple[Floats, Floats]:
    """Return the turns and accelerations of the wrist of one who runs for so long, and then stands."""
    t = clock(seconds + rest_s, 100)
    on = 1 / (1 + np.exp(np.minimum((t - seconds) / 0.3, 500)))
    phase = 2.8 * np.pi * t
    swing, roll = on * np.sin(phase), on * (0.5 * np.sin(phase + 0.7) + 0.2 * np.sin(2 * phase))
    q = product(about(1, swing), about(0, roll + 0.4))
    position = turned(q, np.broadcast_to([0, 0, -0.6], (len(t), 3)))
    position[:, 2] += on * 0.03 * np.sin(2 * phase)
    dt = t[1]
    accel: Floats = np.gradient(np.gradient(position, dt, axis=0), dt, axis=0)
    return q, accel


def test_the_bias_does_not_run_away_while_an_arm_swings_and_rest_then_finds_it() -> None:
    out, truth, t_s = tracked(*arm(240, 60))
    assert out.q9 is not None
    running, stood = (t_s > 30) & (t_s < 240), t_s > 280
    assert np.degrees(np.abs(out.bias_b[running] - BIAS).max()) < 1.0
    assert rms(heading_off(out.q9, truth)[running]) < np.radians(4)
    assert rms(tilt_off(out.q9, truth)[running]) < np.radians(3)
    assert out.rest[stood].mean() > 0.9
    assert np.degrees(np.abs(out.bias_b[stood] - BIAS).max()) < 0.1


def test_a_rest_that_is_long_enough_proves_a_bias_that_nobody_thought_of() -> None:
    t = clock(60, 100)
    t_s, gyro, accel, mag, _ = sampled(about(0, np.full(len(t), 0.2)), np.zeros((len(t), 3)), 100)
    out = track(t_s, gyro + np.array([0, 0, np.radians(4.5)]), accel, mag, means=True)
    assert out.rest[-1]
    assert np.degrees(np.abs(out.bias_b[-1] - BIAS - np.array([0, 0, np.radians(4.5)])).max()) < 0.1


@pytest.mark.parametrize("means", [False, True])
@pytest.mark.parametrize("rate_hz", [25, 100])
def test_the_field_of_a_spinning_body_is_taken_where_it_was_felt(rate_hz: int, means: bool) -> None:
    n, rate = 30 * rate_hz, 6.0
    t_s = np.arange(1, n + 1) / rate_hz
    felt_s = t_s - 0.5 / rate_hz if means else t_s
    gyro, accel = np.tile([0, 0, rate], (n, 1)), np.tile([0, 0, G], (n, 1))
    mag = turned(conjugate(about(2, rate * felt_s)), np.broadcast_to(FIELD_E, (n, 3)))
    out = track(t_s, gyro, accel, mag, means=means)
    assert out.q9 is not None
    assert np.abs(heading_off(out.q9, about(2, rate * t_s))[-rate_hz:]).max() < np.radians(0.1)


def test_a_field_of_the_rates_own_stamp_goes_with_it() -> None:
    n, rate, step_ns = 1000, 6.0, 20_000_000
    t_ns = 10**9 + step_ns * np.arange(n, dtype=np.int64)
    t_s = t_ns / 1e9
    gyro, accel = np.tile([0, 0, rate], (n, 1)), np.tile([0, 0, G], (n, 1))
    mag = turned(conjugate(about(2, rate * t_s)), np.broadcast_to(FIELD_E, (n, 3)))
    rows = merged(rows_of(t_ns, accel, 0), rows_of(t_ns, gyro, 1), rows_of(t_ns, mag, 2))
    assert rows.dtype == ROW
    table = CoreTable()
    table.add()
    payload = rows.tobytes()
    out = table.advance(payload, packets_of([payload], [lib.KF_ROWS], [0]))
    q9 = out.summaries["q9"][-1:].astype(float)
    assert np.abs(heading_off(q9, about(2, rate * t_s[-1:]))).max() < np.radians(0.5)


@pytest.mark.parametrize("rate_hz", [1.5, 3.0, 3.9])
def test_a_stream_too_slow_to_be_joined_still_tells_which_way_is_up(rate_hz: float) -> None:
    n = 60
    accel = np.tile([0.0, 0.0, G], (n, 1))
    accel[20:] = [0.0, 3.0, -9.3]
    out = track(np.arange(n) / rate_hz, np.zeros((n, 3)), accel)
    up_b = turned(conjugate(out.q6[-1:].astype(float)), np.array([[0.0, 0.0, 1.0]]))[0]
    assert up_b @ accel[-1] / np.linalg.norm(accel[-1]) > np.cos(np.radians(2))


@pytest.mark.parametrize("absent", [0.02, 0.5])
def test_rest_is_seen_through_an_accelerometer_that_is_slower(absent: float) -> None:
    t = clock(60, 100)
    t_s, gyro, accel, mag, _ = sampled(about(0, np.full(len(t), 0.2)), np.zeros((len(t), 3)), 100)
    lacks = np.arange(len(t_s)) % 2 == 0 if absent == 0.5 else np.arange(len(t_s)) % 50 == 0
    accel[lacks] = np.nan
    out = track(t_s, gyro, accel, mag, means=True)
    assert out.rest[1000:].mean() > 0.95
    assert np.degrees(np.abs(out.bias_b[-1] - BIAS).max()) < 0.1


def test_a_field_that_became_the_reference_opens_heading() -> None:
    t = clock(120, 100)
    yaw, roll = 0.8 * np.sin(0.9 * t), 0.5 * np.sin(1.7 * t)
    q = product(about(2, yaw), about(0, roll))
    t_s, gyro, accel, mag, truth = sampled(q, np.zeros((len(t), 3)), 100)
    late: NDArray[np.bool_] = t_s > 60
    mag[late] += turned(conjugate(truth[late]), np.array([15.0, 0.0, 10.0]))
    out = track(t_s, gyro, accel, mag, means=True)
    assert out.q9 is not None
    off = np.abs(heading_off(out.q9, truth))
    taken = late & ~out.mag_disturbed & (off > np.radians(10))
    assert taken.any()
    assert out.heading_sigma[taken][0] > np.radians(3)
