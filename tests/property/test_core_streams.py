"""What holds of the core whatever the stream: cuts, order of sensors, company, restarts."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion._core import lib
from fusion.core import CoreTable
from fusion.measurements import Records
from server.codecs import imu
from tests.support.motion import Motion, all_rows, answers, merged, moving, packets_of, rows_of, turned

ROWS = lib.KF_ROWS
BINARY = lib.KF_BINARY
SEEDS = st.integers(0, 2**32 - 1)


def apart(seed: int, seconds: float = 6.0) -> tuple[Records, Records, Records]:
    """Return accelerometer, gyroscope and magnetometer rows that tick apart, with a hole now and then."""
    rng = np.random.default_rng(seed)
    parts = []
    for sensor, rate_hz in ((0, 99.9), (1, 58.9), (2, 17.3)):
        m = moving(
            seconds, rate_hz=rate_hz, step_hz=1.9, start_ns=int(rng.integers(-(10**12), 10**12)), seed=seed
        )
        t_ns = m.t_ns - m.t_ns[0] + np.sort(rng.integers(0, 10**6, len(m.t_ns))) * (seed % 2) + 10**9
        hole = (t_ns > 3 * 10**9) & (t_ns < 3 * 10**9 + int(rng.integers(0, 6 * 10**8)))
        values = (m.accel_b, m.gyro_b, m.mag_b)[sensor]
        parts.append(rows_of(t_ns[~hole], values[~hole], sensor))
    return parts[0], parts[1], parts[2]


def cut(rows: Records, where: list[int]) -> list[bytes]:
    """Return the rows' bytes, cut before the rows of these numbers."""
    edges = [0, *sorted({w % len(rows) for w in where} - {0}), len(rows)]
    return [rows[a:b].tobytes() for a, b in pairwise(edges)]


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.lists(st.integers(0, 10**6), max_size=30), st.sampled_from(["unknown", "foot"]))
def test_cutting_rows_anywhere_changes_no_bit(seed: int, where: list[int], placement: str) -> None:
    rows = merged(*apart(seed))
    whole = answers([rows.tobytes()], ROWS, placement=placement)
    pieces = answers(cut(rows, where), ROWS, placement=placement)
    assert pieces[:3] == whole[:3]
    assert len(whole.window_records) > 10


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_cutting_binary_packets_anywhere_changes_no_bit(seed: int, sizes: list[int]) -> None:
    m = moving(5.0, step_hz=2.0, seed=seed)

    def sent(counts: list[int]) -> list[bytes]:
        packets, at, seq = [], 0, 0
        while at < len(m.t_ns):
            to = min(at + counts[seq % len(counts)], len(m.t_ns))
            packets.append(
                imu.encode(
                    accel_b=m.accel_b[at:to],
                    gyro_b=m.gyro_b[at:to],
                    mag_b=m.mag_b[at:to],
                    boot=1,
                    t0_ns=int(m.t_ns[at]),
                    seq=seq,
                    dt_ns=10**7,
                )
            )
            at, seq = to, seq + 1
        return packets

    whole, pieces = answers(sent([500]), BINARY), answers(sent(sizes), BINARY)
    assert (pieces.windows, pieces.steps) == (whole.windows, whole.steps)
    assert pieces.summaries["q9"][-1].tobytes() == whole.summaries["q9"][-1].tobytes()


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from([0.25, 1.0, 2.0]))
def test_a_message_of_one_sensor_and_then_of_the_other_changes_no_bit(seed: int, message_s: float) -> None:
    accel, gyro, _ = apart(seed)
    whole = answers([merged(accel, gyro).tobytes()], ROWS)
    pieces = []
    for k in range(int(8 / message_s)):
        begin_ns, end_ns = int(1e9 + k * message_s * 1e9), int(1e9 + (k + 1) * message_s * 1e9)
        pieces += [p[(p["t_ns"] >= begin_ns) & (p["t_ns"] < end_ns)].tobytes() for p in (accel, gyro)]
    apart_answers = answers([piece for piece in pieces if piece], ROWS)
    assert (apart_answers.windows, apart_answers.steps) == (whole.windows, whole.steps)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.permutations(range(7)))
