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
from simulators.ble import Ble, arrivals, successes

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
STEP_AT_S: Final = 60.0


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
    jumps: int = 0


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
    return Answer(_error(stream, (aligned_ns - ORIGIN_NS) * 1e-9), sigma_ns * 1e-9, base.clock(0).jumps)


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


PING_FIRST_S: Final = 5.0  # as the server asks: see server/pings.py
PING_QUICK: Final = 5
PING_EVERY_S: Final = 10.0
PROBES: Final = 8  # LSL: so many at once, PROBE_S apart, every PROBE_EVERY_S; the shortest round trip counts
PROBE_S: Final = 0.064
PROBE_EVERY_S: Final = 2.0


def with_pings(stream: Stream, link: Ble, seed: int) -> Answer:
    """Return what the time base makes of it where the device answers pings; the error is of true time."""
    rng = np.random.default_rng([seed, 1])
    end_s = float(stream.true_s[-1])
    quick_s = PING_FIRST_S + np.arange(PING_QUICK)
    sent_s = np.concatenate([quick_s, np.arange(quick_s[-1] + PING_EVERY_S, end_s - 5, PING_EVERY_S)])
    there_s, back_s = round_trips(sent_s, link, rng)
    told_ns = np.interp(there_s, stream.true_s, stream.device_ns - stream.device_ns[0])
    device_ns = np.round(told_ns).astype(np.int64) + stream.device_ns[0]
    pongs = list(
        zip(
            np.round(back_s * 1e9).astype(np.int64) + ORIGIN_NS,
            np.round(sent_s * 1e9).astype(np.int64) + ORIGIN_NS,
            device_ns,
            strict=True,
        )
    )
    base, found_ns, sigma_ns, next_pong = TimeBase(), [], [], 0
    base.add(0)
    for stamp_ns, arrived_ns in zip(stream.device_ns.tolist(), stream.arrived_ns.tolist(), strict=True):
        while next_pong < len(pongs) and pongs[next_pong][0] <= arrived_ns:
            back_ns, sent_ns, answered_ns = (int(each) for each in pongs[next_pong])
            base.pong(0, answered_ns, sent_ns, back_ns)
            next_pong += 1
        base.observe(0, stamp_ns, arrived_ns)
        found_ns.append(base.align(0, stamp_ns))
        sigma_ns.append(base.clock(0).sigma_ns)
    error_s: Floats = (np.array(found_ns) - ORIGIN_NS) * 1e-9 - stream.true_s
    return Answer(error_s, np.array(sigma_ns) * 1e-9)


def lsl_probes(seed: int, link: Ble, duration_s: float) -> Floats:
    """Return the errors of true time that Lab Streaming Layer's probes of the clock's offset leave, s."""
    rng = np.random.default_rng([seed, 2])
    begins_s = np.arange(0, duration_s, PROBE_EVERY_S)
    sent_s = (begins_s[:, None] + np.arange(PROBES) * PROBE_S).ravel()
    there_s, back_s = round_trips(sent_s, link, rng)
    trips_s = (back_s - sent_s).reshape(-1, PROBES)
    wrong_s = ((sent_s + back_s) / 2 - there_s).reshape(-1, PROBES)
    found: Floats = np.take_along_axis(wrong_s, trips_s.argmin(1)[:, None], 1)[:, 0]
    return found


def round_trips(sent_s: Floats, link: Ble, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return when the device has what was sent to it, and when its answers are back.

    Both ways have the same constant delay and the same hop, and wait for events of one connection: an answer
    is ready at an event, and goes with the next one that does not fail.
    """
    events_s = successes(float(sent_s[0]), float(sent_s[-1]), link, rng)
    hops_s = rng.exponential(link.hop_s, (2, len(sent_s)))
    there = np.searchsorted(events_s, sent_s + link.floor_s + hops_s[0])
    back_s: Floats = events_s[there + 1] + link.floor_s + hops_s[1]
    return events_s[there], back_s
