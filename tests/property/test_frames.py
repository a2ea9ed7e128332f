"""The bounded reader finds in any bytes, cut anywhere, what paho's own parser finds in them."""

import asyncio
import contextlib
import select
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from server import frames, reader
from server.envelopes import Chunk, Incoming
from server.frames import Splitter, Topics
from tests.support import frames as by_hand
from tests.support.clocks import ManualClock

PAYLOAD_MAX = 300

topics = st.text(st.characters(codec="utf-8", exclude_characters="\0+#"), min_size=1, max_size=20)
payloads = st.one_of(st.binary(max_size=200), st.integers(0, 700).map(lambda n: b"\xa5" * n))
numbers = st.integers(1, 65_535)
published = st.builds(
    lambda topic, payload, flags, number: by_hand.publish(topic, payload, flags=flags, packet_id=number),
    topics,
    payloads,
    st.sampled_from([0, 1, 2, 3, 4, 5, 8, 10, 12]),
    numbers,
)
codes = st.lists(st.sampled_from([0, 1, 2, 128]), min_size=1, max_size=300)
controls = st.one_of(
    st.builds(lambda n, found: by_hand._frame(0x90, n.to_bytes(2, "big") + bytes(found)), numbers, codes),
    st.builds(
        lambda kind, n: by_hand._frame(kind, n.to_bytes(2, "big")),
        st.sampled_from([0x40, 0x62, 0xB0]),
        numbers,
    ),
    st.just(by_hand._frame(0xD0, b"")),
)
streams = st.lists(st.one_of(published, published, controls), max_size=25)
malformed = [
    bytes((0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01)),
    by_hand._frame(0x30, b"\x00\x00x"),
    by_hand._frame(0x30, b"\x00\x09x"),
    by_hand._frame(0x30, b"\x00"),
    by_hand._frame(0x36, b"\x00\x01x\x00\x01"),
    by_hand._frame(0x32, b"\x00\x01x\x00"),
    bytes((0xF0, 0)),
    by_hand._frame(0x80, b"\x00\x01"),
]


class Heard(NamedTuple):
    """What came out at the end."""

    messages: list[tuple[str, bytes, bool]]  # of QoS 0 and 1
    late: list[tuple[str, bytes, bool]]  # of QoS 2, once they are released
    handled: list[tuple[int, bytes]]  # by paho: all but PUBLISH of QoS 0 and 1
    is_open: bool


@contextlib.contextmanager
def connected() -> Iterator[tuple[paho.Client, socket.socket, Heard]]:
    """A paho client over a pair of sockets, its far end, and what it will have heard."""
    far, near = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    heard = Heard([], [], [], True)
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client._sock = near
    handle = client._packet_handle

    def handled() -> Any:
        command = client._in_packet["command"]
        if command & 0xF0 != 0x30 or command & 6 == 4:
            heard.handled.append((command, bytes(client._in_packet["packet"])))
        return handle()

    def message(_client: Any, _userdata: Any, found: paho.MQTTMessage) -> None:
        (heard.late if found.qos == 2 else heard.messages).append(
            (found.topic, bytes(found.payload), found.retain)
        )

    vars(client)["_packet_handle"] = handled
    client.on_message = message
    try:
        yield client, far, heard
    finally:
        client._sock = None
        near.close()
        far.close()


def by_paho(stream: bytes) -> Heard:
    with connected() as (client, far, heard):
        far.sendall(stream)
        for _ in range(2 * len(stream) + 2):
            if client.socket() is None:
                break
            client.loop_read()
        return heard._replace(is_open=client.socket() is not None)


async def by_reader(
    pieces: list[bytes], payload_max: int = 2**20, frames_max: int = 4096
) -> tuple[Heard, int]:
    """Let a reader read pieces, each as it is sent; also return how many messages it refused."""
    refused: list[int] = []
    failed: list[Exception] = []
    chunks: list[Chunk] = []
    with connected() as (client, far, heard):
        splitter = Splitter(Topics(), payload_max, frames_max)
        bounded = reader.Reader(
            client, splitter, ManualClock(), 0, take=chunks.append, refuse=refused.append, fail=failed.append
        )
        client.on_socket_close = lambda *_: bounded.close()
        bounded.open(client.socket())
        for piece in pieces:
            if client.socket() is None:
                break
            far.sendall(piece)
            while (near := client.socket()) is not None and select.select([near], [], [], 0)[0]:
                bounded._wake()
            assert bounded._held <= len(bounded._buffer)
        is_open = client.socket() is not None
        bounded.close()
    assert not failed
    for chunk in chunks:
        assert 0 < len(chunk.frames) <= frames_max
        heard.messages.extend(each[:3] for each in chunk.messages())
    return heard._replace(is_open=is_open), len(refused)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(stream) + 1) for place in places} | {len(stream)})
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]


places = st.lists(st.integers(0, 10_000), max_size=30)


