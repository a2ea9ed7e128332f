"""What crosses the seam between asyncio and the engine: messages in, messages out, both with their times."""

from typing import NamedTuple


class Incoming(NamedTuple):
    """A message as it came from the broker."""

    topic: str
    payload: bytes
    retained: bool
    arrived_ns: int  # UTC, ns
    received_ns: int  # monotonic, ns


class Outgoing(NamedTuple):
    """A message to publish. ``caused_ns``: monotonic arrival of the packet that caused it; 0: none did."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    caused_ns: int = 0
