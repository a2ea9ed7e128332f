"""Streams of packets over simulated links, and what becomes of their stamps: ours and the peers.

The peer is what Lab Streaming Layer does on line with the stamps of a stream that a gateway takes in by
Bluetooth (``proc_dejitter``; Kothe et al., doi:10.1162/IMAG.a.136): recursive least squares of the arrival on
the number of the sample, forgetting by half in 90 s. It is written here from that description.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.timebase import TimeBase
from simulators.ble import Ble, arrivals

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

ORIGIN_NS: Final = 1_700_000_000_000_000_000
PACKET_S: Final = 0.1
PACE_SHARE: Final = 0.01  # by which a sensor's own oscillator is off, at most: Polar's recording has 0.6 %
WARM_S: Final = 300.0  # time in which a device takes on the temperature of its wearer
WARM_K: Final = 10.0
PARABOLA: Final = (
    0.034e-6  # 1/K^2, of a tuning-fork crystal about 25 degrees (any data sheet of a 32 kHz one)
)
HALF_TIME_S: Final = 90.0  # LSL's SmoothingHalftime
STEP_AT_S: Final = 150.0


class Stream(NamedTuple):
    """The newest stamps of a device's packets, and their arrivals; times since ``ORIGIN_NS`` are true."""

    true_s: Floats
    device_ns: Ints
    arrived_ns: Ints
    floor_s: float


class Answer(NamedTuple):
    """What a method makes of each stamp as its packet arrives, s: the error but for the constant delay."""

    error_s: Floats
    sigma_s: Floats | None = None


def stream(
    seed: int, link: Ble, *, duration_s: float = 300.0, skew: float = 30e-6, step_s: float = 0
) -> Stream:
    """Return a stream whose clock is fast or slow by ``skew``, warms up, and steps at STEP_AT_S."""
    rng = np.random.default_rng(seed)
    pace_s = PACKET_S * (1 + PACE_SHARE * rng.uniform(-1, 1))
    true_s: Floats = rng.uniform(0, PACKET_S) + np.arange(int(duration_s / pace_s)) * pace_s
    drift = skew * rng.choice([-1, 1]) * true_s
    warm_k = WARM_K * (1 - np.exp(-true_s / WARM_S))
    drift -= np.cumsum(PARABOLA * warm_k**2) * pace_s
    told_s = true_s + drift + np.where(true_s >= STEP_AT_S, step_s, 0.0)
    arrived_s = arrivals(true_s, link, rng)
    device_ns = np.round(told_s * 1e9).astype(np.int64) + rng.integers(0, 10**15)
    return Stream(true_s, device_ns, np.round(arrived_s * 1e9).astype(np.int64) + ORIGIN_NS, link.floor_s)


def ours(stream: Stream) -> Answer:
    """Return what the time base makes of it, with its own sigma."""
    base = TimeBase()
    base.add(0)
    aligned_ns = np.empty(len(stream.true_s), np.int64)
    sigma_ns = np.empty(len(stream.true_s))
    for i, (device_ns, arrived_ns) in enumerate(
        zip(stream.device_ns.tolist(), stream.arrived_ns.tolist(), strict=True)
    ):
        base.observe(0, device_ns, arrived_ns)
        aligned_ns[i] = base.align(0, device_ns)
        sigma_ns[i] = base.clock(0).sigma_ns
    return Answer(_error(stream, (aligned_ns - ORIGIN_NS) * 1e-9), sigma_ns * 1e-9)


def raw(stream: Stream) -> Answer:
    """Return arrivals as they are."""
    return Answer(_error(stream, (stream.arrived_ns - ORIGIN_NS) * 1e-9))


def lsl(stream: Stream) -> Answer:
    """Return Lab Streaming Layer's smoothing of arrivals."""
    keep = 2.0 ** (-PACKET_S / HALF_TIME_S)
    p_00 = p_11 = 1e10
    p_01 = 0.0
    start, slope = 0.0, PACKET_S
    arrived_s = (stream.arrived_ns - stream.arrived_ns[0]) * 1e-9
    smooth_s = np.empty(len(arrived_s))
    for number, t_s in enumerate(arrived_s.tolist()):
        g_0, g_1 = p_00 + number * p_01, p_01 + number * p_11
        scale = 1 / (keep + g_0 + number * g_1)
        wrong = t_s - (start + number * slope)
        p_00, p_01, p_11 = (
            (p_00 - g_0 * g_0 * scale) / keep,
            (p_01 - g_0 * g_1 * scale) / keep,
            (p_11 - g_1 * g_1 * scale) / keep,
        )
        start += wrong * (p_00 + number * p_01)
        slope += wrong * (p_01 + number * p_11)
        smooth_s[number] = start + number * slope
    return Answer(_error(stream, smooth_s + (stream.arrived_ns[0] - ORIGIN_NS) * 1e-9))


def _error(stream: Stream, found_s: Floats) -> Floats:
    error_s: Floats = found_s - stream.true_s - stream.floor_s
    return error_s


METHODS: Final[dict[str, Callable[[Stream], Answer]]] = {"ours": ours, "LSL": lsl, "raw": raw}
