"""Packets to measurements: what the protocol says becomes what the models take in.

Readings that say of themselves that they hold nothing (a strap without contact, a heart rate of 0) give no
measurement: a model that hears nothing widens its sigma, which is the truth.
"""

from collections.abc import Sequence
from math import isnan, radians
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from fusion.intervals import Cleaner
from fusion.measurements import BARO, CADENCE, DTYPES, GNSS, HEART_RATE, POWER, SPEED, Records, Source
from server.codecs.flat import STRUCTS, TIMED, fields
from server.messages import Baro, Cadence, Foot, Gnss, HeartRate, Packet, Power, Wheel
from server.registry import STEP_RANK, Device
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
        assert not isinstance(packet.t, str), "codecs read decimal strings"
        bpm, beats_sigma_bpm, lag_s = _of_beats(device, bpm or 0.0, packet.rr_ms, packet.t)
        if not isnan(beats_sigma_bpm):
            sigma_bpm = max(beats_sigma_bpm, sigma_bpm) if optical else beats_sigma_bpm
    if not bpm:
        return None
    return Item(_HEART_RATE, (device.athlete.row, 0, device.number, bpm, sigma_bpm, source, lag_s))


def _of_beats(device: Device, bpm: float, rr_ms: list[float], t_ns: int | None) -> tuple[float, float, float]:
    """Return the rate that intervals tell beside ``bpm``, 0: none; its sigma and lag, NaN where not known."""
    if device.cleaner is None:
        device.cleaner = Cleaner()
    rate = device.cleaner.rate(rr_ms, t_ns)
    if rate is not None:
        return rate.bpm, rate.sigma_bpm, rate.lag_s
    return bpm or 60_000.0 * len(rr_ms) / sum(rr_ms), NAN, NAN


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


class Measured(NamedTuple):
    """What messages of one kind measured."""

    place: int  # of their dtype in DTYPES
    records: Records  # (n,)
    holds: NDArray[np.bool_]  # (n,) False: nothing, for all that its record says


def measured(
    kind: int, messages: Records, rows: NDArray[np.intp], links: Records, devices: Sequence[Device]
) -> Measured:
    """Return what plain messages of a kind measured: what `measurement` gives for each of them.

    Parameters
    ----------
    kind : int
        A key of `server.codecs.flat.STRUCTS`.
    messages : (n,) FLAT
        Plain ones, in the order of arrival.
    rows : (n,) intp
        Of their devices.
    links : (n,) LINK
        Of their devices.
    devices : sequence of Device
        All, by row: intervals between beats are cleaned by what their device told before.
    """
    values = messages["values"]
    told = {name: values[:, place] for name, place in fields(STRUCTS[kind]).items()}
    index = _INDICES[kind]
    records = np.zeros(len(values), DTYPES[index])
    records["row"], records["device"] = links["athlete"], links["number"]
    holds = np.ones(len(values), np.bool_)
    columns: dict[str, Any] = told
    if kind == lib.KF_TOPIC_HR:
        at_wrist = links["rank"] == STEP_RANK["wrist"]
        optical = np.where(np.isnan(told["optical"]), at_wrist, told["optical"] != 0)
        touches = told["contact"] != 0
        columns = _heart_rates(
            told["bpm"], optical, touches, messages, [devices[row] for row in rows.tolist()]
        )
        holds = touches & (columns["bpm"] > 0)
    elif kind == lib.KF_TOPIC_GNSS:
        columns = told | {"course_rad": np.radians(told["course_deg"])}
        columns |= {"lat_deg": told["lat"], "lon_deg": told["lon"]}
    elif kind in (lib.KF_TOPIC_WHEEL, lib.KF_TOPIC_FOOT):
        columns = told | {"source": Source.WHEEL if kind == lib.KF_TOPIC_WHEEL else Source.FOOT}
    for name in records.dtype.names or ():
        if name not in ("row", "t_ns", "device"):
            records[name] = columns[name]
    return Measured(index, records, holds)


def _heart_rates(
    told_bpm: NDArray[np.float64],
    optical: NDArray[np.bool_],
    touches: NDArray[np.bool_],
    messages: Records,
    devices: list[Device],
) -> dict[str, NDArray[Any]]:
    """Return what `_heart_rate` does of each message, (n,), whose sensor touches."""
    bpm, sigma_bpm = told_bpm.copy(), np.where(optical, OPTICAL_SIGMA_BPM, STRAP_SIGMA_BPM)
    lag_s = np.full(len(bpm), NAN)
    beating = np.flatnonzero(touches & (messages["list_count"] > 0))
    lists, counts = messages["list"][beating].tolist(), messages["list_count"][beating].tolist()
    stamps, timed = messages["t_ns"][beating].tolist(), (messages["told"][beating] & TIMED).tolist()
    beside_bpm = np.nan_to_num(bpm[beating]).tolist()
    for i, place in enumerate(beating.tolist()):
        rr_ms, t_ns = lists[i][: counts[i]], stamps[i] if timed[i] else None
        bpm[place], beats_sigma_bpm, lag_s[place] = _of_beats(devices[place], beside_bpm[i], rr_ms, t_ns)
        if not isnan(beats_sigma_bpm):
            sigma_bpm[place] = max(beats_sigma_bpm, sigma_bpm[place] if optical[place] else 0.0)
    source = np.where(optical, Source.OPTICAL, Source.STRAP)
    return {"bpm": bpm, "sigma_bpm": sigma_bpm, "source": source, "lag_s": lag_s}


_INDICES = {
    lib.KF_TOPIC_HR: _HEART_RATE,
    lib.KF_TOPIC_GNSS: _GNSS,
    lib.KF_TOPIC_BARO: _BARO,
    lib.KF_TOPIC_POWER: _POWER,
    lib.KF_TOPIC_CADENCE: _CADENCE,
    lib.KF_TOPIC_WHEEL: _SPEED,
    lib.KF_TOPIC_FOOT: _SPEED,
}
