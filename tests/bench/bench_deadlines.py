"""What it costs to watch deadlines, against prometheus_client's histogram and a loop over the devices."""

from collections.abc import Iterator

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Peer

from server import config
from server.deadlines.histogram import BOUNDS_S, Histogram
from server.deadlines.kinds import IMU
from server.deadlines.streams import LOOK_NS, Streams
from simulators.benchmark.measure import Cost, best_us
from tests.support.hearing import hear

BEGIN_NS = 1_764_585_664_000_000_000
DEVICES = 10_000
RECORDS = 1_000


class _Fleet:
    """Devices with one IMU each, and the time that goes on with each look."""

    def __init__(self, *, silent: bool) -> None:
        self._streams = Streams(config.Deadlines())
        for row in range(DEVICES):
            self._streams.add(row)
        self._rows = np.arange(DEVICES)
        self._jumps = np.zeros(DEVICES, np.int64)
        self._now_ns = BEGIN_NS
        self.hear()
        if silent:
            while self._streams.counts["alive"]:
                self.look()

    def hear(self) -> None:
        """All devices send, and are looked at."""
        arrived_ns = np.full(DEVICES, self._now_ns)
        hear(self._streams, self._rows, IMU, arrived_ns, arrived_ns)
        self.look()

    def look(self) -> None:
        self._now_ns += LOOK_NS
        self._streams.look(self._now_ns, self._jumps)


def costs() -> Iterator[Cost]:
    """Yield the cost of each part."""
    times_ns = np.random.default_rng(1).integers(0, 100_000_000, RECORDS)
    ours = Histogram(50_000_000)
    few_ns = times_ns[:10].copy()
    peer = Peer("stage", "", registry=CollectorRegistry(), buckets=BOUNDS_S)
    silent, busy = _Fleet(silent=True), _Fleet(silent=False)
    heard = dict.fromkeys(range(DEVICES), BEGIN_NS)
    us = best_us(
        {
            "one": lambda: ours.observe(12_345_678),
            "few": lambda: ours.observe_many(few_ns),
            "many": lambda: ours.observe_many(times_ns),
            "peer": lambda: peer.observe(0.012345678),
            "silent": silent.look,
            "busy": busy.hear,
            "loop": lambda: [device for device, at_ns in heard.items() if at_ns > BEGIN_NS],
        }
    )
    name = "prometheus_client's observe"
    yield Cost("a time into its histogram", us["one"], "record", name, us["peer"])
    yield Cost("ten times in a call", us["few"] / 10, "record", name, us["peer"])
    yield Cost(f"{RECORDS} times in a call", us["many"] / RECORDS, "record", name, us["peer"])
    yield Cost(f"a look at {DEVICES} silent devices", us["silent"], "look", "a loop over them", us["loop"])
    yield Cost(f"a look at {DEVICES} that all sent", us["busy"], "look", "a loop over them", us["loop"])
