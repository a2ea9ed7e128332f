"""``evaluate files``: FIT, GPX and TCX files through the engine, against their own totals and plain peers."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from simulators.evaluation.scores import RULE, Score, Task, score, sigma_of, value_of
from simulators.evaluation.section import Column, NothingToEvaluateError, Options, Section, Table, Target
from simulators.evaluation.workers import share

SUFFIXES: Final = (".fit", ".gpx", ".tcx")
WORST_PERCENT: Final = 1.5
MEDIAN_PERCENT: Final = 0.7
HEART_RATE_BPM: Final = 1.0

TITLE: Final = "Files: FIT, GPX and TCX"
PEERS_TITLE: Final = "Distance against the files' own totals: ours and the peers"


def evaluate(options: Options) -> Section:
    """Score every FIT, GPX and TCX file under the data folder.

    Raises
    ------
    NothingToEvaluateError
        There is no such file.
    """
    return section(scored(options))


@cache
def scored(options: Options) -> list[Score]:
    """Return the scores of all files, by name; parts that are evaluated together share them.

    Raises
    ------
    NothingToEvaluateError
        There is no such file.
    """
    paths = files_under(options.data)
    if not paths:
        raise NothingToEvaluateError(f"no FIT, GPX or TCX file under {options.data}")
    tasks = [Task(path, path.relative_to(options.data).as_posix()) for path in paths]
    # The large ones first: then both processes end at about the same time.
    order = sorted(range(len(tasks)), key=lambda index: -paths[index].stat().st_size)
    found = share(
        score,
        [tasks[index] for index in order],
        workers=options.workers,
        name=lambda task: task.name,
    )
    return sorted(found, key=lambda each: each.file)


def files_under(folder: Path) -> list[Path]:
    """Return the FIT, GPX and TCX files at any depth, packed with xz or not, sorted."""
    return sorted(path for path in folder.rglob("*") if is_activity(path) and path.is_file())


def is_activity(path: Path) -> bool:
    """Return whether a file's name is that of a FIT, GPX or TCX file, perhaps packed with xz."""
    return path.name.lower().removesuffix(".xz").endswith(SUFFIXES)


def section(scores: Sequence[Score]) -> Section:
    """Return tables, targets and figures of scored files."""
    counted = [each for each in scores if not each.excluded]
    rest = [each for each in scores if each.excluded and not each.error]
    unread = [each for each in scores if each.error]
    targets = _targets(counted)
    tables = [
        _distance("Distance: the files that count", counted),
        _heart_rate(counted),
        _time(counted),
        _climb(counted),
        peers_table(PEERS_TITLE, DISTANCES, counted, WORST_PERCENT),
        _distance("Distance: files that do not count, and why", rest, why=True),
    ]
    if unread:
        rows = tuple((each.file, each.error) for each in unread)
        tables.append(Table("Files that cannot be read", (_LEFT("file"), _LEFT("error")), rows))
    return Section(
        name="files",
        title=TITLE,
        conditions=(
            "Each file goes through the engine of `kinefuse analyze` without any setting of its own; the "
            "totals that its maker wrote into it never reach the engine, and are what the result is compared "
            "with. They are another device's estimate, not truth: two devices on one run differ by more than "
            "a percent.",
            RULE,
            "Peers, in the same run: *path* is the plain sum of great circles from fix to fix; *gpxpy* is "
            "`length_2d` of the track smoothed by gpxpy; *speed* is the integral of the device's own speed. "
            "All of them leave out the pauses of the timer. *samples* is the plain mean of the heart rates "
            "in the file while the timer ran.",
        ),
        tables=tuple(tables),
        targets=targets,
        figures={
            "counted": len(counted),
            "not_counted": len(rest),
            "not_read": len(unread),
            "files": [_figures(each) for each in scores],
        },
    )


def _figures(each: Score) -> dict[str, object]:
    """Return a file's figures for programs: what `Score` holds, and the errors."""
    figures: dict[str, object] = msgspec.to_builtins(each)
    share_off = each.distance_error
    figures["distance_error_percent"] = None if share_off is None else 100 * share_off
    figures["heart_rate_error_bpm"] = each.heart_rate_error_bpm
    return figures


# Targets


def _targets(counted: Sequence[Score]) -> tuple[Target, ...]:
    """Return the bounds of distance and heart rate, with each file that lies beyond."""
    errors = [(each.file, 100 * e) for each in counted if (e := each.distance_error) is not None]
    sizes = [abs(e) for _, e in errors]
    # A file that states its own distance and for which we have none is beyond every limit.
    silent = [each.file for each in counted if each.distance_error is None]
    off = [f"{name}: {e:+.2f} %" for name, e in errors if abs(e) > WORST_PERCENT]
    off += [f"{name}: no distance" for name in silent]
    worst = None if not sizes else float("inf") if silent else max(sizes)
    rates = [(each.file, e) for each in counted if (e := each.heart_rate_error_bpm) is not None]
    return (
        Target("distance, median error", MEDIAN_PERCENT, median(sizes) if sizes else None, "%", len(sizes)),
        Target("distance, worst error", WORST_PERCENT, worst, "%", len(counted), tuple(off)),
        Target(
            "mean heart rate, worst error",
            HEART_RATE_BPM,
            max((abs(e) for _, e in rates), default=None),
            "bpm",
            len(rates),
            tuple(f"{name}: {e:+.2f} bpm" for name, e in rates if abs(e) > HEART_RATE_BPM),
        ),
    )


# Tables


def _LEFT(name: str) -> Column:  # noqa: N802 (reads as a constant in the lists below)
    return Column(name, "left")


