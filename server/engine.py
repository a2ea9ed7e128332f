"""The engine: messages in, publications out. Synchronous; told the time; all state in tables.

A tick takes what has arrived, in its order: decode and the C core for all devices in one call, then clocks
and lanes in another, then one step of the models for all athletes that are due, then the messages.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence

import numpy as np

from fusion._core import lib
from fusion.athletes import Athletes
from fusion.core import STATUS_NAMES, CoreTable
from fusion.measurements import Records
from fusion.timebase import TimeBase
from server import envelopes, publications
from server.batch import Batch, Order, Status
from server.config import Config
from server.deadlines import Deadlines, Streams
from server.deadlines.kinds import IMU
from server.envelopes import Chunk, Incoming, Outgoing
from server.frames import Topics
from server.health import Health
from server.ingest import Ingest
from server.messages import Birth, Cause, Command, Reply, Workout
from server.overload import DROP_NS, HEALTH_EVERY, LIVE_EVERY, MODES, Ladder
from server.pings import Pings
from server.publications import MetricColumns
from server.registry import Athlete, Device, Registry
from server.rewinds import Rewinds
from server.schedule import NONE, REASONS, STEP_NS, Due, Schedule
from server.workouts import Workouts

LOOK_NS = 50_000_000  # steps without a packet are looked for this often;
LOOK_SILENT_NS = 1_000_000_000  # and silent athletes this often
LATE_STATUS = STATUS_NAMES.index("late")  # from here on a packet is well formed, but of no use
FUTURE_NS = int(lib.KF_FUTURE_NS)
END_NS = 600_000_000_000  # a workout ends by itself after this much silence
ORDERS_MAX = 2000  # commands of one athlete that wait; who sends more is told so
STEPS_MAX = 8  # jobs of one athlete in one tick: who is behind catches up in the next ones
REWINDS_MAX = 16  # athletes who are rewound in one tick: together they take up to 10 ms
ENDS_MAX = 3  # live workouts that are ended in one tick: to smooth one takes up to 5 ms

_ORIENTATION_ONLY, _DROP_OLDEST = MODES.index("orientation_only"), MODES.index("drop_oldest")
_IMU, _SAMPLE = int(lib.KF_EVENT_IMU), int(lib.KF_EVENT_SAMPLE)
_STEP = int(lib.KF_JOB_STEP)
_ORDER, _BEGIN = int(lib.KF_JOB_ORDER), int(lib.KF_JOB_BEGIN)
_KEEP, _REWIND, _REDO = int(lib.KF_JOB_KEEP), int(lib.KF_JOB_REWIND), int(lib.KF_JOB_REDO)


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
    given_up : Counter of str
        What was given up so far: updates (``live``), steps (``steps``) and IMU packets (``packets``).
    behind : bool
        True while work is left for the next tick, which should then come soon.
    """

    def __init__(self, config: Config, monotonic_ns: Callable[[], int]) -> None:
        self.topics = Topics(f"{config.broker.root}/in/")
        self.core = CoreTable(limit=config.server.devices_max)
        self.timebase = TimeBase()
        self.schedule = Schedule(self.timebase, round(config.server.rewind_s * 1e9))
        athletes_max = max(config.server.athletes_max, len(config.athletes))
        self.table = Athletes(athletes_max, self.schedule.bases)
        self.streams = Streams(config.deadlines)
        self.workouts = Workouts(self.table)
        self.registry = Registry(
            config, self.core, self.timebase, self.streams, self.table, self.schedule, self._settle_lane
        )
        self.rewinds: Rewinds | None = None
        bases = self.table.checkpoints
        if bases is not None:
            self.rewinds = Rewinds(self.table, bases, self.workouts, self.schedule, self.registry)
        self.pings = Pings(config.broker.root)
        self.ingest = Ingest(config, self.registry, self.schedule, self.topics, self.pings, self._queue)
        self.deadlines = Deadlines(config.deadlines)
        self.health = Health(
            *(config.broker.root, self.registry, self.table, self.timebase),
            *(self.schedule, self.streams, self.ingest),
        )
        self.ladder = Ladder(round(config.deadlines.end_to_end_ms * 1e6))
        self.given_up: Counter[str] = Counter()
        self.behind = False
        self._root = config.broker.root
        self._monotonic_ns = monotonic_ns
        self._looked_ns = self._looked_silent_ns = 0
        self._out: list[Outgoing] = []
        self._due: list[Due] = []  # of this tick
        self._orders: dict[int, Order] = {}  # that wait, by the number that their job has
        self._order_number = 0
        self._ordered: Counter[int] = Counter()  # how many of them are of each athlete's row
        self._queues: dict[int, deque[Due]] = {}  # of athletes who have more to do than one step, a job each
        self._waiting: dict[int, None] = {}  # whose turn to end did not come, who waits longest first

    def advance(self, arrivals: Sequence[Incoming | Chunk], utc_ns: int) -> list[Outgoing]:
        """Take in what arrived, in its order, and return what is to be published.

        Parameters
        ----------
        arrivals : sequence of Incoming or Chunk
            Perhaps none: then only time passes.
        utc_ns : int
            UTC now, ns; not before any arrival.
        """
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

        since_ns = utc_ns - DROP_NS if self.ladder.level >= _DROP_OLDEST else 0
        self.given_up["packets"] += self.ingest.read(arrivals, settle, since_ns)
        read_ns = self._monotonic_ns()
        if not 0 <= utc_ns - self._looked_ns < LOOK_NS:
            self._looked_ns = utc_ns
            self._due += self.schedule.pass_time(utc_ns)
        aligned_ns = self._monotonic_ns()
        self._run_jobs(utc_ns)
        doing.jobs = self.schedule.jobs_waiting
        self._end_silent(utc_ns)
        fused_ns = self._monotonic_ns()
        out += self.health.due(utc_ns, HEALTH_EVERY[self.ladder.level])
        out += self.pings.due(utc_ns)
        if arrivals:
            self.deadlines.observe("decode", read_ns - began_ns - aligning_ns)
            self.deadlines.observe("align", aligning_ns + aligned_ns - read_ns)
            self.deadlines.observe("fuse", fused_ns - aligned_ns)
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

    def end_workout(self, athlete: Athlete) -> Outgoing:
        """End an open workout at its newest measurement; return what is to be published."""
        self._rewind_now(athlete)
        newest_ns = max((device.newest_ns for device in athlete.devices), default=0)
        event = self.workouts.end(athlete, newest_ns)
        if self.rewinds is not None:
            self.rewinds.settle(athlete)
        self._settle_lane(athlete)
        return self._told(athlete, event)

    # From arrivals to what falls due.

    def _settle(self, batch: Batch) -> None:
        """Take a batch in: the C core, clocks and lanes; then what devices say of themselves."""
        for device in batch.turning:
            self._turn(device)
        packed = batch.pack()
        admitted = self.schedule.limit(packed.events)
        if not admitted.all():
            rows, counts = np.unique(packed.events["device"][admitted == 0], return_counts=True)
            for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
                self.registry.device_rows[row].name_refused("flooding", count)
            packed = packed.admitted(admitted)
        if len(packed.events):
            numbers = self._order_number
            self._orders.update(enumerate(batch.orders, numbers))
            self._order_number += len(batch.orders)
            advance = self.core.advance(packed.payload, packed.packets)
            for due in self.schedule.run(packed.events, advance, packed.records):
                orders = due.jobs["kind"] == _ORDER
                due.jobs["index"][orders] += np.uint32(numbers)
                self._due.append(self._begun(due))
            self._count(self.schedule.take_refusals())
            self._hear(packed.events, advance.summaries)
        for status in batch.statuses:
            self._status(status)

    def _hear(self, events: Records, summaries: Records) -> None:
        """Tell the supervision of streams what came, and how old its newest sample is."""
        arrived_ns = events["arrived_ns"]
        is_motion = events["kind"] == _IMU  # the summaries are theirs, in their order
        motion, devices = arrived_ns[is_motion], events["device"][is_motion].astype(np.intp)
        good = summaries["status"] == 0
        rows = devices[good]
        if len(rows):
            newest_ns = self.timebase.align_many(rows, summaries["t_last_ns"][good])
            self.streams.heard(rows, IMU, motion[good], newest_ns)
        refused = summaries["status"] >= LATE_STATUS
        self.streams.signs(devices[refused], motion[refused])
        samples = events["kind"] == _SAMPLE
        if not samples.any():
            return
        told, came_ns = events[samples], arrived_ns[samples]
        timed = told["flags"] & lib.KF_EVENT_TIMED != 0
        aligned_ns = self.timebase.align_many(told["device"].astype(np.intp), told["t_ns"].copy())
        newest_ns = np.where(timed, aligned_ns, came_ns)
        streamed = told["stream"] != 0
        kinds, rests = (told["stream"] >> 1).astype(np.intp) - 1, told["stream"] & 1 != 0
        rows = told["device"].astype(np.intp)
        self.streams.heard(*(each[streamed] for each in (rows, kinds, came_ns, newest_ns, rests)))
        self.streams.signs(rows[~streamed], came_ns[~streamed])

    def _begun(self, due: Due) -> Due:
        """Open the workouts that a first measurement opens; return the other jobs."""
        begin = due.jobs["kind"] == _BEGIN
        if not begin.any():
            return due
        for job in due.jobs[begin]:
            athlete = self.registry.athlete_rows[job["athlete"]]
            self._out.append(self._told(athlete, self.workouts.begin(athlete, int(job["due_ns"]))))
        return due.of(~begin)

    def _count(self, refusals: "np.ndarray[tuple[int], np.dtype[np.void]]") -> None:
        """Count what was refused, at its device."""
        if not len(refusals):
            return
        pairs, counts = np.unique(refusals, return_counts=True)
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
        self._rewind_now(athlete)
        if self.workouts.is_open(athlete):
            self._out.append(self.end_workout(athlete))
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
        if athlete is not None and not reason and self._ordered[athlete.row] >= ORDERS_MAX:
            reason = "too_many"
        if reason or athlete is None:
            self.ingest.refused[f"command_{reason}"] += 1
            self._out.append(self._reply(athlete_id, Reply(command.id, ok=False, reason=reason)))
            return
        self._ordered[athlete.row] += 1
        self.workouts.queued(athlete, command)
        batch.add_order(Order(athlete, command, message), t_ns)

    def _end_silent(self, utc_ns: int) -> None:
        """End the workouts of athletes whose devices have all gone silent."""
        if 0 <= utc_ns - self._looked_silent_ns < LOOK_SILENT_NS:
            return
        self._looked_silent_ns = utc_ns
        for row in self.schedule.silent(utc_ns - END_NS):
            self._out.append(self.end_workout(self.registry.athlete_rows[row]))

    # Jobs.

    def _run_jobs(self, utc_ns: int) -> None:
        """Run what is due: in each round the first job of every athlete, all steps among them at once.

        Nearly every athlete has a single step to take. Who has more, or a command, has a queue of jobs. Where
        a whole class stops at once, most wait for the next ticks: results do not depend on that. Who waits is
        served before who comes, so that nobody waits for ever.
        """
        alone = self._queued(Due.joined(self._due)) if self._due else None
        self._due.clear()
        if alone is not None and self.ladder.level >= _ORIENTATION_ONLY:
            alone = self._without_idle(alone)
        first, self._waiting = self._waiting, {}
        busy = [*first, *(row for row in self._queues if row not in first)]
        ends = rewound = 0
        for _ in range(STEPS_MAX):
            steps = [alone] if alone is not None and len(alone.jobs) else []
            rewinds: list[Due] = []
            alone, remaining = None, []
            for row in busy:
                queue = self._queues[row]
                kind = queue[0].jobs["kind"][0]
                ends += self._ends(row, queue[0])
                rewound += kind == _REWIND
                if (kind == _REWIND and rewound > REWINDS_MAX) or (kind == _ORDER and ends > ENDS_MAX):
                    self._waiting[row] = None
                    continue
                job = queue.popleft()
                if kind == _ORDER:
                    self._obey(self.registry.athlete_rows[row], job)
                elif kind in (_KEEP, _REWIND):
                    rewinds.append(job)
                else:
                    steps.append(job)
                if queue:
                    remaining.append(row)
                else:
                    del self._queues[row]
            if steps:
                self._step(Due.joined(steps), utc_ns)
            if rewinds:
                self._rewind(rewinds)
            busy = remaining
            if not busy:
                break
        self.behind = bool(self._queues)

    def _queued(self, due: Due) -> Due:
        """Queue the jobs of athletes who have more than one step to take; return the other steps."""
        jobs = due.jobs
        athletes = jobs["athlete"]
        counts = np.bincount(athletes)
        alone = (counts[athletes] == 1) & ((jobs["kind"] == _STEP) | (jobs["kind"] == _REDO))
        if self._queues:
            alone &= ~np.isin(athletes, list(self._queues))
        if alone.all():
            return due
        for place in np.flatnonzero(~alone).tolist():
            queue = self._queues.setdefault(int(athletes[place]), deque())
            queue.append(due.of(np.array([place])))
        return due.of(alone)

    def _without_idle(self, due: Due) -> Due:
        """Give up the steps of athletes who have no open workout."""
        athletes = due.jobs["athlete"]
        idle = self.schedule.lanes["flags"][athletes] & lib.KF_LANE_OPEN == 0
        count = int(np.count_nonzero(idle))
        self.schedule.done(athletes[idle], count)
        self.given_up["steps"] += count
        return due.of(~idle)

    def _ends(self, row: int, job: Due) -> bool:
        """Return True when a job ends a live workout, which is then smoothed."""
        athlete = self.registry.athlete_rows[row]
        if athlete.recorded or job.jobs["kind"][0] != _ORDER:
            return False
        action = self._orders[int(job.jobs["index"][0])].command.action
        return action in ("start", "stop") and self.workouts.is_open(athlete)

    def _rewind(self, jobs: list[Due]) -> None:
        """Carry out rewinds, and take the first bases of athletes."""
        rewinds = self.rewinds
        assert rewinds is not None, "the lanes tell of rewinds only where there are some"
        for job in jobs:
            self.schedule.done(job.jobs["athlete"], 1)
            if job.jobs["kind"][0] == _KEEP:
                rewinds.begin(int(job.jobs["athlete"][0]), int(job.jobs["received_ns"][0]))
        jobs = [job for job in jobs if job.jobs["kind"][0] == _REWIND]
        possible = [job for job in jobs if self.ladder.level < _ORIENTATION_ONLY and rewinds.has_base(job)]
        self.given_up["rewinds"] += len(jobs) - len(possible)
        if not possible:
            return
        self._out += [self._told(athlete, event) for athlete, event in rewinds.run(possible)]
        for job in possible:
            self._settle_lane(self.registry.athlete_rows[int(job.jobs["athlete"][0])])

    def _rewind_now(self, athlete: Athlete) -> None:
        """Put into its place what came late and waits for more of its kind: nothing more is awaited."""
        if self.rewinds is None or self.schedule.lanes["jobs"][athlete.row]:
            return
        for job in self.schedule.rewind(athlete.row):
            if job.jobs["kind"][0] == _REDO:
                self._step(job, 0)
            else:
                self._rewind([job])

    def _obey(self, athlete: Athlete, job: Due) -> None:
        order = self._orders.pop(int(job.jobs["index"][0]))
        self._ordered[athlete.row] -= 1
        self.schedule.done(athlete.row, 1)
        reply, events = self.workouts.obey(athlete, order.command, int(job.jobs["due_ns"][0]))
        self._settle_lane(athlete)
        self._out += [self._told(athlete, event) for event in events]
        self._out.append(self._reply(athlete.id, reply))

    def _step(self, due: Due, utc_ns: int) -> None:
        self.schedule.done(due.jobs["athlete"], len(due.jobs))
        if self.rewinds is not None:
            due = self.rewinds.prepare(due)
        rows, due_ns = due.jobs["athlete"].astype(np.intp), due.jobs["due_ns"].copy()
        estimates = self.table.step(rows, due_ns, due.measurements())
        if self.rewinds is not None:
            self.rewinds.keep(due.jobs, rows, due_ns)
        self.deadlines.history.doing.steps += len(rows)
        self._publish(due, MetricColumns(estimates, due_ns), utc_ns)

    def _told_now(self, due: Due) -> list[int]:
        """Return the places of those whose update is published, in this mode."""
        jobs = due.jobs
        told = jobs["kind"] == _STEP
        every = LIVE_EVERY[self.ladder.level]
        if every > 1:
            recorded = self.schedule.lanes["flags"][jobs["athlete"]] & lib.KF_LANE_RECORDED != 0
            turn = (jobs["due_ns"] // STEP_NS + jobs["athlete"]) % every == 0
            self.given_up["live"] += int(np.count_nonzero(told & ~recorded & ~turn))
            told &= recorded | turn
        places: list[int] = np.flatnonzero(told).tolist()
        return places

    def _publish(self, due: Due, columns: MetricColumns, utc_ns: int) -> None:
        places = self._told_now(due)
        if not places:
            return
        jobs, devices, mode = due.jobs[places], self.registry.device_rows, self.ladder.mode
        athletes = [self.registry.athlete_rows[row] for row in jobs["athlete"].tolist()]
        states = self.workouts.states(athletes, jobs["due_ns"].copy())
        ages_ns: list[int] = []
        for place, athlete, state, job in zip(places, athletes, states, jobs.tolist(), strict=True):
            _, _, device, boot, seq, _, _, _, due_ns, received_ns = job
            cause = None if device == NONE else Cause(devices[device].id, boot, seq)
            payload = publications.live(athlete.id, due_ns, cause, state, columns.at(place), mode)
            if not athlete.recorded:
                ages_ns.append(utc_ns - due_ns)
            topic = f"{self._root}/athletes/{athlete.id}/live"
            # A recording comes as fast as it is played: how long it waits says nothing of the server.
            self._out.append(Outgoing(topic, payload, caused_ns=0 if athlete.recorded else received_ns))
        self.deadlines.observe_many("sensor_age", np.array(ages_ns, np.int64))

    def _told(self, athlete: Athlete, event: Workout) -> Outgoing:
        topic = f"{self._root}/athletes/{athlete.id}/workout"
        return Outgoing(topic, publications.encode(event), qos=1, retain=True)

    def _reply(self, athlete: str, reply: Reply) -> Outgoing:
        topic = f"{self._root}/athletes/{athlete}/reply/{reply.id}"
        return Outgoing(topic, publications.encode(reply), qos=1)
