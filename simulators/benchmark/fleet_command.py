"""``kinefuse bench fleet``: thousands of devices against the server, through a real broker."""

import asyncio
import json
import os
import platform
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from server.errors import ConfigError

if TYPE_CHECKING:
    from simulators.benchmark.fleet import Asked, Outcome

DEVICES = (100, 500, 1_000)
P99_MS_MAX = 50.0
SECONDS_MAX = 3_600

_FLAG = Parameter(negative=())


def fleet(
    *,
    devices: Annotated[list[int] | None, Parameter(consume_multiple=True, negative=())] = None,
    seconds: int = 10,
    warmup: int = 5,
    packets_per_s: int = 10,
    samples: int = 10,
    qos: int = 0,
    apart: Annotated[bool, _FLAG] = False,
    peer: str | None = None,
    only_peer: Annotated[bool, _FLAG] = False,
    seed: int = 1,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Drive a fleet of simulated devices against the server, and measure end to end.

    Starts mosquitto and the server as processes, on loopback, on a free port. Each athlete of the fleet wears
    a 100 Hz inertial sensor of nine axes and a strap that tells the heart rate once a second; ``devices``
    counts the inertial sensors. The load is open loop: each message has its time, whoever is late. End to end
    goes from the intended send of the packet that caused an update until the update is heard, by the load's
    own clock. Linux only.

    For example:

        kinefuse bench fleet --devices 500 --seconds 10 --json
        kinefuse bench fleet --devices 100 1000 3000
        kinefuse bench fleet --devices 10000 --packets-per-s 5 --samples 20
        kinefuse bench fleet --devices 500 --peer tests.bench.peer

    Parameters
    ----------
    devices
        How many; several numbers are run one after the other.
    seconds
        That count, of each run.
    warmup
        Seconds before them.
    packets_per_s
        Of each inertial sensor.
    samples
        In each packet; with the packets 100 a second.
    qos
        Of what the devices send, 0 or 1.
    apart
        A connection for the strap, too; else it shares its athlete's, as of a phone that relays both.
    peer
        A server to run beside ours: a module, a Python file, or a command; it is told --port and --root.
    only_peer
        Run the peer alone.
    seed
        The same seed gives the same fleet.
    json_
        Print everything measured as one JSON object instead of a table.
    """
    wanted = list(devices or DEVICES)
    _check(wanted, seconds, warmup, qos)
    if only_peer and peer is None:
        raise ConfigError("--only-peer", "needs --peer")
    asked = [
        _import().Asked(
            devices=count,
            seconds=seconds,
            warmup_s=warmup,
            packets_per_s=packets_per_s,
            samples=samples,
            qos=qos,
            apart=apart,
            seed=seed,
        )
        for count in wanted
    ]
    outcomes = _run(_each(asked, peer, only_peer=only_peer, quiet=json_))
    if json_:
        print(json.dumps({"conditions": conditions(), "runs": msgspec.to_builtins(outcomes)}))


async def _each(asked: "list[Asked]", peer: str | None, *, only_peer: bool, quiet: bool) -> "list[Outcome]":
    """Run each; print a line of each as it comes."""
    from simulators.benchmark.stage import Subject
    from simulators.load import recordings

    runs = _import()
    subjects = [] if only_peer else [Subject.ours()]
    if peer is not None:
        subjects.append(Subject.peer(peer))
    made = recordings.make(seed=asked[0].seed)
    if not quiet:
        print(", ".join(f"{name} {value}" for name, value in conditions().items()))
        print(HEAD)
    outcomes = []
    for each in asked:
        for subject in subjects:
            outcome = await runs.run(each, subject, made, say=runs.say)
            outcomes.append(outcome)
            if not quiet:
                print(line(outcome), flush=True)
    return outcomes


HEAD = (
    f"{'':<8}{'devices':>8}{'msg/s':>8}  {'end to end p50':>14}{'p99':>8}{'p99.9':>8}{'max':>8} ms"
    f"{'missing':>9}{'us/packet':>10}{'us/msg':>8}{'CPU':>6}{'RSS MB':>8}{'kB/device':>10}"
    f"{'broker':>8}{'load':>6}{'idle':>6}  {'load late p99':>13}"
)


def line(outcome: "Outcome") -> str:
    """Return a line of the table."""
    ends, late = outcome.updates.end_to_end, outcome.sent.lateness
    server, n = outcome.server, outcome.asked.devices
    times = "".join(f"{_ms(ms):>8}" for ms in (ends.p99_ms, ends.p999_ms, ends.max_ms))
    return (
        f"{outcome.subject:<8}{n:>8}{outcome.per_s:>8.0f}  {_ms(ends.p50_ms):>14}{times}   "
        f"{outcome.updates.missing:>9}{outcome.us_per_packet:>10.1f}{outcome.us_per_message:>8.1f}"
        f"{server.cpu_share:>6.0%}{server.rss_mb:>8.1f}"
        f"{(server.rss_mb - server.base_rss_mb) * 1024 / n:>10.1f}{outcome.broker.cpu_share:>8.0%}"
        f"{outcome.load_cpu_share:>6.0%}{outcome.machine_idle:>6.0%}  {_ms(late.p99_ms):>10} ms"
        + ("  the load was late" if outcome.load_was_late else "")
        + (f"  {outcome.unaccounted} unaccounted" if outcome.unaccounted else "")
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def conditions() -> dict[str, str]:
    """Return what the figures hold for."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    found = {"Python": platform.python_version(), "cores": str(os.cpu_count()), "load": load}
    for row in Path("/proc/cpuinfo").read_text().splitlines():
        if row.startswith("model name"):
            found["CPU"] = row.partition(":")[2].strip()
            break
    return {**found, "Linux": platform.release()}


def _import() -> Any:
    """Return the module that runs fleets; ConfigError where the load generator is not built."""
    try:
        from simulators.benchmark import fleet as runs
    except ImportError:
        if sys.platform == "linux":
            raise ConfigError(
                "", "the load generator is not built: python setup.py build_ext --inplace"
            ) from None
        raise ConfigError("", "bench fleet needs Linux: its load generator stands on epoll") from None
    return runs


def _run(main: Any) -> Any:
    """Run to the end; SIGTERM ends it as Ctrl-C does, with all that was started."""

    async def guarded() -> Any:
        task = asyncio.ensure_future(main)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        sys.exit(143)


def _check(devices: list[int], seconds: int, warmup: int, qos: int) -> None:
    if any(not 1 <= count <= 99_999 for count in devices):
        raise ConfigError("--devices", f"is {devices}, allowed: 1 to 99999")
    if not 1 <= seconds <= SECONDS_MAX:
        raise ConfigError("--seconds", f"is {seconds}, allowed: 1 to {SECONDS_MAX}")
    if not 1 <= warmup <= SECONDS_MAX:
        raise ConfigError("--warmup", f"is {warmup}, allowed: 1 to {SECONDS_MAX}")
    if qos not in (0, 1):
        raise ConfigError("--qos", f"is {qos}, allowed: 0, 1")
