"""How far fixes scatter, told by Doppler speed."""

import numpy as np
import pytest

from fusion.models import scatter
from tests.support.athlete_table import athlete

ROW = np.zeros(1, np.intp)


def learnt(
    steps_m: list[float], doppler_mps: list[float], *, scale: float = 1.0, span_s: float = 1.0
) -> float:
    """Return the variance that is learnt from steps and the speeds that are told of them."""
    table = athlete()
    for number, (step_m, mps) in enumerate(zip(steps_m, doppler_mps, strict=True)):
        table.state["pos_fixes"] = number + 1
        told = (np.array([value]) for value in (step_m, mps, scale, span_s))
        scatter.learn(table.state, ROW, *told)
    return float(table.state["scatter_m2"][0])


def test_half_of_the_squares_is_the_variance_of_white_noise() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0.0, 1.5, 401)
    assert learnt((3.0 + np.diff(noise)).tolist(), [3.0] * 400) == pytest.approx(1.5**2, rel=0.25)


def test_steps_as_long_as_doppler_speed_says_do_not_scatter() -> None:
    assert learnt([3.0] * 50, [3.0] * 50) == 0.0
    assert learnt([3.0] * 50, [3.3] * 50, scale=1.1) == pytest.approx(0.0, abs=1e-12)


def test_a_hop_counts_for_three_sigmas() -> None:
    quiet = learnt([3.0] * 100, [3.0] * 100)
    assert quiet == 0.0
    assert learnt([*[3.0] * 100, 200.0], [3.0] * 101) <= scatter.HOP * scatter.FLOOR_M2 / scatter.MEMORY


@pytest.mark.parametrize(
    ("mps", "span_s"), [(float("nan"), 1.0), (0.2, 1.0), (3.0, 4.0)], ids=["untold", "standing", "far apart"]
)
def test_what_tells_nothing_teaches_nothing(mps: float, span_s: float) -> None:
    assert learnt([9.0] * 50, [mps] * 50, span_s=span_s) == 0.0


def test_what_was_learnt_counts_only_where_doppler_speed_tells_and_fades_where_it_does_not() -> None:
    table = athlete()
    table.state["pos_fixes"] = 200
    one, nan = np.ones(1), np.full(1, np.nan)
    for _ in range(200):
        scatter.learn(table.state, ROW, 9.0 * one, 3.0 * one, one, one)
    learnt_m2 = float(table.state["scatter_m2"][0])
    assert learnt_m2 > 1.0
    assert scatter.of(table.state, ROW, 3.0 * one, one)[0] == learnt_m2
    assert scatter.of(table.state, ROW, nan, one)[0] == 0.0
    assert scatter.of(table.state, ROW, 3.0 * one, 2.0 * one)[0] == 0.0
    for _ in range(int(3 * scatter.MEMORY)):
        scatter.learn(table.state, ROW, 9.0 * one, nan, one, one)
    assert float(table.state["scatter_m2"][0]) < 0.06 * learnt_m2
