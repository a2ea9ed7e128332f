"""What is published of a step's estimates: the same decimals as Python's round gives, one by one."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.measurements import Estimates, Reason, Source
from fusion.metrics import METRICS
from server.messages import Metric
from server.publications import MetricColumns

NAMES = tuple(metric.name for metric in METRICS)
DUE_NS = 1_700_000_000_000_000_000
ties = st.integers(-(10**9), 10**9).map(lambda i: i / 20_000.0)  # among them those that only look like ties
numbers = st.one_of(st.floats(-1e6, 1e6), ties, st.floats(allow_nan=False, allow_infinity=False))


def estimates(
    value: list[float], sigma: list[float], age_ns: list[int], quality: list[float]
) -> tuple[Estimates, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return estimates of one metric after the other, each with numbers of its own."""
    k = len(NAMES)
    columns = [np.resize(np.array(one), (k, 1)) for one in (value, sigma)]
    t_ns = DUE_NS - np.resize(np.array(age_ns, dtype=np.int64), (k, 1))
    source = np.arange(k, dtype=np.int32)[:, None] % len(Source)
    reason = np.zeros((k, 1), dtype=np.int32)
    whole = Estimates(NAMES, *columns, t_ns, source, np.resize(np.array(quality), (k, 1)), reason)
    return whole, np.array([DUE_NS])


@settings(deadline=None, max_examples=300)
@given(
    value=st.lists(numbers, min_size=1, max_size=13),
    sigma=st.lists(st.floats(0.0, 1e9), min_size=1, max_size=13),
    age_ns=st.lists(st.integers(-(10**9), 10**13), min_size=1, max_size=13),
    quality=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=13),
)
def test_the_core_writes_what_python_rounds_and_msgspec_writes(
    value: list[float], sigma: list[float], age_ns: list[int], quality: list[float]
) -> None:
    columns = MetricColumns(*estimates(value, sigma, age_ns, quality))
    assert msgspec.json.encode(columns.at(0)) == msgspec.json.encode(columns.structs(0))


@pytest.mark.parametrize("value", [2.675, 1.0005, 0.5, 1.5, -0.4, -0.001, 0.0, -0.0, 1e-4, 1e300, -9e15])
def test_numbers_that_are_hard_to_write_are_written_as_any(value: float) -> None:
    columns = MetricColumns(*estimates([value], [abs(value)], [10**6], [0.9995]))
    assert msgspec.json.encode(columns.at(0)) == msgspec.json.encode(columns.structs(0))


@settings(deadline=None)
@given(
    whole=st.lists(st.integers(-(10**7), 10**7), min_size=1, max_size=13),
    scale=st.sampled_from([1, 100, 1_000, 10_000]),
    away=st.sampled_from([-1, 0, 1]),
)
def test_a_number_next_to_a_tie_goes_the_way_of_all_its_digits(
    whole: list[int], scale: int, away: int
) -> None:
    ties = np.array(whole, np.float64) / scale + 0.5 / scale
    value = (np.nextafter(ties, away * np.inf) if away else ties).tolist()
    columns = MetricColumns(*estimates(value, [abs(one) for one in value], [10**8], [0.9995, 0.0005]))
    assert isinstance(columns.at(0), msgspec.Raw)
    assert msgspec.json.encode(columns.at(0)) == msgspec.json.encode(columns.structs(0))


def test_ordinary_numbers_are_written_by_the_core() -> None:
    columns = MetricColumns(*estimates([140.04, 2.0, 1234.567], [0.51, 3.0], [10**8], [0.93]))
    assert isinstance(columns.at(0), msgspec.Raw)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), athletes=st.integers(1, 4))
def test_each_athlete_s_metrics_are_those_of_its_place(seed: int, athletes: int) -> None:
    rng = np.random.default_rng(seed)
    names = tuple(metric.name for metric in METRICS)
    shape = (len(names), athletes)
    reason = np.where(rng.random(shape) < 0.3, rng.integers(1, len(Reason), shape), 0).astype(np.int32)
    value, sigma = rng.normal(0.0, 300.0, shape), rng.exponential(3.0, shape)
    value[reason != 0] = sigma[reason != 0] = np.nan
    due_ns = 1_700_000_000_000_000_000 + rng.integers(0, 10**9, athletes)
    t_ns = due_ns - rng.integers(-(10**9), 10**10, shape)
    source = rng.integers(0, len(Source), shape).astype(np.int32)
    quality = rng.random(shape)
    columns = MetricColumns(Estimates(names, value, sigma, t_ns, source, quality, reason), due_ns)
    for place in range(athletes):
        metrics = columns.structs(place)
        assert msgspec.json.encode(columns.at(place)) == msgspec.json.encode(metrics)
        assert tuple(metrics) == names
        for i, (name, metric) in enumerate(metrics.items()):
            if reason[i, place]:
                assert (metric.value, metric.reason) == (None, Reason(reason[i, place]).name.lower())
                assert metric == Metric(None, reason=metric.reason)
                continue
            number = float(value[i, place])
            if name in ("steps", "heart_rate_zone", "floors"):
                assert isinstance(metric.value, int)
                assert metric.value == round(number)
            else:
                assert metric.value in (round(number, 2), round(number, 3))
            age_s = max(0, int(due_ns[place] - t_ns[i, place])) * 1e-9
            assert (metric.sigma, metric.age_s) == (round(float(sigma[i, place]), 4), round(age_s, 3))
            assert metric.quality == round(float(quality[i, place]), 3)
            assert metric.source == Source(source[i, place]).name.lower()
            assert metric.reason is None
