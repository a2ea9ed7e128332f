"""The engine: messages in, publications out. Synchronous; told the time; all state in tables.

A tick takes what has arrived, in its order: decode and the C core for all devices in one call, then clocks
and lanes in another, then one step of the models for all athletes that are due, then the messages.
"""

from collections.abc import Callable, Sequence

import numpy as np

from fusion._core import lib
from fusion.athletes import Athletes
from fusion.core import STATUS_NAMES, CoreTable
from fusion.timebase import TimeBase
from server import envelopes, publications
from server.batch import Batch, Order, Packed, Status
from server.config import Config
from server.deadlines import Deadlines, Streams
from server.envelopes import Chunk, Incoming, Outgoing
from server.forgetting import Forgetting
from server.frames import Topics
from server.health import Health
from server.ingest import Ingest
from server.jobs import Jobs
from server.late import Late
from server.messages import Birth, Command, Reply
from server.overload import DROP_NS, HEALTH_EVERY, MODES, Ladder
from server.pings import Pings
from server.registry import Athlete, Device, Registry
from server.schedule import REASONS, Due, Schedule
from server.waiting import NEVER_NS, Waiting
from server.workouts import Workouts

LOOK_NS = 50_000_000  # steps without a packet are looked for this often;
LOOK_SILENT_NS = 1_000_000_000  # and silent athletes this often
LATE_STATUS = STATUS_NAMES.index("late")  # from here on a packet is well formed, but of no use
FUTURE_NS = int(lib.KF_FUTURE_NS)
END_NS = 600_000_000_000  # a workout ends by itself after this much silence
ORDERS_MAX = 2000  # commands of one athlete that wait; who sends more is told so

