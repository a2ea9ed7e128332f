"""Recorded runs and walks from which fixes are taken away for a minute, again and again."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from server.analyze import analysis_of
from server.config import Config
from server.files import read
from server.files.recording import SampleRecording
from server.messages import Cadence, Gnss
from simulators.evaluation.scores import FIXED_SHARE_MIN, Score, Task
from simulators.evaluation.section import Column, Table, Target
from simulators.evaluation.tracks import GAP_NS, NS_PER_S, haversine_m, peers_of

HOLE_S: Final = 60
EVERY_S: Final = 180  # from the begin of a hole to that of the next
ON_FOOT: Final = ("run", "walk", "hike")
CADENCE_SHARE: Final = 0.9  # of the fixes beside which a cadence must be told
RECORDS_MAX: Final = 8_000  # two hours; longer ones would cost more than they tell
PERCENT: Final = 3.0

RULE: Final = (
    f"*Holes*: of runs and walks that tell steps a minute, fixes are taken away for {HOLE_S} s of every "
    f"{EVERY_S}. The error is that of the whole distance, with the holes against without them, as a share of "
    "the way that was taken away; *line* is the plain sum of great circles with the holes against without. "
    "Constants of the step length were chosen on half of these files and on simulated seeds that are not "
    "reported."
)


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a recording with holes, m; ``lost_m`` is the way along the fixes taken away."""

    file: str
    lost_m: float
    whole_m: float
    holed_m: float
    sigma_m: float
    line_whole_m: float
    line_holed_m: float

    @property
    def error_percent(self) -> float:
        """Return ours, %."""
        return 100.0 * (self.holed_m - self.whole_m) / self.lost_m

    @property
    def line_percent(self) -> float:
        """Return that of straight lines, %."""
        return 100.0 * (self.line_holed_m - self.line_whole_m) / self.lost_m


def tasks(scores: Sequence[Score], folder: Path) -> list[Task]:
    """Return the files that may count."""
    return [
        Task(folder / each.file, each.file)
        for each in scores
        if each.sport in ON_FOOT
        and (each.fixed_share or 0.0) >= FIXED_SHARE_MIN
        and each.own.get("steps", 1.0) > 0.0
        and each.records <= RECORDS_MAX
    ]


def measured(task: Task) -> Hole | None:
    """Return what comes of a recording with holes; None where it tells too few steps, or is too short."""
    whole = read(task.path)
    assert isinstance(whole, SampleRecording)
    fixes = [(t.t_ns, t.message) for t in whole.timeline if isinstance(t.message, Gnss)]
    told = sum(isinstance(t.message, Cadence) and t.message.spm is not None for t in whole.timeline)
    lost_m = sum(
        haversine_m(a, b)
        for (t_a, a), (t_b, b) in pairwise(fixes)
        if t_b - t_a <= GAP_NS and in_hole(t_b, whole.start_ns)
    )
    if told < CADENCE_SHARE * len(fixes) or lost_m <= 0.0:
        return None
    kept = [
        t for t in whole.timeline if not (isinstance(t.message, Gnss) and in_hole(t.t_ns, whole.start_ns))
    ]
    holed = replace(whole, timeline=kept)
    first, second = (analysis_of(one, Config()).workout.summary for one in (whole, holed))
    lines = [peers_of(one).path_m for one in (whole, holed)]
    if first is None or second is None or first.distance_m is None or second.distance_m is None:
        return None
    return Hole(
        file=task.name,
        lost_m=lost_m,
        whole_m=first.distance_m,
        holed_m=second.distance_m,
        sigma_m=second.sigma["distance_m"],
        line_whole_m=lines[0] or 0.0,
        line_holed_m=lines[1] or 0.0,
    )


def in_hole(t_ns: int, start_ns: int) -> bool:
    """Return whether fixes at a time are taken away: at the end of each stretch of EVERY_S."""
    return (t_ns - start_ns) // NS_PER_S % EVERY_S >= EVERY_S - HOLE_S


def target(found: Sequence[Hole]) -> Target:
    """Return the bound of the mean error."""
    sizes = [abs(each.error_percent) for each in found]
    mean = sum(sizes) / len(sizes) if sizes else None
    name = f"way while fixes are lost for {HOLE_S} s, recorded runs, mean error"
    return Target(name, PERCENT, mean, "%", len(sizes))


def table(found: Sequence[Hole]) -> Table:
    """Return each file with its holes."""
    names = ("taken away, m", "ours whole, m", "with holes, m", "± sigma", "error, %", "line, %")
    rows = tuple(
        (
            each.file,
            *(f"{value:,.0f}" for value in (each.lost_m, each.whole_m, each.holed_m, each.sigma_m)),
            *(f"{value:+.2f}" for value in (each.error_percent, each.line_percent)),
        )
        for each in found
    )
    return Table("Holes: fixes taken away", (Column("file", "left"), *map(Column, names)), rows)
