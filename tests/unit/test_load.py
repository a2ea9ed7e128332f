"""The load generator: what it sends, when, and what it does where nobody reads."""

import socket
import sys
import threading
from typing import Any

import numpy as np
import pytest

if sys.platform != "linux":
    pytest.skip("the load generator stands on epoll", allow_module_level=True)

from server.codecs import imu, samples
from server.messages import Birth, HeartRate
from simulators.load import figures, recordings
from simulators.load._load import ffi, lib
from simulators.load.generator import Load, LoadError, Plan, device_ids, now_ns, server_config
from tests.support.brokers import PATIENCE_S
from tests.support.frames import CONNACK_ACCEPTED

ROOT = "kinefuse/v1"
UTC_NS = 1_790_000_000 * 10**9
MADE = recordings.make(2)


def load(athletes: int = 3, *, port: int = 1, **plan: Any) -> Load:
    return Load(
        Plan(athletes=athletes, port=port, root=ROOT, seconds=5, **plan), utc_ns=UTC_NS - now_ns(), made=MADE
    )


def frame(of: Load, stream: int) -> tuple[int, str, bytes]:
    """Return flags, topic and payload of a stream's next message, read by the letter of MQTT 3.1.1."""
    buffer = ffi.new(f"uint8_t[{lib.LD_FRAME_BYTES}]")
    data = bytes(ffi.buffer(buffer, lib.ld_make(of._native, stream, buffer)))
    remaining, at = 0, 1
    while True:
        remaining |= (data[at] & 0x7F) << (7 * (at - 1))
        at += 1
        if not data[at - 1] & 0x80:
            break
    assert len(data) == at + remaining
    assert data[0] >> 4 == 3
    topic_length = int.from_bytes(data[at : at + 2], "big")
    topic, rest = data[at + 2 : at + 2 + topic_length].decode(), data[at + 2 + topic_length :]
    return data[0] & 0x0F, topic, rest[2:] if data[0] & 0x06 else rest


@pytest.mark.parametrize(("packets_per_s", "count", "qos"), [(10, 10, 0), (5, 20, 1), (10, 10, 1)])
def test_packets_are_what_the_codec_reads(packets_per_s: int, count: int, qos: int) -> None:
    made = load(packets_per_s=packets_per_s, samples=count, qos=qos)
    made.start(now_ns())
    stream, period_ns = made.streams[1], 10**9 // packets_per_s
    newest_ns = None
    for seq in range(2 * recordings.SECONDS * packets_per_s):
        flags, topic, payload = frame(made, 1)
        packet = imu.decode(payload)
        assert (flags, topic) == (2 * qos, f"{ROOT}/in/a00001-imu/imu")
        assert (packet.columns, packet.boot, packet.seq) == (9, stream["boot"], seq)
        assert (packet.dt_ns, len(packet.accel_b)) == (10**7, count)
        last_ns = packet.t0_ns + (count - 1) * packet.dt_ns
        assert last_ns == int(stream["device_ns"]) + seq * period_ns  # measured when it is sent
        assert newest_ns is None or packet.t0_ns == newest_ns + packet.dt_ns
        newest_ns = last_ns


def test_a_strap_tells_its_beats_on_its_own_clock() -> None:
    made = load()
    made.start(now_ns())
    for seq in range(100):
        _, topic, payload = frame(made, 3)
        (reading,) = samples.decode("hr", payload).packets
        assert isinstance(reading, HeartRate)
        assert topic == f"{ROOT}/in/a00000-strap/hr"
        assert (reading.boot, reading.seq) == (made.streams[3]["boot"], seq)
        told_ns = int(made.streams[3]["device_ns"]) + seq * 10**9
        assert reading.t is not None
        assert 0 <= told_ns - int(reading.t) < 2 * 10**9
        assert reading.bpm is not None
        assert 60 < reading.bpm < 200


def test_a_recording_closes_without_a_jump() -> None:
    motion = MADE.motion.astype(np.float64)
    inside = np.abs(np.diff(motion, axis=1)).max(axis=1)
    seam = np.abs(motion[:, 0] - motion[:, -1])
    assert (seam <= 1.5 * inside).all()


def test_devices_and_athletes_of_a_load_are_in_the_servers_configuration() -> None:
    text = server_config(3)
    assert all(f'"{name}"' in text for k in range(3) for name in device_ids(k))


def test_a_birth_is_what_the_server_reads() -> None:
    made = load()
    for kind in (lib.LD_IMU, lib.LD_HR):
        members = ffi.string(made._native.birth[kind])
        (birth,) = samples.decode("status", b'{"boot":7,' + members + b"}").packets
        assert isinstance(birth, Birth)
        assert (birth.boot, birth.placement, birth.sport) == (7, "chest", "run")


def test_sends_are_spread_over_the_period() -> None:
    made = load(500)
    for part, period_ns in ((made.streams[:500], 10**8), (made.streams[500:], 10**9)):
        gaps = np.diff(np.sort(part["origin_ns"] % period_ns))
        assert gaps.max() < 4 * period_ns / 500


def test_the_recordings_are_of_one_rate() -> None:
    with pytest.raises(LoadError, match="50 Hz"):
        load(packets_per_s=5, samples=10)


class Deaf:
    """A broker that lets everybody in, and then reads nothing."""

    def __init__(self, links: int) -> None:
        self._listener = socket.socket()
        self._listener.settimeout(PATIENCE_S)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(links)
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, args=(links,), daemon=True)
        self._thread.start()

    def _serve(self, links: int) -> None:
        for _ in range(links):
            peer, _ = self._listener.accept()
            peer.settimeout(PATIENCE_S)
            peer.recv(64)
            peer.sendall(CONNACK_ACCEPTED)
            self._sockets.append(peer)

    def close(self) -> None:
        self._thread.join(PATIENCE_S)
        for each in (self._listener, *self._sockets):
            each.close()


def test_who_does_not_read_moves_no_intended_time() -> None:
    broker = Deaf(links=3)
    made = load(2, port=broker.port)
    try:
        made.open()
        until_ns = now_ns() + round(PATIENCE_S * 1e9)
        while made.up < 2:
            assert now_ns() < until_ns
            made.run(now_ns() + 10**6)
        made.start(now_ns())
        for k in range(2):
            made.flood(k, 100.0)  # so that buffers are full soon
        before = [lib.ld_intended(made._native.streams + k, 1500) for k in range(4)]
        while made.streams["seq"][:2].min() < 1500:
            assert now_ns() < until_ns
            made.run(now_ns() + 10**7)
    finally:
        made.close()
        broker.close()
    assert [lib.ld_intended(made._native.streams + k, 1500) for k in range(4)] == before
    due_ns = [lib.ld_intended(made._native.streams + k, seq) for k in range(2) for seq in range(1500)]
    due_ns += [lib.ld_intended(made._native.streams + k, seq) for k in (2, 3) for seq in range(2)]
    in_first = sum(ns < made.begin_ns + 10**9 for ns in due_ns)
    told = figures.sent(made.bins[:1])
    assert told.messages + told.unsent == told.lateness.count == in_first
    assert told.unsent > 0
