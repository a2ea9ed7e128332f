"""Several workers publish of each athlete what one engine does, and what they say survives any cut."""

from collections import defaultdict
from functools import cache

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from server.clock import SystemClock
from server.codecs import samples, sensor_logger
from server.codecs.sensor_logger import Reading
from server.config import Athlete, Config, Device
from server.engine import Engine
from server.envelopes import Chunk, Incoming
from server.frames import PAYLOAD_BYTES_MAX, Splitter, Topics, publish
from server.messages import Birth, Clock, Command, HeartRate
from server.workers.pipe import Framing, framed
from server.workers.routing import Router, family
from server.workers.wire import Answer, Tick, decode_for_parent, decode_for_worker, encode
from server.workers.worker import Bench
from simulators.rehearsal import START_NS, cast, config

ROOT = "kinefuse/v1"
S = 1_000_000_000
SECONDS = 6
TICK_NS = 50_000_000
WORKERS = 3

IDS = st.text("abc-watch", min_size=1, max_size=64)


@given(st.lists(st.binary(max_size=300), max_size=12), st.data())
def test_messages_are_found_wherever_the_stream_is_cut(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(framed, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    framing = Framing()
    found = [
        message
        for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for message in framing.feed(stream[a:b])
    ]
    assert found == messages


@given(IDS)
def test_a_watch_meets_its_phone(phone: str) -> None:
    router = Router(Config(), WORKERS)
    if not phone.endswith("-watch") and not phone[:58].endswith("-watch"):
        assert family(sensor_logger.watch_of(phone)) == family(phone)
        assert router.worker(sensor_logger.watch_of(phone)) == router.worker(phone)


@given(st.lists(st.tuples(IDS, st.lists(IDS, max_size=4)), max_size=12, unique_by=lambda each: each[0]))
def test_all_of_one_athlete_meet(athletes: list[tuple[str, list[str]]]) -> None:
    worn: set[str] = set()
    chosen = []
    for athlete, ids in athletes:
        chosen.append(Athlete(id=athlete, devices=[Device(id=each) for each in ids if each not in worn]))
        worn.update(ids)
    router = Router(Config(athletes=chosen), WORKERS)
    shares = router.configs()
    assert sorted(each.id for share in shares for each in share.athletes) == sorted(a.id for a in chosen)
    for worker, share in enumerate(shares):
        for each in share.athletes:
            assert router.route(f"{ROOT}/command/{each.id}", b"") == worker
            for device in each.devices:
                assert router.route(f"{ROOT}/in/{device.id}/hr", b"") == worker
                phone = sensor_logger.encode(device=device.id, session="s", message_id=1, readings=[])
                assert router.route("sensor-logger", phone) == worker
                assert router.route("sensor-logger", phone[:-1]) == 0


@cache
def messages() -> tuple[Incoming, ...]:
    """The demo's athletes, a phone with a watch, a recording, and what is malformed."""
    out: list[tuple[float, str, bytes]] = []
    for athlete in cast("demo"):
        for device in athlete.devices:
            out.append((0.0, f"{ROOT}/in/{device.id}/status", device.birth(0.0)))
            out += [
                (message.due_s, f"{ROOT}/{message.topic}", message.payload)
                for second in range(SECONDS)
                for message in device.second(second)
            ]
    for second in range(SECONDS):
        t_ns = START_NS + second * S
        kinds = ("rotationRate", "gravity", "acceleration")
        motion = {f"{kind}{axis}": 0.1 for kind in kinds for axis in "XYZ"}
        readings = [Reading("heartrate", t_ns, {"bpm": 80 + second}), Reading("wristmotion", t_ns, motion)]
        phone = sensor_logger.encode(device="phone", session="s", message_id=second, readings=readings)
        out.append((second + 0.2, "sensor-logger", phone))
        beat = samples.encode(HeartRate(bpm=90.0 + second, t=second * S))
        out.append((second + 0.3, f"{ROOT}/in/recorder/hr", beat))
    out += [
        (0.1, f"{ROOT}/in/recorder/status", samples.encode(Birth(clock=Clock(recorded=True)))),
        (1.1, f"{ROOT}/command/runner", samples.encode(Command("lap", "lap"))),
        (1.2, f"{ROOT}/command/nobody", samples.encode(Command("lap", "lap"))),
        (2.5, f"{ROOT}/command/rider", samples.encode(Command("stop", "stop"))),
        (3.1, f"{ROOT}/in/runner/hr", b'{"bpm": 61}'),
        (3.2, "sensor-logger", b"{"),
        (3.3, f"{ROOT}/in/a/b/c", b"{"),
        (3.4, f"{ROOT}/in/runner-chest/imu", b"K nonsense"),
    ]
    out.sort(key=lambda each: each[0])
    times = [START_NS + round(due_s * 1e9) for due_s, _, _ in out]
    return tuple(
        Incoming(topic, payload, False, t_ns, t_ns - START_NS + S)
        for t_ns, (_, topic, payload) in zip(times, out, strict=True)
    )


def ticks() -> list[tuple[int, list[Incoming]]]:
    """Return the messages tick by tick, with the time of each tick's end; some ticks have none."""
    waiting = list(messages())
    found = []
    for number in range(round(SECONDS * S / TICK_NS) + 40):
        until_ns = START_NS + (number + 1) * TICK_NS
        part = [each for each in waiting if each.arrived_ns <= until_ns]
        waiting = waiting[len(part) :]
        found.append((until_ns, part))
    return found


def chunk_of(topics: Topics, part: list[Incoming]) -> Chunk:
    """Return messages as one read gives them."""
    data = publish((each.topic, each.payload, each.retained) for each in part)
    split = Splitter(topics, PAYLOAD_BYTES_MAX).split(data, 0, len(data))
    assert split.consumed == len(data)
    return Chunk(data, split.frames, part[-1].arrived_ns, part[-1].received_ns)


def unfold(answer: Answer) -> list[tuple[str, bytes]]:
    """Return what an answer publishes."""
    found = []
    data = answer.frames
    if data:
        split = Splitter(Topics(), PAYLOAD_BYTES_MAX).split(data, 0, len(data))
        assert len(split.frames) == len(answer.caused_ns)
        found = [(each.topic, each.payload) for each in Chunk(data, split.frames, 0, 0).messages()]
    return found + [(topic, payload) for topic, payload, _, _ in answer.assured]


def by_topic(out: list[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    """Return what is published of workouts, by topic. Of devices it is said when the look comes to them."""
    found = defaultdict(list)
    for topic, payload in out:
        if "/devices/" not in topic:
            found[topic].append(payload)
    return dict(found)


def alone() -> tuple[dict[str, list[bytes]], Engine]:
    """Return what one engine publishes."""
    engine = Engine(config("demo"), lambda: 0)
    out = []
    for now_ns, part in ticks():
        said = engine.advance([chunk_of(engine.topics, part)] if part else [], now_ns)
        while engine.behind:
            said += engine.advance([], now_ns)
        out += [(each.topic, each.payload) for each in said]
    return by_topic(out), engine


class Still(SystemClock):
    """A clock that stands: nothing that is compared depends on it."""

    def monotonic_ns(self) -> int:
        return 0


@settings(max_examples=3, deadline=None)
@given(st.integers(1, 4), st.booleans())
def test_workers_publish_what_one_engine_does(workers: int, one_by_one: bool) -> None:
    expected, engine = alone()
    router = Router(config("demo"), workers)
    benches = [Bench(each, Still()) for each in router.configs()]
    out: list[tuple[str, bytes]] = []
    refused: dict[str, int] = {}
    for number, (now_ns, part) in enumerate(ticks()):
        told: list[list[tuple[bytes, int, int]]] = [[] for _ in benches]
        if part:
            chunk = chunk_of(router.topics, part)
            at = part[-1]
            single = [each._replace(arrived_ns=at.arrived_ns, received_ns=at.received_ns) for each in part]
            arrivals: list[Incoming | Chunk] = [*single] if one_by_one else [chunk]
            for arrival in arrivals:
                for worker, own in router.parts(arrival):
                    told[worker].append((own.data, own.arrived_ns, own.received_ns))
        for worker, bench in enumerate(benches):
            tick = decode_for_worker(encode(Tick(number + 1, 0, told[worker])))
            assert isinstance(tick, Tick)
            answers = [bench.work([tick], now_ns)]
            while bench.engine.behind:
                answers.append(bench.work([], now_ns))
            for answer in answers:
                same = decode_for_parent(encode(answer))
                assert isinstance(same, Answer)
                out += unfold(same)
                for device in same.enrolled:
                    router.enrolled(device)
    for bench in benches:
        for reason, count in bench.engine.health.refused().items():
            refused[reason] = refused.get(reason, 0) + count
    assert by_topic(out) == expected
    assert refused == engine.health.refused()
    assert len(router.topics) == len(engine.registry.devices)
    devices = [device.id for bench in benches for device in bench.engine.registry.device_rows]
    assert sorted(devices) == sorted(engine.registry.devices)
    lives = [topic for topic in expected if topic.endswith("/live")]
    assert len(lives) >= 6
    assert msgspec.json.decode(expected[lives[0]][-1])["metrics"]
