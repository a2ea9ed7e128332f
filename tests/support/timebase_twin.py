"""A readable twin of csrc/clock.c, one number at a time: the oracle that the core's clocks are held to.

A packet that was stamped t by its device and arrived at a shows a - t = offset(t) + delay, and no delay is
negative. So the smallest a - t of each second of arrivals is a measurement of the offset, and a filter with
two states follows it::

    offset' = skew,  skew' = white noise of density SKEW_NOISE;  offset itself wanders with PHASE_NOISE
    Q(dt) = [[q dt^3 / 3 + p dt, q dt^2 / 2], [q dt^2 / 2, q dt]]

Delays have a long tail on one side. The noise R follows the innovations, a late second counts less than
an early one (EXPECTILE), and a very late one less still. So the estimated line lies above the least of all
delays by a share of the noise, and the published one is lowered by it (ABOVE). What is published is thus the
offset plus the constant delay; the two cannot be told apart from arrivals alone, but where the device answers
pings.

What is published never steps but at a counted jump: where the estimate moves, the published line starts from
where it was at the newest stamp seen before, and closes up at SLEW at most, so it is monotonic. At first and
after a jump, when the delays of one or two packets are all that is known, it closes up faster. Steps of less
than JUMP_NS are followed so. A counter of 32 bit that begins anew is no jump.

All times are int64 ns; float64 holds differences only. Nothing here reads a clock.

Source: the two-state clock model of Zucca and Tavella, doi:10.1109/TUFFC.2005.1406554; minimum filtering of
one-way delays as in Paxson, doi:10.1145/277858.277865; the least round trip as in Cristian,
doi:10.1007/BF01784024, but each way by its own least, and its ageing as in NTP's clock filter, RFC 5905, 10.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fusion.timebase import FRESH, LIVE, RECORDED, ClockState

BLOCK_NS: Final = 1_000_000_000  # the smallest delay is taken of so long
JUMP_NS: Final = 1_000_000_000  # a packet that is further off is an outlier, or the first after a jump
HALF_NS: Final = 500_000_000  # late arrivals are a jump and not a stall where two such times have
ALIKE_NS: Final = 50_000_000  # least delays as alike as this,
PERSIST_NS: Final = 10_000_000_000  # or whatever they have, after so long
SLEW: Final = 0.1  # the most by which published time runs fast or slow, s/s
SLEW_NS: Final = 1_000_000_000  # the time over which a small correction is spread
EARLY_SLEW: Final = 0.5  # likewise, for a correction that takes longer and that no delay explains
SETTLING_BLOCKS: Final = 2  # for so long after the start or a jump
SETTLING_SLEW: Final = 0.9  # it is this: time must not stand still, let alone go back

SKEW_NOISE: Final = 1e-14  # 1/s: a crystal drifts by about 1 ppm in 100 s
PHASE_NOISE: Final = 4e-10  # s^2/s: 20 us after one second
SKEW_SIGMA: Final = 50e-6  # s/s, of a clock that was never heard
SKEW_MAX: Final = 500e-6  # s/s; what NTP slews by at most
START_SIGMA_S: Final = 0.05  # before a whole block was seen
NOISE_S: Final = 5e-3  # of a block's minimum, before any was compared
NOISE_MIN_S: Final = 0.5e-3
NOISE_GAIN: Final = 0.02  # and all blocks alike, before there are so many
EXPECTILE: Final = 8.0  # R of a block that is late, over R of one that is early
ABOVE: Final = 0.5  # where that expectile of one-sided exponential noise lies, in sigmas from its least
TAIL: Final = 3.0  # sigmas from which lateness counts less still
GATE: Final = 6.0  # sigmas from which the clock was set, by less than JUMP_NS:
EARLY_S: Final = 10e-3  # no delay is negative, so where a block is earlier than this;
LATE_S: Final = 50e-3  # and where two in a row are later than this, and
LATE_SHARE: Final = 0.25  # differ by less than this share

TRIP_MAX_NS: Final = 2_000_000_000  # a longer round trip tells nothing
TRIP_AGE: Final = 1e-4  # by which the best round trip counts for longer, s/s

TURNS_NS: Final = (2**32 * 1000, 2**32 * 1_000_000)  # of counters of us and ms in 32 bit

STAMP_MAX: Final = 2**62  # a device clock beyond it, either way, is not observed
_NONE_NS: Final = 2**63 - 1
_FAR_NS: Final = 2**60  # 36 years from the reference a line is not drawn on

STATE_VERSION: Final = 2
STATE: Final = np.dtype(
    [
        ("ref_ns", np.int64),  # device time where the line is told
        ("at_ns", np.int64),  # aligned time there
        ("newest_ns", np.int64),  # newest device stamp seen
        ("anchor_ns", np.int64),  # device time where the published line left its former course
        ("block_end_ns", np.int64),  # arrival that closes the block
        ("least_ns", np.int64),  # the block's smallest arrival - stamp
        ("least_at_ns", np.int64),  # the stamp it was seen at
        ("suspect_ns", np.int64),  # arrival of the first of the outliers in a row
        ("suspects", np.int64),  # how many outliers in a row; negative: that are early
        ("suspect_least_ns", np.int64),  # their smallest arrival - stamp, of the half second that ends at
        ("half_end_ns", np.int64),  # this arrival,
        ("half_least_ns", np.int64),  # and of the one before; 2^63 - 1: there was none
        ("boot", np.int64),  # -1: not told
        ("jumps", np.int64),
        ("wraps", np.int64),  # how often a counter of 32 bit began anew
        ("delay_ns", np.int64),  # by which the published line is below the estimated one
        ("trip_ns", np.int64),  # the shortest round trip of pings; 0: none
        ("trip_at_ns", np.int64),  # its arrival
        ("blocks", np.int64),  # whole blocks since the start or the last jump
        ("phase", np.int64),  # see below
        ("error_ns", np.float64),  # of the published line over the estimate, at the anchor
        ("slew_ns", np.float64),  # device time over which that error is worked off
        ("skew", np.float64),  # s/s
        ("p_oo", np.float64),  # s^2
        ("p_os", np.float64),  # s
        ("p_ss", np.float64),
        ("noise_s2", np.float64),  # variance of a block's minimum
        ("late_s", np.float64),  # by which the block before was too late for a delay; else 0
    ]
)


class TimeBase:
    """The table of clocks: one row per device.

    Attributes
    ----------
    state : (capacity,) STATE
        All that is remembered; a copied row is a snapshot.
    """

    def __init__(self, capacity: int = 64) -> None:
        self.state = np.zeros(max(capacity, 1), STATE)
        self._view()

    def _view(self) -> None:
        """Make the fields reachable one number at a time, which numpy alone does slowly."""
        columns: dict[str, Any] = {name: self.state[name] for name in STATE.names or ()}
        self._field: dict[str, Any] = {name: memoryview(column) for name, column in columns.items()}
        self._phase, self._blocks = self._field["phase"], self._field["blocks"]
        self._boot = self._field["boot"]
        self._ref, self._at, self._skew = self._field["ref_ns"], self._field["at_ns"], self._field["skew"]
        self._newest, self._anchor = self._field["newest_ns"], self._field["anchor_ns"]
        self._error, self._slew = self._field["error_ns"], self._field["slew_ns"]
        self._end, self._suspects = self._field["block_end_ns"], self._field["suspects"]
        self._least, self._least_at = self._field["least_ns"], self._field["least_at_ns"]

    def add(self, row: int, *, recorded: bool = False) -> None:
        """Make ``row`` the clock of a device that was never heard of; the table grows as needed."""
        if row >= len(self.state):
            grown = np.zeros(max(row + 1, 2 * len(self.state)), STATE)
            grown[: len(self.state)] = self.state
            self.state = grown
            self._view()
        self.state[row] = np.zeros((), STATE)
        self._field["p_ss"][row] = SKEW_SIGMA**2
        self._field["noise_s2"][row] = NOISE_S**2
        self._boot[row] = -1
        self._phase[row] = RECORDED if recorded else FRESH

    def set_recorded(self, row: int, recorded: bool) -> None:
        """Say whether the device's stamps are aligned time already; a change begins the clock anew."""
        if recorded != (self._phase[row] == RECORDED):
            self.add(row, recorded=recorded)

    def observe(self, row: int, device_ns: int, arrived_ns: int, boot: int | None = None) -> None:
        """Take in that a packet whose newest stamp is ``device_ns`` arrived at ``arrived_ns``.

        Parameters
        ----------
        row : int
            The device's row.
        device_ns : int
            On the device's clock, int64; beyond STAMP_MAX it is ignored.
        arrived_ns : int
            Aligned time on arrival, int64; should not fall from packet to packet.
        boot : int, optional
            Another one than before begins the clock anew, and counts as a jump.
        """
        phase = self._phase[row]
        if phase == RECORDED or not -STAMP_MAX < device_ns < STAMP_MAX:
            return
        if boot is not None and boot != self._boot[row]:
            if self._boot[row] != -1 and phase == LIVE:
                self._field["jumps"][row] += 1
                phase = FRESH
            self._boot[row] = boot
        shown_ns = arrived_ns - device_ns
        if phase == FRESH:
            self._start(row, device_ns, arrived_ns, shown_ns)
            return
        late_ns = self._late_ns(row, device_ns, arrived_ns)
        if late_ns > JUMP_NS:
            late_ns = self._unwrap(row, device_ns, arrived_ns, late_ns)
        if not -JUMP_NS <= late_ns <= JUMP_NS:
            self._suspect(row, device_ns, arrived_ns, late_ns)
            return
        self._suspects[row] = 0
        if shown_ns < self._least[row]:
            self._least[row] = shown_ns
            self._least_at[row] = device_ns
            if not self._blocks[row] and late_ns < 0:
                self._move(row, device_ns, arrived_ns, self._skew[row])
        if arrived_ns >= self._end[row] or self._is_early(row, late_ns * 1e-9):
            self._close_block(row, arrived_ns)
        if device_ns > self._newest[row]:
            self._newest[row] = device_ns

    def pong(self, row: int, device_ns: int, sent_ns: int, arrived_ns: int) -> None:
        """Take in that a ping sent at ``sent_ns`` was answered at ``device_ns``, which arrived then."""
        field, took_ns = self._field, arrived_ns - sent_ns
        if self._phase[row] != LIVE or not self._blocks[row] or not 0 < took_ns <= TRIP_MAX_NS:
            return
        if abs(device_ns - self._newest[row]) > TRIP_MAX_NS:
            return
        trip_ns = max(1, self._estimate(row, device_ns) - self._above_ns(row) - sent_ns)
        best_ns, age_ns = field["trip_ns"][row], float(arrived_ns - field["trip_at_ns"][row])
        if trip_ns > TRIP_MAX_NS or (best_ns and float(trip_ns) > float(best_ns) + TRIP_AGE * age_ns):
            return
        published_ns = self._published(row, self._newest[row])
        field["trip_ns"][row], field["trip_at_ns"][row] = trip_ns, arrived_ns
        self._lower(row)
        self._leave(row, published_ns)

    def align(self, row: int, device_ns: int) -> int:
        """Return the aligned time of a stamp, ns; the stamp itself where nothing was observed."""
        if self._phase[row] != LIVE:
            return device_ns
        return self._published(row, device_ns)

    def align_many(self, rows: NDArray[np.integer[Any]], device_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the aligned time of stamps; equal to `align` for each.

        Parameters
        ----------
        rows : (n,) int
            The row of each stamp.
        device_ns : (n,) int64

        Returns
        -------
        (n,) int64
        """
        state = self.state
        elapsed_ns = _apart(device_ns, state["ref_ns"][rows])
        spent = _apart(device_ns, state["anchor_ns"][rows]) / np.maximum(state["slew_ns"][rows], 1.0)
        left_ns = state["error_ns"][rows] * np.clip(1.0 - spent, 0.0, 1.0)
        correction_ns = np.floor(state["skew"][rows] * elapsed_ns + left_ns).astype(np.int64)
        line_ns = state["at_ns"][rows] - state["delay_ns"][rows] + elapsed_ns + correction_ns
        aligned: NDArray[np.int64] = np.where(state["phase"][rows] == LIVE, line_ns, device_ns)
        return aligned

    def clock(self, row: int) -> ClockState:
        """Return what is known of the clock of ``row``."""
        newest_ns, field = self._newest[row], self._field
        counts = field["jumps"][row], field["wraps"][row], field["trip_ns"][row]
        if self._phase[row] != LIVE:
            sigma_ns = 0.0 if self._phase[row] == RECORDED else float("inf")
            return ClockState(0, sigma_ns, 0.0, *counts)
        elapsed_s = (newest_ns - self._ref[row]) * 1e-9
        p_oo = _grown(field["p_oo"][row], field["p_os"][row], field["p_ss"][row], elapsed_s)[0]
        aim_ns = self._estimate(row, newest_ns) - field["delay_ns"][row]
        left_ns, trip_ns = float(self._published(row, newest_ns) - aim_ns), float(field["trip_ns"][row])
        return ClockState(
            self._published(row, newest_ns) - newest_ns,
            math.sqrt(p_oo * 1e18 + left_ns * left_ns + trip_ns * trip_ns / 12.0),
            self._skew[row] * 1e6,
            *counts,
        )

    def snapshot(self, row: int) -> bytes:
        """Return all that is remembered of a clock."""
        block: bytes = self.state[row].tobytes()
        return bytes([STATE_VERSION]) + block

    def restore(self, row: int, block: bytes) -> None:
        """Put back what `snapshot` returned; ValueError for a block of another version or size."""
        if len(block) != 1 + STATE.itemsize or block[0] != STATE_VERSION:
            raise ValueError(f"no clock state of version {STATE_VERSION}: {len(block)} bytes")
        self.add(row)
        self.state[row] = np.frombuffer(block, STATE, 1, 1)[0]

    def _estimate(self, row: int, device_ns: int) -> int:
        """Return the estimated aligned time, ns."""
        elapsed_ns = max(-_FAR_NS, min(_FAR_NS, device_ns - self._ref[row]))
        return int(self._at[row] + elapsed_ns + int(self._skew[row] * elapsed_ns // 1.0))

    def _published(self, row: int, device_ns: int) -> int:
        """Return the estimate plus what is left of the error that it had when it last moved."""
        elapsed_ns = max(-_FAR_NS, min(_FAR_NS, device_ns - self._ref[row]))
        spent = max(-_FAR_NS, min(_FAR_NS, device_ns - self._anchor[row])) / max(self._slew[row], 1.0)
        left_ns = self._error[row] * max(0.0, min(1.0, 1.0 - spent))
        correction_ns = int((self._skew[row] * elapsed_ns + left_ns) // 1.0)
        return int(self._at[row] - self._field["delay_ns"][row] + elapsed_ns + correction_ns)

    def _start(self, row: int, device_ns: int, arrived_ns: int, shown_ns: int) -> None:
        """Begin with arrival - stamp for what there is of delay; what was learnt otherwise is kept."""
        field = self._field
        self._phase[row], self._blocks[row], self._suspects[row] = LIVE, 0, 0
        self._ref[row] = self._newest[row] = self._anchor[row] = self._least_at[row] = device_ns
        self._at[row] = device_ns + shown_ns
        self._error[row], self._slew[row], field["late_s"][row] = 0.0, float(SLEW_NS), 0.0
        self._end[row] = arrived_ns + BLOCK_NS
        self._least[row] = shown_ns
        field["p_oo"][row], field["p_os"][row] = START_SIGMA_S**2, 0.0

    def _suspect(self, row: int, device_ns: int, arrived_ns: int, late_ns: int) -> None:
        """Take in a packet that is more than JUMP_NS off; begin anew where such packets persist.

        Two that are early cannot be delays: the clock jumped. Late ones may be a link that stalled and now
        delivers its backlog at once, so they must be late in the same way for a while, and none in between.
        The least delayed of them tells the new offset; of two early ones the first may have been a wild
        stamp.
        """
        field, count, shown_ns = self._field, self._suspects[row], arrived_ns - device_ns
        if (late_ns > 0) != (count > 0) or count == 0:
            self._suspects[row] = 1 if late_ns > 0 else -1
            field["suspect_ns"][row], field["half_end_ns"][row] = arrived_ns, arrived_ns + HALF_NS
            field["suspect_least_ns"][row], field["half_least_ns"][row] = shown_ns, _NONE_NS
            return
        self._suspects[row] = count + (1 if count > 0 else -1)
        after_ns = shown_ns - field["suspect_least_ns"][row]
        if after_ns < 0 or (count < 0 and after_ns > JUMP_NS):
            field["suspect_least_ns"][row] = shown_ns
        if count > 0 and not self._stays_late(row, device_ns, arrived_ns):
            return
        if self._blocks[row]:  # in the first second it was the first packet that came late
            field["jumps"][row] += 1
        least_ns = min(field["half_least_ns"][row], field["suspect_least_ns"][row])
        self._start(row, device_ns, arrived_ns, least_ns)

    def _stays_late(self, row: int, device_ns: int, arrived_ns: int) -> bool:
        """Return whether packets are late in the same way for long enough.

        A backlog that is delivered is less and less late, and while a link is bad its backlog may grow. No
        backlog has stamps before the newest that came.
        """
        field = self._field
        if arrived_ns < field["half_end_ns"][row]:
            return False
        least_ns, before_ns = field["suspect_least_ns"][row], field["half_least_ns"][row]
        most_ns = JUMP_NS if device_ns < self._newest[row] else ALIKE_NS
        alike = before_ns != _NONE_NS and -ALIKE_NS <= least_ns - before_ns <= most_ns
        if alike or arrived_ns - field["suspect_ns"][row] >= PERSIST_NS:
            return True
        field["half_least_ns"][row], field["suspect_least_ns"][row] = least_ns, _NONE_NS
        field["half_end_ns"][row] = arrived_ns + HALF_NS
        return False

    def _late_ns(self, row: int, device_ns: int, arrived_ns: int) -> int:
        """Return by how much a packet comes after its stamp in estimated time."""
        elapsed_ns = device_ns - self._ref[row]
        return int(arrived_ns - self._at[row] - elapsed_ns - int(self._skew[row] * elapsed_ns))

    def _unwrap(self, row: int, device_ns: int, arrived_ns: int, late_ns: int) -> int:
        """Go on with a counter's next turn where a packet is late by one; return how late it is then."""
        for turn_ns in TURNS_NS:
            if device_ns >= self._ref[row] or self._ref[row] <= turn_ns - STAMP_MAX:
                continue
            then_ns = self._late_ns(row, device_ns + turn_ns, arrived_ns)
            if abs(then_ns) > JUMP_NS:
                continue
            for name in ("ref_ns", "newest_ns", "anchor_ns", "least_at_ns"):
                self._field[name][row] -= turn_ns
            if self._least[row] != _NONE_NS:
                self._least[row] += turn_ns
            self._field["wraps"][row] += 1
            return then_ns
        return late_ns

    def _is_early(self, row: int, late_s: float) -> bool:
        """Return whether a packet comes so early that its block need not be waited for."""
        expected_s2 = self._field["p_oo"][row] + self._field["noise_s2"][row]
        return bool(self._blocks[row] and late_s < -EARLY_S and late_s * late_s > GATE * GATE * expected_s2)

    def _close_block(self, row: int, arrived_ns: int) -> None:
        """Update the filter with the smallest arrival - stamp of the block, and open the next."""
        least_at_ns, blocks = self._least_at[row], self._blocks[row]
        measured_ns = self._least[row] + least_at_ns
        self._blocks[row] = blocks + 1
        self._end[row] = arrived_ns + BLOCK_NS
        self._least[row] = _NONE_NS
        if blocks:
            self._update(row, least_at_ns, measured_ns)
        else:
            self._field["p_oo"][row] = self._field["noise_s2"][row]

    def _update(self, row: int, device_ns: int, arrived_ns: int) -> None:
        """Predict to ``device_ns`` and correct with the arrival there (Joseph form, two states)."""
        field = self._field
        elapsed_s = (device_ns - self._ref[row]) * 1e-9
        p_oo, p_os, p_ss = _grown(field["p_oo"][row], field["p_os"][row], field["p_ss"][row], elapsed_s)
        predicted_ns = self._estimate(row, device_ns)
        noise = r = field["noise_s2"][row]
        innovation_s = (arrived_ns - predicted_ns) * 1e-9
        share = innovation_s * innovation_s / noise
        if self._was_set(row, innovation_s, p_oo + noise):
            p_oo += innovation_s * innovation_s
        else:
            gain = max(NOISE_GAIN, 1.0 / self._blocks[row])
            if innovation_s > 0:
                r = noise * (EXPECTILE * max(1.0, share / TAIL**2))
            field["noise_s2"][row] = max(NOISE_MIN_S**2, noise + gain * noise * (min(share, TAIL**2) - 1.0))
        s = p_oo + r
        k_o, k_s = p_oo / s, p_os / s
        keep = 1.0 - k_o
        field["p_oo"][row] = keep * keep * p_oo + k_o * k_o * r
        field["p_os"][row] = keep * (p_os - k_s * p_oo) + k_o * k_s * r
        field["p_ss"][row] = p_ss - 2.0 * k_s * p_os + k_s * k_s * s
        skew = max(-SKEW_MAX, min(SKEW_MAX, self._skew[row] + k_s * innovation_s))
        self._move(row, device_ns, predicted_ns + round(k_o * innovation_s * 1e9), skew)

    def _was_set(self, row: int, innovation_s: float, expected_s2: float) -> bool:
        """Return whether the clock was set by a little, as a block's innovation tells."""
        far = innovation_s * innovation_s > GATE * GATE * expected_s2
        late = far and innovation_s > LATE_S
        again = late and abs(innovation_s - self._field["late_s"][row]) < LATE_SHARE * innovation_s
        self._field["late_s"][row] = innovation_s if late else 0.0
        return again or (far and innovation_s < -EARLY_S)

    def _move(self, row: int, ref_ns: int, at_ns: int, skew: float) -> None:
        """Draw the estimated line anew, and the published one that much lower."""
        published_ns = self._published(row, self._newest[row])
        self._ref[row], self._at[row], self._skew[row] = ref_ns, at_ns, skew
        self._lower(row)
        self._leave(row, published_ns)

    def _above_ns(self, row: int) -> int:
        """Return by how much the estimated line lies above the least of all arrivals."""
        return round(ABOVE * math.sqrt(self._field["noise_s2"][row]) * 1e9)

    def _lower(self, row: int) -> None:
        """Put the published line below the estimated one: both ways are taken to be alike at their best."""
        self._field["delay_ns"][row] = self._above_ns(row) + self._field["trip_ns"][row] // 2

    def _leave(self, row: int, published_ns: int) -> None:
        """Let the published line leave its course at the newest stamp seen."""
        anchor_ns = self._newest[row]
        error_ns = published_ns - (self._estimate(row, anchor_ns) - self._field["delay_ns"][row])
        slew_ns = max(float(SLEW_NS), abs(error_ns) / SLEW)
        if self._blocks[row] < SETTLING_BLOCKS:
            slew_ns = abs(error_ns) / SETTLING_SLEW
        elif error_ns > JUMP_NS:
            self._field["jumps"][row] += 1
            error_ns = 0
        elif error_ns > SLEW * SLEW_NS:
            slew_ns = error_ns / EARLY_SLEW
        self._anchor[row], self._error[row], self._slew[row] = anchor_ns, float(error_ns), slew_ns


def _grown(p_oo: float, p_os: float, p_ss: float, elapsed_s: float) -> tuple[float, float, float]:
    """Return the covariance after so many seconds, either way: F P F' + Q."""
    dt = abs(elapsed_s)
    q = SKEW_NOISE
    return (
        p_oo + 2.0 * elapsed_s * p_os + dt * dt * p_ss + q * (dt * dt * dt) / 3.0 + PHASE_NOISE * dt,
        p_os + elapsed_s * p_ss + q * dt * elapsed_s / 2.0,
        p_ss + q * dt,
    )


def _apart(a_ns: NDArray[np.int64], b_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a - b held to _FAR_NS either way, without overflow, shape (n,)."""
    half = (a_ns >> 1) - (b_ns >> 1)
    far = np.abs(half) >= _FAR_NS >> 1
    held: NDArray[np.int64] = np.where(
        far, np.sign(half) * _FAR_NS, np.where(far, 0, a_ns) - np.where(far, 0, b_ns)
    )
    return held
