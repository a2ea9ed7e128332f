"""``kinefuse evaluate heart``: heart rate while a strap is gone or light follows the cadence; and beats."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulators.evaluation import heart_beats, heart_reach, heart_runs
from simulators.evaluation.heart_runs import Floats, Run, Sensors
from simulators.evaluation.heart_tables import LOCK_COLUMNS, LOSS_COLUMNS, picture
from simulators.evaluation.section import NothingToEvaluateError, Options, Section, Table, Target

SEEDS: Final = range(1_000, 1_050)  # none of them was looked at while the models were made
SECONDS: Final = 900
LONGEST_S: Final = (900.0, 240.0)  # of a part of a session, and of intervals
GAP_S: Final = 30
SETTLED_S: Final = 30
SIMULATED_GAPS: Final = (200, 120)  # the first begins so late, s, the next ones so long after it
RECORDED_GAPS: Final = (70, 300)  # two minutes each
FILE_GAPS: Final = (100, 150)
NORMAL_90: Final = 1.645
LOCK_SECONDS: Final = 90
WATCH: Final = ", watch"  # of kinds whose athletes wear one beside the strap
GRACE_S: Final = 10  # after a lock has ended: flags then are late, not false

CONDITIONS: Final = (
    "Simulated hearts follow programmes of rest, walking and running, whose parts last one to fifteen "
    "minutes (sessions) or one to four (intervals). Their strap tells intervals, whose variation has the "
    "spectra of simulators/heart.py, and their inertial device tells steps. Recorded beats are those of "
    "chest straps (GUDB: fifteen subjects at rest and in motion, two minutes each; a Polar recording of "
    "an exercise session), their truth the mean rate over 10 s about each moment. The rates in FIT and "
    "TCX files are their own truth; runs bring their cadence. *Watch*: a receiver and a barometer are worn "
    "too, and the inertial device tells vertical velocity; files bring their fixes and their power.",
    "What the figures rest on: a search set the modes' noises and memory on GUDB's even subjects and "
    "every second file, and the others alone are shown; an athlete of several files may be in both "
    "halves. How effort is learnt and the limits of a lock were then chosen by hand, with figures of all "
    "kinds in sight, those that are shown too: they are not blind. What a strap's sigma is made of, and "
    "how a rate goes back while nothing is heard, was fitted to GUDB's even subjects, the Polar session, "
    "files of the other half and simulated seeds 0 to 7; when their forms were chosen GUDB's odd subjects"
    " were in sight. What the slope adds in a silence and within the lag was then chosen by hand, on made"
    " hearts that the simulator does not have, with all recordings in sight. The simulated seeds are "
    "fresh; the kinds of programme are not. Simulated hearts follow effort by the same published laws and"
    " time constants as the model does, which flatters the simulated figures of a strap that is gone.",
    "*Gone*: for 30 s at a time the strap tells nothing. *Held* holds the last rate that it told; "
    "*filterpy* is a filter of rate and slope, as its documentation builds one, not tuned. Errors are "
    "means of their sizes over all seconds of all gaps. *In 90 %*: the share of moments at which the "
    "truth is within 1.645 sigma.",
    "*Lock*: light tells the mean cadence of 5 s, or half of it, for 90 s, where that is 10 bpm or more "
    "away from the heart. Delay is from the beginning to the first second that is flagged. *False* is the "
    "share of all other seconds that are flagged, but for 10 s after a lock. After a minute without a "
    "strap there is no value: errors are of the seconds that have one.",
    "![A simulated run whose strap is gone for 30 s](heart-gone.svg)",
)


class Loss(NamedTuple):
    """How a kind of run did while its strap was gone; errors in bpm."""

    name: str
    runs: int
    gaps: int
    ours: float
    held: float
    filterpy: float
    worst: float  # 95 % of ours are smaller
    inside: float  # shares, while the strap was gone
    outside: float  # and while it was not
    nis: float
    error: float  # while it was not
    reach: heart_reach.Reach
    athletes: tuple[heart_reach.Recording, ...]


class Locked(NamedTuple):
    """How a kind of lock was found."""

    name: str
    locks: int
    found: int
    median_s: float
    worst_s: float
    false: float
    error: float  # of the rate while it lasts, bpm
    believed: float  # of one who believes the light


def evaluate(options: Options) -> Section:
    """Evaluate all of it.

    Raises
    ------
    NothingToEvaluateError
        The folder holds no recorded beats.
    """
    series = heart_runs.gudb(options.data)
    if not series:
        raise NothingToEvaluateError(f"no annotation_cs.tsv of GUDB under {options.data}")
    held_out = [(name, rr) for subject, name, rr in series if int(subject[-2:]) % 2]
    sessions, simulated = (
        [heart_runs.simulated(seed, SECONDS, longest_s) for seed in SEEDS] for longest_s in LONGEST_S
    )
    beats = [heart_runs.recorded(name, rr) for name, rr in held_out]
    long = heart_runs.hrm(options.data, "exercise_rri.hrm")
    kinds = [
        ("simulated sessions, beats", sessions, heart_runs.by_beats, SIMULATED_GAPS),
        ("simulated intervals, beats", simulated, heart_runs.by_beats, SIMULATED_GAPS),
        (f"simulated sessions, beats{WATCH}", sessions, heart_runs.by_beats, SIMULATED_GAPS),
        (f"simulated intervals, beats{WATCH}", simulated, heart_runs.by_beats, SIMULATED_GAPS),
        ("simulated intervals, rates", simulated, heart_runs.by_strap, SIMULATED_GAPS),
        ("GUDB, beats", beats, heart_runs.by_beats, RECORDED_GAPS),
        ("GUDB, rates", beats, heart_runs.by_strap, RECORDED_GAPS),
    ]
    if long is not None:
        kinds.append(("Polar, beats", [heart_runs.recorded("polar", long)], heart_runs.by_beats, FILE_GAPS))
    files = heart_runs.files(options.data)[1::2]
    if files:
        kinds += [(f"files, rates{also}", files, heart_runs.by_strap, FILE_GAPS) for also in ("", WATCH)]
    losses = [lose(name, runs, sensor, gaps) for name, runs, sensor, gaps in kinds]
    locks = [
        find(name, simulated, share, *sensors)
        for name, share, sensors in (
            ("light alone, cadence", 1.0, [heart_runs.by_light]),
            ("light alone, half", 0.5, [heart_runs.by_light]),
            ("light and strap, cadence", 1.0, [heart_runs.by_beats, heart_runs.by_light]),
            ("light and strap, half", 0.5, [heart_runs.by_beats, heart_runs.by_light]),
        )
    ]
    artefacts = heart_beats.artefacts(held_out if long is None else [*held_out, ("polar", long)])
    return _section(losses, locks, artefacts, simulated)


def lose(name: str, runs: Sequence[Run], sensor: Sensors, gaps: tuple[int, int]) -> Loss:
    """Take the strap away again and again, and compare what is told with the truth."""
    first, period = gaps
    gone = [np.zeros(len(run.truth), bool) for run in runs]
    begins = [range(first, len(mask) - GAP_S, period) for mask in gone]
    for mask, each in zip(gone, begins, strict=True):
        for begin in each:
            mask[begin : begin + GAP_S] = True
    cut = [without(run, mask) for run, mask in zip(runs, gone, strict=True)]
    outcome = heart_runs.ours(cut, sensor, watch=name.endswith(WATCH))
    low, high = outcome.bounds
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    parts: dict[str, list[NDArray[Any]]] = {}
    for i, (run, mask) in enumerate(zip(cut, gone, strict=True)):
        k = len(mask)
        errors = outcome.value[i, :k] - run.truth
        told = _told(run, sensor)
        settled = ~mask
        settled[:SETTLED_S] = False
        told_one = ~np.isnan(errors)
        ratio = np.abs(errors) / outcome.sigma[i, :k]
        for key, values in (
            ("ours", np.abs(errors)[mask]),
            ("held", np.abs(held(told) - run.truth)[mask]),
            ("filterpy", np.abs(constant_velocity(told) - run.truth)[mask]),
            ("inside", ratio[mask & told_one] <= NORMAL_90),
            ("outside", ratio[settled & told_one] <= NORMAL_90),
            ("error", np.abs(errors)[settled]),
            ("nis", np.abs(outcome.nis[i, :k] - middle[i, :k]) <= half[i, :k]),
        ):
            parts.setdefault(key, []).append(values[settled] if key == "nis" else values)
    all_of = {key: np.concatenate(values) for key, values in parts.items()}
    means = {key: float(np.nanmean(values)) for key, values in all_of.items()}
    return Loss(
        name,
        len(runs),
        sum(map(len, begins)),
        **means,
        worst=float(np.nanquantile(all_of["ours"], 0.95)),
        reach=heart_reach.reach(runs, begins, GAP_S),
        athletes=heart_reach.by_athlete([run.name for run in runs], parts["ours"], parts["held"], GAP_S),
    )


def _beats_of_people(kind: str) -> bool:
    """Return whether a kind is of recorded beats, not of a file's rates."""
    return kind.startswith(("GUDB", "Polar"))


