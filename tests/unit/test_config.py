"""The configuration says in one line what is wrong with it."""

from functools import partial
from pathlib import Path

import pytest

from fusion.athletes import Athletes, Profile
from fusion.state import ZONES_MAX
from server.config import Config, load
from server.errors import ConfigError, FileError


def written(folder: Path, text: str) -> Path:
    path = folder / "kinefuse.toml"
    path.write_text(text)
    return path


def test_no_file_and_no_environment_is_a_configuration_that_works() -> None:
    config = load(None, {})
    assert config == Config()
    assert (config.broker.host, config.broker.port, config.broker.root) == ("127.0.0.1", 1883, "kinefuse/v1")
    assert config.enrolls
    assert not config.broker.is_external
    assert config.deadlines.end_to_end_ms == 50.0


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    path = written(tmp_path, "[broker]\nport = 1884\nroot = 'gym'\n")
    environ = {"KINEFUSE_BROKER_PORT": "1885", "KINEFUSE_DEADLINES_FUSE_MS": "7.5"}
    assert load(path, {}).broker.port == 1884
    assert load(path, environ).broker.port == 1885
    config = load(path, environ, port=1886)
    assert (config.broker.port, config.broker.root, config.deadlines.fuse_ms) == (1886, "gym", 7.5)


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[broker]\nport = 1884\n")
    assert load(None, {"KINEFUSE_CONFIG": str(path)}).broker.port == 1884


def test_athletes_have_devices_and_placements(tmp_path: Path) -> None:
    text = """
        [[athletes]]
        id = "ada"
        name = "Ada Løve"
        mass_kg = 61.5
        birth_year = 1990
        sex = "female"
        max_bpm = 188
        zones = [0.6, 0.7, 0.8, 0.9, 1.0]
        [[athletes.devices]]
        id = "wrist-1"
        placement = "wrist"
    """
    (ada,) = load(written(tmp_path, text), {}).athletes
    assert (ada.name, ada.mass_kg, ada.resting_bpm) == ("Ada Løve", 61.5, 60.0)
    assert [(device.id, device.placement) for device in ada.devices] == [("wrist-1", "wrist")]


def test_unknown_devices_are_enrolled_on_loopback_only_unless_told() -> None:
    remote = {"KINEFUSE_BROKER_HOST": "broker.example"}
    assert not load(None, remote).enrolls
    assert load(None, remote).broker.is_external
    assert load(None, {**remote, "KINEFUSE_SERVER_ENROLL": "auto"}).enrolls
    assert not load(None, {"KINEFUSE_SERVER_ENROLL": "known"}).enrolls
    assert load(None, {"KINEFUSE_BROKER_HOST": "::1"}).enrolls


def test_a_wrong_value_of_the_file_is_refused_also_where_a_later_one_wins(tmp_path: Path) -> None:
    path = written(tmp_path, "[broker]\nport = 0\n")
    environ = {"KINEFUSE_BROKER_PORT": "1884"}
    for given in (partial(load, path, {}, port=1884), partial(load, path, environ)):
        with pytest.raises(ConfigError, match=r"broker\.port: is 0, allowed: an integer from 1 to 65535"):
            given()


def test_a_file_s_name_breaks_no_line_and_steers_no_terminal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "a\nb\x1b[31m.toml", {})
    assert str(refused.value).isprintable()
    assert r"a\nb\x1b[31m.toml" in str(refused.value)
    assert str(FileError("a\nb", "no such file")) == r"a\nb: no such file"


