"""The columns of the heart's tables, and its picture."""

from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from simulators.evaluation import heart_runs
from simulators.evaluation.heart_runs import Run
from simulators.evaluation.section import Column
from simulators.pictures import STYLE, svg

LOSS_COLUMNS: Final = (
    Column("hearts, sensor", "left"),
    *(Column(name) for name in ("runs", "gaps", "ours, bpm", "held", "filterpy", "ours, 95 %")),
    *(Column(name) for name in ("in 90 %, gone", "in 90 %, else", "NIS inside, %", "else, bpm")),
)
LOCK_COLUMNS: Final = (
    Column("sensors, lock", "left"),
    *(Column(name) for name in ("locks", "found", "median, s", "slowest, s", "false, %")),
    *(Column(name) for name in ("ours, bpm", "believed, bpm")),
)
GONE: Final = (400, 430)


def picture(runs: Sequence[Run]) -> dict[str, str]:
    """Return one simulated run whose strap is gone for 30 s, as SVG by file name."""
    run = runs[0]
    told, beats = run.told.copy(), run.beats.copy()
    told[slice(*GONE)], beats[slice(*GONE)] = np.nan, np.nan
    outcome = heart_runs.ours([run._replace(told=told, beats=beats)], heart_runs.by_beats)
    shown = slice(GONE[0] - 60, GONE[1] + 60)
    t_s = np.arange(len(run.truth))[shown]
    value, sigma = outcome.value[0, shown], outcome.sigma[0, shown]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 3.2), layout="constrained")
        axis: Any = figure.subplots()
        axis.fill_between(
            t_s,
            value - 1.645 * sigma,
            value + 1.645 * sigma,
            color="#12658f",
            alpha=0.2,
            linewidth=0,
            label="90 %",
        )
        axis.plot(t_s, value, color="#12658f", label="ours")
        axis.plot(t_s, run.truth[shown], color="#333333", linewidth=0.8, label="truth")
        axis.plot(t_s, told[shown], ".", color="#d2601a", markersize=3, label="strap")
        axis.set(xlabel="time, s", ylabel="heart rate, bpm")
        axis.legend(ncols=4, frameon=False)
        return {"heart-gone.svg": svg(figure)}
