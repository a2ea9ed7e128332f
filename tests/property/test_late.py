"""What comes late, in any order within the window, gives the totals that it would have given in order."""

from functools import cache
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion._core import lib
from server.codecs import samples
from server.engine import Engine
from server.envelopes import Incoming
from server.messages import Birth, Clock, Command, Workout
from simulators.rehearsal import START_NS, cast, config

SECONDS = 45
S = 1_000_000_000
ROOT = "kinefuse/v1"
PACKETS = int(lib.KF_ORDER_PACKETS)
ORDERED = ("/imu", "/hr", "sensor-logger")

Message = tuple[float, str, bytes]


@cache
def births() -> tuple[Message, ...]:
    return tuple(
        (
            -1.0,
            f"in/{device.id}/status",
            samples.encode(Birth(placement="wrist", sport="run", clock=Clock(recorded=True))),
        )
        for athlete in cast("demo")[:2]
        for device in athlete.devices
    )


@cache
def messages() -> tuple[Message, ...]:
    """What the devices of two athletes measure, and commands that take effect at a time, in order."""
    out: list[Message] = []
    for athlete in cast("demo")[:2]:
        for device in athlete.devices:
            for second in range(SECONDS):
                out += [(each.due_s, each.topic, each.payload) for each in device.second(second)]
        for action, time_s in (("lap", 11.3), ("pause", 17.2), ("resume", 23.9), ("lap", 31.5)):
            command = Command(action, f"{athlete.id}-{round(time_s)}", t=START_NS + round(time_s * S))  # type: ignore[arg-type]
            out.append((time_s, f"command/{athlete.id}", samples.encode(command)))
    ended = [
        (SECONDS + 1.0, f"command/{athlete.id}", samples.encode(stop(athlete.id)))
        for athlete in cast("demo")[:2]
    ]
    return (*sorted(out, key=lambda each: each[0]), *ended)


def stop(athlete: str) -> Command:
    return Command("stop", f"{athlete}-end", t=START_NS + (SECONDS + 1) * S)


def played(order: list[Message], rewind_s: float = 30.0, tick: int = 40) -> dict[str, list[Workout]]:
    """Return what is told of each athlete's workout."""
    settings_ = config("demo")
    server = msgspec.structs.replace(settings_.server, rewind_s=rewind_s)
    engine = Engine(msgspec.structs.replace(settings_, server=server), lambda: 0)
    told: dict[str, list[Workout]] = {}
    stream = [*births(), *order]
    # A command that is refused and changes nothing, after all: by then nothing waits for its place.
    stream += [
        (0.0, f"command/{athlete.id}", samples.encode(Command("lap", f"{athlete.id}-last")))
        for athlete in cast("demo")[:2]
    ]
    for begin in range(0, len(stream), tick):
        arrivals = [
            Incoming(f"{ROOT}/{topic}", payload, False, START_NS, 0)
            for _, topic, payload in stream[begin : begin + tick]
        ]
        out = engine.advance(arrivals, START_NS)
        while engine.behind:
            out += engine.advance([], START_NS)
        for each in out:
            if each.topic.endswith("/workout"):
                workout = msgspec.json.decode(each.payload, type=Workout)
                told.setdefault(workout.athlete, []).append(workout)
    return told


def results(told: dict[str, list[Workout]]) -> dict[str, tuple[object, ...]]:
    """Return laps and summary at the end, without the number of corrections."""
    found: dict[str, tuple[object, ...]] = {}
    for athlete, workouts in told.items():
        last = [each for each in workouts if each.summary is not None][-1]
        found[athlete] = (last.laps, last.summary, last.workout.elapsed_s, last.workout.moving_s)
    return found


def numbered(told: dict[str, list[Workout]]) -> bool:
    """Return whether revisions are numbered from 1, without gaps."""
    for workouts in told.values():
        revisions = [each.workout.revision for each in workouts if each.event == "revised"]
        if revisions != list(range(1, len(revisions) + 1)):
            return False
    return True


@cache
def in_order() -> dict[str, tuple[object, ...]]:
    # As of each message's own time: even in order of delivery some come after their step.
    return results(played(by_time([0.0] * len(messages()))))


def by_time(delays_s: list[float]) -> list[Message]:
    """Return the messages as they come with these delays; those of one motion or beat sensor keep theirs."""
    latest: dict[str, float] = {}
    arrivals = []
    for (due_s, topic, payload), delay_s in zip(messages(), delays_s, strict=True):
        arrives_s = due_s + delay_s
        if topic.endswith(ORDERED):  # the core and the cleaning of beats take them as they come
            arrives_s = latest[topic] = max(arrives_s, latest.get(topic, 0.0))
        arrivals.append((arrives_s, topic, payload))
    return sorted(arrivals, key=lambda each: each[0])


