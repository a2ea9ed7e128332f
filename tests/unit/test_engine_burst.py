"""The engine when a whole class does the same at once: the work is spread over ticks, nothing is lost."""

from collections import Counter

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from fusion.measurements import Records
from server.codecs import samples
from server.config import Athlete, Config, Device
from server.engine import Engine
from server.envelopes import Incoming, Outgoing
from server.health import PERIOD_NS, TOLD_MIN
from server.jobs import ENDS_MAX
from server.messages import Birth, Command, HeartRate, Reply, Workout
from server.schedule import Schedule

S = 1_000_000_000
T0 = 1_790_000_000 * S
NAMES = [f"pupil-{number}" for number in range(20)]


def message(topic: str, payload: bytes, now_ns: int) -> Incoming:
    return Incoming(f"kinefuse/v1/{topic}", payload, False, now_ns, 0)


def beats(now_ns: int) -> list[Incoming]:
    return [message(f"in/{name}/hr", samples.encode(HeartRate(bpm=60.0)), now_ns) for name in NAMES]


def ended(out: list[Outgoing]) -> list[str]:
    workouts = [
        msgspec.json.decode(each.payload, type=Workout) for each in out if each.topic.endswith("/workout")
    ]
    return [workout.athlete for workout in workouts if workout.event == "ended"]


def test_a_class_that_stops_at_once_is_ended_over_several_ticks_and_each_gets_its_answer() -> None:
    engine = Engine(Config(), lambda: 0)
    engine.advance(beats(T0), T0)
    stop = samples.encode(Command("stop", "end"))
    now_ns = T0 + S
    out = engine.advance([message(f"command/{name}", stop, now_ns) for name in NAMES], now_ns)
    assert len(ended(out)) == ENDS_MAX
    while engine.behind:
        now_ns += S // 100
        more = engine.advance([], now_ns)
        assert 0 < len(ended(more)) <= ENDS_MAX
        out += more
    assert sorted(ended(out)) == sorted(NAMES)
    replies = [msgspec.json.decode(each.payload, type=Reply) for each in out if "/reply/" in each.topic]
    assert [reply.ok for reply in replies] == [True] * len(NAMES)


def test_a_sample_that_comes_while_the_stop_waits_opens_no_workout() -> None:
    engine = Engine(Config(), lambda: 0)
    engine.advance(beats(T0), T0)
    stop = samples.encode(Command("stop", "end"))
    engine.advance([message(f"command/{name}", stop, T0 + S) for name in NAMES], T0 + S)
    for tick in range(1, 10):
        now_ns = T0 + S + tick * S // 100
        engine.advance(beats(now_ns), now_ns)
    assert not any(engine.workouts.is_open(athlete) for athlete in engine.registry.athletes.values())


def test_the_health_of_devices_that_began_together_is_told_in_turns() -> None:
    engine = Engine(Config(), lambda: 0)
    told: list[Counter[str]] = []
    for tick in range(4 * PERIOD_NS // (S // 10)):
        now_ns = T0 + tick * S // 10
        topics = [each.topic for each in engine.advance(beats(now_ns), now_ns)]
        told.append(Counter(topic for topic in topics if "/devices/" in topic))
    later = told[-2 * PERIOD_NS // (S // 10) :]
    assert max(counter.total() for counter in later) <= len(NAMES) // 10
    assert sum(later, Counter()) == {f"kinefuse/v1/devices/{name}/health": 2 for name in NAMES}


def test_no_look_tells_of_all_devices_where_all_are_due_at_once() -> None:
    names = [f"d{k}" for k in range(400)]
    devices = [Device(id=name) for name in names]
    engine = Engine(Config(athletes=[Athlete(id="crowd", devices=devices)]), lambda: 0)
    told: list[list[str]] = []
    for tick in range(12 * 20):
        now_ns = T0 + tick * S // 20
        came = [message(f"in/{name}/battery", b'{"level": 1}', now_ns) for name in names if tick % 20 == 0]
        topics = [each.topic for each in engine.advance(came, now_ns)]
        told.append([topic for topic in topics if "/devices/" in topic])
    assert max(map(len, told)) <= TOLD_MIN
    assert {topic for tick in told for topic in tick} == {
        f"kinefuse/v1/devices/{name}/health" for name in names
    }


def test_a_stop_is_not_kept_waiting_by_those_who_start_and_stop_all_the_time() -> None:
    engine = Engine(Config(), lambda: 0)
    engine.advance(beats(T0), T0)
    churners, patient = NAMES[:-1], NAMES[-1]
    stop = message(f"command/{patient}", samples.encode(Command("stop", "end")), T0 + S)
    out: list[Outgoing] = []
    for tick in range(len(NAMES)):
        now_ns = T0 + S + tick * S // 100
        starts = [
            message(f"command/{name}", samples.encode(Command("start", f"again-{tick}")), now_ns)
            for name in churners
        ]
        out += engine.advance([stop, *starts] if tick == 0 else starts, now_ns)
    names = ended(out)
    assert names.index(patient) < len(NAMES)  # the others had one turn each before it
    assert set(names) == set(NAMES)


def test_what_many_devices_say_of_themselves_at_once_is_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(Config(), lambda: 0)
    batches = []

    def limit(schedule: Schedule, events: Records) -> NDArray[np.uint8] | None:
        batches.append(len(events))
        return taken(schedule, events)

    taken = Schedule.limit
    monkeypatch.setattr(Schedule, "limit", limit)
    births = [message(f"in/{name}/status", samples.encode(Birth()), T0) for name in NAMES]
    engine.advance([*births, *births, *beats(T0)], T0)
    assert batches == [2 * len(NAMES), len(NAMES)]
    assert all(device.packets == 3 for device in engine.registry.device_rows)


def test_who_is_first_heard_right_after_a_birth_of_their_athlete_is_taken_in_after_it() -> None:
    devices = [Device(id="bike"), Device(id="strap")]
    engine = Engine(Config(athletes=[Athlete(id="ada", devices=devices)]), lambda: 0)
    birth = message("in/bike/status", samples.encode(Birth(sport="ride")), T0)
    beat = message("in/strap/hr", samples.encode(HeartRate(bpm=90.0)), T0)
    workouts = [each for each in engine.advance([birth, beat], T0) if each.topic.endswith("/workout")]
    assert [msgspec.json.decode(each.payload, type=Workout).workout.sport for each in workouts] == ["ride"]
