"""What is recorded and run in C is what numpy does: bit for bit, in any order, and of nobody else's row."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.intake import kernels
from fusion.kernel import Kernel, choose
from fusion.measurements import DUE, Measurements, Records, Sport, due
from fusion.metrics import METRICS
from fusion.table import Fields, Table
from tests.property.test_athletes_table import KINDS, SECOND_NS, World, opened, wild
from tests.support.athlete_table import START_NS

ROW = np.dtype([("open", np.int8), ("count", np.int32), ("x", np.float64, (2,)), ("t", np.int64)], align=True)
RECORD = np.dtype(
    [("row", np.int32), ("t_ns", np.int64), ("a", np.float64), ("b", np.float64), ("flags", np.uint32)],
    align=True,
)
NUMBERS = (0.0, -0.0, 1.0, -1.0, 2.5, -3.5, 1e300, -1e300, 5e-324, 1e18, 1e19, np.inf, -np.inf, np.nan)
LOOKED_UP = np.array([0.5, -1.5, 7.0])
KERNEL_OF = {
    "windows": "window",
    "heart_rates": "heart_rate",
    "power": "power",
    "cadence": "cadence",
    "speeds": "speed",
}
seeds = st.integers(0, 2**32 - 1)


def assert_same(table: Table | Records, other: Table | Records) -> None:
    """Compare field by field: what stands between fields is anything."""
    for name in table.dtype.names or ():
        np.testing.assert_array_equal(table[name], other[name], err_msg=name)


def pairs() -> Records:
    """Return a record for each pair of numbers."""
    records = np.zeros(len(NUMBERS) ** 2, dtype=RECORD)
    records["a"], records["b"] = np.repeat(NUMBERS, len(NUMBERS)), np.tile(NUMBERS, len(NUMBERS))
    records["flags"] = np.arange(len(records)) * 2**22
    records["t_ns"] = np.linspace(-(2**62), 2**62, len(records)).astype(np.int64)
    return records


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "arithmetic": lambda s, m: [m["a"] + m["b"], m["a"] - m["b"], m["a"] * m["b"], m["a"] / m["b"], -m["a"]],
    "scalars": lambda s, m: [
        2.0 - m["a"],
        3 * m["b"],
        m["b"] ** 2,
        1 / m["a"],
        m["flags"] / 7,
        2 - m["t_ns"],
    ],
    "extremes": lambda s, m: [np.minimum(m["a"], m["b"]), np.maximum(m["a"], m["b"]), np.clip(m["a"], -1, 2)],
    "functions": lambda s, m: [np.sqrt(m["a"]), np.abs(m["b"]), np.hypot(m["a"], m["b"]), np.round(m["a"])],
    "comparisons": lambda s, m: [
        *(m["a"] < m["b"], m["a"] <= m["b"], m["a"] > m["b"], m["a"] >= m["b"], m["a"] == m["b"]),
        *(m["a"] != m["b"], np.isnan(m["a"]), np.isfinite(m["b"])),
    ],
    "truths": lambda s, m: [
        *(~(m["a"] < m["b"]), (m["a"] < 1.0) & (m["b"] < 1.0), (m["a"] < 1.0) | (m["b"] < 1.0)),
        np.where(m["a"] < m["b"], m["a"], 1),
    ],
    "integers": lambda s, m: [
        *(m["t_ns"] + m["flags"], m["t_ns"] - 2**62, m["flags"] * 3, np.abs(m["t_ns"]), -m["t_ns"]),
        *(np.minimum(m["t_ns"], m["flags"]), np.maximum(m["t_ns"], m["flags"]), m["flags"] & 2**30),
        *(m["t_ns"] < m["flags"], m["t_ns"] == 0, m["t_ns"] * 1e-9, np.where(m["a"] > 0.0, m["t_ns"], 5)),
    ],
    "conversions": lambda s, m: [np.clip(m["b"], -9.0, 9.0).astype(np.int64), m["flags"].astype(np.float64)],
    "tables": lambda s, m: [choose(LOOKED_UP, np.minimum(m["flags"], 2))],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_operation_is_numpy_s(name: str) -> None:
    kernel, records = Kernel(FUNCTIONS[name], ROW, RECORD), pairs()
    table = np.zeros(1, dtype=ROW)
    got = kernel(table, records)
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name](table, {field: records[field].copy() for field in RECORD.names or ()})
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype.kind == np.asarray(other).dtype.kind.replace("u", "i")
        np.testing.assert_array_equal(one, other)


def count_up(s: Fields, m: Fields) -> list[Any]:
    """Count a row's records and keep a running product, which depends on their order."""
    s["count"] = s["count"] + 1
    x = s["x"]
    s["x"] = np.where(m["a"] > 0.0, x * m["a"] + x[0], x[::-1])
    s["open"] = s["count"] > 2
    s["t"] = np.maximum(s["t"], m["t_ns"])
    return [s["count"], x[0]]


