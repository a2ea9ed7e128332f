"""The docs say what the code does: topics, fields, reasons, settings and examples are compared with it."""

import ast
import importlib
import json
import math
import re
import shlex
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from types import GenericAlias
from typing import Any

import msgspec
import numpy as np
import paho.mqtt.client
import pytest
import yaml

from fusion.athletes import Athletes
from fusion.core import STATUS_NAMES
from fusion.measurements import Measurements, Reason, Source, Sport
from fusion.metrics import METRICS
from server import config, messages
from server.cli import app
from server.codecs import imu, imu_json, phone_samples, samples, schema, sensor_logger, strict_json
from server.config import Config, load
from server.deadlines import report
from server.deadlines.rules import CAUSES
from server.engine import Engine
from server.envelopes import Incoming
from server.schedule import REASONS

ROOT = Path(__file__).parents[2]
PAGES = {
    name: (ROOT / "docs" / f"{name}.md").read_text()
    for name in ("protocol", "operations", "metrics", "fusion", "orientation")
}
PAGES["units"] = (ROOT / "docs" / "units-and-frames.md").read_text()
STRUCTS: dict[str, Any] = {
    name: value
    for module in (messages, report)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
}
TABLES: dict[str, Any] = {
    "broker": config.Broker,
    "server": config.Server,
    "deadlines": config.Deadlines,
    "metrics": config.Metrics,
    "athletes": config.Athlete,
    "athletes.devices": config.Device,
}


