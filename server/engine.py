"""The engine: messages in, publications out. Synchronous; told the time; all state in tables.

A tick takes what has arrived, in its order: decode and the C core for all devices in one call, then the
time base, then the lanes, then one step of the models for all athletes that are due, then the messages
that follow.
"""

from collections import defaultdict
from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from fusion.athletes import Athletes
from fusion.core import STATUS_NAMES, CoreTable
from fusion.measurements import DTYPES, Measurements
from fusion.timebase import TimeBase
from server import conversion, publications
from server.config import Config
from server.deadlines import Deadlines
from server.envelopes import Incoming, Outgoing
from server.health import Health
from server.ingest import Arrival, Batch, Ingest
from server.ingest import Order as Ordered
from server.messages import Battery, Birth, Cause, Death, Pong, Reply, Workout
from server.publications import MetricColumns
from server.registry import Athlete, Device, Registry
from server.schedule import LIFESPAN_NS, Item, Order, Step
from server.workouts import Workouts

LATE_STATUS = STATUS_NAMES.index("late")  # from here on a packet is well formed, but of no use
WAIT_NS = 250_000_000  # a step fires this long after its due time when no packet does,
LOOK_NS = 50_000_000  # which is looked for this often;
LOOK_SILENT_NS = 1_000_000_000  # and for silent athletes this often
FUTURE_NS = 5_000_000_000  # a live device's sample may seem this far ahead of its arrival
SILENT_NS = 10_000_000_000  # an athlete without any packet for this long is silent,
IDLE_NS = 30_000_000_000  # and without a workout tells so this often;
END_NS = 600_000_000_000  # a workout ends by itself after this much silence
STEPS_MAX = 8  # jobs of one athlete in one tick: who is behind catches up in the next ones
JOBS_ALL_MAX = 200_000  # jobs that may wait in all lanes together: beyond, a lane takes in only CATCH_UP_MAX
CATCH_UP_MAX = 600  # which is what one measurement after a silence may bring
ENDS_MAX = 3  # live workouts that are ended in one tick: to smooth one takes up to 5 ms


