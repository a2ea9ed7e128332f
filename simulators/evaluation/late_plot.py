"""The picture of ``evaluate late``: how far totals end from those in order, run by run."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from simulators.evaluation.plots import COLOURS
from simulators.pictures import STYLE, svg

LEAST_PERCENT = 1e-3  # what is nearer is drawn here


def differences(ours: Mapping[str, Sequence[float]], peer: Mapping[str, Sequence[float]]) -> str:
    """Return an SVG of differences, %, by total: a dot for each run."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 3.4), layout="constrained")
        axis: Any = figure.subplots()
        for shift, name, colour, told in (
            (-0.18, "without rewinds", COLOURS["VQF"], peer),
            (0.18, "ours", COLOURS["ours"], ours),
        ):
            for place, errors in enumerate(told.values()):
                spread = np.linspace(-0.13, 0.13, len(errors)) if len(errors) > 1 else np.zeros(len(errors))
                shown = np.maximum(np.sort(np.asarray(errors)), LEAST_PERCENT)
                label = name if place == 0 else None
                axis.plot(place + shift + spread, shown, ".", color=colour, markersize=3, label=label)
        axis.set_yscale("log")
        axis.set_ylim(0.5 * LEAST_PERCENT, 150)
        axis.set_yticks(
            [LEAST_PERCENT, 0.01, 0.1, 1, 10, 100], ["none, or less", "0.01", "0.1", "1", "10", "100"]
        )
        axis.minorticks_off()
        axis.set_xticks(range(len(ours)), list(ours))
        axis.grid(visible=False, axis="x")
        axis.set_title("difference from the totals in order, %, a dot a run", fontsize=9, loc="left")
        axis.legend(frameon=False, ncols=2, loc="upper right", fontsize=8)
        return svg(figure)
