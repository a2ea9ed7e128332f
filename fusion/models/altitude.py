"""Altitude: a barometer with a slow offset, satellite heights, and vertical motion from the inertial core.

    x = [r m, v m/s, a m/s^2, b m]     height on the barometer's scale, climb rate, accelerometer bias, offset

    window      v += dv - a dt         the core's vertical velocity increment is a known input
    barometer   z = r + noise          height in the standard atmosphere
    satellites  z = r - b + noise      altitude above the sea is r - b

Relative height, which ascent is made of, rests on r; satellites move the offset and hardly r, because their
error is slow and each fix tells little. Without a barometer b is zero and known, and r is the satellites'
height. Recordings give a height without an accuracy: it is nearly always barometric, and taken so.

Pressure to height: U.S. Standard Atmosphere 1976, eq. 33a inverted (below 11 km, lapse 6.5 K/km).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion import timer
from fusion.design import scaled_white_noise
from fusion.history import History
from fusion.kalman import (
    REJECTS_MAX,
    Floats,
    Gate,
    Mask,
    Row,
    diagonal,
    drive,
    of_rows,
    shear,
    symmetric,
    update,
)
from fusion.measurements import FOOT_RANK, Records, Source
from fusion.rounds import rounds
from fusion.table import Fields, Picked, Table

STATES = 4
STANDARD_PA = 101_325.0
SCALE_M = 44_330.77  # T0 / lapse
EXPONENT = 0.190_263_2  # lapse R / g M

BARO_EVENT, GNSS_EVENT = 0, 1
GAP_FLAG = 1  # KF_GAP of csrc/kinefuse.h
SETTLED_FLAG = 64  # KF_SETTLED: tilt is known well enough

BARO_SIGMA_M = 0.3
RECORDED_SIGMA_M = 1.0  # a height that is told without an accuracy
GNSS_WHITE_SHARE = 0.3  # of the stated vertical accuracy
GNSS_ACCURACY_RANGE_M = (1.0, 1e3)
RECORDED_ERROR_M = 6.0  # slow error of such a height
# Errors of satellite and recorded heights are alike for seconds: at 1 Hz and slower they are noise of one
# density, whose variance falls with the time between two.
SPACED_S = 10.0  # further apart it does not
# The mean of first-order noise of time constant tau over a long time T has 2 tau / T of its variance (Gelb
# 1974, 4.5), so fixes dt apart each tell as much as one of 2 tau / dt times the variance.
SLOW_S = 80.0
# White vertical acceleration, m^2/s^3, by Sport: other, run, walk, hike, ride, swim, ski, row.
ACCEL_DENSITY = np.array([0.05, 0.03, 0.03, 0.03, 0.05, 0.01, 0.3, 0.01])
INERTIAL_DENSITY = 1e-3  # between windows, where the increments tell the rest
RATE_SIGMA_MPS = 1.0
BIAS_SIGMA = 0.03  # m/s^2, once tilt is settled
BIAS_DENSITY = 1e-7  # (m/s^2)^2/s
OFFSET_SIGMA_M = 80.0  # sea-level pressure varies by 10 hPa
NO_OFFSET_M = 1e-3  # without a barometer b is known to be zero; not exactly, for the smoother inverts P
OFFSET_DENSITY = 0.005  # m^2/s: weather, 4 m in an hour

HEIGHT_RANGE_M = (-2_000.0, 100_000.0)
LOST_MAX_S = 0.25  # a body swings: over a longer loss its velocity changes by no more than in half a swing
LOST_MIN_S = 0.045  # between neighbours; less is their samples' spacing, unless the core tells of a gap
STRADDLE_S = 0.3  # a height may fall inside a window, which tells of all of it at its end
BARO_NS = 30_000_000_000
LATE_NS = 2_000_000_000
SPACING_NS = 200_000_000  # heights of one kind that follow faster tell nothing new
GAP_S = 60.0
GATE = Gate(inflate=9.0, reject=200.0)
LURCH_MPS = 1.0  # that the rate may have changed by where pressures beyond the gate lie on one side: a lift

FIELDS: list[tuple[Any, ...]] = [
    ("alt_x", np.float64, (STATES,)),
    ("alt_P", np.float64, (STATES, STATES)),
    ("alt_t_ns", np.int64),  # of the newest height that was used; 0: never
    ("alt_baro_ns", np.int64),
    ("alt_gnss_ns", np.int64),
    ("alt_source", np.int32),  # what r rests on: NONE, BARO or GNSS
    ("alt_rejects", np.int32),
    ("alt_nis", np.float64),
    ("alt_beyond", np.int8),  # on which side of the gate the newest pressure was: 1 above, -1 below, 0 within
    ("alt_slow_m", np.float64),  # slow error of the satellite height
    # Of the velocity increments since the newest height: how long they cover, their sum, the sum of each
    # times its moment since that height, and the sum of their variances.
    ("alt_span_s", np.float64),
    ("alt_dv_mps", np.float64),
    ("alt_moment_m", np.float64),
    ("alt_dv_variance", np.float64),
    ("alt_window_ns", np.int64),  # end of the newest window that told an increment; 0: none
    ("alt_window_rms", np.float64),  # and its free acceleration, m/s^2
    ("alt_break", np.int8),  # how the smoother's next entry follows on: BREAK_NONE, BREAK_GAP or BREAK_SCALE
    ("climb_slot", np.int32),
]
_BARO, _GNSS = int(Source.BARO), int(Source.GNSS)
BREAK_NONE, BREAK_GAP, BREAK_SCALE = 0, 1, 2
AWAITING = ("alt_span_s", "alt_dv_mps", "alt_moment_m", "alt_dv_variance")

HEIGHT = np.dtype(
    [
        ("row", np.int32),
        ("t_ns", np.int64),
        ("kind", np.int32),
        ("z", np.float64),
        ("variance", np.float64),
        ("slow_m", np.float64),
    ]
)


class Step(NamedTuple):
    """One round's heights that were used: r and its sigma, and the jump of r's scale."""

    rows: timer.Rows
    t_ns: timer.Times
    counted: Mask  # it counts for a workout
    height_m: Floats
    sigma_m: Floats
    shift_m: Floats


def height_of(pressure_pa: Floats) -> Floats:
    """Return the height in the standard atmosphere, m, (n,), of a pressure in Pa, more than 0."""
    ratio = np.ascontiguousarray(pressure_pa) / STANDARD_PA
    height: Floats = SCALE_M * (1.0 - np.exp(EXPONENT * np.log(ratio)))
    return height


def heights(baro: Records, gnss: Records) -> list[Records]:
    """Return all heights that are told, as HEIGHT in rounds, each row's in the order of time."""
    baro = baro[(baro["pressure_pa"] >= 1_000.0) & (baro["pressure_pa"] <= 200_000.0)]
    gnss = gnss[(gnss["alt_m"] >= HEIGHT_RANGE_M[0]) & (gnss["alt_m"] <= HEIGHT_RANGE_M[1])]
    e = np.zeros(len(baro) + len(gnss), dtype=HEIGHT)
    b = len(baro)
    for name in ("row", "t_ns"):
        e[name][:b], e[name][b:] = baro[name], gnss[name]
    if b:
        e["kind"][:b], e["z"][:b], e["variance"][:b] = (
            BARO_EVENT,
            height_of(baro["pressure_pa"]),
            BARO_SIGMA_M**2,
        )
    if len(gnss):
        told = gnss["v_acc_m"] > 0.0
        slow = np.where(told, np.clip(gnss["v_acc_m"], *GNSS_ACCURACY_RANGE_M), RECORDED_ERROR_M)
        white = np.where(told, np.maximum(GNSS_WHITE_SHARE * slow, RECORDED_SIGMA_M), RECORDED_SIGMA_M)
        e["kind"][b:], e["z"][b:], e["variance"][b:] = GNSS_EVENT, gnss["alt_m"], white * white
        e["slow_m"][b:] = slow
    return list(rounds(e))


