"""The picture of ``evaluate gnss``: the error of each seed's distance, ours and the peer's."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from simulators.evaluation.plots import COLOURS, STYLE, svg

SERIES: Final = {
    "ours, with steps": (COLOURS["ours"], "o"),
    "ours, alone": ("#7fb4cc", "."),
    "filterpy": (COLOURS["VQF"], "x"),
}


def over_seeds(errors_percent: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Return an SVG of signed errors, %, by kind, then by the series' name, a number for each seed."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 5.2), layout="constrained")
        axes: Any = figure.subplots(2, 2, sharex=True).flat
        for axis, (kind, series) in zip(axes, errors_percent.items(), strict=True):
            for name, errors in series.items():
                colour, marker = SERIES[name]
                axis.plot(errors, marker, color=colour, markersize=3.5, markeredgewidth=0.8, label=name)
            axis.axhspan(-3, 3, color="#888888", alpha=0.12, linewidth=0)
            axis.set_title(f"{kind}: error of distance, %", fontsize=9, loc="left")
            axis.margins(x=0.02)
        figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, ncols=3, loc="outside upper right")
        figure.supxlabel("seed (shaded: within 3 %)", fontsize=9)
        return svg(figure)
