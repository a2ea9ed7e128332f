"""The picture of ``evaluate clock``: one run over time."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from simulators.evaluation.plots import COLOURS
from simulators.pictures import STYLE, svg


def over_time(true_s: NDArray[Any], errors_ms: Mapping[str, NDArray[Any]], sigma_ms: NDArray[Any]) -> str:
    """Return an SVG: errors of ours with the interval that sigma tells, and of the peers, ms.

    Of each second it shows the span of the raw arrivals, and of all else the largest error.
    """
    seconds = np.searchsorted(true_s, np.arange(np.ceil(true_s[0]), np.floor(true_s[-1])))
    times_s = true_s[seconds]
    ours_ms, lsl_ms = (_largest(errors_ms[name], seconds) for name in ("ours", "LSL"))
    half_ms = 1.6449 * np.maximum.reduceat(sigma_ms, seconds)
    raw_ms = errors_ms["raw"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 5.0), layout="constrained")
        axes: Any = figure.subplots(2, 1)
        axes[0].fill_between(
            times_s,
            np.minimum.reduceat(raw_ms, seconds),
            np.maximum.reduceat(raw_ms, seconds),
            color="#999999",
            alpha=0.4,
            linewidth=0,
            step="post",
            label="raw arrivals, from least to most",
        )
        axes[0].plot(times_s, lsl_ms, color=COLOURS["VQF"], linewidth=1, label="Lab Streaming Layer")
        axes[0].plot(times_s, ours_ms, color=COLOURS["ours"], linewidth=1, label="ours")
        axes[0].set_yscale("symlog", linthresh=10)
        axes[0].legend(frameon=False, ncols=3, loc="upper right")
        axes[0].set_title(
            "bursty link, seed 0: largest error of aligned time in each second, ms", fontsize=9, loc="left"
        )
        axes[1].fill_between(times_s, -half_ms, half_ms, color=COLOURS["ours"], alpha=0.15, linewidth=0)
        axes[1].plot(times_s, ours_ms, color=COLOURS["ours"], linewidth=1)
        axes[1].set_ylim(-6, 12)
        axes[1].set_title("ours alone; shaded: 90 % by its sigma", fontsize=9, loc="left")
        axes[1].set_xlabel("time, s")
        for axis in axes:
            axis.margins(x=0)
        return svg(figure)


def _largest(errors_ms: NDArray[Any], seconds: NDArray[np.intp]) -> NDArray[Any]:
    """Return the error of the largest size from each index on to the next, with its sign."""
    most_ms, least_ms = np.maximum.reduceat(errors_ms, seconds), np.minimum.reduceat(errors_ms, seconds)
    return np.where(most_ms > -least_ms, most_ms, least_ms)
