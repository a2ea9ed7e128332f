"""What crosses the seam between asyncio and the engine: messages in, messages out, both with their times."""

from collections.abc import Iterator
from typing import NamedTuple

from fusion.measurements import Records

RETAINED = 1  # of a frame's flags


class Incoming(NamedTuple):
    """A message as it came from the broker."""

    topic: str
    payload: bytes
    retained: bool
    arrived_ns: int  # UTC, ns
    received_ns: int  # monotonic, ns


class Chunk(NamedTuple):
    """Messages that one read of the socket gave, in their order, as they lie in its bytes."""

    data: bytes
    frames: Records  # (n,) kf_frame of csrc/kinefuse.h: where topic and payload lie, and whose they are
    arrived_ns: int  # UTC, ns
    received_ns: int  # monotonic, ns

    def message(self, index: int) -> Incoming:
        """Return one of them; a topic that is not UTF-8 has replacement characters, which no topic has."""
        start, length, at, size, _, _, flags, _ = self.frames[index].tolist()
        topic = self.data[start : start + length].decode("utf-8", "replace")
        retained = bool(flags & RETAINED)
        return Incoming(topic, self.data[at : at + size], retained, self.arrived_ns, self.received_ns)

    def messages(self) -> Iterator[Incoming]:
        """Yield all of them."""
        return map(self.message, range(len(self.frames)))


class Outgoing(NamedTuple):
    """A message to publish. ``caused_ns``: monotonic arrival of the packet that caused it; 0: none did."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    caused_ns: int = 0
