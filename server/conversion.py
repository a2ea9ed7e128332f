"""Packets to measurements: what the protocol says becomes what the models take in.

Readings that say of themselves that they hold nothing (a strap without contact, a heart rate of 0) give no
measurement: a model that hears nothing widens its sigma, which is the truth.
"""

from math import radians

from fusion.intervals import Cleaner
from fusion.measurements import BARO, CADENCE, DTYPES, GNSS, HEART_RATE, POWER, SPEED, Source
from server.messages import Baro, Cadence, Foot, Gnss, HeartRate, Packet, Power, Wheel
from server.registry import Device
from server.schedule import Item

NAN = float("nan")

_HEART_RATE, _GNSS = DTYPES.index(HEART_RATE), DTYPES.index(GNSS)
_BARO, _POWER = DTYPES.index(BARO), DTYPES.index(POWER)
_CADENCE, _SPEED = DTYPES.index(CADENCE), DTYPES.index(SPEED)

STRAP_SIGMA_BPM = 1.0  # a strap counts R peaks and rounds to 1 bpm
OPTICAL_SIGMA_BPM = 3.0  # wrist PPG in motion, Gillinov et al. 2017, doi 10.1249/MSS.0000000000001284


def measurement(packet: Packet, device: Device) -> Item | None:
    """Return what a packet measured, or None when it holds no measurement; when, the schedule finds out."""
    row, t_ns, number = device.athlete.row, 0, device.number
    match packet:
        case HeartRate():
            return _heart_rate(packet, device)
        case Gnss():
            return Item(_GNSS, (row, t_ns, number, *_fix(packet)))
        case Baro():
            return Item(_BARO, (row, t_ns, number, packet.pressure_pa))
        case Power():
            return Item(_POWER, (row, t_ns, number, packet.watts))
        case Cadence():
            return Item(_CADENCE, (row, t_ns, number, _or_nan(packet.rpm), _or_nan(packet.spm)))
        case Wheel():
            return Item(_SPEED, (row, t_ns, number, packet.speed_mps, Source.WHEEL))
        case Foot():
            return Item(_SPEED, (row, t_ns, number, packet.speed_mps, Source.FOOT))
        case _:
            return None


def _heart_rate(packet: HeartRate, device: Device) -> Item | None:
    """Return the rate of the intervals that are clean now; of a sensor that tells none, the rate it tells."""
    if packet.contact is False:
        return None
    optical = packet.optical if packet.optical is not None else device.placement == "wrist"
    sigma_bpm, source = (OPTICAL_SIGMA_BPM, Source.OPTICAL) if optical else (STRAP_SIGMA_BPM, Source.STRAP)
    bpm, lag_s = packet.bpm, NAN
    if packet.rr_ms:
        if device.cleaner is None:
            device.cleaner = Cleaner()
        assert not isinstance(packet.t, str), "codecs read decimal strings"
        rate = device.cleaner.rate(packet.rr_ms, packet.t)
        if rate is not None:
            bpm, lag_s = rate.bpm, rate.lag_s
            sigma_bpm = max(rate.sigma_bpm, sigma_bpm) if optical else rate.sigma_bpm
        elif not bpm:
            bpm = 60_000.0 * len(packet.rr_ms) / sum(packet.rr_ms)
    if not bpm:
        return None
    return Item(_HEART_RATE, (device.athlete.row, 0, device.number, bpm, sigma_bpm, source, lag_s))


def _fix(packet: Gnss) -> tuple[float, ...]:
    return (
        packet.lat,
        packet.lon,
        _or_nan(packet.alt_m),
        _or_nan(packet.speed_mps),
        NAN if packet.course_deg is None else radians(packet.course_deg),
        _or_nan(packet.h_acc_m),
        _or_nan(packet.v_acc_m),
        _or_nan(packet.speed_acc_mps),
    )


def _or_nan(value: float | None) -> float:
    return NAN if value is None else value
