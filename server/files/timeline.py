"""From the records of a file to the messages of a recording: order, bounds, pauses, laps.

Every format reader fills a `Timeline`; what no sensor can have measured is left out here, once for all.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

from server.errors import FileError
from server.files.recording import SampleRecording, Timed, command, device_of
from server.messages import Cadence, Foot, Gnss, HeartRate, Packet, Power, Sport, Wheel

NS_PER_S: Final = 1_000_000_000

SPAN_MAX_NS: Final = 7 * 86_400 * NS_PER_S  # no outing of a fitness device is longer; a stray stamp is
# A timer that stops this close before the last record was stopped by its end.
GAP_END_NS: Final = 10 * NS_PER_S
LAPS_MAX: Final = 1000
RR_MAX_MS: Final = 10_000.0
RR_PER_PACKET: Final = 64

ON_FOOT: Final = ("run", "walk", "hike")

_TIME_MIN_NS: Final = 0
_TIME_MAX_NS: Final = 2**63 - 1 - SPAN_MAX_NS

# At one stamp the timer goes on before, and stops after, the samples.
_RANKS: Final = {"start": 0, "resume": 1, "lap": 3, "pause": 4, "stop": 5}
_SAMPLE_RANK: Final = 2


def number(value: object, low: float, high: float) -> float | None:
    """Return ``value`` as a float if it is a number in [low, high], else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value) or not low <= value <= high:
        return None
    return float(value)


def parsed(text: str | None, low: float, high: float) -> float | None:
    """Return the number that ``text`` spells if it is in [low, high], else None."""
    try:
        return number(float(text or ""), low, high)
    except ValueError:
        return None


