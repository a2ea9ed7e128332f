"""What is published of a step's estimates: the same decimals as Python's round gives, one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.measurements import Estimates, Reason, Source
from fusion.metrics import METRICS
from server.messages import Metric
from server.publications import MetricColumns, rounded

finite = st.floats(-1e15, 1e15)
ties = st.integers(-(10**9), 10**9).map(lambda i: i / 20_000.0)  # among them those that only look like ties


@settings(deadline=None)
@given(values=st.lists(st.one_of(finite, ties), min_size=1, max_size=20), decimals=st.integers(0, 4))
def test_numbers_are_rounded_as_python_rounds_them(values: list[float], decimals: int) -> None:
    expected = [round(value, decimals) for value in values]
    assert rounded(np.array(values), decimals).tolist() == expected


@pytest.mark.parametrize(("value", "decimals"), [(2.675, 2), (1.0005, 3), (0.5, 0), (1.5, 0), (1e300, 4)])
def test_what_multiplication_would_make_a_tie_is_none(value: float, decimals: int) -> None:
    assert rounded(np.array([value]), decimals)[0] == round(value, decimals)


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
        metrics = columns.at(place)
        assert tuple(metrics) == names
        for i, (name, metric) in enumerate(metrics.items()):
            if reason[i, place]:
                assert (metric.value, metric.reason) == (None, Reason(reason[i, place]).name.lower())
                assert metric == Metric(None, reason=metric.reason)
                continue
            number = float(value[i, place])
            if name in ("steps", "heart_rate_zone"):
                assert isinstance(metric.value, int)
                assert metric.value == round(number)
            else:
                assert metric.value in (round(number, 2), round(number, 3))
            age_s = max(0, int(due_ns[place] - t_ns[i, place])) * 1e-9
            assert (metric.sigma, metric.age_s) == (round(float(sigma[i, place]), 4), round(age_s, 3))
            assert metric.quality == round(float(quality[i, place]), 3)
            assert metric.source == Source(source[i, place]).name.lower()
            assert metric.reason is None
