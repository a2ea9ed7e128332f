"""``evaluate orientation``: the orientation core on BROAD's trials, clean and as streams are, with peers."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Final

import msgspec
import numpy as np

from fusion.orientation import track
from simulators.evaluation import peers
from simulators.evaluation.attitude import Errors, errors
from simulators.evaluation.section import Column, NothingToEvaluateError, Options, Section, Table, Target
from simulators.evaluation.trials import CASES, Trial, load, trials_under
from simulators.evaluation.workers import share

PAGE: Final = "orientation.md"
OURS: Final = "ours"
INSTANT: Final = "ours, as instantaneous values"

# Case: limits of 9D total and 6D inclination, deg.
LIMITS: Final = {
    "full": (2.25, 0.71),
    "uniform": (2.25, 0.72),
    "jitter": (2.25, 0.73),
    "drop": (3.1, 1.35),
    "clip500": (4.4, 2.1),
}
ALIGNED_DEG: Final = 2.61  # 6D total at full rate


class Task(msgspec.Struct, frozen=True):
    """A trial in a case, and the filters to run on it beside ours."""

    path: Path
    case: str
    peers: tuple[str, ...]


class Score(msgspec.Struct, frozen=True):
    """What each filter's errors are: with the magnetometer and without."""

    trial: str
    case: str
    found: dict[str, tuple[Errors, Errors]]


def evaluate(options: Options) -> Section:
    """Score every trial under the data folder in every case.

    Raises
    ------
    NothingToEvaluateError
        There is no trial.
    """
    paths = trials_under(options.data)
    if not paths:
        raise NothingToEvaluateError(f"no BROAD trial (.npz beside a trials.json) under {options.data}")
    if lack := peers.missing():
        print(f"kinefuse: {lack}", file=sys.stderr)
    versions = peers.versions()
    names = tuple(name for name, (package, _) in peers.PEERS.items() if package in versions)
    tasks = [Task(path, case, names) for case in CASES for path in paths]
    scores = share(score, tasks, workers=options.workers, name=lambda task: f"{task.case}: {task.path.stem}")
    return section(scores, versions, paths)


def score(task: Task) -> Score:
    """Return the errors of ours and the peers; at full rate ours in both conventions of sampling."""
    trial = CASES[task.case][0](load(task.path))
    filters: dict[str, Callable[[Trial], peers.Answer]] = {OURS: ours}
    if task.case == "full":
        filters[INSTANT] = ours_instantaneous
    filters |= {name: peers.PEERS[name][1] for name in task.peers}
    found = {}
    for name, run in filters.items():
        q9, q6 = run(trial)
        found[name] = (errors(q9, trial.q_eb, trial.moving), errors(q6, trial.q_eb, trial.moving))
    return Score(trial.name, task.case, found)


def ours(trial: Trial) -> peers.Answer:
    """Return our answer, told that samples are means."""
    return _ours(trial, means=True)


def ours_instantaneous(trial: Trial) -> peers.Answer:
    """Return our answer, told that samples are instantaneous values."""
    return _ours(trial, means=False)


def _ours(trial: Trial, *, means: bool) -> peers.Answer:
    found = track(
        trial.t_s,
        trial.gyro_b,
        trial.accel_b,
        trial.mag_b,
        gyro_range=trial.gyro_range,
        means=means,
        interval_s=trial.dt_s if trial.uneven else None,
    )
    assert found.q9 is not None
    return peers.Answer(found.q9.astype(np.float64), found.q6.astype(np.float64))


def section(scores: Sequence[Score], versions: dict[str, str], paths: Sequence[Path]) -> Section:
    """Return tables, targets and figures of scored trials."""
    means = {case: _means([each for each in scores if each.case == case]) for case in CASES}
    return Section(
        name="orientation",
        title="Measured: BROAD",
        conditions=_conditions(versions, len(paths)),
        tables=(_cases(means), _detail(means), _trials(scores), _peers(scores)),
        targets=_targets(means, len(paths)),
        figures={
            "peers": versions,
            "mean_deg": {
                case: {name: _pair(pair) for name, pair in found.items()} for case, found in means.items()
            },
            "trials": [
                {
                    "trial": each.trial,
                    "case": each.case,
                    **{name: _pair(pair) for name, pair in each.found.items()},
                }
                for each in scores
            ],
        },
        page=PAGE,
        pictures=lambda: _pictures(means, paths, with_vqf="vqf" in versions),
    )


def _conditions(versions: dict[str, str], count: int) -> tuple[str, ...]:
    beside = ", ".join(f"{name} {version}" for name, version in versions.items()) or "none"
    return (
        f"{count} trials of BROAD (Laidig, Caruso, Cereatti and Seel 2021, doi 10.3390/data6070072), an IMU "
        "at 285.7 Hz with an optical reference; errors as there: total, heading and inclination of the turn "
        "from the reference's earth to ours, root mean square over the moving part of a trial from its first "
        "sample on, then the mean over trials. One set of constants for all. *Aligned* is the total without "
        "the magnetometer once one constant heading for each trial is taken off.",
        "*full* is the recording. *uniform*: means of three samples, 95 Hz. *jitter*: means of one to five, "
        "each one's interval told. *drop*: uniform, of which 1 % of the packets of ten samples are lost. "
        "*clip500*: full, but the gyroscope's range ends at 500 deg/s, and we are told. What is lost or "
        "drawn is seeded by the trial's name.",
        f"Peers in the same run: {beside}; VQF (Laidig and Seel 2023, doi 10.1016/j.inffus.2022.10.014) "
        "with its defaults; *VQF, scaled* with rates scaled by step over usual step, a caller's best "
        "workaround for steps that differ; x-io Fusion with the settings of its own example; Madgwick's "
        "filter (2010) of ahrs, defaults, begun at the first sample's orientation. Fusion and Madgwick are "
        "told each true step.",
    )


