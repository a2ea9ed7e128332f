"""``make bench``: what things cost, as ratios against a peer in the same run. Takes about two minutes.

``python -m tests.bench [orientation core models codecs ingest engine deadlines fleet]`` runs only what is
named; orientation is what ``kinefuse bench`` measures.
"""

import asyncio
import os
import platform
import shutil
import sys

from simulators.benchmark.command import line
from simulators.benchmark.orientation import rows
from tests.bench import (
    bench_codecs,
    bench_core,
    bench_deadlines,
    bench_engine,
    bench_fleet,
    bench_ingest,
    bench_models,
)

TABLES = {
    "core": bench_core,
    "models": bench_models,
    "codecs": bench_codecs,
    "ingest": bench_ingest,
    "engine": bench_engine,
    "deadlines": bench_deadlines,
}
FLEET_S = 30.0
FLEET_ATHLETES = 100


def main() -> None:
    """Run the benchmarks that are named, or all, and print their tables."""
    known = ["orientation", *TABLES, "fleet"]
    asked = sys.argv[1:] or known
    if unknown := set(asked) - set(known):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load average {load}")
    if "orientation" in asked:
        print("\norientation: CPU time, as a share of VQF's")
        for row in rows():
            print(line(row), flush=True)
    for name in asked:
        if name in TABLES:
            print(f"\n{name}: CPU time, and how many times as much the peer takes")
            for cost in TABLES[name].costs():
                print(cost.line(), flush=True)
    if "fleet" in asked:
        print("\nfleet: simulators, mosquitto and the server as processes of this machine")
        if shutil.which("mosquitto") is None:
            print("skipped: mosquitto is not installed")
            return
        print(bench_fleet.table(asyncio.run(bench_fleet.run(FLEET_ATHLETES, FLEET_S))))


if __name__ == "__main__":
    main()
