"""Who takes part and what they do: scenarios, their athletes, and the server's configuration for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from server.messages import Sport
from simulators.device import Device, DeviceKind
from simulators.faults import Faults
from simulators.heart import Body
from simulators.programme import Phase
from simulators.truth import Truth

ATHLETES_MAX = 5_000

_HEAD = DeviceKind("watch", "Kinefuse simulated watch", ("gnss", "baro"), "wrist")
_STRAP = DeviceKind("strap", "Kinefuse simulated strap", ("hr",), "chest")
_CHEST = DeviceKind("chest", "Kinefuse simulated chest sensor", ("imu",), "chest")
_FOOT = DeviceKind("foot", "Kinefuse simulated foot pod", ("imu",), "foot")
_WRIST = DeviceKind(
    "watch", "Kinefuse simulated watch", ("imu", "optical", "gnss", "baro"), "wrist", mag_every=5
)
_COMPUTER = DeviceKind("computer", "Kinefuse simulated bike computer", ("gnss", "baro", "power", "cadence"))
_WATCH = DeviceKind("", "Kinefuse simulated watch", ("imu", "hr", "gnss", "baro"), "wrist")


@dataclass(frozen=True, slots=True)
class Role:
    """What an athlete is and does.

    ``phases`` are drawn anew for each athlete, so that no two do the same at the same time.
    """

    name: str
    title: str
    sport: Sport
    body: Body
    devices: tuple[DeviceKind, ...]
    phases: Callable[[np.random.Generator], Sequence[Phase]]
    lap_m: float = 1_500.0
    grade_max: float = 0.05


@dataclass(frozen=True, slots=True)
class Athlete:
    """A simulated athlete with their devices."""

    id: str
    role: Role
    truth: Truth
    devices: tuple[Device, ...]


def _whole(rng: np.random.Generator, low: int, high: int) -> float:
    return float(rng.integers(low, high, endpoint=True))


def _steady_run(rng: np.random.Generator) -> list[Phase]:
    speed = rng.uniform(2.9, 3.5)
    return [
        Phase("run", _whole(rng, 840, 960), speed, rng.uniform(166, 178)),
        Phase("run", _whole(rng, 280, 320), speed + 0.5, rng.uniform(176, 182)),
        Phase("walk", 60, 1.5, 114),
    ]


def _stroll(rng: np.random.Generator) -> list[Phase]:
    return [
        Phase("walk", _whole(rng, 400, 500), rng.uniform(1.3, 1.5), rng.uniform(106, 114)),
        Phase("rest", 30),
        Phase("walk", _whole(rng, 260, 330), rng.uniform(1.5, 1.7), rng.uniform(116, 124)),
    ]


def _ride(rng: np.random.Generator) -> list[Phase]:
    return [
        Phase("ride", _whole(rng, 500, 600), rng.uniform(6.0, 6.8), rng.uniform(82, 88)),
        Phase("ride", _whole(rng, 280, 320), rng.uniform(7.2, 8.2), rng.uniform(90, 96)),
        Phase("rest", 20),
    ]


def _intervals(rng: np.random.Generator) -> list[Phase]:
    quick = Phase("run", 90, rng.uniform(4.2, 4.8), rng.uniform(182, 190))
    easy = Phase("walk", 60, 1.5, 114)
    warm = Phase("run", 180, 2.8, 164)
    return [warm, easy, *[quick, easy] * 4, quick, Phase("rest", 60)]


def _mixed(rng: np.random.Generator) -> list[Phase]:
    parts = [
        Phase("run", _whole(rng, 200, 400), rng.uniform(2.6, 3.9), rng.uniform(160, 184)),
        Phase("walk", _whole(rng, 60, 240), rng.uniform(1.2, 1.7), rng.uniform(104, 124)),
        Phase("rest", _whole(rng, 15, 60)),
        Phase("run", _whole(rng, 100, 300), rng.uniform(3.0, 4.2), rng.uniform(168, 186)),
        Phase("walk", _whole(rng, 60, 120), rng.uniform(1.3, 1.6), rng.uniform(108, 120)),
    ]
    first = int(rng.integers(len(parts)))
    return parts[first:] + parts[:first]


_RUNNER = Role("runner", "Steady runner", "run", Body(), (_CHEST, _STRAP, _HEAD), _steady_run)
_WALKER = Role(
    "walker",
    "Walker",
    "walk",
    Body(84.0, 1.72, 1968, "male", 66.0, 171.0, 38.0),
    (_WRIST,),
    _stroll,
    lap_m=900.0,
)
_RIDER = Role(
    "rider",
    "Rider",
    "ride",
    Body(68.0, 1.70, 1985, "female", 52.0, 186.0, 55.0),
    (_STRAP, _COMPUTER),
    _ride,
    lap_m=4_000.0,
    grade_max=0.025,
)
_REPEATER = Role(
    "intervals",
    "Interval runner",
    "run",
    Body(61.0, 1.66, 1996, "female", 50.0, 194.0, 58.0),
    (_FOOT, _STRAP, _HEAD),
    _intervals,
    lap_m=1_000.0,
    grade_max=0.02,
)
_PUPIL = Role("class", "Class member", "run", Body(), (_WATCH,), _mixed, lap_m=1_000.0, grade_max=0.04)
_RESTING = Role("rest", "At rest", "other", Body(), (_WATCH,), lambda _: [Phase("rest", 600)])

SCENARIOS: dict[str, tuple[Role, ...]] = {
    "demo": (_RUNNER, _WALKER, _RIDER, _REPEATER),
    "class": (_PUPIL,),
    "run": (_RUNNER,),
    "walk": (_WALKER,),
    "ride": (_RIDER,),
    "intervals": (_REPEATER,),
    "rest": (_RESTING,),
}


def roles(scenario: str, athletes: int | None = None) -> list[tuple[str, Role]]:
    """Return the athletes of a scenario, each with its id: its roles in turn, numbered from the second round.

    Parameters
    ----------
    scenario : str
        One of SCENARIOS.
    athletes : int, optional
        How many, 1 to ATHLETES_MAX; None: one for each role.

    Raises
    ------
    ValueError
        In one line, where there is no such scenario or number.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f'scenario is "{scenario}", allowed: {", ".join(SCENARIOS)}')
    cast = SCENARIOS[scenario]
    count = len(cast) if athletes is None else athletes
    if not 1 <= count <= ATHLETES_MAX:
        raise ValueError(f"athletes is {count}, allowed: 1 to {ATHLETES_MAX}")
    named = []
    for i in range(count):
        role, turn = cast[i % len(cast)], i // len(cast) + 1
        crowd = scenario in ("class", "rest")
        named.append(
            (f"{role.name}-{turn:03d}" if crowd else role.name + (f"-{turn}" if turn > 1 else ""), role)
        )
    return named


