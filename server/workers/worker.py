"""A worker: an engine with its own athletes, in a process of its own, fed and heard by its parent alone.

``python -m server.workers.worker --fd N`` reads its configuration, as JSON, from its standard input, and
speaks with its parent over the socket N; it ends when that does. Started by `server.workers.member`.
"""

import argparse
import asyncio
import contextlib
import gc
import socket
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from server import frames
from server.clock import SystemClock
from server.config import Config
from server.engine import Engine
from server.envelopes import Chunk, Outgoing
from server.figures import ended, figures
from server.frames import Splitter
from server.loop import run
from server.trimming import trim
from server.workers.pipe import Pipe
from server.workers.wire import Answer, Connected, End, Ended, Report, Tick, decode_for_worker, encode

TICK_S: Final = 0.1  # the longest time between two ticks: steps without a packet fire on it
REPORT_NS: Final = 1_000_000_000
REFUSED_EVERY: Final = 5  # reports: to add up what was refused takes a look at each device
TRIM_EVERY: Final = 10  # reports


class Bench:
    """An engine with what it takes to read ticks and to write answers. Synchronous; told the time.

    Parameters
    ----------
    config : Config
        Its own athletes, devices and limits.
    clock : Clock
        The monotonic time, for deadlines.
    """

    def __init__(self, config: Config, clock: SystemClock) -> None:
        self.engine = Engine(config, clock.monotonic_ns)
        self._splitter = Splitter(self.engine.topics, frames.PAYLOAD_BYTES_MAX)
        self._clock = clock
        self._heard_ns: int | None = None
        self._told = 0  # the number of the next device that the parent does not know
        self._reported_ns = 0
        self._reports = 0
        self._refused: dict[str, int] = {}

    def work(self, ticks: Sequence[Tick], utc_ns: int) -> Answer:
        """Advance by ticks, perhaps none: then only time passes."""
        chunks = [
            chunk
            for tick in ticks
            for data, arrived_ns, received_ns in tick.parts
            for chunk in self._chunks(data, arrived_ns, received_ns)
        ]
        began_ns = self._clock.monotonic_ns()
        if ticks:
            self._heard_ns = ticks[-1].heard_ns
        out = self.engine.advance(chunks, utc_ns, self._heard_ns)
        now_ns = self._clock.monotonic_ns()
        waited_ns = now_ns - chunks[0].received_ns if chunks else 0
        if self.engine.observe(now_ns, now_ns - began_ns, waited_ns):
            self._reported_ns = 0  # the parent is to know at once
        return self._answer(out, ticks[-1].number if ticks else 0, self._report(utc_ns))

    def end(self, within_s: float) -> tuple[Answer, Ended]:
        """End the open workouts; return the last words."""
        until_ns = self._clock.monotonic_ns() + int(within_s * 1e9)
        out = list(ended(self.engine, self._clock, until_ns))
        self._reports = 0
        return self._answer(out, 0, self._tell()), Ended(self.engine.schedule.open_workouts)

    def connected(self, utc_ns: int, *, is_connected: bool) -> None:
        """Take note whether there is a broker: while there is none, no device is silent."""
        if is_connected:
            self.engine.streams.resume(utc_ns)
        else:
            self.engine.streams.pause()

    def _chunks(self, data: bytes, arrived_ns: int, received_ns: int) -> list[Chunk]:
        """Return whole frames as chunks: one, unless they are more than are split at once."""
        chunks, start = [], 0
        while start < len(data):
            split = self._splitter.split(data, start, len(data))
            if split.status not in (frames.DONE, frames.FULL) or not split.consumed:
                raise ValueError("the parent sent what are no whole frames")
            part = data if split.consumed == len(data) else data[start : start + split.consumed]
            chunks.append(Chunk(part, split.frames, arrived_ns, received_ns))
            start += split.consumed
        return chunks

    def _answer(self, out: list[Outgoing], done: int, report: Report | None) -> Answer:
        plain, caused_ns, assured = [], [], []
        updates = 0
        for topic, payload, qos, retain, cause_ns in out:
            if qos or retain:
                assured.append((topic, payload, qos, retain))
            else:
                plain.append((topic, payload, False))
                caused_ns.append(cause_ns)
                updates += topic.endswith("/live")
        registry, ids = self.engine.registry, self.engine.forgetting.ids
        numbers = range(self._told, registry.numbers)
        enrolled = [registry.by_number[number].id for number in numbers if number in registry.by_number]
        self._told = registry.numbers
        forgotten = list(ids)
        ids.clear()
        late, left_out = self.engine.late.take()
        published = frames.publish(plain)
        told = (done, published, caused_ns, assured, enrolled, forgotten, report, late, left_out, updates)
        return Answer(*told)

    def _report(self, utc_ns: int) -> Report | None:
        """Return how it is, if it is time to tell."""
        if 0 <= utc_ns - self._reported_ns < REPORT_NS:
            return None
        self._reported_ns = utc_ns
        return self._tell()

    def _tell(self) -> Report:
        deadlines = self.engine.deadlines
        if self._reports % REFUSED_EVERY == 0:
            self._refused = self.engine.health.refused()
        if self._reports % TRIM_EVERY == 0:
            trim()
        self._reports += 1
        return Report(figures(self.engine), self._refused, deadlines.take(), deadlines.history.take())


NOTHING: Final = Answer(0, b"", [], [], [], [], None, [], 0)


async def serve(config: Config, sock: socket.socket) -> None:
    """Work until the parent is gone."""
    clock = SystemClock()
    bench = Bench(config, clock)
    pipe = await Pipe.over(sock)
    gc.collect()
    gc.freeze()  # what start-up made stays: later collections need not look at it again
    anchor_ns = clock.utc_ns() - clock.monotonic_ns()
    while not pipe.ended.is_set():
        received = pipe.take()
        if not (received or bench.engine.behind):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    received = await pipe.receive()
        came = [decode_for_worker(each) for each in received]
        ticks = [each for each in came if isinstance(each, Tick)]
        if ticks:
            anchor_ns = ticks[-1].anchor_ns
        answer = bench.work(ticks, clock.monotonic_ns() + anchor_ns)
        if answer != NOTHING:
            pipe.send(encode(answer))
        for each in came:
            if isinstance(each, Connected):
                bench.connected(clock.monotonic_ns() + anchor_ns, is_connected=each.is_connected)
            elif isinstance(each, End):
                for last in bench.end(each.within_s):
                    pipe.send(encode(last))
        await asyncio.sleep(0)  # the socket's turn
        await pipe.clear.wait()


def main() -> None:
    """Work on what the parent sends."""
    parser = argparse.ArgumentParser(prog="python -m server.workers.worker")
    parser.add_argument("--fd", type=int, required=True, help="socket of the parent")
    arguments = parser.parse_args()
    config = msgspec.json.decode(sys.stdin.buffer.read(), type=Config)
    run(serve(config, socket.socket(fileno=arguments.fd)))


if __name__ == "__main__":
    main()
