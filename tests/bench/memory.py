"""What an engine's memory is a device: ``python -m tests.bench.memory DEVICES SECONDS REWIND_S``.

Each device measures motion at 100 Hz and a heart rate once a second, which comes up to 0.7 s late. It is the
process's own (anonymous) memory beyond that of an engine that knows nobody; the largest tables stand below,
of which untouched pages count for nothing.
"""

import os
import struct
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")  # as the command line has it

import numpy as np

from server.codecs import samples
from server.config import Config, Server
from server.engine import Engine
from server.envelopes import Chunk
from server.frames import PAYLOAD_BYTES_MAX, Splitter, publish
from server.messages import HeartRate
from server.trimming import trim
from simulators.rehearsal import cast

S = 1_000_000_000
START_NS = 1_790_000_000 * S
TICK_NS = 20_000_000
LATE_S = 0.7
LARGE = 150  # bytes a device, of tables that are named


def main() -> None:
    """Drive an engine and print what it takes."""
    devices, seconds, rewind_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    server = Server(devices_max=100_000, athletes_max=100_000, rewind_s=rewind_s)
    engine = Engine(Config(server=server), time.monotonic_ns)
    splitter = Splitter(engine.topics, PAYLOAD_BYTES_MAX)
    told = ticks(devices, seconds)
    first = next(told)  # what the test itself holds is there
    trim()
    before_kb = own_kb()
    for tick, data in enumerate(chain([first], told)):
        now_ns = START_NS + (tick + 1) * TICK_NS
        split = splitter.split(data, 0, len(data))
        engine.advance([Chunk(data, split.frames.copy(), now_ns, 0)] if data else [], now_ns)
        if (tick + 1) % (10 * S // TICK_NS) == 0:
            trim()  # as the server does every ten seconds
            print(
                f"{(tick + 1) * TICK_NS // S:4} s  {(own_kb() - before_kb) / devices:6.2f} kB a device",
                flush=True,
            )
    for size, name in sorted(tables(engine), reverse=True):
        if size > LARGE * devices:
            print(f"{size / devices:8.0f} B  {name}")


def own_kb() -> int:
    """Return the anonymous memory of this process, kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))


def ticks(devices: int, seconds: int) -> Iterator[bytes]:
    """Yield what comes in each tick, as MQTT frames; each device sends at phases of its own."""
    device = next(iter(cast("demo")[0].devices))
    packets = [m.payload for s in range(10) for m in device.second(s) if m.topic.endswith("/imu")]
    rng, head = np.random.default_rng(1), struct.Struct("<QI")
    at_ns = (rng.random(devices) * S / 10).astype(int)
    late_ns = (rng.random(devices) * LATE_S * S).astype(int)
    due_ns = np.concatenate([at_ns + k * S // 10 for k in range(10)])
    order = np.argsort(due_ns)
    ends = np.searchsorted(due_ns[order], np.arange(1, S // TICK_NS + 1) * TICK_NS)
    for second in range(seconds):
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            messages = []
            for each in order[begin:end].tolist():
                k, row = divmod(each, devices)
                t_ns = second * S + int(due_ns[each])
                packet = bytearray(packets[(10 * second + k + row) % len(packets)])
                head.pack_into(packet, 8, t_ns, 10 * second + k)
                messages.append((f"kinefuse/v1/in/d{row}/imu", bytes(packet), False))
                if k == 5:
                    t_ns = max(t_ns - int(late_ns[(7 * row + 13 * second) % devices]), 0)
                    rate = HeartRate(t=t_ns, bpm=120.0 + row % 40, boot=1, seq=second)
                    messages.append((f"kinefuse/v1/in/d{row}/hr", samples.encode(rate), False))
            yield publish(messages) if messages else b""


def tables(thing: object, path: str = "engine", seen: set[int] | None = None) -> Iterator[tuple[int, str]]:
    """Yield size and name of each array that an object of ours holds."""
    seen = set() if seen is None else seen
    for name, value in vars(thing).items():
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            yield value.nbytes, f"{path}.{name}"
        elif hasattr(value, "__dict__") and type(value).__module__.split(".")[0] in ("fusion", "server"):
            yield from tables(value, f"{path}.{name}", seen)


if __name__ == "__main__":
    main()
