"""What holds for the time base whatever arrives."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.timebase import TimeBase
from tests.support.links import ORIGIN_NS, Link

int64 = st.integers(-(2**63), 2**63 - 1)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0.0005, 0.2), st.floats(-200e-6, 200e-6), st.sampled_from([0.04, 0.1, 1.0]))
def test_aligned_time_of_a_rising_clock_rises(
    seed: int, jitter_s: float, skew: float, interval_s: float
) -> None:
    link = Link(seed=seed, packets=400, jitter_s=jitter_s, skew=skew, interval_s=interval_s)
    aligned_ns = link.aligned()
    if link.base.clock(0).jumps == 0:
        assert (np.diff(aligned_ns) > 0).all()


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0.0005, 0.05), st.floats(-100e-6, 100e-6))
def test_the_offset_is_recovered(seed: int, jitter_s: float, skew: float) -> None:
    link = Link(seed=seed, packets=600, jitter_s=jitter_s, skew=skew)
    error_s = link.run()[300:] - link.floor_s
    assert np.abs(error_s).max() < 1e-3 + 0.5 * jitter_s


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(int64, st.integers(0, 2**40), st.none() | st.integers(0, 3)), max_size=30), int64)
def test_any_stamps_are_survived_and_both_forms_of_align_agree(
    packets: list[tuple[int, int, int | None]], stamp: int
) -> None:
    base = TimeBase()
    base.add(0)
    arrived_ns = ORIGIN_NS
    for device_ns, later_ns, boot in packets:
        arrived_ns += later_ns
        base.observe(0, device_ns, arrived_ns, boot)
    stamps = [stamp, *(device_ns for device_ns, _, _ in packets)]
    many = base.align_many(np.zeros(len(stamps), np.intp), np.array(stamps, np.int64))
    assert many.tolist() == [base.align(0, each) for each in stamps]
    state = base.state[0]
    assert state["p_oo"] >= 0
    assert state["p_ss"] >= 0
    assert np.isfinite(base.clock(0).skew_ppm)
