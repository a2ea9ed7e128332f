"""What crosses the seam between asyncio and the engine: messages in, messages out, both with their times."""

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import NamedTuple

from fusion.measurements import Records


class Incoming(NamedTuple):
    """A message as it came from the broker."""

    topic: str
    payload: bytes
    retained: bool
    arrived_ns: int  # UTC, ns
    received_ns: int  # monotonic, ns


class Chunk(NamedTuple):
    """The messages that one read of the socket gave, still as they came, with what each is and where.

    ``frames`` has dtype ``server.frames.FRAME``, shape (n,), offsets into ``data``, in order of arrival.
    """

    data: bytes
    frames: Records
    arrived_ns: int  # UTC, ns
    received_ns: int  # monotonic, ns
    connection: int = 0  # which of the link's connections it came by: only that one takes its acknowledgement

    def message(self, index: int) -> Incoming:
        """Return one of the messages."""
        return message_of(self.data, self.frames[index].item(), self.arrived_ns, self.received_ns)

    def messages(self) -> Iterator[Incoming]:
        """Yield the messages one by one."""
        times = repeat(self.arrived_ns), repeat(self.received_ns)
        return map(message_of, repeat(self.data), self.frames.tolist(), *times)


def message_of(
    data: bytes | bytearray, frame: tuple[int, ...], arrived_ns: int, received_ns: int
) -> Incoming:
    """Return a message of a chunk. A topic that is no UTF-8 is none of ours, and may be mangled."""
    topic, topic_length, payload, payload_length, _, _, flags, _ = frame
    return Incoming(
        data[topic : topic + topic_length].decode(errors="replace"),
        bytes(data[payload : payload + payload_length]),
        bool(flags & 1),
        arrived_ns,
        received_ns,
    )


Arrivals = Incoming | Chunk


def unfolded(arrivals: Iterable[Arrivals]) -> Iterator[Incoming]:
    """Yield the messages of arrivals one by one."""
    for each in arrivals:
        if isinstance(each, Chunk):
            yield from each.messages()
        else:
            yield each


def count(arrival: Arrivals) -> int:
    """Return how many messages an arrival holds."""
    return len(arrival.frames) if isinstance(arrival, Chunk) else 1


def size(arrival: Arrivals) -> int:
    """Return how many bytes an arrival holds."""
    if isinstance(arrival, Chunk):
        return len(arrival.data) + arrival.frames.nbytes
    return len(arrival.payload) + len(arrival.topic)


class Outgoing(NamedTuple):
    """A message to publish. ``caused_ns``: monotonic arrival of the packet that caused it; 0: none did."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    caused_ns: int = 0
