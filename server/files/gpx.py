"""GPX 1.0 and 1.1 tracks, with the heart rates, cadences and powers that Garmin and others add to points."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import gpxpy

from server.errors import FileError
from server.files.markup import checked
from server.files.recording import Recording
from server.files.timeline import Timeline, parsed
from server.messages import Sport

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# What <type> holds: Garmin Connect writes words, Strava its own numbers.
SPORTS: Final[dict[str, Sport]] = {
    "running": "run",
    "run": "run",
    "trail_running": "run",
    "treadmill_running": "run",
    "track_running": "run",
    "street_running": "run",
    "virtual_run": "run",
    "9": "run",
    "walking": "walk",
    "walk": "walk",
    "10": "walk",
    "hiking": "hike",
    "hike": "hike",
    "4": "hike",
    "cycling": "ride",
    "biking": "ride",
    "ride": "ride",
    "road_biking": "ride",
    "mountain_biking": "ride",
    "gravel_cycling": "ride",
    "indoor_cycling": "ride",
    "virtual_ride": "ride",
    "1": "ride",
    "swimming": "swim",
    "open_water_swimming": "swim",
    "lap_swimming": "swim",
    "16": "swim",
    "skiing": "ski",
    "resort_skiing_snowboarding_ws": "ski",
    "cross_country_skiing_ws": "ski",
    "rowing": "row",
    "indoor_rowing": "row",
}

# Elements of points' extensions, of whatever namespace, by local name.
_HEART_RATE: Final = ("hr", "heartrate")
_CADENCE: Final = ("cad", "cadence")
_POWER: Final = ("power", "powerinwatts", "watts")


def read(path: Path, content: bytes) -> Recording:
    """Return the recording in the bytes of a GPX file.

    Raises
    ------
    FileError
        It is not well formed, holds no track, or its track has no time.
    """
    document = _parsed(path, checked(content, path))
    segments = [s.points for track in document.tracks for s in track.segments if s.points]
    if not segments:
        raise FileError(path, "it holds no track")
    sport = next(
        (SPORTS.get((t.type or "").strip().lower().replace(" ", "_")) for t in document.tracks), None
    )
    timeline = Timeline(path, "gpx")
    timed = [[(t, p) for p in points if (t := _ns(p.time)) is not None] for points in segments]
    timeless = sum(map(len, segments)) - sum(map(len, timed))
    if not any(timed):
        raise FileError(path, "the track has no time: its points tell where but not when")
    if timeless:
        timeline.warn(f"{timeless} points without a time: left out")
    for points in timed:
        for t_ns, point in points:
            _add_point(timeline, t_ns, point, sport)
    ends = sorted((min(t for t, _ in points), max(t for t, _ in points)) for points in timed if points)
    timeline.pauses += [(a[1], b[0]) for a, b in pairwise(ends) if a[1] < b[0]]
    return timeline.finish(model=(document.creator or "").strip(), sport=sport, totals={})


def _parsed(path: Path, content: bytes) -> Any:
    """Return gpxpy's document."""
    try:
        return gpxpy.parse(content)
    except (
        gpxpy.gpx.GPXException,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        cause = " ".join(str(error).split())
        raise FileError(path, f"not GPX that can be read: {cause[:120]}") from error


def _ns(time: datetime | None) -> int | None:
    """Return a point's time, ns of the UTC epoch; GPX times are UTC, also where they do not say so."""
    if time is None:
        return None
    try:
        aware = time if time.utcoffset() is not None else time.replace(tzinfo=UTC)
        return (aware - _EPOCH) // _MICROSECOND * 1000
    except (ValueError, OverflowError):  # an offset beyond a day
        return None


def _add_point(timeline: Timeline, t_ns: int, point: Any, sport: Sport | None) -> None:
    """Take the samples of one track point."""
    timeline.record(t_ns)
    more = dict(_extensions(point.extensions))
    speed_mps = point.speed if point.speed is not None else parsed(more.get("speed"), 0, 1000)
    timeline.position(t_ns, point.latitude, point.longitude, point.elevation, speed_mps)
    timeline.heart_rate(t_ns, _first(more, _HEART_RATE))
    timeline.cadence(t_ns, _first(more, _CADENCE), sport)
    timeline.power(t_ns, _first(more, _POWER))


def _extensions(elements: list[Any]) -> Iterator[tuple[str, str]]:
    """Yield local name, in small letters, and text of all elements within."""
    for element in elements:
        for inner in element.iter():
            if isinstance(inner.tag, str) and inner.text:
                yield inner.tag.rsplit("}", 1)[-1].lower(), inner.text


def _first(values: dict[str, str], names: tuple[str, ...]) -> float | None:
    """Return the first of the named values that is a number, 0 to 10,000."""
    return next((v for name in names if (v := parsed(values.get(name), 0, 10_000)) is not None), None)
