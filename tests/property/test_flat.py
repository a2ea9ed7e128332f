"""Plain messages read in columns are what the full codec makes of them one by one, and measure the same."""

import json
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion._core import lib
from fusion.timebase import TimeBase
from server import conversion
from server.batch import Batch
from server.beats import Beats
from server.codecs import flat, samples
from server.deadlines.kinds import stream_of
from server.envelopes import Chunk
from server.errors import DecodeError
from server.messages import HeartRate, Packet
from server.registry import STEP_RANK, Athlete, Device
from server.schedule import NONE, Item, Schedule
from server.seen import Seen
from server.stretch import Stretch
from tests.support.conversion_twin import Conversion
from tests.support.scheduled import item_of

Took = tuple[int, Item | None] | None  # the stream and what was measured; None: it was refused

NAMES = {
    kind: name for name, struct in samples.LISTED.items() for kind, of in flat.STRUCTS.items() if of is struct
}
LIMITS = [0, 1, -1, 90, -90, 180, 300, 360, 400, 1000, 5000, 1e5, 2e5, 1e-300, -0.0, 2**53, 2**53 + 1]

numbers: st.SearchStrategy[Any] = st.one_of(
    st.floats(0, 400).map(lambda x: round(x, 2)),
    st.floats(-90, 400),
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

straps: st.SearchStrategy[bytes] = st.builds(
    lambda rr_ms, t_ns: json.dumps({"rr_ms": rr_ms} | ({} if t_ns is None else {"t": t_ns})).encode(),
    st.lists(st.integers(400, 900), min_size=1, max_size=8),
    st.one_of(st.none(), st.integers(0, 4).map(lambda s: s * 10**9)),
)  # enough of what hearts do for their beats to be judged


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
    values = st.one_of(st.integers(1, 2_000).map(lambda n: n / 100), st.floats(0.01, 20))
    told: dict[str, Any] = {
        name: data.draw(st.floats(1_000, 200_000) if name == "pressure_pa" else values)
        for name in flat.fields(struct)
        if name not in ("contact", "optical")
    }
    if struct is HeartRate:
        told["rr_ms"] = data.draw(st.lists(values.map(lambda value: value + 300), max_size=8))
    packet: Packet = msgspec.convert(told | {"t": 1_790_000_000_123_456_789, "seq": 7}, struct)
    assert read(kind, samples.encode(packet))["plain"]


class Taking:
    """Two devices, what was seen of them and of the beats that they told."""

    def __init__(self, placement: Any) -> None:
        self.schedule = Schedule(TimeBase())
        self.devices = []
        for row in range(2):
            athlete = Athlete(f"a{row}", row + 5, "")
            self.schedule.add_device(row, athlete.row, STEP_RANK[placement], row + 7)
            self.devices.append(Device(f"d{row}", row, row + 7, athlete, placement, self.schedule))
        self.seen, self.beats, self.twin = Seen(self.schedule, 2), Beats(self.schedule, 2), Conversion()
        for row in range(2):
            self.seen.give(row)

    def one(self, row: int, kind: int, packet: Packet, arrived_ns: int) -> Took:
        """Take a message as `server.ingest` takes one that it looks at."""
        if not self.seen.admits(row, arrived_ns):
            return None
        assert not isinstance(packet.t, str)
        if self.seen.saw(row, kind, packet.t, packet.boot, packet.seq):
            return None
        return stream_of(packet), conversion.measurement(packet, self.devices[row], self.beats)

    def by_twin(self, row: int, kind: int, packet: Packet, arrived_ns: int) -> Took:
        """Take a message as `one` does, and have the twin tell what it measured."""
        took = self.one(row, kind, packet, arrived_ns)
        if took is None:
            return None
        told = self.twin.measurement(packet, self.devices[row])
        return took[0], None if told is None else item_of(told.kind, told.record)

    def together(self, told: list[tuple[int, int, bytes]], arrived_ns: int) -> list[Took]:
        """Take messages in columns."""
        data, frames = b"".join(payload for _, _, payload in told), np.zeros(len(told), flat.FRAME)
        frames["device"], frames["kind"] = [row for row, _, _ in told], [kind for _, kind, _ in told]
        frames["payload_length"] = lengths = [len(payload) for _, _, payload in told]
        frames["payload"] = np.cumsum([0, *lengths])[:-1]
        stretch, batch = Stretch([Chunk(data, frames, arrived_ns, 3)]), Batch()
        assert not len(stretch.look(self.schedule.links))
        refused = batch.add_frames(stretch, 0, len(told), 10, self.schedule.links, self.seen, self.beats)
        packed = batch.pack()
        assert len(packed.events) + len(refused) == len(told)
        assert np.array_equal(
            packed.events["index"][packed.events["index"] != NONE], range(len(packed.records))
        )
        found: list[Took] = [None for _ in told]
        for event in packed.events:
            place = int(event["message"]) - 10
            row, said = told[place][0], stretch.messages[place]
            assert (event["device"], event["athlete"]) == (row, row + 5)
            assert (event["t_ns"], event["boot"], event["seq"]) == (said["t_ns"], said["boot"], said["seq"])
            assert (event["arrived_ns"], event["received_ns"]) == (arrived_ns, 3)
            record = None if event["index"] == NONE else packed.records[event["index"]].tobytes()
            item = None if record is None else Item(int(event["measures"]), record)
            found[place] = int(event["stream"]), item
        return found


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(sorted(STEP_RANK)))
def test_messages_measure_the_same_one_by_one_and_in_columns(data: st.DataObject, placement: Any) -> None:
    one, other = Taking(placement), Taking(placement)
    for turn in range(data.draw(st.integers(1, 6))):
        told: list[tuple[int, int, bytes]] = []
        for _ in range(data.draw(st.integers(1, 12))):
            kind = data.draw(st.sampled_from([lib.KF_TOPIC_HR, lib.KF_TOPIC_HR, *sorted(flat.STRUCTS)]))
            payload = data.draw(
                st.one_of(payloads(kind), straps) if kind == lib.KF_TOPIC_HR else payloads(kind)
            )
            if read(kind, payload)["plain"]:
                told.append((data.draw(st.integers(0, 1)), kind, payload))
        packets = [(row, kind, full(kind, payload)) for row, kind, payload in told]
        expected = [
            one.by_twin(row, kind, packet, turn) for row, kind, packet in packets if packet is not None
        ]
        if data.draw(st.booleans()):
            found = other.together(told, turn)
        else:
            found = [
                other.one(row, kind, packet, turn) for row, kind, packet in packets if packet is not None
            ]
        assert found == expected
    rows = np.arange(2)
    twins = [one.twin.cleaners[row].found if row in one.twin.cleaners else {} for row in range(2)]
    assert one.beats.found(rows) == other.beats.found(rows) == twins
