"""Hostile devices and coaches around a real server: nobody else is harmed, and all is counted."""

import asyncio
import contextlib
import itertools
import json
import struct
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import msgspec

from server.brokers.process import Child
from server.codecs import samples
from server.config import Broker
from server.envelopes import Incoming
from server.messages import Baro, DeviceHealth, Gnss, HeartRate, Reply, ServerStatus
from server.mqtt import Link
from tests.support.brokers import PATIENCE_S, hear, running_broker
from tests.support.servers import live, own_kib, serving, status, workout

S = 1_000_000_000
T0 = 1_700_000_000 * S
RECORDED = b'{"state": "online", "placement": "wrist", "clock": {"recorded": true}}'


class Scene(NamedTuple):
    """A server, and a link that hears what it says of athletes, devices and itself."""

    server: Child
    link: Link
    broker: Broker

    def send(self, topic: str, payload: bytes | dict[str, Any] | list[Any], *, retain: bool = False) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.link.publish(f"{self.broker.root}/{topic}", data, qos=1, retain=retain)

    async def ask(self, action: str, name: str, athlete: str, **fields: Any) -> Reply:
        self.send(f"command/{athlete}", {"action": action, "id": name, **fields})
        heard = await hear(self.link, lambda each: each.topic.endswith(f"/reply/{name}"))
        return msgspec.json.decode(heard[-1].payload, type=Reply)

    async def end(self) -> ServerStatus:
        """End the server; return its last word, unless it died before."""
        died = self.server.returncode is not None
        assert not died, self.server.last_words()
        await self.server.stop(PATIENCE_S)
        assert self.server.returncode == 0, self.server.last_words()
        heard = await hear(
            self.link,
            lambda each: each.topic.endswith("/server/status") and status(each).state == "offline",
        )
        return status(heard[-1])


@contextlib.asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with running_broker("mosquitto") as broker, serving(broker.address) as server:
        root = broker.address.root
        topics = [f"{root}/{each}" for each in ("athletes/#", "devices/#", "server/status")]
        async with Link(broker.address, subscriptions=topics) as link:
            await link.ready()
            yield Scene(server, link, broker.address)


def imu(
    t0: int,
    seq: int,
    *,
    boot: int = 1,
    dt: int = 10_000_000,
    count: int = 10,
    columns: int = 6,
    told: int | None = None,
    magic: int = 0x4B,
    version: int = 1,
    flags: int = 0,
    reserved: int = 0,
    scale: float = 0.005,
) -> bytes:
    """Return a binary packet at rest; ``told`` is the count that its header tells, where that is a lie."""
    head = struct.pack(
        "<4BIQIIHH3f",
        *(magic, version, columns, flags, boot, t0, seq, dt),
        *(count if told is None else told, reserved, scale, 0.001, 0.05),
    )
    row = [0, 0, 1961, 0, 0, 0, 400, 0, 800][:columns]
    return head + struct.pack(f"<{len(row) * count}h", *row * count)