def test_company_and_its_order_change_no_bit(seed: int, order: list[int]) -> None:
    streams = [cut(merged(*apart(seed + k, 3.0)), [100 * k, 250]) for k in range(7)]
    alone = [answers(pieces, ROWS) for pieces in streams]
    table = CoreTable()
    for _ in streams:
        table.add()
    devices = [place for place in order for _ in streams[place]]
    payloads = [piece for place in order for piece in streams[place]]
    out = table.advance(b"".join(payloads), packets_of(payloads, [ROWS] * len(payloads), devices))
    for place, one in enumerate(alone):
        mine = out.windows[out.windows["device"] == place]
        mine["device"] = 0
        state = table.snapshot(place)
        assert mine.tobytes() == one.windows
        assert state == one.state


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 10**6))
def test_a_restored_device_goes_on_bit_for_bit(seed: int, where: int) -> None:
    rows = merged(*apart(seed, 4.0))
    at = where % len(rows) or 1
    whole = answers([rows[:at].tobytes(), rows[at:].tobytes()], ROWS)
    first, second = CoreTable(), CoreTable()
    first.add()
    second.add(placement="chest")
    head, tail = rows[:at].tobytes(), rows[at:].tobytes()
    if head:
        before = first.advance(head, packets_of([head], [ROWS], [0]))
        second.restore(0, first.snapshot(0))
        after = second.advance(tail, packets_of([tail], [ROWS], [0]))
        assert before.windows.tobytes() + after.windows.tobytes() == whole.windows
    assert second.snapshot(0) == whole.state


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_rotating_the_body_frame_rotates_the_answer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q = rng.normal(size=4)
    q /= np.linalg.norm(q)
    m = moving(20.0, step_hz=1.8, seed=seed)
    other = Motion(m.t_ns, turned(q, m.accel_b), turned(q, m.gyro_b), turned(q, m.mag_b), m.q_eb)
    a, b = (answers([all_rows(motion).tobytes()], ROWS) for motion in (m, other))
    v = np.array([0.3, -0.5, 0.8])
    va = turned(a.summaries["q9"][-1].astype(float), v)
    vb = turned(b.summaries["q9"][-1].astype(float), turned(q, v))
    np.testing.assert_allclose(va, vb, atol=2e-3)
    np.testing.assert_allclose(a.window_records["dv_e"][8:], b.window_records["dv_e"][8:], atol=2e-3)
    assert abs(len(a.step_records) - len(b.step_records)) <= 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=300)), min_size=1, max_size=8))
def test_any_bytes_leave_a_finite_state_and_a_status(packets: list[tuple[int, bytes]]) -> None:
    out = answers([payload for _, payload in packets], packets[0][0])
    for name in ("q6", "q9", "bias_b", "tilt_sigma", "heading_sigma", "free_accel_e", "rate_hz"):
        assert np.isfinite(out.summaries[name]).all()
    np.testing.assert_allclose(np.linalg.norm(out.summaries["q6"], axis=1), 1, atol=1e-5)
    assert (out.summaries["status"] <= lib.KF_DUPLICATE).all()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.integers(0, 2),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_any_finite_rows_leave_a_finite_state(values: list[tuple[int, float, int]]) -> None:
    rows = np.zeros(len(values), rows_of(np.zeros(0, np.int64), np.zeros((0, 3)), 0).dtype)
    for row, (t_ns, value, sensor) in zip(rows, values, strict=True):
        row["t_ns"], row["x"], row["z"], row["sensor"] = t_ns, value, -value, sensor
    for piece in (rows, rows[np.argsort(rows["t_ns"], kind="stable")]):
        out = answers([piece.tobytes()], ROWS)
        assert np.isfinite(out.window_records["dv_e"]).all()
        assert np.isfinite(out.summaries["q6"]).all()
