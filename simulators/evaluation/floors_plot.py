"""The picture of ``evaluate floors``: heights, and floors told."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from fusion.models import altitude
from simulators.evaluation.floors_runs import Played, Run, threshold
from simulators.evaluation.plots import COLOURS
from simulators.pictures import STYLE, svg


def ways(shown: Sequence[tuple[str, Run, Played, int]]) -> str:
    """Return an SVG: of each way its heights, and below them the floors that are told.

    Parameters
    ----------
    shown : sequence
        A title, a run, what came of it and others, and its row of those.
    """
    with mpl.rc_context(STYLE | {"path.simplify_threshold": 0.5}):
        figure = Figure(figsize=(8.5, 5.0), layout="constrained")
        axes: Any = figure.subplots(2, len(shown), sharex="col", height_ratios=(2, 1), squeeze=False)
        for column, (title, run, played, row) in zip(axes.T, shown, strict=True):
            column[0].set_title(title, fontsize=9, loc="left")
            _heights(column[0], run, played, row)
            _floors(column[1], run, played, row)
            for axis in column:
                axis.margins(x=0.02)
                for begin, end in run.rides:
                    axis.axvspan(begin, end, color="#888888", alpha=0.15, linewidth=0)
        axes[0, 0].set_ylabel("height, m (shaded: in a lift)")
        axes[1, 0].set_ylabel("floors told")
        for axis in axes[:, 0]:
            axis.legend(frameon=False, fontsize=7, loc="upper left")
        return svg(figure)


def _heights(axis: Any, run: Run, played: Played, row: int) -> None:
    told = played.height_m[row, : len(run.steps)]
    first = told[np.isfinite(told)][0]
    pressures = altitude.height_of(run.pressure_pa) - first
    axis.plot(pressures, color="#bbbbbb", linewidth=2.0, label="barometer")
    axis.plot(told - first, color=COLOURS["ours"], linewidth=0.8, label="filter")


def _floors(axis: Any, run: Run, played: Played, row: int) -> None:
    last = len(run.steps) - 1
    for name, told, colour in (
        ("threshold and steps", threshold(run, steps=True), COLOURS["VQF"]),
        ("ours", played.told[row, : last + 1], COLOURS["ours"]),
    ):
        corners = np.unique([0, *np.flatnonzero(np.diff(told)) + 1, last])
        axis.step(corners, told[corners], where="post", color=colour, linewidth=1.2, label=name)
    axis.set_ylim(bottom=-0.3)
    axis.set_xlabel("s")
