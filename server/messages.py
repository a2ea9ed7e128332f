"""The messages of protocol v1 as typed structs: what devices send and what the server publishes.

Everything a device sends carries ``t``, its own clock in ns (absent: on arrival), and may carry ``boot`` and
``seq``. Floats are bounded by their schema, which also refuses NaN and infinities. Units are SI but for the
fields whose name says otherwise. docs/protocol.md describes topics, QoS and who may publish.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$(?!\n)"  # a lone $ also matches before a last line feed

Id = Annotated[str, Meta(pattern=ID_PATTERN)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Decimal64 = Annotated[str, Meta(pattern=r"^-?[0-9]{1,19}$(?!\n)")]
U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Time = Int64 | Decimal64 | None  # JavaScript rounds integers beyond 2^53: a decimal string is exact

Sport = Literal["run", "walk", "hike", "ride", "swim", "ski", "row", "other"]
Placement = Literal["unknown", "wrist", "chest", "foot", "hip", "pocket"]


class Sample(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What every message of a device carries."""

    t: Time = None
    boot: U32 | None = None
    seq: U32 | None = None


class HeartRate(Sample):
    """A heart rate sensor's reading; the last beat of ``rr_ms`` ends at ``t``."""

    bpm: Annotated[float, Meta(ge=0, le=300)] | None = None
    rr_ms: Annotated[list[Annotated[float, Meta(gt=0, le=10_000)]], Meta(max_length=64)] = []
    contact: bool | None = None
    optical: bool | None = None


class Gnss(Sample):
    """A satellite fix; accuracies are one sigma, as the receiver states them."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    alt_m: Annotated[float, Meta(ge=-1_000, le=100_000)] | None = None
    speed_mps: Annotated[float, Meta(ge=0, le=1_000)] | None = None
    course_deg: Annotated[float, Meta(ge=0, le=360)] | None = None
    h_acc_m: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    v_acc_m: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    speed_acc_mps: Annotated[float, Meta(gt=0, le=1e3)] | None = None


class Baro(Sample):
    """A barometer's reading: absolute static pressure."""

    pressure_pa: Annotated[float, Meta(ge=1_000, le=200_000)]


class Power(Sample):
    """Mechanical power at the crank, hub or as a pod estimates it."""

    watts: Annotated[float, Meta(ge=0, le=5_000)]


class Cadence(Sample):
    """Crank revolutions (``rpm``) or steps (``spm``) per minute."""

    rpm: Annotated[float, Meta(ge=0, le=400)] | None = None
    spm: Annotated[float, Meta(ge=0, le=400)] | None = None


class Wheel(Sample):
    """Speed from a wheel sensor."""

    speed_mps: Annotated[float, Meta(ge=0, le=60)]


class Foot(Sample):
    """Speed from a foot pod or another step-based estimate of the device itself."""

    speed_mps: Annotated[float, Meta(ge=0, le=20)]


class Battery(Sample):
    """The charge that is left, 0 to 1."""

    level: Annotated[float, Meta(ge=0, le=1)]


class Pong(Sample):
    """The answer to a ping; ``id`` is the ping's."""

    id: Id


