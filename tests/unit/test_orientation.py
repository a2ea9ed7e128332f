"""fusion.orientation: what it refuses, what it says, and that its sigmas are honest."""

import numpy as np
import pytest

from fusion.orientation import track
from tests.support.motion import Floats, conjugate, moving, product, turned

T_S = np.arange(4) / 100.0
ZEROS = np.zeros((4, 3))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"t_s": [[0.0, 0.1]]}, r"t_s must have shape \(n,\), not \(1, 2\)"),
        ({"t_s": [0.0, np.nan, 0.1, 0.2]}, "t_s must be finite and within int64"),
        ({"t_s": [0.0, 0.1, 0.2, 1e10]}, "t_s must be finite and within int64"),
        ({"gyro_b": np.zeros((3, 3))}, r"gyro_b must have shape \(4, 3\) like t_s, not \(3, 3\)"),
        ({"accel_b": np.zeros((4, 2))}, r"accel_b must have shape \(4, 3\) like t_s, not \(4, 2\)"),
        ({"mag_b": np.zeros(4)}, r"mag_b must have shape \(4, 3\) like t_s, not \(4,\)"),
        ({"gyro_range": 0.0}, "gyro_range must be finite and greater than 0 rad/s, not 0.0"),
        ({"gyro_range": -1.0}, "gyro_range must be finite and greater than 0"),
        ({"gyro_range": np.nan}, "gyro_range must be finite and greater than 0"),
        ({"gyro_range": np.inf}, "gyro_range must be finite and greater than 0"),
        ({"interval_s": 0.0}, "interval_s must be finite and greater than 0 s"),
        ({"interval_s": [0.01, 0.01, np.nan, 0.01]}, "interval_s must be finite and greater than 0 s"),
        ({"interval_s": [0.01, 0.01]}, r"interval_s must be a number or have shape \(4,\), not \(2,\)"),
    ],
)
def test_what_does_not_fit_is_told_in_words(changed: dict[str, object], told: str) -> None:
    arguments: dict[str, object] = {"t_s": T_S, "gyro_b": ZEROS, "accel_b": ZEROS, "mag_b": ZEROS}
    with pytest.raises(ValueError, match=told):
        track(**(arguments | changed))  # type: ignore[arg-type]


def test_nothing_gives_nothing() -> None:
    out = track([], np.zeros((0, 3)), np.zeros((0, 3)))
    assert out.q9 is None
    assert out.q6.shape == (0, 4)


def test_without_specific_force_nothing_is_known() -> None:
    out = track(T_S, ZEROS, np.full((4, 3), np.nan), np.full((4, 3), 30.0))
    np.testing.assert_array_equal(out.q6, np.tile([1, 0, 0, 0], (4, 1)))
    np.testing.assert_allclose(out.heading_sigma, np.pi, rtol=1e-6)
    assert not out.settled.any()


def test_a_stamp_that_is_not_after_the_one_before_repeats_what_was_known() -> None:
    m = moving(1.0)
    t_s = m.t_ns / 1e9
    t_s[50] = t_s[20]
    out = track(t_s, m.gyro_b, m.accel_b, m.mag_b)
    assert out.q9 is not None
    np.testing.assert_array_equal(out.q9[50], out.q9[49])
    np.testing.assert_array_equal(out.tilt_sigma[50], out.tilt_sigma[49])


def test_gaps_and_clipping_are_told_where_they_are() -> None:
    m = moving(2.0)
    t_s = m.t_ns / 1e9
    t_s[100:] += 0.3
    gyro_range = float(np.abs(m.gyro_b).max() * 0.8)
    out = track(t_s, np.clip(m.gyro_b, -gyro_range, gyro_range), m.accel_b, gyro_range=gyro_range)
    assert np.flatnonzero(out.gap).tolist() == [100]
    np.testing.assert_array_equal(out.clipped, np.abs(m.gyro_b).max(1) >= 0.999 * np.float32(gyro_range))


def errors(q: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Return tilt and heading errors, rad."""
    d = product(q, conjugate(truth))
    tilt = 2 * np.arccos(np.minimum(1, np.hypot(d[:, 0], d[:, 3])))
    return tilt, np.abs(2 * np.arctan(d[:, 3] / d[:, 0]))


def ratios(rest_s: float) -> dict[str, float]:
    """Return rms of error over sigma, after 15 s, of sensors that lie still for ``rest_s`` and then are worn.

    Their velocity wanders by 0.6 m/s, correlated over half a second; their gyroscopes have a bias of
    0.01 rad/s on each axis (1 sigma).
    """
    sums: dict[str, list[Floats]] = {"tilt": [], "heading": [], "bias": []}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        m = moving(60.0, step_hz=1.7, seed=seed)
        n, still = len(m.t_ns), round(rest_s * 100)
        bias, change = rng.normal(0, 0.01, 3), rng.normal(0, 0.12, (n, 3))
        velocity = np.zeros((n, 3))
        for k in range(1, n):
            velocity[k] = 0.98 * velocity[k - 1] + change[k]
        free_e = np.diff(velocity, axis=0, prepend=0) * 100
        gyro = m.gyro_b + rng.normal(0, 0.01, (n, 3))
        accel = m.accel_b + turned(conjugate(m.q_eb), free_e)
        parts = [gyro, accel, m.mag_b + rng.normal(0, 0.5, (n, 3)), m.q_eb]
        if still:
            first = (
                np.zeros(3),
                turned(conjugate(m.q_eb[0]), np.array([0, 0, 9.80665])),
                m.mag_b[0],
                m.q_eb[0],
            )
            parts = [np.vstack([np.tile(v, (still, 1)), w]) for v, w in zip(first, parts, strict=True)]
        out = track(np.arange(n + still) / 100, parts[0] + bias, parts[1], parts[2], means=True)
        assert out.q9 is not None
        tilt, heading = errors(out.q9.astype(float), parts[3])
        sums["tilt"].append(tilt[1500:] / (np.sqrt(2) * out.tilt_sigma[1500:]))
        sums["heading"].append(heading[1500:] / out.heading_sigma[1500:])
        off = np.linalg.norm(out.bias_b - bias, axis=1) / (np.sqrt(3) * out.bias_sigma)
        sums["bias"].append(off[1500:])
    return {name: float(np.sqrt(np.mean(np.square(parts)))) for name, parts in sums.items()}


def test_sigmas_are_honest_on_simulated_streams() -> None:
    """Neither far above nor far below; field and gyroscope are cleaner than those the filter is made for."""
    told = ratios(rest_s=10.0)
    assert 0.5 < told["tilt"] < 1.5
    assert 0.1 < told["heading"] < 1.5
    assert told["bias"] < 1.5  # far below: a slow turn may pass for rest, and this gyroscope is a clean one


def test_without_any_rest_the_sigmas_of_tilt_and_bias_are_honest() -> None:
    told = ratios(rest_s=0.0)
    assert 0.5 < told["tilt"] < 1.5
    assert 0.3 < told["bias"] < 1.5


def test_without_any_rest_the_sigma_of_heading_is_honest() -> None:
    assert ratios(rest_s=0.0)["heading"] < 1.5