def without(run: Run, gone: NDArray[np.bool_]) -> Run:
    """Return a run whose strap tells nothing where it is gone."""
    told, beats = run.told.copy(), run.beats.copy()
    told[gone], beats[gone] = np.nan, np.nan
    return run._replace(told=told, beats=beats)


def _told(run: Run, sensor: Sensors) -> Floats:
    """Return the rates that a strap tells, second by second, NaN where it is silent."""
    rates = [sensor(run, second) for second in range(len(run.truth))]
    return np.array([one[0][0] if one else np.nan for one in rates])


def held(told: Floats) -> Floats:
    """Return the last rate that was told, at each second."""
    last = np.maximum.accumulate(np.where(np.isnan(told), 0, np.arange(len(told))))
    return told[last]


def constant_velocity(told: Floats) -> Floats:
    """Return what filterpy's filter of rate and slope makes of the rates that are told."""
    from filterpy.common import Q_discrete_white_noise
    from filterpy.kalman import KalmanFilter

    filter_ = KalmanFilter(dim_x=2, dim_z=1)
    first = told[~np.isnan(told)][0]
    filter_.x = np.array([[first], [0.0]])
    filter_.F = np.array([[1.0, 1.0], [0.0, 1.0]])
    filter_.H = np.array([[1.0, 0.0]])
    filter_.P = np.diag([4.0, 0.25])
    filter_.R = np.array([[1.0]])
    filter_.Q = Q_discrete_white_noise(dim=2, dt=1.0, var=0.01)
    rates = np.empty(len(told))
    for second, bpm in enumerate(told):
        filter_.predict()
        if not np.isnan(bpm):
            filter_.update(bpm)
        rates[second] = filter_.x[0, 0]
    return rates


