"""The engine per message, without a broker: a class of simulated athletes, in ticks of several lengths.

The peer is the same engine with a tick for each message, as a server does that waits for nothing.
"""

import time
from collections.abc import Iterator

from server.config import Config
from server.engine import Engine
from server.envelopes import Incoming
from simulators import scenarios
from simulators.benchmark.measure import Cost

ATHLETES = 100
SECONDS = 8
WARM_S = 2
TICKS_MS = (0, 5, 10, 20)
START_NS = 1_700_000_000_000_000_000
DELAY_NS = 2_000_000  # from a message's last sample to its arrival


def costs() -> Iterator[Cost]:
    """Yield the cost of a message for each length of a tick."""
    messages = _messages(ATHLETES, SECONDS)
    us = {tick_ms: min(_drive(messages, tick_ms) for _ in range(2)) for tick_ms in TICKS_MS}
    for tick_ms in TICKS_MS[1:]:
        what = f"engine, {ATHLETES} athletes, ticks of {tick_ms} ms"
        yield Cost(what, us[tick_ms], "message", "a tick for each message", us[0])


def _messages(athletes: int, seconds: int) -> list[Incoming]:
    """Return what the devices of a class send, in the order of arrival."""
    due: list[tuple[float, str, bytes]] = []
    for athlete in scenarios.build("class", athletes, seed=1, start_ns=START_NS):
        for device in athlete.devices:
            due.append((0.0, f"in/{device.id}/status", device.birth(0.0)))
            for number in range(seconds):
                due += [(message.due_s, message.topic, message.payload) for message in device.second(number)]
    due.sort(key=lambda each: each[0])
    found = []
    for due_s, topic, payload in due:
        arrived_ns = START_NS + int(due_s * 1e9) + DELAY_NS
        found.append(Incoming(f"kinefuse/v1/{topic}", payload, False, arrived_ns, arrived_ns))
    return found


def _drive(messages: list[Incoming], tick_ms: int) -> float:
    """Return the CPU time of a message in ticks of ``tick_ms``, us; 0: each message is a tick."""
    engine = Engine(Config(), time.monotonic_ns)
    counted, began_s, i, end_ns = 0, 0.0, 0, START_NS
    while i < len(messages):
        if not counted and messages[i].arrived_ns > START_NS + WARM_S * 1_000_000_000:
            counted, began_s = len(messages) - i, time.process_time()
        if tick_ms:
            end_ns += tick_ms * 1_000_000
            j = i
            while j < len(messages) and messages[j].arrived_ns <= end_ns:
                j += 1
        else:
            j, end_ns = i + 1, messages[i].arrived_ns
        engine.advance(messages[i:j], end_ns)
        i = j
    return (time.process_time() - began_s) / counted * 1e6
