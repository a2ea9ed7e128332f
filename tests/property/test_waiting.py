"""IMU packets that came before their predecessor: the core orders them as its readable twin does."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion._core import lib
from fusion.timebase import TimeBase
from server.batch import BINARY, Batch, Packed, Status
from server.codecs import imu
from server.envelopes import Incoming
from server.messages import Death
from server.registry import Athlete, Device
from server.schedule import Schedule
from server.waiting import NEVER_NS, Waiting
from tests.support.order_twin import Arrival, Order

MS = 1_000_000
T0 = 1_790_000_000_000 * MS
PACKETS = int(lib.KF_ORDER_PACKETS)
WAIT_MS = lib.KF_ORDER_WAIT_NS // MS
DEVICES = 3
RECORDED = [False, False, True]


def payload(kind: str, boot: int, seq: int) -> bytes:
    """Return a packet of two samples; a large one of too many to wait."""
    samples = np.zeros((300 if kind == "large" else 2, 3))
    whole = imu.encode(
        accel_b=samples, gyro_b=samples, boot=boot, t0_ns=seq * 20 * MS, seq=seq, dt_ns=10 * MS
    )
    return whole[:-1] if kind == "malformed" else whole


class Door:
    """The way of packets up to the core; what goes on is named by the number that was its arrival's."""

    def __init__(self) -> None:
        self.schedule = Schedule(TimeBase())
        athlete = Athlete("a", 0, "a")
        self.schedule.add_athlete(0, "a")
        self.devices = []
        for row, recorded in enumerate(RECORDED):
            self.schedule.add_device(row, 0, 0)
            device = Device(f"d{row}", row, row, athlete, "unknown", self.schedule)
            device.set_recorded(recorded)
            self.devices.append(device)
        self.waiting = Waiting()
        self.out: list[int] = []
        self.bodies: dict[int, bytes] = {}

    def take(self, arrivals: list[Arrival], until_ns: int) -> None:
        """Take what a tick brought."""
        batch = Batch()
        for each in arrivals:
            batch.number += 1
            message = Incoming("", b"", False, each.arrived_ns, each.number)
            device = self.devices[each.device]
            if each.kind == "status":
                batch.add_status(Status(device, Death(), message))
            elif each.kind == "sample":
                batch.add_sample(device, None, message, t_ns=None, boot=None, seq=None, stream=0)
            else:
                body = payload(each.kind, each.boot, each.seq)
                batch.add_imu(device, each.device, body, message, kind=BINARY)
        self._on(self.waiting.ordered(self.schedule.links, batch.pack()))
        if self.waiting.until_ns <= until_ns:
            self._on(self.waiting.over(self.schedule.links, until_ns))

    def _on(self, packed: Packed) -> None:
        self.out += packed.events["received_ns"].tolist()
        motion = packed.events[packed.events["kind"] == lib.KF_EVENT_IMU]
        assert motion["index"].tolist() == list(range(len(packed.packets)))
        assert motion["device"].tolist() == packed.packets["device"].tolist()
        for number, packet in zip(motion["received_ns"].tolist(), packed.packets, strict=True):
            offset, length = int(packet["offset"]), int(packet["length"])
            body = bytes(packed.payload[offset : offset + length])
            assert body == self.bodies[number]


def told(arrivals: list[Arrival], cuts: list[int], last_ns: int) -> tuple[list[int], int]:
    """Return what goes on where ticks end at these places, and how many packets wait at the end."""
    door = Door()
    door.bodies = {each.number: payload(each.kind, each.boot, each.seq) for each in arrivals}
    edges = [0, *sorted(cut % (len(arrivals) + 1) for cut in cuts), len(arrivals)]
    for begin, end in pairwise(edges):
        now_ns = arrivals[end - 1].arrived_ns if end else T0
        door.take(arrivals[begin:end], now_ns)
    door.take([], last_ns)
    return door.out, len(door.waiting)


