"""Samples in, metrics out: real processes around a real broker, against the simulators' truth."""

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from server.codecs import samples
from server.envelopes import Incoming
from server.messages import Birth, Command, DeviceHealth, Gnss, HeartRate, Live, Reply, Workout
from server.mqtt import Link
from simulators import scenarios
from tests.support.brokers import KINDS, PATIENCE_S, hear, running_broker, soon
from tests.support.recordings import recordings
from tests.support.servers import (
    command,
    finished,
    live,
    own_kib,
    running,
    serving,
    status,
    value,
    workout,
)

DEMO_S = 25
SETTLED_S = 12  # from here on the live figures are compared with the truth
SECOND = 1_000_000_000


@pytest.mark.parametrize("kind", KINDS)
async def test_every_demo_athlete_is_live_once_a_second_near_the_simulated_truth(
    kind: str, tmp_path: Path
) -> None:
    truth_file = tmp_path / "truth.jsonl"
    heard: defaultdict[str, list[Live]] = defaultdict(list)
    ended: dict[str, Workout] = {}
    async with (
        running_broker(kind) as broker,
        serving(broker.address, scenarios.config("demo", None), tmp_path),
        Link(broker.address, subscriptions=[f"{broker.address.root}/athletes/+/+"]) as link,
    ):
        await link.ready()
        demo = command("simulate", broker.address, "--seconds", str(DEMO_S), "--truth", truth_file)
        async with running(demo):
            await finished(demo, DEMO_S + PATIENCE_S)
            while len(ended) < 4:
                for arrival in await hear(link, lambda arrival: True):
                    if arrival.topic.endswith("/live"):
                        heard[live(arrival).athlete].append(live(arrival))
                    elif arrival.topic.endswith("/workout") and workout(arrival).event == "ended":
                        ended[workout(arrival).athlete] = workout(arrival)
    truth = {
        (line["athlete"], line["t_ms"] // 1000): line
        for line in map(json.loads, truth_file.read_text().splitlines())
    }
    assert set(heard) == {"runner", "walker", "rider", "intervals"}
    for athlete, messages in heard.items():
        during = [each for each in messages if each.workout and each.workout.state == "running"]
        gaps_ms = [b.t_ms - a.t_ms for a, b in pairwise(during)]
        assert len(during) >= DEMO_S - 3
        assert set(gaps_ms) == {1000}
        for message in during:
            told = truth.get((athlete, message.t_ms // 1000))
            if told is None or message.workout is None or message.workout.elapsed_s < SETTLED_S:
                continue
            compare(message, told)
        summary = ended[athlete].summary
        assert summary is not None
        assert summary.distance_m is not None


def compare(message: Live, truth: dict[str, float]) -> None:
    """Hold one live message to the truth of its second, with room for what a second changes."""
    about = f"{message.athlete} at {message.t_ms}: {message.metrics} against {truth}"
    cadence = truth["crank_rpm"] if message.athlete == "rider" else truth["cadence_spm"]
    for metric, true, room in (
        ("heart_rate", truth["heart_rate_bpm"], 8.0),
        ("cadence", cadence, 15.0),
        ("speed", truth["speed_mps"], 1.2),
        ("distance", truth["distance_m"], 15.0),
        ("altitude", truth["altitude_m"], 15.0),
    ):
        told = value(message, metric)
        assert told is not None, f"no {metric}: {about}"
        assert abs(told - true) < room, f"{metric}: {about}"


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["sensorlogger_ski/data", "fitness_files_msimms/fit/20181108_run_garmin_fenix_3_hr.fit"]
)
async def test_a_replay_at_speed_has_the_totals_of_the_analysis(name: str) -> None:
    path = recordings(name.split("/")[0]).parent / name
    async with running_broker("mosquitto") as broker, serving(broker.address):
        speed = "10" if "ski" in name else "60"
        player = command("replay", broker.address, path, "--speed", speed, "--json")
        async with running(player):
            replayed = msgspec.json.decode(await finished(player, 120.0), type=Workout)
    assert replayed.summary is not None
    assert msgspec.to_builtins(replayed.summary) == analyzed(path)["summary"]


def analyzed(path: Path) -> dict[str, object]:
    """Return the analysis of a recording."""
    from server.analyze import analysis_of, report
    from server.config import Config
    from server.files import read

    recording = read(path)
    told: dict[str, object] = json.loads(
        json.dumps(report(path, recording, analysis_of(recording, Config()).workout))
    )
    return told


MALFORMED = (
    ("imu", b""),
    ("imu", b"K"),
    ("imu", b"K\x01\x06\x00" + b"\xff" * 36),
    ("imu", b"K\x01\x06\x00" + bytes(36)),
    ("imu", b'{"t": 1, "dt": 1, "accel": [[NaN, 0, 0]], "gyro": [[0, 0, 0]]}'),
    ("imu", b'{"t": 1, "dt": 10, "accel": [[0, 0, 1e99]], "gyro": [[0, 0, 0]]}'),
    ("hr", b'{"bpm": 1e9}'),
    ("hr", b'{"bpm": "fast"}'),
    ("hr", b"\xff\xfe\x00"),
    ("hr", b"[" * 1_000_000),  # kept, those of the second half alone would be 25 MB
    ("hr", b'{"t": "9999999999999999999", "bpm": 60}'),
    ("hr", b'{"t": 9223372036854775807, "bpm": 61}'),
    ("gnss", b'{"lat": NaN, "lon": 0}'),
    ("gnss", b'{"lat": 91, "lon": 0}'),
    ("gnss", b'{"lat": 1}'),
    ("baro", b'{"pressure_pa": -1}'),
    ("power", b"null"),
    ("cadence", b'{"spm": 170, "surprise": true}'),
    ("nonsense", b'{"bpm": 60}'),
    ("status", b'{"state": "asleep"}'),
)


async def test_a_thousand_malformed_messages_change_no_metric_and_are_counted_by_reason() -> None:
    quiet = await metrics_of_a_workout(malformed=0)
    loud = await metrics_of_a_workout(malformed=1000)
    assert quiet[0] == loud[0]
    assert sum(loud[1].refused.values()) == 1000
    assert set(loud[1].refused) >= {"json", "schema", "time", "kind", "short_header", "too_deep"}
    assert loud[2] < 16 * 1024, "memory grew by more than 16 MiB"


async def metrics_of_a_workout(malformed: int) -> tuple[list[bytes], DeviceHealth, int]:
    """Send a minute of a recorded strap and receiver, with malformed messages among them.

    Returns what was published live, the device's health at the end, and the growth of the server in the
    second half, KiB.
    """
    t0_ns = 1_700_000_000 * SECOND
    seconds = 60
    async with running_broker("mosquitto") as broker, serving(broker.address) as server:
        root = broker.address.root
        topics = [f"{root}/athletes/+/live", f"{root}/devices/+/health", f"{root}/athletes/+/reply/+"]
        async with Link(broker.address, subscriptions=topics) as link:
            await link.ready()

            def send(kind: str, payload: bytes) -> None:
                topic = f"{root}/command/anna" if kind == "command" else f"{root}/in/anna/{kind}"
                link.publish(topic, payload, qos=1)

            send("status", b'{"state": "online", "clock": {"recorded": true}}')
            send("command", samples.encode(Command("start", "go", t=t0_ns, sport="run")))
            lives: list[bytes] = []
            health: list[DeviceHealth] = []

            def sort(arrivals: list[Incoming]) -> None:
                lives.extend(each.payload for each in arrivals if each.topic.endswith("/live"))
                health.extend(
                    msgspec.json.decode(each.payload, type=DeviceHealth)
                    for each in arrivals
                    if each.topic.endswith("/health")
                )

            before_kib = 0
            sent = 0
            for second in range(seconds):
                t_ns = t0_ns + second * SECOND
                for _ in range(malformed // (seconds - 1) + 1 if second else 0):
                    if sent < malformed:
                        send(*MALFORMED[sent % len(MALFORMED)])
                        sent += 1
                send("hr", samples.encode(HeartRate(t=t_ns, bpm=120.0 + second % 7)))
                send("gnss", samples.encode(Gnss(t=t_ns, lat=10.0 + second * 3e-5, lon=20.0)))
                if second == seconds // 2:  # buffers have the size that such messages ask for
                    await link.flush()
                    before_kib = own_kib(server)
            send("command", samples.encode(Command("stop", "end", t=t0_ns + seconds * SECOND)))
            sort(await hear(link, lambda each: each.topic.endswith("/reply/end")))
            grown_kib = own_kib(server) - before_kib
            wanted = malformed
            while not health or sum(health[-1].refused.values()) < wanted:
                sort(await hear(link, lambda each: each.topic.endswith("/health")))
    assert sent == malformed
    return lives, health[-1], grown_kib


@pytest.mark.parametrize("kind", KINDS)
async def test_the_workout_goes_on_when_the_broker_is_killed_and_started_again(kind: str) -> None:
    async with running_broker(kind) as broker, serving(broker.address):
        root = broker.address.root
        topics = [f"{root}/athletes/ben/live", f"{root}/athletes/ben/reply/+", f"{root}/server/status"]
        async with Link(broker.address, subscriptions=topics) as link:
            await link.ready()

            async def run(seconds: range) -> Live:
                """Send some seconds of a workout, each until its live message is heard."""
                newest = None
                for second in seconds:
                    t_ns = 1_700_000_000 * SECOND + second * SECOND
                    payload = samples.encode(Gnss(t=t_ns, lat=10.0 + second * 3e-5, lon=20.0, speed_mps=3.3))
                    link.publish(f"{root}/in/ben/gnss", payload, qos=1)
                    if second > seconds[0] + 1:
                        arrivals = await hear(link, lambda each: each.topic.endswith("/live"))
                        newest = live(arrivals[-1])
                assert newest is not None
                return newest

            link.publish(f"{root}/in/ben/status", b'{"state": "online", "clock": {"recorded": true}}', qos=1)
            begin = Command("start", "go", t=1_700_000_000 * SECOND, sport="run")
            link.publish(f"{root}/command/ben", samples.encode(begin), qos=1)
            before = await run(range(20))
            await broker.kill()
            await broker.start()
            await hear(link, lambda each: each.topic.endswith("/status") and status(each).state == "online")
            after = await run(range(20, 40))
    assert before.workout is not None
    assert after.workout is not None
    assert after.workout.id == before.workout.id
    assert after.t_ms > before.t_ms + 10_000
    for message in (before, after):
        seconds = message.t_ms / 1000 - 1_700_000_000
        assert value(message, "distance") == pytest.approx(seconds * 3.336, abs=10.0)


async def test_commands_are_obeyed_once_and_answered() -> None:
    async with running_broker("mosquitto") as broker, serving(broker.address):
        root = broker.address.root
        async with Link(broker.address, subscriptions=[f"{root}/athletes/+/reply/+"]) as link:
            await link.ready()

            async def ask(order: Command, athlete: str = "cara") -> Reply:
                link.publish(f"{root}/command/{athlete}", samples.encode(order), qos=1)
                arrivals = await hear(link, lambda each: each.topic.endswith(f"/reply/{order.id}"))
                return msgspec.json.decode(arrivals[-1].payload, type=Reply)

            assert (await ask(Command("start", "a"))).reason == "unknown_athlete"
            link.publish(f"{root}/in/cara/status", samples.encode(Birth(sport="ride")), qos=1)
            started = await ask(Command("start", "b"))
            assert started.ok
            assert await ask(Command("start", "b")) == started
            assert (await ask(Command("resume", "c"))).reason == "already_running"
            assert (await ask(Command("pause", "d"))).ok
            assert (await ask(Command("lap", "e"))).ok
            assert (await ask(Command("stop", "f", expires=1))).reason == "expired"
            assert (await ask(Command("stop", "g"))).ok
            assert (await ask(Command("lap", "h"))).reason == "no_workout"


async def test_the_server_says_offline_when_it_is_stopped_and_when_it_is_killed() -> None:
    async with running_broker("mosquitto") as broker:
        topic = f"{broker.address.root}/server/status"
        for end in ("stop", "kill"):
            async with serving(broker.address) as server, Link(broker.address, subscriptions=[topic]) as link:
                await hear(link, lambda each: status(each).state == "online")
                if end == "kill":
                    server.kill()
                else:
                    await server.stop(PATIENCE_S)
                told = await hear(link, lambda each: status(each).state == "offline")
                assert status(told[-1]).state == "offline"


async def test_serve_waits_for_a_broker_and_ends_at_once_when_asked_to() -> None:
    async with running_broker("mosquitto") as broker:
        await broker.kill()
        server = command("serve", broker.address)
        async with running(server):
            await soon(lambda: any("trying again" in line for line in server.tail))
            await server.stop(PATIENCE_S)
            assert server.returncode == 0, server.last_words()
