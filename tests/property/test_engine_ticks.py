"""What the engine publishes does not depend on how messages were cut into ticks."""

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from server.clock import SystemClock
from server.codecs import samples
from server.engine import Engine
from server.envelopes import Incoming
from server.messages import Birth, Clock, Command
from simulators.rehearsal import START_NS, cast, config

SECONDS = 12
ROOT = "kinefuse/v1"


@cache
def messages() -> tuple[Incoming, ...]:
    """Two athletes' devices, played as recordings: binary IMU packets, straps, receivers, barometers."""
    runner, walker = cast("demo")[:2]
    out: list[tuple[float, str, bytes]] = []
    for athlete in (runner, walker):
        for device in athlete.devices:
            birth = samples.encode(Birth(placement="wrist", clock=Clock(recorded=True)))
            out.append((-1.0, f"in/{device.id}/status", birth))
            out += [
                (message.due_s, message.topic, message.payload)
                for second in range(SECONDS)
                for message in device.second(second)
            ]
        start = samples.encode(Command("start", f"{athlete.id}-go", t=START_NS + 10**9, sport="run"))
        lap = samples.encode(Command("lap", f"{athlete.id}-lap", t=START_NS + 5 * 10**9))
        stop = samples.encode(Command("stop", f"{athlete.id}-end", t=START_NS + (SECONDS - 1) * 10**9))
        out += [
            (time_s, f"command/{athlete.id}", payload)
            for time_s, payload in ((-0.5, start), (6.0, lap), (SECONDS + 1.0, stop))
        ]
    out.sort(key=lambda each: each[0])
    return tuple(
        Incoming(f"{ROOT}/{topic}", payload, False, START_NS + round(due_s * 1e9), 0)
        for due_s, topic, payload in out
    )


def published(cuts: list[int]) -> list[tuple[str, bytes]]:
    """Return what is published of the athletes when the messages come in ticks that end at ``cuts``."""
    engine = Engine(config("demo"), SystemClock().monotonic_ns)
    told: list[tuple[str, bytes]] = []
    for begin, end in zip([0, *cuts], [*cuts, len(messages())], strict=True):
        chunk = list(messages()[begin:end])
        out = engine.advance(chunk, START_NS)
        while engine.behind:
            out += engine.advance([], START_NS)
        told += [
            (each.topic, each.payload)
            for each in out
            if "/athletes/" in each.topic and not each.topic.endswith("/health")  # which is told now and then
        ]
    return sorted(told)  # ticks may publish two athletes' messages in another order


@cache
def at_once() -> list[tuple[str, bytes]]:
    return published([])


def test_the_recordings_give_live_messages_laps_and_summaries() -> None:
    topics = [topic for topic, _ in at_once()]
    assert topics.count(f"{ROOT}/athletes/runner/live") >= SECONDS - 3
    assert topics.count(f"{ROOT}/athletes/walker/workout") >= 3


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, len(messages())), max_size=30).map(sorted))
def test_ticks_change_nothing(cuts: list[int]) -> None:
    assert published(cuts) == at_once()


def test_one_message_a_tick_changes_nothing() -> None:
    assert published(list(range(1, len(messages())))) == at_once()
