"""Pings and what they tell, through the engine; and the names of clocks."""

import msgspec
import pytest

from fusion._core import lib
from server.health import CLOCK_KINDS
from server.messages import Birth, Clock, DeviceHealth, HeartRate, Ping, Pong
from server.pings import EVERY_NS, FIRST_NS, QUICK, QUICK_NS
from tests.unit.test_engine import T0, Desk, S, on

MS = 1_000_000


def beat(desk: Desk, seconds: int = 1, delay_ns: int = 40 * MS) -> list[Ping]:
    """Let a device with a clock that counts from T0 send once a second; return what it was asked."""
    pings = []
    for _ in range(seconds):
        pings += on(desk.wait(S), "/devices/x/ping")
        pings += on(desk.send("in/x/hr", HeartRate(t=desk.now_ns - T0 - delay_ns, bpm=60.0)), "/ping")
    return [msgspec.json.decode(ping, type=Ping) for ping in pings]


def answer(desk: Desk, ping: Ping, *, there_ns: int, back_ns: int) -> None:
    desk.now_ns = max(desk.now_ns, int(ping.id) + there_ns + back_ns)
    desk.send("in/x/pong", Pong(id=ping.id, t=int(ping.id) + there_ns - T0))


def test_nobody_is_asked_who_does_not_say_that_it_answers() -> None:
    desk = Desk()
    desk.send("in/x/status", Birth())
    assert beat(desk, 40) == []


def test_a_device_that_answers_is_asked_quickly_at_first_and_then_seldom() -> None:
    desk = Desk()
    desk.send("in/x/status", Birth(clock=Clock(pings=True)))
    asked = [int(ping.id) - T0 for ping in beat(desk, 40)]
    quick = [FIRST_NS + number * QUICK_NS for number in range(QUICK)]
    assert asked == [*quick, *range(quick[-1] + EVERY_NS, 40 * S, EVERY_NS)]


def test_who_is_gone_silent_or_plays_a_recording_is_not_asked() -> None:
    desk = Desk()
    desk.send("in/x/status", Birth(clock=Clock(pings=True)))
    assert len(beat(desk, 12)) == QUICK
    assert not [each for _ in range(60) for each in on(desk.wait(S), "/ping")][2:]
    desk.send("in/x/status", Birth(clock=Clock(recorded=True, pings=True)))
    assert beat(desk, 30) == []


def test_an_answer_takes_the_constant_delay_off_and_health_tells_it() -> None:
    desk = Desk()
    desk.send("in/x/status", Birth(clock=Clock(pings=True)))
    beat(desk, 4)
    (ping,) = beat(desk, 1)
    clock = desk.engine.timebase.clock(0)
    answer(desk, ping, there_ns=40 * MS, back_ns=70 * MS)
    beat(desk, 20)
    after = desk.engine.timebase.clock(0)
    assert clock.offset_ns - after.offset_ns == pytest.approx(40 * MS, abs=3 * MS)
    assert after.trip_ns == pytest.approx(80 * MS, abs=4 * MS)
    assert desk.refused("x") == {}
    (text,) = desk.engine.health.of([desk.engine.registry.devices["x"]], desk.now_ns)
    told = msgspec.json.decode(text, type=DeviceHealth).clock
    assert told is not None
    assert told.round_trip_ms == pytest.approx(80, abs=4)
    assert told.kind == "uptime"


def test_a_pong_to_no_ping_is_counted_and_shows_that_the_device_answers() -> None:
    desk = Desk()
    beat(desk, 2)
    desk.send("in/x/pong", Pong(id="1", t=2 * S))
    assert desk.refused("x") == {"pong_unasked": 1}
    (ping, *_) = beat(desk, 8)
    answer(desk, ping, there_ns=MS, back_ns=MS)
    desk.send("in/x/pong", Pong(id=ping.id, t=9 * S))
    assert desk.refused("x") == {"pong_unasked": 2}


@pytest.mark.parametrize(
    ("offset_s", "device_s", "name"),
    [
        (0, 1_790_000_000, "utc"),
        (-3600, 1_790_003_600, "local"),
        (-20_700, 1_790_020_700, "local"),  # Nepal
        (12_345, 1_789_987_655, "unknown"),
        (315_964_782, 1_474_035_218, "gps"),
        (946_684_800 + 30, 843_315_170, "epoch_2000"),
        (946_684_800 - 7200, 843_322_400, "epoch_2000"),
        (631_065_600, 1_158_934_400, "epoch_1989"),
        (978_307_200, 811_692_800, "epoch_2001"),
        (-2_208_988_800, 3_998_988_800, "epoch_1900"),
        (1_789_999_000, 1000, "uptime"),
        (1_000_000_000, 790_000_000, "unknown"),
    ],
)
def test_clocks_are_named_by_what_they_count_from(offset_s: int, device_s: int, name: str) -> None:
    assert CLOCK_KINDS[lib.kf_clock_counts(offset_s * S, device_s * S)] == name
