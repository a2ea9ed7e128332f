"""The native JSON messages."""

import pytest

from server.codecs import samples
from server.codecs.strict_json import PAYLOAD_MAX, time_ns
from server.errors import DecodeError
from server.messages import Birth, Command, Death, HeartRate


def reason_of(kind: str, payload: bytes) -> str:
    with pytest.raises(DecodeError) as error:
        samples.decode(kind, payload)
    return error.value.reason


def test_nanoseconds_are_exact_as_integer_and_as_decimal_string() -> None:
    for text in (b"1764585664362463201", b'"1764585664362463201"'):
        assert samples.decode("hr", b'{"t":%b,"bpm":60}' % text).packets == [
            HeartRate(t=1764585664362463201, bpm=60.0)
        ]


@pytest.mark.parametrize(
    "text", [b"1.7e18", b"1764585664362463201.0", b"true", b"[]", b'"1.7e18"', b'"12\\n"']
)
def test_a_stamp_that_is_no_integer_is_refused(text: bytes) -> None:
    assert reason_of("hr", b'{"t":%b}' % text) == "schema"


def test_the_ends_of_int64_are_the_ends_of_time() -> None:
    assert time_ns("-9223372036854775808") == -(2**63)
    assert time_ns(2**63 - 1) == 2**63 - 1
    assert time_ns(None) is None
    for beyond in ("9223372036854775808", "-9223372036854775809", "9" * 30, "", "-", "\u0663", 2**63):
        with pytest.raises(DecodeError, match="time"):
            time_ns(beyond)
    assert reason_of("baro", b'{"t":"9999999999999999999","pressure_pa":100000}') == "time"


def test_good_neighbours_of_a_bad_element_are_kept() -> None:
    payload = (
        b' [{"bpm":61},{"bpm":-1},{"t":"9999999999999999999"},3,[],{"bpm":"62"},{"bpm":63,"x":1},{"bpm":64}]'
    )
    packets, refused = samples.decode("hr", payload)
    assert packets == [HeartRate(bpm=61.0), HeartRate(bpm=64.0)]
    assert refused == ["schema", "time", "schema", "schema", "schema", "schema"]


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        ("hr", b"", "json"),
        ("hr", b"{", "json"),
        ("hr", b'{"bpm":NaN}', "json"),
        ("hr", b'{"bpm":Infinity}', "json"),
        ("hr", b'{"bpm":1e999}', "schema"),
        ("hr", b'{"t":"\xff"}', "json"),
        ("hr", b"[{},", "json"),
        ("hr", b'{"t":' + b"9" * 10_000 + b"}", "schema"),
        ("hr", b" " * (PAYLOAD_MAX + 1), "too_large"),
        ("hr", b"[" + b"{}," * 1000 + b"{}]", "too_many"),
        ("hr", b"[" * 100_000, "too_deep"),
        ("status", b"[]", "schema"),
        ("status", b'{"state":"away"}', "schema"),
        ("status", b'{"state":"online","placement":"tail"}', "schema"),
        ("command", b'{"action":"start"}', "schema"),
        ("command", b'{"action":"start","id":"a/b"}', "schema"),
        ("command", b'{"action":"start","id":"a","expires":"9999999999999999999"}', "time"),
        ("gnss", b'{"lat":91,"lon":0}', "schema"),
        ("pong", b"{}", "schema"),
        ("ecg", b"{}", "kind"),
    ],
)
def test_every_fault_has_its_reason(kind: str, payload: bytes, reason: str) -> None:
    assert reason_of(kind, payload) == reason


def test_the_fault_is_located_where_the_parser_tells() -> None:
    with pytest.raises(DecodeError) as error:
        samples.decode("hr", b'{"bpm":@}')
    assert error.value.offset == 7


def test_birth_and_death_share_a_topic() -> None:
    birth = Birth(model="H10", placement="chest", t=5)
    assert samples.decode("status", samples.encode(birth)).packets == [birth]
    assert samples.decode("status", b'{"state":"offline"}').packets == [Death()]


def test_a_command_is_read_by_itself() -> None:
    command = samples.decode_command(b'{"action":"lap","id":"9","t":"12"}')
    assert command == Command(action="lap", id="9", t=12)
