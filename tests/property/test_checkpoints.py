"""Bases: rows come back as they were, bit for bit, whatever their bytes are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusion import state
from fusion.checkpoints import Checkpoints
from fusion.history import History
from fusion.models import altitude, position
from fusion.table import Table

ROWS = 4
OFTEN_WORDS, SELDOM_WORDS = state.OFTEN.itemsize // 8, state.SELDOM.itemsize // 8
# Zeros, few bytes at either end, bytes in the middle, and all of them.
words = st.one_of(
    st.just(0),
    st.integers(0, 7).flatmap(lambda k: st.integers(0, 2**8 - 1).map(lambda byte: byte << 8 * k)),
    st.integers(1, 2**24 - 1).map(lambda low: low << 40),
    st.integers(0, 2**64 - 1),
)


def parts(table: Table, row: int) -> list[NDArray[np.uint64]]:
    """Return a row's words, of both arrays."""
    return [part[row : row + 1].view(np.uint64) for part in (table.often, table.seldom)]


def content(table: Table, row: int) -> list[bytes]:
    return [part.tobytes() for part in parts(table, row)]


def fill(table: Table, row: int, often: list[int], seldom: list[int]) -> None:
    """Make a row these words, over and over, and one without histories."""
    for part, told in zip(parts(table, row), (often, seldom), strict=True):
        part[:] = np.resize(np.array(told or [0], np.uint64), len(part))
    table["track_slot"][row] = table["climb_slot"][row] = -1


def bases(count: int, blank: bytes) -> Checkpoints:
    track = History(position.STATES, 4, position.transition)
    heights = History(altitude.STATES, 6, altitude.transition)
    return Checkpoints(count, blank, ("track_slot", track), ("climb_slot", heights))


@settings(deadline=None)
@given(
    blank=st.lists(words, min_size=1, max_size=9),
    often=st.lists(words, min_size=1, max_size=OFTEN_WORDS),
    seldom=st.lists(words, max_size=SELDOM_WORDS),
    later=st.lists(words, min_size=1, max_size=5),
    used=st.booleans(),
)
def test_a_row_comes_back_from_its_base(
    blank: list[int], often: list[int], seldom: list[int], later: list[int], used: bool
) -> None:
    table = state.zeros(ROWS)
    kept = bases(3, np.resize(np.array(blank, np.uint64), OFTEN_WORDS).tobytes())
    rows, others = np.array([2, 0]), content(table, 1)
    fill(table, 0, later, [])
    fill(table, 2, often, seldom)
    before = [content(table, row) for row in rows]
    kept.keep(table, rows, np.array([10, 20]))
    for row in rows:
        fill(table, row, later, later if used else [])
    assert kept.wind_back(table, 2, 10) == []
    assert kept.wind_back(table, 0, 20) == []
    assert [content(table, row) for row in rows] == before
    assert content(table, 1) == others


@settings(deadline=None)
@given(often=st.lists(words, min_size=1, max_size=9), seldom=st.lists(words, max_size=9), used=st.booleans())
def test_the_newest_step_is_taken_back_and_no_other(often: list[int], seldom: list[int], used: bool) -> None:
    table, kept = state.zeros(ROWS), bases(2, bytes(state.OFTEN.itemsize))
    fill(table, 1, often, seldom)
    fill(table, 3, seldom, often)
    before, rows, t_ns = content(table, 1), np.array([1, 3]), np.array([5, 5])
    nobody, everybody = np.zeros(2, np.bool_), np.ones(2, np.bool_)
    assert kept.before_step(table, rows, t_ns, nobody).all()
    fill(table, 1, [3], [7] if used else [])
    assert kept.before_step(table, rows, np.array([5, 4]), everybody).tolist() == [True, False]
    assert content(table, 1) == before


def test_a_base_takes_the_place_of_one_of_its_time_or_else_of_the_oldest() -> None:
    table, kept = state.zeros(ROWS), bases(2, bytes(state.OFTEN.itemsize))
    row = np.array([1])
    for t_ns, mass_kg in ((10, 1.0), (20, 2.0), (10, 3.0)):
        fill(table, 1, [], [])
        table["mass_kg"][1] = mass_kg
        kept.keep(table, row, np.array([t_ns]))
    assert (kept.has(1, 10), kept.has(1, 20)) == (True, True)
    kept.keep(table, row, np.array([30]))
    assert (kept.has(1, 10), kept.has(1, 20), kept.has(1, 30)) == (False, True, True)
    assert kept.wind_back(table, 1, 20) == [30]
    assert table["mass_kg"][1] == 2.0
    assert not kept.has(1, 30)


@pytest.mark.parametrize("column", ["track_slot", "climb_slot"])
def test_a_history_goes_back_with_its_row(column: str) -> None:
    table = state.zeros(ROWS)
    track = History(position.STATES, 4, position.transition)
    heights = History(altitude.STATES, 6, altitude.transition)
    kept = Checkpoints(2, bytes(state.OFTEN.itemsize), ("track_slot", track), ("climb_slot", heights))
    history = track if column == "track_slot" else heights
    k, way = (position.STATES, 4) if history is track else (altitude.STATES, 6)
    fill(table, 1, [], [])
    row, slots = np.array([1]), table[column]

    def append(t_ns: int) -> None:
        one = np.ones((k, 1)), np.ones((k, k, 1)), np.ones((way, 1))
        history.append(slots, row, np.array([t_ns]), np.array([0], np.int8), *one)

    append(1)
    held = history.snapshot(int(slots[1]))
    kept.before_step(table, row, np.array([5]), np.zeros(1, np.bool_))
    append(2)
    assert history.snapshot(int(slots[1])) != held
    assert kept.before_step(table, row, np.array([5]), np.ones(1, np.bool_)).all()
    assert history.snapshot(int(slots[1])) == held
