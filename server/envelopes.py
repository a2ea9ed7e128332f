"""What crosses the seam between asyncio and the engine: messages in, messages out, both with their times."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
        return _message(self.data, self.frames[index].item(), self.arrived_ns, self.received_ns)

    def messages(self) -> Iterator[Incoming]:
        """Yield the messages one by one."""
        times = repeat(self.arrived_ns), repeat(self.received_ns)
        return map(_message, repeat(self.data), self.frames.tolist(), *times)


class Stretch(NamedTuple):
    """Chunks that followed each other, as one; each message keeps the times of its own."""

    data: bytes
    frames: Records  # (n,) server.frames.FRAME
    arrived_ns: NDArray[np.int64]  # (n,)
    received_ns: NDArray[np.int64]  # (n,)

    @classmethod
    def of(cls, chunks: Sequence[Chunk]) -> "Stretch":
        """Return chunks, at least one, as one."""
        counts = [len(chunk.frames) for chunk in chunks]
        frames = np.empty(sum(counts), chunks[0].frames.dtype)
        begin = offset = 0
        for chunk, size in zip(chunks, counts, strict=True):
            part = frames[begin : begin + size]
            part[:] = chunk.frames
            part["topic"] += offset
            part["payload"] += offset
            begin, offset = begin + size, offset + len(chunk.data)
        times = np.array([(chunk.arrived_ns, chunk.received_ns) for chunk in chunks], np.int64)
        arrived_ns, received_ns = np.repeat(times, counts, axis=0).T
        return cls(b"".join(chunk.data for chunk in chunks), frames, arrived_ns, received_ns)

    def message(self, index: int) -> Incoming:
        """Return one of the messages."""
        times = int(self.arrived_ns[index]), int(self.received_ns[index])
        return _message(self.data, self.frames[index].item(), *times)

    def messages(self, places: NDArray[np.intp]) -> Iterator[Incoming]:
        """Yield the messages at these places: of many at a time, which is quicker."""
        frames, times = self.frames.take(places), (self.arrived_ns[places], self.received_ns[places])
        return map(_message, repeat(self.data), frames.tolist(), *(each.tolist() for each in times))


def _message(data: bytes, frame: tuple[int, ...], arrived_ns: int, received_ns: int) -> Incoming:
    """Return a message of a chunk. A topic that is no UTF-8 is none of ours, and may be mangled."""
    topic, topic_length, payload, payload_length, _, _, flags, _ = frame
    return Incoming(
        data[topic : topic + topic_length].decode(errors="replace"),
        data[payload : payload + payload_length],
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
