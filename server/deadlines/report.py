"""``server/deadlines``: what is told of budgets, streams and misses once a second."""

from typing import Final, Literal, NamedTuple

from msgspec import Struct

from server.messages import MissCause, StreamState

Stage = Literal["decode", "align", "fuse", "publish", "end_to_end", "sensor_age", "loop"]
STAGES: Final[tuple[Stage, ...]] = (
    "decode",
    "align",
    "fuse",
    "publish",
    "end_to_end",
    "sensor_age",
    "loop",
)


class Times(NamedTuple):
    """What was observed of a stage elsewhere: buckets, how often each, misses, their sum and the longest."""

    buckets: list[int]
    counts: list[int]
    misses: int
    sum_s: float
    max_ns: int


class Figures(Struct):
    """What a stage took. Percentiles are null where nothing was observed."""

    count: int
    misses: int
    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    max_ms: float | None = None


class StageReport(Struct):
    """One stage: its budget, the last interval, and all since the start."""

    budget_ms: float
    interval: Figures
    total: Figures


class Doing(Struct):
    """What the server was doing: the tick's messages, what waited, what was computed, and the collector.

    ``gc_ms`` is the time that the garbage collector took since the tick began, ``waiting`` counts messages
    that had arrived and not been taken, ``jobs`` steps and commands that were left for later ticks.
    """

    messages: int = 0
    waiting: int = 0
    steps: int = 0
    jobs: int = 0
    gc_ms: float = 0.0
    rss_mib: float = 0.0
    mode: str = "full"


class Miss(Struct):
    """The misses of one stage in one tick: how many, the longest of them, and what the server was doing."""

    t_ms: int
    stage: Stage
    count: int
    took_ms: float
    budget_ms: float
    doing: Doing


class DeadlineReport(Struct):
    """``server/deadlines``: all stages, once a second; ``misses`` are those of the interval, all stages.

    ``streams`` counts the streams of all devices by their state, ``history`` holds the newest misses, the
    newest first, ``missed`` counts updates since the start that nobody made, so that no stage tells of them.
    """

    t_ms: int
    interval_s: float
    misses: int
    stages: dict[Stage, StageReport]
    streams: dict[StreamState, int] = {}
    history: list[Miss] = []
    missed: dict[MissCause, int] = {}
