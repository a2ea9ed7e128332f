"""``kinefuse evaluate intervals``: whether 90 % intervals hold in 90 % of cases; the models' windowed NIS."""

from functools import partial
from typing import Any, Final

import msgspec

from simulators.evaluation.files import files_under
from simulators.evaluation.intervals_bodies import bodies
from simulators.evaluation.intervals_files import SECONDS_MAX, TOTALS, files
from simulators.evaluation.intervals_runs import CHANGING_BPM_S, SECONDS, simulated
from simulators.evaluation.intervals_tally import Fit, Outcome, Tally, joined, over
from simulators.evaluation.scores import Task
from simulators.evaluation.section import Column, NothingToEvaluateError, Options, Section, Table, Target
from simulators.evaluation.workers import share

SEEDS: Final = range(3_000, 3_010)
FEW: Final = 10  # cases: of fewer a share says nothing
GROUPS: Final = 2  # of files that are played side by side
PICTURE: Final = "intervals.svg"
ASIDE: Final = "cadence, of the moment"  # told, but not what the metric says that it is

CONDITIONS: Final = (
    "*Simulated*: a runner, a walker, a rider and a runner of intervals (`kinefuse simulate demo`), "
    f"{SECONDS // 60} minutes each, {len(SEEDS)} seeds, through the whole engine; every second after the "
    "first minute counts, whose truth is that of the same moment. *In 90 %*: the share of moments at which "
    "the truth is within 1.645 sigma; *z*: the root of the mean square of error over sigma, 1 where sigma is "
    "right. Errors of neighbouring seconds are alike, those of totals and of altitude through a whole "
    "workout: ten seeds are fewer cases than there are moments. What was chosen was chosen on other seeds "
    "(100 to 103) and on the recordings named below.",
    "*Cadence* is the mean of the newest four seconds, of a crank the newest turn: a rhythm needs steps. "
    f"Held to the step rate of the very moment it is shown as *{ASIDE}*. *Changing* is a heart rate that "
    f"changes by more than {CHANGING_BPM_S} bpm/s. A crank is told in whole turns a minute: its error is "
    "even within half a turn, and the same as long as the crank turns evenly. Sigma is that of such an "
    "error, and 1.645 of it leave one of twenty out, not two; of ten riders none. *Steps* are whole numbers, "
    "whose intervals can hold in 90 % only on the average over randomised ends (Geyer and Meeden 2005: "
    "docs/metrics.md); but theirs are some 36 steps wide, so that this is a matter of 3 points at most. They "
    "always hold since simulated gaits are even and the core misses none; sigma is that of "
    "recorded ones, of which it holds 78 % (docs/metrics.md).",
    "*Recorded*: FIT, GPX and TCX files of at most "
    f"{SECONDS_MAX / 60:.0f} minutes against their own totals. These are another device's estimates, and no "
    "truth: where they are wrong themselves, ours are told as outside; makers cut or round a mean heart rate "
    "to whole beats. Hearts: beats of chest straps (GUDB's subjects with odd numbers, a Polar exercise "
    "session), told beat by beat or as the strap's own rate, against the mean over 10 s about each moment. "
    "Walks: TRIPOD's devices on a treadmill, one at a time, against the optical steps beside it, where it "
    "has lost none and tells none too many (contacts closer than three quarters of the median: as the belt "
    "stops). GUDB's even subjects, the Polar session, every file's ascent and TRIPOD were in sight "
    "when constants were chosen; GUDB's odd subjects and all of the simulated seeds here were not, but for "
    "what a runner's speed and an even crank change by in a second: a first run of these seeds was seen "
    "before.",
    "*Windowed NIS*: the mean of about 30 squared innovations (heart rate: 15) over what they were expected "
    "to be, inside the 95 % bounds of chance or not, as it is published. For position and altitude both the "
    "scale of the noises and the bounds are learnt, for heart rate the bounds (docs/fusion.md, Windowed "
    "NIS): inside says that a sensor is what it was over the last minutes, not that a textbook's variance is "
    "right. *filterpy* is a filter "
    "of value and rate, as its documentation builds one, with a textbook's constants (1 m/s² of "
    "acceleration, the accuracy that a fix states; 0.1 m/s², satellite heights; 0.5 bpm/s², 1 bpm), not "
    "tuned, on the same measurements, against the bounds of chi-square. Its value is that of its newest "
    "measurement.",
    f"![Nominal against empirical coverage; how windowed NIS spreads]({PICTURE})",
)
_COVERAGE: Final = (
    *(Column("of", "left"), Column("metric", "left"), Column("moments")),
    *(Column(name) for name in ("in 90 %, %", "z", "error", "sigma")),
)
_PEER: Final = (Column("filterpy: in 90 %, %"), Column("its error"))
_FITS: Final = (
    *(Column("model", "left"), Column("on", "left"), Column("moments")),
    *(Column(name) for name in ("inside, %", "above, %", "below, %", "filterpy: inside, %")),
)
_Row = tuple[str, str, Tally, Tally]


def evaluate(options: Options) -> Section:
    """Evaluate simulated athletes and recordings.

    Raises
    ------
    NothingToEvaluateError
        There is no recording.
    """
    paths = files_under(options.data)
    if not paths:
        raise NothingToEvaluateError(f"no FIT, GPX or TCX file under {options.data}")
    tasks = [Task(path, path.relative_to(options.data).as_posix()) for path in paths]
    groups = [tasks[k::GROUPS] for k in range(GROUPS)]
    played = share(files, groups, workers=options.workers, name=lambda group: f"{len(group)} files")
    seeds = share(simulated, list(SEEDS), workers=options.workers, name=lambda seed: f"seed {seed}")
    return section(joined(seeds), joined([*played, bodies(options.data)]))


