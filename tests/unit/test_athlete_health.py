"""What is told of an athlete's fusion: which device speaks, how well the models fit, and how seldom."""

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from fusion.models import consistency
from fusion.table import Table
from server.athlete_health import FITS, TOLD_MAX
from server.codecs.samples import encode
from server.config import Athlete, Config, Device
from server.engine import Engine
from server.envelopes import Incoming
from server.messages import AthleteHealth, HeartRate
from simulators.rehearsal import START_NS, cast, config, rehearse
from tests.support.athlete_table import athlete, fix, step


def told(engine: Engine, seconds: int) -> list[tuple[float, AthleteHealth]]:
    found = []
    for t_s, out in rehearse(engine, cast("walk"), seconds, ticks=4):
        found += [
            (t_s, msgspec.json.decode(message.payload, type=AthleteHealth))
            for message in out
            if message.topic == "kinefuse/v1/athletes/walker/health"
        ]
    return found


def test_the_devices_that_speak_are_named_at_once_and_then_once_a_minute() -> None:
    messages = told(Engine(config("walk"), lambda: 0), 100)
    assert messages[0][0] < 3.0
    newest = messages[-1][1]
    assert newest.sources == dict.fromkeys(("steps", "position", "pressure", "heart_rate"), "walker-watch")
    assert set(newest.models) == set(consistency.MODELS)
    assert all(model.fit in FITS for model in newest.models.values())
    assert len(messages) < 15


def test_no_look_tells_of_many_athletes_though_all_began_at_once_and_none_is_left_out() -> None:
    ids = [f"a{k}" for k in range(120)]
    athletes = [Athlete(id=each, devices=[Device(id=f"{each}-strap")]) for each in ids]
    engine = Engine(Config(athletes=athletes), lambda: 0)
    told: list[list[str]] = []
    for second in range(170):
        for part in range(10):
            now_ns = START_NS + second * 10**9 + part * 10**8
            beats = [
                Incoming(
                    f"kinefuse/v1/in/{each}-strap/hr",
                    encode(HeartRate(t=now_ns, bpm=120.0)),
                    False,
                    now_ns,
                    0,
                )
                for each in (ids if not part else [])
            ]
            said = [one.topic.split("/") for one in engine.advance(beats, now_ns)]
            told.append([topic[3] for topic in said if topic[2] == "athletes" and topic[4] == "health"])
    assert max(map(len, told)) <= TOLD_MAX
    assert {each for tick in told[:100] for each in tick} == set(ids)
    lately = [len(tick) for tick in told[1000:1600]]  # a minute
    assert sum(lately) == len(ids)
    assert max(lately) <= 4


def test_without_an_athlete_there_is_nothing_to_tell() -> None:
    engine = Engine(Config(), lambda: 0)
    assert engine.health.due(START_NS) == []


def test_an_older_clock_does_not_stop_the_telling() -> None:
    engine = Engine(config("walk"), lambda: 0)
    before = len(told(engine, 5))
    assert before
    engine.health.due(START_NS - 3_600 * 10**9)


def learnt(share: float, count: int) -> tuple[Table, NDArray[np.float64]]:
    """Return a table, and the windowed NIS of normal innovations ``share`` times as large as thought."""
    rng = np.random.default_rng(5)
    state = athlete().state
    row, last, kept = np.array([0]), np.zeros(1), []
    for _ in range(count):
        nis = ((share * rng.normal(size=(2, 1))) ** 2).sum(axis=0)
        consistency.learn(state, "position", row, last, nis, 2)
        last = nis
        kept.append(float(state["fit_position"][0]))
    return state, np.array(kept)


@pytest.mark.parametrize("share", [0.2, 1.0, 3.0])
def test_the_scale_of_innovations_is_learnt_and_the_windowed_nis_is_held_to_it(share: float) -> None:
    state, nis = learnt(share, 3_000)
    assert state["fit_position_scale"][0] == pytest.approx(share**2, rel=0.3)
    assert nis[100:].mean() == pytest.approx(1.0, abs=0.05)
    low, high = consistency.bounds(state[0], "position")
    assert low == pytest.approx(0.7, abs=0.07), "chi-square of 118, a little wider as the scale is learnt too"
    assert high == pytest.approx(1.33, abs=0.1)
    assert np.mean((nis[100:] > low) & (nis[100:] < high)) > 0.9


def test_what_is_beyond_the_range_of_scales_is_told_for_ever() -> None:
    state, nis = learnt(20.0, 1_000)
    assert nis[-1] > consistency.bounds(state[0], "position")[1]


def test_innovations_that_are_alike_have_wider_bounds() -> None:
    rng = np.random.default_rng(6)
    state, row, last, y = athlete().state, np.array([0]), np.zeros(1), np.zeros(1)
    outside = []
    for k in range(4_000):
        y = 0.9 * y + 0.19**0.5 * rng.normal(size=1)
        consistency.learn(state, "altitude", row, last, y * y, 1)
        last = y * y
        low, high = consistency.bounds(state[0], "altitude")
        if k > 500:
            outside.append(not low < state["fit_altitude"][0] < high)
    assert high > 2.0
    assert np.mean(outside) < 0.12


def test_fixes_that_begin_to_hop_make_the_filter_overconfident_until_that_is_what_they_do() -> None:
    rng = np.random.default_rng(2)
    table, told = athlete(), []
    for t in range(1, 900):
        noise_m = 0.3 if t < 300 else 1.5
        step(table, t, gnss=[fix(t, 3.0 * t + noise_m * rng.normal(), speed_mps=3.0)])
        low, high = consistency.bounds(table.state[0], "position")
        nis = table.state["fit_position"][0]
        told.append("above" if nis > high else "below" if nis < low else "in")
    assert told[290:299].count("in") == 9
    assert told[310:330].count("above") > 15
    assert told[800:].count("in") > 60


def test_who_has_not_stepped_is_not_looked_at_and_nothing_is_left_out_by_it() -> None:
    looked, always = (Engine(config("walk"), lambda: 0) for _ in range(2))
    rounds = zip(
        rehearse(looked, cast("walk"), 90, ticks=4), rehearse(always, cast("walk"), 90, ticks=4), strict=True
    )
    for (_, some), (_, all_of) in rounds:
        assert some == all_of
        always.table.stepped[: len(always.table)] = True
    marked = []
    for second in range(95, 900):  # the workout ends by itself after 600 s
        looked.advance([], START_NS + second * 10**9)
        marked.append(looked.table.stepped.any())
    assert marked[0]  # the minute after the newest measurement is not told yet
    assert sum(marked[-100:]) < 10
