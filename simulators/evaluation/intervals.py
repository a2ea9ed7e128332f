"""``kinefuse evaluate intervals``: whether 90 % intervals hold in 90 % of cases; the models' windowed NIS."""

from collections.abc import Iterable
from typing import Any, Final, cast

import msgspec

from simulators.evaluation.files import files_under
from simulators.evaluation.intervals_runs import Fit, Outcome, Tally, recorded, simulated
from simulators.evaluation.scores import Task
from simulators.evaluation.section import Column, NothingToEvaluateError, Options, Section, Table, Target
from simulators.evaluation.workers import share

SEEDS: Final = range(3_000, 3_008)
FEW: Final = 10  # files: of fewer a share says nothing

CONDITIONS: Final = (
    "*Simulated*: a runner, a walker, a rider and a runner of intervals (`kinefuse simulate demo`), ten "
    "minutes each, eight seeds, through the whole engine; every second after the first minute counts, whose "
    "truth is that of the same moment. Cadence is the step rate of the moment, not a mean. *In 90 %*: the "
    "share of moments at which the truth is within 1.645 sigma; *z*: the root of the mean square of error "
    "over sigma, 1 where sigma is right. Errors of neighbouring seconds are alike, those of totals through "
    "a whole workout: eight seeds are fewer cases than there are moments.",
    "*Recorded*: FIT, GPX and TCX files against their own totals. These are another device's estimates, "
    "and no truth: where they are wrong themselves, ours are told as outside.",
    "*Windowed NIS*: the mean of about 30 squared innovations (heart rate: 15) over their variances, over "
    "the numbers of a measurement, inside the 95 % bounds of chance or not, as it is published. *filterpy* "
    "is a filter of value and rate, as its documentation builds one, with a textbook's constants (1 m/s² of "
    "acceleration, the accuracy that a fix states; 0.1 m/s², satellite heights; 0.5 bpm/s², 1 bpm), not "
    "tuned, on the same measurements. Its value is that of its newest measurement. Nothing in the models "
    "was chosen by these figures.",
)
_LEFT: Final = Column("metric", "left")
_COVERAGE: Final = (
    *(Column("athlete", "left"), _LEFT, Column("moments")),
    *(Column(name) for name in ("in 90 %, %", "z", "error", "sigma", "filterpy: in 90 %, %", "its error")),
)
_FITS: Final = (
    *(Column("model", "left"), Column("on", "left"), Column("moments")),
    *(Column(name) for name in ("inside, %", "above, %", "below, %", "filterpy: inside, %")),
)
_TOTALS: Final = (
    *(_LEFT, Column("files")),
    *(Column(name) for name in ("in 90 %, %", "z", "error", "sigma")),
)


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
    seeds = share(simulated, list(SEEDS), workers=options.workers, name=lambda seed: f"seed {seed}")
    tasks = [Task(path, path.relative_to(options.data).as_posix()) for path in paths]
    tasks.sort(key=lambda task: -task.path.stat().st_size)
    files = share(recorded, tasks, workers=options.workers, name=lambda task: task.name)
    return section(joined(seeds), joined(one for one in files if one is not None))


def joined(outcomes: Iterable[Outcome]) -> Outcome:
    """Return several outcomes as one."""
    whole = Outcome({}, {}, {}, {})
    for outcome in outcomes:
        for held, other in zip(whole, outcome, strict=True):
            mine: dict[Any, Any] = cast(Any, held)
            for key, one in cast(Any, other).items():
                if key in mine:
                    mine[key].join(one)
                else:
                    mine[key] = msgspec.structs.replace(one)
    return whole


