"""The readable twin of csrc/order.c: which IMU packets go on, and when, event by event."""

from bisect import insort
from dataclasses import dataclass, field
from typing import NamedTuple

from fusion._core import lib

HALF = 2**31


class Arrival(NamedTuple):
    """An IMU packet, or something else that arrived: a sample, a status."""

    number: int  # names it
    device: int
    arrived_ns: int
    kind: str = "imu"  # or sample, status, malformed, large
    boot: int = 0
    seq: int = 0


@dataclass
class Stream:
    """What is known of a device's packets."""

    recorded: bool
    boot: int | None = None
    boot_before: int | None = None
    seq: int | None = None  # of the newest that went on
    vain: int = 0
    waiting: list[Arrival] = field(default_factory=list)  # by seq

    def ahead(self, seq: int) -> int:
        """Return by how much seq is ahead of the newest, negative where it is behind."""
        assert self.seq is not None
        return (seq - self.seq + HALF) % (2 * HALF) - HALF


class Order:
    """All devices' packets."""

    def __init__(self, recorded: list[bool]) -> None:
        self.streams = [Stream(each) for each in recorded]
        self.out: list[int] = []

    def take(self, arrival: Arrival) -> None:
        """Take what arrived next."""
        self.end_waits(arrival.arrived_ns)
        stream = self.streams[arrival.device]
        if arrival.kind == "status":
            self._release(stream, len(stream.waiting))
        elif arrival.kind == "sample":
            self.out.append(arrival.number)
        elif arrival.kind == "malformed":
            self._release(stream, len(stream.waiting))
            stream.seq = None
            self.out.append(arrival.number)
        elif arrival.boot == stream.boot_before and arrival.boot != stream.boot:
            self.out.append(arrival.number)
        else:
            self._packet(stream, arrival)

    def end_waits(self, now_ns: int) -> None:
        """End the waits that are over, in the order of arrival."""
        everybody = sorted((each.number, each, s) for s in self.streams for each in s.waiting)
        for _, each, stream in everybody:
            wait_ns = lib.KF_ORDER_RECORDED_NS if stream.recorded else lib.KF_ORDER_WAIT_NS
            if each in stream.waiting and each.arrived_ns + wait_ns <= now_ns:
                self._give_up(stream, stream.waiting.index(each) + 1)

    def _packet(self, stream: Stream, arrival: Arrival) -> None:
        if arrival.boot != stream.boot:
            self._release(stream, len(stream.waiting))
            stream.boot_before, stream.boot = stream.boot, arrival.boot
            stream.seq = -1 if arrival.seq <= lib.KF_ORDER_PACKETS else arrival.seq - 1
        elif stream.seq is None:
            stream.seq = arrival.seq - 1
        ahead = stream.ahead(arrival.seq)
        if ahead > 1 and arrival.kind != "large" and stream.vain < lib.KF_ORDER_VAIN:
            insort(stream.waiting, arrival, key=lambda each: stream.ahead(each.seq))
            if len(stream.waiting) > lib.KF_ORDER_PACKETS:
                self._give_up(stream, 1)
            return
        if ahead < 0 or (ahead == 1 and stream.waiting):
            stream.vain = 0
        self._release(stream, sum(stream.ahead(each.seq) < ahead for each in stream.waiting))
        if ahead > 0:
            stream.seq = arrival.seq
        self.out.append(arrival.number)
        self._follow(stream)

    def _give_up(self, stream: Stream, count: int) -> None:
        stream.vain += 1
        self._release(stream, len(stream.waiting) if stream.vain >= lib.KF_ORDER_VAIN else count)
        self._follow(stream)

    def _follow(self, stream: Stream) -> None:
        while stream.waiting and stream.ahead(stream.waiting[0].seq) <= 1:
            self._release(stream, 1)

    def _release(self, stream: Stream, count: int) -> None:
        for each in stream.waiting[:count]:
            self.out.append(each.number)
            if stream.ahead(each.seq) > 0:
                stream.seq = each.seq
        del stream.waiting[:count]