def section(simulations: Outcome, recordings: Outcome) -> Section:
    """Return tables, targets and figures."""
    by_metric, by_recorded = over(simulations.told), _recorded(recordings)
    peers = over(simulations.peer)
    rows = [
        (role, metric, one, simulations.peer.get((role, metric), Tally()))
        for (role, metric), one in sorted(simulations.told.items())
    ]
    rows += [("all", metric, one, peers.get(metric, Tally())) for metric, one in by_metric.items()]
    recorded = [(who, metric, one, Tally()) for (who, metric), one in sorted(recordings.told.items())]
    fits = [
        (model, where, one, outcome.peer_fits.get(model, Fit()))
        for where, outcome in (("simulated", simulations), ("recorded", recordings))
        for model, one in sorted(outcome.fits.items())
    ]
    tables = (
        Table("90 % intervals, simulated", (*_COVERAGE, *_PEER), tuple(map(_simulated_row, rows))),
        Table("90 % intervals, recorded", _COVERAGE, tuple(map(_row, recorded))),
        Table("Windowed NIS", _FITS, tuple(map(_fit_row, fits))),
    )
    figures: dict[str, Any] = {
        "simulated": [_figures(row) for row in rows],
        "recorded": [_figures(row) for row in recorded],
        "nis": [
            {"model": model, "on": where, **_plain(one), "filterpy": _plain(peer)}
            for model, where, one, peer in fits
        ],
    }
    targets = (
        _coverage_target("simulated", by_metric),
        _coverage_target("recorded", by_recorded),
        *(_fit_target(where, [f for f in fits if f[1] == where]) for where in ("simulated", "recorded")),
    )
    shown = {k: v for k, v in by_metric.items() if "," not in k}
    by_where = {"simulated": simulations.fits, "recorded": recordings.fits}
    return Section(
        "intervals",
        "Intervals and models' health",
        CONDITIONS,
        tables,
        targets,
        figures,
        pictures=partial(_pictures, shown, by_recorded, by_where),
    )


def _pictures(
    simulations: dict[str, Tally], recordings: dict[str, Tally], fits: dict[str, dict[str, Fit]]
) -> dict[str, str]:
    from simulators.evaluation.intervals_plot import picture  # matplotlib takes a second

    return {PICTURE: picture(simulations, recordings, fits)}


def _recorded(recordings: Outcome) -> dict[str, Tally]:
    """Return what was told of each metric of recordings, and of each kind of device on the treadmill."""
    found = {}
    for (who, metric), one in sorted(recordings.told.items()):
        if metric in TOTALS.values() or metric == "cadence":
            found[metric if who == "files" else f"{metric} ({who})"] = one
    hearts = {key: one for key, one in recordings.told.items() if key[1].startswith("heart")}
    return {k: v for k, v in (found | over(hearts)).items() if v.count >= FEW}


def _numbers(one: Tally) -> tuple[str, ...]:
    n = max(one.count, 1)
    return (
        *(str(one.count), f"{one.covered():.0f}", f"{(one.z2 / n) ** 0.5:.2f}"),
        *(f"{one.error / n:.2f}", f"{one.sigma / n:.2f}"),
    )


def _row(row: _Row) -> tuple[str, ...]:
    return (row[0], row[1], *_numbers(row[2]))


def _simulated_row(row: _Row) -> tuple[str, ...]:
    peer = row[3]
    return (
        *_row(row),
        *((f"{peer.covered():.0f}", f"{peer.error / peer.count:.2f}") if peer.count else ("", "")),
    )


def _fit_row(row: tuple[str, str, Fit, Fit]) -> tuple[str, ...]:
    model, where, one, peer = row
    n = max(one.count, 1)
    return (
        *(model, where, str(one.count), f"{one.inside():.0f}"),
        *(f"{100.0 * one.above / n:.0f}", f"{100.0 * one.below / n:.0f}"),
        f"{peer.inside():.0f}" if peer.count else "",
    )


def _figures(row: _Row) -> dict[str, Any]:
    of, metric, one, peer = row
    return {"of": of, "metric": metric, **_plain(one), "filterpy": _plain(peer)}


def _plain(one: Tally | Fit) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(one)
    return plain


def _coverage_target(where: str, told: dict[str, Tally]) -> Target:
    off = {metric: abs(one.covered() - 90.0) for metric, one in told.items() if metric != ASIDE}
    missed = tuple(
        f"{metric}: {told[metric].covered():.0f} %" for metric, value in off.items() if value > 5.0
    )
    worst = max(off.values(), default=None)
    return Target(f"coverage off 90 %, {where}, worst metric", 5.0, worst, "%", len(off), missed)


def _fit_target(where: str, fits: list[tuple[str, str, Fit, Fit]]) -> Target:
    beyond = {model: 100.0 - one.inside() for model, _, one, _ in fits if one.count}
    missed = tuple(f"{model}: {value:.0f} %" for model, value in beyond.items() if value > 10.0)
    worst = max(beyond.values(), default=None)
    return Target(
        f"windowed NIS outside its bounds, {where}, worst model", 10.0, worst, "%", len(beyond), missed
    )
