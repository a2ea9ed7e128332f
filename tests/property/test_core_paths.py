"""The vector paths of the core equal the plain one, whatever the fleet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusion._core import lib
from fusion.core import PATHS, CoreTable
from server.codecs import imu
from tests.support.motion import Floats, merged, moving, packets_of, rows_of


def fleet_of(rng: np.random.Generator, devices: int) -> list[list[tuple[int, int, bytes]]]:
    """Return ticks of (device, kind, payload): of every length, lost, without a field, clipped, at rest."""
    ticks: list[list[tuple[int, int, bytes]]] = []
    streams = []
    for _ in range(devices):
        step_ns = int(rng.choice([5, 8, 10, 19, 40]) * 1_000_000)
        m = moving(4.0, rate_hz=1e9 / step_ns, step_hz=1.0 + rng.random(), seed=int(rng.integers(2**31)))
        accel, gyro, mag = m.accel_b.copy(), 3 * m.gyro_b, m.mag_b.copy()
        half = len(gyro) // 2
        if rng.random() < 0.3:
            gyro[half:], accel[half:] = 0.01, accel[half]
        mag[rng.random(len(mag)) < rng.choice([0.0, 0.5, 1.0])] = np.nan
        gyro[rng.random(len(gyro)) < 0.01] = np.nan
        gyro = np.clip(gyro, -4.0, 4.0)
        streams.append((step_ns, accel, gyro, mag, rng.random() < 0.2, bool(rng.integers(2))))
    at = [0] * devices
    seq = [0] * devices
    for _ in range(25):
        tick = []
        for device in rng.permutation(devices).tolist():
            step_ns, accel, gyro, mag, as_rows, means = streams[device]
            for _ in range(int(rng.choice([0, 1, 1, 1, 2]))):
                part = slice(at[device], at[device] + int(rng.integers(1, 45)))
                at[device] = part.stop
                seq[device] += 1
                if part.start >= len(accel) or rng.random() < 0.05:
                    continue
                t0_ns = 10**9 + part.start * step_ns
                if as_rows:
                    t_ns = t0_ns + step_ns * np.arange(len(accel[part]))
                    whole = np.nan_to_num(np.stack([accel[part], gyro[part], mag[part]]))
                    tick.append((device, int(lib.KF_ROWS), all_rows_of(t_ns, whole)))
                    continue
                payload = imu.encode(
                    accel_b=accel[part], gyro_b=gyro[part], mag_b=mag[part], boot=1, t0_ns=t0_ns,
                    seq=seq[device], dt_ns=step_ns, means=means,
                )  # fmt: skip
                tick.append((device, int(lib.KF_BINARY), payload))
        ticks.append(tick)
    return ticks


def all_rows_of(t_ns: NDArray[np.int64], sensors: Floats) -> bytes:
    """Return rows of the three sensors at these stamps."""
    return merged(*(rows_of(t_ns, vectors, sensor) for sensor, vectors in enumerate(sensors))).tobytes()


def answers_by(path: str, devices: int, ticks: list[list[tuple[int, int, bytes]]]) -> list[bytes]:
    table = CoreTable(path=path)
    for _ in range(devices):
        table.add(gyro_range=4.0)
    told = []
    for tick in ticks:
        if tick:
            rows, kinds, payloads = (list(column) for column in zip(*tick, strict=True))
            out = table.advance(b"".join(payloads), packets_of(payloads, kinds, rows))
            told += [out.summaries.tobytes(), out.windows.tobytes(), out.steps.tobytes()]
    return told + [table.snapshot(row) for row in range(devices)]


@pytest.mark.skipif(len(PATHS) == 1, reason="this machine has the plain path only")
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_every_path_gives_the_same_bits(seed: int, devices: int) -> None:
    ticks = fleet_of(np.random.default_rng(seed), devices)
    plain = answers_by("plain", devices, ticks)
    for path in PATHS[1:]:
        assert answers_by(path, devices, ticks) == plain


def test_a_path_that_the_machine_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="path must be one of plain"):
        CoreTable(path="neon")
