"""``evaluate phones``: Sensor Logger exports through the engine, against the phones' own sensors.

There is no truth in these recordings, only sensors that disagree: the path through the positions counts each
wobble of a fix, the receiver's own Doppler speed is filtered by the phone. Both are shown, and how many of
the stated sigmas each of them is away.
"""

import zipfile
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.analyze import analysis_of
from server.config import Config
from server.errors import FileError
from server.files import read
from server.files.sensor_logger import PhoneRecording, Stream
from server.messages import Summary
from simulators.evaluation.scores import Task, sigma_of, value_of
from simulators.evaluation.section import Column, NothingToEvaluateError, Options, Section, Table, Target
from simulators.evaluation.tracks import EARTH_M, NS_PER_S
from simulators.evaluation.workers import share

PATH_PERCENT: Final = 5.0
DESCENT_M: Final = 5.0
SEA_LEVEL_HPA: Final = 1013.25
SCALE_M: Final = 44330.77  # of the standard atmosphere's lowest layer (ICAO Doc 7488)
EXPONENT: Final = 0.190263
HYSTERESIS_M: Final = 1.5  # a descent begins when the height has fallen this far below its last turn
RATES: Final = ("accelerometer", "gyroscope", "gravity", "magnetometer", "barometer", "location")

Floats = NDArray[np.float64]


class Sensors(msgspec.Struct, frozen=True, kw_only=True):
    """What the sensors of an export say by themselves; m, Hz; None where there is none.

    ``path_m`` is the path from the first fix whose stamp is not older than the recording; ``moved_path_m``
    from the first after it whose position differs from that of an older stamp: phones deliver a last known
    position again under a new stamp. ``doppler_m`` is the integral of the receiver's speed over the first.
    """

    path_m: float | None = None
    moved_path_m: float | None = None
    doppler_m: float | None = None
    stale_s: float = 0.0
    ascent_m: float | None = None
    descent_m: float | None = None
    rates_hz: dict[str, float] = {}


