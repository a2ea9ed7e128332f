"""A broker that only blasts: each message on ``go`` it answers with IMU packets, as fast as they leave.

``python -m tests.bench.blaster`` listens on a port that it prints, until its input ends.
"""

import socket
import sys
import threading

import numpy as np

from server.codecs import imu
from tests.support import frames

MESSAGES = 4_000
DEVICES = 4_000
PREFIX = "kinefuse/v1/in/"


def device(number: int) -> str:
    return f"athlete-{number:05d}"


def recorded() -> bytes:
    """Return IMU packets of ten samples of nine axes, one of each device, as a broker sends them."""
    rng = np.random.default_rng(1)
    packet = imu.encode(
        accel_b=rng.normal(0.0, 3.0, (10, 3)),
        gyro_b=rng.normal(0.0, 3.0, (10, 3)),
        mag_b=rng.normal(0.0, 30.0, (10, 3)),
        boot=1,
        t0_ns=1_700_000_000_000_000_000,
        seq=1,
        dt_ns=10_000_000,
    )
    numbers = rng.permutation(MESSAGES) % DEVICES
    return b"".join(frames.publish(f"{PREFIX}{device(number)}/imu", packet) for number in numbers.tolist())


def serve(peer: socket.socket, blast: bytes) -> None:
    """Speak with one client."""
    with peer, peer.makefile("rb") as stream:
        while head := stream.read(2):
            length, shift = head[1] & 127, 7
            last = head[1]
            while last & 128:
                last = stream.read(1)[0]
                length |= (last & 127) << shift
                shift += 7
            body = stream.read(length)
            kind = head[0] & 0xF0
            if kind == 0x10:
                peer.sendall(frames.CONNACK_ACCEPTED)
            elif kind == 0x80:
                peer.sendall(bytes([0x90, 3, *body[:2], 0]))
            elif kind == 0x30 and body[2:4] == b"go":
                peer.sendall(blast)


def main() -> None:
    blast = recorded()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_accept, args=(listener, blast), daemon=True).start()
        sys.stdin.read()


def _accept(listener: socket.socket, blast: bytes) -> None:
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=serve, args=(peer, blast), daemon=True).start()


if __name__ == "__main__":
    main()
