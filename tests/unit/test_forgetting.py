"""Devices that are silent for long are forgotten: when, who, and what becomes of their rows."""

import msgspec
import numpy as np

from fusion._core import lib
from server import frames
from server.codecs import imu, samples
from server.config import Athlete, Config, Device, Server
from server.engine import Engine
from server.envelopes import Chunk, Incoming, Outgoing
from server.forgetting import FORGET_NS, LOOK_NS, ROOM_NS, SPARE
from server.frames import Splitter
from server.messages import Birth, Clock, Command, Death, HeartRate
from server.schedule import NONE

S = 1_000_000_000
T0 = 1_790_000_000 * S


def packet(seq: int) -> bytes:
    at_rest = np.tile([0.0, 0.0, 9.81], (10, 1))
    t0_ns = S + seq * S // 10
    return imu.encode(
        accel_b=at_rest, gyro_b=np.zeros((10, 3)), boot=1, t0_ns=t0_ns, seq=seq, dt_ns=10_000_000
    )


class Desk:
    """An engine with a clock of the test's own."""

    def __init__(self, athletes: list[Athlete] | None = None, **settings: int | float) -> None:
        server = msgspec.convert({"enroll": "auto", **settings}, Server)
        self.engine = Engine(Config(server=server, athletes=athletes or []), lambda: 0)
        self.now_ns = T0

    def send(self, device: str, kind: str = "hr", payload: bytes | None = None) -> list[Outgoing]:
        body = samples.encode(HeartRate(t=self.now_ns, bpm=100)) if payload is None else payload
        arrival = Incoming(f"kinefuse/v1/in/{device}/{kind}", body, False, self.now_ns, 0)
        return self.engine.advance([arrival], self.now_ns)

    def wait(self, ns: int) -> list[Outgoing]:
        self.now_ns += ns
        return self.engine.advance([], self.now_ns)

    def end(self, athlete: str) -> None:
        """Stop an athlete's workout."""
        order = samples.encode(Command("stop", f"{self.now_ns}"))
        topic = f"kinefuse/v1/command/{athlete}"
        self.engine.advance([Incoming(topic, order, False, self.now_ns, 0)], self.now_ns)
        self.wait(S)

    @property
    def known(self) -> set[str]:
        return set(self.engine.registry.devices)


def test_who_is_silent_for_a_day_is_forgotten_and_counted_with_the_athlete() -> None:
    desk = Desk()
    desk.send("a")
    desk.wait(S)
    desk.end("a")
    desk.wait(FORGET_NS - 3 * S)
    assert desk.known == {"a"}
    desk.send("b")
    desk.wait(2 * S)
    assert desk.known == {"b"}
    assert set(desk.engine.registry.athletes) == {"b"}
    assert desk.engine.forgetting.count == 1


def test_who_was_never_heard_counts_from_its_enrolment() -> None:
    desk = Desk()
    birth = Incoming("kinefuse/v1/in/a/status", samples.encode(Birth()), True, desk.now_ns, 0)
    desk.engine.advance([birth], desk.now_ns)
    desk.wait(FORGET_NS - S)
    assert desk.known == {"a"}
    desk.wait(2 * S)
    assert desk.known == set()


def test_an_open_workout_keeps_all_devices_of_its_athlete() -> None:
    desk = Desk([Athlete(id="ada", devices=[Device(id="strap"), Device(id="watch")])])
    desk.send("watch")
    for _ in range(4):
        desk.now_ns += FORGET_NS // 2
        desk.send("strap")
    assert desk.engine.workouts.is_open(desk.engine.registry.athletes["ada"])
    assert desk.known == {"strap", "watch"}
    desk.end("ada")
    desk.wait(S)
    assert desk.known == {"strap"}
    assert set(desk.engine.registry.athletes) == {"ada"}


