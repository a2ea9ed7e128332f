"""The picture of ``evaluate intervals``: nominal against empirical coverage, and how windowed NIS spreads."""

from collections.abc import Mapping
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from simulators.evaluation.intervals_tally import BIN, BINS, LEVELS, Fit, Tally
from simulators.evaluation.plots import COLOURS
from simulators.pictures import STYLE, svg

MODELS: Final = {"position": "#12658f", "altitude": "#d2601a", "heart_rate": "#5a8f29"}


def picture(
    simulated: Mapping[str, Tally], recorded: Mapping[str, Tally], fits: Mapping[str, Mapping[str, Fit]]
) -> str:
    """Return an SVG: coverage by metric, simulated and recorded, and NIS by model of each."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 7.0), layout="constrained")
        axes: Any = figure.subplots(2, 2)
        _reliability(axes[0, 0], simulated, "simulated: how often the truth is inside, %")
        _reliability(axes[0, 1], recorded, "recorded")
        for axis, (where, of) in zip(axes[1], fits.items(), strict=True):
            _spread(axis, of, f"{where}: windowed NIS, share of the time")
        return svg(figure)


def _reliability(axis: Any, told: Mapping[str, Tally], title: str) -> None:
    nominal = [100.0 * level for level in LEVELS]
    axis.plot([40, 100], [40, 100], color="#888888", linewidth=0.8)
    axis.fill_between([89, 91], [85, 85], [95, 95], color=COLOURS["ours"], alpha=0.3, linewidth=0)
    colours = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for colour, (metric, one) in zip(colours, told.items(), strict=False):
        empirical = [one.covered(level) for level in LEVELS]
        axis.plot(nominal, empirical, marker=".", linewidth=1, color=colour, label=metric)
    axis.set(xlabel="nominal, %", ylim=(0, 101))
    axis.set_title(title, fontsize=9, loc="left")
    axis.legend(frameon=False, fontsize=7)


def _spread(axis: Any, fits: Mapping[str, Fit], title: str) -> None:
    edges = [BIN * k for k in range(BINS)]
    for model, one in sorted(fits.items()):
        shares = [100.0 * count / max(one.count, 1) for count in one.bins]
        axis.step(edges, shares, where="post", linewidth=1, color=MODELS[model], label=model)
    axis.set(xlabel="windowed NIS (the last bin holds all beyond)", ylabel="%")
    axis.set_title(title, fontsize=9, loc="left")
    axis.legend(frameon=False, fontsize=7)
