"""Percentiles of the histograms are those of the times, within their resolution."""

import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import config
from server.deadlines import STAGES, DeadlineReport, Deadlines
from server.deadlines.histogram import BOUNDS_S, BUCKETS, Histogram, bucket, highest_in, whole_below
from tests.support import histogram_twin
from tests.support.histogram_twin import Twin

INT64 = st.integers(-(2**63), 2**63 - 1)
TIMES_NS = st.integers(0, 100_000_000_000)


@given(TIMES_NS)
def test_a_bucket_holds_its_time_and_is_at_most_a_32nd_wide(ns: int) -> None:
    index = bucket(ns)
    assert 0 <= index < BUCKETS
    assert ns <= highest_in(index) <= ns + ns / 32
    assert index == 0 or highest_in(index - 1) < ns


@given(st.lists(TIMES_NS, min_size=1, max_size=300), TIMES_NS)
def test_percentiles_are_never_too_low_and_at_most_a_32nd_too_high(times: list[int], budget_ns: int) -> None:
    histogram = Histogram(budget_ns)
    in_time = [histogram.observe(ns) for ns in times]
    figures = histogram.report().interval
    ordered = sorted(times)
    assert figures.count == len(times)
    assert figures.misses == in_time.count(False) == sum(ns > budget_ns for ns in times)
    assert figures.max_ms == ordered[-1] / 1e6
    for fraction, told in ((0.5, figures.p50_ms), (0.99, figures.p99_ms), (0.999, figures.p999_ms)):
        exact_ms = ordered[max(1, math.ceil(fraction * len(times))) - 1] / 1e6
        assert told is not None
        assert exact_ms <= told <= exact_ms * (1 + 1 / 32) + 1e-12


@given(st.lists(st.lists(TIMES_NS, max_size=20), min_size=1, max_size=5))
def test_the_totals_are_those_of_all_intervals_together(intervals: list[list[int]]) -> None:
    cut, whole = Histogram(1_000_000), Histogram(1_000_000)
    for times in intervals:
        for ns in times:
            cut.observe(ns)
            whole.observe(ns)
        report = cut.report()
    assert report.interval.count == len(intervals[-1])
    assert report.total == whole.report().interval


def test_longer_than_the_range_is_counted_and_kept_as_the_maximum() -> None:
    histogram = Histogram(1)
    assert not histogram.observe(2**60)
    assert histogram.observe(-5)
    figures = histogram.report().interval
    assert (figures.count, figures.misses, figures.max_ms) == (2, 1, 2**60 / 1e6)


def test_the_report_has_every_stage_and_survives_json() -> None:
    deadlines = Deadlines(config.Deadlines(fuse_ms=2.0))
    deadlines.report(1_000)
    assert deadlines.observe("fuse", 1_900_000)
    assert not deadlines.observe("fuse", 2_100_000)
    report = deadlines.report(2_000)
    assert tuple(report.stages) == STAGES
    assert (report.interval_s, report.misses) == (1.0, 1)
    assert report.stages["fuse"].budget_ms == 2.0
    assert report.stages["decode"].interval.p99_ms is None
    assert msgspec.json.decode(msgspec.json.encode(report), type=DeadlineReport) == report
    assert deadlines.report(3_000).misses == 0


@given(st.one_of(TIMES_NS, INT64))
def test_the_bucket_of_the_core_is_that_of_its_twin(ns: int) -> None:
    assert bucket(ns) == histogram_twin.bucket(ns)
    assert BUCKETS == histogram_twin.BUCKETS


@given(
    st.lists(st.one_of(TIMES_NS, INT64), max_size=200), TIMES_NS, st.lists(st.integers(0, 200), max_size=5)
)
def test_the_core_counts_as_its_twin_however_the_times_are_cut_into_calls(
    times: list[int], budget_ns: int, cuts: list[int]
) -> None:
    one, many, twin = Histogram(budget_ns), Histogram(budget_ns), Twin(budget_ns)
    assert [one.observe(ns) for ns in times] == [twin.observe(ns) for ns in times]
    edges = [0, *sorted(min(cut, len(times)) for cut in cuts), len(times)]
    array = np.array(times, np.int64)
    misses = [many.observe_many(array[a:b]) for a, b in pairwise(edges)]
    assert sum(misses) == twin.misses
    told = one.report()
    assert told == many.report()
    assert (told.total.count, told.total.misses) == (len(times), twin.misses)
    assert told.total.max_ms == (twin.max_ns / 1e6 if times else None)
    within, count, sum_s = one.cumulative()
    assert count == len(times)
    assert sum_s == pytest.approx(sum(max(ns, 0) for ns in times) / 1e9)
    for bound, told_within in zip(BOUNDS_S, within, strict=True):
        assert told_within == sum(twin.counts[: whole_below(round(bound * 1e9))])
        assert told_within <= sum(ns <= bound * 1e9 for ns in times)


@given(st.integers(0, 2**40))
def test_a_bound_cuts_no_bucket_that_counts_as_below_it(bound_ns: int) -> None:
    below = whole_below(bound_ns)
    assert below == 0 or highest_in(below - 1) <= bound_ns
    assert below >= BUCKETS - 1 or highest_in(below) > bound_ns


@pytest.mark.parametrize(
    "wrong",
    [np.zeros(3, np.float64), np.zeros(3, np.int32), np.zeros((2, 2), np.int64), np.zeros(6, np.int64)[::2]],
)
def test_times_of_another_type_or_shape_are_refused(wrong: np.typing.NDArray[np.int64]) -> None:
    with pytest.raises(TypeError):
        Histogram(1).observe_many(wrong)
