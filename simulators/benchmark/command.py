"""``kinefuse bench``: what things cost, as ratios to a peer in the same run."""

import json
import os
import platform
import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter

from server.errors import ConfigError
from simulators.benchmark import orientation
from simulators.evaluation import peers

BENCHES = ("orientation",)


def bench(
    what: Annotated[list[str] | None, Parameter(negative=())] = None,
    /,
    *,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Measure speed, as ratios to a peer in the same run.

    What can be measured: orientation (a sample, beside VQF and x-io Fusion). It is CPU time; each thing and
    its peer take turns, and the median of several rounds counts. A target that is missed is told as missed;
    the exit code is 0 all the same.

    For example:

        kinefuse bench
        kinefuse bench orientation --json | jq '.orientation.rows'

    Parameters
    ----------
    what
        What to measure; by default all there is.
    json_
        Print everything measured as one JSON object instead of a table.
    """
    for name in what or BENCHES:
        if name not in BENCHES:
            raise ConfigError("", f"{name!r} cannot be measured; there are: {', '.join(BENCHES)}")
    if lack := peers.missing():
        print(f"kinefuse: {lack}", file=sys.stderr)
    rows = orientation.rows()
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


def line(row: orientation.Row) -> str:
    """Return a line of the table."""
    beside = "" if row.ratio is None else f"{row.ratio:.3f}x VQF"
    verdict = ""
    if row.target is not None:
        limit = f"{row.target:g} us" if row.bounded == "us" else f"{row.target:g}x"
        verdict = f"limit {limit}: {'-' if row.met is None else 'met' if row.met else 'missed'}"
    return f"{row.what:<34}{row.us:>9.3f} us/{row.unit:<13}{beside:>12}  {verdict}".rstrip()
