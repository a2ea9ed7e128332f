"""A moving sensor in closed form, for tests of the core: a turning body with known answers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.core import PACKET, ROW, CoreTable
from fusion.measurements import Records
from server.codecs import imu

Floats = NDArray[np.float64]
GRAVITY_MPS2 = 9.80665
FIELD_E = np.array([0.0, 20.0, -40.0])  # uT, dips north


class Motion(NamedTuple):
    """Samples of one device: (n,) stamps in ns, (n, 3) vectors in b, (n, 4) true ``q_eb``."""

    t_ns: NDArray[np.int64]
    accel_b: Floats
    gyro_b: Floats
    mag_b: Floats
    q_eb: Floats


def turned(q: Floats, v: Floats) -> Floats:
    """Return v (..., 3) rotated by q (..., 4)."""
    u, w = q[..., 1:], q[..., :1]
    t = 2 * np.cross(u, v)
    out: Floats = v + w * t + np.cross(u, t)
    return out


def product(a: Floats, b: Floats) -> Floats:
    """Return the quaternion product of a and b, (..., 4)."""
    w = a[..., 0] * b[..., 0] - (a[..., 1:] * b[..., 1:]).sum(-1)
    v = a[..., :1] * b[..., 1:] + b[..., :1] * a[..., 1:] + np.cross(a[..., 1:], b[..., 1:])
    out: Floats = np.concatenate([w[..., None], v], -1)
    return out


def conjugate(q: Floats) -> Floats:
    """Return the inverse of unit quaternions, (..., 4)."""
    out: Floats = q * np.array([1.0, -1.0, -1.0, -1.0])
    return out


def moving(
    seconds: float, *, rate_hz: float = 100.0, step_hz: float = 0.0, start_ns: int = 10**9, seed: int = 1
) -> Motion:
    """Return a body that sways about three axes; ``step_hz`` > 0 bounces it vertically by 3 m/s^2."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    angle = rng.uniform(0.2, 0.5, 3) * np.sin(np.outer(t, rng.uniform(1.0, 3.0, 3)) + rng.uniform(0, 6, 3))
    half = angle / 2
    zero = np.zeros(len(t))
    parts = [
        np.stack([np.cos(half[:, k]), *(np.sin(half[:, k]) if k == j else zero for j in range(3))], -1)
        for k in range(3)
    ]
    q = product(product(parts[0], parts[1]), parts[2])
    step = product(conjugate(q[:-1]), q[1:])
    rates = 2 * np.arctan2(np.linalg.norm(step[:, 1:], axis=1), step[:, 0])[:, None] * rate_hz
    gyro = rates * step[:, 1:] / np.maximum(np.linalg.norm(step[:, 1:], axis=1), 1e-12)[:, None]
    gyro = np.vstack([gyro[:1], gyro])
    free = np.zeros((len(t), 3))
    free[:, 2] = 3.0 * np.sin(2 * np.pi * step_hz * t) if step_hz > 0 else 0.0
    force = turned(conjugate(q), free + np.array([0, 0, GRAVITY_MPS2]))
    stamps = start_ns + np.round(t * 1e9).astype(np.int64)
    return Motion(stamps, force, gyro, turned(conjugate(q), np.broadcast_to(FIELD_E, force.shape)), q)


def rows_of(t_ns: NDArray[np.int64], vectors: Floats, sensor: int) -> Records:
    """Return (n,) ROW of one sensor."""
    rows = np.zeros(len(t_ns), ROW)
    rows["t_ns"] = t_ns
    rows["x"], rows["y"], rows["z"] = np.asarray(vectors).T
    rows["sensor"] = sensor
    return rows


def merged(*parts: Records) -> Records:
    """Return the rows in the order of time; at one stamp mag, accel, gyro."""
    rows = np.concatenate(parts)
    return rows[np.lexsort(((rows["sensor"] + 1) % 3, rows["t_ns"]))]


def all_rows(m: Motion, *, mag: bool = True) -> Records:
    """Return the motion as merged rows."""
    parts = [rows_of(m.t_ns, m.accel_b, 0), rows_of(m.t_ns, m.gyro_b, 1)]
    return merged(*parts, *([rows_of(m.t_ns, m.mag_b, 2)] if mag else []))


def binary_packets(m: Motion, size: int) -> list[bytes]:
    """Return a stream of 100 Hz as binary packets of nine columns, of ``size`` samples each."""
    return [
        imu.encode(
            accel_b=m.accel_b[at : at + size],
            gyro_b=m.gyro_b[at : at + size],
            mag_b=m.mag_b[at : at + size],
            boot=1,
            t0_ns=int(m.t_ns[at]),
            seq=seq,
            dt_ns=10**7,
        )
        for seq, at in enumerate(range(0, len(m.t_ns), size))
    ]


class Answers(NamedTuple):
    """What a table told of a stream, whatever the packets: windows, steps, the state's bytes, summaries."""

    windows: bytes
    steps: bytes
    state: bytes
    summaries: Records
    window_records: Records
    step_records: Records


def packets_of(payloads: list[bytes], kinds: list[int], devices: list[int], flags: int = 0) -> Records:
    """Return references to the payloads joined."""
    packets = np.zeros(len(payloads), PACKET)
    lengths = np.array([len(payload) for payload in payloads], np.uint64)
    packets["device"], packets["kind"], packets["flags"] = devices, kinds, flags
    packets["length"] = lengths
    packets["offset"] = np.cumsum(lengths) - lengths
    return packets


def answers(pieces: list[bytes], kind: int, *, placement: str = "unknown", flags: int = 0) -> Answers:
    """Run the pieces as packets of one device in one call."""
    table = CoreTable()
    row = table.add(placement=placement)
    out = table.advance(
        b"".join(pieces), packets_of(pieces, [kind] * len(pieces), [row] * len(pieces), flags)
    )
    return Answers(
        out.windows.tobytes(),
        out.steps.tobytes(),
        table.snapshot(row),
        out.summaries,
        out.windows,
        out.steps,
    )
