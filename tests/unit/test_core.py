"""The device table and what the core makes of plain motions."""

import numpy as np
import pytest

from fusion import measurements
from fusion._core import lib
from fusion.core import PACKET, ROW, STATUS_NAMES, STEP, SUMMARY, WINDOW, CoreFull, CoreTable, StateError
from tests.support.motion import (
    all_rows,
    answers,
    conjugate,
    merged,
    moving,
    packets_of,
    product,
    rows_of,
    turned,
)

ROWS = lib.KF_ROWS
BINARY = lib.KF_BINARY


def test_a_row_is_the_row_of_the_measurements() -> None:
    assert ROW == measurements.ROW


def test_records_have_the_sizes_of_the_structs() -> None:
    assert (PACKET.itemsize, SUMMARY.itemsize, WINDOW.itemsize, STEP.itemsize) == (40, 136, 56, 16)


def test_every_status_has_its_name() -> None:
    names = {
        name[3:].lower(): getattr(lib, name)
        for name in dir(lib)
        if name.startswith("KF_BAD_") or name[3:].lower() in STATUS_NAMES
    }
    assert names == {name: number for number, name in enumerate(STATUS_NAMES)}


def test_the_table_grows_to_its_limit_and_keeps_its_rows() -> None:
    table = CoreTable(limit=40)
    blob = all_rows(moving(1.0)).tobytes()
    table.add()
    table.advance(blob, packets_of([blob], [ROWS], [0]))
    before = table.snapshot(0)
    for _ in range(39):
        table.add()
    assert table.snapshot(0) == before
    with pytest.raises(CoreFull):
        table.add()
    assert len(table) == 40


@pytest.mark.parametrize(
    "bad", [{"placement": "ear"}, {"gyro_range": -1.0}, {"accel_range": float("nan")}, {"gyro_range": 1e9}]
)
def test_a_profile_out_of_range_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        CoreTable().add(**bad)  # type: ignore[arg-type]


def test_packets_of_another_dtype_are_refused_at_the_door() -> None:
    table = CoreTable()
    table.add()
    with pytest.raises(TypeError):
        table.advance(b"", np.zeros(1, np.dtype([("device", np.uint32)])))
    with pytest.raises(TypeError):
        table.advance(b"", np.zeros(4, PACKET)[::2])
    with pytest.raises(ValueError):
        table.advance(b"", packets_of([b""], [BINARY], [1]))


def test_a_foreign_block_is_refused_and_nothing_changes() -> None:
    table = CoreTable()
    row = table.add()
    before = table.snapshot(row)
    for block in (b"", before[:-1], bytes(len(before)), b"\x00" + before[1:]):
        with pytest.raises(StateError):
            table.restore(row, block)
    assert table.snapshot(row) == before


def test_reset_is_as_never_heard_of() -> None:
    table = CoreTable()
    row = table.add(placement="wrist")
    fresh = table.snapshot(row)
    blob = all_rows(moving(1.0)).tobytes()
    table.advance(blob, packets_of([blob], [ROWS], [row]))
    assert table.snapshot(row) != fresh
    table.reset(row, placement="wrist")
    assert table.snapshot(row) == fresh


def test_orientation_follows_a_swaying_body() -> None:
    m = moving(60.0)
    rows = all_rows(m)
    pieces = [rows[i : i + 3].tobytes() for i in range(0, len(rows), 3)]
    out = answers(pieces, ROWS).summaries
    error = product(out["q9"].astype(float), conjugate(m.q_eb))[3000:]
    angle = 2 * np.degrees(np.arctan2(np.linalg.norm(error[:, 1:], axis=1), np.abs(error[:, 0])))
    assert angle.max() < 3.0
    tilt = 2 * np.degrees(np.arccos(np.minimum(1, np.hypot(error[:, 0], error[:, 3]))))
    assert tilt.max() < 0.7
    assert out["flags"][-1] & lib.KF_SETTLED
    assert out["flags"][-1] & lib.KF_HAS_MAG