class Clock(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What kind of clock the device stamps with.

    ``recorded``: the stamps are those of a recording and are taken as aligned time as they are; ``speed``
    tells how fast it is played, so that deadlines scale. ``pings``: the device answers pings.
    """

    recorded: bool = False
    speed: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    pings: bool = False


class Birth(Sample, tag="online", tag_field="state"):
    """A device says what it is. Published retained on ``in/{device}/status``."""

    model: Annotated[str, Meta(max_length=128)] = ""
    placement: Placement = "unknown"
    sport: Sport | None = None
    gyro_range: Annotated[float, Meta(gt=0, le=1e3)] | None = None
    accel_range: Annotated[float, Meta(gt=0, le=1e4)] | None = None
    rate_hz: Annotated[float, Meta(gt=0, le=10_000)] | None = None
    clock: Clock = msgspec.field(default_factory=Clock)


class Death(Sample, tag="offline", tag_field="state"):
    """A device is gone: its own goodbye or its last will."""


class ImuJson(Sample):
    """The JSON twin of the binary IMU packet, in SI units; ``mag`` rows may be null where absent.

    The first sample is at ``t``, each next one ``dt`` ns later; ``means`` as bit 0 of the binary flags.
    """

    dt: Annotated[int, Meta(gt=0, le=2**32 - 1)]
    accel: Annotated[list[tuple[float, float, float]], Meta(min_length=1, max_length=1000)]
    gyro: Annotated[list[tuple[float, float, float]], Meta(min_length=1, max_length=1000)]
    mag: Annotated[list[tuple[float, float, float] | None], Meta(max_length=1000)] = []
    means: bool = False


class Command(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An order to a workout, on ``command/{athlete}``.

    ``t`` is the aligned time at which it takes effect (ns; absent: on arrival), ``expires`` the UTC epoch
    in ns after which it is refused. The answer comes on ``athletes/{athlete}/reply/{id}``.
    """

    action: Literal["start", "pause", "resume", "lap", "stop"]
    id: Id
    expires: Int64 | Decimal64 | None = None
    t: Time = None
    sport: Sport | None = None


StreamKind = Literal["imu", "hr", "gnss", "baro", "power", "cadence", "wheel", "foot", "battery"]
Packet = HeartRate | Gnss | Baro | Power | Cadence | Wheel | Foot | Battery | Pong | Birth | Death


# What the server publishes.

ClockKind = Literal[
    "utc", "local", "uptime", "gps", "epoch_1900", "epoch_1989", "epoch_2000", "epoch_2001", "unknown"
]

Reason = Literal[
    "no_source", "stale", "settling", "not_applicable", "needs_profile", "paused", "not_enough_data"
]

StreamState = Literal["alive", "late", "clock_jumped", "quiet_unchanged", "sensor_silent", "link_dead"]


class Metric(Struct, omit_defaults=True):
    """A live value with what is known of its error; or, where ``value`` is null, the reason why.

    ``quality`` is the probability that the error is within the tolerance of docs/metrics.md.
    """

    value: float | int | None
    sigma: float | None = None
    age_s: float | None = None
    source: str | None = None
    quality: float | None = None
    reason: Reason | None = None


class Cause(Struct):
    """The packet that made an update fire."""

    device: str
    boot: int
    seq: int


class WorkoutState(Struct):
    """Where a workout stands."""

    id: str
    state: Literal["running", "paused", "ended"]
    sport: Sport
    elapsed_s: float
    moving_s: float
    revision: int


class Live(Struct):
    """``athletes/{athlete}/live``: all metrics of one athlete, once a second."""

    t_ms: int
    athlete: str
    cause: Cause | None
    workout: WorkoutState | None
    metrics: dict[str, Metric]
    mode: str = "full"


class Summary(Struct):
    """A workout as a whole. Each number is null where there is none; ``reasons`` then says why.

    ``sigma`` holds one sigma of the numbers that are measured.
    """

    sport: Sport
    start_ms: int
    end_ms: int
    elapsed_s: float
    moving_s: float
    distance_m: float | None = None
    speed_mean_mps: float | None = None
    speed_max_mps: float | None = None
    ascent_m: float | None = None
    descent_m: float | None = None
    floors: int | None = None
    altitude_min_m: float | None = None
    altitude_max_m: float | None = None
    heart_rate_mean_bpm: float | None = None
    heart_rate_max_bpm: float | None = None
    steps: int | None = None
    cadence_mean_spm: float | None = None
    power_mean_w: float | None = None
    energy_kcal: float | None = None
    sigma: dict[str, float] = {}
    reasons: dict[str, Reason] = {}
    sources: dict[str, str] = {}


class Lap(Struct):
    """One lap of a workout, in totals since the workout's start."""

    number: int
    t_ms: int
    elapsed_s: float
    distance_m: float | None


class Totals(Struct):
    """Totals of a workout that goes on."""

    elapsed_s: float
    moving_s: float
    distance_m: float


class Workout(Struct):
    """``athletes/{athlete}/workout``: what happened last to a workout, retained.

    ``revised``: data came late and were put into their place; laps, totals and summary are what they would
    have been in order. ``totals`` are told then, of a workout that goes on.
    """

    t_ms: int
    athlete: str
    event: Literal["started", "paused", "resumed", "lap", "ended", "revised"]
    workout: WorkoutState
    laps: list[Lap] = []
    summary: Summary | None = None
    totals: Totals | None = None


class Reply(Struct):
    """``athletes/{athlete}/reply/{id}``: the answer to a command."""

    id: str
    ok: bool
    reason: str = ""
    workout: str = ""


class Ping(Struct):
    """``devices/{device}/ping``: to be answered at once, by a pong with this id."""

    id: str
    t_ms: int


class ClockHealth(Struct):
    """How a device's clock stands to aligned time.

    ``kind``: what it seems to count from. ``round_trip_ms``: of the ping by which its constant delay is
    known; null: it is not.
    """

    offset_ms: float
    sigma_ms: float
    skew_ppm: float
    jumps: int
    wraps: int
    kind: ClockKind
    round_trip_ms: float | None
    recorded: bool


class StreamHealth(Struct):
    """What becomes of the samples of one kind; ``deadline_s`` is the longest silence that is usual."""

    state: StreamState
    silent_s: float
    deadline_s: float


class DeviceHealth(Struct):
    """``devices/{device}/health``: every 10 s while the device sends, and when a stream changes its state."""

    t_ms: int
    device: str
    athlete: str
    model: str
    placement: str
    online: bool
    silent_s: float
    clock: ClockHealth | None  # null before the device told a time
    imu_rate_hz: float
    packets: int
    lost: int
    refused: dict[str, int]
    battery: float | None
    streams: dict[StreamKind, StreamHealth] = {}
    intervals: dict[str, int] = {}  # between beats, by what they were: normal, missed, extra, ectopic, uneven


ModelFit = Literal["good", "overconfident", "cautious"]


class ModelHealth(Struct):
    """How well a model fits: mean squared innovation over its variance, of the newest measurements.

    1 where the model is right. ``overconfident``: above what chance makes of it, ``cautious``: below.
    """

    nis: float
    fit: ModelFit


class AthleteHealth(Struct):
    """``athletes/{athlete}/health``: when a source or a fit changes, and once a minute.

    ``sources``: which device speaks for what, of those that are heard.
    """

    t_ms: int
    athlete: str
    sources: dict[str, str]
    models: dict[str, ModelHealth]


DropCause = Literal["inbox_full", "worker_behind", "worker_away", "worker_died"]
MissCause = Literal["worker_died"]


class WorkerStatus(Struct):
    """One of the server's processes, through all its lives.

    ``lost`` counts arrivals for which it had no time, or that ended with one of its lives, ``missed`` the
    updates (`live`) that its athletes did not get since it died.
    """

    pid: int  # 0: none now
    state: Literal["starting", "running", "restarting"]
    restarts: int
    devices: int
    athletes: int
    lost: int
    missed: int = 0


class LateLogStatus(Struct):
    """The log of messages that came too late to be used, since the start; ``bytes`` of all its files."""

    written: int
    unwritten: int  # they had no room, or the log could not be written, which
    bytes: int
    error: str = ""  # says why; empty: nothing is wrong now


class ServerStatus(Struct):
    """``server/status``: retained; the broker says ``offline`` should the server die."""

    t_ms: int
    state: Literal["online", "offline"]
    version: str = ""
    started_ms: int = 0
    devices: int = 0
    athletes: int = 0
    workouts: int = 0
    received: int = 0
    dropped: int = 0  # arrivals that the server had no time for,
    dropped_by: dict[DropCause, int] = {}  # by cause
    missed: dict[MissCause, int] = {}  # updates (live) that nobody made, by cause
    unsent: int = 0  # publications that the broker had no time for, or that outlived their use
    refused: dict[str, int] = {}
    mode: str = "full"  # of the ladder, see docs/operations.md
    given_up: dict[str, int] = {}  # for want of time: live, steps, packets
    reader: Literal["bounded", "public"] = "bounded"  # the path by which messages come in, and
    acks: Literal["after_processing", "on_arrival"] = "after_processing"  # when those of QoS 1 are confirmed
    forgotten: int = 0  # devices that were silent for long
    late_log: LateLogStatus | None = None  # null: there is none, for want of a directory
    workers: list[WorkerStatus] = []  # none: the engine runs in the server's own process
