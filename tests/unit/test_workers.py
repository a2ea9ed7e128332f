"""Workers as their parent sees them: who gets what, what is confirmed and when, and how they die."""

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from server import realtime
from server.clock import SystemClock
from server.codecs import samples
from server.config import Athlete, Broker, Config, Device, Server
from server.deadlines import Deadlines
from server.envelopes import Arrivals, Chunk, Incoming
from server.errors import WorkerError
from server.frames import FRAME, PAYLOAD_BYTES_MAX, Splitter, gather, packet_ids
from server.messages import Birth, Death, HeartRate
from server.workers import member as members
from server.workers import routing
from server.workers.member import BATCH_MAX, Member
from server.workers.pool import Pool
from server.workers.routing import Births, Part, Router
from server.workers.wire import Answer, Tick, decode_for_worker
from tests.support.brokers import PATIENCE_S, soon

ROOT = "kinefuse/v1"
BIRTH = samples.encode(Birth(placement="hip"))


def assured(topic: str, payload: bytes, packet_id: int) -> bytes:
    """Return a PUBLISH of QoS 1."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + packet_id.to_bytes(2, "big") + payload
    assert len(body) < 128
    return bytes((0x32, len(body))) + body


def chunk_of(router: Router, data: bytes) -> Chunk:
    split = Splitter(router.topics, PAYLOAD_BYTES_MAX).split(data, 0, len(data))
    return Chunk(data, split.frames, 1, 2, 7)


def test_each_worker_confirms_its_own_messages() -> None:
    router = Router(Config(), 2)
    data = b"".join(assured(f"{ROOT}/in/d{n}/hr", b'{"bpm": 60}', n + 1) for n in range(20))
    parts = dict(router.parts(chunk_of(router, data)))
    assert set(parts) == {0, 1}
    assert sum(len(part.data) for part in parts.values()) == len(data)
    for worker, part in parts.items():
        assert part.receipt is not None
        assert part.receipt.connection == 7
        own = [n + 1 for n in range(20) if router.worker(f"d{n}") == worker]
        assert packet_ids([part.receipt.frames]).tolist() == own
        assert part.messages == len(own)


def test_devices_that_are_enrolled_are_told_apart_while_frames_are_split() -> None:
    router = Router(Config(), 2)
    for n in range(8):
        router.enrolled(f"d{n}")
    data = b"".join(assured(f"{ROOT}/in/d{n}/imu", b"K", n + 1) for n in range(8))
    chunk = chunk_of(router, data)
    assert chunk.frames["device"].tolist() == [router.worker(f"d{n}") for n in range(8)]
    assert sum(part.messages for _, part in router.parts(chunk)) == 8


def test_frames_that_are_none_are_refused() -> None:
    with pytest.raises(TypeError):
        gather(b"", np.zeros(1, FRAME), np.zeros(2, np.uint32), 1)
    with pytest.raises(ValueError, match="one behind the other"):
        gather(b"1234", np.zeros(1, FRAME), np.zeros(1, np.uint32), 1)


def test_a_worker_knows_its_own_athletes_and_no_password() -> None:
    broker = Broker(external=True, username="kinefuse", password="secret")
    ids = [f"a{n}" for n in range(9)]
    config = Config(
        broker=broker, athletes=[Athlete(id=each, devices=[Device(id="d" + each)]) for each in ids]
    )
    shares = Router(config, 2).configs()
    assert sorted(athlete.id for share in shares for athlete in share.athletes) == ids
    assert all(share.athletes and not share.broker.password and share.broker.is_external for share in shares)


def test_the_newest_word_of_each_device_is_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    births = Births(devices_max=3)
    for n in range(5):
        births.keep(n % 2, f"{ROOT}/in/d{n}/status", BIRTH)
    assert len(births) == 3
    assert b"d3" in births.of(1)
    assert b"d4" in births.of(0)
    births.keep(1, f"{ROOT}/in/d3/status", b"nonsense")
    assert BIRTH in births.of(1)
    births.keep(1, f"{ROOT}/in/d3/status", samples.encode(Death()))
    assert BIRTH not in births.of(1)
    births.keep(1, f"{ROOT}/in/d3/status", b"")
    assert births.of(1) == b""
    monkeypatch.setattr(routing, "BIRTHS_KEPT_BYTES", 100)
    births.keep(0, f"{ROOT}/in/d5/status", BIRTH)
    assert len(births) == 1


def test_times_of_another_process_are_as_if_they_were_taken_here() -> None:
    here, there, both = (Deadlines(Config().deadlines) for _ in range(3))
    for ns in (0, 5, 1_000, 3_000_000, 80_000_000):
        there.observe("fuse", ns)
        both.observe("fuse", ns)
    here.observe("fuse", 77)
    both.observe("fuse", 77)
    here.add(there.take())
    assert there.take() == {}
    assert here.report(0).stages == both.report(0).stages
    assert here.stages["fuse"].cumulative() == both.stages["fuse"].cumulative()
    here.history.take_in(there.history.take())
    assert [each.took_ms for each in here.history.newest()] == [80.0]


class Parent:
    """A parent of one worker, and what it hears."""

    def __init__(self, config: Config | None = None) -> None:
        self.answers: list[Answer] = []
        self.done: list[Part] = []
        self.changed = asyncio.Event()
        config = config or Config()
        self.router = Router(config, 1)
        self.member = Member(
            0,
            config,
            1,
            SystemClock(),
            births=lambda: self.router.births.of(0),
            on_answer=self.answers.append,
            on_done=self.done.extend,
            on_change=self.changed.set,
        )

    def send(self, kind: str, payload: bytes) -> Part:
        clock = SystemClock()
        data = assured(f"{ROOT}/in/d/{kind}", payload, 1)
        chunk = chunk_of(self.router, data)._replace(
            arrived_ns=clock.utc_ns(), received_ns=clock.monotonic_ns()
        )
        ((_, part),) = self.router.parts(chunk)
        self.member.put(part)
        self.member.pump()
        return part

    async def until(self, state: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.member.status.state != state:
                self.changed.clear()
                await self.changed.wait()


def test_who_cannot_follow_loses_the_oldest_which_is_counted_and_confirmed() -> None:
    parent = Parent(Config(server=Server(inbox_messages_max=16)))
    parts = [parent.send("hr", samples.encode(HeartRate(bpm=60.0))) for _ in range(BATCH_MAX + 4)]
    assert parent.done == parts[:4]
    assert parent.member.lost == {"worker_behind": 4}
    assert parent.member.status.lost == 4


class Written:
    """A pipe that keeps what is sent."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []

    def send(self, message: bytes) -> None:
        said = decode_for_worker(message)
        if isinstance(said, Tick):
            self.ticks.append(said)


