"""Athletes under simulated satellites, what their sensors tell, and what is made of it.

All runs of a kind are rows of one table and step together, once a second.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.athletes import Athletes, Profile
from fusion.measurements import Measurements, Sport
from server.messages import Gnss
from simulators.heart import Body
from simulators.programme import Phase
from simulators.sensors import Barometer, Receiver
from simulators.truth import State, Truth

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

START_NS: Final = 1_790_000_000 * 10**9
SECOND_NS: Final = 10**9
SECONDS: Final = 600
GAP_S: Final = 60
GAPS_AT_S: Final = (150, 330, 510)
STOP_S: Final = 40
DV_SIGMA_MPS: Final = 0.02  # of vertical velocity over a second, as the orientation core tells it
SETTLED: Final = 64  # tilt is known (csrc/kinefuse.h, KF_SETTLED)


class CityReceiver(Receiver):
    """A receiver between houses: position errors four times those under open sky, speed's three times."""

    H_SIGMA_M = 4 * Receiver.H_SIGMA_M
    V_SIGMA_M = 4 * Receiver.V_SIGMA_M
    WHITE_M = 4 * Receiver.WHITE_M
    SPEED_SIGMA_MPS = 3 * Receiver.SPEED_SIGMA_MPS


class Kind(NamedTuple):
    """What is simulated."""

    name: str
    gaps: bool = False
    stops: bool = False
    city: bool = False
    grade_max: float = 0.02


KINDS: Final = (
    Kind("lost for 60 s", gaps=True),
    Kind("stop and go", stops=True),
    Kind("urban noise", city=True),
    Kind("hills", grade_max=0.12),
)


class Run(NamedTuple):
    """One athlete on foot, at the end of each of k seconds; the truth, and what sensors tell of it."""

    truth: State  # (k,) each
    fixes: list[Gnss | None]  # None: lost
    pressure_pa: Floats
    standing: Bools  # (k,) since five seconds at least
    profile: Profile


class Outcome(NamedTuple):
    """What is told of n runs at the end of each of k seconds, (n, k) each; NaN: nothing."""

    distance_m: Floats
    distance_sigma_m: Floats
    ascent_m: Floats
    ascent_sigma_m: Floats
    speed_mps: Floats
    speed_sigma_mps: Floats


def simulated(kind: Kind, seed: int) -> Run:
    """Return an athlete who runs and walks, or stops again and again."""
    rng = np.random.default_rng([seed, 7])
    body = Body(height_m=rng.uniform(1.55, 1.95))
    truth = Truth(_phases(kind, body.height_m, rng), body, rng, grade_max=kind.grade_max)
    state = truth.state(np.arange(1.0, SECONDS + 1.0))
    receiver = (CityReceiver if kind.city else Receiver)(rng)
    barometer = Barometer(rng)
    fixes: list[Gnss | None] = []
    pressures = []
    for second, one in enumerate(state.each()):
        fix = receiver.read(one)
        lost = kind.gaps and any(at <= second < at + GAP_S for at in GAPS_AT_S)
        fixes.append(None if lost else fix)
        pressures.append(barometer.read(one).pressure_pa)
    still = state.speed_mps < 1e-3
    standing = np.array([bool(still[max(second - 5, 0) : second + 1].all()) for second in range(SECONDS)])
    profile = Profile(mass_kg=body.mass_kg, height_m=body.height_m)
    return Run(state, fixes, np.array(pressures, np.float64), standing, profile)


def _phases(kind: Kind, height_m: float, rng: np.random.Generator) -> list[Phase]:
    """Return parts of a run. A pace's step length differs between athletes by 8 % (one sigma).

    Cadence goes with the square root of speed on the walk (Grieve and Gear 1966, doi
    10.1080/00140136608964399), and hardly with speed on the run.
    """
    rate = rng.normal(1.0, 0.08) * (1.75 / height_m) ** 0.5
    phases: list[Phase] = []
    while sum(phase.duration_s for phase in phases) < SECONDS:
        run = rng.random() < 0.7
        speed = rng.uniform(2.4, 4.2) if run else rng.uniform(1.1, 1.7)
        cadence = rate * (168.0 + 7.0 * (speed - 3.0) if run else 93.0 * speed**0.5)
        length_s = float(rng.integers(40, 90) if kind.stops else rng.integers(90, 240))
        phases.append(Phase("run" if run else "walk", length_s, speed, cadence))
        if kind.stops:
            phases.append(Phase("rest", float(STOP_S)))
    return phases


