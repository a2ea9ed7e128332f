"""The C core per packet and per sample: against the Python twin that only decodes, and against VQF."""

import importlib
import importlib.util
from collections.abc import Callable, Iterator

import numpy as np

from fusion.core import CoreTable
from server.codecs import imu
from simulators.benchmark.measure import Cost, best_us
from tests.support.motion import packets_of

SAMPLES = 10  # in a packet
RATE_HZ = 100
DEVICES = (1, 20, 100, 1000)
AHEAD = 400  # packets made for each device: they come in order, and no packet comes twice


def costs() -> Iterator[Cost]:
    """Yield what the core costs at several numbers of devices."""
    stream = _Stream(9)
    twin_us = best_us({"twin": lambda: imu.decode(stream.packets[0])})["twin"]
    for devices in DEVICES:
        us = best_us({"core": _ticks(stream, devices)})["core"] / devices
        yield Cost(
            f"C core, all of it, {devices} devices in a call", us, "packet", "Python decoder alone", twin_us
        )
    yield Cost("  the last, for each sample", us / SAMPLES, "sample", *_vqf(stream))


class _Stream:
    """Packets of one moving device, one after the other, for ever."""

    def __init__(self, columns: int) -> None:
        rng = np.random.default_rng(1)
        n = SAMPLES * AHEAD
        t_s = np.arange(n)[:, None] / RATE_HZ
        self.accel_b = np.array([0.0, 0.0, 9.80665]) + 3.0 * np.sin(9.0 * t_s) + rng.normal(0.0, 0.1, (n, 3))
        self.gyro_b = np.sin(np.array([5.0, 6.0, 7.0]) * t_s) + rng.normal(0.0, 0.01, (n, 3))
        self.mag_b = np.array([20.0, 0.0, -40.0]) + rng.normal(0.0, 0.5, (n, 3))
        self.columns = columns
        self.packets = [self.packet(number) for number in range(AHEAD)]

    def packet(self, number: int) -> bytes:
        """Return packet ``number``; after AHEAD of them the motion comes again, time goes on."""
        rows = slice(number % AHEAD * SAMPLES, (number % AHEAD + 1) * SAMPLES)
        return imu.encode(
            accel_b=self.accel_b[rows],
            gyro_b=self.gyro_b[rows],
            mag_b=self.mag_b[rows] if self.columns == 9 else None,
            boot=7,
            t0_ns=10**18 + number * SAMPLES * 10**9 // RATE_HZ,
            seq=number,
            dt_ns=10**9 // RATE_HZ,
        )


def _ticks(stream: _Stream, devices: int) -> Callable[[], object]:
    """Return a call that advances all devices by their next packet; at the stream's end all is reset."""
    table = CoreTable()
    rows = [table.add(placement="wrist") for _ in range(devices)]
    packets = packets_of([stream.packets[0]] * devices, [0] * devices, rows)
    payloads = [packet * devices for packet in stream.packets[: AHEAD if devices <= 100 else 50]]
    number = 0

    def tick() -> object:
        nonlocal number
        if number == len(payloads):
            number = 0
            for row in rows:
                table.reset(row, placement="wrist")
        number += 1
        return table.advance(payloads[number - 1], packets)

    return tick


def _vqf(stream: _Stream) -> tuple[str, float]:
    if importlib.util.find_spec("vqf") is None:
        return "vqf is not installed: no comparison", 0.0
    VQF = importlib.import_module("vqf").VQF

    def run() -> object:
        return VQF(1.0 / RATE_HZ).updateBatch(stream.gyro_b, stream.accel_b, stream.mag_b)

    return "vqf, batch of 4000", best_us({"vqf": run})["vqf"] / (SAMPLES * AHEAD)
