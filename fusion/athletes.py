"""The table of athletes: all that is known of each, one row each, advanced together.

`Athletes.step` takes the measurements of all rows that are due, runs every model and returns every metric. A
row's result depends on its own measurements, times and commands alone, bit for bit: not on which other rows
step with it. A row's state is bytes: `Athletes.snapshot` copies them, `Athletes.restore` puts them back.
"""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion import design, intake, timer
from fusion.checkpoints import Checkpoints
from fusion.history import History
from fusion.measurements import Estimates, Measurements, Records, Source, Sport, due
from fusion.metrics import METRICS, ascent, distance, energy, floors, gap, moving
from fusion.metrics.metric import estimates
from fusion.models import altitude, choice, consistency, position, receivers, step_length
from fusion.rounds import rounds
from fusion.state import STATE, TOTALS, zeros
from fusion.summary import WorkoutSummary, absorb_heights, absorb_track, summarise
from fusion.table import Picked, grown

STATE_VERSION = 8
ZONES_DEFAULT = (0.6, 0.7, 0.8, 0.9)
SEXES = ("unknown", "female", "male")

_HEADER = struct.Struct("<4sHHII")  # magic, version, reserved, bytes of the track, of the heights
_MAGIC = b"KFAT"

# The same without the padding between fields, whose bytes are anything: what a snapshot holds.
_PACKED = np.dtype([(name, STATE[name]) for name in STATE.names or ()])


class StateError(ValueError):
    """A block of bytes that is not an athlete's state of this version."""


class Profile(NamedTuple):
    """What is told of an athlete; what is not told has a value that says so.

    ``zones`` are upper bounds of the heart rate zones as shares of the maximum, rising, without the last
    zone's; at most 9, none: 0.6, 0.7, 0.8, 0.9.
    """

    mass_kg: float = 75.0
    height_m: float = 1.75
    birth_year: int = 0  # 0: not told
    sex: str = "unknown"  # unknown, female or male
    resting_bpm: float = 60.0
    max_bpm: float = 0.0  # 0: not told
    zones: tuple[float, ...] = ()


class Totals(NamedTuple):
    """Totals of open workouts, (n,) each."""

    elapsed_s: NDArray[np.float64]
    moving_s: NDArray[np.float64]
    distance_m: NDArray[np.float64]