def blocks(page: str, language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language: what stands behind it on the fence, and their text."""
    found = re.findall(rf"^```{language}\b *([^\n]*)\n(.*?)^```$", PAGES[page], re.M | re.S)
    return [(info, text) for info, text in found]


def tables(text: str) -> list[list[str]]:
    """The rows of all tables, cell by cell, without their headings."""
    rows = [line.strip().strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if not row[0].strip().startswith("---")]


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next one of its level or above."""
    level = heading.split(" ")[0]
    after = PAGES[page].split(f"\n{heading}\n", 1)[1]
    return re.split(rf"\n#{{1,{len(level)}}} ", after, maxsplit=1)[0]


def quoted(text: str) -> set[str]:
    """All that stands in backticks outside of fences."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)))


# Topics and messages.


def test_every_topic_has_its_row_with_qos_and_retain() -> None:
    rows = {row[0].strip("`"): row for row in tables(section("protocol", "## Topics"))[1:]}
    assert set(rows) == {*schema.TOPICS, "in/{device}/imu"}
    for topic, row in rows.items():
        assert len(row) == 6, topic
        assert re.search(r"\b[01]\b", row[3]), topic


def test_every_topic_that_the_server_publishes_has_the_qos_and_retain_of_its_row() -> None:
    rows = {row[0].strip("`"): row for row in tables(section("protocol", "## Topics"))[1:]}
    t_ns = 1_764_585_664_000_000_000
    engine = Engine(Config(), iter(range(10**9)).__next__)
    told = [
        Incoming("kinefuse/v1/in/ada/hr", b'{"bpm": 90, "t": %d}' % t_ns, False, t_ns, 1),
        Incoming("kinefuse/v1/command/ada", b'{"action": "lap", "id": "c"}', False, t_ns, 1),
    ]
    published = {out.topic: out for out in engine.advance(told, t_ns + 10**9)}
    for topic, name in (
        ("athletes/{athlete}/live", "athletes/ada/live"),
        ("athletes/{athlete}/workout", "athletes/ada/workout"),
        ("athletes/{athlete}/reply/{id}", "athletes/ada/reply/c"),
        ("devices/{device}/health", "devices/ada/health"),
    ):
        out = published[f"kinefuse/v1/{name}"]
        assert rows[topic][3:5] == [str(out.qos), "yes" if out.retain else "no"], topic


def test_every_kind_of_sample_has_its_section() -> None:
    headings = set(re.findall(r"^### (\w+)$", section("protocol", "## Samples"), re.M))
    assert headings == set(samples.LISTED)


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_every_field_of_every_message_is_named(name: str) -> None:
    fields = {field.encode_name for field in msgspec.structs.fields(STRUCTS[name])}
    named = {word for span in quoted(PAGES["protocol"]) for word in re.findall(r"\w+", span)}
    shown = set(re.findall(r'"(\w+)":', PAGES["protocol"]))
    assert fields <= named | shown, fields - named - shown


def test_every_choice_on_the_wire_is_named() -> None:
    named = quoted(PAGES["protocol"]) | quoted(PAGES["units"])
    for literal in (messages.Sport, messages.Placement, messages.Reason, messages.StreamState, report.Stage):
        assert set(typing.get_args(literal)) <= named
    assert {reason.name.lower() for reason in Reason} - {"none"} <= named


def test_every_message_has_an_example() -> None:
    shown = {info for info, _ in blocks("protocol", "json") if info}
    parts = {"Sample", "Clock", "Metric", "Cause", "WorkoutState", "Summary", "Lap", "Totals", "ClockHealth"}
    parts |= {
        "Figures",
        "StageReport",
        "Doing",
        "Miss",
        "StreamHealth",
        "WorkerStatus",
        "ModelHealth",
        "LateLogStatus",
    }
    assert shown == set(STRUCTS) - parts


def assert_holds(whole: Any, part: Any) -> None:
    """Fail where ``part`` has a key or a value that ``whole`` lacks; what a struct adds is a default."""
    if isinstance(part, dict):
        for key, value in part.items():
            assert key in whole, f"{key}: a field that the struct lacks"
            assert_holds(whole[key], value)
    elif isinstance(part, list):
        for one, other in zip(whole, part, strict=True):
            assert_holds(one, other)
    else:
        assert whole == part


@pytest.mark.parametrize(("info", "text"), blocks("protocol", "json"))
def test_json_examples_are_what_they_say(info: str, text: str) -> None:
    if not info:
        batch = sensor_logger.SensorLogger().decode(text.encode())
        assert batch.packets
        assert not batch.refused
        return
    struct: Any = STRUCTS[info]
    type_ = GenericAlias(list, (struct,)) if text.startswith("[") else struct
    decoded = msgspec.json.decode(text, type=type_, strict=True)
    assert_holds(json.loads(msgspec.json.encode(decoded)), json.loads(text))
    kinds = {struct.__name__: kind for kind, struct in samples.LISTED.items()}
    kinds |= {"Birth": "status", "Death": "status", "Pong": "pong", "Command": "command"}
    if info in kinds:
        assert samples.decode(kinds[info], text.encode()).refused == []
    elif info == "ImuJson":
        assert len(imu_json.decode(text.encode()).rows)


def test_the_binary_example_is_a_packet_and_the_python_beside_it_makes_it() -> None:
    ((_, text),) = blocks("protocol", "hex")
    ((_, code),) = [block for block in blocks("protocol", "python") if block[0] == "imu"]
    names: dict[str, Any] = {}
    exec(code, names)
    packet = imu.decode(bytes.fromhex(text))
    assert names["packet"] == bytes.fromhex(text)
    assert (packet.boot, packet.t0_ns, packet.seq, packet.dt_ns) == (0x01020304, 1764585664 * 10**9, 7, 10**7)
    assert packet.accel_b[0, 2] == pytest.approx(9.80665, abs=packet.scales[0])


def test_the_packet_table_is_the_header() -> None:
    rows = [row for row in tables(section("protocol", "## imu: the binary packet"))[1:] if row[0].isdecimal()]
    sizes = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "f32": 4}
    offset = 0
    for row in rows[:-1]:
        assert int(row[0]) == offset, row
        offset += sizes[row[1]]
    assert offset == int(rows[-1][0]) == imu.HEADER.size


class _Client:
    """Stands in for paho's client, and for the clock: keeps what is published and when."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, int]] = []
        self.now_ns = 1_764_585_664_000_000_000

    def publish(self, topic: str, payload: str, **_: Any) -> None:
        self.sent.append((topic, payload.encode(), self.now_ns))

    will_set = publish

    def connect(self, host: str, port: int) -> None:
        assert (host, port) == (Config().broker.host, Config().broker.port)

    def loop_start(self) -> None:
        pass

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def accepted(sent: list[tuple[str, bytes, int]]) -> Engine:
    """What is left of an engine that was told all of it, and refused nothing."""
    engine = Engine(Config(), iter(range(10**9)).__next__)
    for topic, payload, at_ns in sent:
        engine.advance([Incoming(topic, payload, False, at_ns, 1)], at_ns)
    assert engine.health.refused() == {}
    return engine


def test_the_first_device_in_python_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    client = _Client()
    monkeypatch.setattr(paho.mqtt.client, "Client", lambda *_, **__: client)
    monkeypatch.setattr("time.time_ns", lambda: client.now_ns)
    monkeypatch.setattr("time.sleep", client.sleep)
    ((_, code),) = [block for block in blocks("protocol", "python") if not block[0]]
    exec(code, {})
    device = accepted(client.sent).registry.devices["my-strap"]
    assert (device.model, device.placement, device.packets) == ("Strap 1", "chest", 61)


def test_the_first_device_in_the_shell_is_understood() -> None:
    sent: list[tuple[str, bytes, int]] = []
    ((_, text), *_) = [block for block in blocks("protocol", "sh") if "mosquitto_pub" in block[1]]
    for line in text.splitlines():
        words = shlex.split(line)
        assert words[0] == "mosquitto_pub"
        topic, payload = words[words.index("-t") + 1], words[words.index("-m") + 1]
        sent.append((topic, payload.encode(), 1_764_585_664_000_000_000 + len(sent) * 10**9))
    engine = accepted(sent)
    assert not engine.workouts.is_open(engine.registry.athletes["my-strap"])


# Reasons.


def reasons_in_code() -> set[str]:
    """All reasons that the source of the server can count or answer, as far as they are literals."""
    found = set(REASONS) - {"ok"}
    for path in (ROOT / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            found |= set(_reasons_of(node, path.name))
    return found


RETURNED = {  # functions that return a reason, alone or first in a tuple
    "_carry_out": "workouts.py",
    "_one": "phone_samples.py",
    "_cadence": "phone_samples.py",
    "fix": "phone_samples.py",
}


def _reasons_of(node: ast.AST, file: str) -> Iterator[str]:
    match node:
        case ast.Call(
            func=ast.Name(id="DecodeError" | "NotEnrolledError"), args=[ast.Constant(value=str(r)), *_]
        ):
            yield r
        case ast.Call(func=ast.Attribute(attr="refuse"), args=[ast.Constant(value=str(r))]):
            yield r
        case ast.Subscript(
            value=ast.Name(id="refused") | ast.Attribute(attr="refused"), slice=ast.Constant(value=str(r))
        ):
            yield r
        case ast.Assign(targets=[ast.Name(id="reason")], value=ast.Constant(value=str(r))) if r:
            if file == "engine.py":
                yield r
        case ast.FunctionDef(name=name) if RETURNED.get(name) == file:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return):
                    yield from _returned(inner.value)


def _returned(value: ast.expr | None) -> Iterator[str]:
    match value:
        case ast.Constant(value=str(r)) if r:
            yield r
        case ast.Tuple(elts=[ast.Constant(value=str(r)), *_]) if r:
            yield r
        case ast.IfExp(body=body, orelse=orelse):
            yield from _returned(body)
            yield from _returned(orelse)
        case ast.Tuple(elts=[ast.JoinedStr(values=[ast.Constant(value="already_"), *_]), *_]):
            yield from ("already_paused", "already_running")


def test_the_tables_of_reasons_are_those_of_the_code() -> None:
    rows = tables(section("protocol", "## What is refused, and why"))
    documented = {row[0].strip("`") for row in rows} - {"reason"}
    code = reasons_in_code()
    assert len(code) > 30, "the source is no longer understood"
    assert code - documented == set(), "not in docs/protocol.md"
    assert documented - code == set(), "no longer in the code"


def test_the_statuses_of_the_core_stand_in_the_order_in_which_it_checks() -> None:
    rows = tables(section("protocol", "### Binary IMU packet"))[1:]
    assert [row[0].strip("`") for row in rows] == [*STATUS_NAMES[1:11], "bad_sensor"]


# Metrics.


def rows_of(heading: str, *first: str) -> dict[str, list[str]]:
    """The rows of the one table of docs/metrics.md that begins with these headings, by their first cell."""
    text = section("metrics", heading)
    start = text.index("| " + " | ".join(first))
    table = text[start:].split("\n\n", 1)[0]
    return {row[0].strip("`"): row for row in tables(table)[1:]}


def test_the_table_of_metrics_has_their_units_and_tolerances() -> None:
    rows = rows_of("## What is said of every value", "metric", "unit")
    assert list(rows) == [metric.name for metric in METRICS]
    for metric in METRICS:
        _, unit, tolerance, share, _ = rows[metric.name]
        assert float(tolerance) == metric.tolerance, metric.name
        assert float(share.removesuffix(" %")) == pytest.approx(100 * metric.share), metric.name
        assert unit == metric.unit or (not metric.unit and unit in ("steps", "zones", "floors")), metric.name


def test_every_metric_has_its_section_in_order() -> None:
    headings = re.findall(r"^### (\w+)$", section("metrics", "## Live metrics"), re.M)
    assert headings == [metric.name for metric in METRICS]


def told_of_everything(seconds: int, t_ns: int) -> Measurements:
    """A second of an athlete who runs with a strap, a receiver, a barometer and a foot pod for cadence."""
    lon_deg = 8.0 + 3e-5 * seconds
    return Measurements.of(
        heart_rates=[(0, t_ns, 0, 140.0, 1.0, int(Source.STRAP), np.nan)],
        gnss=[(0, t_ns, 0, 46.0, lon_deg, 500.0, 2.3, math.pi / 2, 4.0, 6.0, 0.3)],
        baro=[(0, t_ns, 0, 95_000.0)],
        cadence=[(0, t_ns, 0, math.nan, 170.0)],
    )


def test_a_metric_is_stale_when_the_table_says_so() -> None:
    rows = rows_of("## What is said of every value", "metric", "unit")
    table, start_ns, rows_due = Athletes(), 1_790_000_000 * 10**9, np.array([0])
    table.begin(table.add(), start_ns, Sport.RUN)
    for second in range(1, 31):
        t_ns = start_ns + second * 10**9
        table.step(rows_due, np.array([t_ns]), told_of_everything(second, t_ns))
    fresh: dict[str, int] = {}
    for silent_s in range(120):
        due_ns = np.array([start_ns + (30 + silent_s) * 10**9])
        for name, estimate in table.step(rows_due, due_ns, Measurements.of()).items():
            reason = Reason(int(estimate.reason[0]))
            assert reason in (Reason.NONE, Reason.STALE), name
            if reason == Reason.NONE:
                fresh[name] = silent_s
    for name, row in rows.items():
        assert row[4] == ("never" if fresh[name] == 119 else f"{fresh[name]} s"), name


def test_every_source_is_explained() -> None:
    rows = rows_of("## What is said of every value", "source", "meaning")
    assert set(rows) == {source.name.lower() for source in Source}


def test_every_reason_is_explained() -> None:
    rows = rows_of("## What is said of every value", "reason", "given by")
    assert set(rows) == {reason.name.lower() for reason in Reason} - {"none"}


def test_the_summary_is_explained_field_by_field() -> None:
    rows = rows_of("## Summary", "field", "how it is made")
    fields = {field.encode_name: field for field in msgspec.structs.fields(messages.Summary)}
    assert list(rows) == list(fields)
    for name, field in fields.items():
        nullable = field.default is None
        assert (rows[name][2] == "never") != nullable, name
        assert quoted(rows[name][2]) <= {reason.name.lower() for reason in Reason}, name


def test_a_summary_of_nothing_has_the_reasons_that_are_told() -> None:
    rows = rows_of("## Summary", "field", "how it is made")
    table = Athletes()
    table.begin(table.add(), 10**18, Sport.RUN)
    summary = table.end(0, 10**18 + 10**9)
    lacking = {name for name, row in rows.items() if row[2] != "never"}
    assert set(summary.reasons) == lacking
    for name, reason in summary.reasons.items():
        assert reason in quoted(rows[name][2]), name


def test_the_constants_of_the_models_are_those_of_the_code() -> None:
    rows = [row for row in tables(PAGES["fusion"]) if re.fullmatch(r"`\w+\.[A-Z_]+`", row[0])]
    assert len(rows) > 30
    header = (ROOT / "csrc/clock.c").read_text()
    clock = dict(re.findall(r"^#define (\w+) ([-\d.e]+)", header, re.M))
    for row in rows:
        module, _, name = row[0].strip("`").partition(".")
        if module == "clock":
            value = float(clock[name])
        else:
            package = "metrics" if module in {"ascent", "climb"} else "models"
            value = getattr(importlib.import_module(f"fusion.{package}.{module}"), name)
        assert float(row[1].split()[0]) == pytest.approx(value, rel=1e-12), row[0]


def test_the_noises_of_the_orientation_filter_are_those_of_the_code() -> None:
    defined = dict(re.findall(r"^#define (\w+) ([-\d.e]+)F\b", (ROOT / "csrc/filter.h").read_text(), re.M))
    rows = tables(section("orientation", "## Noise"))[1:]
    told = {row[0].strip("`"): float(row[1].split()[0]) for row in rows if row[0].startswith("`")}
    assert len(told) >= 9
    assert told == {name: float(defined[name]) for name in told}


@pytest.mark.parametrize("model", ["position", "altitude"])
def test_the_densities_of_acceleration_are_told_by_sport(model: str) -> None:
    density = importlib.import_module(f"fusion.models.{model}").ACCEL_DENSITY
    after = PAGES["fusion"].split(f"`{model}.ACCEL_DENSITY`", 1)[1]
    told = re.split(r"by sport: |\.\s", after, maxsplit=2)[1]
    pairs = dict(words.split() for words in told.split(","))
    assert {sport.name.lower(): density[sport] for sport in Sport} == {
        sport: float(value) for sport, value in pairs.items()
    }


# The command line and the configuration.


def test_every_command_has_its_row() -> None:
    rows = tables(section("operations", "## Commands"))
    documented = {row[0].strip("`") for row in rows if row[0].startswith("`")}
    assert documented == {f"kinefuse {name}" for name in app if not name.startswith("-")}


def keys() -> dict[str, Any]:
    return {
        f"{table}.{field.name}": field
        for table, struct in TABLES.items()
        for field in msgspec.structs.fields(struct)
    }


def test_every_setting_has_its_row_with_its_default() -> None:
    rows = {row[0].strip("`"): row for row in tables(section("operations", "### All keys"))[1:]}
    assert set(rows) == set(keys())
    for key, field in keys().items():
        told = rows[key][1]
        if field.required:
            assert told == "required", key
            continue
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        if default is None:
            assert told == "absent", key
        else:
            assert tomllib.loads(f"x = {told.strip('`')}")["x"] == default, key


@pytest.mark.parametrize("key", sorted(keys()))
def test_ranges_are_refused_just_outside_what_is_told(key: str, tmp_path: Path) -> None:
    rows = {row[0].strip("`"): row for row in tables(section("operations", "### All keys"))[1:]}
    told = re.match(r"^(?:0, )?([\d.]+) to ([\d.]+)$", rows[key][2])
    if told is None:
        return
    table, _, name = key.rpartition(".")
    low, high = (float(number) if "." in number else int(number) for number in told.groups())
    for value, fits in ((low, True), (high, True), (low - 0.001, False), (high * 2, False)):
        number = round(value) if isinstance(low, int) and isinstance(high, int) and fits else value
        raw: dict[str, Any] = {name: number}
        if table == "athletes":
            raw = {"athletes": [{"id": "a", **raw}]}
        elif name in ("payload_bytes_max", "inbox_bytes_max"):
            raw = {table: {"payload_bytes_max": 1024, "inbox_bytes_max": 2**32, **raw}}
        else:
            raw = {table: raw}
        try:
            msgspec.convert(raw, Config)
        except msgspec.ValidationError:
            assert not fits, (key, value)
        else:
            assert fits, (key, value)


def test_the_example_files_are_read_and_show_every_key(tmp_path: Path) -> None:
    shown: set[str] = set()
    for _, text in blocks("operations", "toml"):
        path = tmp_path / "kinefuse.toml"
        path.write_text(text)
        load(path, {})
        raw = tomllib.loads(text)
        shown |= {f"{table}.{key}" for table in config.SECTIONS for key in raw.get(table, {})}
        for athlete in raw.get("athletes", []):
            shown |= {f"athletes.{key}" for key in athlete}
            shown |= {f"athletes.devices.{key}" for device in athlete.get("devices", []) for key in device}
    assert shown == set(keys())


def test_every_environment_variable_that_is_named_is_one() -> None:
    named = set(re.findall(r"KINEFUSE_[A-Z_]+[A-Z]", PAGES["operations"] + PAGES["protocol"]))
    known = {
        f"KINEFUSE_{key.replace('.', '_')}".upper() for key in keys() if key.split(".")[0] in config.SECTIONS
    }
    assert named >= config.ENVIRONMENT_OTHER
    assert named - config.ENVIRONMENT_OTHER <= known


def test_every_alert_has_its_row_that_says_what_to_do() -> None:
    rules = yaml.safe_load((ROOT / "docs" / "monitoring" / "alerts.yaml").read_text())
    rows = tables(section("operations", "### Prometheus and Grafana"))
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert [row[0].strip("`") for row in rows[1:]] == alerts


def test_the_states_of_streams_have_their_rows() -> None:
    rows = tables(section("protocol", "### Streams"))[1:]
    assert {row[0].strip("`") for row in rows} == set(CAUSES)


def test_the_access_list_has_a_rule_for_every_topic() -> None:
    ((_, text),) = blocks("operations", "acl")
    rules: dict[str, list[tuple[str, str]]] = {}
    user = ""
    for line in text.splitlines():
        words = line.split()
        if line.startswith("user "):
            user = words[1]
        elif line.startswith("topic "):
            rules.setdefault(user, []).append((words[1], words[2]))
    server = rules["kinefuse"]
    for topic in {*schema.TOPICS, "in/{device}/imu"}:
        wanted = ("readwrite",) if topic == "server/status" else ("write",)
        wanted = ("read",) if topic.startswith(("in/", "command/")) else wanted
        pattern = "kinefuse/v1/" + re.sub(r"\{\w+\}", "+", topic)
        assert any((access, pattern) in server for access in wanted), topic


# The pages themselves.


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if target.startswith("https://doi.org/10."):
            continue
        file, _, anchor = target.partition("#")
        path = ROOT / "docs" / file if file else None
        assert path is None or path.exists(), target
        if anchor:
            text = PAGES[page] if path is None else path.read_text()
            headings = re.findall(r"^#+ (.*)$", text, re.M)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


@pytest.mark.parametrize("page", sorted(PAGES))
def test_lines_are_short_and_plain(page: str) -> None:
    for line in PAGES[page].splitlines():
        assert len(line) <= 120 or line.startswith("|"), line
        assert line == line.rstrip(), line


def test_limits_that_are_told_are_those_of_the_code() -> None:
    text = PAGES["protocol"]
    assert f"at most {samples.SAMPLES_MAX}" in text
    assert strict_json.PAYLOAD_MAX == 2**20
    assert "1 MiB" in text
    assert phone_samples.SWITCH_NS == 5 * 10**9
    assert imu.SAMPLES_MAX == imu.BOUNDS[1] == 1000
