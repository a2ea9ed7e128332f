"""``kinefuse bench fleet``: thousands of devices against the server, through a real broker."""

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from server.errors import ConfigError

if TYPE_CHECKING:
    from simulators.benchmark.bench import Bench
    from simulators.benchmark.outcome import Asked

DEVICES = (100, 500, 1_000)
SECONDS_MAX = 7_200
FAULTS = ("broker", "worker", "clock", "malformed", "duplicates", "flood")

_FLAG = Parameter(negative=())
_SEVERAL = Parameter(consume_multiple=True, negative=())


def fleet(
    *,
    devices: Annotated[list[int] | None, _SEVERAL] = None,
    seconds: int = 10,
    warmup: int = 5,
    packets_per_s: int = 10,
    samples: int = 10,
    qos: int = 0,
    apart: Annotated[bool, _FLAG] = False,
    peer: str | None = None,
    only_peer: Annotated[bool, _FLAG] = False,
    find_limit: Annotated[bool, _FLAG] = False,
    faults: Annotated[list[str] | None, _SEVERAL] = None,
    idle: Annotated[bool, _FLAG] = False,
    soak: float | None = None,
    report: Path | None = None,
    settings: Annotated[list[str] | None, _SEVERAL] = None,
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
        kinefuse bench fleet --devices 500 --peer tests.bench.peer --find-limit
        kinefuse bench fleet --devices 1000 --faults all
        kinefuse bench fleet --devices 2500 --soak 30
        kinefuse bench fleet --devices 500 --settings payload_bytes_max=4096

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
    find_limit
        Look for the largest fleet whose updates all come, with a p99 below 50 ms, beginning with ``devices``.
    faults
        What befalls the fleet, each in a run of its own and of its own length: broker, worker, clock,
        malformed, duplicates, flood, or all.
    idle
        Let the devices connect and be silent, and measure what that costs.
    soak
        Run for so many minutes, and tell whether memory grows or latency drifts.
    report
        Write plots of latency and cost against devices into this folder.
    settings
        Lines of the server's section ``server``, as KEY=VALUE in TOML.
    seed
        The same seed gives the same fleet.
    json_
        Print everything measured as one JSON object instead of a table.
    """
    wanted = list(devices or DEVICES)
    _check(wanted, seconds, warmup, qos)
    ways = [find_limit, faults is not None, idle, soak is not None]
    if sum(ways) > 1:
        raise ConfigError("", "one at a time of --find-limit, --faults, --idle and --soak")
    if only_peer and peer is None:
        raise ConfigError("--only-peer", "needs --peer")
    if soak is not None:
        seconds = round(soak * 60)
        _check(wanted, seconds, warmup, qos)
    asked = [
        _asked(
            devices=count,
            seconds=seconds,
            warmup_s=warmup,
            packets_per_s=packets_per_s,
            samples=samples,
            qos=qos,
            apart=apart,
            settings=tuple(settings or ()),
            seed=seed,
        )
        for count in sorted(wanted)
    ]
    bench = _bench(peer, only_peer=only_peer, seed=seed, quiet=json_)
    _run(_do(bench, asked, _faults(faults), find_limit=find_limit, idle=idle, soak=soak is not None))
    if report is not None:
        bench.write(report)
    if json_:
        print(json.dumps(bench.told))


async def _do(
    bench: "Bench", asked: "list[Asked]", faults: list[str], *, find_limit: bool, idle: bool, soak: bool
) -> None:
    """Do what was asked."""
    await bench.begin(asked[0].settings)
    if find_limit:
        await bench.limits(asked[0])
    elif idle:
        await bench.idle(asked)
    elif faults or soak:
        for one in asked:
            await (bench.faults(one, faults) if faults else bench.soak(one))
    else:
        await bench.each(asked)


def _bench(peer: str | None, *, only_peer: bool, seed: int, quiet: bool) -> "Bench":
    """Return what runs fleets; ConfigError where the load generator is not built."""
    try:
        from simulators.benchmark.bench import Bench
        from simulators.benchmark.stage import Subject
    except ImportError:
        if sys.platform == "linux":
            raise ConfigError(
                "", "the load generator is not built: run python setup.py build_ext --inplace"
            ) from None
        raise ConfigError("", "bench fleet needs Linux: its load generator stands on epoll") from None
    subjects = [] if only_peer else [Subject.ours()]
    if peer is not None:
        subjects.append(Subject.peer(peer))
    return Bench(subjects, seed=seed, quiet=quiet)


def _asked(**given: Any) -> "Asked":
    from simulators.benchmark.outcome import Asked

    return Asked(**given)


def _faults(names: list[str] | None) -> list[str]:
    if names is None:
        return []
    if unknown := [name for name in names if name not in (*FAULTS, "all")]:
        raise ConfigError("--faults", f"is {unknown[0]!r}, allowed: {', '.join(FAULTS)}, all")
    return list(FAULTS) if "all" in names else names


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end; SIGTERM ends it as Ctrl-C does, with all that was started."""

    async def guarded() -> None:
        task = asyncio.ensure_future(main)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await task

    try:
        asyncio.run(guarded())
    except asyncio.CancelledError:
        sys.exit(143)


def _check(devices: list[int], seconds: int, warmup: int, qos: int) -> None:
    if any(not 1 <= count <= 99_999 for count in devices):
        raise ConfigError("--devices", f"is {devices}, allowed: 1 to 99999")
    for name, value in (("--seconds", seconds), ("--warmup", warmup)):
        if not 1 <= value <= SECONDS_MAX:
            raise ConfigError(name, f"is {value}, allowed: 1 to {SECONDS_MAX}")
    if qos not in (0, 1):
        raise ConfigError("--qos", f"is {qos}, allowed: 0, 1")