def second_of_a_run(name: str, second: int) -> Iterator[tuple[str, bytes]]:
    """Yield what an honest, recorded athlete's device sends in one second."""
    t = T0 + second * S
    slower = 0.5 if name == "bob" else 1.0
    yield f"in/{name}/hr", samples.encode(HeartRate(t=t, bpm=slower * (150.0 + second % 7)))
    for tenth in range(0, 10, 2):
        yield f"in/{name}/imu", imu(t + tenth * S // 10, second * 5 + tenth // 2, dt=20_000_000)
    yield f"in/{name}/gnss", samples.encode(Gnss(t=t, lat=10.0 + slower * second * 3e-5, lon=20.0))
    yield f"in/{name}/baro", samples.encode(Baro(t=t, pressure_pa=101_325.0 - slower * second))


WRONG_HEADERS: dict[str, list[bytes]] = {
    "json": [imu(T0, 0, magic=0x4C)],  # read as JSON, which it is not either
    "short_header": [b"K", imu(T0, 0)[:39]],
    "bad_version": [imu(T0, 0, version=0), imu(T0, 0, version=2)],
    "bad_columns": [imu(T0, 0, columns=columns) for columns in (0, 3, 8)],
    "bad_flags": [imu(T0, 0, flags=flags) for flags in (2, 0x80, 0xFF)],
    "bad_count": [imu(T0, 0, count=0), imu(T0, 0, count=1001), imu(T0, 0, told=0xFFFF)],
    "bad_reserved": [imu(T0, 0, reserved=1), imu(T0, 0, reserved=0xFFFF)],
    "bad_length": [imu(T0, 0, told=9), imu(T0, 0, told=11), imu(T0, 0) + b"\0", imu(T0, 0)[:-1]],
    "bad_time": [imu(2**63, 0), imu(2**64 - 1, 0), imu(2**63 - 1, 0), imu(2**63 - 10**9, 0, dt=2**32 - 1)],
    "bad_scale": [imu(T0, 0, scale=scale) for scale in (0.0, -1.0, float("nan"), float("inf"), 3e38)],
}
ODD_IDS = ("a b", "ü", "🏃", "a.b", "..", "x" * 65, "a,b", "'", "%s", "{0}", "$SYS")
STAMPS = (-(2**63), -1, 0, 1, 2**53 + 1, 2**62, 2**63 - 1)
JUMPS = (1, -1, 5, -30, 3_600, -3_600, 86_400, -86_400, 31_557_600, -31_557_600)


def hostilities(second: int) -> Iterator[tuple[str, bytes, bool]]:
    """Yield what hostile devices, who are all enrolled, publish in one second: topic, payload, retain."""
    now = time.time_ns()
    t = now + JUMPS[second % len(JUMPS)] * S
    yield f"in/{ODD_IDS[second % len(ODD_IDS)]}/hr", b'{"bpm": 60}', False
    for payloads in WRONG_HEADERS.values():
        yield "in/mallory/imu", payloads[second % len(payloads)], False
    for kind, payload in (
        ("hr", b'{"bpm": NaN}'),
        ("hr", b'{"bpm": 1e400}'),
        ("hr", b'{"bpm": "60"}'),
        ("hr", b'{"bpm": 60, "t": 9223372036854775808}'),
        ("hr", b'{"bpm": 60, "t": "-9223372036854775809"}'),
        ("hr", b'{"bpm": 60, "t": 1.5}'),
        ("hr", b'{"bpm": 60, "rr_ms": [0]}'),
        ("hr", b'{"bpm": 60}' + b" " * 1_100_000 if second == 3 else b""),
        ("hr", b"[" * 50_000),
        ("hr", b'{"a":' * 50_000),
        ("hr", b"[" + b"0," * 1000 + b"0]"),
        ("hr", b"[null, true, [], {}, 1]"),
        ("gnss", b'{"lat": 90.1, "lon": 0}'),
        ("gnss", b'{"lat": 1, "lon": 2, "h_acc_m": 0}'),
        ("baro", b'{"pressure_pa": -Infinity}'),
        ("power", b'{"watts": 5001}'),
        ("cadence", b'{"rpm": -1}'),
        ("wheel", b"\xff\xfe"),
        ("foot", b'{"speed_mps": 3, "sped": 3}'),
        ("battery", b'{"level": 2}'),
        ("status", b'{"state": "ghost"}'),
        ("status", b""),
        ("pong", b'{"id": "ping-1"}'),
        ("imu", b'{"dt": 0, "accel": [[0, 0, 0]], "gyro": [[0, 0, 0]]}'),
        ("imu", b'{"dt": 1, "accel": [[0, 0, 0]], "gyro": []}'),
        (
            "imu",
            b'{"t": 9223372036854775807, "dt": 9, "accel": [[0,0,1],[0,0,1]], "gyro": [[0,0,0],[0,0,0]]}',
        ),
        ("orientation", b"{}"),
        ("command", b'{"action": "stop", "id": "evil"}'),
    ):
        yield f"in/mallory/{kind}", payload, False
    # In order, but strange: a clock that is set, the ends of int64, another boot each time, twice the same,
    # backwards, packets of 1000 samples, all at one instant, and 4 s apart.
    for stamp in (t, t, t - S, STAMPS[second % len(STAMPS)]):
        yield "in/jumper/hr", b'{"bpm": 200, "t": %d}' % stamp, False
        yield "in/jumper/gnss", b'{"lat": -80, "lon": 170, "speed_mps": 99, "t": "%d"}' % stamp, False
        yield "in/jumper/imu", imu(max(0, stamp) % 2**62, second), False
    for turn in range(3):
        yield "in/phoenix/imu", imu(now, 0, boot=second * 3 + turn), False
        yield "in/phoenix/hr", b'{"bpm": 30, "boot": %d, "seq": 0}' % (second * 3 + turn), False
    yield "in/giant/imu", imu(now + second * 10 * S, second, count=1000, columns=9), False
    yield "in/still/imu", imu(now, second, dt=0), False
    yield "in/slow/imu", imu(now, second, dt=4 * S), False
    yield "in/slow/imu", imu(now, (second - 1) % 2**32), False
    yield "in/mallory/power", b'{"watts": 300, "seq": %d}' % second, True
    yield "command/mallory", b'{"action": "start", "id": "r-%d"}' % second, True
    yield "command/nobody", b'{"action": "stop", "id": "n"}', False
    yield "command/mallory", b'{"action": "dance", "id": "d"}', False


COUNTED = {
    *WRONG_HEADERS,
    *("topic", "kind", "schema", "time", "too_large", "too_deep", "too_many", "duplicate", "pong_unasked"),
    *("stale", "future", "late", "command_unknown_athlete", "command_schema"),
}


async def test_hostile_devices_change_nothing_of_an_honest_athlete_and_are_counted_by_reason() -> None:
    quiet, _, _ = await told_of_runs(["ada"], hostile=False)
    loud, ended, grown_kib = await told_of_runs(["ada"], hostile=True)
    assert quiet["ada"] == loud["ada"]
    assert len(quiet["ada"]) >= 28
    assert set(ended.refused) >= COUNTED, COUNTED - set(ended.refused)
    assert ended.dropped == 0
    assert grown_kib < 6 * 1024


async def test_two_athletes_whose_devices_speak_in_turns_are_told_of_as_if_each_were_alone() -> None:
    alone = [(await told_of_runs([name], hostile=False))[0][name] for name in ("ada", "bob")]
    together, _, _ = await told_of_runs(["ada", "bob"], hostile=False)
    assert [together["ada"], together["bob"]] == alone
    assert alone[0] != alone[1]


def modeless(payload: bytes) -> dict[str, Any]:
    """Return a message without the server's mode, in which a busy machine has its say."""
    message: dict[str, Any] = msgspec.json.decode(payload)
    message.pop("mode", None)
    return message


async def told_of_runs(
    names: list[str], *, hostile: bool
) -> tuple[dict[str, list[dict[str, Any]]], ServerStatus, int]:
    """Send half a minute of recorded runs, perhaps with hostilities between any two messages.

    Returns what was published live and of the workout, the server's last word and how much it grew, KiB.
    """
    seconds, before_kib = 30, 0
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    async with scene() as stage:
        for name in names:
            stage.send(f"in/{name}/status", RECORDED)
            stage.send(f"command/{name}", {"action": "start", "id": "go", "sport": "run", "t": T0})
        if hostile:
            for name in ("mallory", "jumper", "phoenix", "giant", "still", "slow"):
                stage.send(f"in/{name}/battery", {"level": 1})
        for second in range(seconds):
            evil = hostilities(second) if hostile else iter(())
            of_all = [list(second_of_a_run(name, second)) for name in names]
            for topic, payload in itertools.chain(*zip(*of_all, strict=True)):
                stage.send(topic, payload)
                for bad in itertools.islice(evil, 12):
                    stage.send(bad[0], bad[1], retain=bad[2])
            for bad in evil:
                stage.send(bad[0], bad[1], retain=bad[2])
            await stage.link.flush()
            if second == 10:
                before_kib = own_kib(stage.server)
        for name in names:
            stage.send(f"command/{name}", {"action": "stop", "id": f"end-{name}", "t": T0 + seconds * S})
        heard: list[Incoming] = []
        waited = {f"{stage.broker.root}/athletes/{name}/reply/end-{name}" for name in names}
        async with asyncio.timeout(PATIENCE_S):
            while waited:
                heard += await hear(stage.link, lambda arrival: True)
                waited.discard(heard[-1].topic)
        for last in ("live", "workout"):  # of another quality of service: their order is not kept
            for name in names:
                topic = f"{stage.broker.root}/athletes/{name}/{last}"
                told[name] += [modeless(arrival.payload) for arrival in heard if arrival.topic == topic]
        grown_kib = own_kib(stage.server) - before_kib
        return told, await stage.end(), grown_kib


async def test_each_wrong_field_of_a_packet_has_a_reason_of_its_own_in_the_health_of_its_device() -> None:
    async with scene() as stage:
        stage.send("in/board/imu", imu(time.time_ns(), 0))
        wanted = {reason: len(payloads) for reason, payloads in WRONG_HEADERS.items()}
        for payload in itertools.chain.from_iterable(WRONG_HEADERS.values()):
            stage.send("in/board/imu", payload)
        health = None
        while health is None or sum(health.refused.values()) < sum(wanted.values()):
            heard = await hear(stage.link, lambda each: each.topic.endswith("/board/health"))
            health = msgspec.json.decode(heard[-1].payload, type=DeviceHealth)
        assert health.refused == wanted
        assert health.packets == 1


async def test_what_was_retained_before_the_start_enrols_nobody_and_is_not_obeyed() -> None:
    async with running_broker("mosquitto") as broker:
        root = broker.address.root
        left: dict[str, bytes] = {
            "in/ghost/hr": b'{"bpm": 60}',
            "in/ghost/imu": imu(time.time_ns(), 0),
            "in/ghost/status": b'{"state": "onl',
            "in/ghost/nonsense": b"{}",
            "command/ghost": b'{"action": "start", "id": "again"}',
        }
        async with Link(broker.address) as link:
            for topic, payload in left.items():
                link.publish(f"{root}/{topic}", payload, qos=1, retain=True)
        for _ in range(2):  # the second server meets them as well
            async with (
                Link(broker.address, subscriptions=[f"{root}/server/status", f"{root}/athletes/#"]) as link,
                serving(broker.address) as server,
            ):
                await link.ready()
                stage = Scene(server, link, broker.address)
                stage.send("in/ada/hr", {"bpm": 60})  # behind all that was retained
                await hear(link, lambda each: each.topic.endswith("/ada/live"))
                ended = await stage.end()
                assert (ended.devices, ended.athletes, ended.workouts) == (1, 1, 0)
                assert ended.refused == {"retained": 3, "json": 1, "command_unknown_athlete": 1}


async def test_no_order_is_obeyed_twice_and_none_that_is_retained_late_or_void() -> None:
    async with scene() as stage:
        stage.send("in/eve/hr", {"bpm": 60})
        paused = await stage.ask("pause", "p", "eve")
        assert paused.ok
        assert (await stage.ask("pause", "q", "eve")).reason == "already_paused"
        assert await stage.ask("stop", "p", "eve") == paused  # the id was used: what it says is not looked at
        assert (await stage.ask("resume", "r", "eve")).ok
        for t in (0, -(2**63), 2**63 - 1, time.time_ns() + 3600 * S, time.time_ns() - 3600 * S):
            assert (await stage.ask("stop", f"t{t}", "eve", t=t)).reason == "time"
        for name, expires in (("past", time.time_ns() - 1), ("min", -(2**63))):
            assert (await stage.ask("stop", name, "eve", expires=expires)).reason == "expired"
        retained = {"action": "stop", "id": "kept"}
        # To a subscriber who is there it comes as a fresh one.
        stage.send("command/eve", retained, retain=True)
        await hear(stage.link, lambda each: each.topic.endswith("/reply/kept"))
        assert (await stage.ask("stop", "s", "eve")).reason == "no_workout"
        stage.send("in/eve/hr", {"bpm": 61})
        assert (await stage.ask("lap", "l", "eve")).reason == "no_workout"
        first = await stage.ask("start", "a", "eve")
        assert (await stage.ask("start", "b", "eve")).ok
        assert await stage.ask("start", "a", "eve") == first
        await stage.end()


async def test_a_storm_of_laps_is_bounded_and_holds_nobody_up() -> None:
    async with scene() as stage:
        stage.send("in/eve/hr", {"bpm": 60})
        stage.send("in/ada/hr", {"bpm": 60})
        for number in range(1100):
            stage.send("command/eve", {"action": "lap", "id": f"lap-{number}"})
        stage.send("command/ada", {"action": "lap", "id": "mine"})
        replies: dict[str, Reply] = {}
        laps = 0
        async with asyncio.timeout(PATIENCE_S):
            while not {"mine", "lap-1099"} <= set(replies):
                heard = (await hear(stage.link, lambda arrival: True))[-1]
                if "/reply/" in heard.topic:
                    replies[heard.topic.rsplit("/", 1)[1]] = msgspec.json.decode(heard.payload, type=Reply)
                elif heard.topic.endswith("/eve/workout"):
                    laps = len(workout(heard).laps)
        assert laps == 1000
        assert [replies[f"lap-{number}"].ok for number in range(1000)] == [True] * 1000
        assert {replies[f"lap-{number}"].reason for number in range(1000, 1100)} == {"laps_max"}
        assert replies["mine"].ok
        await stage.end()


async def test_a_flood_of_devices_delays_no_second_of_an_athlete() -> None:
    async with scene() as stage:
        stop = asyncio.Event()

        async def run() -> int:
            """Be an honest live device until asked to stop."""
            for second in itertools.count():
                stage.send("in/ada/hr", {"bpm": 150 + second % 3, "t": time.time_ns(), "seq": second})
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.5)
                    break
            return second

        honest = asyncio.create_task(run())
        await hear(stage.link, lambda each: each.topic.endswith("/ada/live"))
        heard: list[Incoming] = []
        for turn in range(5):
            for number in range(300):
                stage.send(f"in/flood-{number}/hr", {"bpm": 60 + turn})
                stage.send(f"in/flood-{number}/hr", {"bpm": -1})
            heard += await hear(stage.link, lambda each: each.topic.endswith("/ada/live"))
        stop.set()
        await honest
        await stage.ask("lap", "last", "ada")  # behind all of the flood
        ended = await stage.end()
        seconds = [live(each) for each in heard if each.topic.endswith("/ada/live")]
        assert {b.t_ms - a.t_ms for a, b in itertools.pairwise(seconds)} == {1000}
        assert all(each.metrics["heart_rate"].value is not None for each in seconds)
        assert (ended.devices, ended.dropped, ended.unsent) == (301, 0, 0)
        assert ended.refused == {"schema": 1500}


async def test_a_backlog_of_one_recording_holds_up_nobody() -> None:
    """A small list of stamps 590 s apart makes tens of thousands of steps due."""
    async with scene() as at:
        at.send("in/flood/status", RECORDED)
        at.send("in/flood/hr", [{"bpm": 60, "t": T0 + i * 590 * S} for i in range(100)])
        first = await hear(at.link, lambda each: each.topic.endswith("/athletes/flood/live"))
        heard = [live(each).t_ms for each in first if each.topic.endswith("/flood/live")]
        for _ in range(3):
            at.send("in/ada/hr", {"bpm": 60})
            told = await hear(at.link, lambda each: each.topic.endswith("/athletes/ada/live"))
            heard += [live(each).t_ms for each in told if each.topic.endswith("/flood/live")]
        assert max(heard) < (T0 + 99 * 590 * S) // 1_000_000, "the flood was over before ada was served"
        assert (await at.end()).unsent == 0
