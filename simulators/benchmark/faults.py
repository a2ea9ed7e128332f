"""Faults under load: what each does to end to end, and how long it takes until all is as before."""

import functools
from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from simulators.benchmark import fleet
from simulators.benchmark.driver import Driver
from simulators.benchmark.outcome import Asked, Outcome, Second
from simulators.benchmark.stage import Subject
from simulators.load.recordings import Recordings

BEFORE_S: Final = 5
DURING_S: Final = 10  # of a fault that lasts; one that strikes once is given as long
AFTER_S: Final = 15
NORMAL_S: Final = 3  # all is as before when it was so for so many seconds on end:
NORMAL_P99_MS: Final = 50.0  # every update came, with this p99,
NORMAL_TIMES: Final = 1.5  # or, where it was longer before, so many times as long

BROKER_AWAY_S: Final = 1.0
STEPPED_SHARE: Final = 0.05
STEP_NS: Final = 3_600 * 10**9
MALFORMED: Final = 0.01
DUPLICATED: Final = 0.1
FLOOD: Final = 100.0  # times its rate

Strike = Callable[[Driver, int, int], None]  # driver, begin and end of the fault, monotonic, ns


class Stretch(msgspec.Struct, frozen=True):
    """Some seconds: the worst p99 and maximum of one of them, and updates that did not come."""

    p99_ms: float | None
    max_ms: float | None
    missing: int


class Fault(msgspec.Struct, frozen=True):
    """What a fault did.

    ``before`` ends a second early: an update of that second may still be on its way when the fault strikes,
    and counts as one during it. ``normal_s`` is how long after the fault's begin all was as before; 0: it
    never was otherwise while the fault lasted; None: not in the run.
    """

    name: str
    what: str
    before: Stretch
    during: Stretch
    after: Stretch
    normal_s: int | None
    outcome: Outcome


def _broker(driver: Driver, begin_ns: int, _: int) -> None:
    driver.at(begin_ns, lambda: driver.stage.restart_broker(away_s=BROKER_AWAY_S))


def _worker(driver: Driver, begin_ns: int, _: int) -> None:
    def kill() -> None:
        if not driver.stage.kill_worker():
            fleet.say("the server has no workers: nothing was killed")

    driver.at(begin_ns, kill)


def _clock(driver: Driver, begin_ns: int, _: int) -> None:
    athletes = np.arange(0, driver.load.plan.athletes, round(1 / STEPPED_SHARE))
    driver.at(begin_ns, functools.partial(driver.load.step_clocks, athletes, STEP_NS))


def _malformed(driver: Driver, begin_ns: int, end_ns: int) -> None:
    driver.at(begin_ns, functools.partial(driver.load.set_faults, malformed=MALFORMED))
    driver.at(end_ns, driver.load.set_faults)


def _duplicates(driver: Driver, begin_ns: int, end_ns: int) -> None:
    driver.at(begin_ns, functools.partial(driver.load.set_faults, duplicated=DUPLICATED))
    driver.at(end_ns, driver.load.set_faults)


def _flood(driver: Driver, begin_ns: int, end_ns: int) -> None:
    driver.load.set_apart(0)
    driver.at(begin_ns, functools.partial(driver.load.flood, 0, FLOOD))
    driver.at(end_ns, functools.partial(driver.load.flood, 0, 1.0 / FLOOD))


FAULTS: Final[dict[str, tuple[str, Strike]]] = {
    "broker": (f"the broker is killed, and is back {BROKER_AWAY_S:g} s later", _broker),
    "worker": ("one of the server's workers is killed", _worker),
    "clock": (f"the clocks of {STEPPED_SHARE:.0%} of the athletes' devices jump by an hour", _clock),
    "malformed": (f"{MALFORMED:.0%} of the messages are malformed", _malformed),
    "duplicates": (f"{DUPLICATED:.0%} of the messages come twice", _duplicates),
    "flood": (f"one device sends {FLOOD:g} times as much", _flood),
}


async def run(name: str, asked: Asked, subject: Subject, made: Recordings) -> Fault:
    """Run a fleet that a fault befalls; the run's length is that of the fault."""
    what, strike = FAULTS[name]
    settings = asked.settings
    if name == "worker" and not any(each.replace(" ", "").startswith("workers=") for each in settings):
        settings = (*settings, "workers=2")
    longer = msgspec.structs.replace(asked, seconds=BEFORE_S + DURING_S + AFTER_S, settings=settings)

    def script(driver: Driver, from_ns: int) -> None:
        begin_ns = from_ns + BEFORE_S * 10**9
        strike(driver, begin_ns, begin_ns + DURING_S * 10**9)

    outcome = await fleet.run(longer, subject, made, say=fleet.say, script=script)
    each = outcome.each_second
    counting = outcome.updates.expected // len(each)
    before = stretch(each[: BEFORE_S - 1], counting)
    p99_ms = max(NORMAL_P99_MS, NORMAL_TIMES * (before.p99_ms or 0.0))
    return Fault(
        name,
        what,
        before,
        stretch(each[BEFORE_S - 1 : BEFORE_S + DURING_S], counting),
        stretch(each[BEFORE_S + DURING_S :], counting),
        normal_after_s(each[BEFORE_S:], counting, p99_ms),
        outcome,
    )


def stretch(seconds: list[Second], counting: int) -> Stretch:
    """Return some seconds of so many athletes as one."""
    p99 = [each.p99_ms for each in seconds if each.p99_ms is not None]
    longest = [each.max_ms for each in seconds if each.max_ms is not None]
    missing = sum(max(0, counting - each.heard) for each in seconds)
    return Stretch(max(p99, default=None), max(longest, default=None), missing)


def normal_after_s(seconds: list[Second], counting: int, p99_ms: float = NORMAL_P99_MS) -> int | None:
    """Return when, after the first bad second, NORMAL_S good ones begin; None where they do not.

    Parameters
    ----------
    seconds : list of Second
        From the fault's begin on.
    counting : int
        Athletes, each of whom should have an update in each second.
    p99_ms : float
        What a good second stays below.
    """
    good = [each.heard >= counting and each.p99_ms is not None and each.p99_ms < p99_ms for each in seconds]
    if all(good[:DURING_S]):
        return 0
    for k in range(good.index(False), len(good) - NORMAL_S + 1):
        if all(good[k : k + NORMAL_S]):
            return k
    return None
