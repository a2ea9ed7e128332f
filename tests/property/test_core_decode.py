"""The core's decoder and its readable twin give one answer to every payload."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from fusion._core import lib
from fusion.core import STATUS_NAMES
from server.codecs import imu
from server.errors import DecodeError
from tests.support.motion import answers

EDGES = st.sampled_from([0, 1, 2, 6, 9, 0x4B, 255])


@st.composite
def nearly_good(draw: st.DrawFn) -> bytes:
    """Return a packet whose every field is right most of the time."""
    columns = draw(st.sampled_from([6, 9, 9, 6, 7]))
    count = draw(st.sampled_from([1, 2, 10, 0, 1001]))
    t0_ns = draw(st.sampled_from([0, 10**9, 2**63 - 1, 2**63, 2**64 - 1, 2**63 - 10**7]))
    scales = draw(
        st.lists(
            st.sampled_from([0.01, 0.001, 0.03, 1.0, 1e38, 0.0, -1.0, float("inf"), float("nan"), 1e-45]),
            min_size=3,
            max_size=3,
        )
    )
    head = struct.pack(
        "<4B I Q I I 2H 3f",
        *(0x4B, 1, columns, draw(st.sampled_from([0, 1, 0, 2]))),
        *(draw(st.integers(0, 2**32 - 1)), t0_ns, draw(st.integers(0, 2**32 - 1))),
        *(draw(st.sampled_from([10**7, 0, 2**32 - 1])), count, draw(st.sampled_from([0, 0, 0, 1])), *scales),
    )
    body = draw(st.binary(min_size=2 * columns * count, max_size=2 * columns * count)) if count < 11 else b""
    payload = bytearray(head + body)
    for _ in range(draw(st.integers(0, 2))):
        payload[draw(st.integers(0, len(payload) - 1))] = draw(EDGES)
    return bytes(payload[: len(payload) - draw(st.sampled_from([0, 0, 0, 1, 60]))])


def twin_status(payload: bytes) -> str:
    try:
        imu.decode(payload)
    except DecodeError as error:
        return error.reason
    return "ok"


@settings(max_examples=1000, deadline=None)
@given(st.one_of(nearly_good(), st.binary(max_size=200)))
def test_the_twin_agrees_on_every_payload(payload: bytes) -> None:
    out = answers([payload], lib.KF_BINARY).summaries[0]
    assert STATUS_NAMES[out["status"]] == twin_status(payload)
    if out["status"] == lib.KF_OK:
        packet = imu.decode(payload)
        assert (out["boot"], out["seq"], out["t_first_ns"]) == (packet.boot, packet.seq, packet.t0_ns)
        assert out["t_last_ns"] == packet.t0_ns + packet.dt_ns * (len(packet.accel_b) - 1)