def section(simulations: Outcome, files: Outcome) -> Section:
    """Return tables, targets and figures."""
    by_metric, by_total = over(simulations.told), over(files.told)
    coverage = [
        (role, metric, one, peer_of(simulations, role, metric))
        for (role, metric), one in sorted(simulations.told.items())
    ]
    coverage += [("all", metric, one, peer_of(simulations, "", metric)) for metric, one in by_metric.items()]
    fits = [
        (model, where, one, outcome.peer_fits.get(model, Fit()))
        for where, outcome in (("simulated", simulations), ("recorded", files))
        for model, one in sorted(outcome.fits.items())
    ]
    tables = (
        Table("90 % intervals, simulated", _COVERAGE, tuple(map(_coverage_row, coverage))),
        Table("90 % intervals, recorded totals", _TOTALS, tuple(map(_total_row, by_total.items()))),
        Table("Windowed NIS", _FITS, tuple(map(_fit_row, fits))),
    )
    figures: dict[str, Any] = {
        "simulated": [
            {
                "athlete": role,
                "metric": metric,
                **msgspec.to_builtins(one),
                "filterpy": msgspec.to_builtins(peer),
            }
            for role, metric, one, peer in coverage
        ],
        "recorded": {metric: msgspec.to_builtins(one) for metric, one in by_total.items()},
        "nis": [
            {
                "model": model,
                "on": where,
                "filterpy": msgspec.to_builtins(peer),
                **msgspec.to_builtins(one),
            }
            for model, where, one, peer in fits
        ],
    }
    targets = (
        _coverage_target("simulated", by_metric),
        _coverage_target("recorded totals", {k: v for k, v in by_total.items() if v.count >= FEW}),
        *(_fit_target(where, [f for f in fits if f[1] == where]) for where in ("simulated", "recorded")),
    )
    return Section("intervals", "Intervals and models' health", CONDITIONS, tables, targets, figures)


def over(told: dict[tuple[str, str], Tally]) -> dict[str, Tally]:
    """Return what was told of each metric by all athletes together."""
    whole: dict[str, Tally] = {}
    for (_, metric), one in sorted(told.items(), key=lambda item: item[0][1]):
        whole.setdefault(metric, Tally()).join(one)
    return whole


def peer_of(outcome: Outcome, role: str, metric: str) -> Tally:
    """Return what the peer told of a metric; of all athletes where ``role`` is empty."""
    if role:
        return outcome.peer.get((role, metric), Tally())
    return over(outcome.peer).get(metric, Tally())


def _covered(one: Tally) -> float:
    """Return the share within the interval, %."""
    return 100.0 * one.inside / max(one.count, 1)


def _numbers(one: Tally) -> tuple[str, ...]:
    n = max(one.count, 1)
    return (
        *(str(one.count), f"{_covered(one):.0f}", f"{(one.z2 / n) ** 0.5:.2f}"),
        *(f"{one.error / n:.2f}", f"{one.sigma / n:.2f}"),
    )


def _coverage_row(row: tuple[str, str, Tally, Tally]) -> tuple[str, ...]:
    role, metric, one, peer = row
    beside = (f"{_covered(peer):.0f}", f"{peer.error / peer.count:.2f}") if peer.count else ("", "")
    return (role, metric, *_numbers(one), *beside)


def _total_row(row: tuple[str, Tally]) -> tuple[str, ...]:
    return (row[0], *_numbers(row[1]))


def _fit_row(row: tuple[str, str, Fit, Fit]) -> tuple[str, ...]:
    model, where, one, peer = row
    n = max(one.count, 1)
    return (
        *(model, where, str(one.count), f"{inside(one):.0f}"),
        *(f"{100.0 * one.above / n:.0f}", f"{100.0 * one.below / n:.0f}"),
        f"{inside(peer):.0f}" if peer.count else "",
    )


def inside(one: Fit) -> float:
    """Return the share of moments inside the bounds, %."""
    return 100.0 * (one.count - one.above - one.below) / max(one.count, 1)


def _coverage_target(where: str, told: dict[str, Tally]) -> Target:
    off = {metric: abs(_covered(one) - 90.0) for metric, one in told.items()}
    missed = tuple(
        f"{metric}: {_covered(told[metric]):.0f} %" for metric, value in off.items() if value > 5.0
    )
    worst = max(off.values(), default=None)
    return Target(f"coverage off 90 %, {where}, worst metric", 5.0, worst, "%", len(off), missed)


def _fit_target(where: str, fits: list[tuple[str, str, Fit, Fit]]) -> Target:
    beyond = {model: 100.0 - inside(one) for model, _, one, _ in fits if one.count}
    missed = tuple(f"{model}: {value:.0f} %" for model, value in beyond.items() if value > 10.0)
    worst = max(beyond.values(), default=None)
    return Target(
        f"windowed NIS outside its bounds, {where}, worst model", 10.0, worst, "%", len(beyond), missed
    )
