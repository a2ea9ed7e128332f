"""An engine that is given more than it has time for, on a clock that its own work moves.

What a message, a step and an update take is made up, in the proportions that a fleet's have, so the same
happens on any machine.
"""

from collections import deque
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from fusion.measurements import Estimates
from server import frames
from server.codecs import imu, samples
from server.config import Config
from server.engine import Engine
from server.envelopes import Chunk
from server.frames import Splitter
from server.messages import HeartRate

MS = 1_000_000
S = 1000 * MS
T0 = 1_790_000_000 * S
ATHLETES = 40
PACKET_NS = 100 * MS
PER_S = 11  # messages of an athlete
READ_NS = 10 * MS
TICK_NS = 10 * MS
BATCH = 50  # messages in one tick, an eighth of a second's, as 4,096 are of a large fleet's
MESSAGES, STEPS, LIVES = 0.75, 0.1, 0.15  # of an athlete's second
DROPPED = 0.1  # of what a message takes
IDLE_LOAD = 0.5
BEGIN_S, LASTS_S, SECONDS = 6, 12, 32
BEAT = samples.encode(HeartRate(bpm=120.0))

Group = tuple[int, list[tuple[str, bytes, bool]]]


class Course(NamedTuple):
    """What became of a run."""

    steps: int  # made during the overload, again or not
    dropped: int  # IMU packets
    levels: list[int]  # of the ladder, each second
    waiting: int  # messages at the end
    due: int  # steps that were due during the overload


def packet(seq: int) -> bytes:
    sway = 0.1 * np.sin(np.arange(10) + seq)[:, np.newaxis]
    accel_b = np.tile([0.0, 0.0, 9.81], (10, 1)) + sway
    t0_ns = S + seq * PACKET_NS
    return imu.encode(accel_b=accel_b, gyro_b=np.zeros((10, 3)), boot=1, t0_ns=t0_ns, seq=seq, dt_ns=10 * MS)


def offered() -> list[Group]:
    """Return what all devices send, as reads of the socket find it."""
    packets = [packet(seq) for seq in range(10 * SECONDS)]
    messages = []
    for number in range(ATHLETES):
        phase_ns = number * 37 % 100 * MS
        topic = f"kinefuse/v1/in/d{number}/"
        for seq, payload in enumerate(packets):
            messages.append((T0 + (seq + 1) * PACKET_NS + phase_ns, topic + "imu", payload))
        begin_ns = T0 + number * 171 % 1000 * MS
        messages += [(begin_ns + second * S, topic + "hr", BEAT) for second in range(SECONDS)]
    reads: dict[int, list[tuple[str, bytes, bool]]] = {}
    for t_ns, topic, payload in sorted(messages):
        reads.setdefault(t_ns // READ_NS * READ_NS + READ_NS, []).append((topic, payload, False))
    return list(reads.items())


class Server:
    """An engine, what waits for it, and a clock."""

    def __init__(self, *, tells: bool) -> None:
        self.engine = Engine(Config(), lambda: 0)
        self.steps = self.waiting_count = 0
        self._tells = tells
        self._splitter = Splitter(self.engine.topics, frames.PAYLOAD_BYTES_MAX)
        self._coming = deque(offered())
        self._waiting: deque[Group] = deque()
        self._step = self.engine.table.step
        self.engine.table.step = self._counted  # type: ignore[method-assign, assignment]

    def _counted(self, *arguments: Any) -> Estimates:
        self.steps += len(arguments[0])
        return self._step(*arguments)

    def tick(self, now_ns: int, factor: float) -> int:
        """Work on what came; return how long that took, ns."""
        while self._coming and self._coming[0][0] <= now_ns:
            self._waiting.append(self._coming.popleft())
            self.waiting_count += len(self._waiting[-1][1])
        chunks: list[Chunk] = []
        count = 0
        while self._waiting and count < BATCH:
            t_ns, group = self._waiting.popleft()
            count += len(group)
            data = frames.publish(group)
            chunks.append(Chunk(data, self._splitter.split(data, 0, len(data)).frames, t_ns, t_ns - T0))
        self.waiting_count -= count
        before = self.steps, self.engine.given_up["packets"]
        heard_ns = chunks[-1].arrived_ns if self._tells and self._waiting else None
        out = self.engine.advance(chunks, now_ns, heard_ns)
        dropped = self.engine.given_up["packets"] - before[1]
        lives = sum(each.topic.endswith("/live") for each in out)
        shares = MESSAGES / PER_S * (count - (1 - DROPPED) * dropped)
        shares += STEPS * (self.steps - before[0]) + LIVES * lives
        took_ns = round(factor * S / ATHLETES * shares) + MS // 5
        wait_ns = now_ns + took_ns - chunks[0].arrived_ns if chunks else 0
        self.engine.observe(now_ns + took_ns, took_ns, wait_ns)
        return took_ns


@cache
def run(factor: float, *, tells: bool) -> Course:
    """Return the course of a run in which work is so many times what there is time for, for a while."""
    server = Server(tells=tells)
    levels: list[int] = []
    begin = over = (0, 0)
    now_ns = T0
    while now_ns < T0 + SECONDS * S:
        passed_s = (now_ns - T0) / S
        heavy = BEGIN_S <= passed_s < BEGIN_S + LASTS_S
        next_ns = now_ns + server.tick(now_ns, factor if heavy else IDLE_LOAD)
        now_ns = next_ns if server.engine.behind else max(next_ns, now_ns + TICK_NS)
        if passed_s < BEGIN_S:
            begin = server.steps, server.engine.given_up["packets"]
        elif heavy:
            over = server.steps, server.engine.given_up["packets"]
        levels += [server.engine.ladder.level] * (round((now_ns - T0) / S) - len(levels))
    steps, dropped = (after - before for after, before in zip(over, begin, strict=True))
    return Course(steps, dropped, levels, server.waiting_count, ATHLETES * LASTS_S)


@pytest.mark.parametrize("factor", [1.3, 3.0])
def test_what_waits_is_not_taken_for_missing_so_overload_makes_no_work(factor: float) -> None:
    told, untold = (run(factor, tells=tells) for tells in (True, False))
    assert told.steps < 1.3 * told.due
    assert told.steps < untold.steps
    if factor < 2:
        assert told.dropped < 0.6 * untold.dropped


def test_three_times_too_much_is_survived_and_all_is_as_before_within_ten_seconds() -> None:
    course = run(3.0, tells=True)
    assert max(course.levels) == 4
    assert course.levels[BEGIN_S + LASTS_S + 10 :] == [0] * (SECONDS - BEGIN_S - LASTS_S - 10)
    assert course.waiting < BATCH
