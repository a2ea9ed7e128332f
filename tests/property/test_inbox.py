"""The inbox never grows, never waits, and loses only the oldest."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.inbox import Inbox


@given(
    st.integers(1, 8),
    st.integers(1, 40),
    st.lists(st.one_of(st.integers(0, 50), st.none()), max_size=60),
    st.integers(1, 5),
)
def test_it_keeps_the_newest_in_order_within_both_bounds(
    items_max: int, bytes_max: int, script: list[int | None], limit: int
) -> None:
    inbox = Inbox[tuple[int, int]](items_max, bytes_max, size=lambda item: item[1])
    waiting: list[tuple[int, int]] = []  # the same, said plainly
    dropped = 0
    for number, size in enumerate(script):
        if size is None:
            batch = inbox.take(limit)
            assert batch == waiting[:limit]
            del waiting[:limit]
        elif size > bytes_max:
            inbox.put((number, size))
            dropped += 1
        else:
            inbox.put((number, size))
            waiting.append((number, size))
            while len(waiting) > items_max or sum(each for _, each in waiting) > bytes_max:
                del waiting[0]
                dropped += 1
        assert len(inbox) == len(waiting) <= items_max
        assert inbox.bytes == sum(each for _, each in waiting) <= bytes_max
        assert inbox.dropped == dropped
    assert inbox.take() == waiting


async def test_drain_waits_for_the_first_item_and_takes_what_is_there() -> None:
    inbox = Inbox[int]()
    draining = asyncio.create_task(inbox.drain(limit=2))
    await asyncio.sleep(0)
    assert not draining.done()
    for item in (1, 2, 3):
        inbox.put(item)
    assert await draining == [1, 2]
    assert await inbox.drain() == [3]


async def test_a_cancelled_drain_loses_nothing() -> None:
    inbox = Inbox[int]()
    draining = asyncio.create_task(inbox.drain())
    await asyncio.sleep(0)
    inbox.put(1)
    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining
    assert await inbox.drain() == [1]


async def test_a_closed_inbox_gives_what_is_left_and_then_nothing() -> None:
    inbox = Inbox[int]()
    inbox.put(1)
    inbox.close()
    inbox.put(2)
    assert await inbox.drain() == [1]
    assert await inbox.drain() == []
    assert await inbox.drain() == []
    assert inbox.dropped == 1


def test_an_inbox_of_no_size_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Inbox[int](items_max=0)


@given(st.integers(1, 12), st.lists(st.one_of(st.integers(1, 6), st.none()), max_size=60), st.integers(1, 8))
def test_items_of_several_messages_are_kept_and_forgotten_whole(
    items_max: int, script: list[int | None], limit: int
) -> None:
    inbox = Inbox[tuple[int, int]](items_max, count=lambda item: item[1])
    forgotten: list[tuple[int, int]] = []
    inbox.on_drop = forgotten.append
    taken: list[tuple[int, int]] = []
    put = [(number, count) for number, count in enumerate(script) if count is not None]
    for number, count in enumerate(script):
        if count is None:
            batch = inbox.take(limit)
            assert sum(each for _, each in batch[:-1]) < limit
            taken += batch
        else:
            inbox.put((number, count))
        assert len(inbox) <= items_max
        assert inbox.dropped == sum(each for _, each in forgotten)
    taken += inbox.take()
    assert sorted(taken + forgotten) == put
    assert taken == sorted(taken)
    if taken and forgotten and max(count for _, count in put) <= items_max:
        assert taken[-1] == put[-1], "the newest stays"
