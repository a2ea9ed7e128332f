"""Several devices on one athlete: one speaks for each kind, is replaced when it dies, and does not flap."""

import numpy as np
import pytest

from fusion.measurements import Measurements, Source, Sport
from fusion.models import choice
from server.registry import STEP_RANK
from tests.support.athlete_table import START_NS, Told, athlete, fix, step

FOOT, OTHER_FOOT, HIP, WRIST = range(4)
WORN = (STEP_RANK["foot"], STEP_RANK["foot"], STEP_RANK["hip"], STEP_RANK["wrist"])
SPM = 172.0


def strides(t_s: int, devices: list[int], lossy: tuple[int, ...] = ()) -> list[Told]:
    """A second of windows of each device, all of which count the same steps; the lossy ones lack half."""
    told = []
    for device in devices:
        for i in range(4):
            end_s = t_s - 0.75 + 0.25 * i
            steps = int(end_s * SPM / 60) - int((end_s - 0.25) * SPM / 60)
            span_s = 0.08 if device in lossy else 0.25
            told.append((end_s, device, WORN[device], span_s, 0.0, 0.01, 8.0, 3.0, steps, 60 / SPM, 64))
    return sorted(told, key=lambda one: one[0])


def speakers(seconds: int, worn: dict[int, set[int]], lossy: tuple[int, ...] = ()) -> tuple[list[int], float]:
    """Return who spoke at the end of each second, and the steps in the end; ``worn`` holds silent seconds."""
    table = athlete(Sport.RUN)
    spoke, steps = [], 0.0
    for t in range(1, seconds + 1):
        devices = [device for device, silent in worn.items() if t not in silent]
        live = step(table, t, windows=strides(t, devices, lossy))
        spoke.append(int(table.state["body_device"][0]))
        steps = float(live["steps"].value[0])
    return spoke, steps


def test_both_feet_a_hip_and_a_wrist_do_not_double_a_step() -> None:
    spoke, steps = speakers(300, {device: set() for device in (WRIST, HIP, OTHER_FOOT, FOOT)})
    assert spoke[-1] in (FOOT, OTHER_FOOT)
    assert len(set(spoke)) == 1
    assert steps == pytest.approx(300 * SPM / 60, abs=2)


def test_a_foot_that_dies_is_replaced_within_seconds_and_taken_back_when_it_has_proved_itself() -> None:
    spoke, steps = speakers(200, {FOOT: set(range(60, 120)), WRIST: set()})
    assert spoke[58] == FOOT
    assert spoke[65] == WRIST, "six seconds later"
    assert spoke[126] == WRIST, "not at once"
    assert spoke[131] == FOOT
    assert steps == pytest.approx(200 * SPM / 60, abs=0.04 * 200 * SPM / 60)


def test_a_foot_that_comes_and_goes_is_not_taken_back() -> None:
    silent = {t for t in range(40, 300) if t % 15 < 7}
    spoke, steps = speakers(300, {FOOT: silent, HIP: set()})
    assert np.count_nonzero(np.diff(spoke)) == 1
    assert spoke[-1] == HIP
    assert steps == pytest.approx(300 * SPM / 60, abs=20)


def test_a_foot_that_loses_most_of_its_samples_gives_way_to_a_hip_for_good() -> None:
    spoke, _ = speakers(200, {FOOT: set(), HIP: set()}, lossy=(FOOT,))
    assert spoke[-1] == HIP
    assert np.count_nonzero(np.diff(spoke)) <= 1


def test_a_better_device_that_joins_later_has_to_be_heard_for_ten_seconds() -> None:
    spoke, _ = speakers(100, {FOOT: set(range(50)), WRIST: set()})
    assert spoke[48] == spoke[57] == WRIST
    assert spoke[61] == FOOT


