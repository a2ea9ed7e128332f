"""What the core writes of devices is what msgspec writes of the structs, and it finds the same news."""

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fusion._core import lib
from fusion.intervals import KINDS
from server.config import Config
from server.deadlines.rules import STATES
from server.engine import Engine
from server.health import CLOCK_KINDS, PERIOD_NS
from server.publications import encode
from tests.support import health_twin as twin

NOW_NS = 1_764_585_664_362_463_201
S = 1_000_000_000
DEVICES = 3
N = len(KINDS)
HALVES = st.integers(-(10**7), 10**7).map(lambda units: units / 2)  # of the last decimal: ties
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LAST_NS = st.one_of(st.just(0), st.integers(NOW_NS - 30 * S, NOW_NS + S), st.integers(0, 2 * NOW_NS))
ZONES = [epoch_s * S + zone * 900 * S for epoch_s in twin.EPOCHS.values() for zone in range(-60, 60)]
OFFSET_NS = st.one_of(
    st.sampled_from(ZONES).flatmap(lambda ns: st.integers(ns - 121 * S, ns + 121 * S)),
    st.integers(-(2**61), 2**61),
)

CLOCK = st.fixed_dictionaries(
    {
        "phase": st.sampled_from([lib.KF_CLOCK_FRESH, lib.KF_CLOCK_LIVE, lib.KF_CLOCK_RECORDED]),
        "newest_ns": st.integers(-(2**61), 2**61),
        "skew": st.one_of(st.floats(-1e-3, 1e-3), HALVES.map(lambda units: units * 1e-8)),
        "p_oo": st.floats(0.0, 1.0),
        "jumps": st.integers(0, 2**40),
        "wraps": st.integers(0, 9),
        "trip_ns": st.one_of(st.just(0), st.integers(1, 2 * S)),
        "slew_ns": st.just(1.0),
    }
)
LINK = st.fixed_dictionaries(
    {
        "arrived_ns": LAST_NS,
        "rate_hz": st.one_of(st.floats(0.0, 2000.0, width=32), HALVES.map(lambda units: units * 1e-2)),
        "packets": st.integers(0, 2**53),
        "lost": st.integers(0, 2**53),
        "refused": st.integers(0, 3),
    }
)
STREAM = st.fixed_dictionaries(
    {
        "state": st.sampled_from([*range(len(STATES)), lib.KF_STREAM_UNHEARD]),
        "heard_ns": LAST_NS,
        "interval_s": st.floats(0.0, 1e4, width=32),
    }
)


class Drawn:
    """An engine whose tables of some devices are what was drawn."""

    def __init__(self, data: st.DataObject) -> None:
        self.engine = Engine(Config(), lambda: 0)
        self.devices = [self.engine.registry.device(f"d{k}") for k in range(DEVICES)]
        self.engine.streams._have(data.draw(st.lists(st.integers(0, 8), max_size=4)))
        for device in self.devices:
            self._draw(data, device)

    def _draw(self, data: st.DataObject, device: Any) -> None:
        row, engine = device.row, self.engine
        tables = [(engine.schedule.links, LINK), (engine.timebase.state, CLOCK)]
        tables += [(engine.streams._streams[:, k], STREAM) for k in range(len(engine.streams.kinds))]
        for table, drawn in tables:
            for name, value in data.draw(drawn).items():
                table[name][row] = value
        clock = engine.timebase.state
        clock["ref_ns"][row] = clock["anchor_ns"][row] = clock["newest_ns"][row]
        clock["at_ns"][row] = clock["newest_ns"][row] + data.draw(OFFSET_NS)
        device.set_online(data.draw(st.booleans()))
        device.set_recorded(data.draw(st.booleans()))
        engine.streams._devices["dead"][row] = data.draw(st.booleans())
        engine.streams._devices["speed"][row] = data.draw(st.sampled_from([0.0, 1.0, 12.5]))
        device.model, device.placement = data.draw(TEXT), data.draw(st.sampled_from(["chest", "unknown"]))
        device.battery = data.draw(st.one_of(st.none(), st.floats(0.0, 1.0)))
        device.counted = data.draw(
            st.one_of(st.none(), st.dictionaries(TEXT, st.integers(0, 9)).map(Counter))
        )
        if data.draw(st.booleans()):
            beats = engine.registry.beats
            beats.give(row)
            beats.table["found"][beats.of(row)] = data.draw(
                st.lists(st.integers(0, 99), min_size=N, max_size=N)
            )


@given(st.data())
def test_the_text_of_a_device_is_that_of_its_struct(data: st.DataObject) -> None:
    drawn = Drawn(data)
    wanted = [encode(twin.health_of(drawn.engine, device, NOW_NS)) for device in drawn.devices]
    assert drawn.engine.health.of(drawn.devices, NOW_NS) == wanted


@given(st.data(), st.integers(1, 6))
def test_the_same_devices_have_news(data: st.DataObject, every: int) -> None:
    drawn = Drawn(data)
    health = drawn.engine.health
    health._reserve()
    for row in range(DEVICES):
        told_ns = st.one_of(LAST_NS, st.integers(NOW_NS - (every + 1) * PERIOD_NS, NOW_NS))
        health._told[row] = data.draw(told_ns), data.draw(st.integers(0, 3)), data.draw(st.booleans())
    assert health._news(NOW_NS, every, 0) == twin.news(drawn.engine, NOW_NS, every)


@given(OFFSET_NS, st.integers(-(2**61), 2**61))
def test_a_clock_counts_from_the_same(offset_ns: int, device_ns: int) -> None:
    counts = CLOCK_KINDS[lib.kf_clock_counts(offset_ns, device_ns)]
    assert counts == twin.counts_from(offset_ns, device_ns)


def test_a_number_without_bounds_is_a_number_all_the_same() -> None:
    engine = Engine(Config(), lambda: 0)
    device = engine.registry.device("d")
    for rate_hz, told in [
        (3e38, b"3.0000000054977558e+38"),
        (np.inf, b"null"),
        (2.0**60, b"1.152921504606847e+18"),
    ]:
        engine.schedule.links["rate_hz"][device.row] = rate_hz
        (text,) = engine.health.of([device], NOW_NS)
        assert b'"imu_rate_hz":' + told + b"," in text
