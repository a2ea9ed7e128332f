"""Athletes in real time over MQTT, on an open-loop schedule.

Every message has a time at which it is due, fixed by the seed; the schedule never waits for the broker or
the server, and tells how late it was itself. While there is no connection what falls due is dropped and
counted, as by a device that does not buffer. A second of a device is made just before it begins; devices
begin at different moments of a second, so work and traffic are even.

A connection has one last will. With a connection for each device its will is the device's death; where many
share one, deaths are told at the end, and a crash is left to the server's liveliness.
"""

import asyncio
import contextlib
import heapq
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from server.codecs import samples
from server.config import Broker
from server.errors import BrokerError
from server.messages import Command
from server.mqtt import START_S_MAX, Link, Will
from simulators.device import Device
from simulators.faults import Message
from simulators.record import TruthWriter, totals
from simulators.scenarios import Athlete

AHEAD_S = 0.3  # how long before it begins a second is made
TICK_S = 0.005
NAP_S_MAX = 0.1
DEVICE_LINKS_MAX = 16
SHARED_TOPICS_MAX = 16
LATENESS_MAX = 200_000
COMMAND_AGAIN_S, COMMAND_EXPIRES_S = 2.0, 60.0

Connection = Literal["auto", "device", "process"]


@dataclass(slots=True)
class Traffic:
    """What was sent."""

    sent: Counter[str] = field(default_factory=Counter)  # by the topic's last part
    unsent: int = 0  # due while there was no connection
    lateness_s: list[float] = field(default_factory=list)  # behind the schedule, of the newest messages


class Group:
    """Devices that share a connection, and the athletes whose workouts it starts and stops.

    Parameters
    ----------
    broker : Broker
    devices : list of Device
    athletes : list of Athlete
    command_id : str
        Begins the ids of its commands; new for each run.
    now_s : callable
        Returns the seconds since the simulation's start.
    """

    def __init__(
        self,
        broker: Broker,
        devices: list[Device],
        athletes: list[Athlete],
        *,
        command_id: str,
        now_s: Callable[[], float],
    ) -> None:
        self._root = broker.root
        self._devices = {device.id: device for device in devices}
        self._athletes = athletes
        self._unstarted = {athlete.id: athlete for athlete in athletes}
        self._command_id = command_id
        self._now_s = now_s
        will = None
        if len(devices) == 1:
            will = Will(self._status(devices[0]), devices[0].death())
        self.link = Link(broker, subscriptions=self._subscriptions(), will=will)

    @property
    def device_ids(self) -> list[str]:
        """The ids of its devices."""
        return list(self._devices)

    def send(self, message: Message) -> bool:
        """Send a message now; return False where there is no connection."""
        if not self.link.connected:
            return False
        self.link.publish(f"{self._root}/{message.topic}", message.payload)
        return True

    async def attend(self) -> None:
        """Say what the devices are, then see to it that the workouts start; for ever."""
        await self.link.ready(START_S_MAX)
        for device in self._devices.values():
            self.link.publish(self._status(device), device.birth(self._now_s()), qos=1, retain=True)
        while True:
            if self.link.connected:
                for athlete in self._unstarted.values():
                    self._command(athlete, "start")
            await asyncio.sleep(COMMAND_AGAIN_S)

    async def answer(self) -> None:
        """Answer pings, and take note of the server's replies to our commands; for ever."""
        async for arrival in self.link.arrivals():
            try:
                body = json.loads(arrival.payload)
            except (ValueError, RecursionError):
                continue
            if not isinstance(body, dict):
                continue
            who, what = arrival.topic.removeprefix(self._root + "/").split("/")[1:3]
            if what == "reply" and body.get("id") == f"{self._command_id}-start" and body.get("ok") is True:
                self._unstarted.pop(who, None)
            elif what == "ping" and who in self._devices and isinstance(body.get("id"), str):
                pong = self._devices[who].pong(body["id"], self._now_s())
                self.link.publish(f"{self._root}/in/{who}/pong", pong)

    def farewell(self) -> None:
        """Stop the workouts that were started, and say that the devices are gone."""
        for athlete in self._athletes:
            if athlete.id not in self._unstarted:
                self._command(athlete, "stop")
        for device in self._devices.values():
            self.link.publish(self._status(device), device.death(), qos=1, retain=True)

    def _command(self, athlete: Athlete, action: Literal["start", "stop"]) -> None:
        clock = athlete.devices[0].clock
        expires_ns = clock.start_ns + round((self._now_s() + COMMAND_EXPIRES_S) * 1e9)
        command = Command(action=action, id=f"{self._command_id}-{action}", expires=expires_ns)
        command.sport = athlete.role.sport if action == "start" else None
        self.link.publish(f"{self._root}/command/{athlete.id}", samples.encode(command), qos=1)

    def _status(self, device: Device) -> str:
        return f"{self._root}/in/{device.id}/status"

    def _subscriptions(self) -> list[str]:
        pings, replies = list(self._devices), [athlete.id for athlete in self._athletes]
        if len(pings) + len(replies) > SHARED_TOPICS_MAX:
            pings, replies = ["+"], ["+"] if replies else []
        return [
            *(f"{self._root}/devices/{name}/ping" for name in pings),
            *(f"{self._root}/athletes/{name}/reply/+" for name in replies),
        ]


