"""What holds for the time base whatever arrives."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.timebase import TimeBase
from tests.support.links import ORIGIN_NS, Link
from tests.support.timebase_twin import TimeBase as Twin

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


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(-5, 5).map(lambda late: late * 10**8), st.just(0), int64),
            st.integers(0, 3 * 10**9),
            st.none() | st.integers(0, 2),
        ),
        max_size=80,
    ),
    int64,
)
def test_the_core_s_clock_equals_its_readable_twin_bit_for_bit(
    packets: list[tuple[int, int, int | None]], stamp: int
) -> None:
    base, twin = TimeBase(), Twin()
    base.add(0)
    twin.add(0)
    arrived_ns = ORIGIN_NS
    for late_ns, later_ns, boot in packets:
        arrived_ns += later_ns
        device_ns = max(-(2**63), min(2**63 - 1, arrived_ns - ORIGIN_NS - late_ns))
        base.observe(0, device_ns, arrived_ns, boot)
        twin.observe(0, device_ns, arrived_ns, boot)
        assert base.align(0, device_ns) == twin.align(0, device_ns)
        assert tuple(base.clock(0)) == tuple(twin.clock(0))
    assert base.align(0, stamp) == twin.align(0, stamp)
    assert base.state[0].tobytes() == twin.state[0].tobytes()
