"""Altitude holds what vertical motion tells of it, and no more than that."""

from itertools import count

import numpy as np
import pytest

from fusion.measurements import FOOT_RANK
from server.engine import Engine
from server.registry import STEP_RANK
from simulators.faults import parse
from simulators.rehearsal import START_NS, cast, config, lives, rehearse
from tests.support.athlete_table import athlete, fix, second, step, window


def height_variance(*, duration_s: float = 0.25, missing: int = 0, flags: int = 64) -> float:
    """The variance of the height two seconds after the first, ``missing`` windows lost before the last."""
    table = athlete()
    step(table, 0.0, baro=[(0.0, 95_000.0)])
    ends = [0.25 * i for i in range(1, 9)]
    told = [window(t, duration_s=duration_s, flags=flags, accel_rms=8.0) for t in ends]
    step(table, 2.0, windows=[one for one in told if not 2.0 - 0.25 * missing <= one[0] < 2.0])
    return float(table.state["alt_dv_variance"][0])


def test_samples_lost_in_a_window_widen_what_it_tells() -> None:
    whole = height_variance()
    assert height_variance(duration_s=0.24) == whole  # the spacing of samples is no loss
    assert height_variance(duration_s=0.15) == pytest.approx(whole + 8 * (8.0 * 0.1) ** 2, rel=0.15)
    assert height_variance(duration_s=0.23, flags=64 | 1) > 1.1 * whole


def test_windows_that_are_missing_count_as_lost() -> None:
    assert height_variance(missing=1) == pytest.approx(height_variance() + (8.0 * 0.25) ** 2, rel=0.01)


def test_the_variance_of_loss_does_not_depend_on_how_windows_are_cut_into_steps() -> None:
    ends = [0.25 * i for i in range(1, 13) if i not in (4, 5, 9)]
    at_once, one_by_one = athlete(), athlete()
    step(at_once, 3.0, windows=[window(t, accel_rms=3.0 + t) for t in ends])
    for t in ends:
        step(one_by_one, t, windows=[window(t, accel_rms=3.0 + t)])
    step(one_by_one, 3.0)
    assert at_once.snapshot(0) == one_by_one.snapshot(0)


def test_the_impacts_of_a_foot_carry_no_altitude() -> None:
    assert STEP_RANK["foot"] == FOOT_RANK
    assert [place for place, rank in STEP_RANK.items() if rank == FOOT_RANK] == ["foot"]
    table = athlete()
    for t in range(1, 61):
        live = step(table, t, windows=second(t, rank=FOOT_RANK, dv_mps=0.5), baro=[(t, 95_000.0)])
    assert table.state["alt_dv_mps"][0] == 0.0
    assert live["ascent"].value[0] == 0.0


@pytest.mark.parametrize("who", ["runner", "walker", "intervals"])  # chest, wrist and foot
def test_lost_packets_make_no_hills(who: str) -> None:
    engine = Engine(config("demo"), count().__next__)
    (one,) = [some for some in cast("demo", seed=1, faults=parse("loss=0.1")) if some.id == who]
    worst = {"altitude": 0.0, "ascent": 0.0}
    for _, live in lives(rehearse(engine, [one], 200)):
        t_s = live.t_ms / 1e3 - START_NS / 1e9
        if t_s < 20:
            continue
        way_m = one.truth.state(np.arange(0.0, t_s, 1.0)).altitude_m
        for name, truth in (("altitude", way_m[-1]), ("ascent", np.diff(way_m).clip(0).sum())):
            metric = live.metrics[name]
            assert metric.value is not None
            assert metric.sigma is not None
            worst[name] = max(worst[name], abs(metric.value - truth) / metric.sigma)
    assert worst["altitude"] < 4.0  # satellites' slow error is in it, which lasts for minutes
    assert worst["ascent"] < 3.0


def test_lone_heights_tell_more_the_further_they_are_apart() -> None:
    def variance(every_s: int) -> float:
        table = athlete()
        for t in range(0, 20 * every_s, every_s):
            step(table, t, gnss=[fix(t, 0.0, alt_m=100.0)])
        return float(table.state["alt_P"][0, 0, 0])

    # The filter forgets more over 5 s; with one variance for all spacings that would be 0.9 m^2.
    assert variance(5) < 0.25
