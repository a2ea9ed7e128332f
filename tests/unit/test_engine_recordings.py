"""Recordings in the engine: who they hold up, and what comes after them."""

import msgspec

from fusion._core import lib
from server.codecs import samples, sensor_logger
from server.codecs.sensor_logger import Reading
from server.config import Config
from server.engine import Engine
from server.envelopes import Incoming, Outgoing
from server.jobs import STEPS_MAX
from server.messages import Birth, Clock, Command, Death, HeartRate, Live, Packet, Workout

S = 1_000_000_000
LONG_AGO = 1_700_000_000 * S
NOW = 1_790_000_000 * S
ROOT = "kinefuse/v1"
RECORDED = Birth(clock=Clock(recorded=True))


def message(topic: str, payload: bytes | Packet | Command, arrived_ns: int = NOW) -> Incoming:
    body = payload if isinstance(payload, bytes) else samples.encode(payload)
    return Incoming(f"{ROOT}/{topic}", body, False, arrived_ns, 0)


def flood(device: str, steps: int) -> Incoming:
    """Return one small list whose stamps make so many hundreds of steps due."""
    stamps = b",".join(b'{"bpm": 60, "t": %d}' % (LONG_AGO + i * 590 * S) for i in range(steps // 590))
    return message(f"in/{device}/hr", b"[" + stamps + b"]")


def play(engine: Engine, *messages: Incoming) -> list[Outgoing]:
    out = engine.advance(list(messages), NOW)
    while engine.behind:
        out += engine.advance([], NOW)
    return out


def lives(out: list[Outgoing], athlete: str) -> list[Live]:
    topic = f"{ROOT}/athletes/{athlete}/live"
    return [msgspec.json.decode(each.payload, type=Live) for each in out if each.topic == topic]


def workouts(out: list[Outgoing]) -> list[Workout]:
    return [
        msgspec.json.decode(each.payload, type=Workout) for each in out if each.topic.endswith("/workout")
    ]


def test_what_waits_in_all_lanes_together_is_bounded() -> None:
    engine = Engine(Config(), lambda: 0)
    names = [f"d{number}" for number in range(5)]
    for name in names:
        engine.advance([message(f"in/{name}/status", RECORDED), flood(name, 90_000)], NOW)
    most = lib.KF_JOBS_ALL_MAX + len(names) * lib.KF_CATCH_UP_MAX
    assert engine.schedule.jobs_waiting <= most
    assert engine.registry.devices[names[-1]].refused["too_fast"] > 0


def test_a_backlog_of_one_does_not_make_another_wait() -> None:
    engine = Engine(Config(), lambda: 0)
    engine.advance([message("in/slow/status", RECORDED), flood("slow", 60_000)], NOW)
    engine.advance([message("in/ada/hr", HeartRate(bpm=60.0))], NOW)
    out = engine.advance([message("in/ada/hr", HeartRate(bpm=61.0), NOW + 2 * S)], NOW + 2 * S)
    assert engine.behind
    assert len(lives(out, "ada")) >= 1
    assert len(lives(out, "slow")) <= STEPS_MAX


def recording(engine: Engine, *, stopped: bool) -> list[Outgoing]:
    out = play(engine, message("in/phone/status", RECORDED))
    out += play(engine, message("command/phone", Command("start", "a", t=LONG_AGO)))
    out += [
        each
        for second in range(10)
        for each in play(engine, message("in/phone/hr", HeartRate(t=LONG_AGO + second * S, bpm=120.0)))
    ]
    if stopped:
        out += play(engine, message("command/phone", Command("stop", "b", t=LONG_AGO + 10 * S)))
    return out + play(engine, message("in/phone/status", Death()))


def test_after_a_recording_the_same_device_is_live_again() -> None:
    engine = Engine(Config(), lambda: 0)
    recording(engine, stopped=True)
    out = [
        each
        for second in range(5)
        for each in play(engine, message("in/phone/hr", HeartRate(bpm=60.0), NOW + second * S))
    ]
    assert not engine.registry.devices["phone"].refused
    assert not engine.registry.athletes["phone"].recorded
    started = workouts(out)
    assert [each.event for each in started] == ["started"]
    assert started[0].t_ms >= NOW // 1_000_000
    assert lives(play(engine, message("in/phone/hr", HeartRate(bpm=60.0), NOW + 6 * S)), "phone")


def test_a_recording_that_broke_off_ends_its_workout_before_live_ones_begin() -> None:
    engine = Engine(Config(), lambda: 0)
    recording(engine, stopped=False)
    told = workouts(play(engine, message("in/phone/hr", HeartRate(bpm=60.0))))
    assert [each.event for each in told] == ["ended", "started"]
    assert told[0].t_ms <= (LONG_AGO + 10 * S) // 1_000_000


def phone(second: int) -> Incoming:
    """Return a second of a phone and of the watch that speaks through it."""
    axes = [f"{kind}{axis}" for kind in ("rotationRate", "gravity", "acceleration") for axis in "XYZ"]
    readings = [
        Reading("wristmotion", LONG_AGO + second * S + i * 10_000_000, dict.fromkeys(axes, 0.1))
        for i in range(100)
    ]
    beat = Reading("heartrate", LONG_AGO + second * S, {"bpm": 120})
    payload = sensor_logger.encode(device="phone", session="s", message_id=second, readings=[beat, *readings])
    return Incoming("sensor-logger", payload, False, NOW, 0)


def test_a_watch_plays_its_recording_with_the_phone_through_which_it_speaks() -> None:
    engine = Engine(Config(), lambda: 0)
    play(engine, message("in/phone/status", RECORDED))
    for second in range(10):
        play(engine, phone(second))
    watch = engine.registry.devices["phone-watch"]
    assert watch.recorded
    assert watch.athlete is engine.registry.devices["phone"].athlete
    assert not watch.refused
    assert LONG_AGO <= watch.newest_ns <= LONG_AGO + 10 * S


def test_a_class_may_be_larger_than_the_table_was() -> None:
    config = Config(server=msgspec.structs.replace(Config().server, athletes_max=17_000, devices_max=17_000))
    engine = Engine(config, lambda: 0)
    for number in range(16_390):
        engine.registry.device(f"d{number}")
    assert len(engine.registry.athletes) == 16_390
