"""Places of devices: whoever comes to one that was another's finds it empty."""

import numpy as np

from fusion.timebase import TimeBase
from server.beats import Beats
from server.schedule import Schedule


def beats_of(devices: int, limit: int) -> Beats:
    schedule = Schedule(TimeBase())
    for row in range(devices):
        schedule.add_device(row, row, 0)
    return Beats(schedule, limit)


def test_a_place_is_empty_again_when_its_device_is_forgotten() -> None:
    beats = beats_of(3, limit=2)
    for row in (0, 1):
        assert not beats.has(row)
        beats.give(row)
        beats.table["found"][beats.of(row), row] = 4
    place = beats.of(0)
    assert beats.found(np.arange(3)) == [{"normal": 4}, {"missed": 4}, {}]
    beats.forget(0)
    beats.forget(2)  # it had none
    beats.give(2)
    assert beats.of(2) == place
    assert not beats.has(0)
    assert beats.found(np.arange(3)) == [{}, {"missed": 4}, {}]


def test_the_table_stays_where_it_is() -> None:
    beats = beats_of(500, limit=500)
    begin = beats.table.ctypes.data
    for row in range(500):
        beats.give(row)
    assert beats.table.ctypes.data == begin
    assert sorted(beats.of(row) for row in range(500)) == list(range(500))
