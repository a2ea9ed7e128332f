"""What is published of a step's estimates: the same decimals as Python's round gives, one by one."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.measurements import Estimates, Reason, Records, Source
from fusion.metrics import METRICS
from fusion.telling import ID_BYTES, WORKOUT, Names
from server import publications
from server.messages import Cause, Live, Metric, WorkoutState
from server.schedule import JOB, NONE
from server.workouts import SPORTS, STATES

NAMES = tuple(metric.name for metric in METRICS)
DUE_NS = 1_700_000_000_000_000_000
ATHLETES, DEVICES = ("ada", "b" * ID_BYTES), ("strap-1", "d" * ID_BYTES)
ties = st.integers(-(10**9), 10**9).map(lambda i: i / 20_000.0)  # among them those that only look like ties
numbers = st.one_of(st.floats(-1e6, 1e6), ties, st.floats(allow_nan=False, allow_infinity=False))


def estimates_of(columns: list[Any], totals: Any = ((60.25,), (59.0,))) -> Estimates:
    """Return estimates of columns (k, n): values, sigmas, qualities, times, sources and reasons."""
    n = columns[0].shape[1]
    floats = [np.ascontiguousarray(one, np.float64).view(np.int64) for one in columns[:3]]
    times = [np.resize(np.array(one), n).view(np.int64) for one in totals]
    return Estimates(NAMES, np.concatenate([*floats, *columns[3:], times]).astype(np.int64))


def estimates(
    value: list[float], sigma: list[float], age_ns: list[int], quality: list[float]
) -> tuple[Estimates, Records]:
    """Return estimates of one metric after the other, each with numbers of its own, and their job."""
    k = len(NAMES)
    columns = [np.resize(np.array(one), (k, 1)) for one in (value, sigma, quality)]
    t_ns = DUE_NS - np.resize(np.array(age_ns, dtype=np.int64), (k, 1))
    source = np.arange(k)[:, None] % len(Source)
    job = np.zeros(1, JOB)
    job["due_ns"], job["device"] = DUE_NS, NONE
    return estimates_of([*columns, t_ns, source, np.zeros((k, 1), np.int64)]), job


def written(whole: Estimates, jobs: Records, workouts: Records | None = None) -> list[bytes]:
    """Return what the core writes of all jobs."""
    athletes, devices = (np.array(each, f"S{ID_BYTES}") for each in (ATHLETES, DEVICES))
    names = Names(athletes, devices, np.zeros(2, WORKOUT) if workouts is None else workouts)
    return publications.lives(whole, jobs, np.arange(len(jobs), dtype=np.uint32), names, "full")


def by_python(whole: Estimates, jobs: Records) -> bytes:
    """Return the update of the first job, of an athlete without a workout and without a cause."""
    told = publications.metrics(whole, 0, int(jobs["due_ns"][0]))
    return publications.live(ATHLETES[0], int(jobs["due_ns"][0]), None, None, told, "full")


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
    told = estimates(value, sigma, age_ns, quality)
    assert written(*told)[0] in (by_python(*told), b"")


@pytest.mark.parametrize("value", [2.675, 1.0005, 0.5, 1.5, -0.4, -0.001, 0.0, -0.0, 1e-4, 1e300, -9e15])
def test_numbers_that_are_hard_to_write_are_written_as_any(value: float) -> None:
    told = estimates([value], [abs(value)], [10**6], [0.9995])
    assert written(*told)[0] == (by_python(*told) if abs(value) < 1e12 else b"")


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
    told = estimates(value, [abs(one) for one in value], [10**8], [0.9995, 0.0005])
    assert written(*told) == [by_python(*told)]


def test_ordinary_numbers_are_written_by_the_core() -> None:
    assert written(*estimates([140.04, 2.0, 1234.567], [0.51, 3.0], [10**8], [0.93])) != [b""]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), athletes=st.integers(1, 4))
def test_each_athlete_s_metrics_are_those_of_its_place(seed: int, athletes: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (len(NAMES), athletes)
    reason = np.where(rng.random(shape) < 0.3, rng.integers(1, len(Reason), shape), 0)
    value, sigma = rng.normal(0.0, 300.0, shape), rng.exponential(3.0, shape)
    value[reason != 0] = sigma[reason != 0] = np.nan
    jobs = np.zeros(athletes, JOB)
    jobs["device"] = NONE
    due_ns = jobs["due_ns"] = 1_700_000_000_000_000_000 + rng.integers(0, 10**9, athletes)
    t_ns = due_ns - rng.integers(-(10**9), 10**10, shape)
    source = rng.integers(0, len(Source), shape)
    quality = rng.random(shape)
    whole = estimates_of([value, sigma, quality, t_ns, source, reason])
    told = [msgspec.json.decode(one, type=Live) for one in written(whole, jobs)]
    for place, update in enumerate(told):
        metrics = publications.metrics(whole, place, int(due_ns[place]))
        assert update.metrics == metrics
        assert tuple(metrics) == NAMES
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


@pytest.mark.parametrize("t_ns", [DUE_NS, DUE_NS - 1, 0, -1, -1_000_000])
@pytest.mark.parametrize("state", STATES)
def test_an_update_tells_of_its_cause_and_its_workout(state: Any, t_ns: int) -> None:
    whole, jobs = estimates([1.5], [0.5], [10**8], [0.5])
    seq = 2**32 - 1
    jobs["due_ns"], jobs["athlete"], jobs["device"], jobs["boot"], jobs["seq"] = t_ns, 1, 1, 7, seq
    workouts = np.zeros(2, WORKOUT)
    ended = (12.5, 11.0)
    workouts[1] = (-3, *ended, 9, STATES.index(state), SPORTS.index("ride"))
    times = ended if state == "ended" else (60.25, 59.0)
    workout = WorkoutState(f"{ATHLETES[1]}--3", state, "ride", *times, 9) if state else None
    metrics = publications.metrics(whole, 0, t_ns)
    expected = publications.live(ATHLETES[1], t_ns, Cause(DEVICES[1], 7, seq), workout, metrics, "full")
    assert written(whole, jobs, workouts) == [expected]


def test_only_those_who_are_told_of_are_written_and_one_who_cannot_be_leaves_no_trace() -> None:
    shape = (len(NAMES), 4)
    zeros = np.zeros(shape, np.int64)
    value = np.full(shape, 1.0)
    value[3, 1] = 1e300
    whole = estimates_of([value, np.ones(shape), np.ones(shape), zeros, zeros, zeros])
    jobs = np.zeros(4, JOB)
    jobs["device"], jobs["athlete"] = NONE, [0, 1, 0, 1]
    all_of = written(whole, jobs)
    assert [bool(one) for one in all_of] == [True, False, True, True]
    athletes, devices = (np.array(each, f"S{ID_BYTES}") for each in (ATHLETES, DEVICES))
    names = Names(athletes, devices, np.zeros(2, WORKOUT))
    some = publications.lives(whole, jobs, np.array([1, 3], np.uint32), names, "full")
    assert some == [b"", all_of[3]]