class Timeline:
    """The samples, pauses and laps of one file while it is read.

    Parameters
    ----------
    path : Path
        The file, named in errors.
    kind : str
        Its format.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self.kind = kind
        self.warnings: list[str] = []
        self.pauses: list[tuple[int, int | None]] = []  # from, to (None: never resumed)
        self.laps: list[int] = []
        self._samples: list[Timed] = []
        self._record_times: list[int] = []
        self._refused: Counter[str] = Counter()

    @property
    def times(self) -> list[int]:
        """Return the times of the records, in the order of the file."""
        return self._record_times

    @property
    def samples(self) -> list[Timed]:
        """Return the samples taken so far, in the order of the file."""
        return self._samples

    def warn(self, text: str) -> None:
        """Keep a warning for the recording."""
        self.warnings.append(text)

    def record(self, t_ns: int) -> None:
        """Count a record; its time bounds the workout even where no sensor told anything."""
        self._record_times.append(t_ns)

    def add(self, t_ns: int, kind: str, packet: Packet) -> None:
        """Take a sample."""
        self._samples.append(Timed(t_ns, kind, packet))

    def heart_rate(self, t_ns: int, bpm: object, rr_ms: Iterable[float] = ()) -> bool:
        """Take a heart rate; 0 is what a strap without contact sends. Return False where there is none."""
        rr = [round(value, 3) for value in rr_ms if 0 < value <= RR_MAX_MS][-RR_PER_PACKET:]
        rate = number(bpm, 1, 300)
        if rate is None and not rr:
            return False
        self.add(t_ns, "hr", HeartRate(t=t_ns, bpm=rate, rr_ms=rr))
        return True

    def power(self, t_ns: int, watts: object) -> None:
        """Take a power."""
        if (value := number(watts, 0, 5000)) is not None:
            self.add(t_ns, "power", Power(t=t_ns, watts=value))

    def cadence(self, t_ns: int, per_minute: object, sport: Sport | None) -> None:
        """Take a cadence in revolutions per minute: of the crank, or of one leg, that is two steps."""
        if (value := number(per_minute, 0, 400)) is None:
            return
        if sport == "ride":
            self.add(t_ns, "cadence", Cadence(t=t_ns, rpm=value))
        elif sport in ON_FOOT and value <= 200:
            self.add(t_ns, "cadence", Cadence(t=t_ns, spm=2 * value))
        else:
            self._refused["cadences of a sport where their unit is not known"] += 1

    def position(
        self, t_ns: int, lat: object, lon: object, alt_m: object, speed_mps: object, h_acc_m: object = None
    ) -> bool:
        """Take a fix; (0, 0) is what a receiver without one writes. Return False where there is none."""
        lat_deg, lon_deg = number(lat, -90, 90), number(lon, -180, 180)
        if lat_deg is None or lon_deg is None or (lat_deg == 0 and lon_deg == 0):
            return False
        fix = Gnss(
            t=t_ns,
            lat=lat_deg,
            lon=lon_deg,
            alt_m=number(alt_m, -1000, 100_000),
            speed_mps=number(speed_mps, 0, 1000),
            h_acc_m=number(h_acc_m, 0.01, 1e6),
        )
        self.add(t_ns, "gnss", fix)
        return True

    def own_speed(self, t_ns: int, speed_mps: object, sport: Sport | None) -> None:
        """Take a speed that came without a position: of the wheel, or of the device's own step counting."""
        if sport == "ride" and (speed := number(speed_mps, 0, 60)) is not None:
            self.add(t_ns, "wheel", Wheel(t=t_ns, speed_mps=speed))
        elif sport in ON_FOOT and (speed := number(speed_mps, 0, 20)) is not None:
            self.add(t_ns, "foot", Foot(t=t_ns, speed_mps=speed))

    def finish(
        self, *, model: str, sport: Sport | None, totals: Mapping[str, float], start_ns: int | None = None
    ) -> SampleRecording:
        """Return the recording.

        Raises
        ------
        FileError
            No record has a time that can be used.
        """
        low, high = self._window()
        times = [t for t in self._record_times if low <= t <= high]
        samples = self._distinct(low, high)
        if strays := len(self._record_times) - len(times):
            self.warn(f"{strays} records lie more than 7 days from the others: left out")
        if backward := sum(b < a for a, b in pairwise(times)):
            self.warn(f"time runs backward {backward} times: sorted")
        for what, count in self._refused.items():
            self.warn(f"{count} {what}: left out")
        first_ns, end_ns = min(times), max(times)
        start_ns = first_ns if start_ns is None else min(max(start_ns, first_ns), end_ns)
        pauses = _merged(self.pauses, start_ns, end_ns)
        orders = self._commands(start_ns, end_ns, pauses, sport)
        ranked = [(t.t_ns, _RANKS[t.message.action], t) for t in orders]  # type: ignore[union-attr]
        ranked += [(t.t_ns, _SAMPLE_RANK, t) for t in samples]
        ranked.sort(key=lambda entry: entry[:2])  # stable: samples of one stamp keep the order of the file
        return SampleRecording(
            path=self.path,
            kind=self.kind,
            device=device_of(self.path),
            model=model,
            sport=sport,
            start_ns=start_ns,
            end_ns=end_ns,
            records=len(times),
            pauses=tuple(pauses),
            totals=dict(totals),
            warnings=tuple(self.warnings),
            timeline=[timed for _, _, timed in ranked],
        )

    def _window(self) -> tuple[int, int]:
        """Return the times between which records are believed: around the middle record."""
        times = sorted(t for t in self._record_times if _TIME_MIN_NS < t <= _TIME_MAX_NS)
        if not times:
            raise FileError(self.path, "it holds no record with a time")
        middle = times[len(times) // 2]
        return max(middle - SPAN_MAX_NS, _TIME_MIN_NS + 1), middle + SPAN_MAX_NS

    def _distinct(self, low: int, high: int) -> list[Timed]:
        """Return the samples within the times; of two of one kind at one stamp the first."""
        distinct: dict[tuple[int, str], Timed] = {}
        within = [timed for timed in self._samples if low <= timed.t_ns <= high]
        for timed in within:
            distinct.setdefault((timed.t_ns, timed.kind), timed)
        if repeated := len(within) - len(distinct):
            self.warn(f"{repeated} samples repeat a stamp: left out")
        return list(distinct.values())

    def _commands(
        self, start_ns: int, end_ns: int, pauses: list[tuple[int, int]], sport: Sport | None
    ) -> list[Timed]:
        """Return the commands of the workout; no lap falls on its start or end."""
        actions = [(start_ns, "start")]
        for begin, end in pauses:
            actions.append((begin, "pause"))
            if end < end_ns:
                actions.append((end, "resume"))
        laps = sorted({t for t in self.laps if start_ns < t < end_ns})
        if len(laps) > LAPS_MAX:
            self.warn(f"{len(laps) - LAPS_MAX} laps beyond {LAPS_MAX}: left out")
        actions += [(t, "lap") for t in laps[:LAPS_MAX]]
        actions.append((end_ns, "stop"))
        return [
            command(t, action, index, sport if action == "start" else None, start_ns)
            for index, (t, action) in enumerate(actions)
        ]


def _merged(pauses: list[tuple[int, int | None]], start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Return the pauses within the workout, in order, without overlaps; none that only marks its end."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted((b, end_ns if e is None else e) for b, e in pauses):
        if begin >= end_ns - (GAP_END_NS if end >= end_ns else 0):
            continue
        begin, end = max(begin, start_ns), min(end, end_ns)
        if end <= begin:
            continue
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged
