"""Plain low-rate messages that come as frames of a chunk: what becomes of them."""

import json
from collections.abc import Callable

from server.codecs import samples
from server.config import Config, Server
from server.engine import Engine
from server.envelopes import Chunk, Incoming
from server.frames import PAYLOAD_BYTES_MAX, Splitter, publish
from server.late import Entry
from server.messages import HeartRate

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
    assert looked == payloads
    assert one.registry.devices["strap"].refused == {"duplicate": 2}


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


def test_a_stale_message_is_kept_as_it_came() -> None:
    one = engine()
    for second in range(1, 60):
        send(one, [beat(T0 + second * S)], T0 + second * S)
    late = beat(T0 - 5 * S, bpm=99)
    send(one, [beat(T0 + 60 * S), late, beat(T0 + 60 * S + 1)], T0 + 60 * S)
    assert one.late.take() == ([Entry(T0 + 60 * S, TOPIC, "stale", late)], 0)
