"""Which worker a message is for, and the frames of a chunk by worker.

All of an athlete meets in one worker, in the order of arrival. A worker is chosen by name alone, without
knowing who is enrolled: devices and athletes whose names belong together (`family`), and all of one athlete's
devices, have one worker. So each worker's registry decides as that of a single engine would.
"""

import re
import zlib
from collections import OrderedDict
from typing import Final, NamedTuple

import msgspec
import numpy as np

from server import frames
from server.codecs import samples, sensor_logger
from server.config import Config
from server.envelopes import Arrivals, Chunk, Incoming
from server.errors import DecodeError
from server.frames import NO_DEVICE, QOS, QOS_1, Topics

TOPICS_KEPT: Final = 65_536  # whose worker is known at a glance
BIRTHS_KEPT_BYTES: Final = 16 * 2**20
FAMILY_MAX: Final = 58  # a watch has that much of its phone's id

_WATCH = re.compile(r"(?:-watch)+$")
_STATUS: Final = b"/status"


class Part(NamedTuple):
    """What a worker has of an arrival: whole frames, and those that are to be confirmed."""

    data: bytes
    messages: int
    arrived_ns: int  # UTC, ns
    received_ns: int  # monotonic, ns
    receipt: Chunk | None  # without its bytes; None: nobody waits for a confirmation


def part_size(part: Part) -> int:
    """Return how many bytes a part holds."""
    return len(part.data) + (part.receipt.frames.nbytes if part.receipt is not None else 0)


def part_count(part: Part) -> int:
    """Return how many messages a part holds."""
    return part.messages


def family(name: str) -> str:
    """Return what the ids of a phone, and of the watch that speaks through it, have in common.

    See `server.codecs.sensor_logger.watch_of`: the watch is its phone's wearer's, unless configured.
    """
    return _WATCH.sub("", name)[:FAMILY_MAX]


class Router:
    """Tells workers apart.

    Parameters
    ----------
    config : Config
        Its athletes are spread over the workers.
    workers : int
        How many there are.

    Attributes
    ----------
    topics : Topics
        The worker of each device, in place of a row.
    """

    def __init__(self, config: Config, workers: int) -> None:
        self.topics = Topics(f"{config.broker.root}/in/")
        self.workers = workers
        self._config = config
        self._in = f"{config.broker.root}/in/"
        self._command = f"{config.broker.root}/command/"
        self._shared = frozenset(config.server.sensor_logger_topics)
        self._chosen = _chosen(config)
        self._known: dict[bytes, int] = {}
        self.births = Births(config.server.devices_max)

    def worker(self, name: str) -> int:
        """Return the worker of a device or an athlete."""
        key = family(name)
        return zlib.crc32(self._chosen.get(key, key).encode()) % self.workers

    def configs(self) -> list[Config]:
        """Return what each worker is to know: its own athletes, and no password."""
        broker = msgspec.structs.replace(self._config.broker, username="", password="")
        shares: list[list[object]] = [[] for _ in range(self.workers)]
        for athlete in self._config.athletes:
            shares[self.worker(athlete.id)].append(athlete)
        return [msgspec.structs.replace(self._config, broker=broker, athletes=share) for share in shares]

    def enrolled(self, device_id: str) -> None:
        """Know the messages of a device at a glance."""
        self.topics.put(device_id, self.worker(device_id))

    def route(self, topic: str, payload: bytes) -> int:
        """Return the worker of a message; what means nothing is the first one's, who counts it."""
        if topic.startswith(self._in):
            return self.worker(topic[len(self._in) :].partition("/")[0])
        if topic.startswith(self._command):
            return self.worker(topic[len(self._command) :])
        if topic in self._shared:
            try:
                return self.worker(sensor_logger.sender(payload))
            except DecodeError:
                return 0
        return 0

    def parts(self, arrival: Arrivals) -> list[tuple[int, Part]]:
        """Return what each worker has of an arrival."""
        if isinstance(arrival, Incoming):
            topic, payload, retained, arrived_ns, received_ns = arrival
            data = frames.publish([(topic, payload, retained)])
            worker = self.route(topic, payload)
            if topic.endswith("/status"):
                self.births.keep(worker, topic, payload)
            return [(worker, Part(data, 1, arrived_ns, received_ns, None))]
        groups = np.ascontiguousarray(arrival.frames["device"])
        unknown = np.flatnonzero(groups == NO_DEVICE)
        if len(unknown):
            groups[unknown] = self._look(arrival, unknown.tolist())
        gathered = frames.gather(arrival.data, arrival.frames, groups, self.workers)
        assured = arrival.frames["flags"] & QOS == QOS_1
        any_assured = bool(assured.any())
        parts = []
        for worker, (data, count) in enumerate(gathered):
            if not count:
                continue
            receipt = None
            if any_assured:
                own = arrival.frames[assured & (groups == worker)]
                receipt = arrival._replace(data=b"", frames=own) if len(own) else None
            parts.append((worker, Part(data, count, arrival.arrived_ns, arrival.received_ns, receipt)))
        return parts

    def _look(self, chunk: Chunk, places: list[int]) -> list[int]:
        """Return the worker of each of some frames."""
        data, known = chunk.data, self._known
        found = []
        for place in places:
            at, length = chunk.frames["topic"][place], chunk.frames["topic_length"][place]
            topic = data[at : at + length]
            worker = known.get(topic)
            found.append(self._learn(chunk, place, topic) if worker is None else worker)
        return found

    def _learn(self, chunk: Chunk, place: int, topic: bytes) -> int:
        message = chunk.message(place)
        worker = self.route(message.topic, message.payload)
        if topic.endswith(_STATUS):
            self.births.keep(worker, message.topic, message.payload)
        elif message.topic not in self._shared:
            if len(self._known) >= TOPICS_KEPT:
                self._known.clear()
            self._known[topic] = worker
        return worker


class Births:
    """What devices said of themselves last, as frames, for a worker that starts again.

    The broker would tell it only to who subscribes anew. Bounded by devices and bytes: the oldest go first.

    Parameters
    ----------
    devices_max : int
        The most that are kept.
    """

    def __init__(self, devices_max: int) -> None:
        self._kept: OrderedDict[str, tuple[int, bytes]] = OrderedDict()
        self._devices_max = devices_max
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, worker: int, topic: str, payload: bytes) -> None:
        """Keep a device's newest word, if it is one; an empty payload makes the last one forgotten."""
        if payload:
            try:
                samples.decode("status", payload)
            except DecodeError:
                return
        self._bytes -= len(self._kept.pop(topic, (0, b""))[1])
        if not payload:
            return
        frame = frames.publish([(topic, payload, True)])
        self._kept[topic] = (worker, frame)
        self._bytes += len(frame)
        while len(self._kept) > self._devices_max or self._bytes > BIRTHS_KEPT_BYTES:
            self._bytes -= len(self._kept.popitem(last=False)[1][1])

    def of(self, worker: int) -> bytes:
        """Return those of a worker's devices, one behind the other."""
        return b"".join(frame for owner, frame in self._kept.values() if owner == worker)


def _chosen(config: Config) -> dict[str, str]:
    """Return by which name the worker of each configured family is chosen: one for all that must meet."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = parent[above]
            name = above
        return name

    for athlete in config.athletes:
        for name in (athlete.id, *(device.id for device in athlete.devices)):
            first, other = sorted((root(family(athlete.id)), root(family(name))))
            parent[other] = first
    return {name: root(name) for name in list(parent)}
