"""``kinefuse bench orientation``: what a sample costs, as a ratio to a peer in the same run."""

import json
import os
import platform
import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter

from simulators.benchmark import orientation as core
from simulators.evaluation import peers


def orientation(
    *,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Measure what a sample of orientation costs, beside VQF and x-io Fusion.

    It is CPU time; each thing and its peer take turns, and the median of several rounds counts. A target that
    is missed is told as missed; the exit code is 0 all the same.

    For example:

        kinefuse bench orientation
        kinefuse bench orientation --json | jq '.orientation.rows'

    Parameters
    ----------
    json_
        Print everything measured as one JSON object instead of a table.
    """
    if lack := peers.missing():
        print(f"kinefuse: {lack}", file=sys.stderr)
    rows = core.rows()
    if json_:
        told = [{**msgspec.to_builtins(row), "met": row.met} for row in rows]
        print(json.dumps({"conditions": conditions(), "orientation": {"rows": told}}))
        return
    print(", ".join(f"{name} {value}" for name, value in conditions().items()))
    for row in rows:
        print(line(row))


def conditions() -> dict[str, str]:
    """Return what the figures hold for."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    versions = {name: version for name, version in peers.versions().items() if name != "ahrs"}
    return {"Python": platform.python_version(), "cores": str(os.cpu_count()), "load": load, **versions}


def line(row: core.Row) -> str:
    """Return a line of the table."""
    beside = "" if row.ratio is None else f"{row.ratio:.3f}x VQF"
    verdict = ""
    if row.target is not None:
        limit = f"{row.target:g} us" if row.bounded == "us" else f"{row.target:g}x"
        verdict = f"limit {limit}: {'-' if row.met is None else 'met' if row.met else 'missed'}"
    return f"{row.what:<34}{row.us:>9.3f} us/{row.unit:<13}{beside:>12}  {verdict}".rstrip()