def shuffled(order: list[Message], seed: int) -> list[Message]:
    """Return messages with the IMU packets of each device mixed: each is overtaken by 8 at most."""
    random = Random(seed)
    out = list(order)
    for topic in sorted({topic for _, topic, _ in order if topic.endswith("/imu")}):
        places = [place for place, each in enumerate(order) if each[1] == topic]
        keys = [number + random.uniform(0.0, PACKETS) for number in range(len(places))]
        mixed = sorted(range(len(places)), key=keys.__getitem__)
        for place, number in zip(places, mixed, strict=True):
            out[place] = order[places[number]]
    return out


def behind(begin_s: float, lasts_s: float, rate: int) -> list[Message]:
    """Return messages where IMU packets of a while come later, so many behind each newer one."""
    gap = [each for each in messages() if each[1].endswith("/imu") and begin_s <= each[0] < begin_s + lasts_s]
    out, held = [], {topic: [each for each in gap if each[1] == topic] for _, topic, _ in gap}
    for each in by_time([0.0] * len(messages())):
        if each in gap:
            continue
        if "/command/" in each[1] and each[0] > SECONDS:
            out += [late for kept in held.values() for late in kept]  # what is left, before the end
        out.append(each)
        if each[0] > begin_s + lasts_s + 2.0 and each[1] in held:
            out += held[each[1]][:rate]
            del held[each[1]][:rate]
    return out


def steps_of(found: dict[str, tuple[object, ...]]) -> dict[str, int]:
    """Return the steps of each athlete's summary."""
    return {athlete: summary.steps for athlete, (_, summary, *_) in found.items()}  # type: ignore[attr-defined]


def delays(seed: int) -> list[float]:
    """A delay of each message: a few devices' stretches that come late as a whole, and single ones."""
    random = Random(seed)
    own = [0.0] * len(messages())
    topics = sorted({topic for _, topic, _ in messages()})
    for _ in range(random.randrange(5)):
        topic, begin_s, lasts_s = random.choice(topics), random.uniform(0, SECONDS), random.uniform(0, 25)
        for i, (due_s, of, _) in enumerate(messages()):
            if of == topic and begin_s <= due_s < begin_s + lasts_s:
                own[i] = begin_s + lasts_s - due_s
    share, most_s = random.choice([0.0, 0.02, 0.3]), random.uniform(0.1, 28)
    return [each or (random.uniform(0, most_s) if random.random() < share else 0.0) for each in own]


def test_in_order_there_is_something_to_compare() -> None:
    for laps, summary, *_ in in_order().values():
        assert len(laps) == 2  # type: ignore[arg-type]
        assert summary is not None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 7, 500]))
def test_any_order_within_the_window_gives_the_totals_of_in_order(seed: int, tick: int) -> None:
    told = played(by_time(delays(seed)), tick=tick)
    assert results(told) == in_order()
    assert numbered(told)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 7, 500]))
def test_imu_packets_mixed_within_their_wait_give_the_totals_of_in_order(seed: int, tick: int) -> None:
    ordered = by_time([0.0] * len(messages()))
    mixed = shuffled(ordered, seed)
    assert mixed != ordered
    assert results(played(mixed, tick=tick)) == in_order()
    assert results(played(shuffled(by_time(delays(seed)), seed), tick=tick)) == in_order()


@settings(max_examples=4, deadline=None)
@given(st.integers(5, 12), st.integers(2, 15), st.integers(1, 20), st.sampled_from([7, 500]))
def test_imu_packets_that_come_behind_newer_ones_are_counted(
    begin_s: int, lasts_s: int, rate: int, tick: int
) -> None:
    order = behind(begin_s, lasts_s, rate)
    assert sorted(order) == sorted(messages())
    told = played(order, tick=tick)
    assert numbered(told)
    found = steps_of(results(told))
    for athlete, steps in steps_of(in_order()).items():
        assert abs(found[athlete] - steps) <= 5  # what begins a gait anew is told once it is sure


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 40]))
def test_what_is_late_by_less_than_a_step_gives_the_totals_of_in_order(seed: int, tick: int) -> None:
    random = Random(seed)
    own = [random.uniform(0, 0.9) if random.random() < 0.5 else 0.0 for _ in messages()]
    assert results(played(by_time(own), tick=tick)) == in_order()


def test_without_rewinds_the_order_matters() -> None:
    late = [20.0 if topic.endswith("/gnss") else 0.0 for _, topic, _ in messages()]
    assert results(played(by_time(late), rewind_s=0.0)) != in_order()
    assert results(played(by_time(late))) == in_order()
