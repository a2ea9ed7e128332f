"""What holds for the time base whatever arrives."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.timebase import TimeBase
from simulators.ble import BURSTY, RECORDED, Ble
from simulators.evaluation.links import stream
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
    assert np.abs(error_s).max() < 1.5e-3 + 0.5 * jitter_s


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


late = st.one_of(
    st.integers(-5, 5).map(lambda tenths: tenths * 10**8),
    st.integers(-(10**6), 10**6).map(lambda us: us * 1000),
    st.sampled_from([0, 2**32 * 10**3, 2**32 * 10**6, 4 * 10**9]),
    int64,
)
trip = st.none() | st.integers(-(10**6), 3 * 10**9)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(late, st.integers(0, 15 * 10**8), st.none() | st.integers(0, 2), trip), max_size=80),
    st.booleans(),
    int64,
)
def test_the_core_s_clock_equals_its_readable_twin_bit_for_bit(
    packets: list[tuple[int, int, int | None, int | None]], keeps_boot: bool, stamp: int
) -> None:
    base, twin = TimeBase(), Twin()
    base.add(0)
    twin.add(0)
    arrived_ns = ORIGIN_NS
    for late_ns, later_ns, boot, trip_ns in packets:
        arrived_ns += later_ns
        device_ns = max(-(2**63), min(2**63 - 1, arrived_ns - ORIGIN_NS - late_ns))
        for each in (base, twin):
            each.observe(0, device_ns, arrived_ns, None if keeps_boot else boot)
            if trip_ns is not None:
                each.pong(0, device_ns, arrived_ns - trip_ns, arrived_ns)
        assert base.align(0, device_ns) == twin.align(0, device_ns)
        assert tuple(base.clock(0)) == tuple(twin.clock(0))
    assert base.align(0, stamp) == twin.align(0, stamp)
    assert base.state[0].tobytes() == twin.state[0].tobytes()


@settings(max_examples=10, deadline=None)
@given(seeds, st.sampled_from([RECORDED, BURSTY]), st.sampled_from([-3.0, -0.2, 0.0, 0.1, 50.0]))
def test_twins_agree_on_streams_as_links_make_them(seed: int, link: Ble, step_s: float) -> None:
    packets = stream(seed, link, duration_s=160.0, step_s=step_s)
    base, twin = TimeBase(), Twin()
    for each in (base, twin):
        each.add(0)
    for device_ns, arrived_ns in zip(packets.device_ns.tolist(), packets.arrived_ns.tolist(), strict=True):
        base.observe(0, device_ns, arrived_ns)
        twin.observe(0, device_ns, arrived_ns)
        assert base.align(0, device_ns) == twin.align(0, device_ns)
    assert base.state[0].tobytes() == twin.state[0].tobytes()
