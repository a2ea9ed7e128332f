"""Further connections that only publish: what is live of many athletes does not wait in one line.

A broker takes its connections in turn. mosquitto takes one packet of each that has any; where thousands of
devices have one ready, the updates of a tick would wait for a turn each. So there is a further connection for
every few hundred athletes. What has one topic goes by one connection, and keeps its order; what is retained
or of QoS 1 goes by the first one, which alone listens. While a further connection is broken the first one
does its work, and what it still held is dropped: it would arrive after what is newer.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Sequence

from server.envelopes import Outgoing
from server.errors import BrokerError
from server.mqtt import Link

ATHLETES_EACH = 250
CONNECTIONS_MAX = 8


class Publishers:
    """The link and what helps it to publish.

    Parameters
    ----------
    link : Link
        The first connection, entered and left by somebody else.
    further : callable
        Makes the link of a further connection, by its number.

    Attributes
    ----------
    link : Link
        The first connection.
    """

    def __init__(self, link: Link, further: Callable[[int], Link]) -> None:
        self.link = link
        self._make = further
        self._further: list[Link] = []
        self._warned = False
        self._exits = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Publishers":
        """Open nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send what is left, and close the further connections."""
        await self._exits.aclose()

    @property
    def sent(self) -> int:
        """Messages that went out."""
        return sum(each.sent for each in (self.link, *self._further))

    @property
    def unsent(self) -> int:
        """Messages that had to make room for newer ones, or outlived their use."""
        return sum(each.dropped + each.stale for each in (self.link, *self._further))

    async def suffice(self, athletes: int) -> None:
        """Open as many connections as so many athletes ask for; none is closed again."""
        while len(self._further) < min(athletes // ATHLETES_EACH, CONNECTIONS_MAX):
            link = self._make(len(self._further) + 1)
            await link.__aenter__()
            self._exits.push_async_callback(_leave, link)
            self._further.append(link)
        if not self._warned and any(each.ended for each in self._further):
            self._warned = True
            print(
                "kinefuse: the broker refuses further connections: one does it all",
                file=sys.stderr,
                flush=True,
            )

    def publish_all(self, messages: Iterable[Outgoing]) -> None:
        """Hand over what a tick gave, at once."""
        if not self._further:
            self.link.publish_all(messages)
            return
        parts: list[list[Outgoing]] = [[] for _ in self._further]
        first: list[Outgoing] = []
        for each in messages:
            is_live = not (each.qos or each.retain)
            (parts[hash(each.topic) % len(parts)] if is_live else first).append(each)
        for link, part in zip(self._further, parts, strict=True):
            if part and link.connected:
                link.publish_all(part)
            else:
                first += part
        if first:
            self.link.publish_all(first)

    def publish_frames(self, frames: bytes, causes_ns: Sequence[int], lane: int) -> None:
        """Hand over frames of QoS 0; those of one lane keep their order."""
        link = self._further[lane % len(self._further)] if self._further else self.link
        (link if link.connected else self.link).publish_frames(frames, causes_ns)


async def _leave(link: Link) -> None:
    """Leave a further connection; that the broker refused it is no error of the server."""
    with contextlib.suppress(BrokerError):
        await link.__aexit__(None, None, None)