class PhoneScore(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an export."""

    file: str
    error: str = ""
    model: str = ""
    rows: int = 0
    sensors: Sensors = Sensors()
    summary: Summary | None = None
    warnings: tuple[str, ...] = ()


def evaluate(options: Options) -> Section:
    """Score every Sensor Logger export under the data folder.

    Raises
    ------
    NothingToEvaluateError
        There is no export with positions.
    """
    found = exports_under(options.data)
    if not found:
        raise NothingToEvaluateError(f"no Sensor Logger export with positions under {options.data}")
    tasks = [Task(path, path.relative_to(options.data).as_posix()) for path in found]
    return section(share(score, tasks, workers=options.workers, name=lambda task: task.name))


def exports_under(folder: Path) -> list[Path]:
    """Return the folders and zips at any depth that hold an export with positions, sorted."""
    names = {"location.csv", "location.csv.xz"}
    folders = {path.parent for path in folder.rglob("*.[cCx][sSz]*") if path.name.lower() in names}
    zips = [path for path in folder.rglob("*.zip") if _holds(path, names)]
    return sorted([*folders, *zips])


def _holds(path: Path, names: set[str]) -> bool:
    """Return whether a zip holds a file of one of the names, at any depth."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().rpartition("/")[2] in names for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def score(task: Task) -> PhoneScore:
    """Return what comes of an export; one that cannot be read has an ``error``."""
    try:
        recording = read(task.path)
    except FileError as error:
        return PhoneScore(file=task.name, error=error.cause)
    if not isinstance(recording, PhoneRecording):
        return PhoneScore(file=task.name, error=f"{recording.kind}, no Sensor Logger export")
    return PhoneScore(
        file=task.name,
        model=recording.model,
        rows=recording.records,
        sensors=sensors_of(recording),
        summary=analysis_of(recording, Config()).workout.summary,
        warnings=recording.warnings,
    )


# What the sensors say


def sensors_of(recording: PhoneRecording) -> Sensors:
    """Return what the sensors of an export say by themselves."""
    streams = {stream.name: stream for stream in recording.streams}
    told: dict[str, Any] = {}
    if (location := streams.get("location")) is not None:
        told |= _way(location, recording.start_ns)
    if (barometer := streams.get("barometer")) is not None and "pressure" in barometer.fields:
        told["ascent_m"], told["descent_m"] = climbs(_heights(barometer))
    rates = {name: _rate(streams[name]) for name in RATES if name in streams}
    return Sensors(rates_hz={name: rate for name, rate in rates.items() if rate is not None}, **told)


def _columns(stream: Stream) -> dict[str, Floats]:
    return {name: np.array(column) for name, column in zip(stream.fields, stream.columns, strict=True)}


def _rate(stream: Stream) -> float | None:
    """Return the rows a second, Hz, from the first to the last that are not older than the rest."""
    t_s = np.sort(np.array(stream.t_ns, dtype=np.int64)) * 1e-9
    return None if len(t_s) < 3 or t_s[-1] <= t_s[1] else float((len(t_s) - 2) / (t_s[-1] - t_s[1]))


def _way(location: Stream, start_ns: int) -> dict[str, float]:
    """Return paths and the integral of speed, m."""
    columns = _columns(location)
    t_ns = np.array(location.t_ns, dtype=np.int64)
    order = np.argsort(t_ns, kind="stable")
    t_ns = t_ns[order]
    lat, lon = np.radians(columns["latitude"][order]), np.radians(columns["longitude"][order])
    fresh = t_ns >= start_ns
    if fresh.sum() < 2:
        return {}
    repeated = np.zeros(len(t_ns), dtype=bool)
    repeated[1:] = (np.diff(lat) == 0.0) & (np.diff(lon) == 0.0)
    again = np.logical_and.accumulate(repeated | ~fresh)  # still where the older stamp was
    way = {
        "path_m": float(np.sum(_lengths(lat[fresh], lon[fresh]))),
        "moved_path_m": float(np.sum(_lengths(lat[~again], lon[~again]))),
        "stale_s": max(float(start_ns - t_ns[0]) * 1e-9, 0.0),
    }
    speed = columns["speed"][order][fresh] if "speed" in columns else np.full(int(fresh.sum()), np.nan)
    known = speed >= 0.0
    if known.sum() >= 2:
        seconds = np.diff(t_ns[fresh][known]) * 1e-9
        way["doppler_m"] = float(np.sum((speed[known][1:] + speed[known][:-1]) / 2 * seconds))
    return way


def _lengths(lat: Floats, lon: Floats) -> Floats:
    """Return the great-circle distances from fix to fix, m; angles in rad."""
    half = np.sin(np.diff(lat) / 2) ** 2 + np.cos(lat[:-1]) * np.cos(lat[1:]) * np.sin(np.diff(lon) / 2) ** 2
    lengths: Floats = 2.0 * EARTH_M * np.arcsin(np.sqrt(half))
    return lengths


def _heights(barometer: Stream) -> Floats:
    """Return the heights of the pressures' means over each second, in the standard atmosphere, m."""
    pressure_hpa = _columns(barometer)["pressure"]
    second = np.array(barometer.t_ns, dtype=np.int64) // NS_PER_S
    known = pressure_hpa > 0.0
    _, place = np.unique(second[known], return_inverse=True)
    mean_hpa = np.bincount(place, pressure_hpa[known]) / np.bincount(place)
    heights: Floats = SCALE_M * (1.0 - (mean_hpa / SEA_LEVEL_HPA) ** EXPONENT)
    return heights


def climbs(height_m: Floats) -> tuple[float, float]:
    """Return the ascent and descent of heights, m: between turns that are HYSTERESIS_M apart or more."""
    if not len(height_m):
        return 0.0, 0.0
    up = down = 0.0
    low = high = turn = float(height_m[0])
    direction = 0
    for height in map(float, height_m):
        low, high = min(low, height), max(high, height)
        if direction >= 0 and high - height >= HYSTERESIS_M:
            up += high - turn if direction > 0 else 0.0
            direction, turn, low = -1, high, height
        elif direction <= 0 and height - low >= HYSTERESIS_M:
            down += turn - low if direction < 0 else 0.0
            direction, turn, high = 1, low, height
    if direction > 0:
        up += high - turn
    elif direction < 0:
        down += turn - low
    return up, down


# The section


def section(scores: list[PhoneScore]) -> Section:
    """Return tables, targets and figures of scored exports."""
    read_ones = [each for each in scores if not each.error]
    tables = [_distances(read_ones), _heights_table(read_ones), _rates(read_ones)]
    if unread := [each for each in scores if each.error]:
        rows = tuple((each.file, each.error) for each in unread)
        tables.append(
            Table("Exports that cannot be read", (Column("export", "left"), Column("error", "left")), rows)
        )
    return Section(
        name="phones",
        title="Phones: Sensor Logger exports",
        conditions=(
            "Each export goes through the engine of `kinefuse analyze` as the messages that the phone would "
            "have published. There is no truth in them. *path* is the sum of great circles through the "
            "positions from the first stamp on that is not older than the recording; *path, moved* leaves "
            "out a last known position that the phone delivered again under a new stamp, and with it the "
            "jump to where it was; *Doppler* is the integral of the receiver's own speed. The last two "
            "columns say how many of our sigmas those answers are away from ours.",
            "The barometer's ascent and descent are of its pressure in the standard atmosphere, averaged "
            f"over each second, between turns of {HYSTERESIS_M:g} m or more.",
        ),
        tables=tuple(tables),
        targets=_targets(read_ones),
        figures={"exports": [msgspec.to_builtins(each) for each in scores]},
    )


def _targets(scores: list[PhoneScore]) -> tuple[Target, ...]:
    """Return the bounds that issue 2 sets for phones that go somewhere, 500 m or more by their positions."""
    ways = []
    descents = []
    for each in scores:
        summary, sensors = each.summary, each.sensors
        if summary is None or sensors.path_m is None or sensors.path_m < 500.0:
            continue
        if summary.distance_m is not None:
            ways.append((each.file, 100.0 * (summary.distance_m / sensors.path_m - 1.0)))
        if summary.descent_m is not None and sensors.descent_m is not None:
            descents.append((each.file, summary.descent_m - sensors.descent_m))
    return (
        _target("distance against the path through the positions, 500 m or more", PATH_PERCENT, "%", ways),
        _target("descent against the barometer's, the same exports", DESCENT_M, "m", descents),
    )


def _target(name: str, limit: float, unit: str, errors: list[tuple[str, float]]) -> Target:
    missed = tuple(f"{file}: {error:+.2f} {unit}" for file, error in errors if abs(error) > limit)
    worst = max((abs(error) for _, error in errors), default=None)
    return Target(name, limit, worst, unit, len(errors), missed)


def _text(value: float | None, decimals: int = 0) -> str:
    return "-" if value is None else f"{value:,.{decimals}f}"


def _sigmas(value: float | None, summary: Summary | None, name: str) -> str:
    """Return how many of our sigma another answer is away."""
    ours, sigma = value_of(summary, name), sigma_of(summary, name)
    return "-" if value is None or ours is None or not sigma else f"{abs(value - ours) / sigma:.1f}"


def _distances(scores: list[PhoneScore]) -> Table:
    names = ("ours, m", "± sigma", "path, m", "path, moved, m", "Doppler, m")
    columns = (Column("export", "left"), Column("phone", "left"), Column("rows"), *map(Column, names))
    columns += (Column("path, sigmas"), Column("Doppler, sigmas"))
    rows = tuple(
        (
            each.file,
            each.model or "-",
            f"{each.rows:,}",
            _text(value_of(each.summary, "distance_m")),
            _text(sigma_of(each.summary, "distance_m")),
            _text(each.sensors.path_m),
            _text(each.sensors.moved_path_m),
            _text(each.sensors.doppler_m),
            _sigmas(each.sensors.path_m, each.summary, "distance_m"),
            _sigmas(each.sensors.doppler_m, each.summary, "distance_m"),
        )
        for each in scores
    )
    return Table("Distance", columns, rows)


def _heights_table(scores: list[PhoneScore]) -> Table:
    names = ("ascent, m", "± sigma", "barometer, m", "descent, m", "± sigma", "barometer, m", "steps")
    rows = tuple(
        (
            each.file,
            _text(value_of(each.summary, "ascent_m"), 1),
            _text(sigma_of(each.summary, "ascent_m"), 1),
            _text(each.sensors.ascent_m, 1),
            _text(value_of(each.summary, "descent_m"), 1),
            _text(sigma_of(each.summary, "descent_m"), 1),
            _text(each.sensors.descent_m, 1),
            _text(value_of(each.summary, "steps")),
        )
        for each in scores
    )
    return Table("Ascent, descent and steps", (Column("export", "left"), *map(Column, names)), rows)


def _rates(scores: list[PhoneScore]) -> Table:
    rows = tuple(
        (each.file, *(_text(each.sensors.rates_hz.get(name), 1) for name in RATES)) for each in scores
    )
    return Table("Rates of the sensors, Hz", (Column("export", "left"), *map(Column, RATES)), rows)
