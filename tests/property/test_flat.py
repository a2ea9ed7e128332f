"""Plain messages read in columns are what the full codec makes of them one by one, and measure the same."""

import json
from typing import Any

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fusion._core import lib
from server import conversion
from server.codecs import flat, samples
from server.deadlines.kinds import stream_of, streams_of
from server.errors import DecodeError
from server.messages import HeartRate, Packet
from server.registry import STEP_RANK
from server.schedule import LINK
from tests.support.scheduled import OneLane

NAMES = {
    kind: name for name, struct in samples.LISTED.items() for kind, of in flat.STRUCTS.items() if of is struct
}
LIMITS = [0, 1, -1, 90, -90, 180, 300, 360, 400, 1000, 5000, 1e5, 2e5, 1e-300, -0.0, 2**53, 2**53 + 1]

numbers: st.SearchStrategy[Any] = st.one_of(
    st.floats(0, 400).map(lambda x: round(x, 2)),
    st.integers(-5, 500),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(LIMITS),
    st.none(),
    st.booleans(),
)
stamps: st.SearchStrategy[Any] = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.sampled_from([None, 2**63, "007", "-", "1e3", 1.0, 2**70, str(2**63), "٣"]),
)
counters: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 2**32 - 1), st.sampled_from([None, -1, 2**32, 1.0, 0.5, "1", True])
)


intervals: st.SearchStrategy[Any] = st.one_of(
    st.floats(300, 1500).map(lambda x: round(x, 1)),
    st.integers(300, 1500),
    st.sampled_from([0, 10_000.5, None]),
)


@st.composite
def payloads(draw: st.DrawFn, kind: int) -> bytes:
    """A message of a kind, right or nearly, as somebody might write it."""
    required = [each.encode_name for each in msgspec.structs.fields(flat.STRUCTS[kind]) if each.required]
    told = draw(st.dictionaries(st.sampled_from([*flat.fields(flat.STRUCTS[kind])]), numbers))
    told |= {name: draw(numbers) for name in required}
    told |= draw(st.fixed_dictionaries({}, optional={"t": stamps, "boot": counters, "seq": counters}))
    if kind == lib.KF_TOPIC_HR and draw(st.booleans()):
        told["rr_ms"] = draw(st.one_of(st.lists(intervals, max_size=9), numbers))
    text = json.dumps(dict(draw(st.permutations(sorted(told.items())))), allow_nan=False)
    text = draw(st.sampled_from([text, text.replace(" ", ""), f" \n{text}\t", text.replace("e", "E")]))
    cut = draw(st.one_of(st.just(len(text)), st.integers(0, len(text))))
    return (text[:cut] + draw(st.sampled_from(["", "", "", ",", "x"]))).encode()


def read(kind: int, payload: bytes) -> np.void:
    frames = np.zeros(1, flat.FRAME)
    frames["payload_length"], frames["kind"] = len(payload), kind
    (found,) = flat.read(payload, frames)
    return found  # type: ignore[no-any-return]


def full(kind: int, payload: bytes) -> Packet | None:
    try:
        (packet,) = samples.decode(NAMES[kind], payload).packets
    except DecodeError:
        return None
    return packet  # type: ignore[return-value]


def column(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def same(one: float, other: float) -> bool:
    return np.float64(one).tobytes() == np.float64(other).tobytes()


@given(st.data())
def test_what_is_plain_is_what_the_full_codec_reads(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(flat.STRUCTS)))
    payload = data.draw(payloads(kind))
    found = read(kind, payload)
    if not found["plain"]:
        return
    packet = full(kind, payload)
    assert packet is not None
    for name, place in flat.fields(flat.STRUCTS[kind]).items():
        assert same(found["values"][place], column(getattr(packet, name))), name
    intervals_ms = found["list"][: found["list_count"]].tolist()
    assert intervals_ms == list(getattr(packet, "rr_ms", []))
    for name, bit in (("t", flat.TIMED), ("boot", flat.BOOT), ("seq", 4)):
        value = getattr(packet, name)
        assert bool(found["told"] & bit) == (value is not None)
        assert int(found["t_ns" if name == "t" else name]) == (value or 0)


@given(st.data())
def test_what_devices_send_is_plain(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(flat.STRUCTS)))
    struct = flat.STRUCTS[kind]
    hundredths = st.integers(1, 15_000).map(lambda n: n / 100)
    told: dict[str, Any] = {
        name: data.draw(st.integers(1_000, 200_000) if name == "pressure_pa" else hundredths)
        for name in flat.fields(struct)
        if name not in ("contact", "optical")
    }
    told = {name: min(value, 20) if name != "pressure_pa" else value for name, value in told.items()}
    if struct is HeartRate:
        told["rr_ms"] = data.draw(st.lists(hundredths.map(lambda x: x + 300), max_size=8))
    packet: Packet = msgspec.convert(told | {"t": 1_790_000_000_123_456_789, "seq": 7}, struct)
    assert read(kind, samples.encode(packet))["plain"]


@given(st.data(), st.sampled_from(sorted(STEP_RANK)))
def test_plain_messages_measure_what_they_do_one_by_one(data: st.DataObject, placement: Any) -> None:
    kind = data.draw(st.sampled_from(sorted(flat.STRUCTS)))
    payload = data.draw(payloads(kind))
    found, packet = read(kind, payload), full(kind, payload)
    if not found["plain"] or packet is None:
        return
    one, other = (OneLane().device for _ in range(2))
    one.placement = other.placement = placement
    messages, links = found.reshape(1), np.zeros(1, LINK)
    links["athlete"], links["number"] = other.athlete.row, other.number
    links["rank"] = STEP_RANK[placement]
    item = conversion.measurement(packet, one)
    measured = conversion.measured(kind, messages, np.zeros(1, np.intp), links, [other])
    assert bool(measured.holds[0]) == (item is not None)
    if item is not None:
        assert measured.place == item.kind
        expected = np.array([item.record], measured.records.dtype)
        assert all(
            measured.records[name].tobytes() == expected[name].tobytes()
            for name in expected.dtype.names or ()
        )
    assert streams_of(kind, messages).tolist() == [stream_of(packet)]
