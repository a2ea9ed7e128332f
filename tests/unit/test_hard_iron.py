"""The field that a device adds to its own magnetometer."""

import numpy as np
import pytest

from fusion.hard_iron import learn
from fusion.orientation import track
from tests.support.motion import conjugate, product
from tests.support.recordings import recordings
from tests.unit.test_orientation_motion import FIELD_E, about, clock, heading_off, rms, sampled

OFFSET_B = np.array([9.0, -8.0, 9.0])


def test_an_offset_shows_where_a_device_takes_many_poses() -> None:
    t = clock(60, 50)
    q = product(about(2, 0.5 * t), product(about(0, 1.5 * np.sin(0.7 * t)), about(1, 1.2 * np.sin(0.9 * t))))
    t_s, gyro, accel, mag, truth = sampled(q, np.zeros((len(t), 3)), 50)
    mag = mag + OFFSET_B
    mag[::7] = np.nan
    found = learn(t_s, track(t_s, gyro, accel, means=True).q6, mag)
    assert found.usable
    np.testing.assert_allclose(found.offset_b, OFFSET_B, atol=1.0)
    raw = track(t_s, gyro, accel, mag, means=True).q9
    cured = track(t_s, gyro, accel, mag, means=True, mag_offset_b=found.offset_b).q9
    assert raw is not None
    assert cured is not None
    assert (
        rms(heading_off(cured[500:], truth[500:])) < np.radians(2) < rms(heading_off(raw[500:], truth[500:]))
    )


def test_a_device_that_turns_about_one_axis_alone_tells_no_offset_along_it() -> None:
    t = clock(60, 50)
    t_s, gyro, accel, mag, _ = sampled(about(2, 0.5 * t), np.zeros((len(t), 3)), 50)
    found = learn(t_s, track(t_s, gyro, accel, means=True).q6, mag + OFFSET_B)
    assert found.sigma > 5.0
    assert not found.usable


def test_where_there_is_no_offset_none_is_told() -> None:
    t = clock(60, 50)
    q = product(about(2, 0.5 * t), product(about(0, 1.5 * np.sin(0.7 * t)), about(1, 1.2 * np.sin(0.9 * t))))
    t_s, gyro, accel, mag, _ = sampled(q, np.zeros((len(t), 3)), 50)
    assert not learn(t_s, track(t_s, gyro, accel, means=True).q6, mag).usable


def test_nothing_is_learnt_of_nothing_and_wrong_shapes_are_told() -> None:
    assert not learn([], np.zeros((0, 4)), np.zeros((0, 3))).usable
    with pytest.raises(ValueError, match="want"):
        learn([0.0], np.zeros((1, 3)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="mag_offset_b"):
        track([0.0], [[0, 0, 0]], [[0, 0, 9.8]], [FIELD_E], mag_offset_b=[1.0, 2.0])


@pytest.mark.data
def test_what_one_recorded_session_told_serves_the_next() -> None:
    trials = []
    for name in ("02_undisturbed_slow_rotation_B", "04_undisturbed_slow_rotation_with_breaks_A"):
        trial = np.load(recordings("broad") / f"{name}.npz")
        n = len(trial["gyr"]) // 3

        gyro, accel, mag = (
            trial[key][: 3 * n].astype(float).reshape(n, 3, 3).mean(1) for key in ("gyr", "acc", "mag")
        )
        t_s = np.arange(1, n + 1) * 3 / float(trial["rate"])
        moving = trial["movement"][2 : 3 * n : 3].astype(bool)
        truth = trial["quat"][2 : 3 * n : 3].astype(float)
        seen = moving & np.isfinite(truth).all(axis=1)
        trials.append((t_s, gyro, accel, mag + OFFSET_B, truth, seen))
    t_s, gyro, accel, mag, _, _ = trials[0]
    found = learn(t_s, track(t_s, gyro, accel, means=True).q6, mag)
    assert found.usable
    t_s, gyro, accel, mag, truth, seen = trials[1]
    q9 = track(t_s, gyro, accel, mag, means=True, mag_offset_b=found.offset_b).q9
    assert q9 is not None
    d = product(q9[seen].astype(float), conjugate(truth[seen]))
    assert np.degrees(rms(2 * np.arccos(np.minimum(1, np.abs(d[:, 0]))))) < 2.0
