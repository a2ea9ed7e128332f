"""Cadence lock: told within 15 s, the source switched, nobody accused whose heart beats with the steps."""

import numpy as np
import pytest

from fusion.athletes import Athletes
from fusion.measurements import Source
from tests.support.athlete_table import Told, athlete, beat, second, step
from tests.unit.test_models_heart_rate import optical

SPM = 168.0


def run(
    light: list[float], strap: list[float] | None = None, spm: float = SPM
) -> tuple[Athletes, list[tuple[float, int, bool]]]:
    """Run with light's rates, one a second; return the table, and value, source and lock of each second."""
    table, told = athlete(), []
    for i, bpm in enumerate(light):
        t = i + 1
        rates: list[Told] = [optical(t, bpm)]
        rates += [beat(t, strap[i])] if strap else []
        live = step(table, t, heart_rates=rates, windows=second(t, steps=1, interval_s=60.0 / spm))
        one = live["heart_rate"]
        told.append((float(one.value[0]), int(one.source[0]), bool(table.state["lock_on"][0])))
    return table, told


def locked(rhythm: float, heart: float = 130.0) -> list[float]:
    rng = np.random.default_rng(3)
    return [heart + rng.normal() for _ in range(60)] + [rhythm + rng.normal() for _ in range(40)]


@pytest.mark.parametrize("rhythm", [SPM, SPM / 2])
def test_light_alone_that_jumps_to_the_cadence_is_flagged_and_the_model_carries_on(rhythm: float) -> None:
    _, told = run(locked(rhythm))
    flags = [lock for _, _, lock in told]
    assert not any(flags[:60])
    assert 60 < flags.index(True) <= 75
    assert all(flags[75:])
    assert all(source == Source.MODEL for _, source, _ in told[75:])
    assert all(abs(bpm - 130.0) < 12.0 for bpm, _, _ in told[60:])


@pytest.mark.parametrize("rhythm", [SPM, SPM / 2])
def test_beside_a_strap_the_strap_speaks(rhythm: float) -> None:
    light = locked(rhythm)
    _, told = run(light, [130.0] * len(light))
    assert told[75][2]
    assert all(source == Source.STRAP and abs(bpm - 130.0) < 3.0 for bpm, source, _ in told[75:])


def test_light_that_slides_to_the_cadence_is_flagged_and_the_rate_goes_back() -> None:
    slide = [130.0 + 38.0 * min(i / 10.0, 1.0) for i in range(40)]
    _, told = run([130.0] * 60 + slide)
    assert [lock for _, _, lock in told].index(True) <= 60 + 10 + 15
    assert abs(told[-1][0] - 130.0) < 20.0


def test_the_flag_falls_soon_after_the_lock_has_ended() -> None:
    _, told = run([*locked(SPM), *([131.0] * 20)])
    assert told[99][2]
    assert not told[105][2]
    assert told[-1][1] == Source.OPTICAL
    assert told[-1][0] == pytest.approx(131.0, abs=2.0)


def test_a_heart_that_comes_to_beat_with_the_steps_is_believed() -> None:
    """From 120 to 168 within a minute and a half, and there it stays, at the cadence."""
    _, told = run([120.0 + 48.0 * (1.0 - np.exp(-t / 40.0)) for t in range(300)])
    assert not any(lock for _, _, lock in told)
    assert told[-1][0] == pytest.approx(168.0, abs=1.0)


def test_a_heart_that_jumps_where_nobody_steps_is_no_lock() -> None:
    table = athlete()
    for t in range(1, 101):
        step(table, t, heart_rates=[optical(t, 130.0 if t < 60 else 168.0)])
    assert table.state["lock_on"][0] == 0
