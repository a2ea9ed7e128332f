"""The ladder of degraded modes: what the server gives up, step by step, when work outgrows its time.

========================  ==============================================================================
mode                      what is given up, beside what the modes before give up
========================  ==============================================================================
``full``                  nothing
``reduced_live``          every second ``live`` of each athlete
``slow_live``             four of five, and five of six health messages of each device
``orientation_only``      steps of athletes who have no open workout; their devices' orientation goes on;
                          and rewinds: what comes late stays as it is
``drop_oldest``           IMU packets that have waited longer than a second, the oldest first
========================  ==============================================================================

Workouts lose nothing until the last step: their models step once a second in every mode, and events, laps,
summaries and replies are always published. Of how the work goes the ladder is told once a tick. It goes up
where for two looks in a row the longest wait of a message was beyond two budgets, or the loop was busy nearly
all the time; and down where for a while there was surely time for what the step below gives back. Where there
may be, it tries: each time in vain makes it wait twice as long for the next. Nothing here reads a clock.
"""

from dataclasses import dataclass
from typing import Final, Literal

Mode = Literal["full", "reduced_live", "slow_live", "orientation_only", "drop_oldest"]
MODES: Final[tuple[Mode, ...]] = ("full", "reduced_live", "slow_live", "orientation_only", "drop_oldest")

LOOK_NS: Final = 250_000_000
LOOKS_UP: Final = 2  # in a row, before a step up: one long tick is no overload
LOOKS_DOWN: Final = 6  # likewise, before a step down: four steps take 6 s
BUSY_UP: Final = 0.95  # share of the time that ticks take
BUSY_DOWN: Final = (1.0, 0.6, 0.5, 0.7, 0.7)  # of each mode: what the step below gives back finds time
BUSY_TRY: Final = 0.85  # and where it may
LOOKS_TRY: Final = 8  # in a row, before a try,
LOOKS_TRY_MAX: Final = 240  # at most, after tries in vain
LOOKS_PROOF: Final = 20  # without a step up, after which a try was not in vain
WAIT_BUDGETS: Final = 2.0  # end-to-end budgets that a message may wait
DROP_NS: Final = 1_000_000_000  # age of what the last mode drops

LIVE_EVERY: Final = (1, 2, 5, 5, 5)  # updates of an athlete, one of which is published
HEALTH_EVERY: Final = (1, 1, 6, 6, 6)


@dataclass(slots=True)
class Ladder:
    """Where the server stands on the ladder.

    Parameters
    ----------
    budget_ns : int
        The end-to-end budget.

    Attributes
    ----------
    level : int
        Index into MODES.
    ups, downs : int
        Steps taken.
    """

    budget_ns: int
    level: int = 0
    ups: int = 0
    downs: int = 0
    _began_ns: int = -1
    _busy_ns: int = 0
    _wait_ns: int = 0
    _over: int = 0
    _under: int = 0
    _perhaps: int = 0
    _patience: int = LOOKS_TRY
    _tried: int = 0  # looks for which the last step down is still to prove itself

    @property
    def mode(self) -> Mode:
        """Return the name of where it stands."""
        return MODES[self.level]

    def observe(self, now_ns: int, busy_ns: int, wait_ns: int) -> bool:
        """Take in a tick; return True where the mode changed.

        Parameters
        ----------
        now_ns : int
            Monotonic time at its end.
        busy_ns : int
            What it took.
        wait_ns : int
            The longest that one of its messages had waited at its end, from its arrival; 0: it had none.
        """
        if self._began_ns < 0:
            self._began_ns = now_ns - busy_ns
        self._busy_ns += busy_ns
        self._wait_ns = max(self._wait_ns, wait_ns)
        passed_ns = now_ns - self._began_ns
        if passed_ns < LOOK_NS:
            return False
        busy = self._busy_ns / passed_ns
        late = self._wait_ns > WAIT_BUDGETS * self.budget_ns
        self._began_ns, self._busy_ns, self._wait_ns = now_ns, 0, 0
        return self._look(late, busy)

    def _look(self, late: bool, busy: float) -> bool:
        self._over = self._over + 1 if late or busy > BUSY_UP else 0
        self._under = self._under + 1 if not late and busy < BUSY_DOWN[self.level] else 0
        self._perhaps = self._perhaps + 1 if not late and busy < BUSY_TRY else 0
        if self._over >= LOOKS_UP and self.level < len(MODES) - 1:
            self.level += 1
            self.ups += 1
            if self._tried:
                self._patience, self._tried = min(2 * self._patience, LOOKS_TRY_MAX), 0
        elif self.level > 0 and (self._under >= LOOKS_DOWN or self._perhaps >= self._patience):
            self.level -= 1
            self.downs += 1
            self._tried = 0 if self._under >= LOOKS_DOWN else LOOKS_PROOF
        else:
            if self._tried:
                self._tried -= 1
                self._patience = self._patience if self._tried else LOOKS_TRY
            return False
        self._over = self._under = self._perhaps = 0
        return True
