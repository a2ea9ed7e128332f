"""Plain low-rate messages that come as frames of a chunk: what becomes of them."""

import json
from collections.abc import Callable

import numpy as np

from server.codecs import imu, samples
from server.config import Config, Server
from server.engine import Engine
from server.envelopes import Chunk, Incoming
from server.frames import PAYLOAD_BYTES_MAX, Splitter, publish
from server.late import Entry
from server.messages import Battery, HeartRate
from server.overload import DROP_NS, MODES

S = 1_000_000_000
T0 = 1_790_000_000 * S
TOPIC = "kinefuse/v1/in/strap/hr"


def engine() -> Engine:
    """An engine to which a strap has spoken."""
    one = Engine(Config(server=Server(state_dir="/var/lib/kinefuse")), lambda: 0)
    one.advance([Incoming(TOPIC, beat(T0), False, T0, 0)], T0)
    return one


def beat(t_ns: int, bpm: float = 120) -> bytes:
    return samples.encode(HeartRate(t=t_ns, bpm=bpm))


def send(one: Engine, payloads: list[bytes], at_ns: int) -> None:
    """Have messages arrive by one read of the socket."""
    data = publish((TOPIC, payload, False) for payload in payloads)
    split = Splitter(one.topics, PAYLOAD_BYTES_MAX).split(data, 0, len(data))
    assert (split.frames["device"] == one.registry.devices["strap"].row).all()
    one.advance([Chunk(data, split.frames, at_ns, 0)], at_ns)


def looked_at(one: Engine) -> list[bytes]:
    """Return the payloads, in their order, of the messages that are looked at one by one from now on."""
    found: list[bytes] = []
    look: Callable[[Incoming, int], None] = one.ingest._message

    def noted(message: Incoming, number: int) -> None:
        found.append(message.payload)
        look(message, number)

    one.ingest._message = noted  # type: ignore[method-assign]
    return found


def test_plain_messages_of_a_known_device_are_not_looked_at_one_by_one() -> None:
    one = engine()
    looked = looked_at(one)
    send(one, [beat(T0 + n * S // 10) for n in range(1, 4)], T0 + S)
    assert looked == []
    assert one.registry.devices["strap"].packets == 4


def test_messages_of_a_device_that_sends_others_beside_are_taken_in_their_order() -> None:
    one = engine()
    looked = looked_at(one)
    first, second = ({"t": T0 + n * S // 10, "bpm": 120} for n in (1, 2))
    payloads = [json.dumps(each).encode() for each in (first, [first, second], second)]
    send(one, payloads, T0 + S)
    assert looked == [payloads[1]]
    assert one.registry.devices["strap"].refused == {"duplicate": 2}
    assert one.registry.devices["strap"].packets == 3


def test_what_came_before_is_refused_by_which_way_it_came_either_time() -> None:
    one = engine()
    send(one, [beat(T0), beat(T0 + S // 2), beat(T0 + S // 2)], T0 + S)
    one.advance([Incoming(TOPIC, beat(T0 + S // 2), False, T0 + S, 0)], T0 + S)
    assert one.registry.devices["strap"].refused == {"duplicate": 3}
    assert one.registry.devices["strap"].packets == 2


def test_a_strap_that_floods_is_held_to_its_rate() -> None:
    one = engine()
    send(one, [beat(T0 + n) for n in range(1, 1_102)], T0 + S)
    assert one.registry.devices["strap"].refused["flooding"] == 100
    send(one, [beat(T0 + 2 * S)], T0 + 2 * S)
    assert one.registry.devices["strap"].refused["flooding"] == 100


def test_a_device_is_held_to_its_rate_in_the_order_of_arrival_whatever_needs_a_look() -> None:
    one = engine()
    told: list[tuple[str, bytes, int]] = []
    for second in range(1, 31):
        told.append((TOPIC, beat(T0 + second * S), T0 + second * S))
        if second % 10 == 0:
            level = samples.encode(Battery(level=second / 100))
            told.append((TOPIC.replace("/hr", "/battery"), level, T0 + second * S))
    chunks: list[Incoming | Chunk] = []
    for topic, payload, at_ns in told:
        data = publish([(topic, payload, False)])
        frames = Splitter(one.topics, PAYLOAD_BYTES_MAX).split(data, 0, len(data)).frames
        chunks.append(Chunk(data, frames, at_ns, 0))
    one.advance(chunks, T0 + 30 * S)  # all in one tick, as after a halt
    assert one.registry.devices["strap"].refused == {}


def test_a_twin_in_json_beside_binary_packets_is_read_as_such() -> None:
    one = engine()
    topic = TOPIC.replace("/hr", "/imu")
    at_rest = np.tile([0.0, 0.0, 9.81], (10, 1))
    binary = imu.encode(accel_b=at_rest, gyro_b=np.zeros((10, 3)), boot=1, t0_ns=T0, seq=1, dt_ns=10_000_000)
    one.advance([Incoming(topic, binary, False, T0, 0)], T0)
    data = publish((topic, payload, False) for payload in (b"no packet", b""))
    frames = Splitter(one.topics, PAYLOAD_BYTES_MAX).split(data, 0, len(data)).frames
    one.advance([Chunk(data, frames, T0 + S, 0)], T0 + S)
    assert one.registry.devices["strap"].refused == {"json": 2}


def test_for_want_of_time_packets_of_motion_alone_are_dropped() -> None:
    one = engine()
    one.ladder.level = MODES.index("drop_oldest")
    send(one, [beat(T0 + n * S // 10) for n in range(1, 6)], T0 + S)
    data = publish([(TOPIC, beat(T0 + 2 * S), False)])
    frames = Splitter(one.topics, PAYLOAD_BYTES_MAX).split(data, 0, len(data)).frames
    one.advance([Chunk(data, frames, T0 + 2 * S, 0)], T0 + 2 * S + 10 * DROP_NS)
    assert one.registry.devices["strap"].packets == 7
    assert one.given_up["packets"] == 0


def test_a_stale_message_is_kept_as_it_came() -> None:
    one = engine()
    for second in range(1, 60):
        send(one, [beat(T0 + second * S)], T0 + second * S)
    late = beat(T0 - 5 * S, bpm=99)
    send(one, [beat(T0 + 60 * S), late, beat(T0 + 60 * S + 1)], T0 + 60 * S)
    assert one.late.take() == ([Entry(T0 + 60 * S, TOPIC, "stale", late)], 0)
