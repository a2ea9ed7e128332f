"""What is on its way out: publications one by one, and live ones of a tick as frames, joined."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from server import frames
from server.envelopes import Chunk, Incoming, Outgoing
from server.frames import Splitter, Topics

BUNDLE_BYTES: Final = 64 * 1024  # from so many on what follows is another bundle


class Publication(NamedTuple):
    """A message to send; ``put_ns`` is when it was put into the outbox, ``caused_ns`` its cause's arrival."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    put_ns: int
    caused_ns: int = 0

    @property
    def causes_ns(self) -> tuple[int, ...]:
        """As those of `Bundle`."""
        return (self.caused_ns,)


class Bundle(NamedTuple):
    """Messages of QoS 0 that are frames already, one behind the other, with the arrivals of their causes."""

    frames: bytes
    causes_ns: tuple[int, ...]
    put_ns: int
    qos: int = 0
    retain: bool = False

    def publications(self) -> list[Publication]:
        """Return the messages one by one."""
        splitter = Splitter(Topics(), frames.PAYLOAD_BYTES_MAX)
        messages: list[Incoming] = []
        rest = self.frames
        while rest:
            split = splitter.split(rest, 0, len(rest))
            messages += Chunk(rest, split.frames, 0, 0).messages()
            rest = rest[split.consumed :]
        return [
            Publication(each.topic, each.payload, 0, each.retained, self.put_ns, caused_ns)
            for each, caused_ns in zip(messages, self.causes_ns, strict=True)
        ]


Sendable = Publication | Bundle


def bundled(messages: Iterable[Outgoing], put_ns: int) -> Iterator[Sendable]:
    """Yield messages as they wait to be sent: what follows one another, and is live, as bundles."""
    live: list[tuple[str, bytes, bool]] = []
    causes_ns: list[int] = []
    size = 0
    for topic, payload, qos, retain, caused_ns in messages:
        if live and (qos or retain or size >= BUNDLE_BYTES):
            yield Bundle(frames.publish(live), tuple(causes_ns), put_ns)
            live, causes_ns, size = [], [], 0
        if qos or retain:
            yield Publication(topic, payload, qos, retain, put_ns, caused_ns)
        else:
            live.append((topic, payload, False))
            causes_ns.append(caused_ns)
            size += len(payload)
    if live:
        yield Bundle(frames.publish(live), tuple(causes_ns), put_ns)


def encoded(publications: Sequence[Sendable]) -> Iterator[bytes]:
    """Yield the frames of publications of QoS 0."""
    for each in publications:
        if isinstance(each, Bundle):
            yield each.frames
        else:
            yield frames.publish([(each.topic, each.payload, each.retain)])