# Means, targets and tables

Found = dict[str, tuple[Errors, Errors]]


def _means(scores: Sequence[Score]) -> Found:
    """Return each filter's mean errors over the trials."""
    names = scores[0].found if scores else {}
    return {name: (_mean(scores, name, 0), _mean(scores, name, 1)) for name in names}


def _mean(scores: Sequence[Score], name: str, which: int) -> Errors:
    each = [score.found[name][which] for score in scores]
    fields = Errors.__struct_fields__
    return Errors(*(fmean(getattr(error, field) for error in each) for field in fields))


def _targets(means: dict[str, Found], count: int) -> tuple[Target, ...]:
    targets = []
    for case, (total_deg, inclination_deg) in LIMITS.items():
        q9, q6 = means[case][OURS]
        targets += [
            Target(f"{case}: 9D total", total_deg, q9.total_deg, "deg", count),
            Target(f"{case}: 6D inclination", inclination_deg, q6.inclination_deg, "deg", count),
        ]
    aligned = means["full"][OURS][1].aligned_deg
    return (*targets, Target("full: 6D total, aligned", ALIGNED_DEG, aligned, "deg", count))


def _left(name: str) -> Column:
    return Column(name, "left")


def _brief(pair: tuple[Errors, Errors] | None) -> str:
    return "-" if pair is None else f"{pair[0].total_deg:.2f} / {pair[1].inclination_deg:.3f}"


def _cases(means: dict[str, Found]) -> Table:
    names = [OURS, *(name for name in peers.PEERS if name in means["full"])]
    rows = tuple(
        (
            case,
            what,
            f"{LIMITS[case][0]:g} / {LIMITS[case][1]:g}",
            *(_brief(means[case].get(name)) for name in names),
        )
        for case, (_, what) in CASES.items()
    )
    columns = (_left("case"), _left("what"), Column("target"), *map(Column, names))
    note = "9D total / 6D inclination, deg."
    return Table("Every case, ours and the peers", columns, rows, note)


def _detail(means: dict[str, Found]) -> Table:
    columns = (
        _left("case"),
        _left("filter"),
        Column("9D total"),
        Column("9D heading"),
        Column("9D inclination"),
        Column("6D inclination"),
        Column("6D total, aligned"),
    )
    rows = tuple(
        (
            case,
            name,
            f"{q9.total_deg:.2f}",
            f"{q9.heading_deg:.2f}",
            f"{q9.inclination_deg:.3f}",
            f"{q6.inclination_deg:.3f}",
            f"{q6.aligned_deg:.2f}",
        )
        for case in CASES
        for name, (q9, q6) in means[case].items()
    )
    note = (
        "The sensor low-passes its samples, so they are means more than values of an instant: as "
        "instantaneous values they are read half a sample late, on top of 2.6 ms by which the recording's "
        "optical stream leads the IMU (4.4 ms together)."
    )
    return Table("Every error, means over the trials, deg", columns, rows, note)


def _trials(scores: Sequence[Score]) -> Table:
    """Return ours of each trial in each case: what a test holds to the code."""
    columns = [_left("trial")]
    for case in CASES:
        columns += [Column(f"{case}, 9D"), Column("6D")]
    by_trial: dict[str, dict[str, Found]] = {}
    for each in scores:
        by_trial.setdefault(each.trial, {})[each.case] = each.found
    rows = tuple(
        (
            trial,
            *(
                cell
                for case in CASES
                for cell in (
                    f"{found[case][OURS][0].total_deg:.2f}",
                    f"{found[case][OURS][1].inclination_deg:.2f}",
                )
            ),
        )
        for trial, found in by_trial.items()
    )
    note = "9D total and 6D inclination, deg."
    return Table("Ours, trial by trial", tuple(columns), rows, note)


def _peers(scores: Sequence[Score]) -> Table:
    """Return ours and the peers of each trial at full rate."""
    whole = [each for each in scores if each.case == "full"]
    shown = [name for name in (OURS, *peers.PEERS) if whole and name in whole[0].found]
    shown = [name for name in shown if name != "VQF, scaled"]  # steps are even
    rows = tuple((each.trial, *(_brief(each.found[name]) for name in shown)) for each in whole)
    note = "9D total / 6D inclination, deg."
    return Table("Trial by trial at full rate", (_left("trial"), *map(Column, shown)), rows, note)


def _pair(pair: tuple[Errors, Errors]) -> dict[str, object]:
    return {"9D": msgspec.to_builtins(pair[0]), "6D": msgspec.to_builtins(pair[1])}


def _pictures(means: dict[str, Found], paths: Sequence[Path], *, with_vqf: bool) -> dict[str, str]:
    """Draw what the page shows; matplotlib is imported only now."""
    from simulators.evaluation import plots

    return plots.pictures(means, paths, with_vqf=with_vqf)