KINDS = st.sampled_from(["imu"] * 12 + ["sample", "status", "malformed", "large"])
SEQS = st.one_of(st.integers(-12, 12), st.sampled_from([-2000, 40, 10**6, -(10**6)]))
STEPS = st.lists(
    st.tuples(KINDS, st.integers(0, DEVICES - 1), st.integers(0, 120), SEQS, st.integers(0, 30)),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.lists(st.integers(0, 80), max_size=8), st.sampled_from([0, 2**32 - 30, 5000]))
def test_the_core_orders_as_its_twin(
    steps: list[tuple[str, int, int, int, int]], cuts: list[int], first: int
) -> None:
    arrivals, now_ns, boot = [], T0, [7] * DEVICES
    newest = [first] * DEVICES
    for number, (kind, device, after_ms, step, boots) in enumerate(steps):
        now_ns += after_ms * MS
        boot[device] += boots == 0
        newest[device] += 1
        seq = (newest[device] + (step if abs(step) > 6 else 0)) % 2**32
        of = boot[device] - (boots == 1)
        arrivals.append(Arrival(number, device, now_ns, kind, of, seq))
    twin = Order(RECORDED)
    for each in arrivals:
        twin.take(each)
    twin.end_waits(now_ns + 3000 * MS)
    out, waiting = told(arrivals, cuts, now_ns + 3000 * MS)
    assert out == twin.out
    assert waiting == sum(len(each.waiting) for each in twin.streams)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.lists(st.integers(0, 200), max_size=8))
def test_packets_each_overtaken_by_few_go_on_in_order(seed: int, apart_ms: int, cuts: list[int]) -> None:
    random = Random(seed)
    late_ms = min(PACKETS * apart_ms, WAIT_MS) - 1
    sent = [
        (number * apart_ms + random.randrange(late_ms + 1), device, number)
        for number in range(60)
        for device in range(DEVICES)
    ]
    arrivals = [
        Arrival(place, device, T0 + at_ms * MS, "imu", 1, seq)
        for place, (at_ms, device, seq) in enumerate(sorted(sent))
    ]
    out, waiting = told(arrivals, cuts, arrivals[-1].arrived_ns)
    assert waiting == 0
    for device in range(DEVICES):
        seqs = [arrivals[place].seq for place in out if arrivals[place].device == device]
        assert seqs == list(range(60))


def stream(seqs: list[int], apart_ms: int = 100) -> list[Arrival]:
    return [Arrival(i, 0, T0 + i * apart_ms * MS, "imu", 1, seq) for i, seq in enumerate(seqs)]


def test_where_nothing_is_missing_a_batch_goes_on_as_it_is() -> None:
    door = Door()
    batch = Batch()
    for seq in range(5):
        message = Incoming("", b"", False, T0, 0)
        batch.add_imu(door.devices[0], 0, payload("imu", 1, seq), message, kind=BINARY)
    packed = batch.pack()
    assert door.waiting.ordered(door.schedule.links, packed) is packed
    assert door.waiting.until_ns == NEVER_NS


@pytest.mark.parametrize(("later_ms", "goes_on"), [(WAIT_MS - 1, [0]), (WAIT_MS, [0, 1])])
def test_a_lost_packet_is_waited_for_no_longer_than_the_wait(later_ms: int, goes_on: list[int]) -> None:
    arrivals = stream([0, 2])
    assert told(arrivals, [], arrivals[-1].arrived_ns + later_ms * MS)[0] == goes_on


def test_who_only_loses_packets_waits_no_more_until_one_comes_late() -> None:
    losing = [2 * number for number in range(1, 12)]
    arrivals = stream([0, *losing], apart_ms=1000)
    out, waiting = told(arrivals, list(range(12)), arrivals[-1].arrived_ns)
    assert (out, waiting) == (list(range(12)), 0)
    arrivals = stream([0, *losing, losing[-1] - 1, losing[-1] + 2, losing[-1] + 1], apart_ms=1000)
    arrivals[-1] = arrivals[-1]._replace(arrived_ns=arrivals[-2].arrived_ns + 10 * MS)
    assert told(arrivals, [], arrivals[-1].arrived_ns)[0] == [*range(13), 14, 13]
