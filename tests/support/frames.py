"""MQTT 3.1.1 frames by hand, for what a well-behaved client library would not do.

http://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html
"""

import asyncio

CONNACK_ACCEPTED = bytes([0x20, 2, 0, 0])
DISCONNECT = bytes([0xE0, 0])


def connect(identifier: str, will: tuple[str, bytes] | None = None) -> bytes:
    """Return a CONNECT with a clean session and no keepalive; the will has QoS 0."""
    flags = 0x02 | (0x04 if will else 0)
    body = _text("MQTT") + bytes([4, flags, 0, 0]) + _text(identifier)
    if will:
        body += _text(will[0]) + len(will[1]).to_bytes(2, "big") + will[1]
    return _frame(0x10, body)


def publish(topic: str, payload: bytes, *, flags: int = 0, packet_id: int = 1) -> bytes:
    """Return a PUBLISH; the packet id stands in it where ``flags`` tell of a QoS."""
    identifier = packet_id.to_bytes(2, "big") if flags & 6 else b""
    return _frame(0x30 | flags, _text(topic) + identifier + payload)


def puback(packet_id: int) -> bytes:
    """Return a PUBACK."""
    return _frame(0x40, packet_id.to_bytes(2, "big"))


def subscribe(topic: str, qos: int) -> bytes:
    """Return a SUBSCRIBE."""
    return _frame(0x82, bytes([0, 1]) + _text(topic) + bytes([qos]))


def suback(qos: int) -> bytes:
    """Return the SUBACK that answers `subscribe`."""
    return bytes([0x90, 3, 0, 1, qos])


async def read(stream: asyncio.StreamReader) -> bytes:
    """Return the next frame of a stream."""
    frame = bytearray(await stream.readexactly(2))
    length, shift = frame[1] & 127, 7
    while frame[-1] & 128:
        frame += await stream.readexactly(1)
        length |= (frame[-1] & 127) << shift
        shift += 7
    return bytes(frame + await stream.readexactly(length))


def _frame(kind: int, body: bytes) -> bytes:
    head, rest = bytearray([kind]), len(body)
    while rest > 127:
        head.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*head, rest]) + body


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data
