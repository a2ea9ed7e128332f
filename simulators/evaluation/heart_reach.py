"""What is within reach while a strap is gone: laws that know of each gap what nobody can know in time.

*Last truth* holds the truth of the last second before the gap; on recordings that mean over 10 s knows five
seconds of the gap already. *Level* is the one rate that is nearest to all of a gap, *law* goes from the last
truth to the level that fits each gap best, with the time constant that is best for all gaps of a kind.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from simulators.evaluation.heart_runs import Floats, Run
from simulators.evaluation.section import Column, Table

TAUS_S: Final = (5.0, 10.0, 15.0, 30.0, 60.0, 1000.0)
NOTE: Final = (
    "*Held* and *ours* are what is known in time. The others are told of the gap itself: *last truth* "
    "holds the truth of the last second before it, on recordings a mean over 10 s that knows the first five "
    "seconds of the gap; *level* is the one rate that fits each gap best; *law* goes from the last truth to "
    "the level that fits each gap best, with the time constant that is best for all of them."
)


class Reach(NamedTuple):
    """Mean errors over all gaps of a kind, bpm."""

    last_truth: float
    level: float
    law: float


class Recording(NamedTuple):
    """Mean errors over the gaps of one recording's athlete, bpm."""

    name: str
    gaps: int
    ours: float
    held: float


def reach(runs: Sequence[Run], begins: Sequence[Sequence[int]], gap_s: int) -> Reach:
    """Return what laws that know the gaps would reach.

    Parameters
    ----------
    begins : one sequence of int for each run
        At which second its gaps begin.
    """
    spans = [
        (run.truth[b - 1], run.truth[b : b + gap_s])
        for run, each in zip(runs, begins, strict=True)
        for b in each
    ]
    last = np.array([before for before, _ in spans])[:, None]
    truth = np.array([during for _, during in spans])
    t_s = np.arange(1.0, gap_s + 1.0)
    errors = []
    for tau_s in TAUS_S:
        way = 1.0 - np.exp(-t_s / tau_s)
        change = np.median((truth - last) / way, axis=1)[:, None]
        errors.append(float(np.mean(np.abs(truth - last - change * way))))
    level = np.median(truth, axis=1)[:, None]
    return Reach(float(np.mean(np.abs(truth - last))), float(np.mean(np.abs(truth - level))), min(errors))


def by_athlete(
    names: Sequence[str], ours: Sequence[Floats], held: Sequence[Floats], gap_s: int
) -> tuple[Recording, ...]:
    """Return the mean errors of each athlete, whose name stands before a slash.

    Parameters
    ----------
    ours, held : one (m,) float64 for each run
        Sizes of the errors at all seconds of its gaps, bpm.
    """
    athletes = [name.partition("/")[0] for name in names]
    found = []
    for athlete in sorted(set(athletes)):
        mine = [i for i, one in enumerate(athletes) if one == athlete]
        errors, holds = (np.concatenate([each[i] for i in mine]) for each in (ours, held))
        if len(errors):
            found.append(
                Recording(athlete, len(errors) // gap_s, float(np.nanmean(errors)), float(np.nanmean(holds)))
            )
    return tuple(found)


def reach_table(kinds: Sequence[tuple[str, float, float, Reach]]) -> Table:
    """Return the table of kinds: name, ours, held and what is within reach."""
    rows = tuple(
        (name, *(f"{value:.2f}" for value in (held, ours, *reached))) for name, ours, held, reached in kinds
    )
    names = ("held", "ours", "last truth", "level", "law")
    return Table(
        "What is within reach while the strap is gone, bpm",
        (Column("hearts, sensor", "left"), *(Column(name) for name in names)),
        rows,
        NOTE,
    )


def athlete_table(kinds: Sequence[tuple[str, tuple[Recording, ...]]]) -> Table:
    """Return the table of recorded athletes."""
    rows = tuple(
        (kind, one.name, str(one.gaps), f"{one.ours:.2f}", f"{one.held:.2f}")
        for kind, each in kinds
        for one in each
    )
    return Table(
        "While the strap is gone, by recorded athlete",
        (
            Column("hearts, sensor", "left"),
            Column("athlete", "left"),
            *(Column(name) for name in ("gaps", "ours, bpm", "held")),
        ),
        rows,
    )
