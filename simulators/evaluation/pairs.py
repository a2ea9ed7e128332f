"""Two devices on one run: found by time and place, and compared over the time that both recorded."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.analyze import analysis_of
from server.config import Config
from server.files import read
from server.files.recording import SampleRecording, Timed, command
from server.messages import Command, Gnss, Summary
from simulators.evaluation.scores import Score
from simulators.evaluation.tracks import EARTH_M, GAP_NS, NS_PER_S, peers_of

TOGETHER_SHARE: Final = 0.9  # of the longer recording that the other one shares
NEAR_M: Final = 50.0  # median distance of two devices on one body; two groups on one road are further apart
COPY_M: Final = 0.5  # closer is one recording in two files
STEP_NS: Final = 5 * NS_PER_S  # between the moments that are compared

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


class Candidate(NamedTuple):
    """Two recordings of one time: their files, and how they are called."""

    paths: tuple[Path, Path]
    names: tuple[str, str]


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of one device of a pair, m; over its whole recording where the name says so.

    ``ours_m`` and the peers ``path_m``, ``gpxpy_m`` and ``speed_m`` are of the time that both recorded.
    """

    file: str
    model: str
    own_m: float | None
    ours_whole_m: float | None
    ours_m: float | None
    sigma_m: float | None
    path_m: float | None
    gpxpy_m: float | None
    speed_m: float | None


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two devices on one run.

    ``apart_m`` is the median distance of their positions at the same moments.
    """

    devices: tuple[Device, Device]
    together_s: float
    apart_m: float

    def difference(self, name: str) -> float | None:
        """Return by what share a field of `Device` differs, of its mean; None where one tells none."""
        first, second = (getattr(device, name) for device in self.devices)
        if first is None or second is None or first + second <= 0.0:
            return None
        return float(abs(first - second) / (0.5 * (first + second)))


def candidates(scores: Sequence[Score], folder: Path) -> list[Candidate]:
    """Return each two files with positions whose recordings share most of their time."""
    found = []
    placed = [each for each in scores if not each.error and each.path_m is not None]
    for a, b in combinations(placed, 2):
        shared_ns = min(a.end_ns, b.end_ns) - max(a.start_ns, b.start_ns)
        if shared_ns > TOGETHER_SHARE * max(a.end_ns - a.start_ns, b.end_ns - b.start_ns):
            found.append(Candidate((folder / a.file, folder / b.file), (a.file, b.file)))
    return found


def compared(candidate: Candidate) -> tuple[Pair | None, bool]:
    """Return what two devices tell of one run, None where it is not one; and whether one is a copy."""
    both = [read(path) for path in candidate.paths]
    recordings = [one for one in both if isinstance(one, SampleRecording)]
    apart_m = median_apart_m(*recordings)
    if not COPY_M < apart_m <= NEAR_M:  # NaN is not
        return None, apart_m <= COPY_M
    from_ns, to_ns = max(one.start_ns for one in recordings), min(one.end_ns for one in recordings)
    devices = [_device(*each, from_ns, to_ns) for each in zip(recordings, candidate.names, strict=True)]
    together_s = (to_ns - from_ns) / NS_PER_S
    return Pair(devices=(devices[0], devices[1]), together_s=together_s, apart_m=apart_m), False


def median_apart_m(a: SampleRecording, b: SampleRecording) -> float:
    """Return the median distance of two tracks at the same moments, m; NaN where they share none."""
    tracks = [_track(one) for one in (a, b)]
    if any(len(t_ns) < 2 for t_ns, _ in tracks):
        return float("nan")
    moments = np.arange(max(t[0] for t, _ in tracks), min(t[-1] for t, _ in tracks), STEP_NS)
    known = np.logical_and(*(_between_fixes(moments, t_ns) for t_ns, _ in tracks))
    if not known.any():
        return float("nan")
    (lat_a, lon_a), (lat_b, lon_b) = (
        [np.interp(moments[known], t_ns, column) for column in places] for t_ns, places in tracks
    )
    turns = (lon_a - lon_b + np.pi) % (2.0 * np.pi) - np.pi
    return EARTH_M * float(np.median(np.hypot(lat_a - lat_b, turns * np.cos(lat_a))))


def cut(recording: SampleRecording, from_ns: int, to_ns: int) -> SampleRecording:
    """Return what a recording holds from one time to another, as a workout of its own without laps."""
    pauses = tuple((max(a, from_ns), min(b, to_ns)) for a, b in recording.pauses if a < to_ns and b > from_ns)
    actions = [(from_ns, "start")]
    for begin, end in pauses:
        actions += [(begin, "pause"), *([(end, "resume")] if end < to_ns else [])]
    orders = [
        command(t_ns, action, number, recording.sport if action == "start" else None, from_ns)
        for number, (t_ns, action) in enumerate([*actions, (to_ns, "stop")])
    ]
    samples = [
        timed
        for timed in recording.timeline
        if from_ns <= timed.t_ns <= to_ns and not isinstance(timed.message, Command)
    ]
    timeline: list[Timed] = sorted([*orders[:-1], *samples], key=lambda timed: timed.t_ns)
    return replace(
        recording, start_ns=from_ns, end_ns=to_ns, pauses=pauses, timeline=[*timeline, orders[-1]], totals={}
    )


def _device(recording: SampleRecording, name: str, from_ns: int, to_ns: int) -> Device:
    """Return what is told of a device's recording, whole and from one time to another."""
    part = cut(recording, from_ns, to_ns)
    whole, common = (analysis_of(one, Config()).workout.summary for one in (recording, part))
    assert isinstance(whole, Summary)
    assert isinstance(common, Summary)
    peers = peers_of(part)
    return Device(
        file=name,
        model=recording.model,
        own_m=recording.totals.get("distance_m"),
        ours_whole_m=whole.distance_m,
        ours_m=common.distance_m,
        sigma_m=common.sigma.get("distance_m"),
        path_m=peers.path_m,
        gpxpy_m=peers.gpxpy_m,
        speed_m=peers.doppler_m,
    )


def _track(recording: SampleRecording) -> tuple[Times, Floats]:
    """Return times, ns, (n,), and latitudes and longitudes without a turn's jump, rad, (2, n)."""
    fixes = [(t.t_ns, t.message) for t in recording.timeline if isinstance(t.message, Gnss)]
    places = np.radians(np.array([(g.lat, g.lon) for _, g in fixes], np.float64).reshape(-1, 2).T)
    places[1] = np.unwrap(places[1])
    return np.array([t for t, _ in fixes], np.int64), places


def _between_fixes(moments: Times, t_ns: Times) -> NDArray[np.bool_]:
    """Return which moments lie between two fixes that follow each other, (m,)."""
    after = np.clip(np.searchsorted(t_ns, moments), 1, len(t_ns) - 1)
    near: NDArray[np.bool_] = t_ns[after] - t_ns[after - 1] <= GAP_NS
    return near