def test_room_is_made_for_who_is_new_by_who_was_heard_longest_ago() -> None:
    desk = Desk(devices_max=3)
    for name in ("a", "b", "c"):
        desk.send(name)
        desk.wait(S)
        desk.end(name)
    desk.wait(ROOM_NS)
    desk.send("a")
    desk.end("a")
    desk.send("d")
    assert desk.known == {"a", "c"}
    assert desk.engine.ingest.refused["devices_max"] == 1
    desk.send("d")
    assert desk.known == {"a", "c", "d"}


def test_of_two_births_the_newer_counts_also_where_there_was_no_place_for_the_older() -> None:
    desk = Desk(devices_max=2)
    for name in ("a", "b"):
        desk.send(name)
        desk.end(name)
    desk.wait(ROOM_NS - 3 * S)
    desk.send("c", "status", samples.encode(Birth(placement="wrist", clock=Clock(recorded=True))))
    assert "c" not in desk.known
    desk.wait(FORGET_NS)
    desk.send("c", "status", samples.encode(Birth(placement="hip")))
    desk.send("c")
    device = desk.engine.registry.devices["c"]
    assert (device.placement, device.recorded) == ("hip", False)


def test_nobody_who_was_heard_a_short_while_ago_makes_room() -> None:
    desk = Desk(devices_max=2)
    for name in ("a", "b"):
        desk.send(name)
        desk.end(name)
    for _ in range(5):
        desk.send("c")
        desk.wait(S)
    assert desk.known == {"a", "b"}


def test_a_full_server_keeps_some_places_free() -> None:
    desk = Desk(devices_max=SPARE)
    for number in range(SPARE):
        desk.send(f"d{number}")
        desk.end(f"d{number}")
    desk.wait(ROOM_NS + S)
    assert len(desk.known) == SPARE - 1
    desk.send("new")
    assert "new" in desk.known


def test_athletes_make_room_too_but_none_that_is_configured() -> None:
    desk = Desk([Athlete(id="ada", devices=[Device(id="strap")])], athletes_max=2)
    for name in ("strap", "a"):
        desk.send(name)
        desk.end("ada" if name == "strap" else name)
    desk.wait(ROOM_NS)
    for _ in range(2):
        desk.send("b")
    assert desk.known == {"strap", "b"}
    assert set(desk.engine.registry.athletes) == {"ada", "b"}


def test_a_phone_stays_while_its_watch_speaks_through_it() -> None:
    desk = Desk()
    phone = desk.engine.registry.device("phone")
    desk.engine.registry.device("phone-watch", worn_with=phone)
    desk.wait(FORGET_NS + LOOK_NS)
    desk.wait(LOOK_NS)
    assert desk.known == set()
    phone = desk.engine.registry.device("phone")
    desk.engine.registry.device("phone-watch", worn_with=phone)
    desk.wait(FORGET_NS - S)
    desk.send("phone-watch")
    desk.wait(10 * S)
    assert desk.known == {"phone", "phone-watch"}


def test_what_was_refused_stays_counted() -> None:
    desk = Desk()
    desk.send("a")
    desk.send("a", payload=b"{")
    desk.end("a")
    before = desk.engine.health.refused()
    assert before["json"] == 1
    desk.wait(FORGET_NS + S)
    assert desk.known == set()
    assert desk.engine.health.refused() == before