def ours(runs: Sequence[Run], *, inertial: bool) -> Outcome:
    """Return what is told of runs; where ``inertial``, a device on the body tells steps and rests too."""
    table = Athletes()
    rows = np.array([table.add(run.profile) for run in runs], dtype=np.intp)
    for row in rows.tolist():
        table.begin(row, START_NS, Sport.RUN)
    out = Outcome(*(np.full((len(runs), SECONDS), np.nan) for _ in Outcome._fields))
    for second in range(SECONDS):
        t_ns = START_NS + (second + 1) * SECOND_NS
        told: dict[str, list[tuple[Any, ...]]] = {"gnss": [], "baro": [], "windows": []}
        for row, run in zip(rows.tolist(), runs, strict=True):
            fix = run.fixes[second]
            if fix is not None:
                told["gnss"].append((row, t_ns, 0, *_columns(fix)))
            told["baro"].append((row, t_ns, 0, run.pressure_pa[second]))
            if inertial:
                told["windows"].append((row, t_ns, *_window(run.truth, second)))
        live = table.step(rows, np.full(len(rows), t_ns), Measurements.of(**told))
        for name in ("distance", "ascent", "speed"):
            unit = "mps" if name == "speed" else "m"
            getattr(out, f"{name}_{unit}")[:, second] = live[name].value
            getattr(out, f"{name}_sigma_{unit}")[:, second] = live[name].sigma
    return out


def _columns(fix: Gnss) -> tuple[float | None, ...]:
    course = None if fix.course_deg is None else float(np.radians(fix.course_deg))
    told = (fix.lat, fix.lon, fix.alt_m, fix.speed_mps, course, fix.h_acc_m, fix.v_acc_m, fix.speed_acc_mps)
    return tuple(np.nan if value is None else value for value in told)


def _window(truth: State, second: int) -> tuple[float, ...]:
    """Return what the inertial core would tell of the second that ends, without any error of its own."""
    before = max(second - 1, 0)
    climb = truth.speed_mps * truth.grade
    spm = float(truth.cadence_spm[second])
    steps = int(truth.steps[second] - truth.steps[before]) if second else int(truth.steps[0])
    moves = spm > 1.0
    rms = (3.0, 1.0) if moves else (0.02, 0.01)
    dv_up = float(climb[second] - climb[before])
    return (9, 2, 1.0, dv_up, DV_SIGMA_MPS, *rms, steps, 60.0 / spm if moves else 0.0, SETTLED)


def constant_velocity(run: Run) -> tuple[Floats, Floats]:
    """Return distance and ascent, m, (k,) each, of filterpy's filters of constant velocity.

    One is told east, north and their speeds, the other the height by the standard atmosphere. Distance
    integrates the speed, ascent sums what the height rises.
    """
    place, height = _filter(4, 2), _filter(2, 1)
    height.R *= 0.3**2
    pressure = run.pressure_pa
    heights = 44_330.77 * (1.0 - (pressure / 101_325.0) ** 0.190263)
    height.x[0, 0] = before = float(heights[0])
    per_degree = np.array([73_300.0, 111_200.0])  # where simulators/route.py is; to 0.2 %
    speeds, rises = np.zeros(SECONDS), np.zeros(SECONDS)
    first = next(fix for fix in run.fixes if fix is not None)
    for second, fix in enumerate(run.fixes):
        place.predict()
        height.predict()
        height.update(heights[second])
        if fix is not None:
            place.update(*_measured(fix, first, per_degree))
        speeds[second] = np.hypot(place.x[1, 0], place.x[3, 0])
        now = float(height.x[0, 0])
        rises[second], before = max(now - before, 0.0), now
    return np.cumsum(speeds), np.cumsum(rises)


def _measured(fix: Gnss, first: Gnss, per_degree: Floats) -> tuple[Floats, Floats]:
    """Return what a fix measures, (4, 1), and its covariance as the receiver states it."""
    east, north = (fix.lon - first.lon) * per_degree[0], (fix.lat - first.lat) * per_degree[1]
    assert fix.speed_mps is not None
    assert fix.course_deg is not None
    assert fix.h_acc_m is not None
    assert fix.speed_acc_mps is not None
    course = np.radians(fix.course_deg)
    v_east, v_north = fix.speed_mps * np.sin(course), fix.speed_mps * np.cos(course)
    variances = (fix.h_acc_m**2, fix.speed_acc_mps**2) * 2
    return np.array([[east], [v_east], [north], [v_north]]), np.diag(variances)


def _filter(states: int, axes: int) -> Any:
    """Return filterpy's filter of place and speed on each axis, as its documentation builds one."""
    from filterpy.common import Q_discrete_white_noise
    from filterpy.kalman import KalmanFilter

    filter_ = KalmanFilter(dim_x=states, dim_z=states if axes > 1 else 1)
    filter_.F = np.kron(np.eye(axes), np.array([[1.0, 1.0], [0.0, 1.0]]))
    filter_.H = np.eye(states) if axes > 1 else np.array([[1.0, 0.0]])
    filter_.P = np.eye(states) * 10.0
    filter_.Q = Q_discrete_white_noise(dim=2, dt=1.0, var=0.1, block_size=axes)
    return filter_
