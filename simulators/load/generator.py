"""The load as an object: who sends what, when it begins, what befalls it."""

import os
import resource
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from server.codecs import samples
from server.errors import ServerError
from server.messages import Birth
from simulators.load import recordings
from simulators.load._load import ffi, lib
from simulators.load.figures import Bins
from simulators.load.records import ATHLETE, BIN, DUE, LINK, READING, STREAM
from simulators.sensors import Sheet

ATHLETES_MAX: Final = 99_999  # an id has five digits
SPARE_FILES: Final = 64  # beside the connections
INBOX_BYTES: Final = 4 * 2**20
GOLDEN: Final = 0.6180339887498949  # steps of this share spread evenly, however many there are
CLOCK_OFFSET_S: Final = 0.4  # one sigma of the devices' clocks
CLOCK_SKEW_PPM: Final = 20.0
GRID_NS: Final = 10**9
OFF_GRID_NS: Final = 50_000_000  # updates fall due on tenths of a second: bins begin between them
MODEL: Final = "Kinefuse load"


class LoadError(ServerError):
    """The load cannot be made, and what to do about it."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a load is.

    Attributes
    ----------
    athletes : int
        Each with an inertial sensor of nine axes at 100 Hz, and a strap.
    port, root : int, str
        The broker on loopback, and what topics begin with.
    seconds : int
        For which figures are kept.
    packets_per_s, samples : int
        Of an inertial sensor; together 100 samples a second.
    qos : int
        0 or 1.
    apart : bool
        A connection for each device; else one for each athlete, as of a phone that relays them.
    seed : int
    """

    athletes: int
    port: int
    root: str
    seconds: int
    packets_per_s: int = 10
    samples: int = 10
    qos: int = 0
    apart: bool = False
    seed: int = 1

    @property
    def connections(self) -> int:
        """Connections of devices."""
        return self.athletes * (2 if self.apart else 1)


def athlete_id(k: int) -> str:
    """Return the id of athlete ``k``."""
    return f"a{k:05d}"


def device_ids(k: int) -> tuple[str, str]:
    """Return the ids of the inertial sensor and the strap of athlete ``k``."""
    return f"a{k:05d}-imu", f"a{k:05d}-strap"


def server_config(athletes: int, settings: Sequence[str] = ()) -> str:
    """Return the server's configuration for the athletes of a load, as TOML.

    Parameters
    ----------
    athletes : int
    settings : sequence of str
        Further lines of its section ``server``, as in ``payload_bytes_max = 4096``.
    """
    lines = ["[server]", f"devices_max = {max(2 * athletes, 16)}", f"athletes_max = {max(athletes, 16)}"]
    lines += settings
    for k in range(athletes):
        sensor, strap = device_ids(k)
        lines += [
            "[[athletes]]",
            f'id = "{athlete_id(k)}"',
            f'devices = [{{id = "{sensor}", placement = "chest"}}, {{id = "{strap}"}}]',
        ]
    return "\n".join(lines) + "\n"


