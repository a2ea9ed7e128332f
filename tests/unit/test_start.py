"""What a server has ready before the first message comes, and that it can be told to end before."""

import asyncio
import subprocess
import sys

from server.clock import SystemClock
from server.config import Broker, Config, Metrics
from server.serve import Server
from tests.support.brokers import PATIENCE_S, free_port

LOADED = """
import sys, time
from server.config import Config
from server.engine import Engine
from server.envelopes import Incoming

engine = Engine(Config(), time.monotonic_ns)
before = set(sys.modules)
now_ns = 1_790_000_000_000_000_000
payload = b'{"lat": 10.0, "lon": 20.0, "alt_m": 100.0, "speed_mps": 3.0}'
for second in range(90):
    now_ns += 1_000_000_000
    engine.advance([Incoming("kinefuse/v1/in/a/gnss", payload, False, now_ns, 0)], now_ns)
command = b'{"action": "stop", "id": "end"}'
engine.advance([Incoming("kinefuse/v1/command/a", command, False, now_ns, 0)], now_ns)
others = {name for name in set(sys.modules) - before if name.partition(".")[0] not in ("server", "fusion")}
print(sorted(others))
"""


def test_no_library_is_imported_while_data_is_live() -> None:
    told = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


async def test_who_is_asked_to_end_while_it_is_made_ends_at_once() -> None:
    stop = asyncio.Event()
    server = Server(Config(broker=Broker(port=free_port()), metrics=Metrics(port=0)), SystemClock(), stop)
    stop.set()
    await asyncio.wait_for(server.run(), PATIENCE_S)
