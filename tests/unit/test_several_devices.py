"""A recording of five inertial sensors on one body, feet, sacrum and hands, on a treadmill."""

import csv
import lzma
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from server.codecs import imu, samples
from server.config import Config
from server.engine import Engine
from server.envelopes import Incoming
from server.messages import Birth, Clock, Placement
from tests.support.recordings import recordings

START_NS = 1_790_000_000 * 10**9
RATE_HZ = 128
WORN: dict[str, Placement] = {"LF": "foot", "RF": "foot", "SA": "hip", "LH": "wrist", "RH": "wrist"}
G = 9.80665


def samples_of(path: Path) -> NDArray[np.float64]:
    """Return gyroscope, rad/s, and specific force, m/s^2, (n, 6)."""
    with lzma.open(path, "rt", encoding="latin-1") as file:
        rows = [line.split(",")[1:7] for line in file if line[:1].isdigit()]
    values = np.array(rows, dtype=np.float64)
    values[:, :3] = np.radians(values[:, :3])
    values[:, 3:] *= G
    return values


def packets(name: str, values: NDArray[np.float64]) -> list[tuple[int, bytes]]:
    """Return a device's packets of a quarter of a second and when each ends, ns."""
    made, count = [], RATE_HZ // 4
    for seq, first in enumerate(range(0, len(values) - count, count)):
        part, t0_ns = values[first : first + count], START_NS + first * 10**9 // RATE_HZ
        payload = imu.encode(
            accel_b=part[:, 3:],
            gyro_b=part[:, :3],
            boot=len(name),
            t0_ns=t0_ns,
            seq=seq,
            dt_ns=10**9 // RATE_HZ,
        )
        made.append((t0_ns + 10**9 // 4, payload))
    return made


def steps_of(folder: Path, names: tuple[str, ...]) -> tuple[float, set[int]]:
    """Return the steps counted by sensors on one athlete together, and the devices that spoke at any time."""
    devices = "\n".join(f'[[athletes.devices]]\nid = "{name}"\nplacement = "{WORN[name]}"' for name in names)
    text = f'[[athletes]]\nid = "fz"\n{devices}'
    config = msgspec.toml.decode(text.encode(), type=Config)
    engine = Engine(config, lambda: 0)
    root, arrivals = "kinefuse/v1/in", []
    for name in names:
        birth = Birth(t=START_NS, placement=WORN[name], clock=Clock(recorded=True))
        arrivals.append((0, f"{root}/{name}/status", samples.encode(birth)))
        found = packets(name, samples_of(folder / "IMU" / f"{name}.csv.xz"))
        arrivals += [(end_ns, f"{root}/{name}/imu", payload) for end_ns, payload in found]
    arrivals.sort(key=lambda one: one[0])
    spoke = set()
    for i, (_, topic, payload) in enumerate(arrivals):
        now_ns = START_NS + i * 1_000
        engine.advance([Incoming(topic, payload, False, now_ns, 0)], now_ns)
        spoke.add(int(engine.table.state["body_device"][0]))
    return float(engine.table.state["body_steps"][0]), spoke - {-1}


@pytest.mark.parametrize("speed", ["PWS", "PWS-20"])
def test_five_sensors_on_one_body_count_each_step_once(speed: str) -> None:
    folder = recordings("tripod_treadmill") / "TRIPOD_excerpt" / "Sub_FZ" / speed
    with (folder / "OptoGait" / "optogait.csv").open(encoding="latin-1") as file:
        seen = sum(row[2] in ("L", "R") for row in csv.reader(file) if len(row) > 2)
    names = tuple(name for name in WORN if (folder / "IMU" / f"{name}.csv.xz").exists())
    alone, _ = steps_of(folder, ("LF",))
    together, spoke = steps_of(folder, names)
    assert len(spoke) == 1
    assert together == pytest.approx(alone, abs=2)
    assert together <= 1.02 * seen, "five sensors would be 1,000 steps"
