"""How the place on the body where a sensor sits moves: locked to the gait, in closed form.

Frame a goes with the athlete: x forward, y left, z up. The sensor's place is the athlete's plus an offset
in a; its attitude is q_eb = Rz(yaw) Ry(pitch) Rx(roll) mount, where pitch > 0 is nose down. Sizes are those
of the literature on gait: the trunk rises and falls by 4 to 5 cm walking and 6 to 8 cm running, once a
step; arms and trunk turn once a stride; a walking foot stands for 62 % of a stride, a running one for 36 %
(Novacheck 1998, doi:10.1016/S0966-6362(97)00038-6).
"""

from typing import NamedTuple

import numpy as np

from simulators.jets import Array, Jet, bump, circle, sine, smooth_step
from simulators.truth import GRAVITY_MPS2, Motion

PLACEMENTS = ("wrist", "chest", "foot")

_BOUNCE_M = (0.022, 0.030)  # half of rise and fall: walking, running
_STRIKE_TO_LOW = 0.2  # of a step, from the strike to the lowest point
_ARM_M = (0.65, 0.45)
_ARM_SWING_RAD = (0.42, 0.55)
_STANCE = (0.62, 0.36)


class Pose(NamedTuple):
    """A sensor at n instants: jets of its place in e, m, and of its attitude before the mount, rad."""

    east: Jet
    north: Jet
    up: Jet
    yaw: Jet
    pitch: Jet
    roll: Jet


class _Shift(NamedTuple):
    """Offset of a sensor in a, m, and its attitude beside the athlete's heading, rad."""

    forward: Jet
    left: Jet
    up: Jet
    twist: Jet
    pitch: Jet
    roll: Jet


def pose(motion: Motion, placement: str, t_s: Array) -> Pose:
    """Return the pose of a sensor.

    Parameters
    ----------
    motion : Motion
        The athlete's, at ``t_s``.
    placement : str
        One of PLACEMENTS.
    t_s : (n,) float64
        Seconds since the simulation's start.
    """
    time = Jet(t_s, np.ones_like(t_s), np.zeros_like(t_s))
    shift = {"wrist": _wrist, "chest": _chest, "foot": _foot}[placement](motion, time)
    place = motion.place
    c, s = circle(place.heading)
    return Pose(
        place.east + c * shift.forward - s * shift.left,
        place.north + s * shift.forward + c * shift.left,
        place.up + place.grade * shift.forward + shift.up,
        place.heading + shift.twist,
        shift.pitch,
        shift.roll,
    )


def rates(at: Pose) -> Array:
    """Return the angular rate in the sensor's frame before its mount, rad/s, shape (3, n)."""
    sp, cp, sr, cr = np.sin(at.pitch.x), np.cos(at.pitch.x), np.sin(at.roll.x), np.cos(at.roll.x)
    yaw, pitch, roll = at.yaw.dx, at.pitch.dx, at.roll.dx
    return np.array([roll - yaw * sp, pitch * cr + yaw * cp * sr, yaw * cp * cr - pitch * sr])


def into_body(at: Pose, vectors_e: Array) -> Array:
    """Return vectors given in e, shape (3, n), in the sensor's frame before its mount."""
    x, y, z = vectors_e
    s, c = np.sin(at.yaw.x), np.cos(at.yaw.x)
    x, y = c * x + s * y, c * y - s * x
    s, c = np.sin(at.pitch.x), np.cos(at.pitch.x)
    x, z = c * x - s * z, s * x + c * z
    s, c = np.sin(at.roll.x), np.cos(at.roll.x)
    return np.array([x, c * y + s * z, c * z - s * y])


def specific_force(at: Pose) -> Array:
    """Return acceleration minus gravity in the sensor's frame before its mount, m/s^2, shape (3, n)."""
    return into_body(at, np.array([at.east.ddx, at.north.ddx, at.up.ddx + GRAVITY_MPS2]))


def _mix(motion: Motion, sizes: tuple[float, float]) -> Jet:
    """A size that depends on the gait: walking, running; 0 at rest."""
    return motion.action.walk * sizes[0] + motion.action.run * sizes[1]


def _bounce(motion: Motion) -> tuple[Jet, Jet]:
    """Rise and surge of the trunk, once a step: rounded on top, pointed below."""
    angle = (motion.step_phase - _STRIKE_TO_LOW) * (2 * np.pi)
    size = _mix(motion, _BOUNCE_M)
    c, s = circle(angle)
    return -(size * (c + 0.07 * (2.0 * c * c - 1.0))), 0.3 * (size * s)


def _stride_angle(motion: Motion) -> Jet:
    return motion.step_phase * np.pi


def _vibration(motion: Motion, time: Jet) -> Jet:
    """What the road does to a bike, m."""
    shaking = 6e-5 * sine(time * (2 * np.pi * 9.7)) + 4e-5 * sine(time * (2 * np.pi * 14.3))
    return motion.action.ride * shaking


def _chest(motion: Motion, time: Jet) -> _Shift:
    rise, surge = _bounce(motion)
    c, s = circle(_stride_angle(motion))
    breath = sine(time * (2 * np.pi * 0.25))
    pedal = motion.action.ride * sine(motion.action.turns * (2 * np.pi))
    return _Shift(
        surge + 0.003 * breath,
        _mix(motion, (0.022, 0.012)) * s,
        rise + _vibration(motion, time),
        _mix(motion, (0.06, 0.12)) * s,
        _mix(motion, (0.04, 0.14)) + 0.6 * motion.action.ride + 0.008 * breath,
        _mix(motion, (0.04, 0.06)) * c + 0.025 * pedal,
    )


def _wrist(motion: Motion, time: Jet) -> _Shift:
    rise, surge = _bounce(motion)
    swing = _mix(motion, _ARM_SWING_RAD) * sine(_stride_angle(motion))
    c, s = circle(swing)
    arm = _mix(motion, _ARM_M)
    idle = sine(time * (2 * np.pi * 0.11))
    return _Shift(
        surge - arm * s,
        _mix(motion, (0.01, 0.03)) * s + 0.002 * idle,
        rise - arm * c + 0.7 * _vibration(motion, time),
        _mix(motion, (0.1, 0.35)) * s,
        swing + _mix(motion, (-0.15, -1.1)) - 0.9 * motion.action.ride + 0.03 * idle,
        _mix(motion, (0.2, 0.3)) * s + 0.02 * idle,
    )


def _foot(motion: Motion, time: Jet) -> _Shift:
    action = motion.action
    half = motion.step_phase * 0.5
    stride = Jet(half.x - np.floor(half.x), half.dx, half.ddx)
    still = -(action.walk + action.run) + 1.0
    stance = _mix(motion, _STANCE) + 0.6 * still
    pace = _mix(motion, (1 / (1 - _STANCE[0]), 1 / (1 - _STANCE[1]))) + 2.5 * still
    swing = (stride - stance) * pace
    lift = bump(swing)
    c, s = circle(action.turns * (2 * np.pi))
    zero = Jet(*np.zeros((3, len(time.x))))
    return _Shift(
        action.stride * (smooth_step(swing) - stride + 0.5 * stance) + 0.17 * (action.ride * c),
        zero + 0.1,
        _mix(motion, (0.10, 0.22)) * lift
        - _mix(motion, (0.0015, 0.004)) * bump(stride * 10.0)
        + 0.17 * (action.ride * s)
        + _vibration(motion, time),
        zero,
        _mix(motion, (0.9, 1.5)) * (lift * (1.0 + -1.6 * swing)) + 0.3 * (action.ride * s),
        _mix(motion, (0.08, 0.12)) * lift,
    )
