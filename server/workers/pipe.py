"""Messages over a stream socket between two processes: length, then bytes. Nobody waits for the other."""

import asyncio
import socket
from typing import Final, Self, cast

MESSAGE_BYTES_MAX: Final = 2**30
HIGH_WATER: Final = 8 * 2**20  # bytes that wait to be written: who heeds `clear` goes no further
_HEAD: Final = 4


class Framing:
    """Finds messages in a stream that is cut anywhere."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are whole now.

        Raises
        ------
        ValueError
            A message is longer than any can be: the stream cannot be trusted.
        """
        held = self._held
        held += data
        found: list[bytes] = []
        at = 0
        while len(held) - at >= _HEAD:
            stop = at + _HEAD + int.from_bytes(held[at : at + _HEAD], "little")
            if stop - at > MESSAGE_BYTES_MAX:
                raise ValueError(f"a message of {stop - at} bytes")
            if stop > len(held):
                break
            found.append(bytes(memoryview(held)[at + _HEAD : stop]))
            at = stop
        if at:
            del held[:at]
        return found


def framed(message: bytes) -> bytes:
    """Return a message as it goes over the stream."""
    return len(message).to_bytes(_HEAD, "little") + message


class Pipe(asyncio.Protocol):
    """One end.

    What was received waits for who asks, without bound: who sends waits for answers before it sends more.

    Attributes
    ----------
    ended : asyncio.Event
        Set once the other end is gone.
    clear : asyncio.Event
        Set while less than `HIGH_WATER` waits to be written.
    """

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.clear = asyncio.Event()
        self.clear.set()
        self._arrived = asyncio.Event()
        self._received: list[bytes] = []
        self._framing = Framing()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def over(cls, sock: socket.socket) -> Self:
        """Return the end that a connected socket is."""
        _, pipe = await asyncio.get_running_loop().create_connection(cls, sock=sock)
        return pipe

    def send(self, message: bytes) -> None:
        """Send a message, at once; to who is gone, nothing."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed(message))

    def take(self) -> list[bytes]:
        """Return what was received, at once, perhaps nothing."""
        received, self._received = self._received, []
        if not self.ended.is_set():
            self._arrived.clear()
        return received

    async def receive(self) -> list[bytes]:
        """Wait for messages; nothing means that the other end is gone."""
        await self._arrived.wait()
        return self.take()

    def close(self) -> None:
        """Send what waits, and leave."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        found = self._framing.feed(data)
        if found:
            self._received += found
            self._arrived.set()

    def pause_writing(self) -> None:
        """Much waits to be written."""
        self.clear.clear()

    def resume_writing(self) -> None:
        """It waits no more."""
        self.clear.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (why does not matter: it is gone)
        """End."""
        self.ended.set()
        self._arrived.set()
        self.clear.set()
