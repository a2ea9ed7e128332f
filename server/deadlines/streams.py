"""Supervision of streams: which of five causes keeps a device's data away, told from outside.

A stream is what a device sends of one kind. All state is in tables, one row for each device and a column for
each kind that was ever heard: of nine kinds most fleets send two. A look works on those streams only whose
time has come: each knows when it may change next.

- ``link_dead``: nothing at all came from the device for longer than its lease, or its last will came.
- ``sensor_silent``: the stream has missed its deadline, and something else came from the device since.
  Without such a sign of life nothing tells a silent sensor from a dead link: it stays what it was until the
  lease ends.
- ``quiet_unchanged``: the stream has missed its deadline, but its last value was one that may rest: standing
  still, no contact with the skin, a battery. Nobody outside can tell it from a sensor that failed at rest.
- ``late``: data come, but the newest sample is older than the lifespan, on aligned time.
- ``clock_jumped``: the time base counted a jump of the device's clock a short while ago.

The *deadline* follows from the stream itself: INTERVALS times its usual interval, which rises faster than it
falls, so that a device that sends in bursts is not silent between them. An outage teaches a little only: an
interval counts as the deadline at most. The *lease* is the shortest deadline of the streams that were not
missing already, at least ``lease_ms``. A device with a last will (it told a birth) whose streams all rest is
believed until the will comes. What is recorded and played at some speed has its deadlines divided by it.

All times are int64 ns on one line that does not step (the server's anchored UTC). Nothing here reads a clock.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.measurements import Records
from fusion.table import grown, untouched
from fusion.timebase import TimeBase
from server import config
from server.deadlines.kinds import IMU, KINDS
from server.deadlines.rules import (
    ALIVE,
    CAUSES,
    DEAD,
    DEADLINE_NS_MAX,
    DEVICE,
    INTERVALS,
    NEVER,
    PLAYED_NS_MIN,
    STATES,
    STREAM,
    UNHEARD,
    Cause,
    Rules,
)
from server.messages import StreamKind, StreamState

RISE, FALL = 1 / 4, 1 / 32  # how fast the usual interval follows longer and shorter ones
BURST_NS: Final = 20_000_000  # what follows so soon is of one burst
FIRST_S: Final[dict[StreamKind, float]] = {"imu": 0.2, "battery": 60.0}  # believed at first,
FIRST_OTHER_S: Final = 1.0  # of all others
LOOK_NS: Final = 250_000_000
STALL_NS: Final = 2_000_000_000  # between two looks: it was us who did not listen
JUDGED_MAX: Final = 512  # streams in one look; the others wait for the next ones

_NO_COLUMN: Final = np.uint8(lib.KF_NO_COLUMN)


class Change(NamedTuple):
    """A stream has come to another state."""

    row: int
    kind: StreamKind
    before: StreamState
    state: StreamState


class Stream(NamedTuple):
    """How a stream is; what `Streams.of` returns."""

    state: StreamState
    silent_ns: int
    deadline_ns: int


class Streams:
    """The tables of all streams.

    Parameters
    ----------
    limits : server.config.Deadlines
        ``silence_ms``, ``lease_ms`` and ``lifespan_ms`` are of streams.
    capacity : int
        Rows at the start; the tables grow as needed.

    Attributes
    ----------
    faults : Counter of Cause to int
        How often a stream came to each of the causes.
    recoveries : int
        How often one came back.
    counts : dict of StreamState to int
        Streams by their state now.
    """

    def __init__(self, limits: config.Deadlines, capacity: int = 64) -> None:
        self.faults: Counter[Cause] = Counter(dict.fromkeys(CAUSES, 0))
        self.recoveries = 0
        self.counts: dict[StreamState, int] = dict.fromkeys(STATES, 0)
        self._rules = Rules(limits)
        self._devices = np.zeros(capacity, DEVICE)
        self._kinds = [IMU]  # that have a column, rising,
        self._places = np.full(len(KINDS), _NO_COLUMN)  # and which
        self._places[IMU] = 0
        self._streams = _empty(capacity, len(self._kinds))
        self._rows = 0
        self._looked_ns = 0
        self._next = 0  # place of the stream whose turn it is where too many are due
        self._since_ns = 0  # silence before it says nothing: we did not listen
        self._paused = False
        self._c = ffi.new(
            "kf_supervision *",
            {
                "columns": ffi.from_buffer("uint8_t[]", self._places),
                "motion": IMU,
                "burst_ns": BURST_NS,
                "rise": RISE,
                "fall": FALL,
                "intervals": INTERVALS,
                "silence_ns": self._rules.silence_ns,
                "deadline_max_ns": DEADLINE_NS_MAX,
                "played_min_ns": PLAYED_NS_MIN,
                "lifespan_s": self._rules.lifespan_s,
            },
        )
        self._point()

    def _point(self) -> None:
        """Tell the core where the tables lie."""
        self._first_s = _FIRST_S[self._kinds]
        self._c.first_s, self._c.kinds = ffi.from_buffer("float[]", self._first_s), len(self._kinds)
        self._c.streams = ffi.from_buffer("kf_supervised_stream[]", self._streams)
        self._c.devices = ffi.from_buffer("kf_supervised_device[]", self._devices)

    # What is heard.

    def add(self, row: int) -> None:
        """Make ``row`` a device that was never heard of."""
        if row >= len(self._devices):
            rows = max(row + 1, 2 * len(self._devices))
            self._devices, self._streams = grown(self._devices, rows), grown(self._streams, rows)
            self._point()
        elif row < self._rows:
            self._count_out(row)
        begin, self._rows = min(row, self._rows), max(row + 1, self._rows)
        self._devices[row] = np.zeros((), DEVICE)
        self._streams[begin : row + 1] = _empty(1, len(self._kinds))

    def take(self, timebase: TimeBase, events: Records, summaries: Records) -> None:
        """Take in what came, those of each stream in the order of their arrival.

        Parameters
        ----------
        timebase : TimeBase
            Whose clocks have observed the events.
        events : (n,) EVENT
            ``stream`` of a sample is what `server.deadlines.kinds.stream_of` tells.
        summaries : (m,) SUMMARY
            Of the IMU packets to which events refer.
        """
        clocks, begun = ffi.from_buffer("kf_clock[]", timebase.state), ffi.new("size_t *")
        told = ffi.from_buffer("kf_event[]", events), ffi.from_buffer("kf_summary[]", summaries)
        place = 0
        while True:
            place = lib.kf_streams_take(self._c, clocks, told[0], place, len(events), told[1], begun)
            self.counts["alive"] += begun[0]
            if place == len(events):
                return
            self._have([(int(events["stream"][place]) >> 1) - 1])

    def _have(self, kinds: list[int]) -> None:
        """Have columns for these kinds, too."""
        before = self._kinds
        self._kinds = sorted({*before, *kinds})
        self._places[self._kinds] = np.arange(len(self._kinds))
        streams = untouched((len(self._devices), len(self._kinds)), STREAM)
        streams[: self._rows] = _empty(1, len(self._kinds))
        streams[: self._rows, self._places[before]] = self._streams[: self._rows]
        self._streams = streams
        self._next = self._next // len(before) * len(self._kinds)
        self._point()

    def sign(self, rows: NDArray[np.integer[Any]], now_ns: NDArray[np.int64]) -> None:
        """Take in that something came from devices, (n,), that belongs to no stream."""
        rows, now_ns = np.ascontiguousarray(rows, np.uint32), np.ascontiguousarray(now_ns)
        told = ffi.from_buffer("uint32_t[]", rows), ffi.from_buffer("int64_t[]", now_ns)
        lib.kf_streams_sign(self._c, *told, len(rows))

    def play(self, row: int, speed: float) -> None:
        """Say how fast a device's recording is played; 0: it is live."""
        self._devices["speed"][row] = speed

    def speed(self, row: int) -> float:
        """Return how fast a device's recording is played; 0: it is live."""
        return float(self._devices["speed"][row])

    def birth(self, row: int, now_ns: int, *, rate_hz: float | None = None, retained: bool = False) -> None:
        """Take in that a device said what it is.

        A rate is a promise: its IMU is expected from now on. A retained birth is of some time ago, and
        promises nothing.
        """
        self._devices["willed"][row] = True
        if retained:
            return
        self.sign(np.array([row]), np.array([now_ns], np.int64))
        imu = self._places[IMU]
        if rate_hz is not None and self._streams["state"][row, imu] == UNHEARD:
            stream = self._streams[row, imu : imu + 1]
            stream["state"], stream["heard_ns"] = ALIVE, now_ns
            stream["interval_s"] = max(FIRST_S["imu"], 1.0 / rate_hz)
            stream["due_ns"] = 0  # the next look tells when
            self.counts["alive"] += 1

    def death(self, row: int) -> None:
        """Take in a device's last will, or its goodbye."""
        self._devices["gone"][row] = self._devices["dead"][row] = True
        self._wake(np.array([row], np.intp))

    def pause(self) -> None:
        """Stop to look: the broker is gone, and silence says nothing of the devices."""
        self._paused = True

    def resume(self, now_ns: int) -> None:
        """Listen again; all silence begins anew."""
        if self._paused:
            self._paused, self._since_ns = False, now_ns

    # What follows.

    def look(self, now_ns: int, jumps: NDArray[np.int64] | None = None) -> list[Change]:
        """Return the streams that have come to another state, at most 2 JUDGED_MAX; others follow.

        Parameters
        ----------
        now_ns : int
        jumps : (rows,) int64, optional
            How many jumps the time base has counted of each device's clock.
        """
        if 0 <= now_ns - self._looked_ns < LOOK_NS:
            return []
        if self._paused:
            return []
        if not 0 <= now_ns - self._looked_ns <= STALL_NS:
            self._since_ns = now_ns
            for table in (self._devices, self._streams):  # nothing was heard after now
                heard_ns = table["heard_ns"][: self._rows]
                np.minimum(heard_ns, now_ns, out=heard_ns)
        self._looked_ns = now_ns
        if jumps is not None:
            self._find_jumps(jumps, now_ns)
        changes = self._settle(self._due(now_ns), now_ns)
        if any(change.state == "link_dead" for change in changes):  # then so are the others of its device
            changes += self._settle(self._due(now_ns), now_ns)
        return changes

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Return whose links are told to be dead, by row."""
        dead: NDArray[np.bool_] = self._devices["dead"]
        return dead

    def _settle(self, due: NDArray[np.intp], now_ns: int) -> list[Change]:
        """Judge the streams at these places, and return those that have changed."""
        if not len(due):
            return []
        rows, places = np.divmod(due, len(self._kinds))
        streams = self._streams.reshape(-1)
        before = streams["state"][due]
        after, streams["due_ns"][due], waits = self._rules.judge(
            streams[due], self._devices[rows], self._streams[rows], since_ns=self._since_ns, now_ns=now_ns
        )
        streams["state"][due] = after
        died = rows[(after == DEAD) & (before != DEAD)]
        self._devices["dead"][died] = True
        self._devices["waits"][rows[waits]] = True
        self._wake(np.unique(died))
        changed = np.flatnonzero(after != before)
        told = zip(*(each[changed].tolist() for each in (rows, places, before, after)), strict=True)
        kinds = [KINDS[kind] for kind in self._kinds]
        changes = [Change(row, kinds[place], STATES[old], STATES[new]) for row, place, old, new in told]
        self._count(changes)
        return changes

    def _due(self, now_ns: int) -> NDArray[np.intp]:
        """Return the places of streams that may change, at most JUDGED_MAX, each in its turn."""
        due = np.flatnonzero(self._streams["due_ns"][: self._rows].ravel() <= now_ns)
        if len(due) <= JUDGED_MAX:
            return due
        due = np.roll(due, -int(np.searchsorted(due, self._next)))[:JUDGED_MAX]
        self._next = int(due[-1]) + 1
        return due

    def of(self, rows: NDArray[np.intp], now_ns: int) -> list[dict[StreamKind, Stream]]:
        """Return how the streams are that each of these devices, (n,), ever had."""
        speeds = self._devices["speed"][rows].tolist()
        return list(map(self._told, self._streams[rows].tolist(), speeds, repeat(now_ns)))

    def _told(self, streams: list[tuple[Any, ...]], speed: float, now_ns: int) -> dict[StreamKind, Stream]:
        told: dict[StreamKind, Stream] = {}
        for kind, (_, heard_ns, interval_s, _, state, _) in zip(self._kinds, streams, strict=True):
            if state == UNHEARD:
                continue
            deadline_ns = lib.kf_stream_deadline_ns(self._c, interval_s, speed)
            told[KINDS[kind]] = Stream(STATES[state], max(0, now_ns - heard_ns), int(deadline_ns))
        return told

    def _wake(self, rows: NDArray[np.intp]) -> None:
        """Have the streams of these devices judged at the next look."""
        lib.kf_streams_wake(self._c, ffi.from_buffer("uint32_t[]", rows.astype(np.uint32)), len(rows))

    def _find_jumps(self, jumps: NDArray[np.int64], now_ns: int) -> None:
        seen = self._devices["jumps"][: self._rows]
        moved = np.flatnonzero(jumps[: self._rows] != seen)
        if len(moved):
            more = moved[jumps[moved] > seen[moved]]  # fewer: its clock began anew, as what is recorded does
            self._devices["jumped_ns"][more] = now_ns
            self._wake(more)
            seen[moved] = jumps[moved]

    def _count(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.counts[change.before] -= 1
            self.counts[change.state] += 1
            if change.state == "alive":
                self.recoveries += 1
            else:
                self.faults[change.state] += 1

    def _count_out(self, row: int) -> None:
        for state in self._streams["state"][row].tolist():
            if state != UNHEARD:
                self.counts[STATES[state]] -= 1


_FIRST_S = np.array([FIRST_S.get(kind, FIRST_OTHER_S) for kind in KINDS], np.float32)


def _empty(rows: int, kinds: int) -> NDArray[np.void]:
    """Return a table of streams that were never heard."""
    table = np.zeros((rows, kinds), STREAM)
    table["state"], table["due_ns"] = UNHEARD, NEVER
    return table
