"""``bench orientation``: what a sample costs, as ratios to VQF's C++ in the same run.

The stream is a body that sways, nine axes at 100 Hz. VQF and ours answer with and without the magnetometer at
once. Ours does the rest of the core's work on each sample too: flags, sigmas, free acceleration, steps and
windows, and in packets their decoding.
"""

import importlib
import importlib.util
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import PACKET, PATHS, Advance, CoreTable
from fusion.measurements import Records
from fusion.orientation import INSTANT, POSE, Tracker
from server.codecs import imu
from simulators.benchmark.measure import ratio, rounds_us

RATE_HZ: Final = 100
SAMPLES: Final = 20_000  # of a recording
PACKET_SAMPLES: Final = 10
DEVICES: Final = 4096
STREAMS: Final = 16  # different ones, among the devices
AHEAD: Final = 100  # packets of each stream; then motion comes again, and time goes on
ROUNDS: Final = 9
VQF: Final = "VQF C++, a recording"
T0_NS: Final = 1_700_000_000_000_000_000


class Row(msgspec.Struct, frozen=True):
    """What a unit of something costs: CPU time, and times the peer's in the same run.

    ``target`` is the limit of ``ratio``, or of ``us`` where that is what is bounded.
    """

    what: str
    unit: str
    us: float
    ratio: float | None = None
    target: float | None = None
    bounded: str = "ratio"

    @property
    def met(self) -> bool | None:
        """Return whether the target is kept; None where there is none, or nothing to hold it to."""
        value = self.us if self.bounded == "us" else self.ratio
        return None if self.target is None or value is None else value <= self.target


def rows() -> list[Row]:
    """Measure; without the packages vqf and imufusion, ours alone."""
    motion = _motion(SAMPLES)
    cases: dict[str, tuple[str, Callable[[], object], int, float | None, str]] = {}
    if importlib.util.find_spec("vqf") is not None:
        cases[VQF] = ("sample", _vqf(motion), SAMPLES, None, "ratio")
    cases["one device, a recording (C)"] = ("sample", _track(motion), SAMPLES, 0.30, "ratio")
    for path in PATHS:
        what = f"{DEVICES:,} devices in a call, {path}"
        limit = 0.05 if path != "plain" else None
        cases[what] = ("sample", _Advance(DEVICES, path), DEVICES * PACKET_SAMPLES, limit, "ratio")
    if importlib.util.find_spec("vqf") is not None:
        cases["VQF from Python"] = (f"packet of {PACKET_SAMPLES}", _vqf_packet(motion), 1, None, "ratio")
    cases["one device from Python"] = (f"packet of {PACKET_SAMPLES}", _Tracked(motion), 1, 1.5, "us")
    if importlib.util.find_spec("imufusion") is not None:
        cases["x-io Fusion from Python"] = ("sample", _fusion(motion), 1000, None, "ratio")
    times = rounds_us({what: run for what, (_, run, _, _, _) in cases.items()}, rounds=ROUNDS)
    found = []
    for what, (unit, _, units, target, bounded) in cases.items():
        us = [each / units for each in times[what]]
        beside = None
        if unit == "sample" and VQF in times:
            beside = ratio(us, [each / SAMPLES for each in times[VQF]])
        elif unit != "sample" and VQF in times:
            beside = ratio(us, times["VQF from Python"])
        found.append(Row(what, unit, median(us), beside, target, bounded))
    return found


# The stream

Floats = NDArray[np.float64]


