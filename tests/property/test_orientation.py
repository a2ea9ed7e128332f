"""What holds of the orientation of any stream: cuts, company, frames, faults, and that it stays finite."""

from itertools import pairwise

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import CoreTable, record
from fusion.measurements import Records
from fusion.orientation import INSTANT, POSE, track
from server.codecs import imu
from tests.support.motion import (
    Floats,
    answers,
    binary_packets,
    merged,
    moving,
    packets_of,
    product,
    rows_of,
    turned,
)

SEEDS = st.integers(0, 2**32 - 1)
RANGE = 0.8  # rad/s
TURNED = 1e-3  # the turned numbers are rounded anew, and gaps make more of it
ANY = st.floats(width=32) | st.sampled_from([0.0, 1e-30, 1e4, 3e38, -3e38, np.nan, np.inf])


def faulty(seed: int, seconds: float = 12.0, clip: float = RANGE) -> Records:
    """Return INSTANT of a swaying body, with gaps, absent vectors and clipping."""
    rng = np.random.default_rng(seed)
    m = moving(seconds, step_hz=1.7, seed=seed)
    out = np.zeros(len(m.t_ns), INSTANT)
    out["t_ns"] = m.t_ns
    out["gyro_b"], out["accel_b"], out["mag_b"] = np.clip(m.gyro_b, -clip, clip), m.accel_b, m.mag_b
    for name, share in (("gyro_b", 0.01), ("accel_b", 0.02), ("mag_b", 0.7)):
        out[name][rng.random(len(out)) < share] = np.nan
    keep = np.ones(len(out), bool)
    for at in rng.integers(1, len(out), 3):
        keep[at : at + rng.choice([3, 20, 50, 150])] = False
    return out[keep]


class Device:
    """One device of the core, by kf_track."""

    def __init__(self, gyro_range: float = RANGE) -> None:
        self.block = bytearray(lib.kf_device_size())
        lib.kf_reset(self._pointer(), ffi.NULL, ffi.new("kf_profile *", {"gyro_range": gyro_range}))

    def _pointer(self) -> object:
        return ffi.cast("kf_device *", ffi.from_buffer(self.block))

    def take(self, instants: Records, flags: int = 0) -> Records:
        """Return POSE, one for each instant."""
        instants = np.ascontiguousarray(instants)
        poses = np.zeros(len(instants), POSE)
        lib.kf_track(
            self._pointer(),
            ffi.from_buffer("kf_instant[]", instants),
            len(instants),
            flags,
            ffi.from_buffer("kf_pose[]", poses, require_writable=True),
        )
        return poses


@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@given(SEEDS, st.lists(st.integers(0, 600), max_size=8), st.sampled_from([0, lib.KF_MEANS]))
def test_cutting_a_recording_and_moving_its_state_changes_no_bit(
    seed: int, where: list[int], means: int
) -> None:
    instants = faulty(seed)
    whole = Device()
    poses = whole.take(instants, means)
    pieces = []
    device = Device()
    for a, b in pairwise([0, *sorted(where), len(instants)]):
        moved = Device(gyro_range=0.0)
        moved.block[:] = device.block  # a snapshot, restored elsewhere
        pieces.append(moved.take(instants[a:b], means))
        device = moved
    assert np.concatenate(pieces).tobytes() == poses.tobytes()
    assert device.block == whole.block


@settings(max_examples=10, deadline=None, phases=[Phase.generate])
@given(SEEDS)
def test_a_turned_body_frame_turns_the_answer(seed: int) -> None:
    instants = faulty(seed, clip=np.inf)
    rng = np.random.default_rng(seed)
    r = rng.normal(size=4)
    r /= np.linalg.norm(r)
    other = instants.copy()
    for name in ("gyro_b", "accel_b", "mag_b"):
        other[name] = turned(r, instants[name].astype(float))
    # Clipping is a matter of the sensor's own axes, and the bias is held by axis: neither takes part here.
    a, b = (Device(gyro_range=0.0).take(part) for part in (instants, other))
    back = r * [1, -1, -1, -1]
    # The heading of q6 is arbitrary: each begins with its own, as soon as there is specific force.
    begin = int(np.isfinite(instants["accel_b"]).all(1).argmax())
    q6 = product(b["q6"].astype(float), r)[begin:]
    shift = product(a["q6"][begin].astype(float), q6[0] * [1, -1, -1, -1])
    assert_same_turn(product(shift, q6), a["q6"][begin:], TURNED)
    known = (a["flags"] & lib.KF_HAS_MAG) > 0
    assert_same_turn(product(b["q9"].astype(float), r)[known], a["q9"][known], TURNED)
    np.testing.assert_allclose(turned(back, b["bias_b"].astype(float)), a["bias_b"], atol=TURNED)
    np.testing.assert_allclose(b["tilt_sigma"], a["tilt_sigma"], rtol=1e-3)


