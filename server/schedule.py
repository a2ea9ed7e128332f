"""When an athlete's models step: on a grid of aligned time, by what has arrived, never by how it was batched.

The rules stand in csrc/kinefuse.h, and the code in csrc/schedule.c and lanes.c: all that arrived in a tick
goes through it in one call, in the order of arrival. Here are its tables: one row for each device (its link),
one for each athlete (its lane), a pool of the measurements that lanes hold, and one of those that they keep.
"""

import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import STATUS_NAMES, Advance, record
from fusion.measurements import DTYPES, WINDOW, Measurements, Records
from fusion.structs import joined
from fusion.table import grown
from fusion.timebase import TimeBase

EVENT: Final = record("kf_event")
ITEM: Final = record("kf_item")
JOB: Final = record("kf_job")
LANE: Final = record("kf_lane")
LINK: Final = record("kf_link")
PAGE: Final = record("kf_page")
REFUSAL: Final = record("kf_refusal")
_FOUND: Final = record("kf_found")

NONE: Final = int(lib.KF_NONE)
REASONS: Final = (*STATUS_NAMES, "too_fast", "stale", "time_jump", "future")
RECORD_BYTES: Final = int(lib.KF_RECORD_BYTES)
assert DTYPES.index(WINDOW) == lib.KF_KIND_WINDOW, "the core measures windows"
assert len(DTYPES) <= lib.KF_KINDS

STEP_NS: Final = int(lib.KF_STEP_NS)
PHASES: Final = (
    10  # athletes step in this many groups a second, so that a tick never meets all of them at once
)
BASE_NS: Final = int(lib.KF_BASE_NS)
LIFESPAN_NS: Final = int(lib.KF_LIFESPAN_NS)
SAMPLES_MAX: Final = int(lib.KF_HELD_MAX)
SILENT_NS: Final = int(lib.KF_SILENT_NS)

_NO_MEASUREMENTS: Final[tuple[Records, ...]] = tuple(np.zeros(0, dtype) for dtype in DTYPES)
_BYTES: Final = [dtype.itemsize for dtype in DTYPES]
_BYTES_C: Final = ffi.new("uint32_t[]", _BYTES)
_FIRST_ROWS: Final = 64
_ROOM: Final = 4 * int(lib.KF_JOBS_A_FOUND)
_ITEM_ROOM: Final = 2 * int(lib.KF_ITEMS_A_FOUND)


class Item(NamedTuple):
    """One measurement: the index of its array in ``fusion.measurements.DTYPES`` and its record."""

    kind: int
    record: bytes  # RECORD_BYTES: row, t_ns and so on; the schedule puts aligned time in


class Due(NamedTuple):
    """Jobs in the order in which they fell due, and the measurements that they take in."""

    jobs: Records  # JOB; first and count refer to items
    items: Records  # ITEM

    def of(self, chosen: NDArray[Any]) -> "Due":
        """Return the jobs chosen, by mask or index, with their items."""
        jobs = self.jobs[chosen].copy()
        counts = jobs["count"].astype(np.intp)
        ends = np.cumsum(counts)
        if not len(jobs) or ends[-1] == len(self.items):
            return Due(jobs, self.items if len(jobs) else self.items[:0])
        starts = ends - counts
        index = np.repeat(jobs["first"].astype(np.intp) - starts, counts) + np.arange(ends[-1])
        jobs["first"] = starts
        return Due(jobs, self.items[index])

    @classmethod
    def joined(cls, parts: list["Due"]) -> "Due":
        """Return several as one, in their order."""
        if len(parts) == 1:
            return parts[0]
        jobs, items = joined((part.jobs for part in parts), JOB), joined((part.items for part in parts), ITEM)
        before = job = 0
        for part in parts:
            jobs["first"][job : job + len(part.jobs)] += before
            before, job = before + len(part.items), job + len(part.jobs)
        return cls(jobs, items)

    def measurements(self) -> Measurements:
        """Return the items as the models take them in, those of each row in the order of time."""
        records, counts = bytearray(len(self.items) * RECORD_BYTES), ffi.new("uint32_t[]", len(DTYPES))
        lib.kf_items_sort(
            *(ffi.from_buffer("kf_item[]", self.items), len(self.items)),
            *(_BYTES_C, len(DTYPES), ffi.from_buffer("uint8_t[]", records), counts),
        )
        arrays, at = list(_NO_MEASUREMENTS), 0
        for kind, count in enumerate(counts):
            if count:
                arrays[kind] = np.frombuffer(records, DTYPES[kind], count, at)
                at += arrays[kind].nbytes
        return Measurements(*arrays)