def test_a_worker_for_which_nothing_waits_is_told_when_others_have_caught_up() -> None:
    pool = Pool(Config(server=Server(workers=2)), SystemClock(), lambda: None, lambda *_: None)
    pipes = Written(), Written()
    for member, pipe in zip(pool._members, pipes, strict=True):
        member._pipe = pipe  # type: ignore[assignment]
        member.ready.set()
    beats: list[Arrivals] = [
        Incoming(f"{ROOT}/in/{name}/hr", samples.encode(HeartRate(t=1, bpm=60)), False, 5, 5)
        for name in (next(f"d{n}" for n in range(99) if pool._router.worker(f"d{n}") == k) for k in (0, 1))
    ]
    pool.take(beats[:1], 5)  # more waits in the inbox,
    assert [[tick.heard_ns for tick in pipe.ticks] for pipe in pipes] == [[5], [5]]
    pool.take(beats[1:], None)  # which is for the other one
    pool.take([], None)
    assert [[tick.heard_ns for tick in pipe.ticks] for pipe in pipes] == [[5, None], [5, None]]
    assert [[len(tick.parts) for tick in pipe.ticks] for pipe in pipes] == [[1, 0], [0, 1]]


async def test_a_worker_is_born_again_and_so_are_its_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "SILENT_S", 3.0)
    parent = Parent()
    member = parent.member
    running = asyncio.create_task(member.run())
    try:
        await parent.until("running")
        first = member.status.pid
        part = parent.send("status", BIRTH)
        await soon(lambda: part in parent.done and member.status.devices == 1)
        os.kill(first, signal.SIGSTOP)  # it hangs
        await parent.until("restarting")
        assert not Path(f"/proc/{first}").exists()  # noqa: ASYNC240  (no file, and there at once)
        waiting = parent.send("hr", samples.encode(HeartRate(bpm=60.0)))
        await parent.until("running")
        assert member.status.pid != first
        assert member.status.restarts == 1
        await soon(lambda: waiting in parent.done and member.status.devices == 1)
        assert not member.lost
        assert await member.end(2.0) == 0
        assert [each[0] for answer in parent.answers for each in answer.assured][-1].endswith("/d/workout")
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert member.status.pid == 0


async def test_a_bug_that_ends_a_worker_again_and_again_ends_the_server(
    capfd: pytest.CaptureFixture[str],
) -> None:
    parent = Parent()
    parent.member._settings = b"{"  # not what a parent sends
    with pytest.raises(WorkerError, match="DecodeError"):
        async with asyncio.timeout(PATIENCE_S):
            await parent.member.run()
    assert parent.member.status.restarts == members.BUGS_MAX
    assert "kinefuse: worker 1| Traceback" in capfd.readouterr().err


def test_realtime_is_had_or_the_way_to_it_is_told() -> None:
    before = (os.sched_getscheduler(0), os.sched_getparam(0))
    try:
        told = realtime.ask()
        if told:
            assert "ulimit -r" in told
            assert "\n" not in told
        else:
            assert os.sched_getscheduler(0) == os.SCHED_FIFO
    finally:
        os.sched_setscheduler(0, *before)
