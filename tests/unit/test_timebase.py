"""The time base: device clocks to aligned time."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fusion.timebase import RECORDED, STATE, TimeBase
from simulators.ble import BURSTY
from simulators.evaluation.links import STEP_AT_S, ours, stream
from tests.support.links import ORIGIN_NS, Link


def test_a_clock_that_was_never_observed_is_taken_as_it_is() -> None:
    base = TimeBase()
    base.add(3)
    assert base.align(3, 17) == 17
    assert base.clock(3).sigma_ns == math.inf


def test_a_recorded_clock_is_exact_whatever_arrives() -> None:
    base = TimeBase()
    base.add(0, recorded=True)
    base.observe(0, 1_764_585_664_362_463_200, 5)
    assert base.align(0, 1_764_585_664_362_463_201) == 1_764_585_664_362_463_201
    assert base.clock(0) == (0, 0.0, 0.0, 0, 0, 0)
    base.set_recorded(0, False)
    base.observe(0, 100, 2_000)
    assert base.align(0, 100) == 2_000
    base.set_recorded(0, True)
    assert base.state["phase"][0] == RECORDED
    assert base.align(0, 100) == 100


@pytest.mark.parametrize("jitter_s", [0.002, 0.02, 0.1])
def test_the_offset_is_found_to_within_a_fraction_of_the_jitter(jitter_s: float) -> None:
    link = Link(seed=1, jitter_s=jitter_s, skew=40e-6, packets=3000)
    error_s = link.run()[600:] - link.floor_s
    assert abs(float(np.mean(error_s))) < max(1e-3, 0.12 * jitter_s)
    assert float(np.std(error_s)) < max(2e-4, 0.02 * jitter_s)
    assert abs(link.base.clock(0).skew_ppm - 40) < max(2.0, 100 * jitter_s)


def test_sigma_covers_the_scatter() -> None:
    errors, sigmas = [], []
    for seed in range(20):
        link = Link(seed=seed, packets=600)
        errors.append(link.run()[-1])
        sigmas.append(link.base.clock(0).sigma_ns * 1e-9)
    assert np.std(errors) < 1.5 * np.median(sigmas)
    assert np.median(sigmas) < 5e-3


@pytest.mark.parametrize("step_s", [-3600.0, -5.0, 5.0, 86_400.0])
def test_a_jump_of_the_device_clock_is_healed_within_two_seconds_and_counted(step_s: float) -> None:
    link = Link(seed=2, packets=1200, step_s=step_s, step_at=600)
    error_s = np.abs(link.run())
    assert error_s[580:600].max() < 0.05
    assert error_s[620:].max() < 0.1
    assert link.base.clock(0).jumps == 1


def test_a_stalled_link_is_no_jump() -> None:
    link = Link(seed=3, packets=1200, stall_s=4.0, stall_at=600)
    assert np.abs(link.run()[20:]).max() < 0.03
    assert link.base.clock(0).jumps == 0


@pytest.mark.parametrize("step_s", [-5.0, 5.0])
@pytest.mark.parametrize("seed", [2, 4, 18, 28, 44])  # a bad spell begins with the step, or is in course
def test_a_jump_in_a_bad_spell_is_healed_within_two_seconds_and_time_does_not_go_back(
    seed: int, step_s: float
) -> None:
    packets = stream(seed, BURSTY, duration_s=90.0, step_s=step_s)
    base, aligned_ns = TimeBase(), []
    base.add(0)
    for device_ns, arrived_ns in zip(packets.device_ns.tolist(), packets.arrived_ns.tolist(), strict=True):
        base.observe(0, device_ns, arrived_ns)
        aligned_ns.append(base.align(0, device_ns))
    arrived_s = (packets.arrived_ns - ORIGIN_NS) * 1e-9
    error_s = (np.array(aligned_ns) - ORIGIN_NS) * 1e-9 - packets.true_s - packets.floor_s
    first_s = arrived_s[packets.true_s >= STEP_AT_S][0]
    assert np.abs(error_s[arrived_s >= first_s + 2]).max() < 0.02
    assert base.clock(0).jumps == 1
    healed = np.flatnonzero(np.abs(error_s) > 1)[-1] + 1
    assert (np.diff(aligned_ns[healed:]) > 0).all()


@pytest.mark.parametrize("falls_s", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("ahead_s", [0.5, 0.9, 1.2, 1.5, 2.0])
def test_a_clock_set_ahead_while_the_link_delays_as_much_is_healed_within_two_seconds(
    ahead_s: float, falls_s: float
) -> None:
    """Set at 60 s, in a spell from 58 to 61 s that hides it; then the delay falls, at once or slowly."""
    rng = np.random.default_rng(3)
    base = TimeBase()
    base.add(0)
    error_s = np.zeros(900)
    came_ns = 0
    for k in range(900):
        spell = 0.0 if k < 580 else 1.0 if k < 610 else max(0.0, 1 - (k / 10 - 61) / max(falls_s, 1e-9))
        true_ns = ORIGIN_NS + k * 100_000_000
        came_ns = max(true_ns + round((0.005 + rng.exponential(0.008) + spell * ahead_s) * 1e9), came_ns + 1)
        stamp_ns = true_ns + (round(ahead_s * 1e9) if k >= 600 else 0)
        base.observe(0, stamp_ns, came_ns)
        error_s[k] = (base.align(0, stamp_ns) - true_ns) * 1e-9
    error_s -= np.median(error_s[400:580])
    over = 610 + round(10 * max(falls_s, ahead_s))  # in order: what the spell held back comes first
    assert np.abs(error_s[over + 20 :]).max() < 0.05
    assert int(base.state["jumps"][0]) == (ahead_s > 1)


def test_a_wild_stamp_before_a_jump_does_not_tell_the_new_offset() -> None:
    link = Link(seed=2, packets=900, step_s=3600.0, step_at=600)
    link.run(stop=600)
    link.base.observe(0, 2**62 - 1, int(link.arrived_ns[600]))
    assert np.abs(link.run(start=600)[20:]).max() < 0.1
    assert link.base.clock(0).jumps == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_backlog_that_a_bad_spell_lets_through_slowly_is_no_jump(seed: int) -> None:
    spell = replace(BURSTY, failing_bad=0.98, recovers=0.02)
    assert ours(stream(seed, spell, duration_s=120.0)).jumps == 0


@pytest.mark.parametrize("step_s", [-0.3, 0.05, 0.3])
def test_a_small_step_is_followed_in_seconds_without_a_jump_or_a_step_back(step_s: float) -> None:
    link = Link(seed=6, packets=900, jitter_s=0.005, step_s=step_s, step_at=600)
    aligned_ns = link.aligned()
    error_s = (aligned_ns - ORIGIN_NS) * 1e-9 - link.true_s - link.floor_s
    assert np.abs(error_s[660:]).max() < 0.01
    assert link.base.clock(0).jumps == 0
    if step_s > 0:
        assert (np.diff(aligned_ns) > 0).all()


@pytest.mark.parametrize("turn_ns", [2**32 * 1000, 2**32 * 1_000_000])
def test_a_counter_that_wraps_loses_nothing(turn_ns: int) -> None:
    link = Link(seed=7, packets=600, step_s=-turn_ns * 1e-9, step_at=300)
    assert np.abs(link.run()[20:]).max() < 0.02
    assert link.base.clock(0).jumps == 0
    assert link.base.clock(0).wraps == 1


def test_pings_take_the_constant_delay_off() -> None:
    link = Link(seed=8, packets=600, floor_s=0.05, jitter_s=0.002)
    link.run(stop=300)
    before_ns = link.base.align(0, int(link.device_ns[299]))
    for sent, there_s, back_s in ((299, 0.06, 0.3), (300, 0.05, 0.4)):  # the way back is no matter
        sent_ns = int(link.true_s[sent] * 1e9) + ORIGIN_NS
        answered_ns = int(link.device_ns[sent]) + round(there_s * 1e9)
        link.base.pong(0, answered_ns, sent_ns, sent_ns + round((there_s + back_s) * 1e9))
    assert link.base.align(0, int(link.device_ns[299])) == before_ns  # it closes up, and does not step
    assert np.abs(link.run(start=300)[60:]).max() < 2e-3
    clock = link.base.clock(0)
    assert abs(clock.trip_ns - 100e6) < 2e6
    assert clock.sigma_ns > clock.trip_ns / 4


def test_what_is_no_answer_changes_nothing() -> None:
    link = Link(seed=9, packets=100)
    link.run()
    before = link.base.snapshot(0)
    device_ns, arrived_ns = int(link.device_ns[-1]), int(link.arrived_ns[-1])
    for sent_ns, told_ns in ((arrived_ns, device_ns), (arrived_ns - 3 * 10**9, device_ns), (0, 0)):
        link.base.pong(0, told_ns, sent_ns, arrived_ns)
    assert link.base.snapshot(0) == before


def test_one_wild_stamp_changes_nothing() -> None:
    link = Link(seed=4, packets=300)
    link.run()
    before = link.base.align(0, int(link.device_ns[-1]))
    for wild in (2**62 - 1, -(2**63), 0):
        link.base.observe(0, wild, int(link.arrived_ns[-1]))
        link.base.observe(0, int(link.device_ns[-1]), int(link.arrived_ns[-1]))
    assert link.base.align(0, int(link.device_ns[-1])) == before
    assert link.base.clock(0).jumps == 0


def test_a_new_boot_begins_anew_and_is_counted() -> None:
    base = TimeBase()
    base.add(0)
    base.observe(0, 1000, ORIGIN_NS, 7)
    base.observe(0, 50, ORIGIN_NS + 10**8, 8)
    assert base.align(0, 50) == ORIGIN_NS + 10**8
    assert base.clock(0).jumps == 1


def test_a_first_packet_that_is_stale_is_forgotten() -> None:
    base = TimeBase()
    base.add(0)
    base.observe(0, 0, ORIGIN_NS + 108 * 10**9)
    for i in range(4):
        base.observe(0, (108 * 10 + i) * 10**8, ORIGIN_NS + (108 * 10 + i) * 10**8)
    assert base.align(0, 108 * 10**9) == ORIGIN_NS + 108 * 10**9
    assert base.clock(0).jumps == 0


def test_stopping_saving_and_resuming_equals_not_stopping() -> None:
    whole = Link(seed=5, packets=400)
    whole.run()
    cut = Link(seed=5, packets=400)
    cut.run(stop=173)
    block = cut.base.snapshot(0)
    cut.base = TimeBase()
    cut.base.restore(0, block)
    cut.run(start=173)
    assert cut.base.snapshot(0) == whole.base.snapshot(0)
    with pytest.raises(ValueError, match="no clock state"):
        cut.base.restore(0, block[:-1])


def test_rows_do_not_touch_each_other_and_the_table_grows() -> None:
    base = TimeBase(capacity=1)
    for row in range(5):
        base.add(row)
        base.observe(row, row * 1000, ORIGIN_NS)
    rows = np.array([4, 0, 2])
    stamps = rows * 1000
    assert base.align_many(rows, stamps).tolist() == [ORIGIN_NS] * 3
    base.add(2)
    assert base.align_many(rows, stamps).tolist() == [ORIGIN_NS, ORIGIN_NS, 2000]
    assert len(base.state) >= 5
    assert base.state.dtype == STATE
