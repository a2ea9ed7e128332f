"""Percentiles of the histograms are those of the times, within their resolution."""

import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from server import config
from server.deadlines import (
    BUCKETS,
    STAGES,
    DeadlineReport,
    Deadlines,
    Histogram,
    Liveliness,
    bucket,
    highest_in,
    liveliness,
)

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


def test_a_dead_link_a_silent_sensor_and_late_data_are_told_apart() -> None:
    def state(silence_ns: int, link_silence_ns: int, age_ns: int) -> Liveliness:
        return liveliness(
            silence_ns=silence_ns,
            link_silence_ns=link_silence_ns,
            age_ns=age_ns,
            deadline_ns=2,
            lease_ns=10,
            lifespan_ns=5,
        )

    assert state(1, 1, 1) is Liveliness.ALIVE
    assert state(1, 1, 6) is Liveliness.LATE
    assert state(3, 1, 6) is Liveliness.SILENT
    assert state(11, 11, 1) is Liveliness.DEAD
