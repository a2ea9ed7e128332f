"""One file through the engine of ``kinefuse analyze``, beside its own totals and the peers."""

from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from server.analyze import analysis_of
from server.clock import SystemClock
from server.config import Config
from server.errors import FileError
from server.files import read
from server.files.recording import SampleRecording
from server.messages import Summary
from simulators.evaluation.tracks import Peers, peers_of

FIXED_SHARE_MIN: Final = 0.9
SPORTS: Final = ("run", "ride")
RULE: Final = (
    "A file counts for the targets when it tells that its sport is running or cycling, when at least "
    f"{FIXED_SHARE_MIN:.0%} of its timer's time lies between positions at most 30 s apart, and when it "
    "states its own total distance. Heart rate counts where such a file states its own mean. Nothing else "
    "decides: no file is left out by name or by its result."
)


class Task(NamedTuple):
    """A file, and how it is called in the report."""

    path: Path
    name: str


def value_of(summary: Summary | None, name: str) -> float | None:
    """Return a number of a summary, None where it has none."""
    found: float | None = None if summary is None else getattr(summary, name)
    return found


def sigma_of(summary: Summary | None, name: str) -> float | None:
    """Return one sigma of a number of a summary, None where it tells none."""
    return None if summary is None else summary.sigma.get(name)


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a file; m, s, bpm; None where there is none.

    ``excluded`` says why the file does not count for the targets, empty where it does.
    """

    file: str
    error: str = ""
    excluded: str = ""
    kind: str = ""
    model: str = ""
    sport: str = ""
    records: int = 0
    start_ns: int = 0
    end_ns: int = 0
    timer_s: float | None = None
    fixed_share: float | None = None
    summary: Summary | None = None
    own: dict[str, float] = {}
    path_m: float | None = None
    gpxpy_m: float | None = None
    doppler_m: float | None = None
    gpxpy_up_m: float | None = None
    gpxpy_down_m: float | None = None
    samples_mean_bpm: float | None = None
    analysis_s: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def distance_error(self) -> float | None:
        """Return (ours - own) / own, where there are both."""
        return self.against_own(value_of(self.summary, "distance_m"))

    def against_own(self, metres: float | None, name: str = "distance_m") -> float | None:
        """Return (metres - own) / own, where there are both."""
        own_m = self.own.get(name)
        return None if metres is None or not own_m else metres / own_m - 1

    @property
    def heart_rate_error_bpm(self) -> float | None:
        """Return ours - own, where there are both."""
        ours = value_of(self.summary, "heart_rate_mean_bpm")
        own = self.own.get("heart_rate_mean_bpm")
        return None if ours is None or own is None else ours - own


def score(task: Task) -> Score:
    """Return what comes of a file; one that cannot be read has an ``error``."""
    clock = SystemClock()
    begin_ns = clock.monotonic_ns()
    try:
        recording = read(task.path)
    except FileError as error:
        return Score(file=task.name, error=error.cause, excluded="cannot be read")
    workout = analysis_of(recording, Config()).workout
    analysis_s = (clock.monotonic_ns() - begin_ns) * 1e-9
    if not isinstance(recording, SampleRecording):
        return Score(file=task.name, error=f"a {recording.kind} export", excluded="no FIT, GPX or TCX")
    peers = peers_of(recording)
    paused_ns = sum(b - a for a, b in recording.pauses)
    return Score(
        file=task.name,
        excluded=_why_not(recording, peers),
        kind=recording.kind,
        model=recording.model,
        sport=recording.sport or "",
        records=recording.records,
        start_ns=recording.start_ns,
        end_ns=recording.end_ns,
        timer_s=(recording.end_ns - recording.start_ns - paused_ns) * 1e-9,
        fixed_share=peers.fixed_share,
        summary=workout.summary,
        own=recording.totals,
        path_m=peers.path_m,
        gpxpy_m=peers.gpxpy_m,
        doppler_m=peers.doppler_m,
        gpxpy_up_m=peers.gpxpy_up_m,
        gpxpy_down_m=peers.gpxpy_down_m,
        samples_mean_bpm=peers.heart_rate_bpm,
        analysis_s=analysis_s,
        warnings=recording.warnings,
    )


def _why_not(recording: SampleRecording, peers: Peers) -> str:
    """Return why a file does not count by RULE, empty where it does."""
    if recording.sport not in SPORTS:
        return f"its sport is {recording.sport}" if recording.sport else "it tells no sport"
    if not recording.totals.get("distance_m"):
        return "it states no total distance"
    if peers.fixed_share == 0.0:
        return "no positions"
    if peers.fixed_share < FIXED_SHARE_MIN:
        return f"positions for {peers.fixed_share:.0%} of its time only"
    return ""
