"""Energy at the points that the papers print."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.athletes import SEXES, Profile
from fusion.measurements import Source, Sport
from fusion.metrics import energy
from tests.support.athlete_table import START_NS, athlete, beat, fix, step


# Minetti et al. 2002, the abstract: J/kg/m, with one standard deviation between subjects.
@pytest.mark.parametrize(
    ("coefficients", "grade", "cost", "sigma"),
    [
        (energy.WALK_COST, 0.45, 17.33, 1.11),
        (energy.WALK_COST, -0.10, 0.81, 0.37),
        (energy.RUN_COST, 0.45, 18.93, 1.74),
        (energy.RUN_COST, 0.0, 3.40, 0.24),
        (energy.RUN_COST, -0.20, 1.73, 0.36),
    ],
)
def test_the_cost_of_grade_is_the_paper_s(
    coefficients: tuple[float, ...], grade: float, cost: float, sigma: float
) -> None:
    assert abs(energy.polynomial(coefficients, np.array([grade]))[0] - cost) < sigma


@settings(deadline=None)
@given(st.floats(-1.0, 1.0), st.lists(st.floats(-10.0, 10.0), min_size=1, max_size=6))
def test_the_polynomial_is_numpy_s(x: float, coefficients: list[float]) -> None:
    got = energy.polynomial(tuple(coefficients), np.array([x]))[0]
    assert got == pytest.approx(np.polyval(coefficients, x), abs=1e-9)


def heart_watts(sex: str, bpm: float, mass_kg: float, birth_year: int) -> float:
    table = athlete(profile=Profile(mass_kg=mass_kg, birth_year=birth_year, sex=sex))
    step(table, 0.0, heart_rates=[beat(0.0, bpm)])
    return float(energy.heart_rate_watts(table.state[:1], np.array([START_NS]))[0])


@pytest.mark.parametrize("bpm", [100.0, 130.0, 160.0, 180.0])
@pytest.mark.parametrize("mass_kg", [55.0, 90.0])
def test_heart_rate_costs_what_keytel_s_equation_says(bpm: float, mass_kg: float) -> None:
    """Keytel et al. 2005, the model without VO2max, kJ/min; without a sex the mean of both."""
    age = 1970 + START_NS / 31_556_952e9 - 1985
    man = (-55.0969 + 0.6309 * bpm + 0.1988 * mass_kg + 0.2017 * age) * 1000.0 / 60.0
    woman = (-20.4022 + 0.4472 * bpm - 0.1263 * mass_kg + 0.0740 * age) * 1000.0 / 60.0
    rest = energy.REST_W_PER_KG * mass_kg
    for sex, watts in zip(SEXES, (0.5 * (man + woman), woman, man), strict=True):
        assert heart_watts(sex, bpm, mass_kg, 1985) == pytest.approx(max(watts, rest))


@settings(deadline=None)
@given(bpm=st.floats(25.0, 250.0), sex=st.sampled_from(SEXES), mass_kg=st.floats(30.0, 200.0))
def test_no_heart_rate_costs_less_than_rest(bpm: float, sex: str, mass_kg: float) -> None:
    assert heart_watts(sex, bpm, mass_kg, 1980) >= energy.REST_W_PER_KG * mass_kg


def test_an_hour_of_even_power_is_that_power_over_the_efficiency() -> None:
    table = athlete(Sport.RIDE)
    for t in range(0, 3601, 5):
        live = step(table, t, power=[(t, 200.0)])
    assert live["energy"].value[0] == pytest.approx(200.0 / energy.EFFICIENCY * 3600.0 / 4184.0)
    share = energy.SHARES[Source.POWER]
    assert live["energy"].sigma[0] == pytest.approx(share * live["energy"].value[0] + 1.0)


def test_an_even_run_on_the_level_costs_rest_and_the_way() -> None:
    """4 m/s is a run: mass times way times the cost on the level, beside what rest costs."""
    table = athlete(profile=Profile(mass_kg=70.0))
    for t in range(601):
        live = step(table, t, gnss=[fix(t, 4.0 * t, speed_mps=4.0)])
    joules = 70.0 * 2_400.0 * energy.RUN_COST[-1] + 600.0 * 70.0 * energy.REST_W_PER_KG
    assert live["energy"].value[0] == pytest.approx(joules / 4184.0, rel=0.03)


def test_energy_does_not_depend_on_how_often_a_heart_rate_is_told() -> None:
    values = []
    for every_s in (1, 2, 4, 10):
        table = athlete()
        for t in range(0, 601, every_s):
            live = step(table, t, heart_rates=[beat(t, 150.0)])
        values.append(live["energy"].value[0])
    assert values == pytest.approx([values[0]] * 4)
