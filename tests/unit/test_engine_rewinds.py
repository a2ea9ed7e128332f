"""Rewinds over what is done to workouts: starts and stops that come late, or among what is made again."""

from collections.abc import Iterable

import msgspec
import pytest

from server.clock import SystemClock
from server.codecs import samples
from server.config import Athlete, Config, Device
from server.engine import Engine
from server.envelopes import Incoming
from server.figures import ended
from server.messages import Battery, Birth, Clock, Command, Gnss, HeartRate, Packet, Summary, Workout
from server.overload import MODES

S = 1_000_000_000
BEGIN = 1_790_000_000 * S
DEVICES = ("strap", "other", "phone")
CONFIG = Config(athletes=[Athlete(id="ada", devices=[Device(id=each) for each in DEVICES])])

Message = tuple[float, str, Packet | Command]  # when it comes, s


def at(t_s: float) -> int:
    return BEGIN + round(t_s * S)


def beat(t_s: float, device: str = "strap", late_s: float = 0.0) -> Message:
    return t_s + late_s, f"in/{device}/hr", HeartRate(t=at(t_s), bpm=120.0)


def fix(t_s: float, late_s: float = 0.0) -> Message:
    there = Gnss(t=at(t_s), lat=47.0 + 3.0 * t_s / 111e3, lon=8.0, h_acc_m=5.0, speed_mps=3.0)
    return t_s + late_s, "in/phone/gnss", there


def order(action: str, t_s: float, late_s: float = 0.0) -> Message:
    command = Command(action, f"{action}-{round(t_s)}", t=at(t_s), sport="run")  # type: ignore[arg-type]
    return t_s + late_s, "command/ada", command


def play(messages: Iterable[Message], overloaded_s: tuple[float, float] = (0.0, 0.0)) -> list[Workout]:
    """Return what is told of workouts; between two times rewinds are given up."""
    engine = Engine(CONFIG, lambda: 0)
    births = [(-1.0, f"in/{each}/status", Birth(clock=Clock(recorded=True))) for each in DEVICES]
    told: list[Workout] = []
    for come_s, topic, packet in sorted([*births, *messages], key=lambda each: each[0]):
        overloaded = overloaded_s[0] < come_s < overloaded_s[1]
        engine.ladder.level = MODES.index("orientation_only") if overloaded else 0
        out = engine.advance(
            [Incoming(f"kinefuse/v1/{topic}", samples.encode(packet), False, BEGIN, 0)], BEGIN
        )
        while engine.behind:
            out += engine.advance([], BEGIN)
        told += [
            msgspec.json.decode(each.payload, type=Workout) for each in out if each.topic.endswith("/workout")
        ]
    return told


def summaries(told: list[Workout]) -> dict[str, object]:
    return {each.workout.id: each.summary for each in told if each.summary is not None}


def test_a_step_that_is_made_again_leaves_what_the_workout_before_it_needs() -> None:
    def messages(*, late: bool) -> list[Message]:
        own = [fix(i + 0.5, 14.0 if late and 31 < i < 36 else 0.0) for i in range(60)]
        beats = [beat(i + 0.2) for i in range(60)]
        others = [beat(i + 0.6, "other", 1.3 * late) for i in range(40, 60)]
        return [*own, *beats, *others, order("start", 40.1), order("stop", 61.0)]

    in_order, late = play(messages(late=False)), play(messages(late=True))
    assert len(summaries(in_order)) == 2
    assert summaries(late) == summaries(in_order)


@pytest.mark.parametrize("late_s", [0.0, 5.0, 12.0, 20.0])
def test_a_start_within_the_window_is_put_into_its_place_also_in_a_recording(late_s: float) -> None:
    beats = [beat(i + 0.2) for i in range(80)]
    messages = [*beats, *map(fix, range(80)), order("start", 40.1, late_s), order("stop", 81.0)]
    last = summaries(play(messages))[f"ada-{at(40.1) // 10**6}"]
    assert isinstance(last, Summary)
    assert last.distance_m == pytest.approx(3.0 * 40.9, abs=6.0)


def test_a_recording_shorter_than_the_window_may_begin_again() -> None:
    engine = Engine(CONFIG, lambda: 0)
    told = []
    for number in range(2):
        start = Command("start", f"go-{number}", t=BEGIN, sport="run")
        beats = [HeartRate(t=at(i + 0.2), bpm=120.0, boot=number, seq=i) for i in range(20)]
        packets: list[tuple[str, Packet | Command]] = [
            ("command/ada", start),
            *(("in/strap/hr", each) for each in beats),
        ]
        for topic, packet in [("in/strap/status", Birth(clock=Clock(recorded=True))), *packets]:
            out = engine.advance(
                [Incoming(f"kinefuse/v1/{topic}", samples.encode(packet), False, BEGIN, 0)], BEGIN
            )
            told += [each for each in out if each.topic.endswith("/live")]
    assert len(told) >= 38


def test_a_server_that_stops_amid_a_rewind_still_ends_the_workout() -> None:
    engine = Engine(CONFIG, lambda: 0)

    def send(topic: str, packet: Packet | Command) -> None:
        engine.advance([Incoming(f"kinefuse/v1/{topic}", samples.encode(packet), False, BEGIN, 0)], BEGIN)

    for each in DEVICES:
        send(f"in/{each}/status", Birth(clock=Clock(recorded=True)))
    calm = [*(beat(i + 0.2) for i in range(20)), order("stop", 2.5), order("start", 12.5)]
    for _, topic, packet in sorted(calm, key=lambda each: each[0]):
        send(topic, packet)
        while engine.behind:
            engine.advance([], BEGIN)
    send(*beat(1.7, "other")[1:])
    send(*beat(20.2)[1:])
    ada = engine.registry.athletes["ada"]
    assert ada.row in engine.jobs.rewound
    assert not engine.workouts.is_open(ada)  # as it was between both workouts
    told = list(ended(engine, SystemClock(), 2**62))
    last = msgspec.json.decode(told[-1].payload, type=Workout)
    assert (last.event, last.workout.id) == ("ended", f"ada-{at(12.5) // 10**6}")


