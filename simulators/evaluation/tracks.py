"""The peers: what plain sums over a file's own samples give.

Nothing here is fused or gated. Pieces of a track between pauses of the timer are summed apart.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

import gpxpy.gpx

from server.files.recording import SampleRecording
from server.messages import Gnss, HeartRate

EARTH_M = 6_371_008.8  # mean radius, IUGG
GAP_NS = 30_000_000_000  # fixes further apart leave the time between them without position
NS_PER_S = 1_000_000_000


class Peers(NamedTuple):
    """Plain sums over a file.

    Attributes
    ----------
    path_m : float or None
        Great-circle lengths from fix to fix.
    gpxpy_m : float or None
        gpxpy's ``length_2d`` after its ``smooth``.
    doppler_m : float or None
        The device's own speed at each fix, by trapezoids.
    gpxpy_up_m, gpxpy_down_m : float or None
        gpxpy's ``get_uphill_downhill``.
    heart_rate_bpm : float or None
        Plain mean of the samples while the timer ran.
    fixed_share : float
        How much of the timer's time lies between fixes at most 30 s apart, 0 to 1.
    """

    path_m: float | None
    gpxpy_m: float | None
    doppler_m: float | None
    gpxpy_up_m: float | None
    gpxpy_down_m: float | None
    heart_rate_bpm: float | None
    fixed_share: float


def peers_of(recording: SampleRecording) -> Peers:
    """Return the peers' answers for a file."""
    fixes = [(t.t_ns, t.message) for t in recording.timeline if isinstance(t.message, Gnss)]
    pieces = list(_pieces(fixes, recording.pauses))
    timer_ns = recording.end_ns - recording.start_ns - sum(b - a for a, b in recording.pauses)
    fixed_ns = sum(b - a for piece in pieces for (a, _), (b, _) in pairwise(piece) if b - a <= GAP_NS)
    up_m, down_m = _climb(pieces)
    return Peers(
        path_m=sum(_path(piece) for piece in pieces) if pieces else None,
        gpxpy_m=_gpxpy_length(pieces) if pieces else None,
        doppler_m=_doppler(pieces),
        gpxpy_up_m=up_m,
        gpxpy_down_m=down_m,
        heart_rate_bpm=_heart_rate(recording),
        fixed_share=min(fixed_ns / timer_ns, 1.0) if timer_ns > 0 else 0.0,
    )


Fixes = list[tuple[int, Gnss]]


def _pieces(fixes: Fixes, pauses: Sequence[tuple[int, int]]) -> Iterator[Fixes]:
    """Yield the fixes of each stretch during which the timer ran, of two fixes or more."""
    times = [t for t, _ in fixes]
    begin = 0
    for pause, resume in pauses:
        end = bisect_left(times, pause + 1)
        if end - begin > 1:
            yield fixes[begin:end]
        begin = bisect_left(times, resume)
    if len(fixes) - begin > 1:
        yield fixes[begin:]


def haversine_m(a: Gnss, b: Gnss) -> float:
    """Return the great-circle distance of two fixes on the sphere of the mean radius, m."""
    phi_a, phi_b = math.radians(a.lat), math.radians(b.lat)
    chord = (
        math.sin((phi_b - phi_a) / 2) ** 2
        + math.cos(phi_a) * math.cos(phi_b) * math.sin(math.radians(b.lon - a.lon) / 2) ** 2
    )
    return 2 * EARTH_M * math.asin(min(math.sqrt(chord), 1.0))


def _path(piece: Fixes) -> float:
    return sum(haversine_m(a, b) for (_, a), (_, b) in pairwise(piece))


def _doppler(pieces: list[Fixes]) -> float | None:
    """Return the integral of the device's own speed, None where few fixes tell it."""
    metres, told_ns, all_ns = 0.0, 0, 0
    for piece in pieces:
        for (t_a, a), (t_b, b) in pairwise(piece):
            all_ns += t_b - t_a
            if a.speed_mps is not None and b.speed_mps is not None:
                told_ns += t_b - t_a
                metres += (a.speed_mps + b.speed_mps) / 2 * (t_b - t_a) / NS_PER_S
    return metres if all_ns and told_ns >= 0.9 * all_ns else None


def _segments(pieces: list[Fixes]) -> Iterator[gpxpy.gpx.GPXTrackSegment]:
    for piece in pieces:
        points = [
            gpxpy.gpx.GPXTrackPoint(g.lat, g.lon, g.alt_m, datetime.fromtimestamp(t / NS_PER_S, UTC))
            for t, g in piece
        ]
        yield gpxpy.gpx.GPXTrackSegment(points)


def _gpxpy_length(pieces: list[Fixes]) -> float:
    """Return gpxpy's length of the track that gpxpy has smoothed."""
    metres = 0.0
    for segment in _segments(pieces):
        segment.smooth(vertical=False, horizontal=True)
        metres += segment.length_2d()
    return metres


def _climb(pieces: list[Fixes]) -> tuple[float | None, float | None]:
    """Return gpxpy's ascent and descent, m; None where no two fixes have a height."""
    climbs = [segment.get_uphill_downhill() for segment in _segments(pieces) if segment.has_elevations()]
    if not climbs:
        return None, None
    return sum(c.uphill for c in climbs), sum(c.downhill for c in climbs)


def _heart_rate(recording: SampleRecording) -> float | None:
    """Return the plain mean of the rates while the timer ran."""
    starts = [a for a, _ in recording.pauses]
    rates = []
    for timed in recording.timeline:
        if isinstance(timed.message, HeartRate) and timed.message.bpm is not None:
            index = bisect_left(starts, timed.t_ns) - 1
            paused = index >= 0 and timed.t_ns < recording.pauses[index][1]
            if not paused and timed.t_ns >= recording.start_ns:
                rates.append(timed.message.bpm)
    return sum(rates) / len(rates) if rates else None
