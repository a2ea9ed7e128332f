"""Intervals between heart beats (RR), cleaned as they come: the core does it (csrc/beats.c).

Lipponen and Tarvainen 2019 (doi 10.1080/03091902.2019.1640306), with bounded look-ahead. *Missed*: one
interval is two or three. *Extra*: two are one. *Ectopic*: a beat came early or late and the next made up for
it. *Uneven*: one interval is off, whatever the reason.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

from fusion._core import ffi, lib

Kind = Literal["normal", "missed", "extra", "ectopic", "uneven"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
assert len(KINDS) == lib.KF_BEATS_KINDS

AHEAD: Final = int(lib.KF_BEATS_AHEAD)


class Interval(NamedTuple):
    """An interval that is no longer changed, and what it was made from."""

    ms: float
    kind: Kind


class Rate(NamedTuple):
    """The heart rate of some intervals; ``lag_s``: how long before the newest beat their middle lies."""

    bpm: float
    sigma_bpm: float
    lag_s: float


class Cleaner:
    """Cleans the intervals of one sensor, alone: those of all devices stand in a table (`server.beats`)."""

    def __init__(self) -> None:
        self._beats = ffi.new("kf_beats *")

    @property
    def found(self) -> dict[str, int]:
        """Return how many intervals were made from each kind; all kinds but ``normal`` are artefacts."""
        return {kind: count for kind, count in zip(KINDS, self._beats.found, strict=True) if count}

    def rate(self, rr_ms: Sequence[float], t_ns: int | None = None) -> Rate | None:
        """Take in intervals; return the rate of those that are certain now.

        Parameters
        ----------
        rr_ms : sequence of float
            In their order.
        t_ns : int or None
            The sensor's clock at the last of their beats, where it tells one. If it went on by more or less
            than the intervals say, beats were lost, and the first interval is no neighbour of the newest
            one.

        Returns
        -------
        Rate or None
            None: of nothing, and of what no heart does.
        """
        rate = ffi.new("kf_rate *")
        self._take(rr_ms, t_ns, ffi.NULL, rate)
        return Rate(rate.bpm, rate.sigma_bpm, rate.lag_s) if rate.bpm else None

    def add(self, rr_ms: Sequence[float], t_ns: int | None = None) -> list[Interval]:
        """Take in intervals as `rate` does; return those that are certain now, oldest first."""
        told = ffi.new("kf_interval[]", int(lib.KF_BEATS_PARTS) * len(rr_ms) + 1)
        count = self._take(rr_ms, t_ns, told, ffi.new("kf_rate *"))
        return [Interval(one.ms, KINDS[one.kind]) for one in told[0:count]]

    def _take(self, rr_ms: Sequence[float], t_ns: int | None, told: Any, rate: Any) -> int:
        count: int = lib.kf_beats_take(
            self._beats, list(rr_ms), len(rr_ms), t_ns is not None, t_ns or 0, told, rate
        )
        return count
