"""Updates that nobody made, because the worker of their athletes had died.

A worker tells how many athletes it updates once a second. From its last word before it died, until the next
life has caught up, so many updates are due each second; what came of them, late ones too, or was given up for
want of time, which is counted elsewhere, is taken off. What is left was missed. It is looked at after whole
seconds only, within which each athlete has the same number of updates, whatever their phases.
"""

from typing import Final

SETTLE_S: Final = 5.0  # after a new life has worked off what waited for it: its athletes are in step again


class Missed:
    """The account of one worker, through all its lives; told the time (s, monotonic).

    Attributes
    ----------
    count : int
        Updates that were missed: all once a death is settled, before that those which nobody can make up for.
    """

    def __init__(self) -> None:
        self.count = 0
        self._before = 0  # of deaths that are settled
        self._rate_hz = 0  # updates due in a second,
        self._since_s = 0.0  # from then on,
        self._told = 0  # of which so many came
        self._is_away = False  # or has not caught up
        self._back_s: float | None = None
        self._gone_s = 0.0  # what arrived before then will not be worked on any more

    def reported(self, athletes: int, now_s: float) -> None:
        """Take in how many athletes are updated once a second; nothing was missed up to now."""
        if not self._is_away:
            self._rate_hz, self._since_s, self._told = athletes, now_s, 0

    def told(self, updates: int, now_s: float) -> None:
        """Take in updates that came now, or were given up."""
        self.look(now_s)  # what came before is of the seconds before
        self._told += updates

    def died(self, now_s: float) -> None:
        """Begin to count."""
        self.look(now_s)
        self._is_away, self._back_s = True, None

    def back(self, now_s: float) -> None:
        """It works again, though not yet on what is new."""
        if self._is_away:
            self._back_s = now_s

    def gone(self, arrived_s: float) -> None:
        """Something that had arrived then was dropped, and all before it is gone or worked on."""
        self._gone_s = max(self._gone_s, arrived_s)

    def look(self, now_s: float) -> None:
        """Count what is sure by now."""
        if not self._is_away:
            return
        passed_s = int(now_s - self._since_s)
        is_over = self._back_s is not None and self._since_s + passed_s >= self._back_s + SETTLE_S
        sure_s = passed_s if is_over else min(passed_s, int(self._gone_s - self._since_s))
        self.count = max(self.count, self._before + self._rate_hz * sure_s - self._told)
        if is_over:
            self._before, self._is_away = self.count, False
