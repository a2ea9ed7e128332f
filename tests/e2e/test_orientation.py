"""Orientation on BROAD's trials is as near as docs/orientation.md says: a few of the trials, every case."""

import functools
import re

import pytest

from simulators.evaluation.orientation import LIMITS, OURS, Score, Task, score
from simulators.evaluation.trials import CASES, trials_under
from tests.support.recordings import ROOT, recordings

pytestmark = pytest.mark.data

PAGE = ROOT / "docs" / "orientation.md"
STALE_DEG = (
    0.02  # what the page says of a trial may be this far from what is measured now, beside its rounding
)
ROUNDING_DEG = 0.005
SOME = slice(0, None, 5)


@functools.cache
def scores() -> list[Score]:
    """Return ours of every fifth trial in every case."""
    paths = trials_under(recordings("broad"))[SOME]
    return [score(Task(path, case, ())) for path in paths for case in CASES]


def rows(heading: str) -> dict[str, list[str]]:
    """Return the cells of a table of the page by their first one."""
    text = PAGE.read_text().split(f"### {heading}\n", 1)[1].split("\n### ", 1)[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip(): row for row in cells}


def test_each_trial_has_the_errors_that_the_page_tells() -> None:
    told = rows("Ours, trial by trial")
    places = {case: 1 + 2 * k for k, case in enumerate(CASES)}
    for each in scores():
        row, at = told[each.trial], places[each.case]
        q9, q6 = each.found[OURS]
        near = STALE_DEG + ROUNDING_DEG
        assert float(row[at]) == pytest.approx(q9.total_deg, abs=near), (each.trial, each.case)
        assert float(row[at + 1]) == pytest.approx(q6.inclination_deg, abs=near), (each.trial, each.case)


def test_the_page_holds_every_trial_and_its_means_are_theirs() -> None:
    trials = [path.stem for path in trials_under(recordings("broad"))]
    told = rows("Ours, trial by trial")
    means = rows("Every case, ours and the peers")
    for k, case in enumerate(CASES):
        total, inclination = (
            sum(float(told[trial][1 + 2 * k + which]) for trial in trials) / len(trials) for which in (0, 1)
        )
        ours = [float(each) for each in means[case][3].split(" / ")]
        assert ours == pytest.approx([total, inclination], abs=2 * ROUNDING_DEG)  # both are rounded


def test_the_page_keeps_every_target() -> None:
    means = rows("Every case, ours and the peers")
    for case, limits in LIMITS.items():
        ours = [float(each) for each in means[case][3].split(" / ")]
        assert ours[0] <= limits[0], case
        assert ours[1] <= limits[1], case
    told = re.findall(r"^\| (\w+: .*?) \| .* \| (.*) \|$", PAGE.read_text(), re.M)
    assert len(told) == 2 * len(CASES) + 1
    assert {verdict for _, verdict in told} == {"met"}


def test_no_filter_beside_ours_is_better_in_the_mean() -> None:
    for case, row in rows("Every case, ours and the peers").items():
        if case not in CASES:
            continue
        ours, *others = ([float(each) for each in cell.split(" / ")] for cell in row[3:])
        assert others, "the page was written without the peers"
        for other in others:
            assert ours[0] < other[0], case
            assert ours[1] < other[1], case