def _number(value: float | None, decimals: int = 0, sign: bool = False) -> str:
    """Return a number with a comma for thousands, a dash for none."""
    if value is None:
        return "-"
    return f"{value:{'+' if sign else ''},.{decimals}f}"


def _percent(share_off: float | None) -> str:
    return "-" if share_off is None else f"{100 * share_off:+.2f}"


def _distance(title: str, scores: Sequence[Score], *, why: bool = False) -> Table:
    """Return the main table: distance and its peers."""
    names = ("records", "ours, m", "± sigma", "own, m", "error, %", "path, m", "gpxpy, m", "speed, m")
    columns = [_LEFT("file"), _LEFT("sport"), *map(Column, names)]
    columns += [_LEFT("why") if why else Column("seconds", volatile=True)]
    rows = tuple(
        (
            each.file,
            each.sport or "-",
            f"{each.records:,}",
            _number(value_of(each.summary, "distance_m")),
            _number(sigma_of(each.summary, "distance_m")),
            _number(each.own.get("distance_m")),
            _percent(each.distance_error),
            _number(each.path_m),
            _number(each.gpxpy_m),
            _number(each.doppler_m),
            each.excluded if why else f"{each.analysis_s:.1f}",
        )
        for each in scores
    )
    return Table(title, tuple(columns), rows)


def _heart_rate(scores: Sequence[Score]) -> Table:
    """Return mean heart rates and times of the files that state a mean heart rate."""
    columns = (
        _LEFT("file"),
        Column("ours, bpm"),
        Column("± sigma"),
        Column("own, bpm"),
        Column("error, bpm"),
        Column("samples, bpm"),
    )
    rows = tuple(
        (
            each.file,
            _number(value_of(each.summary, "heart_rate_mean_bpm"), 1),
            _number(sigma_of(each.summary, "heart_rate_mean_bpm"), 1),
            _number(each.own["heart_rate_mean_bpm"], 1),
            _number(each.heart_rate_error_bpm, 2, sign=True),
            _number(each.samples_mean_bpm, 1),
        )
        for each in scores
        if "heart_rate_mean_bpm" in each.own
    )
    note = (
        "Makers state whole numbers, some rounded, some cut: an error from -0.5 to +0.5, or from "
        "0 to +1 bpm, is none."
    )
    return Table("Mean heart rate: the files that count and state one", columns, rows, note)


def _time(scores: Sequence[Score]) -> Table:
    """Return moving time, and steps of the files that state them."""
    columns = [_LEFT("file"), Column("moving, s"), Column("timer, s"), Column("own timer, s")]
    columns += [Column("steps"), Column("own steps"), Column("error, %")]
    rows = []
    for each in scores:
        steps, own = value_of(each.summary, "steps"), each.own.get("steps")
        rows.append(
            (
                each.file,
                _number(value_of(each.summary, "moving_s")),
                _number(each.timer_s),
                _number(each.own.get("moving_s")),
                _number(steps),
                _number(own),
                _percent(steps / own - 1 if steps is not None and own else None),
            )
        )
    note = "The timer is what pauses leave; moving time also leaves out standing with the timer on."
    return Table("Time and steps: the files that count", tuple(columns), tuple(rows), note)


def _climb(scores: Sequence[Score]) -> Table:
    """Return ascent and descent of the files that state an ascent."""
    columns = [_LEFT("file"), Column("ascent, m"), Column("± sigma"), Column("own, m"), Column("gpxpy, m")]
    columns += [Column("descent, m"), Column("± sigma"), Column("own, m"), Column("gpxpy, m")]
    rows = tuple(
        (
            each.file,
            _number(value_of(each.summary, "ascent_m")),
            _number(sigma_of(each.summary, "ascent_m")),
            _number(each.own.get("ascent_m")),
            _number(each.gpxpy_up_m),
            _number(value_of(each.summary, "descent_m")),
            _number(sigma_of(each.summary, "descent_m")),
            _number(each.own.get("descent_m")),
            _number(each.gpxpy_down_m),
        )
        for each in scores
        if "ascent_m" in each.own
    )
    note = "Whether a maker's own figure is barometric the file does not say; it is no target yet."
    return Table("Ascent and descent: the files that count and state an ascent", tuple(columns), rows, note)


Errors = Sequence[tuple[str, Callable[[Score], float | None]]]

DISTANCES: Final[Errors] = (
    ("ours", lambda each: each.distance_error),
    ("path", lambda each: each.against_own(each.path_m)),
    ("gpxpy", lambda each: each.against_own(each.gpxpy_m)),
    ("speed", lambda each: each.against_own(each.doppler_m)),
)


def peers_table(title: str, methods: Errors, counted: Sequence[Score], within_percent: float) -> Table:
    """Return how far everybody is from the files' own totals, over the same files for each."""
    rows = []
    for name, error in methods:
        signed = [100 * e for each in counted if (e := error(each)) is not None]
        sizes = [abs(e) for e in signed]
        if not sizes:
            rows.append((name, "0", "-", "-", "-", "-"))
            continue
        within = sum(size <= within_percent for size in sizes) / len(sizes)
        rows.append(
            (
                name,
                f"{len(sizes)}",
                f"{median(sizes):.2f}",
                f"{median(signed):+.2f}",
                f"{100 * within:.0f}",
                f"{max(sizes):.2f}",
            )
        )
    columns = [_LEFT(""), Column("files"), Column("median error, %"), Column("median, signed, %")]
    columns += [Column(f"within {within_percent:g} %, % of files"), Column("worst, %")]
    return Table(title, tuple(columns), tuple(rows))
