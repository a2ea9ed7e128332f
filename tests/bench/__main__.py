"""``make bench``: what things cost, as ratios against a peer in the same run. Takes about seven minutes.

``python -m tests.bench [orientation core models codecs ingest engine deadlines workers fleet]``
runs only what is named; orientation and fleet are what ``kinefuse bench`` measures, the latter beside the
peer of this folder.
"""

import asyncio
import os
import platform
import sys

from server.brokers import mosquitto
from simulators.benchmark.command import line
from simulators.benchmark.orientation import rows
from tests.bench import (
    bench_codecs,
    bench_core,
    bench_deadlines,
    bench_engine,
    bench_ingest,
    bench_models,
    bench_workers,
)

TABLES = {
    "core": bench_core,
    "models": bench_models,
    "codecs": bench_codecs,
    "ingest": bench_ingest,
    "engine": bench_engine,
    "deadlines": bench_deadlines,
    "workers": bench_workers,
}
FLEET_DEVICES = (100, 500, 1_000, 3_000, 5_000)
FLEET_S = 12
PEER = "tests.bench.peer"


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
        print("\nfleet: devices, mosquitto and the server as processes of this machine", flush=True)
        if mosquitto.find() is None or sys.platform != "linux":
            print("skipped: it needs Linux and mosquitto")
            return
        asyncio.run(_fleet())


async def _fleet() -> None:
    from simulators.benchmark.bench import Bench  # it stands on the load generator, which is Linux's
    from simulators.benchmark.outcome import Asked
    from simulators.benchmark.stage import Subject

    bench = Bench([Subject.ours(), Subject.peer(PEER)], seed=1, quiet=False)
    await bench.begin()
    await bench.each([Asked(devices=devices, seconds=FLEET_S) for devices in FLEET_DEVICES])


if __name__ == "__main__":
    main()
