"""Hearts to be told: simulated ones and recorded beats, what sensors make of them, and what is made of that.

All runs of a kind are rows of one table and step together, once a second.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.athletes import Athletes, Profile
from fusion.intervals import Cleaner
from fusion.measurements import Measurements, Source, Sport
from fusion.models import consistency
from server.errors import FileError
from server.files import read
from server.files.recording import SampleRecording
from server.messages import Cadence, HeartRate
from simulators.evaluation import heart_watch
from simulators.evaluation.heart_watch import RISE_SIGMA_MPS, Watch
from simulators.heart import TICK_HZ, Beats, Body
from simulators.programme import Phase
from simulators.sensors import Optical
from simulators.truth import Truth

_FILE = re.compile(r"\.(fit|tcx)(\.xz)?$")
_SUBJECT = re.compile(r"subject_\d\d")
FILE_SECONDS_MAX: Final = 3_000
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

START_NS: Final = 1_790_000_000 * 10**9
SECOND_NS: Final = 10**9
RECENT: Final = 5  # beats of which a strap tells the mean
MEAN_S: Final = 10.0  # about a moment: what counts as the rate of recorded beats then
LOCK_WINDOW_S: Final = 5  # of light that follows the cadence
LOCK_NOISE_BPM: Final = 1.0


class Run(NamedTuple):
    """One heart, second by second, NaN where a sensor tells nothing; k seconds.

    ``told`` are sensors' own means of the last beats, ``beats`` the rate of cleaned intervals with sigma
    and lag.
    """

    name: str
    truth: Floats  # (k,) bpm
    told: Floats  # (k,)
    beats: Floats  # (k, 3)
    light: Floats  # (k,)
    cadence: Floats  # (k,) steps a minute; NaN: no inertial device is worn
    profile: Profile = Profile()
    watch: Watch | None = None  # None: nothing but strap, light and inertial device


class Outcome(NamedTuple):
    """What is told of runs at the end of each second, (n, k) each."""

    value: Floats  # NaN: nothing
    sigma: Floats
    source: Ints
    nis: Floats  # over the model's window
    bounds: Floats  # (2, n, k) of it
    locked: NDArray[np.bool_]


def simulated(seed: int, seconds: int, longest_s: float) -> Run:
    """Return a heart that obeys an athlete's programme of rest, walking and running.

    Parts of it last from a minute to ``longest_s``, all scales alike. Cadence goes with speed as athletes'
    does: on the walk with its square root (Grieve and Gear 1966, doi 10.1080/00140136608964399), on the run
    hardly.
    """
    rng = np.random.default_rng([seed, 5])
    body = Body(
        resting_bpm=rng.uniform(48.0, 68.0),
        max_bpm=rng.uniform(175.0, 200.0),
        uptake_max=rng.uniform(40.0, 62.0),
    )
    rate = rng.uniform(155.0, 178.0)
    phases = [Phase("rest", float(rng.integers(60, 180)))]
    while sum(phase.duration_s for phase in phases) < seconds:
        run = rng.random() < 0.6
        speed = rng.uniform(2.2, 4.2) if run else rng.uniform(1.0, 1.7)
        cadence = rate + (7.0 * (speed - 3.0) if run else 100.0 * (speed**0.5) - rate) + rng.normal(0.0, 2.0)
        if rng.random() < 0.15:
            phases.append(Phase("rest", float(rng.integers(40, 150))))
        phases.append(
            Phase(
                "run" if run else "walk",
                float(round(60.0 * (longest_s / 60.0) ** rng.random())),
                speed,
                cadence,
            )
        )
    truth = Truth(phases, body, rng)
    t_s = np.arange(1.0, seconds + 1.0)
    beats = Beats(truth.heart, rng).until(float(seconds))
    beats = np.rint(beats * TICK_HZ) / TICK_HZ
    optical = Optical(truth, rng)
    light = np.array([optical.read(float(t)).bpm for t in t_s], dtype=np.float64)
    state = truth.state(t_s)
    told, cleaned = strap(beats, seconds)
    profile = Profile(mass_kg=body.mass_kg, resting_bpm=round(body.resting_bpm), max_bpm=round(body.max_bpm))
    watch = heart_watch.simulated(truth, np.random.default_rng([seed, 6]), seconds)
    return Run(
        f"seed {seed}", truth.heart.rate_bpm(t_s), told, cleaned, light, state.cadence_spm, profile, watch
    )


def recorded(name: str, rr_s: Floats) -> Run:
    """Return a heart whose beats were recorded; its rate is the mean over MEAN_S about each moment."""
    ends = np.cumsum(rr_s)
    seconds = int(ends[-1])
    told, cleaned = strap(ends, seconds)
    none = np.full(seconds, np.nan)
    return Run(name, mean_rate(rr_s, seconds), told, cleaned, none, none)


def mean_rate(rr_s: Floats, seconds: int) -> Floats:
    """Return the rate of intervals that end one after the other, over MEAN_S about each second, bpm."""
    ends = np.concatenate([[0.0], np.cumsum(rr_s)])
    phase = np.arange(float(len(ends)))
    t_s = np.arange(1.0, seconds + 1.0)
    low, high = np.maximum(t_s - 0.5 * MEAN_S, 0.0), np.minimum(t_s + 0.5 * MEAN_S, ends[-1])
    turns = np.interp(high, ends, phase) - np.interp(low, ends, phase)
    return np.asarray(60.0 * turns / (high - low))


def strap(beats_s: Floats, seconds: int, rr_s: Floats | None = None) -> tuple[Floats, Floats]:
    """Return what a strap tells each second of beats at these times, and what is made of its intervals.

    Parameters
    ----------
    rr_s : (m,) or None
        The intervals that end at the beats, where they are not what lies between.
    """
    told, cleaned = np.full(seconds, np.nan), np.full((seconds, 3), np.nan)
    rr_ms = 1e3 * (np.diff(beats_s) if rr_s is None else rr_s[1:])
    ends = beats_s[1:]
    cleaner = Cleaner()
    at = 0
    for second in range(seconds):
        until = int(np.searchsorted(ends, second + 1.0, side="right"))
        if until:
            recent = rr_ms[max(until - RECENT, 0) : until]
            told[second] = np.round(60e3 * len(recent) / recent.sum())
        rate = cleaner.rate(rr_ms[at:until].tolist())
        if rate is not None:
            late_s = second + 1.0 - ends[until - 1]
            cleaned[second] = rate.bpm, rate.sigma_bpm, rate.lag_s + late_s
        at = until
    return told, cleaned


def lock(run: Run, since: int, until: int, share: float, rng: np.random.Generator) -> Run:
    """Return a run whose light follows the cadence, or a share of it, from one second to another."""
    light = run.light.copy()
    followed = np.convolve(run.cadence, np.full(LOCK_WINDOW_S, 1 / LOCK_WINDOW_S))[: len(light)] * share
    noise = np.convolve(rng.normal(size=len(light) + 2), np.full(3, 1 / 3), mode="valid") * 3**0.5
    light[since:until] = np.round(followed[since:until] + LOCK_NOISE_BPM * noise[since:until])
    return run._replace(light=light)


Sensors = Callable[[Run, int], list[tuple[float, float, Source, float]]]


def by_beats(run: Run, second: int) -> list[tuple[float, float, Source, float]]:
    """Return what a strap that tells intervals gives: bpm, sigma, source and lag, none where it is silent."""
    bpm, sigma, lag_s = run.beats[second].tolist()
    return [] if np.isnan(bpm) else [(bpm, sigma, Source.STRAP, lag_s)]


def by_strap(run: Run, second: int) -> list[tuple[float, float, Source, float]]:
    """Return what a strap that tells its rate alone gives."""
    bpm = float(run.told[second])
    return [] if np.isnan(bpm) else [(bpm, 1.0, Source.STRAP, np.nan)]


def by_light(run: Run, second: int) -> list[tuple[float, float, Source, float]]:
    """Return what light gives."""
    bpm = float(run.light[second])
    return [] if np.isnan(bpm) else [(bpm, 3.0, Source.OPTICAL, np.nan)]


def ours(runs: Sequence[Run], *sensors: Sensors, watch: bool = False) -> Outcome:
    """Return what is told of runs whose athletes wear these sensors and an inertial device.

    Parameters
    ----------
    watch : bool
        Whether they wear their watch too.
    """
    table = Athletes()
    rows = np.array([table.add(run.profile) for run in runs], dtype=np.intp)
    for row, run in enumerate(runs):
        table.begin(row, START_NS, run.watch.sport if watch and run.watch else Sport.RUN)
    seconds = max(len(run.truth) for run in runs)
    shape = (len(runs), seconds)
    out = Outcome(
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        np.zeros(shape, np.int64),
        np.ones(shape),
        np.ones((2, *shape)),
        np.zeros(shape, bool),
    )
    for second in range(seconds):
        t_ns = START_NS + (second + 1) * SECOND_NS
        rates, windows = [], []
        others: dict[str, list[tuple[float, ...]]] = {"gnss": [], "baro": [], "power": []}
        for row, run in enumerate(runs):
            if second >= len(run.truth):
                continue
            rates += [
                (row, t_ns - 3 + i, i, bpm, sigma, int(source), lag_s)
                for i, sensor in enumerate(sensors)
                for bpm, sigma, source, lag_s in sensor(run, second)
            ]
            spm = float(run.cadence[second])
            interval_s = 60.0 / spm if spm > 60.0 else 0.0
            if not np.isnan(spm):
                rise = float(run.watch.rise_mps[second]) if watch and run.watch else 0.0
                windows.append((row, t_ns - 5, 9, 2, 1.0, rise, RISE_SIGMA_MPS, 3.0, 1.0, 0, interval_s, 64))
            if watch and run.watch:
                for kind, one in heart_watch.told(run.watch, row, t_ns, second).items():
                    others[kind] += one
        m = Measurements.of(heart_rates=rates, windows=windows, **others)
        live = table.step(rows, np.full(len(rows), t_ns), m)["heart_rate"]
        out.value[:, second], out.sigma[:, second] = live.value, live.sigma
        out.source[:, second] = live.source
        out.nis[:, second] = table.state["hr_nis"][rows]
        spread = {"hr_off": table.state["hr_off"][rows].T}
        out.bounds[:, :, second] = consistency.bounds(spread, "heart_rate")
        out.locked[:, second] = table.state["lock_on"][rows] != 0
    return out


def gudb(folder: Path) -> list[tuple[str, str, Floats]]:
    """Return subject, name and intervals, s, of each series of a chest strap, by name.

    Raises
    ------
    FileError
        One cannot be read.
    """
    found = []
    for path in sorted(folder.rglob("annotation_cs.tsv")):
        if not (path.is_file() and _SUBJECT.fullmatch(path.parts[-3])):
            continue
        try:
            with warnings.catch_warnings(action="ignore"):  # of a file that holds nothing
                rr_s = np.diff(np.loadtxt(path, ndmin=1)) / 250.0
        except (OSError, ValueError) as error:
            raise FileError(path, f"holds no beats: {error}") from None
        if len(rr_s) >= 60:
            found.append((path.parts[-3], "/".join(path.parts[-3:-1]), rr_s))
    return found


def hrm(folder: Path, name: str) -> Floats | None:
    """Return the intervals, s, of a Polar recording, or None where there is none.

    Raises
    ------
    FileError
        It cannot be read.
    """
    for path in sorted(folder.rglob(name)):
        try:
            told = path.read_text(encoding="latin-1").partition("[HRData]")[2].split()
            rr_s = np.array(told, dtype=np.float64) * 1e-3
        except (OSError, ValueError) as error:
            raise FileError(path, f"holds no beats: {error}") from None
        if len(rr_s) < 60:
            raise FileError(path, "holds less than 60 beats")
        return rr_s
    return None


def files(folder: Path) -> list[Run]:
    """Return the heart rates of FIT and TCX files of ten minutes and more, which are their own truth."""
    found = []
    for path in sorted(one for one in folder.rglob("*") if one.is_file() and _FILE.search(one.name.lower())):
        try:
            recording = read(path)
        except FileError:
            continue
        if isinstance(recording, SampleRecording):
            run = _told_by(path, recording)
            if run is not None:
                found.append(run)
    return found


def _told_by(path: Path, recording: SampleRecording) -> Run | None:
    rates = [
        (timed.t_ns, timed.message.bpm)
        for timed in recording.timeline
        if isinstance(timed.message, HeartRate) and timed.message.bpm
    ]
    seconds = min((rates[-1][0] - rates[0][0]) // SECOND_NS + 1, FILE_SECONDS_MAX) if rates else 0
    if len(rates) < 600 or seconds < 600:
        return None
    told = np.full(seconds, np.nan)
    for t_ns, bpm in rates:
        second = (t_ns - rates[0][0]) // SECOND_NS
        if second < seconds:
            told[second] = bpm
    known = np.flatnonzero(~np.isnan(told))
    truth = np.interp(np.arange(seconds), known, told[known])
    none = np.full(seconds, np.nan)
    spm = _cadence(recording, rates[0][0], seconds)
    watch = heart_watch.recorded(recording, rates[0][0], seconds)
    return Run(path.name, truth, told, np.full((seconds, 3), np.nan), none, spm, watch=watch)


def _cadence(recording: SampleRecording, first_ns: int, seconds: int) -> Floats:
    """Return the cadence that a file on foot tells, second by second, NaN where it tells none."""
    spm = np.full(seconds, np.nan)
    if recording.sport in ("run", "walk", "hike"):
        for timed in recording.timeline:
            second = (timed.t_ns - first_ns) // SECOND_NS
            if isinstance(timed.message, Cadence) and timed.message.spm is not None and 0 <= second < seconds:
                spm[second] = timed.message.spm
    return spm