def gather(s: Fields, w: Fields) -> None:
    """Add the velocity increment of a window to what awaits the next height.

    Those of a foot are left out: its impacts are beyond what an accelerometer integrates (3 to 29 m/s in five
    minutes of running).
    """
    use = ((w["flags"] & SETTLED_FLAG) != 0) & np.isfinite(w["dv_up_mps"])
    use = use & (w["rank"] != FOOT_RANK) & (w["duration_s"] > 0.0)
    span = np.minimum(w["duration_s"], 1.0)
    dv = np.clip(w["dv_up_mps"], -50.0, 50.0)
    sigma = w["dv_sigma_mps"]
    sigma = np.clip(np.where(np.isfinite(sigma), sigma, 0.1), 5e-3, 5.0)
    moment_s = np.clip((w["t_ns"] - s["alt_t_ns"]) * 1e-9 - 0.5 * span, 0.0, GAP_S)
    unknown = _lost(s, w, span, use)
    added = (span, dv, dv * moment_s, sigma * sigma + unknown * unknown)
    for name, value in zip(AWAITING, added, strict=True):
        s[name] = s[name] + np.where(use, value, 0.0)


def _lost(s: Fields, w: Fields, span_s: Floats, use: Mask) -> Floats:
    """Return one sigma of the velocity change that went with lost samples before each window, m/s, (n,)."""
    t_ns, rms, before_ns = w["t_ns"], w["accel_rms"], s["alt_window_ns"]
    rms = np.where(np.isfinite(rms), np.clip(rms, 0.0, 200.0), 0.0)
    lost_s = (t_ns - before_ns) * 1e-9 - span_s
    gap = (w["flags"] & GAP_FLAG) != 0
    lost_s = np.where((before_ns != 0) & (gap | (lost_s > LOST_MIN_S)), np.clip(lost_s, 0.0, LOST_MAX_S), 0.0)
    unknown: Floats = np.maximum(rms, s["alt_window_rms"]) * lost_s
    s["alt_window_ns"] = np.where(use, np.maximum(before_ns, t_ns), before_ns)
    s["alt_window_rms"] = np.where(use, rms, s["alt_window_rms"])
    return unknown


