"""What is told of an athlete's fusion: which device speaks, how well the models fit, and how seldom."""

import msgspec
import numpy as np
import pytest

from fusion.models import consistency
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


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1.0), (3.0, 9.0)])
def test_the_windowed_nis_is_the_mean_of_what_the_filter_expects(share: float, expected: float) -> None:
    rng = np.random.default_rng(5)
    state = athlete().state
    state["fit_position"][0] = 0.0
    row, last, kept = np.array([0]), np.zeros(1), []
    for _ in range(3_000):
        nis = np.minimum((share * rng.normal(size=(2, 1))) ** 2, 1e9).sum(axis=0)
        consistency.learn(state, "position", row, last, nis, 2)
        last = nis
        kept.append(float(state["fit_position"][0]))
    settled = np.array(kept[100:])
    bounded = np.minimum(share**2 * rng.chisquare(2, 100_000) / 2, consistency.NIS_MAX).mean()
    assert settled.mean() == pytest.approx(bounded, rel=0.05)
    model = consistency.MODELS["position"]
    inside = np.mean((settled > model.low) & (settled < model.high))
    assert inside > 0.9 if expected == 1.0 else inside == 0.0


def test_fixes_that_hop_by_more_than_the_filter_believes_make_it_overconfident() -> None:
    rng = np.random.default_rng(2)
    nis = []
    for noise_m in (0.3, 3.0):
        table = athlete()
        for t in range(1, 200):
            step(table, t, gnss=[fix(t, 3.0 * t + noise_m * rng.normal(), speed_mps=3.0)])
        nis.append(table.state["fit_position"][0])
    assert nis[0] < consistency.MODELS["position"].high < nis[1]