def allow_files(wanted: int) -> None:
    """Let this process and its children have ``wanted`` connections, and some files.

    Raises
    ------
    LoadError
        The system's limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + SPARE_FILES
    if soft >= need:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, max(hard, need)))
    except (ValueError, OSError):
        raise LoadError(
            f"{wanted} connections need {need} open files, this shell allows {hard}: "
            f"raise the limit (ulimit -Hn {need}, as root), or ask for fewer devices"
        ) from None


class Load:
    """A load; not for two threads at once.

    Parameters
    ----------
    plan : Plan
    utc_ns : int
        UTC minus monotonic time, ns.
    made : Recordings, optional
        What the devices play; by default it is made now.
    """

    def __init__(self, plan: Plan, *, utc_ns: int, made: recordings.Recordings | None = None) -> None:
        if not 1 <= plan.athletes <= ATHLETES_MAX:
            raise LoadError(f"{plan.athletes} athletes, allowed: 1 to {ATHLETES_MAX}")
        if plan.packets_per_s * plan.samples != recordings.RATE_HZ:
            raise LoadError(
                f"{plan.packets_per_s} packets/s of {plan.samples} samples are "
                f"{plan.packets_per_s * plan.samples} Hz: the recordings are of {recordings.RATE_HZ} Hz"
            )
        self.plan = plan
        self.begin_ns = 0
        self._is_open = False
        made = recordings.make(seed=plan.seed) if made is None else made
        self.streams = _streams(plan, utc_ns, len(made.motion))
        self.links = _links(plan)
        self.bins: Bins = np.zeros(plan.seconds, BIN)
        self.athletes = np.zeros(plan.athletes, ATHLETE)
        self._native = native = ffi.new("ld_load *")
        native.root = plan.root.encode()
        native.port, native.qos, native.athletes = plan.port, plan.qos, plan.athletes
        native.link_count, native.packet_samples = plan.connections, plan.samples
        native.recording_samples, native.recording_readings = made.motion.shape[1], made.pulse.shape[1]
        native.bin_count, native.inbox_bytes = plan.seconds, INBOX_BYTES
        native.utc_ns, native.begin_ns = utc_ns, 2**62
        native.random = plan.seed
        self._kept: list[Any] = []  # what the struct points into
        births = [ffi.new("char[]", _birth(kind)) for kind in (lib.LD_IMU, lib.LD_HR)]
        self._kept += births
        native.birth = births
        self._point("header", np.frombuffer(recordings.header(plan.samples), np.uint8), "uint8_t[]")
        self._point("motion", np.ascontiguousarray(made.motion), "int16_t[]")
        self._point("pulse", np.ascontiguousarray(made.pulse), "ld_reading[]", READING)
        self._point("streams", self.streams, "ld_stream[]", STREAM)
        self._point("links", self.links, "ld_link[]", LINK)
        self._point("heap", np.zeros(2 * plan.athletes, DUE), "ld_due[]", DUE)
        self._point("heard", self.athletes, "ld_athlete[]", ATHLETE)
        self._point("bins", self.bins, "ld_bin[]", BIN)
        self._point("out", np.zeros((plan.connections + 1) * lib.LD_OUT_BYTES, np.uint8), "uint8_t[]")
        self._point("inbox", np.zeros(INBOX_BYTES, np.uint8), "uint8_t[]")

    def _point(self, name: str, array: Any, ctype: str, dtype: Any = None) -> None:
        """Let a pointer of the struct show at an array, which is kept."""
        assert dtype is None or array.dtype == dtype
        pointer = ffi.from_buffer(ctype, array)
        self._kept.append(pointer)
        setattr(self._native, name, pointer)

    # The run.

    def open(self) -> None:
        """Have connections made from now on, while `run` runs."""
        allow_files(self.plan.connections)
        _check(lib.ld_open(self._native))
        self._is_open = True

    def start(self, begin_ns: int) -> None:
        """Have messages fall due from ``begin_ns`` on, monotonic, which is moved to where a bin may begin."""
        utc_ns = begin_ns + self._native.utc_ns
        begin_ns += -(utc_ns - OFF_GRID_NS) % GRID_NS
        self.begin_ns = self._native.begin_ns = begin_ns
        self.streams["origin_ns"] += begin_ns
        self.streams["device_ns"] += begin_ns
        lib.ld_schedule(self._native)

    def run(self, until_ns: int) -> None:
        """Connect, send and hear until a time, monotonic; others may use the interpreter meanwhile."""
        _check(lib.ld_run(self._native, until_ns))

    def fall_silent(self) -> None:
        """Send nothing any more; go on hearing."""
        self._native.heap_count = 0

    def close(self) -> None:
        """Say goodbye on all connections."""
        if self._is_open:
            lib.ld_close(self._native)
            self._is_open = False

    # What befalls it.

    def set_faults(self, *, malformed: float = 0.0, duplicated: float = 0.0) -> None:
        """Spoil this share of the messages from now on, and send this share twice."""
        self._native.malformed = round(malformed * (2**32 - 1))
        self._native.duplicated = round(duplicated * (2**32 - 1))

    def step_clocks(self, athletes: np.ndarray[Any, Any], step_ns: int) -> None:
        """Let the clocks of these athletes' devices jump."""
        self.streams["device_ns"][athletes] += step_ns
        self.streams["device_ns"][athletes + self.plan.athletes] += step_ns

    def flood(self, athlete: int, times: float) -> None:
        """Let an inertial sensor send so many times as much from now on."""
        stream = self.streams[athlete]
        seq = int(stream["seq"])
        pointer = self._native.streams + athlete
        counted_ns = (seq - int(stream["first"])) * int(stream["period_ns"])
        stream["origin_ns"] = lib.ld_intended(pointer, seq)
        stream["device_ns"] += counted_ns
        stream["first"] = seq
        stream["period_ns"] = round(int(stream["period_ns"]) / times)
        lib.ld_schedule(self._native)

    def set_apart(self, athlete: int) -> None:
        """Keep an athlete's updates out of the figures."""
        self.streams["apart"][[athlete, athlete + self.plan.athletes]] = 1

    # What is known of it.

    @property
    def up(self) -> int:
        """Connections of devices that stand."""
        return int(self._native.up)

    @property
    def counting(self) -> int:
        """Athletes that are not counted apart."""
        return self.plan.athletes - int(np.count_nonzero(self.streams["apart"][: self.plan.athletes]))

    @property
    def hears(self) -> bool:
        """True while the subscriber's connection stands."""
        return bool(self.links["state"][-1] == lib.LD_UP)

    @property
    def counts(self) -> dict[str, int]:
        """Whatever is counted over the whole run."""
        names = ("losses", "stray", "acked", "unacked_lost")
        told = {name: int(getattr(self._native, name)) for name in names}
        return {**told, "unacked": int(self.links["unacked"].sum())}

    @property
    def cpu_s(self) -> float:
        """CPU time of the load so far, s."""
        return float(self._native.cpu_ns) * 1e-9


