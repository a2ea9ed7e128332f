"""How the pictures of the docs are drawn: one style, small SVG that is the same for the same figures."""

import io
import re
from typing import Final

from matplotlib.figure import Figure

STYLE: Final = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "kinefuse",
    "path.simplify_threshold": 0.3,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
}
_PLACES: Final = re.compile(r'\b(?:d|x|y)="[^"]*"')  # where a path or a marker is
_LONG: Final = re.compile(r"-?\d+\.\d{3,}")
_MARKERS: Final = re.compile(r'(<g clip-path="[^"]*")>((?:\s*<use [^>]*( style="[^"]*")/>)+)')


def svg(figure: Figure) -> str:
    """Return a figure as SVG: coordinates to a hundredth of a point, the style of markers told once."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = _PLACES.sub(lambda found: _LONG.sub(_shorter, found[0]), out.getvalue())
    text = _MARKERS.sub(lambda found: found[1] + found[3] + ">" + found[2].replace(found[3], ""), text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _shorter(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
