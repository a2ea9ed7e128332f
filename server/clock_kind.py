"""What a device's clock counts from, by how far it is from UTC: for people, nothing depends on it."""

from typing import Final

from server.messages import ClockKind

S: Final = 1_000_000_000
TOLERANCE_NS: Final = 120 * S  # by which a clock that somebody set is off
QUARTER_NS: Final = 900 * S  # time zones are whole quarters of an hour from UTC,
WEST_NS: Final = -12 * 3600 * S
EAST_NS: Final = 14 * 3600 * S
UPTIME_NS: Final = 5 * 365 * 86_400 * S  # no worn device runs for longer without a start
LEAP_S: Final = 18  # by which GPS is ahead of UTC since 2017

# UTC at which each began, s; GPS counts leap seconds.
EPOCHS: Final[dict[ClockKind, int]] = {
    "utc": 0,
    "gps": 315_964_800 - LEAP_S,
    "epoch_1900": -2_208_988_800,  # NTP
    "epoch_1989": 631_065_600,  # FIT
    "epoch_2000": 946_684_800,  # Polar, Bluetooth's own
    "epoch_2001": 978_307_200,  # Apple
}


def kind(offset_ns: int, device_ns: int) -> ClockKind:
    """Return what a clock seems to show.

    Parameters
    ----------
    offset_ns : int
        Aligned minus device time.
    device_ns : int
        The device's clock, ns.
    """
    for name, epoch_s in EPOCHS.items():
        if abs(offset_ns - epoch_s * S) <= TOLERANCE_NS:
            return name
    for name, epoch_s in EPOCHS.items():
        if name != "gps" and _is_zone(epoch_s * S - offset_ns):
            return "local" if name == "utc" else name
    return "uptime" if 0 <= device_ns < UPTIME_NS else "unknown"


def _is_zone(ahead_ns: int) -> bool:
    """Return whether a clock that is so far ahead may show the time of a zone."""
    off_ns = (ahead_ns + QUARTER_NS // 2) % QUARTER_NS - QUARTER_NS // 2
    return WEST_NS - TOLERANCE_NS <= ahead_ns <= EAST_NS + TOLERANCE_NS and abs(off_ns) <= TOLERANCE_NS
