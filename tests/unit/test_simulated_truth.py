"""The simulated athlete obeys the laws of motion and of the heart."""

import numpy as np
import pytest

from simulators.heart import FALL_S, RISE_S, Beats, Body, Heart
from simulators.jets import Array, Jet, bump, circle, sine, smooth_step
from simulators.programme import RAMP_S, Phase, Programme
from simulators.route import ORIGIN_LAT_DEG, ORIGIN_LON_DEG, Route, geodetic
from simulators.truth import Truth

PHASES = [
    Phase("run", 240, 3.2, 172),
    Phase("rest", 60),
    Phase("walk", 200, 1.4, 112),
    Phase("ride", 240, 6.5, 85),
    Phase("rest", 60),
]


def make_truth(seed: int = 1, grade_max: float = 0.05) -> Truth:
    return Truth(PHASES, Body(), np.random.default_rng(seed), grade_max=grade_max)


def derivative(values: Array, dt_s: float) -> Array:
    """Of the fourth order, without the two samples at each end."""
    return (values[:-4] - 8 * values[1:-3] + 8 * values[3:-1] - values[4:]) / (12 * dt_s)


@pytest.mark.parametrize("function", [sine, lambda g: circle(g)[0], smooth_step, bump, lambda g: g * g * 3.0])
def test_a_jet_carries_the_derivatives_of_its_value(function: object) -> None:
    assert callable(function)
    t_s = np.linspace(0.0, 1.0, 2001)
    inner = Jet(0.1 + 0.9 * t_s**2, 1.8 * t_s, np.full_like(t_s, 1.8))
    jet = function(inner)
    np.testing.assert_allclose(jet.dx[2:-2], derivative(jet.x, t_s[1]), atol=1e-5)
    np.testing.assert_allclose(jet.ddx[2:-2], derivative(jet.dx, t_s[1]), atol=2e-3)


def test_distance_is_the_integral_of_speed_over_many_repetitions() -> None:
    programme = Programme(PHASES)
    t_s = np.arange(0.0, 3 * programme.period_s, 0.02)
    action = programme.at(t_s)
    summed = np.concatenate(
        [[0.0], np.cumsum(0.5 * (action.distance.dx[1:] + action.distance.dx[:-1]) * 0.02)]
    )
    np.testing.assert_allclose(action.distance.x, summed, atol=1e-3)
    assert action.distance.x[-1] == pytest.approx(3 * programme.distance_m, abs=0.1)


@pytest.mark.parametrize(
    "phase",
    [
        Phase("run", RAMP_S / 2, 3, 170),
        Phase("rest", 60, 1.0),
        Phase("walk", 60, -1, 100),
        Phase("run", 60, 3, 999),
    ],
)
def test_a_phase_out_of_range_is_refused(phase: Phase) -> None:
    with pytest.raises(ValueError, match="Phase"):
        Programme([phase])


@pytest.mark.parametrize("seed", range(5))
def test_the_loop_closes_and_its_grade_stays_within_bounds(seed: int) -> None:
    route = Route(1_500.0, 0.06, np.random.default_rng(seed))
    s = np.linspace(0.0, 1_500.0, 3_001)
    place = route.at(Jet(s, np.ones_like(s), np.zeros_like(s)))
    for axis in (place.east, place.north, place.up):
        assert axis.x[-1] == pytest.approx(axis.x[0], abs=1e-6)
        np.testing.assert_allclose(derivative(axis.x, s[1]), axis.dx[2:-2], atol=1e-5)
    assert np.ptp(place.up.x) > 2.0
    assert float(np.abs(route.grade(s)).max()) <= 0.06
    np.testing.assert_allclose(np.hypot(place.east.dx, place.north.dx), 1.0, atol=1e-12)


def test_a_place_maps_to_the_metre_on_the_ellipsoid() -> None:
    lat, lon = geodetic(np.array([0.0, 1_000.0, 0.0]), np.array([0.0, 0.0, 1_000.0]))
    assert (lat[0], lon[0]) == (ORIGIN_LAT_DEG, ORIGIN_LON_DEG)
    # One minute of latitude is 1852 m to half a per cent, and a parallel is shorter by the cosine.
    assert (lat[2] - lat[0]) * 60 * 1852 == pytest.approx(1_000.0, rel=5e-3)
    assert (lon[1] - lon[0]) * 60 * 1852 * np.cos(np.radians(lat[0])) == pytest.approx(1_000.0, rel=5e-3)