def test_frames_that_were_told_by_a_row_that_is_given_up_are_read_by_their_topic() -> None:
    desk = Desk(devices_max=2)
    splitter = Splitter(desk.engine.topics, frames.PAYLOAD_BYTES_MAX)

    def chunk(seqs: range) -> Chunk:
        data = frames.publish([("kinefuse/v1/in/a/imu", packet(seq), False) for seq in seqs])
        return Chunk(data, splitter.split(data, 0, len(data)).frames, desk.now_ns, 0)

    desk.engine.advance([chunk(range(3))], desk.now_ns)
    row = desk.engine.registry.devices["a"].row
    desk.end("a")
    desk.now_ns += FORGET_NS
    came = chunk(range(3, 6))
    assert set(came.frames["device"].tolist()) == {row}
    desk.wait(1)  # as if they were still in the inbox
    assert desk.known == set()
    new = Incoming("kinefuse/v1/in/b/hr", samples.encode(HeartRate(bpm=70)), False, desk.now_ns, 0)
    desk.engine.advance([came, new], desk.now_ns + 1)
    desk.wait(S)
    a, b = (desk.engine.registry.devices[name] for name in ("a", "b"))
    assert row not in (a.row, b.row)
    assert (a.packets, b.packets) == (3, 1)


def test_a_vacant_row_is_nobody_s() -> None:
    desk = Desk()
    desk.send("a")
    desk.end("a")
    row = desk.engine.registry.devices["a"].row
    out = desk.wait(FORGET_NS + S)
    link = desk.engine.schedule.links[row]
    assert int(link["flags"]) == lib.KF_LINK_SPECIAL
    assert int(link["core"]) == NONE
    for _ in range(30):
        out += desk.wait(10 * S)
    assert not [each for each in out if "/a/" in each.topic and each.topic.endswith("/health")]
    assert sum(desk.engine.streams.counts.values()) == 0


def test_who_played_a_recording_and_is_forgotten_comes_back_live() -> None:
    desk = Desk([Athlete(id="ada", devices=[Device(id="strap")])])
    desk.send("strap", "status", samples.encode(Birth(clock=Clock(recorded=True))))
    for beat in range(30):
        desk.now_ns += S // 10
        told = HeartRate(t=T0 - 10 * FORGET_NS + beat * S, bpm=100)
        desk.send("strap", payload=samples.encode(told))
    desk.end("ada")
    desk.send("strap", "status", samples.encode(Death()))
    desk.wait(FORGET_NS + S)
    assert desk.known == set()
    out: list[Outgoing] = []
    for _ in range(5):
        desk.now_ns += S
        out += desk.send("strap", payload=samples.encode(HeartRate(bpm=120)))
    assert not desk.engine.registry.athletes["ada"].recorded
    assert sum(each.topic.endswith("/live") for each in out) >= 3


def test_a_phone_stays_while_a_watch_of_somebody_else_speaks_through_it() -> None:
    desk = Desk([Athlete(id="bob", devices=[Device(id="phone-watch")])])
    phone = desk.engine.registry.device("phone")
    watch = desk.engine.registry.device("phone-watch", worn_with=phone)
    assert watch.athlete is not phone.athlete
    for _ in range(3):
        desk.now_ns += FORGET_NS // 2
        desk.send("phone-watch")
    assert desk.known == {"phone", "phone-watch"}
    desk.end("bob")
    desk.wait(FORGET_NS + S)
    desk.wait(LOOK_NS)
    assert desk.known == set()


def test_a_birth_for_which_there_was_no_place_is_taken_in_with_the_first_packet_for_which_there_is() -> None:
    desk = Desk(devices_max=4)
    for name in "abcd":
        desk.send(name)
        desk.end(name)
    desk.wait(ROOM_NS)
    for name in "vwxyz":
        desk.send(name, "status", samples.encode(Birth(model="Strap", placement="chest")))
    desk.wait(LOOK_NS)
    for name in "vwxvwx":
        desk.send(name)
    devices = desk.engine.registry.devices
    assert {devices[name].placement for name in "vwx"} == {"chest"}


def test_who_was_forgotten_while_connected_is_still_known_to_be_what_it_said() -> None:
    desk = Desk()
    desk.send("a", "status", samples.encode(Birth(model="Pod", placement="foot")))
    desk.wait(FORGET_NS + S)
    assert desk.known == set()
    desk.send("a")
    device = desk.engine.registry.devices["a"]
    assert (device.model, device.placement) == ("Pod", "foot")
