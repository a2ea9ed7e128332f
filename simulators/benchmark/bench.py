"""What ``bench fleet`` can do with a fleet, one after the other, with a word on each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from server.errors import ConfigError
from simulators.benchmark import faults, fleet, limit, plots, soak, table
from simulators.benchmark.outcome import Asked, Outcome
from simulators.benchmark.stage import Subject
from simulators.load import recordings

P99_MS_MAX = 50.0  # a server keeps up while end to end is below
HOPELESS = 10.0  # a peer that took so many times as long is not asked for more
LIMIT_MOST = 20_000


class Bench:
    """Runs, printed as they come unless ``quiet``, and kept for JSON.

    Parameters
    ----------
    subjects : sequence of Subject
        Run in turn.
    seed : int
    quiet : bool
    """

    def __init__(self, subjects: Sequence[Subject], *, seed: int, quiet: bool) -> None:
        self.subjects = subjects
        self.told: dict[str, Any] = {"conditions": table.conditions()}
        self.outcomes: list[Outcome] = []
        self._quiet = quiet
        self._made = recordings.make(seed=seed)
        self._empty_mb: dict[str, float] = {}
        self._head_is_due = True

    async def begin(self, settings: Sequence[str] = ()) -> None:
        """Say what the figures hold for, and measure the servers while they know nobody."""
        self._print(", ".join(f"{name} {value}" for name, value in table.conditions().items()))
        for subject in self.subjects:
            usage = await fleet.empty(subject, settings)
            self._empty_mb[subject.name] = usage.own_mb
            self._print(
                f"{subject.name} that knows nobody: RSS {usage.rss_mb:.1f} MB, its own {usage.own_mb:.1f} MB"
            )
        self.told["empty_own_mb"] = self._empty_mb

    async def each(self, asked: Sequence[Asked]) -> None:
        """Run each size; a peer that has failed badly is not asked for more."""
        hopeless: set[str] = set()
        for one in asked:
            for subject in self.subjects:
                if subject.name in hopeless:
                    continue
                outcome = await self._run(one, subject)
                if not subject.is_ours and not outcome.holds(HOPELESS * P99_MS_MAX):
                    hopeless.add(subject.name)
        self.told["runs"] = msgspec.to_builtins(self.outcomes)
        self._ratio({each.name: self._held(each.name) for each in self.subjects}, "of these")

    async def limits(self, begin: Asked) -> None:
        """Find the largest fleet of each subject."""
        found: dict[str, int] = {}
        for subject in self.subjects:

            async def holds(devices: int, subject: Subject = subject) -> bool:
                asked = msgspec.structs.replace(begin, devices=devices)
                return (await self._run(asked, subject)).holds(P99_MS_MAX)

            found[subject.name] = await limit.find(holds, begin.devices, most=LIMIT_MOST)
            self._print(f"{subject.name} holds {found[subject.name]} devices: p99 below {P99_MS_MAX:g} ms")
        self.told["runs"] = msgspec.to_builtins(self.outcomes)
        self.told["limits"] = found
        self._ratio(found, "at the limit")

    async def faults(self, asked: Asked, names: Sequence[str]) -> None:
        """Let faults befall each subject."""
        told: dict[str, Any] = {}
        for subject in self.subjects:
            for name in names:
                fleet.say(f"fault: {faults.FAULTS[name][0]}")
                fault = await faults.run(name, asked, subject, self._made)
                told.setdefault(subject.name, []).append(msgspec.to_builtins(fault))
                for line in table.fault_lines(fault):
                    self._print(line)
        self.told["faults"] = told

    async def idle(self, asked: Sequence[Asked]) -> None:
        """Measure what silent devices cost."""
        told: list[dict[str, Any]] = []
        for one in asked:
            for subject in self.subjects:
                spent = await fleet.idle(one, subject, self._made, say=fleet.say)
                told.append(
                    {"subject": subject.name, "devices": one.devices, "server": msgspec.to_builtins(spent)}
                )
                self._print(table.idle_line(subject.name, one.devices, spent))
        self.told["idle"] = told

    async def soak(self, asked: Asked) -> None:
        """Run for long."""
        told: dict[str, Any] = {}
        for subject in self.subjects:
            found = await soak.run(asked, subject, self._made)
            self._show(found.outcome)
            for line in table.soak_lines(found):
                self._print(line)
            told[subject.name] = msgspec.to_builtins(found)
        self.told["soak"] = told

    def write(self, folder: Path) -> None:
        """Write the pictures of all runs."""
        for name, svg in plots.pictures(self.outcomes).items():
            path = folder / name
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(svg, encoding="utf-8")
            except OSError as error:
                raise ConfigError("--report", f"cannot write {path}: {error.strerror}") from None
            fleet.say(f"wrote {path}")

    async def _run(self, asked: Asked, subject: Subject) -> Outcome:
        outcome = await fleet.run(asked, subject, self._made, say=fleet.say)
        self.outcomes.append(outcome)
        self._show(outcome)
        return outcome

    def _show(self, outcome: Outcome) -> None:
        if self._head_is_due:
            self._print(table.HEAD)
            self._head_is_due = False
        self._print(table.line(outcome, self._empty_mb[outcome.subject]))

    def _print(self, text: str) -> None:
        if not self._quiet:
            print(text, flush=True)

    def _held(self, name: str) -> int:
        """Return the largest size that a subject held."""
        return max(
            (each.asked.devices for each in self.outcomes if each.subject == name and each.holds(P99_MS_MAX)),
            default=0,
        )

    def _ratio(self, held: dict[str, int], how: str) -> None:
        if held.get("server") and held.get("peer"):
            times = held["server"] / held["peer"]
            self.told["times_the_peer"] = round(times, 2)
            self._print(f"devices held, {how}: {held['server']}, {times:.1f}x the peer's {held['peer']}")
        ours, peers = self._cheapest("server"), self._cheapest("peer")
        if ours and peers:
            self.told["peer_us_per_packet_ratio"] = round(peers / ours, 2)
            self._print(f"CPU a packet: {ours:.1f} us, the peer takes {peers / ours:.1f}x")

    def _cheapest(self, name: str) -> float | None:
        """Return the least CPU of a packet among a subject's runs that held."""
        held = [each for each in self.outcomes if each.subject == name and each.holds(P99_MS_MAX)]
        return min((each.us_per_packet for each in held), default=None)
