"""What the bounded reader stands on in aiomqtt and paho that is private to them, and whether it still holds.

``broken()`` drives real objects of both libraries, without a network. Where a new version of one changes what
is needed, it says what, the public path serves in its place (see ``server/connection.py``), and
``tests/unit/test_mqtt_contract.py`` fails.
"""

import asyncio
import functools
import inspect
import socket
from collections.abc import Callable
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from server import frames

SIGNATURES: dict[Callable[..., Any], tuple[str, ...]] = {
    paho.Client._sock_recv: ("self", "bufsize"),
    paho.Client._sock_send: ("self", "buf"),
    paho.Client._packet_queue: ("self", "command", "packet", "mid", "qos", "info"),
    paho.Client.loop_read: ("self", "max_packets"),
    aiomqtt.Client._on_socket_open: ("self", "client", "userdata", "sock"),
    aiomqtt.Client._on_socket_close: ("self", "client", "userdata", "sock"),
}
_SUBACK = bytes((0x90, 3, 0, 7, 1))
_BYTES = b"0123456789" * 10


class Written:
    """Stands where paho keeps what it tells of a publication that has gone to the socket."""

    def __init__(self, done: Callable[[], None]) -> None:
        self.rc = 0
        self._set_as_published = done


@functools.cache
def broken() -> tuple[str, ...]:
    """Return what is not as the reader needs it; empty where all holds. Needs a running event loop."""
    checks = (_signatures, _client, _reading, _writing, _ending)
    return tuple(fault for check in checks for fault in _tried(check))


def _tried(check: Callable[[], list[str]]) -> list[str]:
    try:
        return check()
    except Exception as error:
        return [f"{check.__name__.strip('_')}: {type(error).__name__}: {error}"]


def _signatures() -> list[str]:
    faults = []
    for function, wanted in SIGNATURES.items():
        owner, _, name = function.__qualname__.partition(".")
        module = paho if function.__module__.startswith("paho") else aiomqtt
        now = getattr(getattr(module, owner), name, None)
        if now is None:
            faults.append(f"{function.__module__}.{function.__qualname__} is gone")
        elif (got := tuple(inspect.signature(now).parameters)) != wanted:
            faults.append(f"{function.__module__}.{function.__qualname__} takes {', '.join(got)}")
    return faults


def _client() -> list[str]:
    """A client of aiomqtt's holds a client of paho's, and calls back its own methods, which we override."""
    opened: list[Any] = []

    class Client(aiomqtt.Client):
        def _on_socket_open(self, *arguments: Any) -> None:
            opened.append(arguments[-1])

    client = Client("127.0.0.1", protocol=aiomqtt.ProtocolVersion.V311)
    inner = client._client
    inner._call_socket_open(_BYTES)  # type: ignore[arg-type]
    needed = {
        "aiomqtt: _client is paho's": isinstance(inner, paho.Client),
        "aiomqtt: _on_socket_open is called through the instance": opened == [_BYTES],
        "aiomqtt: _disconnected is a future": isinstance(client._disconnected, asyncio.Future),
        "aiomqtt: _loop is the running loop": client._loop is asyncio.get_running_loop(),
        "paho: the protocol is 3.1.1": inner._protocol == paho.MQTTv311,
    }
    return [what for what, holds in needed.items() if not holds]


class _Pair:
    """A paho client over a pair of sockets, and what it called."""

    def __init__(self) -> None:
        self.far, near = socket.socketpair()
        near.setblocking(False)
        self.far.settimeout(1.0)
        self.near = near
        self.told: list[Any] = []
        self.client = client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        client._sock = near
        client.on_subscribe = lambda _c, _u, mid, codes, _p: self.told.append(("suback", mid, len(codes)))
        client.on_socket_register_write = lambda *_: self.told.append("register")
        client.on_socket_unregister_write = lambda *_: self.told.append("unregister")
        client.on_socket_close = lambda *_: self.told.append("close")
        client.on_disconnect = lambda *_: self.told.append("disconnect")

    def __enter__(self) -> "_Pair":
        return self

    def __exit__(self, *_: object) -> None:
        self.client._sock = None
        self.near.close()
        self.far.close()


def _reading() -> list[str]:
    """Each byte that paho reads comes through ``_sock_recv``, which may run dry within a frame."""
    with _Pair() as pair:
        served: list[bytes] = []

        def recv(_: int) -> bytes:
            if not served:
                raise BlockingIOError
            return served.pop(0)

        vars(pair.client)["_sock_recv"] = recv
        for byte in _SUBACK:
            served.append(bytes((byte,)))
            pair.client.loop_read()
    return [] if pair.told == [("suback", 7, 1)] else [f"paho: loop_read of a SUBACK in pieces: {pair.told}"]


def _writing() -> list[str]:
    """What is queued as one packet is registered, written as it is, and told as published once.

    Where nothing is queued, what is sent goes to the socket at once.
    """
    with _Pair() as pair:
        client = pair.client
        client._packet_queue(
            frames.PUBLISH,
            memoryview(_BYTES),  # type: ignore[arg-type]
            0,
            0,
            Written(lambda: pair.told.append("written")),  # type: ignore[arg-type]
        )
        client._packet_queue(frames.PUBACK, _BYTES, 0, 1)
        before = list(pair.told)
        client.loop_write()
        got = pair.far.recv(len(_BYTES)) + pair.far.recv(len(_BYTES))
        sent = client._sock_send(memoryview(_BYTES))  # type: ignore[arg-type]
        at_once = not client.want_write() and pair.far.recv(len(_BYTES)) == _BYTES[:sent]
    whole = before == ["register"] and pair.told == ["register", "written", "unregister"]
    if whole and at_once and got == 2 * _BYTES:
        return []
    return [f"paho: joined writes: {before}, {pair.told}, {got!r}, {sent} at once"]


def _ending() -> list[str]:
    """The end of the stream closes the socket and tells of it."""
    with _Pair() as pair:
        vars(pair.client)["_sock_recv"] = lambda _: b""
        pair.client.loop_read()
    return [] if pair.told == ["close", "disconnect"] else [f"paho: end of the stream: {pair.told}"]
