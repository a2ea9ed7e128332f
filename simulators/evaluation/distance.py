"""``evaluate distance``: two devices on one run, and all files with positions against their own totals."""

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

from simulators.evaluation import holes, pairs, workers
from simulators.evaluation.files import DISTANCES, PEERS_TITLE, Errors, peers_table, scored
from simulators.evaluation.holes import Hole
from simulators.evaluation.pairs import Device, Pair
from simulators.evaluation.scores import FIXED_SHARE_MIN, Score, value_of
from simulators.evaluation.section import Column, NothingToEvaluateError, Options, Section, Table, Target
from simulators.evaluation.tracks import GAP_NS, NS_PER_S

PAIR_PERCENT: Final = 0.4
DISTANCE_PERCENT: Final = 0.7
ASCENT_PERCENT: Final = 5.0
WITHIN_PERCENT: Final = {"distance": 1.5, "ascent": 10.0}
SMALL_M: Final = 100.0  # where a maker's own threshold makes half of an ascent

CONDITIONS: Final = (
    "The same runs of the engine as of `evaluate files`, but every file counts, whatever its sport, that "
    f"states its own total and has positions at most {GAP_NS // NS_PER_S} s apart for {FIXED_SHARE_MIN:.0%} "
    "of its timer's time. These totals are another device's estimate, not truth. Peers, in the same run: "
    "*path* is the plain sum of great circles from fix to fix; *gpxpy* is `length_2d` of the track smoothed "
    "by gpxpy, and its `get_uphill_downhill`; *speed* is the integral of the device's own speed.",
    "Two devices on one run are found by time and place, not by name: two files that share "
    f"{pairs.TOGETHER_SHARE:.0%} of the longer one's time, and whose positions at the same moments are "
    f"{pairs.NEAR_M:g} m apart or less, in the median. Closer than {pairs.COPY_M:g} m they are one recording "
    "in two files, and of those one counts. The target is of what both recorded: each is cut to the common "
    "time and goes through the engine anew, since nobody presses two buttons at once. *Own* and *whole* are "
    "of the whole recordings.",
)

_ASCENTS: Final[Errors] = (
    ("ours", lambda each: each.against_own(value_of(each.summary, "ascent_m"), "ascent_m")),
    ("gpxpy", lambda each: each.against_own(each.gpxpy_up_m, "ascent_m")),
)
_COLUMNS: Final = (
    ("own, m", "own_m"),
    ("ours whole, m", "ours_whole_m"),
    ("ours, m", "ours_m"),
    ("± sigma", "sigma_m"),
    ("path, m", "path_m"),
    ("gpxpy, m", "gpxpy_m"),
    ("speed, m", "speed_m"),
)


def evaluate(options: Options) -> Section:
    """Score every FIT, GPX and TCX file under the data folder, and two devices on one run.

    Raises
    ------
    NothingToEvaluateError
        There is no such file, or none with positions.
    """
    scores = scored(options)
    if all(each.path_m is None for each in scores):
        raise NothingToEvaluateError(f"no FIT, GPX or TCX file with positions under {options.data}")
    return section(scores, _pairs(scores, options), _holes(scores, options))


def _pairs(scores: Sequence[Score], options: Options) -> list[Pair]:
    """Return all two devices on one run; of files that hold one recording the first with a total counts."""
    ranked = sorted(scores, key=lambda each: ("distance_m" not in each.own, each.file))
    tasks = pairs.candidates(ranked, options.data)
    found = workers.share(pairs.compared, tasks, workers=options.workers, name=lambda task: task.names[0])
    copies = {task.names[1] for task, (_, copy) in zip(tasks, found, strict=True) if copy}
    told = [pair for pair, _ in found if pair is not None]
    return [pair for pair in told if not copies & {device.file for device in pair.devices}]


def _holes(scores: Sequence[Score], options: Options) -> list[Hole]:
    """Return the recordings from which fixes are taken away."""
    tasks = holes.tasks(scores, options.data)
    found = workers.share(holes.measured, tasks, workers=options.workers, name=lambda task: task.name)
    return [each for each in found if each is not None]


