"""A connection that breaks as a writer is asked for: no error, and the loss is noticed."""

import asyncio
import socket
import struct
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("uvloop is not for Windows", allow_module_level=True)

from server.loop import run
from tests.support.brokers import PATIENCE_S

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing resets the connection


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setblocking(False)
    return near, far


def test_a_writer_for_a_socket_that_was_closed_meanwhile_is_no_error() -> None:
    async def main() -> None:
        near, far = pair()
        number = near.fileno()
        near.close()
        far.close()
        asyncio.get_running_loop().add_writer(number, lambda: None)

    run(main())


def test_a_reader_that_paused_while_its_connection_was_reset_reads_on_to_the_end() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = pair()
        loop.add_reader(near.fileno(), lambda: None)
        loop.add_writer(near.fileno(), lambda: None)
        loop.remove_reader(near.fileno())
        far.send(b"the last")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        far.close()
        for _ in range(5):
            await asyncio.sleep(0.001)  # turns of the loop, in which it sees the reset
        read = asyncio.Event()
        loop.add_reader(near.fileno(), read.set)
        await asyncio.wait_for(read.wait(), PATIENCE_S)
        loop.remove_reader(near.fileno())
        loop.remove_writer(near.fileno())
        near.close()

    run(main())


def test_a_reader_for_a_socket_that_was_closed_meanwhile_is_no_error() -> None:
    async def main() -> None:
        near, far = pair()
        number = near.fileno()
        near.close()
        far.close()
        asyncio.get_running_loop().add_reader(number, lambda: None)

    run(main())


def test_a_connection_that_was_reset_with_more_to_read_can_be_waited_for_again() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = pair()
        far.send(b"more than one read takes")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        far.close()
        read, writable = asyncio.Event(), asyncio.Event()

        def take_one() -> None:
            near.recv(1)
            read.set()

        loop.add_reader(near.fileno(), take_one)
        await asyncio.wait_for(read.wait(), PATIENCE_S)
        loop.add_writer(near.fileno(), writable.set)
        await asyncio.wait_for(writable.wait(), PATIENCE_S)
        loop.remove_writer(near.fileno())
        loop.remove_reader(near.fileno())
        near.close()

    run(main())