_DROP_OLDEST = MODES.index("drop_oldest")
_IMU, _SAMPLE = int(lib.KF_EVENT_IMU), int(lib.KF_EVENT_SAMPLE)
_ORDER, _BEGIN = int(lib.KF_JOB_ORDER), int(lib.KF_JOB_BEGIN)


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
    topics : Topics
        Rows of devices that send IMU packets: whose frames are told by their row needs no look.
    ladder : Ladder
        What is given up at the moment, for want of time.
    late : Late
        Messages that came too late to be used, until the shell takes them.
    given_up : Counter of str
        What was given up so far: what `Jobs` gives up, and IMU packets (``packets``).
    behind : bool
        True while work is left for the next tick, which should then come soon.
    """

    def __init__(self, config: Config, monotonic_ns: Callable[[], int]) -> None:
        self.topics = Topics(f"{config.broker.root}/in/")
        self.core = CoreTable(limit=config.server.devices_max)
        self.timebase = TimeBase()
        self.schedule = Schedule(self.timebase, round(config.server.rewind_s * 1e9))
        athletes_max = max(config.server.athletes_max, len(config.athletes))
        self.waiting = Waiting()
        self.table = Athletes(athletes_max, self.schedule.bases)
        self.streams = Streams(config.deadlines)
        self.workouts = Workouts(self.table)
        self.registry = Registry(
            config, self.core, self.timebase, self.streams, self.table, self.schedule, self._settle_lane
        )
        self.pings = Pings(config.broker.root)
        self.ingest = Ingest(config, self.registry, self.schedule, self.topics, self.pings, self._queue)
        self.deadlines = Deadlines(config.deadlines)
        self.ladder = Ladder(round(config.deadlines.end_to_end_ms * 1e6))
        self.jobs = Jobs(
            *(config.broker.root, self.registry, self.table, self.schedule, self.workouts),
            *(self.ladder, self.deadlines, self._settle_lane),
        )
        self.health = Health(
            *(config.broker.root, self.registry, self.table, self.timebase),
            *(self.schedule, self.streams, self.ingest, self.jobs.rewound),
        )
        self.late = Late(self.registry, config.broker.root, keeps=bool(config.server.state_dir))
        self.ingest.keeps_singles = self.late.keeps
        self.forgetting = Forgetting(
            *(config, self.registry, self.schedule, self.workouts, self.jobs),
            *(self.health, self.pings, self.topics, self.waiting, self._go_live),
        )
        self.given_up = self.jobs.given_up
        self.behind = False
        self._root = config.broker.root
        self._monotonic_ns = monotonic_ns
        self._looked_ns = self._looked_silent_ns = 0
        self._out: list[Outgoing] = []

    def advance(
        self, arrivals: Sequence[Incoming | Chunk], utc_ns: int, heard_ns: int | None = None
    ) -> list[Outgoing]:
        """Take in what arrived, in its order, and return what is to be published.

        Parameters
        ----------
        arrivals : sequence of Incoming or Chunk
            Perhaps none: then only time passes.
        utc_ns : int
            UTC now, ns; not before any arrival.
        heard_ns : int, optional
            UTC, ns, up to which all that had arrived is taken in by now, where more waits; else it is now. No
            step fires by time, and no wait for a predecessor ends, for want of what waits: it would be late
            then, have steps made again, and so add to the work for which it waits.
        """
        heard_ns = utc_ns if heard_ns is None else min(heard_ns, utc_ns)
        self._out = out = []
        doing = self.deadlines.history.doing
        doing.mode = self.ladder.mode
        self.deadlines.history.begin_tick(utc_ns // 1_000_000, sum(map(envelopes.count, arrivals)))
        began_ns = self._monotonic_ns()
        aligning_ns = 0

        def settle(batch: Batch) -> None:
            nonlocal aligning_ns
            before_ns = self._monotonic_ns()
            self._settle(batch)
            aligning_ns += self._monotonic_ns() - before_ns

        self.registry.begin_tick(utc_ns, arrivals[0].arrived_ns if arrivals else utc_ns)
        since_ns = utc_ns - DROP_NS if self.ladder.level >= _DROP_OLDEST else 0
        self.given_up["packets"] += self.ingest.read(arrivals, settle, since_ns)
        read_ns = self._monotonic_ns()
        if self.waiting.until_ns <= heard_ns:
            self._take(self.waiting.over(self.schedule.links, heard_ns), [])
        if not 0 <= utc_ns - self._looked_ns < LOOK_NS:
            self._looked_ns = utc_ns
            for due in self.schedule.pass_time(heard_ns):
                self.jobs.add(due)
        aligned_ns = self._monotonic_ns()
        out += self.jobs.run(utc_ns)
        self.behind = self.jobs.behind
        doing.jobs = self.schedule.jobs_waiting
        self._end_silent(utc_ns)
        out += self.forgetting.due(utc_ns)
        fused_ns = self._monotonic_ns()
        out += self.health.due(utc_ns, HEALTH_EVERY[self.ladder.level])
        out += self.pings.due(utc_ns)
        if arrivals:
            self.deadlines.observe("decode", read_ns - began_ns - aligning_ns)
            self.deadlines.observe("align", aligning_ns + aligned_ns - read_ns)
            self.deadlines.observe("fuse", fused_ns - aligned_ns)
        return out

    def finish(self, utc_ns: int) -> list[Outgoing]:
        """Take in what waits for its predecessor, and do what is due: nothing more will come.

        Where ``behind`` stays True, `advance` goes on.
        """
        self._out = out = []
        self._take(self.waiting.over(self.schedule.links, NEVER_NS), [])
        out += self.jobs.run(utc_ns)
        self.behind = self.jobs.behind
        return out

    def observe(self, now_ns: int, busy_ns: int, wait_ns: int) -> bool:
        """Tell the ladder how a tick went; return True where the mode changed.

        Who catches up, with a recording's backlog say, takes all the time there is and gives way after each
        tick. That is no overload: only how long messages wait tells of one then.

        Parameters
        ----------
        now_ns, busy_ns, wait_ns : int
            As of `Ladder.observe`.
        """
        return self.ladder.observe(now_ns, 0 if self.behind else busy_ns, wait_ns)

    def end_workout(self, athlete: Athlete) -> list[Outgoing]:
        """End an open workout at its newest measurement; return what is to be published."""
        out = self.jobs.rewind_now(athlete)
        if not self.workouts.is_open(athlete):
            return out  # a command that came late has ended it
        newest_ns = max((device.newest_ns for device in athlete.devices), default=0)
        event = self.workouts.end(athlete, newest_ns)
        self.jobs.settle(athlete)
        self._settle_lane(athlete)
        return [*out, publications.workout(self._root, athlete.id, event)]

    # From arrivals to what falls due.

    def _settle(self, batch: Batch) -> None:
        """Take a batch in: the C core, clocks and lanes; then what devices say of themselves."""
        for device in batch.turning:
            self._turn(device)
        packed = batch.pack()
        admitted = self.schedule.limit(packed.events)
        if admitted is not None:
            rows, counts = np.unique(packed.events["device"][admitted == 0], return_counts=True)
            for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
                self.registry.device_rows[row].name_refused("flooding", count)
            packed = packed.chosen(np.flatnonzero(admitted))
        self._take(self.waiting.ordered(self.schedule.links, packed), batch.orders)
        for status in batch.statuses:
            self._status(status)

    def _take(self, packed: Packed, orders: list[Order]) -> None:
        """Take in what is in order."""
        if not len(packed.events):
            return
        first = self.jobs.number(orders)
        advance = self.core.advance(packed.payload, packed.packets)
        for due in self.schedule.run(packed.events, advance, packed.records):
            if orders:
                due.jobs["index"][due.jobs["kind"] == _ORDER] += np.uint32(first)
            self.jobs.add(self._begun(due))
        refusals = self.schedule.take_refusals()
        if len(refusals):
            self._count(refusals)
            self.late.note(packed, refusals, self.ingest.message)
        self.streams.take(self.timebase, packed.events, advance.summaries)

    def _begun(self, due: Due) -> Due:
        """Open the workouts that a first measurement opens; return the other jobs."""
        begin = due.jobs["kind"] == _BEGIN
        if not np.count_nonzero(begin):
            return due
        for job in due.jobs[begin]:
            athlete, t_ns = self.registry.athlete_rows[job["athlete"]], int(job["due_ns"])
            event = self.workouts.begin(athlete, t_ns)
            self.jobs.began(athlete, t_ns)
            self._out.append(publications.workout(self._root, athlete.id, event))
        return due.of(~begin)

    def _count(self, refusals: "np.ndarray[tuple[int], np.dtype[np.void]]") -> None:
        """Count what was refused, at its device."""
        pairs, counts = np.unique(refusals[["device", "reason"]], return_counts=True)
        for (device, reason), count in zip(pairs.tolist(), counts.tolist(), strict=True):
            self.registry.device_rows[device].name_refused(REASONS[reason], count)

    def _status(self, status: Status) -> None:
        device, packet, message = status
        if not isinstance(packet, Birth):
            device.set_online(False)
            device.played = device.recorded
            self.streams.death(device.row)
            return
        device.set_online(True)
        device.model = packet.model
        if packet.placement != "unknown":
            device.placement = packet.placement
        device.ranges = packet.gyro_range or 0.0, packet.accel_range or 0.0
        self._set_recorded(device, packet.clock.recorded, packet.clock.speed)
        self.streams.birth(device.row, message.arrived_ns, rate_hz=packet.rate_hz, retained=message.retained)
        self.registry.configure(device)
        self.workouts.expect(device.athlete, packet.sport)
        if packet.clock.pings:
            self.pings.expect(device, message.arrived_ns)
        if not message.retained:
            self.schedule.heard(device.row, message.arrived_ns)

    def _set_recorded(self, device: Device, recorded: bool, speed: float = 0.0) -> None:
        self._out += self.jobs.finish(device.athlete)
        device.set_recorded(recorded)
        self.streams.play(device.row, speed if recorded else 0.0)
        device.athlete.recorded = any(each.recorded for each in device.athlete.devices)
        self.timebase.set_recorded(device.row, recorded)
        self._settle_lane(device.athlete)

    def _turn(self, device: Device) -> None:
        """Take a device whose recording has ended for a live one; give a watch the clock of its phone."""
        if device.played:
            self._go_live(device)
        if device.through is not None and device.recorded != device.through.recorded:
            speed = self.streams.speed(device.through.row)
            self._set_recorded(device, device.through.recorded, speed)

    def _go_live(self, device: Device) -> None:
        """End what a recording left: its athlete's time starts anew."""
        athlete = device.athlete
        if self.schedule.lanes["jobs"][athlete.row]:
            return  # the recording is still being worked through
        self._set_recorded(device, False)
        if athlete.recorded:
            return
        self._out += self.jobs.rewind_now(athlete)
        if self.workouts.is_open(athlete):
            self._out += self.end_workout(athlete)
        self.workouts.release(athlete)
        self.schedule.forget(athlete.row)
        self._settle_lane(athlete)

    def _settle_lane(self, athlete: Athlete) -> None:
        """Tell an athlete's lane what it must know of the workout and the clocks."""
        self.schedule.tell(
            athlete.row,
            recorded=athlete.recorded,
            opens=self.workouts.starts_by_itself(athlete),
            is_open=self.workouts.is_open(athlete),
        )

    def _queue(self, athlete_id: str, command: Command, message: Incoming, batch: Batch) -> None:
        """Queue a command in its athlete's lane, or answer why not."""
        athlete = self.registry.athletes.get(athlete_id)
        t_ns, expires_ns = command.t, command.expires
        assert not isinstance(t_ns, str)
        assert not isinstance(expires_ns, str)
        reason = ""
        if athlete is None:
            reason = "unknown_athlete"
        elif message.retained:
            reason = "retained"  # it would be obeyed again at every start of the server
        elif expires_ns is not None and expires_ns < message.arrived_ns:
            reason = "expired"
        elif t_ns is not None and not athlete.recorded:
            reason = "" if -END_NS <= t_ns - message.arrived_ns <= FUTURE_NS else "time"
        elif t_ns is not None and abs(t_ns) >= lib.KF_STAMP_MAX:
            reason = "time"
        if athlete is not None and not reason and self.jobs.ordered[athlete.row] >= ORDERS_MAX:
            reason = "too_many"
        if reason or athlete is None:
            self.ingest.refused[f"command_{reason}"] += 1
            self._out.append(
                publications.reply(self._root, athlete_id, Reply(command.id, ok=False, reason=reason))
            )
            return
        self.jobs.ordered[athlete.row] += 1
        self.workouts.queued(athlete, command)
        batch.add_order(Order(athlete, command, message), t_ns)

    def _end_silent(self, utc_ns: int) -> None:
        """End the workouts of athletes whose devices have all gone silent."""
        if 0 <= utc_ns - self._looked_silent_ns < LOOK_SILENT_NS:
            return
        self._looked_silent_ns = utc_ns
        for row in self.schedule.silent(utc_ns - END_NS):
            self._out += self.end_workout(self.registry.athlete_rows[row])
