"""Pings to devices that answer them: from the round trip the constant delay of a device's link is known.

A device whose birth says ``"clock": {"pings": true}`` is asked, and one that sent a pong unasked. The first
pings follow one another quickly, once its clock is known from arrivals; later ones are few.
"""

import heapq
from typing import Final

from server.envelopes import Outgoing
from server.messages import Ping
from server.publications import encode
from server.registry import Device

FIRST_NS: Final = 5_000_000_000  # after it was found to answer
QUICK: Final = 5
QUICK_NS: Final = 1_000_000_000
EVERY_NS: Final = 10_000_000_000
SPREAD: Final = 100  # moments of a second, so that a tick never asks all devices of a fleet
KEPT: Final = 4  # pings of a device that may yet be answered
SILENT_NS: Final = 10_000_000_000


class Pings:
    """Whom to ask, when, and what was asked; one entry for each device that answers."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._due: list[tuple[int, int, int, Device]] = []  # UTC, row, how many were sent, device
        self._asked: dict[int, dict[str, int]] = {}  # by row: when each ping was sent, by its id

    def expect(self, device: Device, utc_ns: int) -> None:
        """Ask a device from now on."""
        if device.row not in self._asked:
            self._asked[device.row] = {}
            first_ns = utc_ns + FIRST_NS + device.row % SPREAD * (QUICK_NS // SPREAD)
            heapq.heappush(self._due, (first_ns, device.row, 0, device))

    def forget(self, device: Device) -> None:
        """Ask a device no more."""
        if self._asked.pop(device.row, None) is not None:
            self._due = [each for each in self._due if each[3] is not device]
            heapq.heapify(self._due)

    def due(self, utc_ns: int) -> list[Outgoing]:
        """Return the pings that are due; who plays a recording, is gone or silent is not asked."""
        out = []
        while self._due and self._due[0][0] <= utc_ns:
            _, row, count, device = heapq.heappop(self._due)
            if not device.recorded and device.online and utc_ns - device.arrived_ns <= SILENT_NS:
                out.append(self._ask(device, utc_ns))
                count += 1
            wait_ns = QUICK_NS if 0 < count < QUICK else EVERY_NS
            heapq.heappush(self._due, (utc_ns + wait_ns, row, count, device))
        return out

    def answered(self, device: Device, ping: str, arrived_ns: int) -> int | None:
        """Return the round trip that a pong ends, ns; None: this was not asked, or was answered before."""
        sent_ns = self._asked.get(device.row, {}).pop(ping, None)
        if sent_ns is None or arrived_ns < sent_ns:
            return None
        return arrived_ns - sent_ns

    def _ask(self, device: Device, utc_ns: int) -> Outgoing:
        asked = self._asked[device.row]
        ping = Ping(id=f"{utc_ns}", t_ms=utc_ns // 1_000_000)
        asked[ping.id] = utc_ns
        if len(asked) > KEPT:
            del asked[next(iter(asked))]
        return Outgoing(f"{self._root}/devices/{device.id}/ping", encode(ping))