now_ns: Callable[[], int] = lib.ld_now


def _streams(plan: Plan, utc_ns: int, count: int) -> Any:
    """Return all streams; times are relative to the begin."""
    n = plan.athletes
    rng = np.random.default_rng([plan.seed, n])
    streams = np.zeros(2 * n, STREAM)
    numbers = np.arange(n)
    sensors, straps = streams[:n], streams[n:]
    sensors["kind"], straps["kind"] = lib.LD_IMU, lib.LD_HR
    sensors["period_ns"], straps["period_ns"] = 10**9 // plan.packets_per_s, 10**9
    ids = [device_ids(k) for k in range(n)]
    for place, part in enumerate((sensors, straps)):
        part["id"] = [each[place] for each in ids]
        part["link"] = numbers + (n * place if plan.apart else 0)
        spread = (numbers * GOLDEN + 0.5 * place) % 1.0
        part["origin_ns"] = np.floor(spread * part["period_ns"]).astype(np.int64)
        offset_ns = np.round(rng.normal(0.0, CLOCK_OFFSET_S, n) * 1e9).astype(np.int64)
        part["device_ns"] = part["origin_ns"] + utc_ns + offset_ns
        part["skew"] = rng.normal(0.0, CLOCK_SKEW_PPM * 1e-6, n)
        part["boot"] = rng.integers(1, 2**32, n)
        part["recording"] = numbers % count
    sensors["at"] = rng.integers(0, recordings.SECONDS * plan.packets_per_s, n) * plan.samples
    straps["at"] = rng.integers(0, recordings.SECONDS, n)
    return streams


def _links(plan: Plan) -> Any:
    """Return all connections, and the subscriber's at the end."""
    links = np.zeros(plan.connections + 1, LINK)
    numbers = np.arange(plan.connections)
    links["fd"] = -1
    links["stream"] = lib.LD_NO_STREAM
    links["stream"][:-1, 0] = numbers
    if not plan.apart:
        links["stream"][:-1, 1] = numbers + plan.athletes
    return links


def _birth(kind: int) -> bytes:
    """Return the members of a birth message."""
    birth = Birth(model=MODEL)
    birth.placement, birth.sport = recordings.PLACEMENT, "run"
    if kind == lib.LD_IMU:
        sheet = Sheet()
        birth.accel_range, birth.gyro_range = sheet.accel_range_mps2, sheet.gyro_range_radps
        birth.rate_hz = recordings.RATE_HZ
    return samples.encode(birth)[1:-1]


def _check(error: int) -> None:
    if error:
        raise LoadError(f"the load cannot go on: {os.strerror(error)}")
