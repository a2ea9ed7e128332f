"""The picture of ``evaluate gnss``: the error of each seed's distance, ours and the peer's."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from simulators.evaluation.plots import COLOURS
from simulators.pictures import STYLE, svg

SERIES: Final = {
    "ours, with steps": (COLOURS["ours"], "-"),
    "ours, alone": ("#7fb4cc", "--"),
    "filterpy": (COLOURS["VQF"], "-"),
}


def over_seeds(errors_percent: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Return an SVG of signed errors, %, by kind, then by the series' name, a number for each seed.

    Each series is sorted by itself.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 5.2), layout="constrained")
        axes: Any = figure.subplots(2, 2, sharex=True).flat
        for axis, (kind, series) in zip(axes, errors_percent.items(), strict=True):
            for name, errors in series.items():
                axis.plot(sorted(errors), SERIES[name][1], color=SERIES[name][0], linewidth=1.2, label=name)
            axis.axhspan(-3, 3, color="#888888", alpha=0.12, linewidth=0)
            axis.set_title(f"{kind}: error of distance, %", fontsize=9, loc="left")
            axis.margins(x=0.02)
        figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, ncols=3, loc="outside upper right")
        figure.supxlabel("seeds, each series sorted by its error (shaded: within 3 %)", fontsize=9)
        return svg(figure)
