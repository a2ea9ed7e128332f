"""Tables in two arrays, and memory that costs nothing until it is written to."""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from fusion import state
from fusion.measurements import Sport
from fusion.table import Table, grown_sparsely, untouched
from tests.support import athlete_table

NAMES = state.STATE.names or ()


def filled(rows: int, *, used: list[int]) -> Table:
    """Return a table whose rows are all different; those of ``used`` in both arrays."""
    table = state.zeros(rows)
    table["mass_kg"] = 1.0 + np.arange(rows)
    table["pos_x"][used] = 5.0 + np.array(used)[:, None]
    return table


def same(table: Table, other: Table) -> bool:
    return all(np.array_equal(table[name], other[name], equal_nan=True) for name in NAMES)


def test_windows_and_heart_rates_touch_nothing_of_what_few_devices_tell() -> None:
    table = athlete_table.athlete(Sport.RUN)
    for t in range(1, 60):
        windows = [athlete_table.window(t - 0.75 + k / 4, k % 2, 0.4) for k in range(4)]
        athlete_table.step(table, t, windows=windows, heart_rates=[(t - 0.2, 0, 120.0 + t, 1.0, 1, 0.5)])
    assert not any(table.state.seldom.tobytes())
    table.end(0, athlete_table.START_NS + 60 * 10**9)
    table.begin(0, athlete_table.START_NS + 61 * 10**9, Sport.WALK)
    assert not any(table.state.seldom.tobytes())
    athlete_table.step(table, 63.0, gnss=[athlete_table.fix(62.5, 0.0)])
    assert any(table.state.seldom.tobytes())


def test_all_fields_lie_in_one_of_two_parts() -> None:
    assert len(set(NAMES)) == len(NAMES)
    often, seldom = state.OFTEN, state.SELDOM
    assert set(NAMES) == {*(often.names or ()), *(seldom.names or ())}
    assert state.STATE.itemsize == often.itemsize + seldom.itemsize
    assert state.STATE.fields is not None
    assert seldom.fields is not None
    assert state.STATE.fields["pos_x"][1] == often.itemsize + seldom.fields["pos_x"][1]


def test_a_row_that_is_cleared_is_zero_and_its_neighbours_are_not() -> None:
    table = filled(3, used=[0, 1])
    before = table.copy()
    for row in (1, 2):
        table.clear(row)
    assert not any(table[1:].often.tobytes() + table[1:].seldom.tobytes())
    assert same(table[:1], before[:1])


def test_a_table_that_grows_keeps_its_rows() -> None:
    table = filled(5, used=[0, 3])
    before = table.copy()
    table.grow(50)
    assert len(table) == 50
    assert same(table[:5], before)
    assert not any(table[5:].often.tobytes() + table[5:].seldom.tobytes())


def test_columns_are_the_memory_of_the_table_also_after_it_has_grown() -> None:
    table = filled(4, used=[1])
    table["pos_x"][1] = 7.0
    table.grow(8)
    table["pos_x"][2] = 8.0
    assert table.seldom["pos_x"][:4, 0].tolist() == [0.0, 7.0, 8.0, 0.0]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory is used")
def test_memory_that_is_not_written_to_is_not_used() -> None:
    pages = 20_000

    def used() -> int:
        """Return pages of our own that are in memory."""
        _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
        return int(resident) - int(shared)

    before = used()
    table = untouched((pages, mmap.PAGESIZE), np.uint8)
    assert not table[:: pages // 8].any()
    table[17] = 1
    larger = grown_sparsely(table, 2 * pages)
    assert used() - before < pages // 20
    assert larger[17].all()
    assert not larger[16].any()
