"""One athlete's lane as tests drive it: samples of a device, commands, and what falls due."""

from typing import Any, NamedTuple

import numpy as np

from fusion.core import SUMMARY, WINDOW, Advance
from fusion.measurements import DTYPES, HEART_RATE
from fusion.timebase import TimeBase
from server.batch import Batch, Order
from server.envelopes import Incoming
from server.messages import Command
from server.registry import Athlete, Device
from server.schedule import REASONS, RECORD_BYTES, Due, Item, Schedule

KIND = DTYPES.index(HEART_RATE)
NOTHING = Advance(np.zeros(0, SUMMARY), np.zeros(0, WINDOW), np.zeros(0, WINDOW))


class Job(NamedTuple):
    """A job: what, when, and the times of what it takes in."""

    kind: str
    due_ns: int
    taken_ns: list[int]
    received_ns: int = 0


def jobs_of(due: Due) -> list[Job]:
    """Return jobs in their order."""
    found = []
    for job in due.jobs:
        first, count = int(job["first"]), int(job["count"])
        taken_ns = due.items["t_ns"][first : first + count].tolist()
        kind = ("step", "partial", "order", "begin", "keep", "rewind", "redo")[job["kind"]]
        found.append(Job(kind, int(job["due_ns"]), taken_ns, int(job["received_ns"])))
    return found


def item_of(kind: int, record: tuple[Any, ...]) -> Item:
    """Return a measurement with this record."""
    records = np.zeros(1, DTYPES[kind])  # what pads a record is zeros, too
    records[0] = record
    return Item(kind, records.tobytes().ljust(RECORD_BYTES, b"\0"))


class OneLane:
    """The schedule of one athlete with one device, whose stamps are aligned time as they are."""

    def __init__(self, athlete: str = "a", *, recorded: bool = True, rewind_ns: int = 0) -> None:
        self.timebase = TimeBase()
        self.timebase.add(0, recorded=recorded)
        self.schedule = Schedule(self.timebase, rewind_ns)
        self.schedule.add_athlete(0, athlete)
        self.schedule.add_device(0, 0, 0)
        self.schedule.tell(0, recorded=recorded, opens=False, is_open=True)
        self.athlete = Athlete(athlete, 0, athlete)
        self.device = Device("d", 0, 0, self.athlete, "unknown", self.schedule)
        self.device.set_recorded(recorded)
        self.phase_ns = int(self.schedule.lanes["phase_ns"][0])
        self.jobs: list[Job] = []

    def run(self, batch: Batch) -> list[str]:
        """Take a batch in; return the reasons of what was refused."""
        packed = batch.pack()
        for due in self.schedule.run(packed.events, NOTHING, packed.records):
            self.jobs += jobs_of(due)
        return [REASONS[each["reason"]] for each in self.schedule.take_refusals()]

    def feed(self, *times_ns: int, arrived_ns: int = 0, received_ns: int = 0) -> list[str]:
        """Take in samples, each a message of its own; return the reasons of refusals."""
        batch = Batch()
        for t_ns in times_ns:
            batch.number += 1
            self.add(batch, t_ns, arrived_ns, received_ns)
        return self.run(batch)

    def add(self, batch: Batch, t_ns: int, arrived_ns: int = 0, received_ns: int = 0) -> None:
        """Append a sample to a batch."""
        item = item_of(KIND, (0, 0, 0, 60.0, 1.0, 1, 0.0))
        message = Incoming("", b"", False, arrived_ns, received_ns)
        batch.add_sample(self.device, item, message, t_ns=t_ns, boot=None, seq=None, stream=0)

    def order(self, action: str, t_ns: int) -> None:
        """Take in a command."""
        batch = Batch()
        self.add_order(batch, action, t_ns)
        self.run(batch)

    def add_order(self, batch: Batch, action: str, t_ns: int) -> None:
        """Append a command to a batch."""
        command = Command(action, "c")  # type: ignore[arg-type]
        batch.add_order(Order(self.athlete, command, Incoming("", b"", False, 0, 0)), t_ns)

    @property
    def watermark_ns(self) -> int:
        """Return the newest time seen."""
        return int(self.schedule.lanes["watermark_ns"][0])

    @property
    def held(self) -> int:
        """Return how many measurements wait."""
        return int(self.schedule.lanes["held"][0].sum())