class Engine:
    """All athletes and devices of a server.

    Parameters
    ----------
    config : Config
        Athletes, devices and limits.
    monotonic_ns : callable
        The monotonic clock, for the deadlines only; nothing that is published of a workout depends on it.

    Attributes
    ----------
    behind : bool
        True while work is left for the next tick, which should then come soon.
    """

    def __init__(self, config: Config, monotonic_ns: Callable[[], int]) -> None:
        self.table = Athletes(limit=max(config.server.athletes_max, len(config.athletes)))
        self.core = CoreTable(limit=config.server.devices_max)
        self.timebase = TimeBase()
        self.registry = Registry(config, self.core, self.timebase, self.table)
        self.ingest = Ingest(config, self.registry)
        self.workouts = Workouts(self.table)
        self.deadlines = Deadlines(config.deadlines)
        self.health = Health(config.broker.root, self.registry, self.timebase, self.ingest)
        self.behind = False
        self._root = config.broker.root
        self._monotonic_ns = monotonic_ns
        self._looked_ns = self._looked_silent_ns = 0
        self._waiting_jobs = 0  # in all lanes
        self._waiting: dict[str, Athlete] = {}  # whose turn to end did not come, who waits longest first

    def advance(self, messages: list[Incoming], utc_ns: int) -> list[Outgoing]:
        """Take in messages in the order of their arrival and return what is to be published.

        Parameters
        ----------
        messages : list of Incoming
            Perhaps none: then only time passes.
        utc_ns : int
            UTC now, ns; not before the arrival of any message.
        """
        out: list[Outgoing] = []
        began_ns = self._monotonic_ns()
        decode_ns = 0
        batches = self.ingest.read(messages)
        while True:
            before_ns = self._monotonic_ns()
            batch = next(batches, None)
            decode_ns += self._monotonic_ns() - before_ns
            if batch is None:
                break
            self._align(batch, out)
        self._pass_time(utc_ns)
        aligned_ns = self._monotonic_ns()
        self._run_jobs(utc_ns, out)
        self._end_silent(utc_ns, out)
        fused_ns = self._monotonic_ns()
        out += self.health.due(utc_ns)
        if messages:
            self.deadlines.observe("decode", decode_ns)
            self.deadlines.observe("align", aligned_ns - began_ns - decode_ns)
            self.deadlines.observe("fuse", fused_ns - aligned_ns)
        return out

    def end_workout(self, athlete: Athlete) -> Outgoing:
        """End an open workout at its newest measurement; return what is to be published."""
        newest_ns = max((device.newest_ns for device in athlete.devices), default=0)
        return self._told(athlete, self.workouts.end(athlete, newest_ns))

    # From arrivals to measurements in aligned time.

    def _align(self, batch: Batch, out: list[Outgoing]) -> None:
        """Advance the C core, then walk through the arrivals in their order and feed the lanes."""
        advance = self.core.advance(batch.payload, batch.packets())
        summaries = advance.summaries
        ends = np.cumsum(summaries["windows"], dtype=np.int64).tolist()
        windows = advance.windows.tolist()
        columns = [summaries[name].tolist() for name in _SUMMARY_FIELDS]
        for _, arrivals in groupby(batch.arrivals, key=_message):
            found: list[_Found] = []
            for arrival in arrivals:
                message = arrival.message
                if isinstance(arrival, Ordered):
                    self._order(arrival, out)
                    continue
                device = arrival.device
                if device.played and not isinstance(arrival.packet, Birth | Death):
                    self._go_live(device, out)
                if device.through is not None and device.recorded != device.through.recorded:
                    self._set_recorded(device, device.through.recorded)
                if arrival.imu >= 0:
                    at = arrival.imu
                    closed = windows[ends[at - 1] if at else 0 : ends[at]]
                    found += self._motion(arrival, [column[at] for column in columns], closed)
                else:
                    found += self._packet(arrival)
            found.sort(key=_found_at)  # one message may hold a second of many sensors, one after the other
            for each in found:
                self._feed(each, message, out)

    def _motion(self, arrival: Arrival, summary: list[Any], windows: list[tuple[Any, ...]]) -> list["_Found"]:
        """Return what an IMU packet brought: the windows that it closed, and how far time has come."""
        status, t_last_ns, boot, seq, lost, rate_hz, samples = summary
        device = arrival.device
        if status:
            device.refused[STATUS_NAMES[status]] += 1
            if status < LATE_STATUS:
                return []
        self._heard(device, arrival.message)
        device.lost += lost
        if status:
            return []
        self.timebase.observe(device.row, t_last_ns, arrival.message.arrived_ns, boot)
        if samples:
            device.rate_hz = rate_hz
        cause = Cause(device.id, boot, seq)
        align, row = self.timebase.align, device.row
        found = []
        for record in windows:
            t_ns = align(row, record[2])
            found.append(_Found(device, t_ns, conversion.window(record, device, t_ns), cause))
        found.append(_Found(device, align(row, t_last_ns), None, cause))
        return found

    def _packet(self, arrival: Arrival) -> list["_Found"]:
        """Return the measurement that a low-rate packet brought, if it brought one."""
        device, packet, message = arrival.device, arrival.packet, arrival.message
        assert packet is not None, "an arrival without a packet is of the IMU"
        if isinstance(packet, Birth):
            self._birth(device, packet, message)
            return []
        if isinstance(packet, Death):
            device.online = False
            device.played = device.recorded
            return []
        t = packet.t
        assert not isinstance(t, str), "codecs read decimal strings"
        if device.is_duplicate(arrival.kind, (t, packet.boot, packet.seq)):
            device.refused["duplicate"] += 1
            return []
        self._heard(device, message)
        if t is None:
            t_ns = device.athlete.now_ns(message.arrived_ns)
        else:
            self.timebase.observe(device.row, t, message.arrived_ns, packet.boot)
            t_ns = self.timebase.align(device.row, t)
        if isinstance(packet, Battery):
            device.battery = packet.level
        elif isinstance(packet, Pong):
            device.refused["pong_unasked"] += 1  # the server sends no pings yet
        item = conversion.measurement(packet, device, t_ns)
        cause = Cause(device.id, packet.boot or 0, packet.seq or 0)
        return [] if item is None else [_Found(device, t_ns, item, cause)]

    def _feed(self, found: "_Found", message: Incoming, out: list[Outgoing]) -> None:
        """Hand a measurement to its athlete's lane; the first one opens a workout."""
        device, t_ns, item, cause = found
        athlete = device.athlete
        lane = athlete.lane
        waited = len(lane.jobs)
        reason = lane.refusal(t_ns, -1 if item is None else item.kind)
        if waited > CATCH_UP_MAX and self._waiting_jobs > JOBS_ALL_MAX:
            reason = "too_fast"
        if not device.recorded:
            if t_ns > message.arrived_ns + FUTURE_NS:
                reason = "future"
            elif lane.watermark_ns is None and t_ns < message.arrived_ns - LIFESPAN_NS:
                reason = "stale"  # there is no newer measurement yet, but the arrival tells as much
        if item is None:
            if reason is None and lane.watermark_ns is not None:
                lane.advance_to(t_ns, cause, message.received_ns)
        elif reason is not None:
            device.refused[reason] += 1
        else:
            device.newest_ns = max(device.newest_ns, t_ns)
            if self.workouts.starts_by_itself(athlete):
                out.append(self._told(athlete, self.workouts.start(athlete, t_ns)))
            lane.feed(item, cause, message.received_ns)
        self._waiting_jobs += len(lane.jobs) - waited

    def _birth(self, device: Device, birth: Birth, message: Incoming) -> None:
        device.online, device.model = True, birth.model
        if birth.placement != "unknown":
            device.placement = birth.placement
        self._set_recorded(device, birth.clock.recorded)
        self.core.configure(
            device.row,
            placement=device.placement,
            gyro_range=birth.gyro_range or 0.0,
            accel_range=birth.accel_range or 0.0,
        )
        self.workouts.expect(device.athlete, birth.sport)
        if not message.retained:
            self._heard(device, message)

    def _set_recorded(self, device: Device, recorded: bool) -> None:
        device.recorded, device.played = recorded, False
        device.athlete.recorded = any(each.recorded for each in device.athlete.devices)
        self.timebase.set_recorded(device.row, recorded)

    def _go_live(self, device: Device, out: list[Outgoing]) -> None:
        """Take a device whose recording has ended for a live one: its athlete's time starts anew."""
        athlete = device.athlete
        if athlete.lane.jobs:
            return  # the recording is still being worked through
        self._set_recorded(device, False)
        if athlete.recorded:
            return
        if self.workouts.is_open(athlete):
            out.append(self.end_workout(athlete))
        self.workouts.release(athlete)
        athlete.lane.forget()

    def _order(self, order: Ordered, out: list[Outgoing]) -> None:
        """Queue a command in its athlete's lane, or answer why not."""
        athlete = self.registry.athletes.get(order.athlete)
        command, message = order.command, order.message
        assert not isinstance(command.t, str)
        assert not isinstance(command.expires, str)
        reason = ""
        if athlete is None:
            reason = "unknown_athlete"
        elif message.retained:
            reason = "retained"  # it would be obeyed again at every start of the server
        elif command.expires is not None and command.expires < message.arrived_ns:
            reason = "expired"
        elif command.t is not None and not athlete.recorded:
            ahead_ns = command.t - message.arrived_ns
            reason = "" if -END_NS <= ahead_ns <= FUTURE_NS else "time"
        if reason or athlete is None:
            self.ingest.refused[f"command_{reason}"] += 1
            out.append(self._reply(order.athlete, Reply(command.id, ok=False, reason=reason)))
            return
        t_ns = command.t if command.t is not None else athlete.now_ns(message.arrived_ns)
        self.workouts.queued(athlete, command)
        athlete.lane.order(command, t_ns, message.received_ns)

    def _heard(self, device: Device, message: Incoming) -> None:
        device.online = True
        device.packets += 1
        device.arrived_ns = message.arrived_ns

    # Time passes where no packet comes.

    def _pass_time(self, utc_ns: int) -> None:
        """Make steps due whose packet has not come: live athletes only, a recording waits for its own."""
        if 0 <= utc_ns - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = utc_ns
        for athlete in self.registry.athletes.values():
            lane = athlete.lane
            if athlete.recorded or lane.watermark_ns is None or lane.due_ns + WAIT_NS > utc_ns:
                continue
            silent = utc_ns - athlete.arrived_ns > SILENT_NS and not self.workouts.is_open(athlete)
            if silent and utc_ns - lane.due_ns < IDLE_NS:
                continue
            if silent:
                lane.skip_to(utc_ns - WAIT_NS)  # one message tells of all that time
            lane.advance_to(utc_ns - WAIT_NS, None, 0)

    def _end_silent(self, utc_ns: int, out: list[Outgoing]) -> None:
        """End the workouts of athletes whose devices have all gone silent."""
        if 0 <= utc_ns - self._looked_silent_ns < LOOK_SILENT_NS:
            return
        self._looked_silent_ns = utc_ns
        for athlete in self.registry.athletes.values():
            silent = athlete.arrived_ns and utc_ns - athlete.arrived_ns > END_NS
            if silent and self.workouts.is_open(athlete) and not athlete.lane.jobs:
                out += [self.end_workout(athlete)]

    # Steps and orders.

    def _run_jobs(self, utc_ns: int, out: list[Outgoing]) -> None:
        """Run the lanes' jobs: in each round the first of every lane, all steps among them at once.

        Where a whole class stops at once, most lanes wait for the next ticks: results do not depend on that.
        Who waits is served before who comes, so that nobody waits for ever.
        """
        first, self._waiting = self._waiting, {}
        others = [a for a in self.registry.athletes.values() if a.lane.jobs and a.id not in first]
        busy = [*first.values(), *others]
        ends = 0
        for _ in range(STEPS_MAX):
            steps: list[tuple[Athlete, Step]] = []
            remaining = []
            for athlete in busy:
                jobs = athlete.lane.jobs
                if not athlete.recorded and self._ends(athlete, jobs[0]):
                    ends += 1
                    if ends > ENDS_MAX:
                        self._waiting[athlete.id] = athlete
                        continue
                job = jobs.popleft()
                if isinstance(job, Step):
                    steps.append((athlete, job))
                else:
                    reply, events = self.workouts.obey(athlete, job.command, job.t_ns)
                    out += [self._told(athlete, event) for event in events]
                    out.append(self._reply(athlete.id, reply))
                if jobs:
                    remaining.append(athlete)
            if steps:
                self._step(steps, utc_ns, out)
            busy = remaining
        self.behind = bool(busy or self._waiting)
        self._waiting_jobs = sum(len(a.lane.jobs) for a in (*first.values(), *others))

    def _ends(self, athlete: Athlete, job: Step | Order) -> bool:
        """Return True when a job ends a workout, which is then smoothed."""
        ending = isinstance(job, Order) and job.command.action in ("start", "stop")
        return ending and self.workouts.is_open(athlete)

    def _step(self, steps: list[tuple[Athlete, Step]], utc_ns: int, out: list[Outgoing]) -> None:
        rows = np.array([athlete.row for athlete, _ in steps], np.intp)
        due_ns = np.array([step.due_ns for _, step in steps], np.int64)
        estimates = self.table.step(rows, due_ns, _gather([step for _, step in steps]))
        columns = MetricColumns(estimates, due_ns)
        for place, (athlete, step) in enumerate(steps):
            if not step.publish:
                continue
            payload = publications.live(
                athlete.id,
                step.due_ns,
                step.cause,
                self.workouts.state(athlete, step.due_ns),
                columns.at(place),
            )
            if not athlete.recorded:
                self.deadlines.observe("sensor_age", max(0, utc_ns - step.due_ns))
            topic = f"{self._root}/athletes/{athlete.id}/live"
            # A recording comes as fast as it is played: how long it waits says nothing of the server.
            out.append(Outgoing(topic, payload, caused_ns=0 if athlete.recorded else step.received_ns))

    def _told(self, athlete: Athlete, event: Workout) -> Outgoing:
        topic = f"{self._root}/athletes/{athlete.id}/workout"
        return Outgoing(topic, publications.encode(event), qos=1, retain=True)

    def _reply(self, athlete: str, reply: Reply) -> Outgoing:
        topic = f"{self._root}/athletes/{athlete}/reply/{reply.id}"
        return Outgoing(topic, publications.encode(reply), qos=1)


class _Found(NamedTuple):
    """A measurement that a message brought, with the packet that told it.

    Without an item it tells only that aligned time has come so far: a step does not wait for a window to end.
    """

    device: Device
    t_ns: int
    item: Item | None
    cause: Cause


_SUMMARY_FIELDS = ("status", "t_last_ns", "boot", "seq", "lost", "rate_hz", "samples")


def _gather(steps: list[Step]) -> Measurements:
    """Return the measurements of several steps as arrays, those of each row in the order of time."""
    lists: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for step in steps:
        for item in sorted(step.items, key=_time):
            lists[item.kind].append(item.record)
    return Measurements(*(np.array(lists.get(kind, []), dtype) for kind, dtype in enumerate(DTYPES)))


def _message(arrival: Arrival | Ordered) -> int:
    return id(arrival.message)


def _found_at(found: _Found) -> int:
    return found.t_ns


def _time(item: Item) -> int:
    t_ns: int = item.record[1]
    return t_ns
