"""A link from one device to a time base: skewed clock, jitter, stalls and steps, from one seed."""

import numpy as np
from numpy.typing import NDArray

from fusion.timebase import TimeBase

ORIGIN_NS = 1_700_000_000_000_000_000


class Link:
    """Packets of one device on their way; errors are of aligned time over true time, s."""

    def __init__(
        self,
        *,
        seed: int,
        packets: int,
        interval_s: float = 0.1,
        jitter_s: float = 0.02,
        floor_s: float = 0.003,
        skew: float = 30e-6,
        step_s: float = 0.0,
        step_at: int = 0,
        stall_s: float = 0.0,
        stall_at: int = 0,
    ) -> None:
        random = np.random.default_rng(seed)
        self.floor_s = floor_s
        self.true_s = np.arange(packets) * interval_s
        told_s = self.true_s * (1.0 - skew) + np.where(np.arange(packets) >= step_at, step_s, 0.0)
        self.device_ns = np.round(told_s * 1e9).astype(np.int64) + 10**14
        delay_s = floor_s + random.exponential(jitter_s, packets)
        blocked_s = stall_s - (self.true_s - self.true_s[stall_at])
        delay_s = np.where(blocked_s * (np.arange(packets) >= stall_at) > delay_s, blocked_s, delay_s)
        arrived_s = np.maximum.accumulate(self.true_s + delay_s)
        self.arrived_ns = np.round(arrived_s * 1e9).astype(np.int64) + ORIGIN_NS
        self.base = TimeBase()
        self.base.add(0)

    def run(self, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Deliver the packets; return the error of each newest stamp, aligned as it arrived, s."""
        aligned_ns = self.aligned(start, stop)
        return (aligned_ns - ORIGIN_NS) * 1e-9 - self.true_s[start:stop]

    def aligned(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Deliver the packets; return the newest stamp of each, aligned as it arrived, ns."""
        out = []
        for device_ns, arrived_ns in zip(
            self.device_ns[start:stop].tolist(), self.arrived_ns[start:stop].tolist(), strict=True
        ):
            self.base.observe(0, device_ns, arrived_ns)
            out.append(self.base.align(0, device_ns))
        return np.array(out, np.int64)
