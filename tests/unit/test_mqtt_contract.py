"""What the bounded reader stands on in aiomqtt and paho: a version that changes it fails here.

Where `test_the_sources_are_those_that_were_read` alone fails, read what changed, run the tests
``property/test_frames.py`` and ``e2e/test_reader.py``, and put down the new fingerprint. Where the others
fail, the server uses the public path with this version; see ``server/contract.py``.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest

from server import contract
from server.config import Broker
from server.mqtt import Link

FINGERPRINTS: dict[Callable[..., Any], str] = {
    paho.Client.loop_read: "9e179670b376",
    paho.Client.loop_write: "f0cc47a4901b",
    paho.Client._packet_read: "0291d67bd9f9",
    paho.Client._packet_write: "a3c25380dd2b",
    paho.Client._packet_queue: "bd27bc123e0f",
    paho.Client._packet_handle: "03286f552f18",
    paho.Client._sock_recv: "f51d6b7d7af0",
    paho.Client._sock_send: "fd72a1ad7f65",
    paho.Client._sock_close: "c36a9db7679f",
    paho.Client._loop_rc_handle: "53bb47955aca",
    paho.Client._call_socket_open: "287f3ae01c3c",
    paho.Client._call_socket_close: "3887dbd894d6",
    paho.Client._call_socket_register_write: "4fa5e641d07f",
    paho.Client._call_socket_unregister_write: "8ccf181727b6",
    paho.Client.reconnect: "d79360494c02",
    paho.Client._create_socket: "4fcdd9395e8d",
    aiomqtt.Client.__aenter__: "5c4dc9d65df9",
    aiomqtt.Client.__aexit__: "57a3d5afad56",
    aiomqtt.Client._on_socket_open: "886c9c1cdb66",
    aiomqtt.Client._on_socket_close: "daa01e1e87b4",
    aiomqtt.Client._on_socket_register_write: "3bdbef4ad5bc",
    aiomqtt.Client._on_socket_unregister_write: "2692b926541b",
    aiomqtt.Client._on_publish: "b1aee33bbf9e",
    aiomqtt.Client._on_disconnect: "1f50a3cd32a3",
    aiomqtt.Client._misc_loop: "3415d0a959e0",
}


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    contract.broken.cache_clear()
    yield
    contract.broken.cache_clear()


def fingerprint(function: Callable[..., Any]) -> str:
    """Tell the source of a function, but for its blanks."""
    return hashlib.sha256("".join(inspect.getsource(function).split()).encode()).hexdigest()[:12]


async def test_all_holds_with_the_installed_versions() -> None:
    assert contract.broken() == ()


def test_the_sources_are_those_that_were_read() -> None:
    found = {function: fingerprint(function) for function in FINGERPRINTS}
    changed = [each.__qualname__ for each, told in FINGERPRINTS.items() if found[each] != told]
    assert not changed, {each.__qualname__: found[each] for each in FINGERPRINTS}


def _sends_at_once(self: Any, command: int, packet: bytes, mid: int, qos: int, info: Any = None) -> int:
    self._sock.send(packet)
    return 0


def _reads_the_socket(self: Any, max_packets: int = 1) -> int:
    self._sock.recv(1)
    return 0


def _other_arguments(self: Any, client: Any, sock: Any) -> None: ...


@pytest.mark.parametrize(
    ("owner", "name", "now", "told"),
    [
        (paho.Client, "_sock_recv", None, "_sock_recv is gone"),
        (paho.Client, "_packet_queue", None, "_packet_queue is gone"),
        (paho.Client, "_packet_queue", _sends_at_once, "joined writes"),
        (paho.Client, "loop_read", _reads_the_socket, "reading"),
        (paho.Client, "loop_read", lambda self: 0, "loop_read takes self"),
        (paho.Client, "loop_write", lambda self: 0, "writing"),
        (aiomqtt.Client, "_on_socket_open", None, "_on_socket_open is gone"),
        (aiomqtt.Client, "_on_socket_open", _other_arguments, "_on_socket_open takes self, client, sock"),
        (aiomqtt.Client, "_on_socket_close", None, "_on_socket_close is gone"),
    ],
)
async def test_a_change_is_named_and_the_public_path_serves(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, now: Any, told: str
) -> None:
    link = Link(Broker(port=1))
    if now is None:
        monkeypatch.delattr(owner, name)
    else:
        monkeypatch.setattr(owner, name, now)
    faults = contract.broken()
    assert any(told in fault for fault in faults), faults
    assert link.reader == "public"
    assert link.acks == "on_arrival"


async def test_the_bounded_path_serves_unless_it_is_not_wanted() -> None:
    assert Link(Broker(port=1)).reader == "bounded"
    assert Link(Broker(port=1, reader="public")).reader == "public"
