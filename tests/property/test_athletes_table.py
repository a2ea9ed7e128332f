"""Totals are a workout's: they rise, rest in a pause, begin at zero and end with it, whatever comes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.athletes import Athletes
from fusion.measurements import DTYPES, Estimate, Estimates, Measurements, Reason, Records, Source, Sport
from fusion.metrics import METRICS
from fusion.state import STATE
from tests.support.athlete_table import START_NS

SECOND_NS = 10**9
TOTALS = ("steps", "distance", "ascent", "descent", "floors", "energy", "elapsed", "moving")
KINDS = Measurements._fields
MAYBE_NAN = {  # fields that say with NaN that nothing was told
    *("cadence_rpm", "cadence_spm", "track_doppler_mps", "pos_doppler_mps"),
    *("stale_lat_deg", "stale_lon_deg", "climb_height_m", "smooth_height_m"),
}
ENDLESS = {"zones", "altitude_min_m", "altitude_max_m"}  # infinite where there is none

seeds = st.integers(0, 2**32 - 1)
sports = st.sampled_from(list(Sport))
sensors = st.sets(st.sampled_from(KINDS), min_size=1)


class World:
    """What the sensors of one athlete tell, second by second: late, in bursts, with holes and hops.

    Each sensor is on for stretches and off for others, so that each takes over from each.
    """

    def __init__(self, seed: int, kinds: set[str], row: int = 0, *, steady: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.kinds, self.row, self.steady = sorted(kinds), row, steady
        self.on = {kind: steady or bool(self.rng.random() < 0.5) for kind in self.kinds}
        self.lat_deg = float(self.rng.uniform(-60.0, 60.0))

    def second(self, t_s: int) -> Measurements:
        told: dict[str, list[tuple[Any, ...]]] = {}
        for kind in self.kinds:
            if not self.steady and self.rng.random() < 0.05:
                self.on[kind] = not self.on[kind]
            if not self.on[kind] or (not self.steady and self.rng.random() < 0.2):
                continue
            late_s = float(self.rng.exponential(1.0)) if not self.steady and self.rng.random() < 0.1 else 0.0
            stamps = np.sort(t_s - late_s - self.rng.random(4 if kind == "windows" else 1))
            told[kind] = [(self.row, START_NS + max(round(t * 1e9), 0), *self.one(kind, t_s)) for t in stamps]
        return Measurements.of(**told)

    def device(self) -> int:
        """Return one of two, mostly the first."""
        return 0 if self.steady else int(self.rng.random() < 0.3)

    def one(self, kind: str, t_s: int) -> tuple[Any, ...]:
        rng = self.rng

        def maybe(value: float) -> float:
            return value if self.steady or rng.random() < 0.7 else np.nan

        if kind == "windows":
            interval = 0.4 if rng.random() < 0.7 else 0.0
            motion = rng.exponential(1.0, 2)
            steps, flags = int(rng.integers(0, 3)), int(rng.choice([0, 1, 64, 65]))
            device = int(rng.integers(0, 2))
            return device, device, 0.25, rng.normal(), maybe(0.1), *motion, steps, interval, flags
        if kind == "heart_rates":
            return (
                0,
                rng.normal(130.0, 20.0),
                maybe(2.0),
                int(rng.choice([Source.STRAP, Source.OPTICAL])),
                maybe(2.0),
            )
        if kind == "gnss":
            hop = 0.01 if rng.random() < 0.02 else 1e-5
            lat = self.lat_deg + 3e-5 * t_s + hop * rng.normal()
            height, speed = maybe(500.0 + 3.0 * rng.normal()), maybe(rng.uniform(0.0, 6.0))
            return (
                self.device(),
                lat,
                8.0,
                height,
                speed,
                maybe(rng.normal()),
                maybe(5.0),
                maybe(8.0),
                maybe(0.3),
            )
        if kind == "baro":
            return (
                self.device(),
                95_000.0 + 30.0 * rng.normal(),
            )
        if kind == "power":
            return (
                self.device(),
                max(rng.normal(150.0, 100.0), 0.0),
            )
        if kind == "cadence":
            return self.device(), maybe(rng.uniform(0.0, 100.0)), maybe(rng.uniform(0.0, 190.0))
        return self.device(), rng.uniform(0.0, 9.0), int(rng.choice([Source.WHEEL, Source.FOOT]))


def at(athletes: Athletes, t_s: float, m: Measurements, row: int = 0) -> Estimates:
    return athletes.step(np.array([row]), np.array([START_NS + round(t_s * 1e9)]), m)


def of_place(one: Estimate, place: int) -> bytes:
    return b"".join(column[place].tobytes() for column in one)


def totals(live: Estimates) -> dict[str, float]:
    return {name: float(live[name].value[0]) for name in TOTALS}


def opened(sport: Sport, rows: int = 1) -> Athletes:
    athletes = Athletes()
    for _ in range(rows):
        athletes.begin(athletes.add(), START_NS, sport)
    return athletes


@settings(max_examples=30, deadline=None)
@given(seed=seeds, sport=sports, kinds=sensors, turns=st.sets(st.integers(1, 100), max_size=4))
def test_totals_never_fall_within_a_workout_and_never_vanish(
    seed: int, sport: Sport, kinds: set[str], turns: set[int]
) -> None:
    athletes, world = opened(sport), World(seed, kinds)
    before = dict.fromkeys(TOTALS, np.nan)
    for t in range(1, 101):
        if t in turns:
            now_ns = START_NS + t * SECOND_NS
            assert athletes.pause(0, now_ns) or athletes.resume(0, now_ns)
        live = at(athletes, t, world.second(t))
        now = totals(live)
        for name in TOTALS:
            assert np.isnan(before[name]) or now[name] >= before[name], name
        before = now


@settings(max_examples=20, deadline=None)
@given(seed=seeds, sport=sports, kinds=sensors, pause=st.integers(5, 40))
def test_a_pause_adds_nothing_but_elapsed_time(seed: int, sport: Sport, kinds: set[str], pause: int) -> None:
    athletes, world = opened(sport), World(seed, kinds, steady=True)
    for t in range(1, pause + 1):
        at(athletes, t, world.second(t))
    athletes.pause(0, START_NS + pause * SECOND_NS)
    # The first reading in the pause tells of the moments before it too.
    first = totals(at(athletes, pause + 1, world.second(pause + 1)))
    for t in range(pause + 2, pause + 41):
        now = totals(at(athletes, t, world.second(t)))
        assert now.pop("elapsed") == pytest.approx(t)
        for name, value in now.items():
            # A sensor that is heard first in the pause tells of a total that is nothing yet.
            assert value == first[name] or (np.isnan(first[name]) and not value > 0.0), name


@settings(max_examples=20, deadline=None)
@given(seed=seeds, kinds=sensors)
def test_totals_are_not_applicable_but_in_a_workout(seed: int, kinds: set[str]) -> None:
    athletes, world = Athletes(), World(seed, kinds)
    athletes.add()
    for t in range(1, 61):
        if t == 20:
            athletes.begin(0, START_NS + t * SECOND_NS, Sport.RUN)
        if t == 40:
            athletes.end(0, START_NS + t * SECOND_NS)
        live = at(athletes, t, world.second(t))
        for name in TOTALS:
            outside = live[name].reason[0] == Reason.NOT_APPLICABLE
            assert outside != (20 <= t < 40), name
            assert np.isnan(live[name].value[0]) or not outside


@settings(max_examples=15, deadline=None)
@given(seed=seeds, sport=sports, kinds=sensors, drop=st.booleans())
def test_a_workout_begins_at_zero_whatever_was_before_it(
    seed: int, sport: Sport, kinds: set[str], *, drop: bool
) -> None:
    """Begin and end ten times over; a workout that is begun again without its end is dropped."""
    athletes, world = opened(sport), World(seed, kinds)
    for lap in range(10):
        start_s = 12 * lap
        if not drop and lap:
            athletes.end(0, START_NS + start_s * SECOND_NS)
        athletes.begin(0, START_NS + start_s * SECOND_NS, sport)
        live = at(athletes, start_s, Measurements.of())
        for name, value in totals(live).items():
            assert value == 0.0 or (np.isnan(value) and live[name].reason[0] == Reason.NO_SOURCE), name
        assert set(athletes.totals(0).values()) == {0.0}
        for t in range(start_s + 1, start_s + 13):
            live = at(athletes, t, world.second(t))
        assert live["elapsed"].value[0] == pytest.approx(12.0)
        assert live["moving"].value[0] < 12.001
    summary = athletes.end(0, START_NS + 120 * SECOND_NS)
    assert summary.values["elapsed_s"] == pytest.approx(12.0)
    again = Athletes()
    again.add()
    again.restore(0, athletes.snapshot(0))
    assert again.snapshot(0) == athletes.snapshot(0)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, rows=st.integers(1, 4))
def test_totals_of_many_are_those_of_each(seed: int, rows: int) -> None:
    athletes = opened(Sport(seed % len(Sport)), rows)
    rng = np.random.default_rng(seed)
    worlds = [World(seed + row, {str(rng.choice(KINDS))}, row) for row in range(rows)]
    for t in range(1, 31):
        for world in worlds:
            at(athletes, t, world.second(t), world.row)
    athletes.pause(0, START_NS + 20 * SECOND_NS)
    order, t_ns = rng.permutation(rows), START_NS + rng.integers(0, 60, rows) * SECOND_NS
    many = athletes.totals_of(order, t_ns)
    for place, row in enumerate(order):
        one = athletes.totals(int(row), int(t_ns[place]))
        assert one == {name: column[place] for name, column in many._asdict().items()}
        live = athletes.step(np.array([row]), np.array([START_NS + 60 * SECOND_NS]), Measurements.of())
        last = athletes.totals(int(row), START_NS + 60 * SECOND_NS)
        assert (last["elapsed_s"], last["moving_s"]) == (live["elapsed"].value[0], live["moving"].value[0])


def test_who_has_neither_fix_nor_height_has_no_history() -> None:
    athletes, world = opened(Sport.RUN, 2), World(1, {"windows", "heart_rates"}, steady=True)
    fixes = World(1, {"gnss"}, 1, steady=True)
    for t in range(1, 10):
        at(athletes, t, world.second(t))
        at(athletes, t, fixes.second(t), 1)
    assert (athletes.state["track_slot"][:2] >= 0).tolist() == [False, True]
    assert athletes.state["climb_slot"][0] == -1
    bare, tracked = (len(athletes.snapshot(row)) for row in (0, 1))
    assert bare < tracked
    athletes.end(1, START_NS + 10 * SECOND_NS)
    assert athletes.state["track_slot"][1] == athletes.state["climb_slot"][1] == -1
    assert athletes.end(0, START_NS + 10 * SECOND_NS).reasons["ascent_m"] == "no_source"


def test_commands_that_change_nothing_say_so() -> None:
    athletes = Athletes()
    athletes.add()
    assert not athletes.pause(0, START_NS)
    assert not athletes.resume(0, START_NS)
    athletes.begin(0, START_NS, Sport.RUN)
    assert not athletes.resume(0, START_NS + 1)
    assert athletes.pause(0, START_NS + 2)
    assert not athletes.pause(0, START_NS + 3)
    assert athletes.resume(0, START_NS + 4)
    assert athletes.end(0, START_NS + 10).values["elapsed_s"] == pytest.approx(1e-8)
    assert not athletes.pause(0, START_NS + 11)


WILD = (
    np.nan,
    0.0,
    -0.0,
    -1.0,
    1.0,
    5e-324,
    1e-9,
    1e9,
    1e300,
    -1e300,
    90.0,
    -180.0,
    95_000.0,
)


def wild(rng: np.random.Generator, row: int, now_s: int) -> Measurements:
    """Return a few measurements of each kind with any finite numbers in them, or none, out of order."""
    arrays: list[Records] = []
    for dtype in DTYPES:
        array = np.zeros(rng.integers(0, 3), dtype=dtype)
        n = len(array)
        array["row"] = row
        age_s = np.where(rng.random(n) < 0.8, rng.integers(0, 5, n), rng.integers(0, 10**6, n))
        array["t_ns"] = START_NS + (now_s - age_s) * SECOND_NS
        for name in (dtype.names or ())[2:]:
            if dtype[name].kind == "f":
                sane = rng.choice([0.5, 3.0, 60.0, 300.0, 95_000.0], n)
                huge = rng.normal(size=n) * 10.0 ** rng.integers(-300, 300, n)
                array[name] = np.choose(rng.integers(0, 3, n), [sane, huge, rng.choice(WILD, n)])
            elif name == "source":
                array[name] = rng.choice([int(source) for source in Source], n)
            else:
                array[name] = rng.choice([0, 1, 64, 2**31 - 1], n)
        arrays.append(array)
    m = Measurements(*arrays)
    # A negative speed is none that a codec lets through.
    m.gnss["speed_mps"] = np.abs(m.gnss["speed_mps"])
    return m


def unsound(athletes: Athletes, row: int) -> list[str]:
    """Name the fields of a row that are not numbers, where they should be."""
    found = []
    for name in STATE.names or ():
        value = np.atleast_1d(athletes.state[name][row])
        sound = np.isfinite(value) | (np.isnan(value) & (name in MAYBE_NAN))
        sound |= np.isinf(value) & (name in ENDLESS)
        if not sound.all():
            found.append(name)
    return found


@settings(max_examples=60, deadline=None)
@given(seed=seeds, sport=sports)
def test_nothing_that_can_be_told_makes_a_state_unsound_or_touches_a_neighbour(
    seed: int, sport: Sport
) -> None:
    rng = np.random.default_rng([seed, 1])
    both, alone = opened(sport, 2), opened(sport, 2)
    world = World(seed, set(KINDS), row=1)
    for t in (5, 6, 7, 8, 9, 11, 14, 40, 41, 42):
        m, calm = wild(rng, 0, t), world.second(t)
        due = np.full(2, START_NS + t * SECOND_NS)
        joined = Measurements(*(np.concatenate(pair) for pair in zip(m, calm, strict=True)))
        live = both.step(np.arange(2), due, joined)
        single = alone.step(np.array([1]), due[:1], calm)
        assert not unsound(both, 0)
        assert list(live) == [metric.name for metric in METRICS]
        for name, one in live.items():
            known = one.reason[0] == Reason.NONE
            assert np.isfinite(one.value[0]) == known, name
            assert np.isfinite(one.sigma[0]) == known, name
            assert not known or one.sigma[0] >= 0.0, name
            assert 0.0 <= one.quality[0] <= 1.0, name
            assert of_place(one, 1) == of_place(single[name], 0), name
    assert both.snapshot(1) == alone.snapshot(1)
    summary = both.end(0, START_NS + 60 * SECOND_NS)
    for name, value in summary.values.items():
        assert (value is None) == (name in summary.reasons), name
        assert value is None or np.isfinite(value), name
    assert all(np.isfinite(sigma) and sigma >= 0.0 for sigma in summary.sigma.values())


@settings(max_examples=15, deadline=None)
@given(seed=seeds, sport=sports, kinds=sensors, cut=st.integers(1, 119), pause=st.integers(0, 119))
def test_a_workout_put_back_elsewhere_goes_on_as_if_nothing_had_been(
    seed: int, sport: Sport, kinds: set[str], cut: int, pause: int
) -> None:
    whole, first, world = opened(sport), opened(sport), World(seed, kinds)
    for t in range(1, 121):
        m = world.second(t)
        if t == cut + 1:
            block = first.snapshot(0)
            first = opened(Sport.OTHER, 3)
            first.restore(0, block)
            assert first.snapshot(0) == block
        for athletes in (whole, first):
            if t == pause:
                athletes.pause(0, START_NS + t * SECOND_NS)
            if t == pause + 15:
                athletes.resume(0, START_NS + t * SECOND_NS)
        expected, found = at(whole, t, m), at(first, t, m)
        for name, one in expected.items():
            assert of_place(one, 0) == of_place(found[name], 0), name
    end_ns = START_NS + 120 * SECOND_NS
    assert first.end(0, end_ns) == whole.end(0, end_ns)
    assert first.snapshot(0) == whole.snapshot(0)