def section(scores: Sequence[Score], found: Sequence[Pair], holed: Sequence[Hole] = ()) -> Section:
    """Return tables, targets and figures of scored files, of two devices on one run, and of holes."""
    placed = [each for each in scores if (each.fixed_share or 0.0) >= FIXED_SHARE_MIN]
    ways = [each for each in placed if each.own.get("distance_m")]
    climbs = [each for each in placed if each.own.get("ascent_m")]
    large = [each for each in climbs if each.own["ascent_m"] >= SMALL_M]
    title = "Ascent against the files' own totals: ours and the peer"
    return Section(
        name="distance",
        title="Distance: two devices, and all files with positions",
        conditions=(*CONDITIONS, holes.RULE),
        tables=(
            _devices(found),
            peers_table(PEERS_TITLE, DISTANCES, ways, WITHIN_PERCENT["distance"]),
            peers_table(title, _ASCENTS, climbs, WITHIN_PERCENT["ascent"]),
            peers_table(f"{title}, own {SMALL_M:g} m and more", _ASCENTS, large, WITHIN_PERCENT["ascent"]),
            holes.table(holed),
        ),
        targets=(*_targets(ways, climbs, found), holes.target(holed)),
        figures={
            "pairs": [{**msgspec.to_builtins(pair), "difference_percent": _percents(pair)} for pair in found],
            "holes": [
                {
                    **msgspec.to_builtins(each),
                    "error_percent": each.error_percent,
                    "line_percent": each.line_percent,
                }
                for each in holed
            ],
            "distance_error_percent": _by_method(DISTANCES, ways),
            "ascent_error_percent": _by_method(_ASCENTS, climbs),
        },
    )


def _percents(pair: Pair) -> dict[str, float | None]:
    shares = {key: pair.difference(key) for _, key in _COLUMNS if key != "sigma_m"}
    return {key: None if share is None else 100 * share for key, share in shares.items()}


def _by_method(methods: Errors, counted: Sequence[Score]) -> dict[str, dict[str, float | None]]:
    """Return the errors by method and file, %; a file that has none has null."""
    return {
        name: {each.file: None if (e := error(each)) is None else 100 * e for each in counted}
        for name, error in methods
    }


def _targets(ways: Sequence[Score], climbs: Sequence[Score], found: Sequence[Pair]) -> tuple[Target, ...]:
    apart = {
        " and ".join(device.file for device in pair.devices): 100 * share
        for pair in found
        if (share := pair.difference("ours_m")) is not None
    }
    return (
        Target(
            "two devices on one run, worst difference",
            PAIR_PERCENT,
            max(apart.values(), default=None),
            "%",
            len(apart),
            tuple(f"{names}: {value:.2f} %" for names, value in apart.items() if value > PAIR_PERCENT),
        ),
        _median("distance against own totals, median error", DISTANCE_PERCENT, DISTANCES, ways),
        _median("ascent against own totals, median error", ASCENT_PERCENT, _ASCENTS, climbs),
    )


def _median(name: str, limit: float, methods: Errors, counted: Sequence[Score]) -> Target:
    """Return the bound of our median; a file for which we have none is beyond every limit."""
    _, ours = methods[0]
    sizes = [float("inf") if (e := ours(each)) is None else 100 * abs(e) for each in counted]
    return Target(name, limit, median(sizes) if sizes else None, "%", len(sizes))


def _devices(found: Sequence[Pair]) -> Table:
    """Return each device's distances, and below each two by how much they differ."""
    rows = []
    for pair in found:
        rows += [_row(device) for device in pair.devices]
        shares = [None if key == "sigma_m" else pair.difference(key) for _, key in _COLUMNS]
        told = f"{pair.together_s:,.0f} s together, {pair.apart_m:.1f} m apart"
        rows.append(
            ("*differ, %*", told, *("-" if share is None else f"{100 * share:.2f}" for share in shares))
        )
    columns = (Column("file", "left"), Column("device", "left"), *(Column(name) for name, _ in _COLUMNS))
    note = "" if found else "No two files here are of one run."
    return Table("Two devices on one run", columns, tuple(rows), note)


def _row(device: Device) -> tuple[str, ...]:
    values = [getattr(device, key) for _, key in _COLUMNS]
    return (device.file, device.model, *("-" if value is None else f"{value:,.0f}" for value in values))
