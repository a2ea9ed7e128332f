"""The picture of ``evaluate clock``: one run over time."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from numpy.typing import NDArray

from simulators.evaluation.plots import COLOURS, STYLE, svg


def over_time(true_s: NDArray[Any], errors_ms: Mapping[str, NDArray[Any]], sigma_ms: NDArray[Any]) -> str:
    """Return an SVG: errors of ours with the interval that sigma tells, and of the peers, ms."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 5.0), layout="constrained")
        axes: Any = figure.subplots(2, 1)
        axes[0].plot(true_s, errors_ms["raw"], ".", color="#999999", markersize=2, label="raw arrivals")
        axes[0].plot(true_s, errors_ms["LSL"], color=COLOURS["VQF"], linewidth=1, label="Lab Streaming Layer")
        axes[0].plot(true_s, errors_ms["ours"], color=COLOURS["ours"], linewidth=1, label="ours")
        axes[0].set_yscale("symlog", linthresh=10)
        axes[0].legend(frameon=False, ncols=3, loc="upper right")
        axes[0].set_title("bursty link, seed 0: error of aligned time, ms", fontsize=9, loc="left")
        half = 1.6449 * sigma_ms
        axes[1].fill_between(true_s, -half, half, color=COLOURS["ours"], alpha=0.15, linewidth=0)
        axes[1].plot(true_s, errors_ms["ours"], color=COLOURS["ours"], linewidth=1)
        axes[1].set_ylim(-6, 12)
        axes[1].set_title("ours alone; shaded: 90 % by its sigma", fontsize=9, loc="left")
        axes[1].set_xlabel("time, s")
        for axis in axes:
            axis.margins(x=0)
        return svg(figure)