class Fleet:
    """All athletes of a process.

    Parameters
    ----------
    athletes : list of Athlete
    broker : Broker
    start_ns : int
        UTC at ``run``, which the devices' clocks were built with.
    connection : str
        ``device``, ``process``, or ``auto``: by device where there are at most DEVICE_LINKS_MAX.
    workouts : bool
        Start each athlete's workout, and stop it at the end.
    truth : TruthWriter, optional
        Written to while it happens.
    """

    def __init__(
        self,
        athletes: list[Athlete],
        broker: Broker,
        *,
        start_ns: int,
        connection: Connection = "auto",
        workouts: bool = True,
        truth: TruthWriter | None = None,
    ) -> None:
        self.athletes = athletes
        self.traffic = Traffic()
        self._broker, self._start_ns = broker, start_ns
        self._connection, self._workouts, self._truth = connection, workouts, truth
        self._start_s = self._ended_s = 0.0
        self._groups: list[Group] = []

    async def run(self, seconds: float = float("inf")) -> None:
        """Publish for ``seconds`` or until cancelled; say goodbye either way.

        Raises
        ------
        BrokerError
            Where the broker will never have us, or none is there within START_S_MAX. One that goes away later
            is waited for.
        """
        self._start_s = asyncio.get_running_loop().time()
        self._groups = self._group()
        owner = {id_: group for group in self._groups for id_ in group.device_ids}
        async with contextlib.AsyncExitStack() as links:
            for group in self._groups:
                await links.enter_async_context(group.link)
            try:
                await self._perform(owner, seconds)
            except BaseExceptionGroup as errors:
                raise _first(errors) from None
            finally:
                self._ended_s = self._now_s()
                for group in self._groups:
                    group.farewell()

    def report(self) -> dict[str, Any]:
        """Return what was sent, how late, and what the athletes truly did, as a plain object."""
        seconds, traffic = self._ended_s, self.traffic
        faults: Counter[str] = Counter()
        for athlete in self.athletes:
            for device in athlete.devices:
                faults.update(device.channel.counts)
        late_ms = np.array(traffic.lateness_s or [0.0]) * 1e3
        return {
            "seconds": round(seconds, 3),
            "start_ms": self._start_ns // 1_000_000,
            "sent": dict(traffic.sent),
            "unsent": traffic.unsent,
            "faults": {name: faults[name] for name in ("lost", "duplicated", "reordered")},
            "connections": len(self._groups),
            "connections_lost": sum(group.link.losses for group in self._groups),
            "lateness_ms": {
                "p50": round(float(np.percentile(late_ms, 50)), 3),
                "p99": round(float(np.percentile(late_ms, 99)), 3),
                "max": round(float(late_ms.max()), 3),
            },
            "athletes": {
                athlete.id: {
                    "sport": athlete.role.sport,
                    "devices": [device.id for device in athlete.devices],
                    "truth": totals(athlete, seconds),
                }
                for athlete in self.athletes
            },
        }

    async def _perform(self, owner: dict[str, Group], seconds: float) -> None:
        """Everything at once, until the schedule is through."""
        async with asyncio.TaskGroup() as tasks:
            others = []
            for group in self._groups:
                others += [
                    tasks.create_task(group.attend(), name="births and workouts"),
                    tasks.create_task(group.answer(), name="answers"),
                    tasks.create_task(group.link.wait(), name="link"),
                ]
            await self._keep_schedule(owner, seconds)
            for task in others:
                task.cancel()

    async def _keep_schedule(self, owner: dict[str, Group], seconds: float) -> None:
        """Make each device's next second in time, and send what is due."""
        devices = [device for athlete in self.athletes for device in athlete.devices]
        to_make = [(device.phase_s, i, 0) for i, device in enumerate(devices)]
        due: list[tuple[float, int, Message, Group]] = []
        heapq.heapify(to_make)
        count = 0
        while (now_s := self._now_s()) < seconds:
            while to_make[0][0] <= now_s + AHEAD_S:
                _, i, number = to_make[0]
                for message in devices[i].second(number):
                    heapq.heappush(due, (message.due_s, count, message, owner[devices[i].id]))
                    count += 1
                heapq.heapreplace(to_make, (devices[i].begins_s(number + 1), i, number + 1))
                self._send(due, self._now_s())
                await asyncio.sleep(0)
            self._send(due, self._now_s())
            if self._truth:
                self._truth.write_until(now_s)
            soonest_s = min(to_make[0][0] - AHEAD_S, due[0][0] if due else now_s + NAP_S_MAX, seconds)
            await asyncio.sleep(min(max(soonest_s - self._now_s(), TICK_S), NAP_S_MAX))

    def _send(self, due: list[tuple[float, int, Message, Group]], now_s: float) -> None:
        traffic = self.traffic
        while due and due[0][0] <= now_s:
            due_s, _, message, group = heapq.heappop(due)
            if group.send(message):
                traffic.sent[message.topic.rpartition("/")[2]] += 1
                traffic.lateness_s.append(now_s - due_s)
            else:
                traffic.unsent += 1
        if len(traffic.lateness_s) > 2 * LATENESS_MAX:
            del traffic.lateness_s[:-LATENESS_MAX]

    def _group(self) -> list[Group]:
        command_id = f"sim-{self._start_ns}"
        devices = [device for athlete in self.athletes for device in athlete.devices]
        led = self.athletes if self._workouts else []
        apart = self._connection == "device" or (
            self._connection == "auto" and len(devices) <= DEVICE_LINKS_MAX
        )
        if not apart:
            return [Group(self._broker, devices, led, command_id=command_id, now_s=self._now_s)]
        return [
            Group(
                self._broker,
                [device],
                [athlete] if self._workouts and device is athlete.devices[0] else [],
                command_id=command_id,
                now_s=self._now_s,
            )
            for athlete in self.athletes
            for device in athlete.devices
        ]

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time() - self._start_s


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a caller should see: the broker's refusal where there is nothing else, else all of it."""
    leaves: list[BaseException] = [*errors.exceptions]
    if all(isinstance(leaf, BrokerError) for leaf in leaves):
        return leaves[0]
    return errors
