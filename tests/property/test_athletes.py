"""Whatever comes, and however it is cut: the table's answers are finite, and depend on each athlete alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.athletes import Athletes, Profile, StateError
from fusion.measurements import DTYPES, Estimates, Measurements, Records, Sport
from fusion.metrics import METRICS

START_NS = 1_790_000_000 * 10**9
SECOND_NS = 10**9
ATHLETES = 5


def plausible(rng: np.random.Generator, rows: int, second: int) -> Measurements:
    """Return a second of every sensor of every row, some of it missing, with a row's own noise."""
    t_ns = START_NS + second * SECOND_NS
    told: dict[str, list[tuple[Any, ...]]] = {name: [] for name in Measurements._fields}
    for row in range(rows):
        if rng.random() < 0.9:
            lat = 46.0 + 1e-5 * (3 * second + rng.normal())
            accuracy = float(rng.uniform(2, 9))
            told["gnss"].append(
                (row, t_ns, 0, lat, 8.0 + row, 500 + rng.normal(), rng.uniform(0, 5), 0.1, accuracy, 5.0, 0.5)
            )
        for quarter in range(4):
            end_ns = t_ns - 750_000_000 + quarter * 250_000_000
            told["windows"].append((row, end_ns, 0, 1, 0.25, rng.normal(0, 0.1), 0.03, 2.0, 1.0, 1, 0.4, 64))
        if rng.random() < 0.8:
            told["heart_rates"].append(
                (row, t_ns - 300_000_000, 0, 140 + 5 * rng.normal(), np.nan, 1, np.nan)
            )
        told["baro"].append((row, t_ns - 100_000_000, 0, 95_000 + 10 * rng.normal()))
        if second > 30:
            told["power"].append((row, t_ns, 0, 200 + 20 * rng.normal()))
        told["cadence"].append((row, t_ns, 0, 90.0, 170.0))
        if rng.random() < 0.2:
            told["speeds"].append((row, t_ns, 0, 3.0, 6))
    return Measurements.of(**told)


def table(rows: int) -> Athletes:
    athletes = Athletes()
    for row in range(rows):
        athletes.add(Profile(mass_kg=60 + row))
        athletes.begin(row, START_NS, Sport(row % len(Sport)))
    return athletes


def of_rows(m: Measurements, rows: list[int]) -> Measurements:
    return Measurements(*(array[np.isin(array["row"], rows)] for array in m))


def bits(result: Estimates, index: int) -> bytes:
    return b"".join(column[index].tobytes() for one in result.values() for column in one)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_an_athletes_bits_do_not_depend_on_who_steps_beside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    together, shuffled, alone = table(ATHLETES), table(ATHLETES), table(ATHLETES)
    for second in range(1, 75):
        m = plausible(rng, ATHLETES, second)
        due = np.full(ATHLETES, START_NS + second * SECOND_NS)
        whole = together.step(np.arange(ATHLETES), due, m)
        order = rng.permutation(ATHLETES)
        mixed = shuffled.step(order, due, m)
        for place, row in enumerate(order):
            single = alone.step(np.array([row]), due[:1], of_rows(m, [int(row)]))
            assert bits(whole, int(row)) == bits(mixed, place) == bits(single, 0)
    end_ns = START_NS + 80 * SECOND_NS
    for row in range(ATHLETES):
        assert together.snapshot(row) == alone.snapshot(row) == shuffled.snapshot(row)
        assert together.end(row, end_ns) == alone.end(row, end_ns)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 89))
def test_cutting_a_workout_in_two_changes_nothing(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    seconds = [plausible(rng, 1, second) for second in range(1, 90)]
    whole, first = table(1), table(1)
    second_half = Athletes()
    second_half.add()
    second_half.add()
    for i, m in enumerate(seconds):
        due = np.array([START_NS + (i + 1) * SECOND_NS])
        expected = whole.step(np.array([0]), due, m)
        if i < cut:
            assert bits(first.step(np.array([0]), due, m), 0) == bits(expected, 0)
            if i == cut - 1:
                second_half.restore(1, first.snapshot(0))
        else:
            moved = Measurements(*(array.copy() for array in m))
            for array in moved:
                array["row"] = 1
            assert bits(second_half.step(np.array([1]), due, moved), 0) == bits(expected, 0)
    end_ns = START_NS + 95 * SECOND_NS
    last = second_half if cut < len(seconds) else None
    assert last is None or last.end(1, end_ns) == whole.end(0, end_ns)


NUMBERS = st.floats(allow_nan=True, allow_infinity=False, width=64)


@st.composite
def anything(draw: st.DrawFn) -> Measurements:
    """Return up to three measurements of each kind with any numbers in them, NaN where a sensor is silent."""
    arrays: list[Records] = []
    for dtype in DTYPES:
        array = np.zeros(draw(st.integers(0, 3)), dtype=dtype)
        for one in array:
            for name in dtype.names or ():
                kind = dtype[name].kind
                if name == "t_ns":
                    one[name] = START_NS + draw(st.integers(-3600, 3600)) * SECOND_NS
                elif name == "source":
                    one[name] = draw(st.integers(0, 12))
                elif kind == "f":
                    one[name] = draw(NUMBERS)
                elif name in ("steps", "rank", "device"):
                    one[name] = draw(st.integers(-(2**31), 2**31 - 1))
                elif name == "flags":
                    one[name] = draw(st.sampled_from([0, 64, 2**32 - 1]))
        array.sort(order="t_ns")
        arrays.append(array)
    return Measurements(*arrays)


@settings(max_examples=150, deadline=None)
@given(st.lists(anything(), min_size=1, max_size=4), st.sampled_from(list(Sport)))
def test_any_numbers_give_finite_answers(steps: list[Measurements], sport: Sport) -> None:
    athletes = Athletes()
    athletes.add()
    athletes.begin(0, START_NS, sport)
    for i, m in enumerate(steps):
        result = athletes.step(np.array([0]), np.array([START_NS + (3601 + i) * SECOND_NS]), m)
        assert list(result) == [metric.name for metric in METRICS]
        for name, one in result.items():
            known = one.reason[0] == 0
            assert np.isfinite(one.value[0]) == known, name
            assert np.isfinite(one.sigma[0]) == known, name
            assert 0.0 <= one.quality[0] <= 1.0, name
            assert not known or one.sigma[0] >= 0.0, name
    for block in ("hr_P", "pos_P", "alt_P"):
        P = athletes.state[block][0]
        assert np.array_equal(P, P.T)
        assert np.all(np.isfinite(P))
        assert np.linalg.eigvalsh(P).min() >= -1e-9 * max(np.abs(P).max(), 1.0)
    summary = athletes.end(0, START_NS + 4000 * SECOND_NS)
    for name, value in summary.values.items():
        assert value is not None or name in summary.reasons
        assert value is None or np.isfinite(value), name


@given(st.binary(max_size=400))
def test_bytes_that_are_no_state_are_refused_and_change_nothing(block: bytes) -> None:
    athletes = table(1)
    before = athletes.snapshot(0)
    with pytest.raises(StateError):
        athletes.restore(0, block)
    assert athletes.snapshot(0) == before
