"""The watch beside the strap: satellites, barometer and power tell the effort while a strap is gone."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.measurements import Sport
from server.files.recording import SampleRecording
from server.messages import Gnss, Power
from simulators.sensors import Barometer, Receiver
from simulators.truth import Truth

Floats = NDArray[np.float64]
SECOND_NS: Final = 10**9
FIX_COLUMNS: Final = 8
DEVICE: Final = 8
RISE_SIGMA_MPS: Final = 0.02  # over a second, as in evaluate gnss


class Watch(NamedTuple):
    """What it tells second by second, NaN where it tells nothing; k seconds."""

    sport: Sport
    fixes: Floats  # (k, 8) lat, lon, alt_m, speed_mps, course_rad, h_acc_m, v_acc_m, speed_acc_mps
    pressure_pa: Floats  # (k,)
    power_w: Floats  # (k,)
    rise_mps: Floats  # (k,) by how much its inertial core says that the rate of climb has changed


def simulated(truth: Truth, rng: np.random.Generator, seconds: int) -> Watch:
    """Return what a watch tells of a simulated athlete who runs."""
    receiver, barometer = Receiver(rng), Barometer(rng)
    states = truth.state(np.arange(1.0, seconds + 1.0)).each()
    fixes = np.array([columns(receiver.read(state)) for state in states])
    pressure_pa = np.array([barometer.read(state).pressure_pa for state in states])
    state = truth.state(np.arange(0.0, seconds + 1.0))
    rise_mps = np.diff(state.speed_mps * state.grade) + RISE_SIGMA_MPS * rng.standard_normal(seconds)
    return Watch(Sport.RUN, fixes, pressure_pa, np.full(seconds, np.nan), rise_mps)


def recorded(recording: SampleRecording, first_ns: int, seconds: int) -> Watch:
    """Return what a file tells beside its heart rates, from first_ns on."""
    fixes, power_w = np.full((seconds, FIX_COLUMNS), np.nan), np.full(seconds, np.nan)
    for timed in recording.timeline:
        second = (timed.t_ns - first_ns) // SECOND_NS
        if 0 <= second < seconds and isinstance(timed.message, Gnss):
            fixes[second] = columns(timed.message)
        if 0 <= second < seconds and isinstance(timed.message, Power):
            power_w[second] = timed.message.watts
    sport = Sport[(recording.sport or "other").upper()]
    none = np.full(seconds, np.nan)
    return Watch(sport, fixes, none, power_w, none)


def columns(fix: Gnss) -> list[float]:
    """Return a fix as the models take it, NaN for what it does not tell."""
    course = None if fix.course_deg is None else float(np.radians(fix.course_deg))
    told = (fix.lat, fix.lon, fix.alt_m, fix.speed_mps, course, fix.h_acc_m, fix.v_acc_m, fix.speed_acc_mps)
    return [np.nan if value is None else value for value in told]


def told(watch: Watch, row: int, t_ns: int, second: int) -> dict[str, list[tuple[float, ...]]]:
    """Return the measurements of a second, which ends at t_ns, by kind."""
    fix, pressure_pa, power_w = watch.fixes[second], watch.pressure_pa[second], watch.power_w[second]
    return {
        "gnss": [] if np.isnan(fix[0]) else [(row, t_ns - 6, DEVICE, *fix.tolist())],
        "baro": [] if np.isnan(pressure_pa) else [(row, t_ns - 6, DEVICE, float(pressure_pa))],
        "power": [] if np.isnan(power_w) else [(row, t_ns - 6, DEVICE, float(power_w))],
    }
