"""Every model's gate: the less plausible counts less, then not at all, and five rejects begin anew."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from fusion.athletes import Athletes
from fusion.kalman import REJECTS_MAX
from fusion.measurements import Sport
from fusion.models import altitude
from tests.support.athlete_table import START_NS, athlete, beat, fix, step
from tests.unit.test_models_barometer import pressure_pa

SETTLED_S = 60


class Model(NamedTuple):
    """A model that is told one level for a minute, and then something else."""

    tell: Callable[[Athletes, float, float], object]  # at a time, so far from the level
    state: Callable[[Athletes], float]  # less the level


def _height(table: Athletes, t_s: float, off: float) -> object:
    return step(table, t_s, baro=[(t_s, float(pressure_pa(np.array(500.0 + off))))])


def _fix(table: Athletes, t_s: float, off: float) -> object:
    """Tell a runner at 3 m/s."""
    return step(table, t_s, gnss=[fix(t_s, 3.0 * t_s + off, speed_mps=3.0)])


def _along(table: Athletes) -> float:
    """Return how far the newest position that was believed is off; the first fix, at 1 s, is the origin."""
    since_s = (int(table.state["pos_t_ns"][0]) - START_NS) * 1e-9
    return float(table.state["pos_x"][0, 0]) - 3.0 * (since_s - 1.0)


def _beat(table: Athletes, t_s: float, off: float) -> object:
    return step(table, t_s, heart_rates=[beat(t_s, 120.0 + off)])


MODELS = {
    "altitude": Model(_height, lambda table: float(table.state["alt_x"][0, 0]) - 500.0),
    "position": Model(_fix, _along),
    "heart rate": Model(_beat, lambda table: float(table.state["hr_x"][0, 0]) - 120.0),
}
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def settled(model: Model) -> Athletes:
    table = athlete(Sport.RUN)
    for t in range(1, SETTLED_S + 1):
        model.tell(table, float(t), 0.0)
    return table


def moved(model: Model, off: float) -> float:
    """Return what share of a difference the filter takes over."""
    table = settled(model)
    model.tell(table, SETTLED_S + 1.0, off)
    return model.state(table) / off


def limit(model: Model) -> float:
    """Return how far off a measurement is that is rejected, and no less far by a tenth."""
    off = 0.1
    while moved(model, off) > 1e-3:
        off *= 1.1
    return off


@models
def test_the_less_plausible_the_less_it_counts_and_beyond_the_second_limit_nothing(model: Model) -> None:
    rejected = limit(model)
    plain, inflated = moved(model, 0.1 * rejected), moved(model, 0.8 * rejected)
    assert 0.0 < inflated < 0.5 * plain
    assert moved(model, 3.0 * rejected) == pytest.approx(0.0, abs=1e-3)


@models
def test_the_fifth_that_is_rejected_begins_anew(model: Model) -> None:
    table, off = settled(model), 3.0 * limit(model)
    for k in range(1, REJECTS_MAX + 1):
        model.tell(table, SETTLED_S + float(k), off)
        expected = off if k == REJECTS_MAX else 0.0
        assert model.state(table) == pytest.approx(expected, abs=0.02 * off), k


def test_a_second_pressure_beyond_the_gate_opens_the_rate_and_one_alone_does_not() -> None:
    """A lift at 2 m/s: the height is with it after three seconds, and where it stops it does not go on."""
    table = settled(MODELS["altitude"])
    way = [0.0, *np.arange(2.0, 41.0, 2.0), *[40.0] * 10]
    off = []
    for k, height in enumerate(way):
        _height(table, SETTLED_S + 1.0 + k, height)
        off.append(MODELS["altitude"].state(table) - height)
    assert max(abs(one) for one in off[4:20]) < 0.7
    assert max(off[20:]) < 2.5
    assert max(abs(one) for one in off[24:]) < 0.3
    assert table.state["alt_beyond"][0] == 0


def test_one_pressure_alone_beyond_the_gate_moves_the_height_by_less_than_a_sigma() -> None:
    table = settled(MODELS["altitude"])
    off = 0.7 * limit(MODELS["altitude"])
    for t, height in ((1.0, off), (2.0, -0.0), (3.0, 0.0)):
        _height(table, SETTLED_S + t, height)
    assert abs(MODELS["altitude"].state(table)) < altitude.BARO_SIGMA_M
