"""A device: sensors, a clock, and the messages of protocol v1 that it sends, second by second.

Inertial samples go out ten packets a second in the binary format, everything else as JSON, stamped with the
device's own clock. ``seq`` counts the packets of one topic. A device makes its messages ahead of time; they
depend on seed and start alone, never on when they are asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from server.codecs import imu, samples
from server.messages import Battery, Birth, Clock, Death, Packet, Placement, Pong, Sport
from simulators.clock import DeviceClock
from simulators.faults import Channel, Faults, Message
from simulators.sensors import Barometer, Imu, Optical, Receiver, Samples, Strap, read_crank, read_power
from simulators.truth import State, Truth

PACKETS_PER_S = 10
KINDS = ("imu", "hr", "optical", "gnss", "baro", "power", "cadence")
BATTERY_EVERY_S = 60
BLOCK_S = 5  # made at once: what numpy costs per call is shared by so many seconds

_HR_AT_S, _STATE_AT_S = 0.31, 0.63  # within a second, after the device's own phase


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """What a device is.

    Parameters
    ----------
    name : str
        Ends its id.
    model : str
    sensors : tuple of str
        Of KINDS.
    placement : str
        Where it is worn; matters where there is an ``imu``.
    mag_every : int
        A magnetometer sample with every so many others; 0: none.
    """

    name: str
    model: str
    sensors: tuple[str, ...]
    placement: Placement = "unknown"
    mag_every: int = 0


class Device:
    """One simulated device.

    Parameters
    ----------
    device_id : str
    kind : DeviceKind
    truth : Truth
        Of the athlete who carries it.
    seeds : numpy SeedSequence
        Of this device alone.
    start_ns : int
        UTC of the simulation's start.
    faults : Faults
        What befalls its messages and its clock.
    rate_hz : int
        Inertial samples per second, a multiple of PACKETS_PER_S.
    sport : str, optional
        What it was set to by its athlete.
    """

    def __init__(
        self,
        device_id: str,
        kind: DeviceKind,
        truth: Truth,
        seeds: np.random.SeedSequence,
        *,
        start_ns: int,
        faults: Faults,
        rate_hz: int = 100,
        sport: Sport | None = None,
    ) -> None:
        if rate_hz % PACKETS_PER_S or not PACKETS_PER_S <= rate_hz <= 1_000:
            raise ValueError(f"rate_hz is {rate_hz}, allowed: multiples of {PACKETS_PER_S} up to 1000")
        own, *each = (np.random.default_rng(seed) for seed in seeds.spawn(2 + len(KINDS)))
        rngs = dict(zip(KINDS, each[1:], strict=True))
        self.id = device_id
        self.kind = kind
        self.sport = sport
        self.channel = Channel(faults, each[0])
        self.phase_s = float(own.uniform(0.0, 1.0))
        self.clock = DeviceClock(
            start_ns,
            offset_s=float(own.normal(0.0, 1.0)) * faults.offset_s,
            skew_ppm=float(own.normal(0.0, 1.0)) * faults.skew_ppm,
            step_s=faults.step_s,
            step_at_s=faults.step_at_s,
        )
        self.boot = int(own.integers(1, 2**32))
        self._truth = truth
        self._rate_hz = rate_hz
        self._seq: dict[str, int] = {}
        self._readers = self._make_readers(rngs)
        self._states: list[State] = []
        self._t_s = np.empty(0)
        self._block: Samples | None = None
        self._imu: Imu | None = None
        if "imu" in kind.sensors:
            self._imu = Imu(truth, kind.placement, rngs["imu"], rate_hz=rate_hz, mag_every=kind.mag_every)
        self._strap = Strap(truth, rngs["hr"]) if "hr" in kind.sensors else None
        self._optical = Optical(truth, rngs["optical"]) if "optical" in kind.sensors else None

    def birth(self, true_s: float) -> bytes:
        """Return the payload that says what the device is."""
        birth = Birth(t=self.clock.read_ns(true_s), boot=self.boot, model=self.kind.model)
        birth.clock = Clock(pings=True)
        birth.placement, birth.sport = self.kind.placement, self.sport
        if self._imu:
            birth.accel_range = self._imu.sheet.accel_range_mps2
            birth.gyro_range = self._imu.sheet.gyro_range_radps
            birth.rate_hz = self._rate_hz
        return samples.encode(birth)

    def death(self) -> bytes:
        """Return the payload of goodbye and last will."""
        return samples.encode(Death(boot=self.boot))

    def pong(self, ping_id: str, true_s: float) -> bytes:
        """Return the answer to a ping."""
        return samples.encode(Pong(t=self.clock.read_ns(true_s), boot=self.boot, id=ping_id))

    def begins_s(self, number: int) -> float:
        """Return when the device's second ``number`` begins, true s since the start."""
        return self.clock.true_s(number) + self.phase_s

    def second(self, number: int) -> list[Message]:
        """Return what arrives of what the device sends in its second ``number``; 0, 1, 2, ... in order."""
        begins_s = self.begins_s(number)
        sent = self._inertial(number) if self._imu else []
        if self._strap:
            due_s = begins_s + _HR_AT_S
            reading, beat_s = self._strap.read(due_s)
            sent.append(self._message("hr", reading, beat_s, due_s))
        if self._optical:
            due_s = begins_s + _HR_AT_S
            sent.append(self._message("hr", self._optical.read(due_s), due_s, due_s))
        if self._readers:
            due_s = begins_s + _STATE_AT_S
            state = self._state(number)
            sent += [self._message(topic, read(state), due_s, due_s) for topic, read in self._readers.items()]
        if number % BATTERY_EVERY_S == 0:
            level = round(max(0.9 - number / 72_000.0, 0.05), 3)
            sent.append(self._message("battery", Battery(level=level), begins_s, begins_s))
        sent.sort(key=lambda message: message.due_s)
        return self.channel.carry(sent)

    def _make_readers(self, rngs: dict[str, np.random.Generator]) -> dict[str, Callable[[State], Packet]]:
        makers: dict[str, Callable[[], Callable[[State], Packet]]] = {
            "gnss": lambda: Receiver(rngs["gnss"]).read,
            "baro": lambda: Barometer(rngs["baro"]).read,
            "power": lambda: lambda state: read_power(state, rngs["power"]),
            "cadence": lambda: read_crank,
        }
        return {name: make() for name, make in makers.items() if name in self.kind.sensors}

    def _inertial(self, number: int) -> list[Message]:
        """Ten packets: one second on the device's clock."""
        assert self._imu is not None
        count, rate_hz = self._rate_hz // PACKETS_PER_S, self._rate_hz
        begin = number % BLOCK_S * rate_hz
        if begin == 0:
            counted = (number * rate_hz + np.arange(BLOCK_S * rate_hz)) / rate_hz
            self._t_s = self.phase_s + counted / (1.0 + self.clock.skew_ppm * 1e-6)
            self._block = self._imu.read(self._t_s)
        t_s, read = self._t_s, self._block
        assert read is not None, "seconds come in order"
        messages = []
        for first in range(begin, begin + rate_hz, count):
            rows = slice(first, first + count)
            payload = imu.encode(
                accel_b=read.accel_b[rows],
                gyro_b=read.gyro_b[rows],
                mag_b=None if read.mag_b is None else read.mag_b[rows],
                boot=self.boot,
                t0_ns=self.clock.read_ns(float(t_s[first])),
                seq=self._next("imu"),
                dt_ns=round(1e9 / self._rate_hz),
                scales=self._imu.sheet.scales,
            )
            messages.append(Message(float(t_s[first + count - 1]), f"in/{self.id}/imu", payload))
        return messages

    def _state(self, number: int) -> State:
        """The athlete when the state of second ``number`` is measured."""
        i = number % BLOCK_S
        if i == 0:
            begins_s = [self.begins_s(number + k) for k in range(BLOCK_S)]
            self._states = self._truth.state(np.array(begins_s) + _STATE_AT_S).each()
        return self._states[i]

    def _message(self, topic: str, packet: Packet, stamp_s: float, due_s: float) -> Message:
        packet.t, packet.boot, packet.seq = self.clock.read_ns(stamp_s), self.boot, self._next(topic)
        return Message(due_s, f"in/{self.id}/{topic}", samples.encode(packet))

    def _next(self, topic: str) -> int:
        seq = self._seq.get(topic, 0)
        self._seq[topic] = (seq + 1) & 0xFFFFFFFF
        return seq
