"""The clock of a simulated device: an offset, a skew, a step."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """What a device believes the time is.

    Parameters
    ----------
    start_ns : int
        UTC at the simulation's start, ns; true time is counted in seconds from there.
    offset_s : float
        What the clock is ahead by at the start.
    skew_ppm : float
        What it gains, in parts per million.
    step_s : float
        What it jumps by, once, at ``step_at_s``.
    """

    start_ns: int
    offset_s: float = 0.0
    skew_ppm: float = 0.0
    step_s: float = 0.0
    step_at_s: float = float("inf")

    def read_ns(self, true_s: float) -> int:
        """Return what the clock shows ``true_s`` after the start, ns."""
        step_s = self.step_s if true_s >= self.step_at_s else 0.0
        ahead_s = true_s * (self.skew_ppm * 1e-6) + self.offset_s + step_s
        return self.start_ns + round(true_s * 1e9) + round(ahead_s * 1e9)

    def true_s(self, counted_s: float) -> float:
        """Return the true time that passes while the clock counts ``counted_s``, steps aside."""
        return counted_s / (1.0 + self.skew_ppm * 1e-6)