def find(name: str, runs: Sequence[Run], share: float, *sensors: Sensors) -> Locked:
    """Let light follow the cadence once in each run, far from the heart, and see when it is found."""
    locked, spans = [], []
    for seed, run in enumerate(runs):
        span = _place(run, share)
        spans.append(span)
        locked.append(heart_runs.lock(run, *span, share, np.random.default_rng([seed, 9])) if span else run)
    outcome = heart_runs.ours(locked, *sensors)
    delays, missed, errors, believed, flagged, others = [], 0, [], [], 0, 0
    for i, (run, span) in enumerate(zip(locked, spans, strict=True)):
        free = np.ones(len(run.truth), bool)
        flags = outcome.locked[i, : len(free)]
        if span:
            begin, end = span
            free[begin : end + GRACE_S] = False
            found = np.flatnonzero(flags[begin:end])
            missed += not len(found)
            delays += [float(found[0])] if len(found) else []
            errors.append(np.abs(outcome.value[i] - run.truth)[begin:end])
            believed.append(np.abs(run.light - run.truth)[begin:end])
        flagged += int(np.sum(flags & free))
        others += int(np.sum(free))
    return Locked(
        name,
        len(delays) + missed,
        len(delays),
        float(np.median(delays)) if delays else float("nan"),
        max(delays, default=float("nan")),
        flagged / others,
        float(np.nanmean(np.concatenate(errors))),
        float(np.nanmean(np.concatenate(believed))),
    )