def test_a_late_stop_that_was_not_rewound_to_still_stops() -> None:
    beats = [each for i in range(60) for each in (beat(i + 0.2), beat(i + 0.7, "other"))]
    late = [beat(43.05, "other", 12.0), beat(43.15, "other", 15.0)]
    told = play([*beats, order("lap", 45.0), order("stop", 38.0, 12.0), *late], overloaded_s=(49.0, 53.0))
    assert "ended" in [each.event for each in told]
    assert told[-1].workout.state == "ended"


def test_a_late_start_that_was_not_rewound_to_can_be_stopped() -> None:
    beats = [each for i in range(70) for each in (beat(i + 0.2), beat(i + 0.7, "other"))]
    orders = [order("stop", 5.0), order("start", 49.0, 3.0), order("stop", 66.0)]
    late = [beat(each + 0.05, "other", 6.0) for each in range(51, 60)]
    told = play([*beats, *orders, *late], overloaded_s=(51.5, 53.5))
    assert [each.event for each in told if each.event != "revised"] == ["started", "ended"] * 2


def test_a_rewind_across_a_hole_knows_the_pause_in_it() -> None:
    """A pause of 1,500 s, in which the athlete is carried for 800 m; the first fix after it comes late."""

    def carried(t_s: float, late_s: float = 0.0) -> Message:
        due_s, topic, packet = fix(t_s, late_s)
        assert isinstance(packet, Gnss)
        packet.lat += 800.0 / 111e3
        return due_s, topic, packet

    def messages(late_s: float) -> list[Message]:
        before = [each for i in range(105) for each in (beat(i + 0.2), fix(i + 0.5))]
        after = [each for i in range(1600, 1660) for each in (beat(i + 0.8), carried(i + 0.5))]
        pause = [order("pause", 104.9), order("resume", 1600.05)]
        return [*before, *pause, carried(1600.1, late_s), *after, order("stop", 1661.0)]

    (in_order,), (late,) = (summaries(play(messages(late_s))).values() for late_s in (0.0, 12.0))
    assert isinstance(in_order, Summary)
    assert in_order.distance_m == pytest.approx(3.0 * 165.0, abs=20.0)
    assert late == in_order


@pytest.mark.parametrize("first", ["stop", "lap", "pause"])
@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("late", [False, True])
def test_a_start_behind_another_command_of_the_same_moment_stays_behind_it(
    first: str, timed: bool, late: bool
) -> None:
    """As of who ends one class and starts the next in one breath."""
    commands: list[Message] = [
        (40.1, "command/ada", Command(each, each, t=at(40.0) if timed else None))  # type: ignore[arg-type]
        for each in (first, "start")
    ]
    beats = [beat(i + 0.2) for i in range(60) if i != 38]
    told = play([*beats, *commands, beat(38.2, late_s=6.0 * late)])
    before, now = dict.fromkeys(each.workout.id for each in told)
    newest = {each.workout.id: each for each in told}
    assert (newest[before].workout.state, newest[now].workout.state) == ("ended", "running")
    assert len(newest[before].laps) == (first == "lap")
    assert newest[now].laps == []


class Live:
    """An engine that is told the time, with one device of its own for each athlete."""

    def __init__(self) -> None:
        self.engine = Engine(Config(), lambda: 0)
        self.told: list[Workout] = []

    def tell(self, now_s: float, topic: str = "", packet: Packet | Command | None = None) -> None:
        arrivals = (
            [Incoming(f"kinefuse/v1/{topic}", samples.encode(packet), False, at(now_s), 0)] if packet else []
        )
        out = self.engine.advance(arrivals, at(now_s))
        while self.engine.behind:
            out += self.engine.advance([], at(now_s))
        self.told += [
            msgspec.json.decode(each.payload, type=Workout) for each in out if each.topic.endswith("/workout")
        ]


@pytest.mark.parametrize("others", range(6))  # a lane's steps are of another moment of the second for each
def test_a_workout_that_a_late_measurement_opens_before_a_base_is_known_wherever_is_gone_back_to(
    others: int,
) -> None:
    live = Live()
    for number in range(others):
        live.tell(20.0, f"in/other-{number}/battery", Battery(level=0.5))
    for now_s, t_s in ((21.6, 21.1), (4757.05, 4717.05), (4763.5, 4743.5)):
        live.tell(now_s)  # by which the first workout ends, of silence
        live.tell(now_s, "in/n/hr", HeartRate(t=at(t_s), bpm=100.0))
    live.tell(4779.05)
    live.tell(4779.05, "command/n", Command("start", "again", t=at(4765.05), sport="run"))
    assert [each.event for each in live.told] == ["started", "ended", "started", "ended", "started"]


def test_silence_ends_no_workout_that_a_stop_which_came_late_has_ended() -> None:
    live = Live()
    live.tell(0.0, "in/n/hr", HeartRate(t=at(0.0), bpm=100.0))
    live.tell(2.0, "in/n/status", Birth(clock=Clock(recorded=True, speed=2.0)))
    live.tell(11.7, "command/n", Command("stop", "a", t=at(13.7)))
    live.tell(12.8, "command/n", Command("stop", "b", t=at(-1.2)))
    live.tell(17.4, "command/n", Command("start", "c", t=at(3.4), sport="ride"))
    live.tell(917.4)
    assert not any(map(live.engine.workouts.is_open, live.engine.registry.athletes.values()))
