"""The README's picture: ``python -m simulators.picture docs/watch.svg`` draws ``kinefuse watch`` at work."""

import re
import sys
from pathlib import Path

from rich.console import Console

from server.clock import SystemClock
from server.engine import Engine
from server.messages import Live
from server.watch import table
from simulators.rehearsal import cast, config, lives, rehearse

SECONDS = 600
WIDTH = 132


def draw(path: Path) -> None:
    """Run the demo for ten simulated minutes and write what ``kinefuse watch`` then shows, as SVG."""
    engine = Engine(config("demo"), SystemClock().monotonic_ns)
    newest: dict[str, Live] = {}
    for _, live in lives(rehearse(engine, cast("demo"), SECONDS)):
        newest[live.athlete] = live
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere)
        console.print(table(newest, WIDTH))
    svg = console.export_svg(title="kinefuse watch")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # fetch nothing from anywhere
    path.write_text(svg.replace("Fira Code", "DejaVu Sans Mono"))


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