def predict(x: Floats, P: Floats, way: Floats) -> tuple[Floats, Floats]:
    """Return x (4, n) and P (4, 4, n) at the end of a way; x and P are used up.

    Parameters
    ----------
    way : (6, n) float64
        Step s, density of vertical acceleration m^2/s^3, what velocity increments cover of the step s, the
        height m and the rate m/s that they add, and the variance by which the offset drifts m^2.
    """
    dt_s, density, span_s, rise_m, dv_mps, drift = way
    shear(x, P, slice(0, 1), slice(1, 2), dt_s)
    shear(x, P, slice(0, 1), slice(2, 3), -0.5 * dt_s * span_s)
    shear(x, P, slice(1, 2), slice(2, 3), -span_s)
    x[0] += rise_m
    x[1] += dv_mps
    drive(P, 0, 1, scaled_white_noise(dt_s, density))
    P[2, 2] += BIAS_DENSITY * span_s
    P[3, 3] += drift
    return x, symmetric(P)


def transition(way: list[Floats]) -> tuple[Floats, Floats, Floats]:
    """Return the F and Q of `predict`, (m, 4, 4), and the known input, (m, 4), for the smoother."""
    dt_s, density, span_s, rise_m, dv_mps, drift = way
    q00, q01, q11 = scaled_white_noise(dt_s, density)
    m = len(dt_s)
    F, Q, u = np.zeros((m, STATES, STATES)), np.zeros((m, STATES, STATES)), np.zeros((m, STATES))
    F[:] = np.eye(STATES)
    F[:, 0, 1], F[:, 0, 2], F[:, 1, 2] = dt_s, -0.5 * dt_s * span_s, -span_s
    Q[:, 0, 0], Q[:, 0, 1], Q[:, 1, 0], Q[:, 1, 1] = q00, q01, q01, q11
    Q[:, 2, 2], Q[:, 3, 3] = BIAS_DENSITY * span_s, drift
    u[:, 0], u[:, 1] = rise_m, dv_mps
    return F, Q, u


