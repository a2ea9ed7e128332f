"""The bounded reader: reads an MQTT socket in place of paho, which is handed all but what is published.

A wake-up reads at most `READ_BYTES_MAX`, so the loop is never starved, and gives the PUBLISH frames that it
brought as one `Chunk`. What the kernel holds meanwhile is TCP's to push back. Where messages are many the
socket is looked at every `PACE_S` only: a wake-up costs more than fifty messages do. Where they are few it
is read at once, so that stamps of arrival are exact.

All other frames go to paho through its own ``loop_read``: connecting, subscribing, pings, confirmations and
their failures stay its own. It also learns of the end of the stream there, and of what is malformed.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from server import frames
from server.clock import Clock
from server.envelopes import Chunk
from server.frames import Split, Splitter

READ_BYTES_MAX = 256 * 1024
READS_MAX = 16  # of a reading that is asked for
PACE_S = 0.005
QUIET_HZ = 200  # messages a second that are read one by one,
QUIET_BURST = 16  # and how many may come at once


class Reader:
    """Reads the socket of one connection.

    Parameters
    ----------
    client : paho.mqtt.client.Client
        Gets the frames that are not ours; its ``_sock_recv`` is replaced.
    splitter : Splitter
        Splits.
    clock : Clock
        Stamps arrivals.
    number : int
        Of the connection; each chunk carries it.
    take : callable
        Called with each chunk.
    refuse : callable
        Called with the packet id (0: QoS 0) of each message that was too large.
    fail : callable
        Called with what ended the reading, where paho does not see to it.

    Attributes
    ----------
    fault : str
        What the broker sent that ends the connection, once it did.
    """

    def __init__(
        self,
        client: Any,
        splitter: Splitter,
        clock: Clock,
        number: int,
        *,
        take: Callable[[Chunk], None],
        refuse: Callable[[int], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self.fault = ""
        self._client = client
        self._splitter = splitter
        self._clock = clock
        self._number = number
        self._take = take
        self._refuse = refuse
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._sock: Any = None
        self._fd = -1
        self._timer: asyncio.Handle | None = None  # while the socket is not watched
        self._recent = 0.0  # messages of late, see QUIET_HZ
        self._read_ns = 0
        self._buffer = bytearray(READ_BYTES_MAX)
        self._held = 0  # bytes at its start: a frame that is not whole
        self._skip = 0  # bytes to come of a message that is too large
        self._controls = bytearray()  # whole frames for paho
        self._end: OSError | None = None
        client._sock_recv = self._recv

    def open(self, sock: Any) -> None:
        """Watch a socket; whoever watched it before does no more."""
        self._fd = sock.fileno()
        if self._fd >= 0:  # else it was closed before the loop came to it
            self._sock = sock
            self._loop.add_reader(self._fd, self._wake)

    def close(self) -> None:
        """Look at the socket no more; it is about to be closed."""
        self._sock = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def read(self) -> None:
        """Read what has come by now, for somebody who is about to work on it; a bounded amount."""
        more = False
        for _ in range(READS_MAX):
            if self._sock is None:
                return
            count, more = self._take_in()
            if not count:
                break
        if more and self._sock is not None and self._timer is None:  # no poll tells of it
            self._loop.remove_reader(self._fd)
            self._timer = self._loop.call_later(0.0, self._wake)

    def _wake(self) -> None:
        """Read what has come, and settle when to look again."""
        if self._sock is None:
            return
        count, more = self._take_in()
        if self._sock is not None:
            self._pace(count, self._clock.monotonic_ns(), more)

    def _take_in(self) -> tuple[int, bool]:
        """Read once; return how many messages that brought, and whether TLS holds more."""
        arrived_ns, received_ns = self._clock.utc_ns(), self._clock.monotonic_ns()
        more = False
        count = 0
        try:
            skipped, stop, more = self._receive()
            if stop > skipped:
                count = self._split(skipped, stop, arrived_ns, received_ns)
            self._feed()
        except Exception as error:  # nobody would hear of it: this is a callback of the loop
            self._loop.remove_reader(self._fd)
            self.close()
            self._fail(error)
        return count, more

    def _receive(self) -> tuple[int, int, bool]:
        """Read into the buffer; return the range of what is to be split, and whether TLS holds more."""
        at = self._held
        room = min(READ_BYTES_MAX, len(self._buffer) - at)
        sock, more = self._sock, False
        is_tls = isinstance(sock, ssl.SSLSocket)
        with memoryview(self._buffer) as view:
            try:
                while room:
                    count = sock.recv_into(view[at : at + room])
                    if count == 0:
                        self._end = ConnectionResetError("the end of the stream")
                        break
                    at, room = at + count, room - count
                    if not is_tls:  # which gives a record at a time, often one message,
                        break
                    more = sock.pending() > 0  # and may hold decoded bytes, of which no poll tells
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
                more = False
            except ssl.SSLWantWriteError:
                more = True
            except OSError as error:
                self._end = error
        skipped = min(self._skip, at)
        self._skip -= skipped
        return skipped, at, more

    def _split(self, start: int, stop: int, arrived_ns: int, received_ns: int) -> int:
        """Give away what is whole, keep what is not; return how many messages there were."""
        count = 0
        while True:
            split = self._splitter.split(self._buffer, start, stop)
            end = start + split.consumed
            count += len(split.frames)
            if len(split.frames):
                data = bytes(memoryview(self._buffer)[start:end])
                self._take(Chunk(data, split.frames, arrived_ns, received_ns, self._number))
            for offset, length in split.controls:
                self._controls += self._buffer[start + offset : start + offset + length]
            start = end
            if split.status == frames.OVERSIZE:
                self._refuse(split.packet_id)
                count += 1
                start = min(stop, end + split.oversize)
                self._skip = end + split.oversize - start
            elif split.status in frames.MALFORMED:
                self.fault = f"the broker sent a malformed frame: {frames.MALFORMED[split.status]}"
                self._end = ConnectionAbortedError(self.fault)
                start = stop
            elif split.status == frames.DONE:
                break
        self._keep(start, stop, split)
        return count

    def _keep(self, start: int, stop: int, split: Split) -> None:
        """Move what is not whole to the buffer's start; the buffer is as large as that needs, no larger."""
        self._held = stop - start
        size = max(READ_BYTES_MAX, split.needed)
        if size != len(self._buffer):
            rest = self._buffer[start:stop]
            self._buffer = bytearray(size)
            self._buffer[: len(rest)] = rest
        elif start and self._held:
            self._buffer[: self._held] = self._buffer[start:stop]

    def _feed(self) -> None:
        """Let paho read what is its own."""
        while self._sock is not None and (self._controls or self._end is not None):
            before = len(self._controls)
            try:
                self._client.loop_read()
            except Exception as error:  # the connection's end, as aiomqtt takes it
                self.fault = f"{type(error).__name__}: {error}"
                raise
            if len(self._controls) == before:
                return

    def _recv(self, limit: int) -> bytes:
        """Return bytes as paho's ``_sock_recv`` does: without waiting, or the end."""
        if self._controls:
            data = bytes(self._controls[:limit])
            del self._controls[:limit]
            return data
        if self._end is not None:
            raise self._end
        raise BlockingIOError

    def _pace(self, count: int, now_ns: int, more: bool) -> None:
        """Settle when the socket is looked at again: when it has something, or in a while."""
        passed_s = (now_ns - self._read_ns) * 1e-9
        self._read_ns = now_ns
        self._recent = max(0.0, self._recent - passed_s * QUIET_HZ)
        self._recent = min(self._recent + count, 2.0 * QUIET_BURST)
        is_busy = self._recent > QUIET_BURST
        if is_busy or more:
            if self._timer is None:
                self._loop.remove_reader(self._fd)
            self._timer = self._loop.call_later(PACE_S if is_busy else 0.0, self._wake)
        elif self._timer is not None:
            self._timer = None
            self._loop.add_reader(self._fd, self._wake)
