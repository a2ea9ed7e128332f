"""Messages that come too late through a real broker are in the log, and can be played from it."""

import time
from pathlib import Path

import msgspec
import pytest

from server.codecs import samples
from server.files import read_all
from server.late import FOLDER
from server.messages import Command, HeartRate, Workout
from server.mqtt import Link
from tests.support.brokers import KINDS, hear, running_broker
from tests.support.servers import PATIENCE_S, command, finished, running, serving, status

S = 1_000_000_000
LATE = 5


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", KINDS[:1])
async def test_what_is_too_old_for_a_rewind_is_written_counted_and_played(
    kind: str, workers: int, tmp_path: Path
) -> None:
    now_ns = time.time_ns()
    config = f'[server]\nstate_dir = "{tmp_path}"\nworkers = {workers}\nrewind_s = 5'
    async with running_broker(kind) as broker:
        root = broker.address.root
        async with (
            serving(broker.address, config, tmp_path),
            Link(broker.address, subscriptions=[f"{root}/athletes/strap/reply/+"]) as link,
        ):
            await link.ready()
            for second in (0, 1, *range(-60, -60 + LATE), 2):
                t_ns = now_ns + second * S
                link.publish(f"{root}/in/strap/hr", samples.encode(HeartRate(t=t_ns, bpm=120)), qos=1)
            link.publish(f"{root}/command/strap", samples.encode(Command("stop", "end")), qos=1)
            await hear(link, lambda arrival: arrival.topic.endswith("/end"))
        async with Link(broker.address, subscriptions=[f"{root}/server/status"]) as link:
            told = status((await hear(link, lambda arrival: status(arrival).state == "offline"))[-1])
        assert told.refused["stale"] == LATE
        assert told.late_log is not None
        assert (told.late_log.written, told.late_log.unwritten, told.late_log.error) == (LATE, 0, "")
        (recording,) = read_all(tmp_path / FOLDER)
        assert (recording.device, recording.records) == ("strap", LATE)
        async with serving(broker.address):
            child = command("replay", broker.address, tmp_path / FOLDER, "--speed", "max", "--json")
            async with running(child):
                printed = await finished(child, PATIENCE_S)
        summary = msgspec.json.decode(printed.splitlines()[-1], type=Workout).summary
        assert summary is not None
        assert summary.elapsed_s == pytest.approx(LATE - 1)
