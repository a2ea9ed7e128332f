"""What a run was asked, and what it gave."""

from collections.abc import Sequence
from typing import Any

import msgspec

from simulators.benchmark.usage import Machine, Usage
from simulators.load import figures
from simulators.load.figures import Bins

MISSING_SHARE_MAX = 0.01
LATE_P99_MS_MAX = 5.0  # beyond this the load itself was late, and the run says little of the server


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What to run; see ``kinefuse bench fleet --help``."""

    devices: int
    seconds: int = 10
    warmup_s: int = 5
    packets_per_s: int = 10
    samples: int = 10
    qos: int = 0
    apart: bool = False
    settings: tuple[str, ...] = ()
    seed: int = 1


class Moment(msgspec.Struct, frozen=True):
    """What had been used when: by the server, the broker, the load, the machine."""

    t_ns: int
    server: Usage
    broker: Usage
    load_s: float
    machine: Machine


class Spent(msgspec.Struct, frozen=True):
    """What a process took in the seconds that count; shares are of one core."""

    cpu_share: float
    waited_share: float
    rss_mb: float
    own_mb: float
    base_rss_mb: float  # before anybody connected
    base_own_mb: float

    @classmethod
    def between(cls, base: Usage, before: Usage, after: Usage, seconds: float) -> "Spent":
        """Return what was spent between two moments."""
        return cls(
            round(max(after.cpu_s - before.cpu_s, 0.0) / seconds, 4),
            round(max(after.waited_s - before.waited_s, 0.0) / seconds, 4),
            *(round(mb, 2) for mb in (after.rss_mb, after.own_mb, base.rss_mb, base.own_mb)),
        )


class Second(msgspec.Struct, frozen=True):
    """One second of a run."""

    sent: int
    unsent: int
    heard: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run gave.

    Attributes
    ----------
    per_s : float
        Messages sent.
    us_per_message, us_per_packet, us_per_device_s : float
        The server's CPU over all messages; the same over the inertial packets alone, and over devices and
        seconds.
    machine_idle, machine_stolen : float
        Share of all cores.
    unaccounted : int
        Updates missing beyond what server and load say they dropped.
    misses, lost : int
        Of deadlines, and updates lost or given up, in the seconds that count, by the server's word.
    modes : list of str
        Of the server: as the seconds that count began, and each that came after.
    """

    subject: str
    asked: Asked
    sent: figures.Sent
    updates: figures.Heard
    per_s: float
    us_per_message: float
    us_per_packet: float
    us_per_device_s: float
    server: Spent
    broker: Spent
    load_cpu_share: float
    machine_idle: float
    machine_stolen: float
    counts: dict[str, int]
    unaccounted: int
    misses: int
    lost: int
    modes: list[str]
    status: dict[str, Any]
    deadlines: dict[str, Any]
    health: dict[str, Any]
    each_second: list[Second]

    @property
    def load_was_late(self) -> bool:
        """True where the load itself did not keep its schedule."""
        p99_ms = self.sent.lateness.p99_ms
        return p99_ms is not None and p99_ms > LATE_P99_MS_MAX

    @property
    def p99_ms(self) -> float:
        """End to end; infinite where nothing was heard."""
        p99_ms = self.updates.end_to_end.p99_ms
        return float("inf") if p99_ms is None else p99_ms

    def holds(self, p99_ms: float) -> bool:
        """Return whether the server kept up.

        End to end is in time, no update is missing without a word, and hardly one with a word: who gives up
        every second update does not keep up, however well that is told.
        """
        few = self.updates.missing <= MISSING_SHARE_MAX * self.updates.expected
        return self.p99_ms < p99_ms and self.unaccounted == 0 and few


def seconds_of(bins: Bins) -> list[Second]:
    """Return each second of a run."""
    found = []
    for k in range(len(bins)):
        spread = figures.spread(bins["end_to_end"][k : k + 1], bins["end_to_end_max_ns"][k : k + 1])
        sent, unsent, came = (int(bins[name][k]) for name in ("sent", "unsent", "heard"))
        found.append(Second(sent, unsent, came, spread.p50_ms, spread.p99_ms, spread.max_ms))
    return found


def outcome(
    subject: str,
    asked: Asked,
    bins: Bins,
    counting: int,
    moments: Sequence[Moment],
    counts: dict[str, int],
    told: dict[str, Any],
) -> Outcome:
    """Return what a run gave.

    Parameters
    ----------
    subject : str
    asked : Asked
    bins : (seconds,) BIN
        Of the seconds that count.
    counting : int
        Athletes that are not counted apart.
    moments : three of Moment
        Before anybody connected, and at begin and end of the seconds that count.
    counts : dict
        Of the load.
    told : dict
        ``misses``, ``lost``, ``modes``, ``status``, ``deadlines``, ``health``: the server's word.
    """
    base, before, after = moments
    lasted_s = (after.t_ns - before.t_ns) * 1e-9
    sent, updates = figures.sent(bins), figures.heard(bins, counting)
    server = Spent.between(base.server, before.server, after.server, lasted_s)
    cpu_us = server.cpu_share * 1e6
    cores = [
        getattr(after.machine, name) - getattr(before.machine, name)
        for name in ("busy_s", "idle_s", "stolen_s")
    ]
    return Outcome(
        subject=subject,
        asked=asked,
        sent=sent,
        updates=updates,
        per_s=round(sent.messages / asked.seconds, 1),
        us_per_message=round(cpu_us * asked.seconds / max(sent.messages, 1), 3),
        us_per_packet=round(cpu_us / (asked.devices * asked.packets_per_s), 3),
        us_per_device_s=round(cpu_us / asked.devices, 2),
        server=server,
        broker=Spent.between(base.broker, before.broker, after.broker, lasted_s),
        load_cpu_share=round((after.load_s - before.load_s) / lasted_s, 4),
        machine_idle=round(cores[1] / max(sum(cores), 1e-9), 4),
        machine_stolen=round(cores[2] / max(sum(cores), 1e-9), 4),
        counts=counts,
        unaccounted=max(0, updates.missing - sent.unsent - told["lost"]),
        each_second=seconds_of(bins),
        **told,
    )