def test_truth_depends_on_its_seed_alone_and_not_on_what_was_asked_before() -> None:
    asked, fresh = make_truth(), make_truth()
    asked.state(np.linspace(0.0, 5_000.0, 77))
    asked.step_times(10.0, 20.0)
    t_s = np.array([3.0, 1_234.5, 9_999.25])
    for one, other in zip(asked.state(t_s), fresh.state(t_s), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(make_truth(2).state(t_s).east_m, fresh.state(t_s).east_m)


def test_acceleration_integrates_to_velocity_and_velocity_to_position_over_a_lap() -> None:
    truth = make_truth()
    dt_s = 0.01
    t_s = np.arange(0.0, 300.0, dt_s)
    place = truth.motion(t_s).place
    for axis in (place.east, place.north, place.up):
        velocity = axis.dx[0] + np.concatenate(
            [[0.0], np.cumsum(0.5 * (axis.ddx[1:] + axis.ddx[:-1]) * dt_s)]
        )
        np.testing.assert_allclose(velocity, axis.dx, atol=2e-4)
        position = axis.x[0] + np.concatenate([[0.0], np.cumsum(0.5 * (velocity[1:] + velocity[:-1]) * dt_s)])
        np.testing.assert_allclose(position, axis.x, atol=3e-2)


def test_speed_over_ground_is_the_speed_of_the_position() -> None:
    state = make_truth().state(np.arange(20.0, 60.0, 0.01))
    moved = np.hypot(np.diff(state.east_m), np.diff(state.north_m)).sum()
    assert moved == pytest.approx(state.distance_m[-1] - state.distance_m[0], abs=1e-3)


def test_steps_come_as_often_as_the_cadence_says() -> None:
    truth = make_truth()
    times = truth.step_times(20.0, 220.0)
    state = truth.state(np.arange(20.0, 220.0, 0.01))
    assert len(times) == pytest.approx(float(state.cadence_spm.mean()) / 60 * 200, abs=1)
    assert len(times) == pytest.approx(172 / 60 * 200, abs=2)
    assert np.all(np.diff(times) > 0.3)
    assert len(times) == int(truth.state(np.array([220.0])).steps[0] - truth.state(np.array([20.0])).steps[0])


def test_cutting_the_time_in_two_finds_the_same_steps() -> None:
    truth = make_truth()
    whole = truth.step_times(0.0, 100.0)
    parts = np.concatenate([truth.step_times(0.0, 37.3), truth.step_times(37.3, 100.0)])
    np.testing.assert_allclose(whole, parts, atol=2e-6)


def test_nobody_steps_at_rest_or_on_the_bike() -> None:
    truth = make_truth()
    assert len(truth.step_times(245.0, 299.0)) == 0
    assert len(truth.step_times(505.0, 735.0)) == 0


def test_power_is_that_of_the_hill_the_air_and_the_road() -> None:
    truth = make_truth(grade_max=0.0)
    state = truth.state(np.array([600.0]))
    v, mass_kg = 6.5, truth.body.mass_kg + truth.body.bike_kg
    wanted_w = (0.5 * 1.225 * 0.36 * v**3 + 0.005 * mass_kg * 9.80665 * v) / 0.976
    assert state.power_w[0] == pytest.approx(wanted_w, rel=1e-9)
    assert truth.state(np.array([100.0])).power_w[0] == 0.0


def test_the_heart_follows_a_step_of_effort_with_its_time_constants() -> None:
    heart = Heart(Body(resting_bpm=50.0), np.concatenate([np.full(600, 150.0), np.full(600, 70.0)]))
    rates = heart.rate_bpm(np.array([0.0, RISE_S, 599.0, 600.0 + FALL_S, 1_199.0]))
    assert rates[1] == pytest.approx(150.0 - (150.0 - rates[0]) / np.e, abs=0.5)
    assert rates[2] == pytest.approx(150.0, abs=0.1)
    assert rates[3] == pytest.approx(70.0 + 80.0 / np.e, abs=1.0)
    assert rates[4] == pytest.approx(70.0, abs=0.1)


def test_the_heart_rate_is_continuous_from_one_repetition_to_the_next() -> None:
    truth = make_truth()
    period_s = truth.programme.period_s
    for k in (1, 2, 3, 10):
        around = truth.heart.rate_bpm(k * period_s + np.array([-0.1, 0.1]))
        assert abs(around[1] - around[0]) < 1.0


def test_harder_work_and_steeper_hills_raise_the_heart_rate() -> None:
    flat = [
        Truth([Phase("run", 600, speed, 170)], Body(), np.random.default_rng(1), grade_max=0.0)
        for speed in (2.5, 3.5)
    ]
    slow, quick = (truth.heart.rate_bpm(np.array([590.0]))[0] for truth in flat)
    assert 100 < slow < quick - 15 < 180


def test_beats_come_as_often_as_the_heart_rate_says_and_vary_less_with_effort() -> None:
    spreads = []
    for goal in (62.0, 175.0):
        heart = Heart(Body(), np.full(900, goal))
        beats = Beats(heart, np.random.default_rng(4)).until(900.0)
        late = beats[beats > 300.0]
        assert len(late) == pytest.approx(goal / 60 * 600, rel=0.01)
        intervals_ms = np.diff(late) * 1e3
        spreads.append(float(np.sqrt(np.mean(np.diff(intervals_ms) ** 2))))
    assert 15 < spreads[0] < 80, "RMSSD at rest, ms"
    assert spreads[1] < 5, "RMSSD at hard work, ms"


def test_beats_do_not_depend_on_how_often_one_asks() -> None:
    heart = Heart(Body(), np.full(100, 70.0))
    whole = Beats(heart, np.random.default_rng(1)).until(100.0)
    beats = Beats(heart, np.random.default_rng(1))
    parts = np.concatenate([beats.until(float(t)) for t in range(1, 101)])
    np.testing.assert_allclose(parts, whole, atol=1e-4)