class Schedule:
    """The tables of links and lanes, and what falls due.

    Attributes
    ----------
    lanes : (capacity,) LANE
        One for each athlete.
    links : (capacity,) LINK
        One for each device.
    bases : int
        How many states of an athlete's models are to be kept for rewinds; 0: there are none.

    Parameters
    ----------
    timebase : TimeBase
    rewind_ns : int
        What comes late by no more than this is put into its place by a rewind, at most 30 s; 0: never.
    """

    def __init__(self, timebase: TimeBase, rewind_ns: int = 0) -> None:
        self.lanes = np.zeros(_FIRST_ROWS, LANE)
        self.links = np.zeros(_FIRST_ROWS, LINK)
        self._timebase = timebase
        self._athletes = self._devices = 0
        self._pool = np.zeros(0, ITEM)
        self._c = ffi.new("kf_schedule *", {"free_item": NONE, "free_page": NONE})
        self._c.record_bytes = _BYTES + [0] * (lib.KF_KINDS - len(DTYPES))
        self._pages: list[Records] = []  # in blocks,
        self._blocks: Any = None  # where these lie
        self.bases = -(-rewind_ns // BASE_NS) + 2 if rewind_ns else 0
        assert self.bases <= lib.KF_BASES, "rewind_ns is at most 30 s"
        self._c.window_ns, self._c.base_room = rewind_ns, self.bases
        self._jobs, self._taken = np.zeros(_ROOM, JOB), np.zeros(_ITEM_ROOM, ITEM)
        self._refusals, self._found = np.zeros(_ROOM, REFUSAL), np.zeros(0, _FOUND)
        self._refused: list[Records] = []
        c = self._c
        c.jobs, c.job_room = ffi.from_buffer("kf_job[]", self._jobs), _ROOM
        c.taken, c.taken_room = ffi.from_buffer("kf_item[]", self._taken), _ITEM_ROOM
        c.refusals, c.refusal_room = ffi.from_buffer("kf_refusal[]", self._refusals), _ROOM

    @property
    def jobs_waiting(self) -> int:
        """Return how many jobs were told and are not done, in all lanes together."""
        return int(self._c.jobs_waiting)

    @property
    def open_workouts(self) -> int:
        """Return how many athletes have a workout open."""
        return int(np.count_nonzero(self.lanes["flags"] & lib.KF_LANE_OPEN))

    def add_athlete(self, row: int, athlete: str) -> None:
        """Give an athlete a lane; its phase follows from the id, so a replay has the same."""
        self.lanes = _grown(self.lanes, row)
        self._athletes = max(self._athletes, row + 1)
        phase_ns = zlib.crc32(athlete.encode()) % PHASES * (STEP_NS // PHASES)
        lib.kf_lane_reset(self._lane(row), phase_ns)

    def forget_athlete(self, row: int) -> None:
        """Make a lane that of nobody, which holds nothing."""
        self.forget(row)
        lib.kf_lane_reset(self._lane(row), 0)

    def add_device(self, row: int, athlete: int, rank: int, number: int | None = None) -> None:
        """Give a device a link to the lane of its athlete; models know it by its number (None: its row)."""
        self.links = _grown(self.links, row)
        self._devices = max(self._devices, row + 1)
        self.links[row] = np.zeros((), LINK)
        self.links["athlete"][row], self.links["rank"][row] = athlete, rank
        self.links["core"][row], self.links["flags"][row] = NONE, lib.KF_LINK_ONLINE
        for name in ("first_waiting", "seen", "beats"):
            self.links[name][row] = NONE
        self.links["number"][row] = row if number is None else number

    def forget_device(self, row: int) -> None:
        """Make a link that of nobody; frames that were told by it are looked at one by one."""
        self.links[row] = np.zeros((), LINK)
        for name in ("core", "first_waiting", "seen", "beats"):
            self.links[name][row] = NONE
        self.links["flags"][row] = lib.KF_LINK_SPECIAL

    def now_ns(self, athlete: int, arrived_ns: int) -> int:
        """Return aligned time of what tells none: its arrival; in a recording the newest time told."""
        lane = self.lanes[athlete]
        both = lib.KF_LANE_RECORDED | lib.KF_LANE_STARTED
        return int(lane["watermark_ns"]) if lane["flags"] & both == both else arrived_ns

    def tell(self, athlete: int, *, recorded: bool, opens: bool, is_open: bool) -> None:
        """Tell a lane whether stamps of a recording alone move its time, and how its workout stands."""
        told = (lib.KF_LANE_RECORDED if recorded else 0) | (lib.KF_LANE_OPENS if opens else 0)
        told |= lib.KF_LANE_OPEN if is_open else 0
        started = int(self.lanes["flags"][athlete]) & lib.KF_LANE_STARTED
        self.lanes["flags"][athlete] = started | told

    def set_link(self, device: int, flag: int, on: bool) -> None:
        """Set a flag of a device's link, or take it away."""
        flags = int(self.links["flags"][device])
        self.links["flags"][device] = flags | flag if on else flags & ~flag

    def heard(self, device: int, arrived_ns: int) -> None:
        """Count a packet that is no event: a birth."""
        links, lanes = self.links, self.lanes
        links["packets"][device] += 1
        links["arrived_ns"][device] = arrived_ns
        athlete = links["athlete"][device]
        lanes["arrived_ns"][athlete] = max(lanes["arrived_ns"][athlete], arrived_ns)

    def silent(self, since_ns: int) -> list[int]:
        """Return athletes with an open workout and no job whose devices were all silent since then."""
        lanes = self.lanes[: self._athletes]
        silent = (lanes["arrived_ns"] != 0) & (lanes["arrived_ns"] < since_ns) & (lanes["jobs"] == 0)
        rows: list[int] = np.flatnonzero(silent & (lanes["flags"] & lib.KF_LANE_OPEN != 0)).tolist()
        return rows

    def forget(self, athlete: int) -> None:
        """Make a lane as one to which no measurement has come."""
        lib.kf_lane_forget(self._point(), athlete)

    def done(self, athletes: Any, count: int) -> None:
        """Say that a job of each of these athletes is done."""
        self.lanes["jobs"][athletes] -= 1
        self._c.jobs_waiting -= count

    def limit(self, events: Records) -> NDArray[np.uint8] | None:
        """Return which events are taken, 1 or 0, (n,): a device that floods has IMU packets refused.

        None: all are.
        """
        admitted = np.empty(len(events), np.uint8)
        links, out = ffi.from_buffer("kf_link[]", self.links), ffi.from_buffer("uint8_t[]", admitted)
        refused = lib.kf_limit(links, ffi.from_buffer("kf_event[]", events), len(events), out)
        return admitted if refused else None

    def run(self, events: Records, advance: Advance, records: NDArray[np.uint8]) -> Iterator[Due]:
        """Take in what arrived and yield what falls due.

        Parameters
        ----------
        events : (n,) EVENT
            In the order of arrival.
        advance : Advance
            What the core made of the IMU packets to which events refer.
        records : (m, RECORD_BYTES) uint8
            Of the samples to which events refer.
        """
        windows = len(advance.windows)
        self._reserve(windows + len(records))
        c = self._point()
        if 2 * (windows + len(events)) > len(self._found):
            self._found = np.empty(4 * (windows + len(events)), _FOUND)
            c.found = ffi.from_buffer("kf_found[]", self._found)
        c.events = ffi.from_buffer("kf_event[]", events)
        c.event_count, c.next_event, c.next_window, c.found_count, c.next_found = len(events), 0, 0, 0, 0
        c.summaries = ffi.from_buffer("kf_summary[]", advance.summaries)
        c.windows = ffi.from_buffer("kf_window[]", advance.windows)
        c.records = ffi.from_buffer("uint8_t[]", records)
        yield from self._all(lib.kf_schedule_run, c)

    def pass_time(self, utc_ns: int) -> Iterator[Due]:
        """Yield the steps that are due at ``utc_ns`` and whose packet has not come, of live athletes."""
        yield from self._all(lib.kf_schedule_pass, self._point(), self._athletes, utc_ns)

    def rewind(self, athlete: int) -> Iterator[Due]:
        """Yield the rewind that a lane awaits, if it does."""
        yield from self._all(lib.kf_schedule_rewind, self._point(), athlete)

    def settle(self, athlete: int) -> None:
        """Forget what a rewind would need: the models' state was changed by something that is no job."""
        lib.kf_lane_settle(self._point(), athlete)

    def take_refusals(self) -> Records:
        """Return what was refused since this was last asked, (n,) REFUSAL."""
        refusals = joined(self._refused, REFUSAL)
        self._refused.clear()
        return refusals

    def _all(self, call: Any, *arguments: Any) -> Iterator[Due]:
        """Call until all is done, and yield what each call told."""
        c, more = self._c, 1
        while more:
            self._reserve_pages()
            more = call(*arguments)
            due = Due(joined([self._jobs[: c.job_count]], JOB), joined([self._taken[: c.taken_count]], ITEM))
            if c.refusal_count:
                self._refused.append(joined([self._refusals[: c.refusal_count]], REFUSAL))
            c.job_count = c.taken_count = c.refusal_count = 0
            if len(due.jobs):
                yield due

    def _reserve(self, count: int) -> None:
        """See to it that so many items are free in the pool."""
        missing, size = count - self._c.free_count, len(self._pool)
        if missing <= 0:
            return
        # In place, where the allocator moves pages and copies none: a copy of all would hold up a tick.
        self._pool.resize(size + max(missing, _ROOM), refcheck=False)
        lib.kf_schedule_free(self._point(), size, len(self._pool) - size)

    def _reserve_pages(self) -> None:
        """See to it that there are free pages, where there are rewinds."""
        c = self._c
        if not c.window_ns or c.free_pages >= lib.KF_PAGES_A_FOUND:
            return
        count = int(lib.KF_PAGES_A_BLOCK)
        self._pages.append(np.zeros(count, PAGE))  # what was there stays where it is: no copy holds up a tick
        self._blocks = ffi.new("kf_page *[]", [ffi.from_buffer("kf_page[]", each) for each in self._pages])
        c.pages = self._blocks
        lib.kf_kept_free(c, (len(self._pages) - 1) * count, count)

    def _point(self) -> Any:
        """Return the schedule as C takes it: the tables may lie elsewhere than at the last call."""
        c = self._c
        c.lanes = ffi.from_buffer("kf_lane[]", self.lanes)
        c.links = ffi.from_buffer("kf_link[]", self.links)
        c.clocks = ffi.from_buffer("kf_clock[]", self._timebase.state)
        c.items = ffi.from_buffer("kf_item[]", self._pool)
        return c

    def _lane(self, row: int) -> Any:
        return ffi.from_buffer("kf_lane[]", self.lanes) + row


def _grown(table: Records, row: int) -> Records:
    """Return the table with room for the row."""
    if row < len(table):
        return table
    return grown(table, max(row + 1, 2 * len(table)))
