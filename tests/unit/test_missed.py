"""The account of updates that nobody made: exact over whole seconds, whatever came late."""

import pytest

from server.workers.missed import Missed

ATHLETES = 10


def second(missed: Missed, from_s: float, updates: int = ATHLETES) -> None:
    """Let updates come in a second, evenly."""
    for number in range(updates):
        missed.told(1, from_s + (number + 0.5) / updates)


def alive(missed: Missed, until_s: int) -> None:
    for now_s in range(until_s):
        second(missed, float(now_s))
        missed.reported(ATHLETES, now_s + 1.0)


@pytest.mark.parametrize("caught_up", [0, 3, 20])
def test_what_was_due_and_never_came_is_missed(caught_up: int) -> None:
    missed = Missed()
    alive(missed, 5)
    missed.told(4, 5.4)
    missed.died(5.41)
    missed.back(7.3)
    missed.told(caught_up, 7.35)  # late, but told
    for now_s in range(8, 30):
        second(missed, float(now_s))
        missed.reported(ATHLETES, now_s + 1.0)
    assert missed.count == max(0, 3 * ATHLETES - 4 - caught_up)


def test_nothing_is_missed_while_it_works() -> None:
    missed = Missed()
    alive(missed, 60)
    missed.look(1e6)
    assert missed.count == 0


def test_what_still_waits_may_be_made_up_for_and_each_death_adds_to_what_was_not() -> None:
    missed = Missed()
    alive(missed, 5)
    missed.died(5.5)
    missed.look(12.5)
    assert missed.count == 0
    missed.gone(7.2)
    missed.look(12.6)
    assert missed.count == 2 * ATHLETES
    missed.back(13.0)
    missed.died(13.5)  # again, before it told anything
    missed.look(25.0)
    missed.back(25.2)
    for now_s in range(26, 40):
        second(missed, float(now_s))
    assert missed.count == (26 - 5) * ATHLETES
    missed.reported(ATHLETES, 40.0)
    missed.died(40.2)
    missed.back(40.9)
    for now_s in range(41, 60):
        second(missed, float(now_s))
    assert missed.count == (26 - 5 + 1) * ATHLETES
