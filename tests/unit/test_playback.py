import itertools
import math
from pathlib import Path

import msgspec
import pytest

from server.codecs import samples
from server.files import from_bytes, read
from server.messages import Birth, Command
from server.playback import play
from tests.support.recorded_files import fit_run, phone_export

RUN = from_bytes(Path("run.fit"), fit_run(60).to_bytes())


def test_messages_are_due_as_they_were_recorded_divided_by_the_speed() -> None:
    once = [m.due_s for m in play(RUN, root="k")]
    fast = [m.due_s for m in play(RUN, root="k", speed=10)]
    assert (once[0], once[-1]) == (0, 59)
    assert once == sorted(once)
    assert fast == pytest.approx([due_s / 10 for due_s in once])
    assert {m.due_s for m in play(RUN, root="k", speed=math.inf)} == {0}


@pytest.mark.parametrize(("speed", "told"), [(1.0, 1.0), (10.0, 10.0), (math.inf, 1e6)])
def test_the_birth_tells_that_the_clock_is_recorded_and_how_fast_it_runs(speed: float, told: float) -> None:
    topic, payload = next(play(RUN, root="k", speed=speed))[1:]
    assert topic == "k/in/run/status"
    birth = samples.decode("status", payload).packets[0]
    assert isinstance(birth, Birth)
    assert (birth.clock.recorded, birth.clock.speed, birth.sport) == (True, told, "run")


def test_speed_changes_nothing_but_the_birth_and_the_times() -> None:
    slow, fast = (list(play(RUN, root="k", speed=speed)) for speed in (1, math.inf))
    assert [m[1:] for m in slow[1:]] == [m[1:] for m in fast[1:]]


def test_every_payload_is_what_the_codec_accepts() -> None:
    for _, topic, payload in play(RUN, root="a/b"):
        kind = "command" if topic.startswith("a/b/command/") else topic.rsplit("/", 1)[1]
        decoded = samples.decode(kind, payload)
        assert (len(decoded.packets), decoded.refused) == (1, [])


def test_commands_have_ids_of_their_own() -> None:
    payloads = [m.payload for m in play(RUN, root="k") if m.topic == "k/command/run"]
    commands = [msgspec.json.decode(payload, type=Command) for payload in payloads]
    assert [c.action for c in commands] == ["start", "stop"]
    assert len({c.id for c in commands}) == 2


def test_a_phone_speaks_on_the_topic_of_its_app_whatever_the_root(tmp_path: Path) -> None:
    for name, data in phone_export().items():
        (tmp_path / name).write_bytes(data)
    played = list(play(read(tmp_path), root="k", device="pocket 2"))
    assert [topic for topic, _ in itertools.groupby(m.topic for m in played)] == [
        "k/in/pocket-2/status",
        "k/command/pocket-2",
        "sensor-logger",
        "k/command/pocket-2",
    ]
    assert b'"deviceId":"pocket-2"' in played[2].payload


@pytest.mark.parametrize("speed", [0, -1, math.nan, 1e7])
def test_a_speed_out_of_range_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        next(play(RUN, root="k", speed=speed))
