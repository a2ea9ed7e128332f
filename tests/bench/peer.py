"""The server that a user would write: what ``bench fleet --peer tests.bench.peer`` sets ours beside.

aiomqtt as its documentation shows it, one coroutine, the vqf package for orientation, a filterpy filter for
the heart rate, `json.dumps` for what is published. It takes the same packets and answers on the same topics
at the same times, with the same cause, so that one load measures both; but it aligns no clocks, knows little
of uncertainty, has no deadlines, and computes three metrics, not all of ours.
"""

import argparse
import asyncio
import json
import struct
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import numpy as np
from filterpy.common import Q_discrete_white_noise
from filterpy.kalman import KalmanFilter
from vqf import VQF

HEADER = struct.Struct("<4B I Q I I 2H 3f")
RATE_HZ = 100.0
PHASES = 10


@dataclass
class Athlete:
    """What is known of an athlete."""

    id: str
    due_s: float
    orientation: VQF = field(default_factory=lambda: VQF(1.0 / RATE_HZ))
    heart: KalmanFilter = field(default_factory=lambda: heart_filter())
    quaternion: Any = None
    moving_mps2: float = 0.0
    samples: int = 0


def heart_filter() -> KalmanFilter:
    """Return a filter of heart rate and its change."""
    kf = KalmanFilter(dim_x=2, dim_z=1)
    kf.x = np.array([[70.0], [0.0]])
    kf.F = np.array([[1.0, 1.0], [0.0, 1.0]])
    kf.H = np.array([[1.0, 0.0]])
    kf.P *= 100.0
    kf.R = np.array([[4.0]])
    kf.Q = Q_discrete_white_noise(dim=2, dt=1.0, var=0.1)
    return kf


class Peer:
    """All athletes."""

    def __init__(self, client: aiomqtt.Client, root: str) -> None:
        self.client = client
        self.root = root
        self.athletes: dict[str, Athlete] = {}

    async def take(self, message: aiomqtt.Message) -> None:
        """Take in a message of a device; publish its athlete's update if that is due."""
        now_s = time.time()
        device, kind = str(message.topic).split("/")[-2:]
        athlete = self.athlete(device.rpartition("-")[0], now_s)
        payload = bytes(message.payload)
        if kind == "imu":
            boot, seq = self.motion(athlete, payload)
        else:
            boot, seq = self.pulse(athlete, payload)
        if now_s >= athlete.due_s:
            due_s = athlete.due_s
            athlete.due_s += np.floor(now_s - due_s) + 1.0
            await self.publish(athlete, due_s, {"device": device, "boot": boot, "seq": seq})

    def athlete(self, id_: str, now_s: float) -> Athlete:
        """Return the athlete; a new one is due next at its own tenth of a second."""
        found = self.athletes.get(id_)
        if found is None:
            phase_s = zlib.crc32(id_.encode()) % PHASES / PHASES
            found = self.athletes[id_] = Athlete(id_, float(np.floor(now_s - phase_s)) + 1.0 + phase_s)
        return found

    def motion(self, athlete: Athlete, payload: bytes) -> tuple[int, int]:
        """Take in an inertial packet."""
        fields = HEADER.unpack_from(payload)
        columns, boot, seq, count, scales = fields[2], fields[4], fields[6], fields[8], fields[10:13]
        counts = np.frombuffer(payload, "<i2", columns * count, HEADER.size).reshape(count, columns)
        accel = np.ascontiguousarray(counts[:, 0:3] * scales[0])
        gyro = np.ascontiguousarray(counts[:, 3:6] * scales[1])
        mag = np.ascontiguousarray(counts[:, 6:9] * scales[2])
        answer = athlete.orientation.updateBatch(gyro, accel, mag)
        athlete.quaternion = answer["quat9D"][-1]
        athlete.moving_mps2 = float(np.std(np.linalg.norm(accel, axis=1)))
        athlete.samples += count
        return boot, seq

    def pulse(self, athlete: Athlete, payload: bytes) -> tuple[int, int]:
        """Take in a heart rate."""
        body = json.loads(payload)
        athlete.heart.predict()
        athlete.heart.update(body["bpm"])
        return body["boot"], body["seq"]

    async def publish(self, athlete: Athlete, due_s: float, cause: dict[str, Any]) -> None:
        """Publish an athlete's update."""
        heart = athlete.heart
        update = {
            "t_ms": round(due_s * 1e3),
            "athlete": athlete.id,
            "cause": cause,
            "metrics": {
                "heart_rate": {
                    "value": round(float(heart.x[0, 0]), 2),
                    "sigma": round(float(np.sqrt(heart.P[0, 0])), 2),
                },
                "movement": {"value": round(athlete.moving_mps2, 3)},
                "orientation": {"value": [round(float(each), 4) for each in athlete.quaternion]}
                if athlete.quaternion is not None
                else None,
            },
        }
        await self.client.publish(f"{self.root}/athletes/{athlete.id}/live", json.dumps(update))


async def serve(port: int, root: str) -> None:
    """Serve until ended."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        peer = Peer(client, root)
        await client.subscribe(f"{root}/in/+/imu")
        await client.subscribe(f"{root}/in/+/hr")
        await client.publish(f"{root}/server/status", json.dumps({"state": "online"}))
        async for message in client.messages:
            await peer.take(message)


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--root", default="kinefuse/v1")
    asked = parser.parse_args()
    asyncio.run(serve(asked.port, asked.root))


if __name__ == "__main__":
    main()
