"""FIT: what Garmin, Wahoo, Coros, Suunto, Zwift and others record.

Records, timer events, laps and RR intervals become messages. ``distance`` is never one of them: it is the
answer that the file itself gives. What the fields mean is in the Profile of Garmin's FIT SDK.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from server.errors import FileError
from server.files.fit_messages import Fields, Message, messages_of
from server.files.recording import Recording
from server.files.timeline import NS_PER_S, ON_FOOT, Timeline, number
from server.messages import Sport

EPOCH_S: Final = 631_065_600  # 1989-12-31T00:00:00Z, the FIT epoch
POWER_ON_MAX: Final = 0x10000000  # smaller stamps count from power on: a clock that was never set
DEGREES_PER_SEMICIRCLE: Final = 180 / 2**31
START_AFTER_MAX_NS: Final = 600 * NS_PER_S  # a first timer start later than this is not the first there was
RR_PER_SAMPLE: Final = 10
SILENCE_MAX_S: Final = 3600.0
COVERED_S: Final = 5  # a strap's own beats are not needed this close to a record with a heart rate

SPORTS: Final[dict[str, Sport]] = {
    "running": "run",
    "walking": "walk",
    "hiking": "hike",
    "cycling": "ride",
    "e_biking": "ride",
    "swimming": "swim",
    "alpine_skiing": "ski",
    "cross_country_skiing": "ski",
    "snowboarding": "ski",
    "rowing": "row",
}
SUB_SPORTS: Final[dict[str, Sport]] = {
    "indoor_rowing": "row",
    "indoor_cycling": "ride",
    "spin": "ride",
    "treadmill": "run",
    "indoor_running": "run",
    "indoor_walking": "walk",
}


class Session(NamedTuple):
    """From when on a sport was practised; s of the FIT epoch."""

    start_s: float
    sport: Sport | None


def read(path: Path, content: bytes) -> Recording:
    """Return the recording in the bytes of a FIT file.

    Raises
    ------
    FileError
        There is no record that can be read.
    """
    if content[8:12] != b".FIT":
        raise FileError(path, "not FIT: it does not begin with a FIT header")
    timeline = Timeline(path, "fit")
    messages = list(messages_of(content, timeline))
    records = [m.fields for m in messages if m.name == "record"]
    if not records:
        raise FileError(path, _why_empty(messages, timeline))
    if any(m.name == "file_id" and m.fields.get("type") == "course" for m in messages):
        raise FileError(path, "it is a course, not a recording")
    sessions = [m.fields for m in messages if m.name == "session"]
    spans = _spans(sessions, messages)
    _add_records(timeline, messages, spans)
    _add_heart_rate_messages(timeline, messages)
    _add_laps(timeline, messages)
    start_ns = _add_pauses(timeline, messages)
    if timeline.times and start_ns is not None and start_ns - min(timeline.times) > START_AFTER_MAX_NS:
        start_ns = None
    return timeline.finish(
        model=_model(messages), sport=_sport(spans), totals=_totals(sessions, records), start_ns=start_ns
    )


def _seconds(fields: Fields, name: str = "timestamp") -> float | None:
    """Return a stamp in s of the FIT epoch."""
    return number(fields.get(name), 1, 2**32 - 2)


def _ns(seconds: float) -> int:
    """Return s of the FIT epoch as ns of the UTC epoch; fractions (of ``hr`` messages) to the microsecond."""
    return EPOCH_S * NS_PER_S + round(seconds * 1e6) * 1000


def _spans(sessions: list[Fields], messages: list[Message]) -> list[Session]:
    """Return which sport was practised from when on."""
    spans = []
    end_s = 0.0
    for session in sorted(sessions, key=lambda s: _seconds(s) or 0):
        spans.append(Session(end_s, _sport_of(session)))
        end_s = _seconds(session) or end_s
    if len(spans) > 1:  # a session ends when it was written, or where the next one says that it starts
        starts = [_seconds(s, "start_time") for s in sorted(sessions, key=lambda s: _seconds(s) or 0)]
        if all(a is not None for a in starts) and starts == sorted(starts, key=lambda s: s or 0):
            spans = [Session(start or 0.0, span.sport) for start, span in zip(starts, spans, strict=True)]
    if not spans:
        spans = [Session(0.0, _sport_of(m.fields)) for m in messages if m.name == "sport"][:1]
    return spans or [Session(0.0, None)]


def _sport_of(fields: Fields) -> Sport | None:
    """Return the sport of a session or ``sport`` message; None where it tells none, or is a transition."""
    sport, sub_sport = str(fields.get("sport")), str(fields.get("sub_sport"))
    if sport in ("None", "generic", "transition", "multisport"):
        return None
    return SPORTS.get(sport) or SUB_SPORTS.get(sub_sport, "other")


def _sport(spans: list[Session]) -> Sport | None:
    """Return the sport of the workout as a whole: that of several is ``other``."""
    sports = {span.sport for span in spans if span.sport is not None}
    if len(sports) > 1:
        return "other"
    return next(iter(sports), None)


def _sport_at(spans: list[Session], seconds: float) -> Sport | None:
    """Return the sport at a time; before the first session that of the first."""
    return next((span.sport for span in reversed(spans) if span.start_s <= seconds), spans[0].sport)


def _add_records(timeline: Timeline, messages: list[Message], spans: list[Session]) -> None:
    """Take the samples of all records, and with each the RR intervals that came since the one before."""
    clock_set = any((_seconds(m.fields) or 0) >= POWER_ON_MAX for m in messages if m.name == "record")
    records: dict[float, Fields] = {}  # of several of one second, the first that tells a value is believed
    timeless = repeated = 0
    rr_s: list[float] = []
    for message in messages:
        if message.name == "hrv":
            rr_s += [s for s in _tuple(message.fields.get("time")) if number(s, 1e-3, 10) is not None]
        if message.name != "record":
            continue
        seconds = _seconds(message.fields)
        if seconds is None or (clock_set and seconds < POWER_ON_MAX):
            timeless += 1
            continue
        repeated += seconds in records
        record = records.setdefault(seconds, {})
        for name, value in message.fields.items():
            record.setdefault(name, value)
        if rr_s:
            record.setdefault("rr_s", rr_s)
            rr_s = []
    previous_s = 0.0
    for seconds, record in records.items():
        _add_record(timeline, record, seconds, _sport_at(spans, seconds), seconds - previous_s)
        previous_s = seconds
    if timeless:
        timeline.warn(f"{timeless} records without a time: left out")
    if repeated:
        timeline.warn(f"{repeated} records repeat a second: merged")


def _add_record(
    timeline: Timeline, fields: Fields, seconds: float, sport: Sport | None, since_s: float
) -> None:
    """Take the samples of one record, ``since_s`` after the one before."""
    t_ns = _ns(seconds)
    timeline.record(t_ns)
    _add_beats(timeline, t_ns, fields.get("heart_rate"), fields.get("rr_s", []), since_s)
    speed_mps = fields.get("enhanced_speed", fields.get("speed"))
    lat, lon = fields.get("position_lat"), fields.get("position_long")
    fixed = (
        isinstance(lat, int)
        and isinstance(lon, int)
        and timeline.position(
            t_ns,
            lat * DEGREES_PER_SEMICIRCLE,
            lon * DEGREES_PER_SEMICIRCLE,
            fields.get("enhanced_altitude", fields.get("altitude")),
            speed_mps,
            fields.get("gps_accuracy"),
        )
    )
    if not fixed:
        timeline.own_speed(t_ns, speed_mps, sport)
    timeline.power(t_ns, fields.get("power"))
    cadence = number(fields.get("cadence"), 0, 400)
    if cadence is not None and sport in (*ON_FOOT, "ride"):
        timeline.cadence(t_ns, cadence + (number(fields.get("fractional_cadence"), 0, 1) or 0.0), sport)


def _add_beats(timeline: Timeline, t_ns: int, bpm: object, rr_s: list[float], since_s: float) -> None:
    """Take a heart rate and the RR intervals since the record before, the last of which ends with this one.

    Those of a long silence, as of a pause, become samples of their own, at the times that the beats tell.
    """
    latest, older = rr_s[-RR_PER_SAMPLE:], rr_s[:-RR_PER_SAMPLE]
    before_s = sum(latest)
    while older and before_s < min(since_s, SILENCE_MAX_S):
        beats, older = older[-RR_PER_SAMPLE:], older[:-RR_PER_SAMPLE]
        timeline.heart_rate(t_ns - round(before_s * 1e3) * 1_000_000, None, [1000 * s for s in beats])
        before_s += sum(beats)
    timeline.heart_rate(t_ns, bpm, [1000 * s for s in latest])


def _add_heart_rate_messages(timeline: Timeline, messages: list[Message]) -> None:
    """Take the heart rates that a strap kept under water and handed over afterwards, where records have none.

    The first ``hr`` message gives the strap's clock (ticks of 1/1024 s) and a UTC stamp; the next ones hold
    eight rates each, with the low 12 bits of that clock.
    """
    covered = {t.t_ns // NS_PER_S for t in timeline.samples if t.kind == "hr"}
    begin_ns, end_ns = min(timeline.times, default=0), max(timeline.times, default=0)
    ticks = 0
    offset_s: float | None = None
    for message in messages:
        if message.name != "hr":
            continue
        fields = message.fields
        rates = _tuple(fields.get("filtered_bpm"))
        stamp_s = _seconds(fields)
        if stamp_s is not None:
            first = number(next(iter(_tuple(fields.get("event_timestamp"))), None), 0, 2**22)
            if first is None:
                continue
            ticks = round(first * 1024)
            offset_s = stamp_s + (number(fields.get("fractional_timestamp"), 0, 1) or 0.0) - first
            stamps = [ticks]
        else:
            stamps = []
            for low in _twelve_bits(fields.get("event_timestamp_12")):
                ticks += (low - ticks) % 4096
                stamps.append(ticks)
        if offset_s is None:
            continue
        for tick, bpm in zip(stamps, rates, strict=False):
            t_ns = _ns(offset_s + tick / 1024)
            second = t_ns // NS_PER_S
            if begin_ns <= t_ns <= end_ns and covered.isdisjoint(
                range(second - COVERED_S, second + COVERED_S + 1)
            ):
                timeline.heart_rate(t_ns, bpm)


def _tuple(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def _twelve_bits(packed: Any) -> Iterator[int]:
    """Yield the 12-bit numbers in an array of bytes, little-endian, two in three bytes."""
    octets = [b for b in _tuple(packed) if isinstance(b, int)]
    for a, b, c in zip(octets[::3], octets[1::3], octets[2::3], strict=False):
        yield a | (b & 0x0F) << 8
        yield b >> 4 | c << 4


def _add_pauses(timeline: Timeline, messages: list[Message]) -> int | None:
    """Take the pauses of the timer; return when it was first started, ns."""
    turns = []
    for message in messages:
        seconds = _seconds(message.fields)
        if message.name == "event" and message.fields.get("event") == "timer" and seconds is not None:
            turns.append((_ns(seconds), str(message.fields.get("event_type"))))
    turns.sort(key=lambda turn: turn[0])
    stopped: int | None = None
    for t_ns, turn in turns:
        if turn.startswith("stop") and stopped is None:
            stopped = t_ns
        elif turn == "start" and stopped is not None:
            timeline.pauses.append((stopped, t_ns))
            stopped = None
    if stopped is not None:
        timeline.pauses.append((stopped, None))
    return turns[0][0] if turns and turns[0][1] == "start" else None


def _add_laps(timeline: Timeline, messages: list[Message]) -> None:
    """Take where laps begin."""
    starts = (_seconds(m.fields, "start_time") for m in messages if m.name == "lap")
    timeline.laps += [_ns(s) for s in starts if s is not None]


def _totals(sessions: list[Fields], records: list[Fields]) -> dict[str, float]:
    """Return the sessions' own totals; without a session the last distance of the records."""
    if not sessions:
        distances = [d for r in records if (d := number(r.get("distance"), 0, 1e7)) is not None]
        return {"distance_m": max(distances)} if distances else {}
    totals: dict[str, float] = {}
    for key, name, scale in (
        ("distance_m", "total_distance", 1.0),
        ("moving_s", "total_timer_time", 1.0),
        ("elapsed_s", "total_elapsed_time", 1.0),
        ("ascent_m", "total_ascent", 1.0),
        ("descent_m", "total_descent", 1.0),
        ("energy_kcal", "total_calories", 1.0),
        ("steps", "total_strides", 2.0),
    ):
        values = [v for s in sessions if (v := number(s.get(name), 0, 1e7)) is not None]
        if sum(values) or (values and key in ("ascent_m", "descent_m")):  # 0 is what is not told
            totals[key] = scale * sum(values)
    for key, name in (("heart_rate_mean_bpm", "avg_heart_rate"), ("power_mean_w", "avg_power")):
        pairs = [
            (v, number(s.get("total_timer_time"), 0, 1e7) or 0.0) for s in sessions if (v := s.get(name))
        ]
        weight_s = sum(w for _, w in pairs)
        if weight_s > 0 and all(number(v, 0, 1e4) is not None for v, _ in pairs):
            totals[key] = sum(v * w for v, w in pairs) / weight_s
    maxima = [v for s in sessions if (v := number(s.get("max_heart_rate"), 1, 300)) is not None]
    if maxima:
        totals["heart_rate_max_bpm"] = max(maxima)
    return totals


def _model(messages: list[Message]) -> str:
    """Return maker and product as the file names them."""
    for message in messages:
        if message.name == "file_id":
            fields = message.fields
            product = fields.get("garmin_product", fields.get("product_name", fields.get("product", "")))
            return f"{fields.get('manufacturer', '')} {product}".strip()
    return ""


def _why_empty(messages: list[Message], timeline: Timeline) -> str:
    """Say why there is nothing in a FIT file."""
    kinds = {str(m.fields.get("type")) for m in messages if m.name == "file_id"}
    if timeline.warnings:
        return f"it holds no record: {timeline.warnings[0]}"
    return f"it holds no record: its type is {', '.join(sorted(kinds)) or 'not told'}"