def absorb(state: Table, e: Records, history: History) -> tuple[Step, list[int]]:
    """Take one round of heights into the table; return those that were used, and slots to flush."""
    rows = e["row"].astype(np.intp)
    baro = e["kind"] == BARO_EVENT
    same_ns = np.where(baro, state["alt_baro_ns"][rows], state["alt_gnss_ns"][rows])
    late = state["alt_t_ns"][rows] - e["t_ns"] > LATE_NS
    state["late"][rows[late]] += 1
    use = ~late & (np.abs(e["t_ns"] - same_ns) >= SPACING_NS)
    if not use.all():
        e, rows = e[use], rows[use]
    before_ns = state["alt_t_ns"][rows]
    t_ns = np.maximum(e["t_ns"], before_ns)
    way = _way(state, rows, (t_ns - before_ns) * 1e-9)
    old_x, old_P = of_rows(state["alt_x"][rows]), of_rows(state["alt_P"][rows])
    x, P = predict(old_x.copy(), old_P.copy(), way)
    lurch = _lurch(state, rows, e, x, P, way[0])
    if lurch.any():
        drive(P, 0, 1, scaled_white_noise(way[0], lurch))
        way[1] += lurch  # the smoother's too
    x, P, taken, anew, shift = _heights(state, rows, e, t_ns, x, P)
    x = np.minimum(np.maximum(x, -1e6), 1e6)
    state["alt_x"][rows] = np.where(taken, x, old_x).T
    state["alt_P"][rows] = np.where(taken, P, old_P).T
    if anew.any():
        state["alt_break"][rows[anew]] = np.maximum(BREAK_GAP, state["alt_break"][rows[anew]])
        state["alt_break"][rows[anew & (shift != 0.0)]] = BREAK_SCALE
    if not taken.all():
        e, rows, t_ns, x, P, way, shift = (
            e[taken],
            rows[taken],
            t_ns[taken],
            x[:, taken],
            P[:, :, taken],
            way[:, taken],
            shift[taken],
        )
    state["alt_t_ns"][rows] = t_ns
    for name in AWAITING:
        state[name][rows] = 0.0
    baro = e["kind"] == BARO_EVENT
    state["alt_baro_ns"][rows[baro]] = t_ns[baro]
    state["alt_gnss_ns"][rows[~baro]] = t_ns[~baro]
    state["alt_slow_m"][rows[~baro]] = e["slow_m"][~baro]
    counted = timer.counts(Picked(state, rows), t_ns)
    full: list[int] = []
    if counted.any():
        kept = rows[counted]
        entries = (t_ns[counted], state["alt_break"][kept], x[:, counted], P[:, :, counted], way[:, counted])
        full = history.append(state["climb_slot"], kept, *entries)
        state["alt_break"][kept] = BREAK_NONE
    return Step(rows, t_ns, counted, x[0], np.sqrt(np.maximum(P[0, 0], 0.0)), shift), full


def source(state: Fields) -> NDArray[np.int32]:
    """Return what heights rest on now, (n,): satellites, once the barometer has been silent for long."""
    gone = state["alt_t_ns"] - state["alt_baro_ns"] > BARO_NS
    now: NDArray[np.int32] = np.where((state["alt_source"] == _BARO) & gone, _GNSS, state["alt_source"])
    return now


def _way(state: Table, rows: timer.Rows, dt_s: Floats) -> Floats:
    """Return the way from the newest height to one dt_s later, as `predict` takes it."""
    dt_s = np.minimum(dt_s, GAP_S)
    span = np.minimum(state["alt_span_s"][rows], dt_s + STRADDLE_S)
    dv = state["alt_dv_mps"][rows]
    bare = np.maximum(dt_s - span - np.where(span > 0.0, STRADDLE_S, 0.0), 0.0)
    variance = state["alt_dv_variance"][rows] + ACCEL_DENSITY[state["sport"][rows]] * bare
    density = INERTIAL_DENSITY + variance / np.maximum(dt_s, 1e-3)
    barometric = state["alt_source"][rows] == Source.BARO
    drift = np.where(barometric, OFFSET_DENSITY * dt_s, 0.0)
    rise = np.where(dt_s > 0.0, dv * dt_s - state["alt_moment_m"][rows], 0.0)
    return np.array([dt_s, density, span, rise, dv, drift])


