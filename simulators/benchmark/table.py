"""The figures of fleets, as lines of text."""

import os
import platform
from pathlib import Path

from simulators.benchmark.faults import Fault, Stretch
from simulators.benchmark.outcome import Outcome, Spent
from simulators.benchmark.soak import Soak

HEAD = (
    f"{'':<7}{'devices':>8}{'msg/s':>8}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max ms':>9}{'missing':>9}"
    f"{'us/packet':>11}{'CPU':>6}{'wait':>6}{'RSS MB':>8}{'kB/device':>11}{'broker':>8}{'load':>6}{'idle':>6}"
    f"{'late p99':>10}"
)


def line(outcome: Outcome, empty_mb: float) -> str:
    """Return a run's line; memory a device is beyond a server that knows nobody."""
    ends, server, n = outcome.updates.end_to_end, outcome.server, outcome.asked.devices
    times = "".join(f"{_ms(ms):>9}" for ms in (ends.p50_ms, ends.p99_ms, ends.p999_ms, ends.max_ms))
    return (
        f"{outcome.subject:<7}{n:>8}{outcome.per_s:>8.0f}{times}{outcome.updates.missing:>9}"
        f"{outcome.us_per_packet:>11.1f}{server.cpu_share:>6.0%}{server.waited_share:>6.0%}"
        f"{server.rss_mb:>8.1f}{(server.own_mb - empty_mb) * 1024 / n:>11.1f}"
        f"{outcome.broker.cpu_share:>8.0%}{outcome.load_cpu_share:>6.0%}{outcome.machine_idle:>6.0%}"
        f"{_ms(outcome.sent.lateness.p99_ms):>10}" + "".join(f"  {remark}" for remark in remarks(outcome))
    )


def remarks(outcome: Outcome) -> list[str]:
    """Return what a reader of the figures must know."""
    found = []
    if outcome.load_was_late:
        found.append("the load itself was late")
    if outcome.sent.unsent:
        found.append(f"{outcome.sent.unsent} unsent")
    if outcome.unaccounted:
        found.append(f"{outcome.unaccounted} unaccounted for")
    if outcome.updates.uncaused:
        found.append(f"{outcome.updates.uncaused} fired by time")
    if outcome.modes[-1:] not in ([], ["full"]) or len(outcome.modes) > 1:
        found.append("modes " + ", ".join(outcome.modes))
    return found


def idle_line(name: str, devices: int, spent: Spent) -> str:
    """Return what silent devices cost."""
    return (
        f"{name}: {devices} connected, silent devices take {spent.cpu_share:.2%} of a core; "
        f"RSS {spent.rss_mb:.1f} MB"
    )


def fault_lines(fault: Fault) -> list[str]:
    """Return what a fault did."""
    normal = "not in this run" if fault.normal_s is None else f"{fault.normal_s} s after its begin"
    lines = [f"{fault.name}: {fault.what}; all as before: {normal}"]
    for name in ("before", "during", "after"):
        stretch: Stretch = getattr(fault, name)
        lines.append(
            f"  {name:<8} p99 {_ms(stretch.p99_ms):>8} ms, max {_ms(stretch.max_ms):>8} ms, "
            f"{stretch.missing} updates missing"
        )
    refused = fault.outcome.status.get("refused", {})
    sent, counts = fault.outcome.sent, fault.outcome.counts
    lines.append(
        f"  sent {sent.messages}, unsent {sent.unsent}, malformed {sent.malformed}, twice {sent.duplicated}; "
        f"server refused {refused or 'nothing'}; connections lost {counts['losses']}; "
        f"{', '.join(remarks(fault.outcome)) or 'no remarks'}"
    )
    if fault.name == "flood":
        lines.append(f"  health of the device that floods: {fault.outcome.health or 'none was told'}")
    return lines


def soak_lines(soak: Soak) -> list[str]:
    """Return what a long run showed."""
    return [
        f"memory: server {soak.growth_mb_per_h:+.2f} MB/h, broker {soak.broker_growth_mb_per_h:+.2f} MB/h "
        "after the first quarter",
        f"end to end p99 of a second, median: second quarter {soak.p99_first_ms:.1f} ms, "
        f"last quarter {soak.p99_last_ms:.1f} ms",
    ]


def conditions() -> dict[str, str]:
    """Return what the figures hold for."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    found = {"Python": platform.python_version(), "cores": str(os.cpu_count()), "load average": load}
    for row in Path("/proc/cpuinfo").read_text().splitlines():
        if row.startswith("model name"):
            found["CPU"] = row.partition(":")[2].strip()
            break
    return {**found, "Linux": platform.release()}


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
