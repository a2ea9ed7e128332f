"""The core agrees with its readable twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusion._core import lib
from tests.support.imu_twin import track
from tests.support.motion import Floats, answers, merged, moving, rows_of
from tests.support.recordings import recordings


def agree(t_ns: NDArray[np.int64], gyro_b: Floats, accel_b: Floats, means: bool) -> None:
    gyro, accel = rows_of(t_ns, gyro_b, 1), rows_of(t_ns, accel_b, 0)
    rows = merged(accel, gyro)
    pieces = [rows[i : i + 2].tobytes() for i in range(0, len(rows), 2)]
    core = answers(pieces, lib.KF_ROWS, flags=lib.KF_MEANS if means else 0)
    stored = [np.stack([part[axis] for axis in "xyz"], -1).astype(float) for part in (gyro, accel)]
    twin = track(t_ns, stored[0], stored[1], means=means)
    np.testing.assert_allclose(core.summaries["q6"], twin.q6, atol=1e-5)
    np.testing.assert_allclose(core.summaries["bias_b"], twin.bias_b, atol=1e-6)
    np.testing.assert_allclose(core.summaries["tilt_sigma"], twin.tilt_sigma, rtol=1e-4)
    np.testing.assert_array_equal(core.window_records["t_ns"], twin.window_end_ns)
    np.testing.assert_allclose(core.window_records["dv_e"], twin.dv_e, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.lists(st.tuples(st.integers(1, 600), st.integers(1, 2 * 10**9)), max_size=3),
    st.booleans(),
)
def test_the_core_equals_its_twin(seed: int, means: bool, holes: list[tuple[int, int]], rest: bool) -> None:
    m = moving(8.0, step_hz=1.5, seed=seed)
    rng = np.random.default_rng(seed)
    t_ns = m.t_ns + rng.integers(0, 4_000_000, len(m.t_ns)) - 2 * 10**9
    for at, length_ns in holes:
        t_ns[at:] += length_ns
    gyro, accel = m.gyro_b + rng.normal(0, 0.005, m.gyro_b.shape) + 0.01, m.accel_b.copy()
    if rest:
        gyro[300:700] = 0.01
        accel[300:700] = accel[299]
    agree(t_ns, gyro, accel, means)


@pytest.mark.data
def test_the_core_equals_its_twin_on_a_recording() -> None:
    trial = np.load(recordings("broad") / "06_undisturbed_fast_rotation_A.npz")
    part = slice(4000, 10000)
    n = part.stop - part.start
    t_ns = np.round(np.arange(n) / float(trial["rate"]) * 1e9).astype(np.int64)
    agree(t_ns, trial["gyr"][part].astype(float), trial["acc"][part].astype(float), False)