def _place(run: Run, share: float) -> tuple[int, int] | None:
    """Return where light could lock, 10 bpm and more away from the heart with a gait; None: nowhere."""
    away = (run.cadence > 60.0) & (np.abs(run.cadence * share - run.truth) >= 10.0)
    away &= np.abs(run.cadence * share - run.truth) <= 90.0
    for begin in range(120, len(away) - LOCK_SECONDS, 10):
        if away[begin - 5 : begin + LOCK_SECONDS].mean() > 0.97:
            return begin, begin + LOCK_SECONDS
    return None


def _section(
    losses: list[Loss], locks: list[Locked], artefacts: list[heart_beats.Artefacts], runs: Sequence[Run]
) -> Section:
    rows = tuple(
        (
            *(one.name, str(one.runs), str(one.gaps)),
            *(f"{value:.2f}" for value in (one.ours, one.held, one.filterpy, one.worst)),
            *(f"{100 * value:.0f}" for value in (one.inside, one.outside, one.nis)),
            f"{one.error:.2f}",
        )
        for one in losses
    )
    lock_rows = tuple(
        (
            *(one.name, str(one.locks), str(one.found), f"{one.median_s:.0f}", f"{one.worst_s:.0f}"),
            *(f"{100 * one.false:.2f}", f"{one.error:.1f}", f"{one.believed:.1f}"),
        )
        for one in locks
    )
    tables = (
        Table("While the strap is gone for 30 s", LOSS_COLUMNS, rows),
        heart_reach.reach_table([(one.name, one.ours, one.held, one.reach) for one in losses]),
        heart_reach.athlete_table([(one.name, one.athletes) for one in losses if _beats_of_people(one.name)]),
        Table("While light follows the cadence", LOCK_COLUMNS, lock_rows),
        heart_beats.table(artefacts),
    )
    figures: dict[str, Any] = {
        "losses": [one._asdict() for one in losses],
        "locks": [one._asdict() for one in locks],
        "artefacts": [one._asdict() for one in artefacts],
    }
    return Section(
        "heart",
        "Heart rate",
        CONDITIONS,
        tables,
        _targets(losses, locks),
        figures,
        pictures=partial(picture, runs),
    )


def _targets(losses: list[Loss], locks: list[Locked]) -> tuple[Target, ...]:
    targets = [
        Target(f"strap gone for 30 s, {one.name}", 1.5, one.ours, "bpm", one.gaps)
        for one in losses
        if "beats" in one.name
    ]
    for what, key in (("gone", "inside"), ("not gone", "outside")):
        # Files are their own truth: what was told a moment ago is no test of it.
        kept = [one for one in losses if key == "inside" or not one.name.startswith("files")]
        off = {one.name: 100.0 * abs(getattr(one, key) - 0.9) for one in kept}
        missed = tuple(f"{name}: {value:.1f} points off" for name, value in off.items() if value > 5.0)
        targets.append(
            Target(
                f"coverage off 90 %, strap {what}, worst kind", 5.0, max(off.values()), "%", len(off), missed
            )
        )
    beyond = {one.name: 100.0 * (1.0 - one.nis) for one in losses}
    missed = tuple(f"{name}: {value:.0f} %" for name, value in beyond.items() if value > 10.0)
    targets.append(
        Target(
            "windowed NIS outside its bounds, worst kind",
            10.0,
            max(beyond.values()),
            "%",
            len(beyond),
            missed,
        )
    )
    lost = tuple(f"{one.name}: {one.locks - one.found} not found" for one in locks if one.found < one.locks)
    slowest = max(one.worst_s for one in locks) if not lost else float("inf")
    count = sum(one.locks for one in locks)
    targets.append(Target("cadence lock flagged, slowest", 15.0, slowest, "s", count, lost))
    targets.append(
        Target("cadence lock flagged falsely", 1.0, 100.0 * max(one.false for one in locks), "%", len(locks))
    )
    return tuple(targets)
