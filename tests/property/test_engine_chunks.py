"""The engine publishes the same whether messages come one by one or as frames of chunks, cut anywhere."""

from functools import cache

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from server.clock import SystemClock
from server.codecs import samples
from server.engine import Engine
from server.envelopes import Chunk, Incoming
from server.frames import PAYLOAD_BYTES_MAX, Splitter, publish
from server.messages import Birth, Clock, Command
from simulators.rehearsal import START_NS, cast, config

SECONDS = 6
ROOT = "kinefuse/v1"
S = 1_000_000_000


@cache
def messages() -> tuple[Incoming, ...]:
    """Two live athletes; the straps of one are born in the middle, and once as a recording."""
    runner, walker = cast("demo")[:2]
    out: list[tuple[float, str, bytes]] = []
    for athlete in (runner, walker):
        for device in athlete.devices:
            out += [
                (message.due_s, message.topic, message.payload)
                for second in range(SECONDS)
                for message in device.second(second)
            ]
    strap = walker.devices[0].id
    heart = next(topic for _, topic, _ in out if topic.endswith("/hr")).split("/")[1]
    imu = next(topic for _, topic, _ in out if topic.endswith("/imu"))
    beat = {"t": START_NS + 4_000_000_000, "bpm": 61.5, "seq": 900, "boot": 1}
    plain, spread = msgspec.json.encode(beat), msgspec.json.encode([beat, beat | {"seq": 901}])
    out += [
        # Of one strap: twice the same, in a list with another one, of no sense, and of no use.
        *((4.5 + 0.02 * n, f"in/{heart}/hr", each) for n, each in enumerate([plain, plain, spread, plain])),
        (4.6, f"in/{heart}/hr", b'{"bpm":1e400}'),
        (4.61, f"in/{heart}/hr", b'{"bpm":61,"contact":false}'),
        (4.62, f"in/{heart}/hr", b'{"t":4,"bpm":61}'),
        (2.51, f"in/{strap}/status", samples.encode(Birth(placement="hip"))),
        (3.01, imu, b"K nonsense"),
        (3.52, f"in/{strap}/status", samples.encode(Birth(clock=Clock(recorded=True)))),
        (4.03, f"in/{strap}/status", samples.encode(Birth())),
        (4.31, f"command/{runner.id}", samples.encode(Command("lap", "lap"))),
    ]
    out.sort(key=lambda each: each[0])
    times = [START_NS + round(due_s * 1e9) for due_s, _, _ in out]
    return tuple(
        Incoming(f"{ROOT}/{topic}", payload, False, t_ns, t_ns - START_NS)
        for t_ns, (_, topic, payload) in zip(times, out, strict=True)
    )


def told(engine: Engine, ticks: list[list[Incoming | Chunk]], times: list[int]) -> list[tuple[str, bytes]]:
    found = []
    for arrivals, utc_ns in zip(ticks, times, strict=True):
        out = engine.advance(arrivals, utc_ns)
        while engine.behind:
            out += engine.advance([], utc_ns)
        found += [(each.topic, each.payload) for each in out]
    return found


def chunk_of(engine: Engine, part: list[Incoming]) -> Chunk:
    """Return messages as one read gives them: they have one time of arrival."""
    data = publish((each.topic, each.payload, False) for each in part)
    split = Splitter(engine.topics, PAYLOAD_BYTES_MAX).split(data, 0, len(data))
    assert split.consumed == len(data)
    return Chunk(data, split.frames, part[-1].arrived_ns, part[-1].received_ns)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(1, len(messages()) - 1), max_size=60).map(lambda cuts: sorted(set(cuts))),
    st.integers(1, 4),
)
def test_chunks_are_as_their_messages(cuts: list[int], several: int) -> None:
    whole = messages()
    parts = [list(whole[a:b]) for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    one, other = (Engine(config("demo"), SystemClock().monotonic_ns) for _ in range(2))
    for part in parts:
        size = -(-len(part) // several)
        reads = [part[at : at + size] for at in range(0, len(part), size)]
        single: list[Incoming | Chunk] = [
            each._replace(arrived_ns=read[-1].arrived_ns, received_ns=read[-1].received_ns)
            for read in reads
            for each in read
        ]
        expected = told(one, [single], [part[-1].arrived_ns])
        chunks: list[Incoming | Chunk] = [chunk_of(other, read) for read in reads]
        assert told(other, [chunks], [part[-1].arrived_ns]) == expected
    assert other.ingest.refused == one.ingest.refused
    assert {d.id: dict(d.refused) for d in other.registry.device_rows} == {
        d.id: dict(d.refused) for d in one.registry.device_rows
    }
    assert len(other.topics) == 4