def run(
    seconds: int, *receivers: tuple[float, float, set[int]], wander: bool = False
) -> tuple[float, list[int]]:
    """Return the distance of a straight run at 3 m/s, told by receivers: offset, accuracy, silent seconds."""
    table = athlete(Sport.RUN)
    rng = np.random.default_rng(3)
    spoke = []
    for t in range(1, seconds + 1):
        told = []
        for device, (offset_m, accuracy_m, silent) in enumerate(receivers):
            if t in silent:
                continue
            lat, lon, *rest = fix(t, 3.0 * t + 0.3 * rng.normal(), speed_mps=3.0)[1:]
            rest[-3] = accuracy_m
            t_ns = START_NS + t * 10**9 - 10**8 * (1 - device)
            told.append((0, t_ns, device, lat + offset_m / 111_200, lon, *rest))
        told.sort(key=lambda one: one[1])
        live = table.step(np.array([0]), np.array([START_NS + t * 10**9]), Measurements.of(gnss=told))
        spoke.append(int(table.state["gnss_device"][0]))
    return float(live["distance"].value[0]), spoke


def test_two_receivers_with_an_offset_make_no_longer_way_than_one() -> None:
    one, _ = run(400, (0.0, 4.0, set()))
    two, spoke = run(400, (0.0, 4.0, set()), (5.0, 4.0, set()))
    assert len(set(spoke)) == 1
    assert two == pytest.approx(one, rel=2e-3)
    assert two <= one * 1.001


def test_receivers_that_fall_silent_in_turn_hand_over_without_a_way_between_them() -> None:
    gaps = [set(range(100, 140)), set(range(200, 240))]
    one, _ = run(400, (0.0, 4.0, set()))
    two, spoke = run(400, (0.0, 4.0, gaps[0]), (25.0, 4.0, gaps[1]))
    assert np.count_nonzero(np.diff(spoke)) == 2
    assert spoke[107] == 1
    assert spoke[207] == 0
    assert two == pytest.approx(one, abs=6.0), "of 1,200 m, though they are 25 m apart"


def test_a_receiver_that_is_twice_as_sure_takes_over_once() -> None:
    two, spoke = run(300, (20.0, 12.0, set()), (0.0, 4.0, set(range(60))))
    assert spoke[50] == 0
    assert spoke[-1] == 1
    assert np.count_nonzero(np.diff(spoke)) == 1
    assert two == pytest.approx(900.0, abs=6.0)


def test_two_barometers_make_one_climb() -> None:
    table = athlete(Sport.HIKE)
    for t in range(1, 601):
        pascal = 95_000.0 - 11.0 * 60.0 * t / 600
        for device, offset_pa in ((0, 0.0), (1, 180.0)):
            silent = 200 <= t < 400 if device == 0 else t >= 450
            if not silent:
                live = step(table, t, baro=[(t - 0.1 * device, pascal + offset_pa)], device=device)
    assert live["ascent"].value[0] == pytest.approx(60.0, abs=3.0)
    assert live["descent"].value[0] < 1.0


def test_two_meters_are_not_mixed() -> None:
    table = athlete(Sport.RIDE)
    for t in range(1, 61):
        for device, watts, rpm in ((0, 200.0, 90.0), (1, 230.0, 84.0)):
            step(table, t, power=[(t, watts)], cadence=[(t, rpm, np.nan)], device=device)
        assert table.state["power_w"][0] == 200.0
        assert table.state["cadence_rpm"][0] == 90.0
    for t in range(61, 70):
        step(table, t, power=[(t, 230.0)], device=1)
    assert table.state["power_w"][0] == 230.0


def test_a_wheel_speaks_on_a_ride_and_a_foot_pod_on_a_run() -> None:
    for sport, expected in ((Sport.RIDE, 8.0), (Sport.RUN, 3.0)):
        table = athlete(sport)
        for t in range(1, 30):
            step(table, t, speeds=[(t, 3.0, int(Source.FOOT))], device=0)
            step(table, t, speeds=[(t, 8.0, int(Source.WHEEL))], device=1)
        assert table.state["sensor_mps"][0] == expected


def test_a_strap_speaks_before_light() -> None:
    table = athlete(Sport.RUN)
    sources = set()
    for t in range(1, 60):
        rates = [
            (t - 0.2, 0, 140.0, 1.0, int(Source.STRAP), np.nan),
            (t - 0.1, 1, 141.0, 3.0, int(Source.OPTICAL), np.nan),
        ]
        sources.add(int(step(table, t, heart_rates=rates)["heart_rate"].source[0]))
    assert sources == {int(Source.STRAP)}
    assert table.state["hr_device"][0] == 0


def test_nobody_speaks_at_first() -> None:
    table = athlete()
    assert all(table.state[f"{kind}_device"][0] == choice.NOBODY for kind in choice.KINDS)
