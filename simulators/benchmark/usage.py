"""What processes use, from /proc: CPU, waits for a core, memory; a process with all its children."""

import os
from pathlib import Path

import msgspec

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Usage(msgspec.Struct, frozen=True):
    """What a process and its children have used until now.

    ``waited_s`` is how long they could have run while no core was free. ``own_mb`` is anonymous memory: what
    they hold that is in no file. Pages of files count in ``rss_mb`` alone, and come and go as the kernel likes.
    """

    cpu_s: float
    waited_s: float
    rss_mb: float
    own_mb: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Return the usage of a process with its children; those that have just ended count nothing."""
        parts = [_one(each) for each in family(pid)]
        return cls(*(sum(column) for column in zip(*parts, strict=True)))


class Machine(msgspec.Struct, frozen=True):
    """What the cores of the machine did until now, s, all cores together."""

    busy_s: float
    idle_s: float
    stolen_s: float

    @classmethod
    def now(cls) -> "Machine":
        """Return the counts since the machine's start."""
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        user, nice, system, idle, iowait, irq, softirq, steal = (int(each) / TICKS_PER_S for each in fields)
        return cls(user + nice + system + irq + softirq, idle + iowait, steal)


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for each in found:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:  # it ended meanwhile
            continue
    return found


def _one(pid: int) -> tuple[float, float, float, float]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        waited_ns = sum(
            int((task / "schedstat").read_text().split()[1]) for task in Path(f"/proc/{pid}/task").iterdir()
        )
        memory = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0.0, 0.0, 0.0, 0.0
    kb = {line.split(":")[0]: int(line.split()[1]) for line in memory if line.endswith(" kB")}
    cpu_s = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return cpu_s, waited_ns * 1e-9, kb["Rss"] / 1024, kb["Anonymous"] / 1024