@settings(max_examples=60, deadline=None)
@given(seed=seeds, rows=st.integers(1, 90), n=st.integers(0, 400))
def test_each_record_finds_its_row_as_the_one_before_left_it(seed: int, rows: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = Kernel(count_up, ROW, RECORD)
    records = np.zeros(n, dtype=RECORD)
    records["row"], records["t_ns"] = rng.integers(0, rows, n), rng.integers(0, 20, n)
    records["a"] = rng.normal(size=n)
    fresh = np.zeros(rows, dtype=ROW)
    fresh["x"] = 1.0
    table, other = fresh.copy(), fresh.copy()
    got, expected = kernel(table, records), kernel.by_columns(other, records)
    for one, twin in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, twin)
    assert_same(table, other)
    np.testing.assert_array_equal(table["count"], np.bincount(records["row"], minlength=rows))
    sorted_table = fresh.copy()
    order = np.lexsort((records["t_ns"], records["row"]))
    in_order = kernel(sorted_table, records[order])
    assert_same(sorted_table, table)
    np.testing.assert_array_equal(in_order[0], got[0][order])


@pytest.mark.parametrize("row", [-1, 3, 2**31 - 1])
def test_a_row_that_is_not_there_is_refused_and_nothing_is_touched(row: int) -> None:
    table, records = np.zeros(3, dtype=ROW), np.zeros(2, dtype=RECORD)
    records["row"] = (0, row)
    with pytest.raises(IndexError):
        Kernel(count_up, ROW, RECORD)(table, records)
    assert not table["count"].any()


def test_records_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError):
        Kernel(count_up, ROW, RECORD)(np.zeros(3, dtype=ROW), np.zeros(2, dtype=DUE))
    with pytest.raises(TypeError):
        Kernel(count_up, ROW, RECORD)(np.zeros(3, dtype=ROW), np.zeros(4, dtype=RECORD)[::2])
    with pytest.raises(TypeError):
        Kernel(count_up, ROW, RECORD)(np.zeros(3, dtype=DUE), np.zeros(2, dtype=RECORD))


def depends_on_a_number(s: Fields, m: Fields) -> list[Any]:
    return [1.0 if m["a"] > 0.0 else 2.0]


def sorts(s: Fields, m: Fields) -> list[Any]:
    return [np.sort(m["a"])]


def is_a_truth(s: Fields, m: Fields) -> list[Any]:
    s["count"] = m["a"]
    return []


@pytest.mark.parametrize("function", [depends_on_a_number, sorts, is_a_truth])
def test_what_cannot_be_recorded_is_refused(function: Callable[[Fields, Fields], list[Any]]) -> None:
    with pytest.raises(TypeError):
        Kernel(function, ROW, RECORD)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, odd=st.booleans())
def test_the_models_and_metrics_are_what_they_are_in_numpy(seed: int, *, odd: bool) -> None:
    """Of any measurements: exp alone, and so qualities and the zone's sigma, may differ in the last digit."""
    athletes = opened(Sport(seed % len(Sport)), 3)
    worlds = [World(seed + row, set(KINDS), row) for row in range(3)]
    rng = np.random.default_rng(seed)
    for t in range(1, 31):
        told = [wild(rng, row, t) if odd else worlds[row].second(t) for row in range(3)]
        m = Measurements(*(np.concatenate(each) for each in zip(*told, strict=True)))
        twin = athletes.state.copy()
        for kind, name in KERNEL_OF.items():
            kernel, records = getattr(kernels(), name), getattr(m, kind)
            got, expected = kernel(athletes.state, records), kernel.by_columns(twin, records)
            for one, other in zip(got, expected, strict=True):
                np.testing.assert_array_equal(one, other)
        kernels().increment(athletes.state, m.windows)
        kernels().increment.by_columns(twin, m.windows)
        now = due(np.arange(3), np.full(3, START_NS + t * SECOND_NS))
        live, expected = kernels().live(athletes.state, now), kernels().live.by_columns(twin, now)
        names = [metric.name for metric in METRICS]
        inexact = {len(names) + names.index("heart_rate_zone"), *range(2 * len(names), 3 * len(names))}
        for i, (one, other) in enumerate(zip(live, expected, strict=True)):
            if i in inexact:
                np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
            else:
                np.testing.assert_array_equal(one, other)
        assert_same(athletes.state, twin)