@given(streams, places, st.integers(16, 400), st.integers(1, 5))
def test_any_frames_cut_anywhere_give_the_same_as_paho(
    stream: list[bytes], where: list[int], read_max: int, frames_max: int
) -> None:
    joined = b"".join(stream)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "READ_BYTES_MAX", read_max)
        heard, refused = asyncio.run(by_reader(cut(joined, where), frames_max=frames_max))
    assert heard == by_paho(joined)
    assert heard.is_open
    assert refused == 0


@given(streams, places)
def test_what_is_too_large_is_skipped_and_counted_and_harms_nothing_else(
    stream: list[bytes], where: list[int]
) -> None:
    stream = [frame for frame in stream if frame[0] & 0xF6 != 0x34]  # QoS 2 would wait for its release
    joined = b"".join(stream)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "READ_BYTES_MAX", 64)
        heard, refused = asyncio.run(by_reader(cut(joined, where), payload_max=PAYLOAD_MAX))
    wanted = by_paho(joined)
    fitting = [each for each in wanted.messages if len(each[1]) <= PAYLOAD_MAX]
    assert heard == wanted._replace(messages=fitting)
    assert refused == len(wanted.messages) - len(fitting)


@pytest.mark.parametrize("bad", malformed, ids=bytes.hex)
@given(stream=streams, where=places)
def test_what_is_malformed_ends_the_connection_after_what_stands_before_it(
    bad: bytes, stream: list[bytes], where: list[int]
) -> None:
    joined = b"".join([*stream, bad])
    heard, _ = asyncio.run(by_reader(cut(joined, where)))
    wanted = by_paho(joined)
    assert not heard.is_open
    assert not wanted.is_open
    assert heard.messages == wanted.messages
    assert heard.late == wanted.late


@given(st.binary(max_size=200), places)
def test_no_bytes_break_the_reader(noise: bytes, where: list[int]) -> None:
    asyncio.run(by_reader(cut(noise, where)))


ids = st.text("ab-_0Z", min_size=1, max_size=64)


@given(st.lists(st.tuples(ids, st.one_of(st.none(), st.integers(0, 2**32 - 2))), max_size=300))
def test_the_table_of_topics_is_a_dict(script: list[tuple[str, int | None]]) -> None:
    table, plain = Topics("in/"), dict[str, int]()
    for device, row in script:
        if row is None:
            table.remove(device)
            plain.pop(device, None)
        else:
            table.put(device, row)
            plain[device] = row
        assert table.find(device) == plain.get(device)
        assert len(table) == len(plain)
    stream = b"".join(by_hand.publish(f"in/{device}/imu", b"x") for device in plain)
    found = Splitter(table, 100).split(stream, 0, len(stream))
    assert found.frames["device"].tolist() == list(plain.values())


@pytest.mark.parametrize(("device", "row"), [("", 1), ("x" * 65, 1), ("a", -1), ("a", 2**32 - 1)])
def test_what_is_no_id_or_no_row_is_refused(device: str, row: int) -> None:
    with pytest.raises(ValueError, match=r"no row|bytes"):
        Topics().put(device, row)
    assert len(Topics()) == 0


@given(topics, st.integers(0, 40_000), st.booleans())
def test_a_publication_is_written_as_paho_writes_it(topic: str, size: int, retain: bool) -> None:
    payload = b"p" * size
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client._sock = socket.socket()
    client.on_socket_register_write = lambda *_: None
    client.publish(topic, payload, 0, retain)
    client._sock.close()
    client._sock = None
    assert frames.publish([(topic, payload, retain)]) == client._out_packet[0]["packet"]


@pytest.mark.parametrize("topic", ["", "a/+/b", "a/#", "x" * 65_536])
def test_what_is_no_topic_is_not_written(topic: str) -> None:
    with pytest.raises(ValueError, match="cannot be published"):
        frames.publish([(topic, b"", False)])


def test_confirmations_are_one_frame_for_each_packet_of_qos_1() -> None:
    stream = b"".join(
        by_hand.publish("t", b"x", flags=flags, packet_id=number)
        for number, flags in [(1, 2), (2, 0), (65_535, 10), (258, 3)]
    )
    split = Splitter(Topics(), 100).split(stream, 0, len(stream))
    assert frames.pubacks(frames.packet_ids([split.frames])) == b"".join(
        map(by_hand.puback, (1, 65_535, 258))
    )
    assert frames.pubacks(frames.packet_ids([])) == b""
    assert split.frames.dtype == frames.FRAME
    assert np.all(split.frames["device"] == frames.NO_DEVICE)


def test_a_topic_that_is_no_text_is_a_topic_of_nobody() -> None:
    frame = by_hand._frame(0x30, b"\x00\x02\xff\xfe" + b"x")
    split = Splitter(Topics(), 100).split(frame, 0, len(frame))
    (message,) = Chunk(frame, split.frames, 1, 2).messages()
    assert message == Incoming("��", b"x", False, 1, 2)