def assert_same_turn(p: Floats, q: NDArray[np.float32], bound: float) -> None:
    distance = np.minimum(np.abs(p - q).max(-1), np.abs(p + q).max(-1))
    assert distance.max(initial=0) < bound


@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@given(SEEDS, st.floats(0, 1))
def test_a_magnetometer_never_touches_tilt_wherever_it_is_absent(seed: int, share: float) -> None:
    instants, without = faulty(seed), faulty(seed)
    without["mag_b"] = np.nan
    instants["mag_b"][:] = [5, 20, -40]
    instants["mag_b"][np.random.default_rng(seed).random(len(instants)) < share] = np.nan
    with_mag, plain = Device().take(instants), Device().take(without)
    for name in ("q6", "bias_b", "bias_sigma", "tilt_sigma"):
        assert with_mag[name].tobytes() == plain[name].tobytes()
    assert_sound(with_mag)


def assert_sound(poses: Records) -> None:
    """Hold every answer to be finite, of length 1, and within its limits."""
    for name in ("bias_b", "bias_sigma", "tilt_sigma", "heading_sigma", "free_accel_e"):
        assert np.isfinite(poses[name]).all(), name
    for name in ("q6", "q9"):
        np.testing.assert_allclose(np.linalg.norm(poses[name].astype(float), axis=1), 1, atol=1e-5)
    assert (poses["tilt_sigma"] >= 0).all()
    assert (poses["tilt_sigma"] <= 0.5001).all()
    assert (poses["heading_sigma"] > 0).all()
    assert (poses["heading_sigma"] <= 3.1416).all()
    assert (poses["bias_sigma"] <= 0.0201).all()
    assert (np.abs(poses["bias_b"]) <= 0.3501).all()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1) | st.integers(0, 400_000_000),
            st.lists(ANY, min_size=9, max_size=9),
            ANY,
        ),
        min_size=1,
        max_size=40,
    ),
    st.booleans(),
    st.sampled_from([0, lib.KF_MEANS]),
    st.sampled_from([0.0, 1.0, 30.0]),
)
def test_any_numbers_leave_a_sound_answer(
    values: list[tuple[int, list[float], float]], in_order: bool, means: int, gyro_range: float
) -> None:
    instants = np.zeros(len(values), INSTANT)
    for row, (t_ns, v, interval_s) in zip(instants, values, strict=True):
        row["t_ns"], row["interval_s"] = t_ns, interval_s
        row["gyro_b"], row["accel_b"], row["mag_b"] = v[:3], v[3:6], v[6:]
    if in_order:
        instants = instants[np.argsort(instants["t_ns"], kind="stable")]
    device = Device(gyro_range)
    assert_sound(device.take(instants, means))
    after = moving(3.0, start_ns=2**62)
    calm = np.zeros(len(after.t_ns), INSTANT)
    calm["t_ns"], calm["gyro_b"], calm["accel_b"] = after.t_ns, after.gyro_b, after.accel_b
    assert_sound(device.take(calm, means))


@settings(max_examples=60, deadline=None, phases=[Phase.generate])
@given(SEEDS, st.sampled_from([0, lib.KF_MEANS]))
def test_long_streams_of_wild_numbers_leave_a_sound_answer(seed: int, means: int) -> None:
    rng = np.random.default_rng(seed)
    instants = faulty(seed)
    for name, size in (("gyro_b", 1e3), ("accel_b", 1e4), ("mag_b", 1e5)):
        wild = rng.random(len(instants)) < rng.choice([0.01, 0.3, 1.0])
        sizes = size * 10.0 ** rng.uniform(-8, 1, (wild.sum(), 3))
        instants[name][wild] = sizes * rng.choice([-1, 1], (wild.sum(), 3))
    instants["t_ns"] = np.cumsum((10.0 ** rng.uniform(0, 8.6, len(instants))).astype(np.int64))
    assert_sound(Device(gyro_range=float(rng.choice([0.0, 5.0, 900.0]))).take(instants, means))


