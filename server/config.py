"""The configuration: a TOML file, then the environment, then the command line; the later wins.

Everything has a default that works without a file. Unknown keys are refused, every number has its range, and
an error is one line that names the key, the value and what is allowed. In the environment
``KINEFUSE_BROKER_PORT`` is ``broker.port``, and so on for the sections ``broker``, ``server``,
``deadlines`` and ``metrics``; athletes are in the file.
"""

import difflib
import ipaddress
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from server.errors import ConfigError
from server.messages import Id, Placement

FILE_BYTES_MAX = 4 * 2**20
ENVIRONMENT_PREFIX = "KINEFUSE_"
ENVIRONMENT_OTHER = frozenset({"KINEFUSE_CONFIG", "KINEFUSE_DATA"})  # read elsewhere

Port = Annotated[int, Meta(ge=1, le=65_535)]
Milliseconds = Annotated[float, Meta(ge=0.001, le=60_000)]
Text = Annotated[str, Meta(max_length=256)]
TopicRoot = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$(?!\n)", max_length=128)]
TopicName = Annotated[str, Meta(pattern=r"^[^\x00\n+#]+$(?!\n)", max_length=256)]  # no wildcard


class _Section(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A table of the file: unknown keys are refused, values do not change."""


class Broker(_Section, frozen=True):
    """Where the MQTT broker is.

    ``program`` is the broker that ``kinefuse up`` starts; absent, mosquitto where installed, else amqtt.
    ``external`` says whose it is: true, somebody runs it; false, ``kinefuse up`` starts one. Absent, it is
    external exactly when ``host`` is not this machine. With a ``client_id`` the broker keeps what comes with
    QoS 1 while the server is away. ``reader`` is the path by which messages come in (server/connection.py).
    """

    host: Annotated[str, Meta(min_length=1, max_length=253)] = "127.0.0.1"
    port: Port = 1883
    websocket_port: Annotated[int, Meta(ge=0, le=65_535)] = 0  # 0: none; of our own broker only
    program: Literal["mosquitto", "amqtt"] | None = None
    external: bool | None = None
    username: Text = ""
    password: Text = ""
    tls: bool = False
    tls_ca_file: Text = ""
    tls_cert_file: Text = ""
    tls_key_file: Text = ""
    root: TopicRoot = "kinefuse/v1"
    client_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$(?!\n)")] = ""
    reader: Literal["bounded", "public"] = "bounded"

    def __post_init__(self) -> None:
        if self.external is False and not is_loopback(self.host):
            raise ValueError(f'host is "{self.host}", but a broker of our own listens on this machine only')
        if self.websocket_port == self.port:
            raise ValueError(f"websocket_port is {self.port}, and so is port: each needs one of its own")
        if self.tls and not self.is_external:
            raise ValueError("tls needs external = true: a broker of our own speaks plain MQTT on loopback")
        if self.tls_key_file and not self.tls_cert_file:
            raise ValueError("tls_key_file needs tls_cert_file")
        if self.password and not self.username:
            raise ValueError("password needs username")

    def __repr__(self) -> str:
        return f"Broker({self.host}:{self.port}, root={self.root!r}, external={self.is_external})"

    @property
    def is_external(self) -> bool:
        """True if somebody else runs the broker."""
        return not is_loopback(self.host) if self.external is None else self.external


class Server(_Section, frozen=True):
    """What the server takes in, and by what.

    ``enroll`` absent: ``auto`` on loopback, else ``known``. ``workers``: processes with an engine each; 0:
    the engine runs in the server's own. ``realtime`` asks the system to run them before all that is not.
    ``rewind_s``: what comes late by no more than this is put into its place; 0: it is used one step later.
    ``state_dir``: where the server keeps files; empty: nowhere. What comes later still goes to a log there,
    of ``late_log_bytes_max`` at most.
    """

    enroll: Literal["auto", "known"] | None = None
    sensor_logger_topics: Annotated[list[TopicName], Meta(max_length=16)] = msgspec.field(
        default_factory=lambda: ["sensor-logger"]
    )
    devices_max: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    athletes_max: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    payload_bytes_max: Annotated[int, Meta(ge=1_024, le=16 * 2**20)] = 2**20
    inbox_messages_max: Annotated[int, Meta(ge=16, le=1_000_000)] = 65_536
    inbox_bytes_max: Annotated[int, Meta(ge=2**20, le=2**32)] = 64 * 2**20
    workers: Annotated[int, Meta(ge=0, le=64)] = 0
    realtime: bool = False
    rewind_s: Annotated[float, Meta(ge=0, le=30)] = 30.0
    state_dir: Annotated[str, Meta(max_length=4096)] = ""
    late_log_bytes_max: Annotated[int, Meta(ge=32 * 2**20, le=2**40)] = 64 * 2**20

    def __post_init__(self) -> None:
        if self.inbox_bytes_max < self.payload_bytes_max + 2**19:  # what else came in the same read
            raise ValueError("inbox_bytes_max is less than payload_bytes_max and 524288 more")


class Deadlines(_Section, frozen=True):
    """Budgets per stage, ms; ``sensor_age`` is the age that a sample may have when it is published.

    The last three are of streams: the shortest deadline, the shortest lease of a link, and the lifespan.
    """

    decode_ms: Milliseconds = 10.0
    align_ms: Milliseconds = 5.0
    fuse_ms: Milliseconds = 25.0
    publish_ms: Milliseconds = 10.0
    end_to_end_ms: Milliseconds = 50.0
    sensor_age_ms: Milliseconds = 2_000.0
    loop_ms: Milliseconds = 50.0
    silence_ms: Milliseconds = 2_000.0
    lease_ms: Milliseconds = 10_000.0
    lifespan_ms: Milliseconds = 2_000.0


class Metrics(_Section, frozen=True):
    """Where ``/metrics``, ``/healthz`` and ``/readyz`` are served.

    ``port`` absent: 9464 where it is free, else nowhere; 0: nowhere.
    """

    host: Annotated[str, Meta(min_length=1, max_length=253)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] | None = None


class Device(_Section, frozen=True):
    """A device of an athlete, and where it is worn (a birth message may tell otherwise)."""

    id: Id
    placement: Placement = "unknown"


class Athlete(_Section, frozen=True):
    """An athlete, and what is known of them. 0 means unknown for ``birth_year`` and ``max_bpm``.

    ``zones`` are the upper bounds of the heart-rate zones as fractions of the maximum, ascending; empty: the
    five usual ones.
    """

    id: Id
    name: Text = ""
    mass_kg: Annotated[float, Meta(ge=20, le=300)] = 75.0
    height_m: Annotated[float, Meta(ge=0.5, le=2.6)] = 1.75
    birth_year: Annotated[int, Meta(ge=0, le=2100)] = 0
    sex: Literal["unknown", "female", "male"] = "unknown"
    resting_bpm: Annotated[float, Meta(ge=25, le=120)] = 60.0
    max_bpm: Annotated[float, Meta(ge=0, le=240)] = 0.0
    zones: Annotated[list[Annotated[float, Meta(gt=0, le=1.5)]], Meta(max_length=9)] = []
    devices: Annotated[list[Device], Meta(max_length=32)] = []

    def __post_init__(self) -> None:
        if 0 < self.birth_year < 1900:
            raise ValueError(f"birth_year is {self.birth_year}, allowed: 0 (unknown) or 1900 to 2100")
        if 0 < self.max_bpm < 100:
            raise ValueError(f"max_bpm is {self.max_bpm:g}, allowed: 0 (unknown) or 100 to 240")
        if 0 < self.max_bpm <= self.resting_bpm:
            raise ValueError(f"max_bpm ({self.max_bpm:g}) is not above resting_bpm ({self.resting_bpm:g})")
        if any(low >= high for low, high in zip(self.zones, self.zones[1:], strict=False)):
            raise ValueError("zones do not ascend")


SECTIONS: dict[str, type[_Section]] = {
    "broker": Broker,
    "server": Server,
    "deadlines": Deadlines,
    "metrics": Metrics,
}  # what the environment may set, too


class Config(_Section, frozen=True):
    """All of it."""

    broker: Broker = Broker()
    server: Server = Server()
    deadlines: Deadlines = Deadlines()
    metrics: Metrics = Metrics()
    athletes: Annotated[list[Athlete], Meta(max_length=100_000)] = []

    @property
    def enrolls(self) -> bool:
        """True if an unknown device becomes a new athlete."""
        if self.server.enroll is None:
            return is_loopback(self.broker.host)
        return self.server.enroll == "auto"

    def wearer(self, device: str) -> str:
        """Return the id of the athlete who wears a device; that of the device where nobody is known to."""
        for athlete in self.athletes:
            if any(worn.id == device for worn in athlete.devices):
                return athlete.id
        return device

    def lent(self, device: str) -> "Config":
        """Return the same with a device that bears an athlete's id, and is nobody's, among that athlete's."""
        worn = {each.id for athlete in self.athletes for each in athlete.devices}
        if device in worn or all(athlete.id != device for athlete in self.athletes):
            return self
        athletes = [
            msgspec.structs.replace(athlete, devices=[*athlete.devices, Device(id=device)])
            if athlete.id == device
            else athlete
            for athlete in self.athletes
        ]
        return msgspec.structs.replace(self, athletes=athletes)


def load(path: Path | None, environ: Mapping[str, str], *, port: int | None = None) -> Config:
    """Return the configuration of a file, the environment and the command line.

    Parameters
    ----------
    path : Path or None
        The TOML file; None: the one that ``KINEFUSE_CONFIG`` names, or none.
    environ : mapping
        The environment.
    port : int, optional
        ``--port`` of the command line.

    Raises
    ------
    ConfigError
        In one line: the key, its value, what is allowed.
    """
    if path is None and environ.get("KINEFUSE_CONFIG"):
        path = Path(environ["KINEFUSE_CONFIG"])
    raw: dict[str, Any] = {} if path is None else _read(path)
    where = "" if path is None else f"{path}: "
    _apply(raw, environ, where)
    if environ.get("STATE_DIRECTORY"):  # systemd gives a service one, by StateDirectory= in its unit
        server = raw.setdefault("server", {})
        if isinstance(server, dict):
            server.setdefault("state_dir", environ["STATE_DIRECTORY"].partition(":")[0])
    if port is not None:
        _set(raw, "broker", "port", port, Port, "--port", where)
    try:
        config = msgspec.convert(raw, Config)
    except (msgspec.ValidationError, RecursionError):
        fault = _fault(raw, Config, "")
        raise ConfigError(where + fault.key, fault.problem) from None
    _check_ids(config, where)
    return config


def is_loopback(host: str) -> bool:
    """Return whether a host name or address means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> dict[str, Any]:
    """The file as plain dicts, or ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(str(path), f"is larger than {FILE_BYTES_MAX} bytes")
        return tomllib.loads(data.decode())
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(str(path), f"is not TOML: {_line(error)}") from None


def _apply(raw: dict[str, Any], environ: Mapping[str, str], where: str) -> None:
    """Put the environment's values into ``raw``; a name that means nothing is refused."""
    fields = {
        f"{ENVIRONMENT_PREFIX}{section}_{field.name}".upper(): (section, field)
        for section, table in SECTIONS.items()
        for field in msgspec.structs.fields(table)
    }
    for name, text in sorted(environ.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in ENVIRONMENT_OTHER:
            continue
        if name not in fields:
            raise ConfigError(name, "is no known setting" + _nearest(name, [*fields, *ENVIRONMENT_OTHER]))
        section, field = fields[name]
        is_list = get_origin(_bare(field.type)) is list
        value: Any = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
        _set(raw, section, field.name, value, field.type, name, where)


def _set(raw: dict[str, Any], section: str, key: str, value: Any, type_: Any, by: str, where: str) -> None:
    """Put a value from outside the file, called ``by``, over the file's, which must be valid, too."""
    table = raw.setdefault(section, {})
    if not isinstance(table, dict):  # the conversion refuses it, by name
        return
    if key in table and not _fits(table[key], type_):
        fault = _fault(table[key], type_, f"{section}.{key}")
        raise ConfigError(where + fault.key, fault.problem)
    table[key] = _value(value, type_, by)


def _value(value: Any, type_: Any, key: str) -> Any:
    """One value from outside the file, checked against its type."""
    try:
        return msgspec.convert(value, type_, strict=False)
    except msgspec.ValidationError:
        raise ConfigError(key, _refusal(key, value, type_)) from None


def _fault(raw: Any, type_: Any, key: str) -> ConfigError:
    """Find the one value that is at fault: msgspec does not tell which element of a list it is."""
    bare = _bare(type_)
    if isinstance(bare, type) and issubclass(bare, Struct) and isinstance(raw, dict):
        fields = {field.name: field for field in msgspec.structs.fields(bare)}
        for name, value in raw.items():
            inner = f"{key}.{name}" if key else name
            if name not in fields:
                return ConfigError(inner, "is no known key" + _nearest(name, list(fields)))
            if not _fits(value, fields[name].type):
                return _fault(value, fields[name].type, inner)
        for name, field in fields.items():
            if field.required and name not in raw:
                return ConfigError(f"{key}.{name}" if key else name, "is required")
    elif get_origin(bare) is list and isinstance(raw, list):
        element = get_args(bare)[0]
        for index, value in enumerate(raw):
            if not _fits(value, element):
                return _fault(value, element, f"{key}[{index}]")
    return ConfigError(key, _refusal(key, raw, type_))


def _fits(raw: Any, type_: Any) -> bool:
    try:
        msgspec.convert(raw, type_)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


def _refusal(key: str, value: Any, type_: Any) -> str:
    """Why a value is refused, with what is allowed."""
    if isinstance(value, dict | list):
        try:
            msgspec.convert(value, type_)
        except msgspec.ValidationError as error:
            return _line(error).partition(" - at ")[0]
        except RecursionError:
            return "is nested too deeply"
    secret = key.lower().endswith("password")
    shown = "hidden" if secret else msgspec.json.encode(str(value) if not _plain(value) else value).decode()
    return f"is {shown[:80]}, allowed: {_allowed(type_)}"


def _plain(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _bare(type_: Any) -> Any:
    """The type without ``Annotated``."""
    return get_args(type_)[0] if get_origin(type_) is Annotated else type_


def _allowed(type_: Any) -> str:
    """What a type allows, in words."""
    info = msgspec.inspect.type_info(type_)
    if isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    return _words(info)


def _words(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(
                _words(each) for each in types if not isinstance(each, msgspec.inspect.NoneType)
            )
        case msgspec.inspect.LiteralType(values=values):
            return ", ".join(str(value) for value in values)
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            kind = "an integer" if isinstance(info, msgspec.inspect.IntType) else "a number"
            low = (
                f"{info.ge:.15g}"
                if info.ge is not None
                else f"above {info.gt:.15g}"
                if info.gt is not None
                else ""
            )
            return f"{kind} from {low} to {info.le:.15g}" if info.le is not None else kind
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.StrType(pattern=str(pattern)):
            return f"text like {pattern.replace('(?!' + chr(92) + 'n)', '')}"
        case msgspec.inspect.StrType(max_length=int(longest)):
            return f"text of at most {longest} characters"
        case msgspec.inspect.ListType():
            return "a list"
        case msgspec.inspect.StructType(cls=cls):
            return "a table with " + ", ".join(field.name for field in msgspec.structs.fields(cls))
        case _:
            return type(info).__name__


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=2)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(sorted(known))}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _check_ids(config: Config, where: str) -> None:
    """Refuse an athlete or a device that is there twice."""
    athletes: dict[str, int] = {}
    devices: dict[str, str] = {}
    for index, athlete in enumerate(config.athletes):
        if athlete.id in athletes:
            key = f"{where}athletes[{index}].id"
            raise ConfigError(key, f'"{athlete.id}" is already athletes[{athletes[athlete.id]}]')
        athletes[athlete.id] = index
        for number, device in enumerate(athlete.devices):
            if device.id in devices:
                key = f"{where}athletes[{index}].devices[{number}].id"
                raise ConfigError(key, f'"{device.id}" already belongs to "{devices[device.id]}"')
            devices[device.id] = athlete.id