def test_at_rest_the_bias_is_found_and_nothing_moves() -> None:
    n = 3000
    t_ns = np.arange(n, dtype=np.int64) * 10_000_000
    bias = np.array([0.01, -0.008, 0.012])
    rows = merged(
        rows_of(t_ns, np.tile([0.0, 0.0, 9.85], (n, 1)), 0), rows_of(t_ns, np.tile(bias, (n, 1)), 1)
    )
    out = answers([rows.tobytes()], ROWS)
    last = out.summaries[-1]
    assert last["flags"] & lib.KF_REST
    np.testing.assert_allclose(last["bias_b"], bias, atol=2e-4)
    assert np.abs(out.window_records["dv_e"][-8:]).max() < 0.002
    assert len(out.step_records) == 0


def test_vertical_velocity_increments_sum_to_the_height_gained() -> None:
    """A lift that goes up by 30 m: twice integrated increments, settled before, give it back to 2 m."""
    t = np.arange(4000) / 100.0
    accel = np.where((t > 15) & (t < 18), 1.0, np.where((t > 25) & (t < 28), -1.0, 0.0))
    force = np.stack([0 * t, 0 * t, 9.80665 + accel], -1)
    t_ns = np.round(t * 1e9).astype(np.int64)
    rows = merged(rows_of(t_ns, force, 0), rows_of(t_ns, np.zeros((len(t), 3)), 1))
    windows = answers([rows.tobytes()], ROWS).window_records
    velocity = np.cumsum(windows["dv_e"][:, 2].astype(float))
    assert velocity.max() == pytest.approx(3.0, abs=0.15)
    assert (velocity * 0.25).sum() == pytest.approx(30.0, abs=2.0)


@pytest.mark.parametrize(
    ("placement", "factor"), [("chest", 1), ("wrist", 1), ("hip", 1), ("pocket", 1), ("foot", 2)]
)
@pytest.mark.parametrize("step_hz", [1.6, 2.7])
def test_every_bounce_is_a_step_and_a_foot_takes_two(placement: str, factor: int, step_hz: float) -> None:
    stride_hz = step_hz / factor
    m = moving(60.0, step_hz=stride_hz)
    scale = 4.0 if placement == "foot" else 1.0
    bounce = turned(
        conjugate(m.q_eb), turned(m.q_eb, m.accel_b) * [1, 1, scale] - [0, 0, 9.80665 * (scale - 1)]
    )
    rows = merged(rows_of(m.t_ns, bounce, 0), rows_of(m.t_ns, m.gyro_b, 1))
    out = answers([rows.tobytes()], ROWS, placement=placement)
    assert len(out.step_records) == pytest.approx(60.0 * step_hz, abs=2 * factor)
    assert out.summaries[-1]["steps"] == len(out.step_records)
    assert abs(int(out.window_records["steps"].sum()) - len(out.step_records)) <= 2
    assert out.window_records["step_interval_s"][-1] == pytest.approx(1 / step_hz, rel=0.03)


def test_a_single_gesture_is_no_step() -> None:
    m = moving(10.0, step_hz=2.0)
    accel = m.accel_b.copy()
    still = np.flatnonzero((np.arange(1000) < 400) | (np.arange(1000) >= 500))
    accel[still] = turned(conjugate(m.q_eb[still]), np.tile([0, 0, 9.80665], (len(still), 1)))
    rows = merged(rows_of(m.t_ns, accel, 0), rows_of(m.t_ns, m.gyro_b, 1))
    assert len(answers([rows.tobytes()], ROWS).step_records) == 0


def test_a_phone_without_a_gyroscope_still_counts_steps() -> None:
    m = moving(60.0, step_hz=2.0)
    out = answers([rows_of(m.t_ns, m.accel_b, 0).tobytes()], ROWS, placement="pocket")
    assert len(out.step_records) == pytest.approx(120, abs=4)


def test_means_and_instants_of_one_motion_agree() -> None:
    m = moving(40.0)
    rows = all_rows(m, mag=False)
    instants = answers([rows.tobytes()], ROWS).summaries["q6"][-1]
    means = answers([rows.tobytes()], ROWS, flags=lib.KF_MEANS).summaries["q6"][-1]
    up = [turned(conjugate(q.astype(float)), np.array([0.0, 0.0, 1.0])) for q in (instants, means)]
    assert np.degrees(np.arccos(min(1.0, float(up[0] @ up[1])))) < 1.0