def binary(seed: int, seconds: float, size: int) -> list[bytes]:
    """Return a stream as binary packets of nine columns."""
    return binary_packets(moving(seconds, step_hz=1.7, start_ns=10**9 + seed % 10**7, seed=seed), size)


@settings(max_examples=8, deadline=None, phases=[Phase.generate])
@given(SEEDS, st.permutations(range(21)), st.integers(5, 40))
def test_a_batch_in_any_order_equals_one_by_one_bit_for_bit(seed: int, order: list[int], size: int) -> None:
    streams = [binary(seed + k, 2.0, size) for k in range(len(order))]
    alone = [answers(pieces, lib.KF_BINARY) for pieces in streams]
    table = CoreTable()
    for _ in streams:
        table.add()
    told: list[list[bytes]] = [[] for _ in streams]
    for tick in range(len(streams[0])):
        payloads = [streams[place][tick] for place in order]
        out = table.advance(b"".join(payloads), packets_of(payloads, [lib.KF_BINARY] * len(order), order))
        for place, summary in zip(order, out.summaries, strict=True):
            told[place].append(summary["q9"].tobytes())
    for place, one in enumerate(alone):
        assert table.snapshot(place) == one.state
        assert told[place] == [q9.tobytes() for q9 in one.summaries["q9"]]


@settings(max_examples=10, deadline=None, phases=[Phase.generate])
@given(SEEDS, st.booleans(), st.integers(0, 9 * 10**7))
def test_track_equals_the_servers_rows(seed: int, means: bool, jump_ns: int) -> None:
    """On what both can say: gyroscope and accelerometer together, and no magnetometer."""
    m = moving(5.0, step_hz=1.7, seed=seed)
    t_ns = m.t_ns // 1000 * 1000
    t_ns[300:] += jump_ns // 1000 * 1000
    rows = merged(rows_of(t_ns, m.accel_b, lib.KF_ACCEL), rows_of(t_ns, m.gyro_b, lib.KF_GYRO))
    pieces = [rows[i : i + 2].tobytes() for i in range(0, len(rows), 2)]
    server = answers(pieces, lib.KF_ROWS, flags=lib.KF_MEANS if means else 0).summaries
    same(track(t_ns / 1e9, m.gyro_b, m.accel_b, means=means), server)


@settings(max_examples=10, deadline=None, phases=[Phase.generate])
@given(SEEDS, st.integers(10**6, 4 * 10**7))
def test_track_equals_the_servers_binary_packets(seed: int, dt_ns: int) -> None:
    dt_ns = dt_ns // 1000 * 1000
    m = moving(4.0, step_hz=1.7, seed=seed)
    scales = (0.005, 0.001, 0.1)
    accel_b, gyro_b, mag_b = (
        np.round(v / scale) * float(np.float32(scale))
        for v, scale in zip((m.accel_b, m.gyro_b, m.mag_b), scales, strict=True)
    )
    t_ns = 10**9 + dt_ns * np.arange(len(m.t_ns))
    packets = [
        imu.encode(
            accel_b=accel_b[k : k + 1],
            gyro_b=gyro_b[k : k + 1],
            mag_b=mag_b[k : k + 1],
            scales=scales,
            boot=1,
            t0_ns=int(t_ns[k]),
            seq=k,
            dt_ns=dt_ns,
        )
        for k in range(len(t_ns))
    ]
    server = answers(packets, lib.KF_BINARY).summaries
    same(track(t_ns / 1e9, gyro_b, accel_b, mag_b, interval_s=dt_ns / 1e9), server)


def same(recording: object, server: Records) -> None:
    """Hold all that both say to be equal bit for bit."""
    for name in record("kf_pose").names or ():
        mine = getattr(recording, name, None)
        if mine is not None:
            assert mine.tobytes() == server[name].tobytes(), name
