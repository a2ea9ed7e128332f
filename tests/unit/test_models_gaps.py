"""What is told once speaks for a short time: nothing is made of a long gap, a pause in it or not."""

import numpy as np

from fusion.measurements import Sport
from tests.support.athlete_table import START_NS, athlete, step

S = 10**9


def test_a_cadence_makes_no_steps_of_a_gap_that_a_pause_ended() -> None:
    table = athlete(Sport.RUN)
    for second in range(1, 11):
        before = step(table, second, cadence=[(second, np.nan, 180.0)])["steps"].value
    table.pause(0, START_NS + 20 * S)
    after = step(table, 500, cadence=[(500, np.nan, 180.0)])["steps"].value
    np.testing.assert_array_equal(after, before)


def test_a_power_counts_no_time_of_a_gap_that_a_pause_ended() -> None:
    table = athlete(Sport.RIDE)
    step(table, 10, power=[(10, 200.0)])
    before = float(table.state["power_time_s"][0])
    table.pause(0, START_NS + 20 * S)
    step(table, 500, power=[(500, 200.0)])
    assert table.state["power_time_s"][0] == before
