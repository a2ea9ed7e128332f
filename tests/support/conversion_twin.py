"""A readable twin of csrc/measures.c: the oracle that what packets measure is held to."""

from math import nan, radians
from typing import Any, NamedTuple

from fusion.intervals import Cleaner
from fusion.measurements import BARO, CADENCE, DTYPES, GNSS, HEART_RATE, POWER, SPEED, Source
from server.messages import Baro, Cadence, Foot, Gnss, HeartRate, Packet, Power, Wheel
from server.registry import Device

STRAP_SIGMA_BPM = 1.0
OPTICAL_SIGMA_BPM = 3.0


class Item(NamedTuple):
    """A measurement: the index of its array in DTYPES, and its record."""

    kind: int
    record: tuple[Any, ...]


class Conversion:
    """Makes measurements of packets; intervals are cleaned by what their device told before."""

    def __init__(self) -> None:
        self.cleaners: dict[int, Cleaner] = {}  # by the device's row

    def measurement(self, packet: Packet, device: Device) -> Item | None:
        """Return what a packet measured, or None when it holds no measurement."""
        who = device.athlete.row, 0, device.number
        match packet:
            case HeartRate():
                told = self._heart_rate(packet, device)
                return None if told is None else Item(DTYPES.index(HEART_RATE), (*who, *told))
            case Gnss():
                return Item(DTYPES.index(GNSS), (*who, *_fix(packet)))
            case Baro():
                return Item(DTYPES.index(BARO), (*who, packet.pressure_pa))
            case Power():
                return Item(DTYPES.index(POWER), (*who, packet.watts))
            case Cadence():
                return Item(DTYPES.index(CADENCE), (*who, _or_nan(packet.rpm), _or_nan(packet.spm)))
            case Wheel():
                return Item(DTYPES.index(SPEED), (*who, packet.speed_mps, Source.WHEEL))
            case Foot():
                return Item(DTYPES.index(SPEED), (*who, packet.speed_mps, Source.FOOT))
            case _:
                return None

    def _heart_rate(self, packet: HeartRate, device: Device) -> tuple[float, ...] | None:
        """Return the rate of the intervals that are clean now; of a sensor that tells none, that it tells."""
        if packet.contact is False:
            return None
        optical = packet.optical if packet.optical is not None else device.placement == "wrist"
        sigma_bpm, source = OPTICAL_SIGMA_BPM if optical else STRAP_SIGMA_BPM, Source.STRAP + bool(optical)
        if packet.rr_ms:
            assert not isinstance(packet.t, str), "codecs read decimal strings"
            rate = self.cleaners.setdefault(device.row, Cleaner()).rate(packet.rr_ms, packet.t)
            if rate is not None:
                sigma_bpm = max(rate.sigma_bpm, sigma_bpm) if optical else rate.sigma_bpm
                return rate.bpm, sigma_bpm, source, rate.lag_s
        bpm = packet.bpm or (60_000.0 * len(packet.rr_ms) / sum(packet.rr_ms) if packet.rr_ms else 0.0)
        return (bpm, sigma_bpm, source, nan) if bpm else None


def _fix(packet: Gnss) -> tuple[float, ...]:
    return (
        packet.lat,
        packet.lon,
        _or_nan(packet.alt_m),
        _or_nan(packet.speed_mps),
        nan if packet.course_deg is None else radians(packet.course_deg),
        _or_nan(packet.h_acc_m),
        _or_nan(packet.v_acc_m),
        _or_nan(packet.speed_acc_mps),
    )


def _or_nan(value: float | None) -> float:
    return nan if value is None else value