def _motion(samples: int, phase: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """Return rates (rad/s), specific force (m/s²) and field (µT) of a body that sways, (samples, 3) each."""
    rng = np.random.default_rng(1)
    t_s = np.arange(samples)[:, None] / RATE_HZ + phase
    gyro = 1.5 * np.sin(np.array([5.0, 6.0, 7.0]) * t_s) + rng.normal(0.0, 0.01, (samples, 3))
    accel = np.array([0.0, 0.0, 9.80665]) + 3.0 * np.sin(9.0 * t_s) + rng.normal(0.0, 0.1, (samples, 3))
    mag = np.array([20.0, 0.0, -40.0]) + rng.normal(0.0, 0.5, (samples, 3))
    return gyro, accel, mag


# The cases: each a call without arguments


def _vqf(motion: tuple[Floats, Floats, Floats]) -> Callable[[], object]:
    vqf: Any = importlib.import_module("vqf")
    return lambda: vqf.VQF(1.0 / RATE_HZ).updateBatch(*motion)


def _vqf_packet(motion: tuple[Floats, Floats, Floats]) -> Callable[[], object]:
    vqf: Any = importlib.import_module("vqf")
    held = vqf.VQF(1.0 / RATE_HZ)
    packet = tuple(np.ascontiguousarray(each[:PACKET_SAMPLES]) for each in motion)
    return lambda: held.updateBatch(*packet)


def _fusion(motion: tuple[Floats, Floats, Floats]) -> Callable[[], object]:
    """Return a call of 1000 samples; one at a time is all that its Python takes."""
    imufusion: Any = importlib.import_module("imufusion")
    ahrs = imufusion.Ahrs()
    samples = [
        (np.degrees(gyro), accel / 9.80665, mag)
        for gyro, accel, mag in zip(*(each[:1000] for each in motion), strict=True)
    ]

    def run() -> None:
        for gyro, accel, mag in samples:
            ahrs.update(gyro, accel, mag)

    return run


def _track(motion: tuple[Floats, Floats, Floats]) -> Callable[[], object]:
    """Return a call of kf_track over the recording, a new device each time."""
    instants = np.zeros(SAMPLES, INSTANT)
    instants["t_ns"] = np.arange(1, SAMPLES + 1) * (10**9 // RATE_HZ)
    instants["gyro_b"], instants["accel_b"], instants["mag_b"] = motion
    poses = np.empty(SAMPLES, POSE)
    block = bytearray(lib.kf_device_size())
    profile = ffi.new("kf_profile *")

    def run() -> object:
        device = ffi.cast("kf_device *", ffi.from_buffer(block))
        lib.kf_reset(device, ffi.NULL, profile)
        return lib.kf_track(
            device,
            ffi.from_buffer("kf_instant[]", instants),
            SAMPLES,
            lib.KF_MEANS,
            ffi.from_buffer("kf_pose[]", poses, require_writable=True),
        )

    return run


class _Tracked:
    """Takes the next packet of one device through `fusion.orientation.Tracker`; then the recording anew."""

    def __init__(self, motion: tuple[Floats, Floats, Floats]) -> None:
        instants = np.zeros(SAMPLES, INSTANT)
        instants["t_ns"] = T0_NS + np.arange(SAMPLES) * (10**9 // RATE_HZ)
        instants["gyro_b"], instants["accel_b"], instants["mag_b"] = motion
        self._packets = np.split(instants, SAMPLES // PACKET_SAMPLES)
        self._number = 0

    def __call__(self) -> Records:
        """Take it."""
        number = self._number % len(self._packets)
        if number == 0:
            self._tracker = Tracker(means=True)
        self._number += 1
        return self._tracker.take(self._packets[number])


class _Advance:
    """Advances all devices by their next packet, from its bytes on; their time goes on for ever.

    Making the packets is no part of the call that is measured.
    """

    def __init__(self, devices: int, path: str) -> None:
        self._table = CoreTable(path=path)
        for _ in range(devices):
            self._table.add()
        self._streams = [_encoded(_motion(AHEAD * PACKET_SAMPLES, 0.3 * k)) for k in range(STREAMS)]
        length = self._streams[0].shape[1]
        self._packets = np.zeros(devices, PACKET)
        self._packets["device"] = np.arange(devices)
        self._packets["length"], self._packets["offset"] = length, np.arange(devices) * length
        self._payload = np.empty((devices, length), np.uint8)
        # What of the header is written over.
        head = [("front", "V8"), ("t0_ns", "<u8"), ("seq", "<u4"), ("rest", f"V{length - 20}")]
        self._heads = self._payload.view(np.dtype(head))
        self._number = 0
        self.prepare()
        assert not self().summaries["status"].any()

    def prepare(self) -> None:
        """Put the next packet of each device together."""
        for k, stream in enumerate(self._streams):
            self._payload[k::STREAMS] = stream[self._number % AHEAD]
        self._heads["t0_ns"] = T0_NS + self._number * PACKET_SAMPLES * 10**9 // RATE_HZ
        self._heads["seq"] = self._number
        self._number += 1

    def __call__(self) -> Advance:
        """Advance."""
        return self._table.advance(self._payload.data.cast("B"), self._packets)


def _encoded(motion: tuple[Floats, Floats, Floats]) -> NDArray[np.uint8]:
    """Return a motion as packets, (AHEAD, bytes of one)."""
    packets = [
        imu.encode(accel_b=accel, gyro_b=gyro, mag_b=mag, boot=7, t0_ns=T0_NS, seq=0, dt_ns=10**9 // RATE_HZ)
        for gyro, accel, mag in zip(*(np.split(each, AHEAD) for each in motion), strict=True)
    ]
    return np.frombuffer(b"".join(packets), np.uint8).reshape(AHEAD, -1)
