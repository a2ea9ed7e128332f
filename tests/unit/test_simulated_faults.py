"""Clocks and faults misbehave exactly as configured."""

import tomllib
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.config import Config
from simulators import scenarios
from simulators.clock import DeviceClock
from simulators.faults import AGAIN_S, OVERTAKEN_S, PRESETS, Channel, Faults, Message, parse


def stream(count: int, step_s: float = 0.1) -> list[Message]:
    return [Message(k * step_s, "in/d/imu", k.to_bytes(4, "little")) for k in range(count)]


def carry(faults: Faults, count: int = 20_000, seed: int = 7) -> tuple[list[Message], Channel]:
    channel = Channel(faults, np.random.default_rng(seed))
    return channel.carry(stream(count)), channel


def test_a_perfect_clock_shows_the_true_time() -> None:
    clock = DeviceClock(1_700_000_000_000_000_000)
    assert clock.read_ns(12.345678901) == 1_700_000_012_345_678_901


def test_offset_skew_and_step_add_up() -> None:
    clock = DeviceClock(10**18, offset_s=2.5, skew_ppm=20.0, step_s=-60.0, step_at_s=1_000.0)
    assert clock.read_ns(500.0) - 10**18 == 500_000_000_000 + 2_500_000_000 + 10_000_000
    assert clock.read_ns(1_000.0) - 10**18 == 1_000_000_000_000 + 2_500_000_000 + 20_000_000 - 60_000_000_000


@given(st.floats(0.0, 1e6), st.floats(-200.0, 200.0))
def test_the_true_time_of_a_count_is_what_the_clock_then_shows(counted_s: float, skew_ppm: float) -> None:
    clock = DeviceClock(0, skew_ppm=skew_ppm)
    assert abs(clock.read_ns(clock.true_s(counted_s)) - counted_s * 1e9) < 1_000


def test_without_faults_everything_arrives_as_it_was_sent() -> None:
    arrived, channel = carry(Faults(), 100)
    assert arrived == stream(100)
    assert not channel.counts


def test_loss_and_duplicates_come_at_their_configured_shares() -> None:
    arrived, channel = carry(Faults(loss=0.1, duplicate=0.05))
    seen = Counter(message.payload for message in arrived)
    assert channel.counts["lost"] == 20_000 - len(seen) == pytest.approx(2_000, rel=0.1)
    assert channel.counts["duplicated"] == sum(n == 2 for n in seen.values()) == pytest.approx(900, rel=0.15)


def test_a_duplicate_comes_again_a_little_later() -> None:
    arrived, _ = carry(Faults(duplicate=1.0), 10)
    for first, again in zip(arrived[::2], arrived[1::2], strict=True):
        assert again == first._replace(due_s=first.due_s + AGAIN_S)


def test_jitter_delays_but_keeps_the_order() -> None:
    arrived, _ = carry(Faults(jitter_s=0.1, delay_s=0.02), 5_000)
    due_s = [message.due_s for message in arrived]
    delays_s = np.array(due_s) - np.arange(5_000) * 0.1
    assert due_s == sorted(due_s)
    assert delays_s.min() >= 0.02
    assert 0.1 < delays_s.mean() < 0.25
    assert len({round(delay, 6) for delay in delays_s}) > 1_000


def test_reordered_messages_are_overtaken_and_no_others() -> None:
    arrived, channel = carry(Faults(reorder=0.05), 5_000)
    order = [message.payload for message in sorted(arrived, key=lambda message: message.due_s)]
    late = [m for m, sent in zip(arrived, stream(5_000), strict=True) if m.due_s > sent.due_s]
    assert channel.counts["reordered"] == len(late) == pytest.approx(250, rel=0.25)
    assert all(
        m.due_s - int.from_bytes(m.payload, "little") * 0.1 == pytest.approx(OVERTAKEN_S) for m in late
    )
    assert order != [message.payload for message in stream(5_000)]


@given(st.integers(0, 2**32 - 1), st.integers(1, 199))
def test_cutting_a_stream_in_two_changes_nothing(seed: int, cut: int) -> None:
    faults = Faults(loss=0.1, duplicate=0.1, reorder=0.1, jitter_s=0.05)
    sent = stream(200)
    whole = Channel(faults, np.random.default_rng(seed)).carry(sent)
    channel = Channel(faults, np.random.default_rng(seed))
    assert channel.carry(sent[:cut]) + channel.carry(sent[cut:]) == whole


def test_a_command_line_names_presets_and_values() -> None:
    assert parse("") == parse("none") == Faults()
    assert parse("mobile, loss=0.05,step_s=-3") == Faults(
        loss=0.05, duplicate=0.003, reorder=0.005, jitter_s=0.04, delay_s=0.06, step_s=-3.0
    )
    assert set(PRESETS) == {"none", "wifi", "mobile", "bad"}


@pytest.mark.parametrize(
    "text",
    ["lots", "loss", "loss=", "loss=2", "loss=nan", "jitter_s=-1", "speed=3", "step_s=inf", "offset_s=nan"],
)
def test_a_wrong_word_is_one_line_that_names_it(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(f"wifi,{text}")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS)
def test_the_printed_configuration_maps_every_device_to_its_athlete(scenario: str) -> None:
    config = msgspec.convert(tomllib.loads(scenarios.config(scenario, 6)), Config)
    made = scenarios.build(scenario, 6, seed=1, start_ns=0)
    assert len({athlete.id for athlete in config.athletes}) == 6
    for told, athlete in zip(config.athletes, made, strict=True):
        assert told.id == athlete.id
        assert [(d.id, d.placement) for d in told.devices] == [
            (d.id, d.kind.placement) for d in athlete.devices
        ]
        assert told.max_bpm == athlete.role.body.max_bpm


def test_the_demo_has_four_athletes_with_what_makes_their_metrics() -> None:
    cast = dict(scenarios.roles("demo"))
    assert {role.sport for role in cast.values()} == {"run", "walk", "ride"}
    assert len(cast) == 4
    for role in cast.values():
        sensors = {sensor for kind in role.devices for sensor in kind.sensors}
        assert {"gnss", "baro"} <= sensors
        assert sensors & {"hr", "optical"}
        assert sensors & {"imu", "cadence"}


@pytest.mark.parametrize(("scenario", "athletes"), [("party", None), ("demo", 0), ("demo", 5_001)])
def test_an_unknown_scenario_or_number_is_refused(scenario: str, athletes: int | None) -> None:
    with pytest.raises(ValueError, match="allowed"):
        scenarios.roles(scenario, athletes)
