"""What the fleet benchmark makes of its runs: the limit, back to normal, growth, pictures."""

import json
import sys
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

if sys.platform != "linux":
    pytest.skip("the load generator stands on epoll", allow_module_level=True)

from server.deadlines.histogram import bucket, highest_in
from simulators.benchmark import faults, limit, plots, soak
from simulators.benchmark.outcome import Asked, Moment, Outcome, Second, outcome
from simulators.benchmark.stage import Subject, Told
from simulators.benchmark.usage import Machine, Usage
from simulators.load import figures
from simulators.load.records import BIN


def holding(most: int, asked: list[int], hiccups: int = 0) -> Callable[[int], Awaitable[bool]]:
    """Return a server that holds so many devices, and fails at the first tries for no reason of its own."""

    async def holds(devices: int) -> bool:
        asked.append(devices)
        return devices <= most and len(asked) > hiccups

    return holds


@pytest.mark.parametrize("most", [90, 700, 900, 5_200, 6_000, 30_000])
@pytest.mark.parametrize("hiccups", [0, 1])
async def test_the_limit_is_found_to_a_tenth_in_a_bounded_number_of_runs(most: int, hiccups: int) -> None:
    asked: list[int] = []
    found = await limit.find(holding(most, asked, hiccups), 500, most=20_000, runs_max=20)
    assert min(most, 20_000) / 1.12 <= found <= min(most, 20_000)
    assert len(asked) <= 20


async def test_a_server_that_holds_nobody_has_no_limit() -> None:
    asked: list[int] = []
    assert await limit.find(holding(0, asked), 500, most=20_000, runs_max=6) == 0
    assert len(asked) == 6


def second(p99_ms: float | None, heard: int = 10) -> Second:
    return Second(100, 0, heard, p99_ms, p99_ms, p99_ms)


def test_all_is_as_before_when_good_seconds_come_again() -> None:
    good, slow, mute = second(10.0), second(90.0), second(None, 0)
    assert faults.normal_after_s([good] * 5, 10) == 0
    assert faults.normal_after_s([mute, slow, good, good, good], 10) == 2
    assert faults.normal_after_s([good, good, good, slow, good, good], 10) is None  # too short to tell
    assert faults.normal_after_s([good, good, good, slow, good, good, good], 10) == 4
    assert faults.normal_after_s([slow] * 5, 10, p99_ms=100.0) == 0
    assert faults.normal_after_s([second(10.0, 9), good, good, good], 10) == 1


def test_a_stretch_is_as_bad_as_its_worst_second() -> None:
    told = faults.stretch([second(10.0), second(70.0, 7), second(None, 0)], 10)
    assert told == faults.Stretch(70.0, 70.0, 13)


def test_the_slope_of_memory_is_by_the_hour() -> None:
    samples = [soak.Sample(t_s, 100.0 + t_s / 360, 10.0) for t_s in (0.0, 10.0, 20.0, 30.0)]
    assert soak.slope_per_h(samples, "server_mb") == pytest.approx(10.0, abs=0.01)
    assert soak.slope_per_h(samples, "broker_mb") == pytest.approx(0.0, abs=0.01)


def test_percentiles_are_of_all_seconds_together() -> None:
    bins = np.zeros(2, BIN)
    times_ns = np.arange(1, 1001) * 10**5
    for i, ns in enumerate(times_ns.tolist()):
        bins["end_to_end"][i % 2, bucket(ns)] += 1
    bins["end_to_end_max_ns"] = times_ns[[-2, -1]]
    bins["heard"] = 500
    told = figures.heard(bins, 501)
    assert (told.expected, told.heard, told.missing) == (1002, 1000, 2)
    for share, ms in ((0.5, told.end_to_end.p50_ms), (0.99, told.end_to_end.p99_ms)):
        highest_ms = highest_in(bucket(round(share * 1000) * 10**5)) / 1e6
        assert ms == pytest.approx(min(highest_ms, 100.0), abs=1e-3)
    assert told.end_to_end.max_ms == 100.0


def test_a_second_that_was_heard_twice_makes_up_for_no_other() -> None:
    bins = np.zeros(2, BIN)
    bins["heard"] = [12, 8]
    assert figures.heard(bins, 10).missing == 2


def ran(devices: int, subject: str = "server", missing: int = 0, dropped: int = 0) -> Outcome:
    bins = np.zeros(10, BIN)
    bins["sent"], bins["heard"] = devices * 11, devices
    bins["heard"][0] -= missing
    bins["end_to_end"][:, bucket(10**7)] = devices
    bins["end_to_end_max_ns"] = 10**7
    usages = [Usage(0.0, 0.0, 100.0, 90.0), Usage(1.0, 0.0, 110.0, 99.0), Usage(6.0, 1.0, 110.0, 99.0)]
    moments = [
        Moment(t_s * 10**9, used, used, 0.0, Machine(float(t_s), float(t_s), 0.0))
        for t_s, used in zip((0, 5, 15), usages, strict=True)
    ]
    told = {"misses": 0, "lost": dropped, "modes": ["full"], "status": {}, "deadlines": {}, "health": {}}
    return outcome(subject, Asked(devices=devices), bins, devices, moments, {}, told)


def test_cost_is_the_servers_cpu_over_what_was_sent() -> None:
    told = ran(1000)
    assert told.server.cpu_share == 0.5
    assert told.us_per_packet == pytest.approx(0.5e6 / 10_000)
    assert told.us_per_message == pytest.approx(5e6 / 110_000, abs=1e-3)
    assert told.machine_idle == 0.5


def test_a_server_holds_when_no_update_is_missing_without_a_word() -> None:
    assert ran(100).holds(50.0)
    assert not ran(100).holds(10.0)
    assert not ran(100, missing=1).holds(50.0)
    assert ran(100, missing=1, dropped=1).holds(50.0)
    assert not ran(100, missing=50, dropped=50).holds(50.0)


def test_what_the_server_told_before_the_seconds_that_count_is_not_of_them() -> None:
    told = Told()
    for t_ms, live in ((1_000, 5), (2_000, 7), (9_000, 10)):
        status = {"t_ms": t_ms, "state": "online", "version": "1", "dropped": 1, "given_up": {"live": live}}
        status["mode"] = "slow_live" if live == 7 else "full"
        told.take("k/server/status", json.dumps(status).encode(), retained=False)
    told.take("k/server/status", b'{"t_ms": 1, "state": "offline"}', retained=False)  # the will
    assert (told.lost(500), told.lost(2_500), told.lost(9_500)) == (11, 3, 0)
    assert [told.modes(t_ms) for t_ms in (500, 2_500, 9_500)] == [
        ["full", "slow_live", "full"],
        ["slow_live", "full"],
        ["full"],
    ]


def test_pictures_are_the_same_for_the_same_figures() -> None:
    outcomes = [ran(100), ran(1000), ran(100, "peer")]
    first, again = plots.pictures(outcomes), plots.pictures(outcomes)
    assert first == again
    assert set(first) == {"fleet-latency.svg", "fleet-cost.svg"}
    assert all(svg.startswith("<?xml") and "Kinefuse" in svg for svg in first.values())


def test_a_peer_is_a_module_a_file_or_a_command() -> None:
    python = sys.executable
    assert Subject.peer("tests.bench.peer").command == [python, "-m", "tests.bench.peer"]
    assert Subject.peer("my/peer.py").command == [python, "my/peer.py"]
    assert Subject.peer("./peer --fast").command == ["./peer", "--fast"]
