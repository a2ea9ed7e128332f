"""TCX: Garmin's Training Center Database v2 with its activity extensions, as many devices write it."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from server.errors import FileError
from server.files.markup import checked
from server.files.recording import Recording
from server.files.timeline import NS_PER_S, Timeline, parsed
from server.messages import Sport

SPORTS: Final[dict[str, Sport]] = {
    "running": "run",
    "walking": "walk",
    "hiking": "hike",
    "biking": "ride",
    "cycling": "ride",
    "swimming": "swim",
    "rowing": "row",
    "skiing": "ski",
    "other": "other",
}

GAP_MIN_NS: Final = 10 * NS_PER_S  # "smart" recording leaves out points for shorter than this

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class _Lap(NamedTuple):
    """A lap's own start and timer, ns, and the times of its tracks' points, ns, each sorted and not empty."""

    start_ns: int | None
    timer_ns: int
    tracks: list[list[int]]


def read(path: Path, content: bytes) -> Recording:
    """Return the recording in the bytes of a TCX file.

    Raises
    ------
    FileError
        It is not well formed, or holds no activity with a track point that has a time.
    """
    root = _parsed(path, checked(content, path))
    activities = [e for e in root.iter() if e.tag == "Activity"]
    if not activities:
        raise FileError(path, "it holds no activity")
    timeline = Timeline(path, "tcx")
    sports = {_sport_of(activity) for activity in activities}
    laps: list[_Lap] = []
    for activity in activities:
        sport = _sport_of(activity)
        for lap in activity.iter("Lap"):
            tracks = [_add_track(timeline, track, sport) for track in lap.iter("Track")]
            timer_s = _lap_total(lap, "TotalTimeSeconds") or 0.0
            laps.append(
                _Lap(_ns(lap.get("StartTime")), round(timer_s * NS_PER_S), sorted(filter(None, tracks)))
            )
    if not timeline.times:
        raise FileError(path, "it holds no track point with a time")
    points = sum(1 for e in root.iter("Trackpoint"))
    if points > len(timeline.times):
        timeline.warn(f"{points - len(timeline.times)} points without a time: left out")
    timeline.laps += [lap.start_ns for lap in laps if lap.start_ns is not None]
    timeline.pauses += _pauses([lap for lap in laps if lap.tracks])
    model = next((e.findtext("Name") or "" for e in root.iter("Creator")), "")
    sport = sports.pop() if len(sports) == 1 else "other"
    return timeline.finish(model=model.strip(), sport=sport, totals=_totals(root, timeline))


def _parsed(path: Path, content: bytes) -> ET.Element:
    """Return the tree, its tags without their namespaces, which differ between makers."""
    try:
        root = ET.fromstring(content)  # noqa: S314 (checked for declarations, size and depth)
    except (ET.ParseError, LookupError, ValueError) as error:
        raise FileError(path, f"not well-formed XML: {error}") from error
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
    return root


def _sport_of(activity: ET.Element) -> Sport | None:
    return SPORTS.get((activity.get("Sport") or "").strip().lower())


def _ns(text: str | None) -> int | None:
    """Return a time as ns of the UTC epoch, None where it is none."""
    try:
        time = datetime.fromisoformat((text or "").strip())
        aware = time if time.utcoffset() is not None else time.replace(tzinfo=UTC)
        return (aware - _EPOCH) // _MICROSECOND * 1000
    except (ValueError, OverflowError):
        return None


def _add_track(timeline: Timeline, track: ET.Element, sport: Sport | None) -> list[int]:
    """Take the points of one track; return their times, sorted."""
    times = []
    for point in track.iter("Trackpoint"):
        if (t_ns := _ns(point.findtext("Time"))) is not None:
            times.append(t_ns)
            _add_point(timeline, t_ns, point, sport)
    return sorted(times)


def _add_point(timeline: Timeline, t_ns: int, point: ET.Element, sport: Sport | None) -> None:
    """Take the samples of one track point."""
    timeline.record(t_ns)
    more = {e.tag: e.text for e in point.iterfind("Extensions//*")}
    speed_mps = parsed(more.get("Speed"), 0, 1000)
    lat, lon = parsed(point.findtext("Position/LatitudeDegrees"), -90, 90), None
    if lat is not None:
        lon = parsed(point.findtext("Position/LongitudeDegrees"), -180, 180)
    altitude_m = parsed(point.findtext("AltitudeMeters"), -1000, 100_000)
    if not timeline.position(t_ns, lat, lon, altitude_m, speed_mps):
        timeline.own_speed(t_ns, speed_mps, sport)
    timeline.heart_rate(t_ns, parsed(point.findtext("HeartRateBpm/Value"), 0, 300))
    cadence = point.findtext("Cadence") or more.get("RunCadence")
    if cadence is not None:
        timeline.cadence(t_ns, parsed(cadence, 0, 254), sport)
    timeline.power(t_ns, parsed(more.get("Watts"), 0, 5000))


def _pauses(laps: list[_Lap]) -> list[tuple[int, int | None]]:
    """Return when the timer stood, ns.

    A new track within a lap says so. Some devices tell it only by a lap that took longer by the clock than by
    its own timer: then its longest gaps without a point are the pauses, as far as they explain it.
    """
    pauses: list[tuple[int, int | None]] = []
    for index, lap in enumerate(laps):
        following = laps[index + 1] if index + 1 < len(laps) else None
        breaks = [(a[-1], b[0]) for a, b in pairwise(lap.tracks) if a[-1] < b[0]]
        pauses += breaks
        gaps = [(a, b) for times in lap.tracks for a, b in pairwise(times)]
        end_ns = lap.tracks[-1][-1]
        if following is not None:
            gaps.append((end_ns, following.tracks[0][0]))
            end_ns = max(end_ns, following.start_ns or end_ns)
        start_ns = lap.tracks[0][0] if lap.start_ns is None else lap.start_ns
        stood_ns = end_ns - start_ns - lap.timer_ns - sum(b - a for a, b in breaks)
        for begin, end in sorted(gaps, key=lambda gap: gap[0] - gap[1]):
            if lap.timer_ns and GAP_MIN_NS < end - begin <= stood_ns + GAP_MIN_NS // 2:
                pauses.append((begin, end))
                stood_ns -= end - begin
    return pauses


def _lap_total(lap: ET.Element, name: str) -> float | None:
    return parsed(lap.findtext(name), 0, 1e7)


def _totals(root: ET.Element, timeline: Timeline) -> dict[str, float]:
    """Return the sums over the laps, heart rate as their mean weighted by time; 0 is what is not told."""
    laps = list(root.iter("Lap"))
    totals: dict[str, float] = {}
    for key, name in (
        ("distance_m", "DistanceMeters"),
        ("moving_s", "TotalTimeSeconds"),
        ("energy_kcal", "Calories"),
    ):
        if total := sum(_lap_total(lap, name) or 0.0 for lap in laps):
            totals[key] = total
    last_m = max(
        (parsed(p.findtext("DistanceMeters"), 0, 1e7) or 0.0 for p in root.iter("Trackpoint")), default=0
    )
    if last_m > 2 * totals.get("distance_m", 0.0) > 0:
        timeline.warn(
            f"the laps' own distances sum to {totals['distance_m']:.0f} m, the track's own is {last_m:.0f} m"
        )
        totals["distance_m"] = last_m
    rates = [
        (bpm, _lap_total(lap, "TotalTimeSeconds") or 0.0)
        for lap in laps
        if (bpm := parsed(lap.findtext("AverageHeartRateBpm/Value"), 1, 300)) is not None
    ]
    weight_s = sum(w for _, w in rates)
    if weight_s > 0:
        totals["heart_rate_mean_bpm"] = sum(bpm * w for bpm, w in rates) / weight_s
    maxima = [
        v for lap in laps if (v := parsed(lap.findtext("MaximumHeartRateBpm/Value"), 1, 300)) is not None
    ]
    if maxima:
        totals["heart_rate_max_bpm"] = max(maxima)
    return totals