def build(
    scenario: str,
    athletes: int | None = None,
    *,
    seed: int,
    start_ns: int,
    faults: Faults | None = None,
    rate_hz: int = 100,
) -> list[Athlete]:
    """Return the athletes of a scenario; each depends on the seed and its place in the list alone.

    Parameters
    ----------
    scenario, athletes
        As for ``roles``.
    seed : int
        At least 0.
    start_ns : int
        UTC of the simulation's start, ns.
    faults : Faults, optional
        What befalls every device.
    rate_hz : int
        Inertial samples per second.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}, allowed: at least 0")
    made = []
    for i, (athlete_id, role) in enumerate(roles(scenario, athletes)):
        own, *seeds = np.random.SeedSequence([seed, i]).spawn(1 + len(role.devices))
        rng = np.random.default_rng(own)
        truth = Truth(role.phases(rng), role.body, rng, lap_m=role.lap_m, grade_max=role.grade_max)
        devices = tuple(
            Device(
                _device_id(athlete_id, kind),
                *(kind, truth, device_seeds),
                start_ns=start_ns,
                faults=faults or Faults(),
                rate_hz=rate_hz,
                sport=role.sport,
            )
            for kind, device_seeds in zip(role.devices, seeds, strict=True)
        )
        made.append(Athlete(athlete_id, role, truth, devices))
    return made


def config(scenario: str, athletes: int | None = None) -> str:
    """Return the ``[[athletes]]`` part of the server's configuration for a scenario, as TOML.

    Raises
    ------
    ValueError
        As ``roles`` does.
    """
    blocks = []
    for athlete_id, role in roles(scenario, athletes):
        body, number = role.body, athlete_id.removeprefix(role.name).lstrip("-")
        lines = [
            "[[athletes]]",
            f'id = "{athlete_id}"',
            f'name = "{role.title}{" " + number if number else ""}"',
            f"mass_kg = {body.mass_kg}",
            f"height_m = {body.height_m}",
            f"birth_year = {body.birth_year}",
            f'sex = "{body.sex}"',
            f"resting_bpm = {body.resting_bpm}",
            f"max_bpm = {body.max_bpm}",
        ]
        for kind in role.devices:
            lines += ["", "[[athletes.devices]]", f'id = "{_device_id(athlete_id, kind)}"']
            lines += [f'placement = "{kind.placement}"']
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _device_id(athlete_id: str, kind: DeviceKind) -> str:
    return f"{athlete_id}-{kind.name}" if kind.name else athlete_id