def _heights(
    state: Table, rows: timer.Rows, e: Records, t_ns: timer.Times, x: Floats, P: Floats
) -> tuple[Floats, Floats, Mask, Mask, Floats]:
    """Update with a round of heights or start anew; also return which were used, anew, and shifts of r."""
    gnss = e["kind"] == GNSS_EVENT
    baro = ~gnss
    source = state["alt_source"][rows]
    on_baro = source == Source.BARO
    barometric = on_baro & (t_ns - state["alt_baro_ns"][rows] <= BARO_NS)
    # A satellite height beside a barometer: the first tells all that is known, each further one little.
    since_s = (t_ns - state["alt_gnss_ns"][rows]) * 1e-9
    first = state["alt_gnss_ns"][rows] == 0
    beside = (
        e["slow_m"] * e["slow_m"] * np.where(first, 1.0, np.maximum(SLOW_S / np.maximum(since_s, 0.1), 1.0))
    )
    alone = e["variance"] / np.where(gnss, np.clip(since_s, 1.0, SPACED_S), 1.0)
    R = np.where(gnss & barometric, beside, alone)
    started = (source != Source.NONE) & ~(baro & ~on_baro)
    silent = (t_ns - state["alt_t_ns"][rows]) * 1e-9 > GAP_S
    H: Row = ((0, None), (3, np.where(gnss, -1.0, 0.0)))
    residual = e["z"] - (x[0] - np.where(gnss, x[3], 0.0))
    new_x, new_P, nis, taken = update(x, P, residual, H, R, started & ~silent, GATE)
    rejects = np.where(taken, 0, state["alt_rejects"][rows] + 1)
    anew = ~started | silent | (rejects >= REJECTS_MAX)
    state["alt_rejects"][rows] = np.where(anew, 0, rejects)
    # Innovations of satellites beside a barometer are one slow error, told again and again: no test of r.
    judged = taken & ~(gnss & barometric)
    state["alt_nis"][rows] = np.where(judged, np.minimum(nis, 1e6), state["alt_nis"][rows])
    if not anew.any():
        return new_x, new_P, taken, anew, np.zeros(len(rows))
    fresh_x, fresh_P, shift = _fresh(source, e, x, P, state["alt_slow_m"][rows], silent)
    told = np.where(baro, Source.BARO, Source.GNSS)
    state["alt_source"][rows] = np.where(anew & ~on_baro, told, source)
    x, P = np.where(anew, fresh_x, new_x), np.where(anew, fresh_P, new_P)
    return x, P, taken | anew, anew, np.where(anew, shift, 0.0)


def _lurch(state: Table, rows: timer.Rows, e: Records, x: Floats, P: Floats, dt_s: Floats) -> Floats:
    """Return what to add to the density of acceleration of the way to each height, (n,), m^2/s^3.

    One pressure beyond the gate is taken for noise and counts less. A second one on the same side tells of
    a lift that starts or stops: if that counted less as well, the height would go on at the old rate.
    """
    use = (e["kind"] == BARO_EVENT) & (state["alt_source"][rows] == Source.BARO)
    residual = e["z"] - x[0]
    nis = residual * residual / (P[0, 0] + e["variance"])
    beyond = (nis > GATE.inflate) & (nis <= GATE.reject)
    side = np.where(beyond, np.sign(residual), 0.0).astype(np.int8)
    again = use & beyond & (state["alt_beyond"][rows] == side)
    state["alt_beyond"][rows] = np.where(use, side, state["alt_beyond"][rows])
    return np.where(again, LURCH_MPS**2 / np.maximum(dt_s, 0.1), 0.0)


def _fresh(
    source: Records, e: Records, x: Floats, P: Floats, slow_m: Floats, silent: Mask
) -> tuple[Floats, Floats, Floats]:
    """Return the state that one height gives, what is known of the offset kept, and the jump of r's scale.

    A jump without a silence before it is one of the scale (another sensor, a sealed door): altitude stays,
    the offset takes it, and it is no climb. After a silence the athlete may have climbed.
    """
    n = len(e)
    baro = e["kind"] == BARO_EVENT
    unknown, was_baro = source == Source.NONE, source == Source.BARO
    # r of the fresh state: the height itself, on the barometer's scale where there is one.
    r = np.where(~baro & was_baro, e["z"] + x[3], e["z"])
    keeps_altitude = ~unknown & ~(silent & was_baro) & (baro | ~was_baro)
    shift = np.where(keeps_altitude & ~(silent & ~baro), r - x[0], 0.0)
    b = np.where(unknown, 0.0, np.where(baro & keeps_altitude, x[3] + shift, x[3]))
    known = np.where(was_baro, P[3, 3], P[0, 0] + slow_m * slow_m)
    P_b = np.where(unknown, OFFSET_SIGMA_M**2, known)
    P_b = np.where(baro | was_baro, P_b, NO_OFFSET_M**2)
    fresh = np.zeros((STATES, n))
    fresh[0], fresh[3] = r, b
    return fresh, diagonal(e["variance"], RATE_SIGMA_MPS**2, BIAS_SIGMA**2, P_b, n=n), shift
