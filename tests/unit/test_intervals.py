"""Intervals between beats: each artefact is found by its name and mended, whatever the cut."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.intervals import AHEAD, Cleaner, Interval
from tests.support.intervals_twin import Cleaner as Twin

seeds = st.integers(0, 2**32 - 1)


def beats(seed: int = 1, count: int = 60, mean_ms: float = 500.0) -> list[float]:
    """Return intervals with the variation of an athlete in motion."""
    rng = np.random.default_rng(seed)
    rr: list[float] = (mean_ms + 8.0 * np.sin(np.arange(count) * 0.9) + 4.0 * rng.normal(size=count)).tolist()
    return rr


def missed(rr: list[float]) -> list[float]:
    return [*rr[:40], rr[40] + rr[41], *rr[42:]]


def extra(rr: list[float]) -> list[float]:
    return [*rr[:40], 0.4 * rr[40], 0.6 * rr[40], *rr[41:]]


def ectopic(rr: list[float]) -> list[float]:
    return [*rr[:40], rr[40] - 150.0, rr[41] + 150.0, *rr[42:]]


def uneven(rr: list[float]) -> list[float]:
    return [*rr[:40], rr[40] + 160.0, *rr[41:]]


def test_beats_as_they_are_come_back_as_they_are_two_beats_later() -> None:
    rr = beats()
    told = Cleaner().add(rr)
    assert [one.ms for one in told] == rr[:-AHEAD]
    assert {one.kind for one in told} == {"normal"}


@pytest.mark.parametrize("spoil", [missed, extra, ectopic, uneven])
@pytest.mark.parametrize("seed", range(8))
def test_an_artefact_is_found_and_mended(spoil: object, seed: int) -> None:
    rr = beats(seed)
    cleaner = Cleaner()
    told = cleaner.add(spoil(rr))  # type: ignore[operator]
    name = spoil.__name__  # type: ignore[attr-defined]
    assert set(cleaner.found) == {"normal", name}
    assert cleaner.found[name] == {"missed": 2, "ectopic": 2}.get(name, 1)
    whole = [one.ms for one in told]
    np.testing.assert_allclose(whole, rr[: len(whole)], atol=30.0)


@pytest.mark.parametrize("parts", [2, 3])
def test_time_is_kept_where_beats_were_missed(parts: int) -> None:
    rr = beats()
    told = Cleaner().add([*rr[:40], sum(rr[40 : 40 + parts]), *rr[40 + parts :]])
    assert sum(one.ms for one in told) == pytest.approx(sum(rr[:-AHEAD]))
    assert len(told) == len(rr) - AHEAD


@settings(max_examples=50, deadline=None)
@given(seed=seeds, cuts=st.lists(st.integers(0, 80), max_size=6))
def test_however_the_stream_is_cut_the_same_comes_out(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    rr = rng.choice([250.0, 480.0, 500.0, 510.0, 700.0, 1000.0, 3000.0], 80).tolist()
    whole = Cleaner()
    expected = whole.add(rr)
    cleaner, told = Cleaner(), list[Interval]()
    ends = [0, *sorted(cuts), len(rr)]
    for begin, end in itertools.pairwise(ends):
        told += cleaner.add(rr[begin:end])
    assert told == expected
    assert cleaner.found == whole.found


@settings(max_examples=50, deadline=None)
@given(rr=st.lists(st.floats(1e-3, 10_000.0), max_size=200))
def test_of_any_numbers_finite_ones_come_and_what_is_kept_is_bounded(rr: list[float]) -> None:
    cleaner = Cleaner()
    told = cleaner.add(rr)
    assert all(np.isfinite(one.ms) and one.ms > 0.0 for one in told)
    assert len(told) <= 3 * len(rr)
    rate = Cleaner().rate(rr)
    assert rate is None or (rate.bpm > 0.0 and rate.sigma_bpm > 0.0 and rate.lag_s >= 0.0)


@settings(max_examples=100, deadline=None)
@given(seed=seeds, cut=st.integers(1, 7), timed=st.booleans())
def test_the_core_does_what_its_readable_twin_does(seed: int, cut: int, timed: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice([250.0, 480.0, 500.0, 510.5, 700.0, 1000.0, 3000.0], 300) + rng.normal(0, 9.0, 300)
    rr = np.where(rng.random(300) < rng.choice([0.05, 0.5]), values, 500.0 + 12.0 * rng.normal(size=300))
    cleaner, rated, twin, t_ns = Cleaner(), Cleaner(), Twin(), 0
    for at in range(0, len(rr), cut):
        part = rr[at : at + cut].tolist()
        t_ns += round(1e6 * sum(part)) + int(rng.random() < 0.02) * 4 * 10**9
        told = twin.add(part, t_ns if timed else None)
        assert cleaner.add(part, t_ns if timed else None) == told
        rate = rated.rate(part, t_ns if timed else None)
        expected = twin.rate(told)
        assert (rate is None) == (expected is None)
        assert rate is None or rate == pytest.approx(expected, rel=1e-12)
    assert cleaner.found == rated.found == twin.found


def test_a_new_level_is_believed_after_a_few_beats() -> None:
    cleaner = Cleaner()
    cleaner.add(beats(count=60, mean_ms=1000.0))
    told = cleaner.add(beats(count=40, mean_ms=400.0))
    assert [one.kind for one in told[-25:]] == ["normal"] * 25
    assert np.mean([one.ms for one in told[-25:]]) == pytest.approx(400.0, abs=5.0)


def test_beats_that_were_lost_make_no_neighbours() -> None:
    cleaner = Cleaner()
    rr = beats(count=60, mean_ms=500.0)
    t_ns = 10**15
    for ms in rr:
        t_ns += round(ms * 1e6)
        cleaner.add([ms], t_ns)
    told = cleaner.add([900.0, 905.0, 900.0, 895.0], t_ns + 20 * 10**9)
    assert [one.ms for one in told] == [900.0, 905.0]
    assert set(cleaner.found) == {"normal"}


def test_the_rate_lies_where_its_beats_were() -> None:
    cleaner = Cleaner()
    cleaner.add([500.0] * 30)
    rate = cleaner.rate([500.0, 500.0])
    assert rate is not None
    assert rate.bpm == pytest.approx(120.0)
    assert rate.lag_s == pytest.approx(1.5)  # two intervals wait, and the middle of two
    assert cleaner.rate([]) is None


@pytest.mark.parametrize("ms", [5e-324, 1e-300, 1.0, 10_000.0])
def test_intervals_of_no_heart_have_no_rate(ms: float) -> None:
    cleaner = Cleaner()
    assert cleaner.rate([ms] * 64) is None