class Athletes:
    """The table; the row of one who was removed may be another one's.

    Parameters
    ----------
    limit : int
        Bounds the number of rows.
    bases : int
        How many bases are kept of a row, to go back to; 0: none.

    Attributes
    ----------
    stepped : (capacity,) bool
        Rows that have stepped, or were restored, since whoever looks at them took the mark away.
    """

    def __init__(self, limit: int = 16_384, bases: int = 0) -> None:
        design.load()
        self._kernels = intake.kernels()
        self.state = zeros(4)
        self.stepped = np.zeros(len(self.state), np.bool_)
        self._count = 0
        self._vacant: list[int] = []
        self._limit = limit
        self._track = History(position.STATES, 4, position.transition)
        self._heights = History(altitude.STATES, 6, altitude.transition)
        self.checkpoints: Checkpoints | None = None
        if bases:
            self.checkpoints = Checkpoints(bases, ("track_slot", self._track), ("climb_slot", self._heights))

    def __len__(self) -> int:
        return self._count - len(self._vacant)

    def add(self, profile: Profile | None = None) -> int:
        """Return the row of a new athlete.

        Raises
        ------
        OverflowError
            The table is full.
        """
        if self._vacant:
            row = self._vacant.pop()
            self._blank(row, profile or Profile())
            return row
        if self._count >= self._limit:
            raise OverflowError(f"the table of athletes holds {self._limit} rows")
        if self._count == len(self.state):
            self.state.grow(2 * len(self.state))
            self.stepped = grown(self.stepped, len(self.state))
        row = self._count
        self._count += 1
        self._blank(row, profile or Profile())
        return row

    def remove(self, row: int) -> None:
        """Forget an athlete, who has no workout open; the row must not be removed twice."""
        self._close(row)
        if self.checkpoints is not None:
            self.checkpoints.clear(row)
        self.state.clear(row)
        self._blank(row, Profile())
        self._vacant.append(row)

    def _blank(self, row: int, profile: Profile) -> None:
        """Make a row that of an athlete of whom only the profile is known."""
        one = self.state[row]
        for name, value in zip(profile._fields, profile, strict=True):
            if name not in ("sex", "zones"):
                one[name] = value
        one["sex"] = SEXES.index(profile.sex)
        bounds = profile.zones or ZONES_DEFAULT
        one["zones"] = np.inf
        one["zones"][: len(bounds)] = bounds
        one["pause_ns"] = timer.NEVER_NS
        choice.clear(one)
        one["hr_device"] = one["other_device"] = one["other_baro"] = choice.NOBODY
        one["track_slot"] = one["climb_slot"] = -1
        one["cadence_rpm"] = one["cadence_spm"] = one["track_doppler_mps"] = np.nan
        one["pos_doppler_mps"] = np.nan
        one["stale_lat_deg"] = one["stale_lon_deg"] = np.nan
        ascent.clear(one)
        step_length.clear(one)

    # Workouts

    def begin(self, row: int, t_ns: int, sport: Sport) -> None:
        """Open a workout: its totals are zero, the filters keep what they know; drop one that is open."""
        one = self.state[row]
        self._close(row)
        for name in TOTALS:
            one[name] = 0
        one["track_doppler_mps"] = np.nan
        ascent.clear(one)
        timer.begin(self.state, row, t_ns, int(sport))
        one["moving_t_ns"] = one["energy_t_ns"] = t_ns
        one["alt_break"] = altitude.BREAK_SCALE

    def pause(self, row: int, t_ns: int) -> bool:
        """Pause the workout's timer; return False where it does not run."""
        running = bool(self.state["open"][row]) and self.state["pause_ns"][row] == timer.NEVER_NS
        if running:
            distance.add_edge(self.state, row, t_ns)
        return timer.pause(self.state, row, t_ns)

    def resume(self, row: int, t_ns: int) -> bool:
        """Let the timer run again; return False where it does."""
        if not timer.resume(self.state, row, t_ns):
            return False
        one = self.state[row]
        one["alt_break"] = altitude.BREAK_SCALE
        one["track_doppler_mps"] = np.nan
        one["path_fills"] = 0
        ascent.leap(one, "climb")
        floors.turn(one)
        return True

    def end(self, row: int, t_ns: int) -> WorkoutSummary:
        """Close the workout and return its summary, from the smoothed track and heights.

        Raises
        ------
        ValueError
            No workout is open.
        """
        one = self.state[row]
        if not one["open"]:
            raise ValueError("no workout is open")
        self.pause(row, t_ns)
        self._flush_track(int(one["track_slot"]), everything=True)
        self._flush_heights(int(one["climb_slot"]), everything=True)
        floors.settle(self.state, row)
        summary = summarise(self.state[row : row + 1].copy(), t_ns)
        self._close(row)
        one["open"] = 0
        one["pause_ns"] = timer.NEVER_NS
        return summary

    def totals(self, row: int, t_ns: int | None = None) -> dict[str, float]:
        """Return the open workout's totals at a time (None: at its newest measurement): s, s, m."""
        if t_ns is None:
            one = self.state[row]
            t_ns = max(
                int(one[name]) for name in ("start_ns", "dist_t_ns", "moving_t_ns", "hr_t_ns", "body_t_ns")
            )
        all_of = self.totals_of(np.array([row]), np.array([t_ns]))
        return {name: float(column[0]) for name, column in all_of._asdict().items()}

    def totals_of(self, rows: NDArray[np.intp], t_ns: NDArray[np.int64]) -> Totals:
        """Return the totals of rows with an open workout, each at a time of its own."""
        return Totals(*self._kernels.totals(self.state, due(rows, t_ns)))

    def _close(self, row: int) -> None:
        """Take a row's histories away."""
        self._track.close(self.state["track_slot"], row)
        self._heights.close(self.state["climb_slot"], row)

    def _flush_track(self, slot: int, *, everything: bool = False) -> None:
        for piece in self._track.flush(slot, everything=everything):
            absorb_track(self.state[self._track.row_of(slot)], piece)

    def _flush_heights(self, slot: int, *, everything: bool = False) -> None:
        for piece in self._heights.flush(slot, everything=everything):
            absorb_heights(self.state[self._heights.row_of(slot)], piece)

    # Steps

    def step(self, rows: NDArray[np.intp], due_ns: NDArray[np.int64], m: Measurements) -> Estimates:
        """Advance rows by their measurements and return every metric at the time that is due.

        Parameters
        ----------
        rows : (n,) intp
            Each at most once.
        due_ns : (n,) int64
            Aligned time.
        m : Measurements
            Of these rows alone, none newer than its row's due_ns. One that is up to 2 s older than its
            model's state counts as if it came at the state's time; one that is older still is counted in
            ``late``.

        Returns
        -------
        Estimates
            By metric name, n values each in the order of ``rows``.
        """
        self.stepped[rows] = True
        chosen = self._bodies(m.windows)
        m = m._replace(gnss=self._receivers(m.gnss), baro=self._barometers(m.baro))
        self._altitudes(chosen, m)
        if len(m.gnss):
            self._positions(m.gnss, rows, due_ns)
        each = self._kernels
        for kernel, records in (
            (each.speed, m.speeds),
            (each.power, m.power),
            (each.heart_rate, m.heart_rates),
            (each.cadence, m.cadence),
        ):
            if len(records):
                kernel(self.state, records)
        return estimates(METRICS, self._kernels.live.block(self.state, due(rows, due_ns)))

    def _bodies(self, windows: Records) -> Records:
        """Take the windows in; return those of the devices that speak for their athletes."""
        if not len(windows):
            return windows
        (chosen,) = self._kernels.window(self.state, windows)
        return windows if chosen.all() else windows[chosen]

    def _receivers(self, gnss: Records) -> Records:
        """Return the fixes of the receivers that speak for their athletes."""
        if not len(gnss):
            return gnss
        before = self.state["gnss_device"][gnss["row"]]
        (spoke,) = self._kernels.receiver(self.state, gnss)
        return receivers.speaking(self.state, gnss, before, spoke)

    def _barometers(self, baro: Records) -> Records:
        """Return the pressures of the barometers that speak for their athletes, on the scale of one."""
        if not len(baro):
            return baro
        speaks, pressure_pa = self._kernels.barometer(self.state, baro)
        if speaks.all() and (pressure_pa == baro["pressure_pa"]).all():
            return baro
        chosen: Records = baro[speaks]
        chosen["pressure_pa"] = pressure_pa[speaks]
        return chosen

    def _altitudes(self, windows: Records, m: Measurements) -> None:
        for e in altitude.heights(m.baro, m.gnss) if len(m.baro) or len(m.gnss) else ():
            if len(windows):
                height_ns = np.full(len(self.state), timer.NEVER_NS)
                height_ns[e["row"]] = e["t_ns"]
                before = windows["t_ns"] <= height_ns[windows["row"]]
                self._kernels.increment(self.state, windows[before])
                windows = windows[~before]
            told = e["row"].astype(np.intp)
            before = self.state["alt_nis"][told]
            step, full = altitude.absorb(self.state, e, self._heights)
            consistency.learn(self.state, "altitude", told, before, self.state["alt_nis"][told], 1)
            ascent.from_heights(self.state, step)
            floors.from_heights(self.state, step)
            for slot in full:
                self._flush_heights(slot)
        if len(windows):
            self._kernels.increment(self.state, windows)

    def _positions(self, gnss: Records, rows: timer.Rows, due_ns: timer.Times) -> None:
        state = self.state
        of_row = np.zeros(len(state), dtype=np.int64)
        of_row[rows] = due_ns
        for fixes in rounds(gnss):
            told = fixes["row"].astype(np.intp)
            before = state["pos_nis"][told]
            step, full = position.absorb(state, fixes, of_row, self._track)
            goes_on = state["pos_fixes"][told] > 1
            told, before = told[goes_on], before[goes_on]
            consistency.learn(state, "position", told, before, state["pos_nis"][told], 2)
            way_m = distance.from_fixes(state, step)
            followed_m = np.where(step.joined, way_m, np.nan)  # no straight line across a hole
            step_length.learn(state, step.rows, followed_m, step.span_s, state["pos_accuracy_m"][step.rows])
            between = gap.between(state, step, way_m)
            if len(between.rows):
                moving.over_gaps(state, between)
                energy.over_gaps(state, between)
                top = np.maximum(state["speed_max_mps"][between.rows], between.mean_mps)
                state["speed_max_mps"][between.rows] = top
            moves = step.speed_mps >= moving.MOVING_MPS
            fixed = Picked(state, step.rows)
            moving.accrue(fixed, step.t_ns, moves, int(Source.GNSS))
            energy.from_motion(fixed, step.t_ns, step.speed_mps)
            for slot in full:
                self._flush_track(slot)

    # State as bytes

    def snapshot(self, row: int) -> bytes:
        """Return all that is known of an athlete, as bytes of this version."""
        one = self.state[row]
        track = self._track.snapshot(int(one["track_slot"]))
        heights = self._heights.snapshot(int(one["climb_slot"]))
        header = _HEADER.pack(_MAGIC, STATE_VERSION, 0, len(track), len(heights))
        packed = np.zeros(1, _PACKED)
        for name in _PACKED.names or ():
            packed[name] = one[name]
        packed["track_slot"] = packed["climb_slot"] = -1  # where the histories lie is this table's own affair
        return header + packed.tobytes() + track + heights

    def restore(self, row: int, block: bytes) -> None:
        """Put back what `snapshot` gave, in this table or another.

        Raises
        ------
        StateError
            The block is not a state of this version; the row is as it was.
        """
        if len(block) < _HEADER.size:
            raise StateError("an athlete's state is longer than this")
        magic, version, _, track, heights = _HEADER.unpack_from(block)
        if magic != _MAGIC or version != STATE_VERSION:
            raise StateError(f"not an athlete's state of version {STATE_VERSION}")
        if len(block) != _HEADER.size + _PACKED.itemsize + track + heights:
            raise StateError("an athlete's state of another size")
        middle = _HEADER.size + _PACKED.itemsize
        blocks = (block[middle : middle + track], block[middle + track :])
        for history, part in zip((self._track, self._heights), blocks, strict=True):
            if not history.holds(part):
                raise StateError("an athlete's history of another size")
        self._close(row)
        (packed,) = np.frombuffer(block, _PACKED, 1, _HEADER.size)
        one = self.state[row]
        for name in _PACKED.names or ():
            one[name] = packed[name]
        self.state["track_slot"][row] = self.state["climb_slot"][row] = -1
        self.stepped[row] = True
        if self.state["open"][row]:
            self._track.restore(self.state["track_slot"], row, blocks[0])
            self._heights.restore(self.state["climb_slot"], row, blocks[1])