REFUSED = [
    ("[broker]\nwebsocket_port = 1883", "broker: websocket_port is 1883, and so is port"),
    ("[broker]\nport = 70000", "broker.port: is 70000, allowed: an integer from 1 to 65535"),
    ("[broker]\nport = '1883'", 'broker.port: is "1883", allowed: an integer from 1 to 65535'),
    ("[broker]\nprot = 1", "broker.prot: is no known key; did you mean"),
    ("[brokers]\nport = 1", "brokers: is no known key; did you mean broker"),
    ("broker = 3", "broker: is 3, allowed: a table with host, port"),
    ("[broker]\nhost = '10.0.0.1'\nexternal = false", "broker: host is"),
    ("[broker]\nroot = 'a/#'", "broker.root: is"),
    ("[broker]\ntls = true", "broker: tls needs external"),
    ("[server]\nenroll = 'yes'", 'server.enroll: is "yes", allowed: auto, known'),
    ("[deadlines]\nfuse_ms = inf", 'deadlines.fuse_ms: is "inf", allowed: a number from 0.001 to 60000'),
    ("[deadlines]\nfuse_ms = nan", 'deadlines.fuse_ms: is "nan"'),
    ("[[athletes]]\nname = 'x'", "athletes[0].id: is required"),
    ("[[athletes]]\nid = 'a'\n[[athletes]]\nid = 'b'\nmass_kg = 5", "athletes[1].mass_kg: is 5"),
    ("[[athletes]]\nid = 'a'\n[[athletes.devices]]\nid = 'x y'", "athletes[0].devices[0].id: is"),
    ('[[athletes]]\nid = "a\\n"', "athletes[0].id: is"),
    ("[[athletes]]\nid = 'a'\nzones = [0.6, 0.5]", "athletes[0]: zones do not ascend"),
    (
        "[[athletes]]\nid = 'a'\nbirth_year = 99",
        "athletes[0]: birth_year is 99, allowed: 0 (unknown) or 1900",
    ),
    ("[[athletes]]\nid = 'a'\nmax_bpm = 50", "athletes[0]: max_bpm is 50, allowed: 0 (unknown) or 100"),
    ("[[athletes]]\nid = 'a'\n[[athletes]]\nid = 'a'", 'athletes[1].id: "a" is already athletes[0]'),
    (
        "[[athletes]]\nid='a'\ndevices=[{id='d'}]\n[[athletes]]\nid='b'\ndevices=[{id='d'}]",
        'athletes[1].devices[0].id: "d" already belongs to "a"',
    ),
    ("port ==", "is not TOML: "),
    ("a = " + "[" * 5_000, "is not TOML: "),
    ("\udcff", "is not TOML: "),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_refusal_is_one_line_with_the_key_and_the_range(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "kinefuse.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"KINEFUSE_BROKER_PORT": "x"}, 'KINEFUSE_BROKER_PORT: is "x", allowed: an integer from 1 to 65535'),
        (
            {"KINEFUSE_BROKR_PORT": "1"},
            "KINEFUSE_BROKR_PORT: is no known setting; did you mean KINEFUSE_BROKER_",
        ),
        ({"KINEFUSE_BROKER_PASSWORD": "s" * 300}, "KINEFUSE_BROKER_PASSWORD: is hidden, allowed"),
        ({"KINEFUSE_CONFIG": "/does/not/exist"}, "/does/not/exist: cannot be read: No such file"),
    ],
)
def test_the_environment_is_refused_by_the_name_of_its_variable(
    environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    assert str(caught.value).startswith(message)


def test_the_command_line_is_refused_by_the_name_of_its_option() -> None:
    with pytest.raises(ConfigError, match=r"^--port: is 0, allowed: an integer from 1 to 65535$"):
        load(None, {}, port=0)


def test_no_error_and_no_repr_shows_a_password(tmp_path: Path) -> None:
    path = written(tmp_path, "[broker]\nusername = 'ada'\npassword = 'sesame'\n")
    assert "sesame" not in repr(load(path, {}))
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, "[broker]\npassword = 'sesame'\nport = 0\n"), {})
    assert "sesame" not in str(caught.value)


def test_as_many_zones_are_allowed_as_the_table_of_athletes_holds(tmp_path: Path) -> None:
    bounds = [round(0.5 + 0.05 * i, 2) for i in range(ZONES_MAX + 1)]
    most = written(tmp_path, f"[[athletes]]\nid = 'a'\nzones = {bounds[:-1]}\n")
    zones = load(most, {}).athletes[0].zones
    table = Athletes()
    row = table.add(Profile(zones=tuple(zones)))
    assert list(table.state["zones"][row]) == zones
    with pytest.raises(ConfigError, match="zones"):
        load(written(tmp_path, f"[[athletes]]\nid = 'a'\nzones = {bounds}\n"), {})
