"""Altitude: a barometer with a slow offset, satellite heights, and vertical motion from the inertial core.

    x = [r m, v m/s, a m/s^2, b m]     height on the barometer's scale, climb rate, accelerometer bias, offset

    window      v += dv - a dt         the core's vertical velocity increment is a known input
    barometer   z = r + noise          height in the standard atmosphere
    satellites  z = r - b + noise      altitude above the sea is r - b

Relative height, which ascent is made of, rests on r; satellites move the offset and hardly r, because their error
is slow and each fix tells little. Without a barometer b is zero and known, and r is the satellites' height.
Recordings give a height without an accuracy: it is nearly always barometric, and taken so.

Pressure to height: U.S. Standard Atmosphere 1976, eq. 33a inverted (below 11 km, lapse 6.5 K/km).
"""

from typing import Any, NamedTuple

import numpy as np

from fusion import timer
from fusion.design import scaled_white_noise
from fusion.history import History
from fusion.kalman import REJECTS_MAX, Floats, Gate, Mask, diagonal, of_rows, predict, product, update
from fusion.measurements import Records, Source
from fusion.rounds import rounds

STATES = 4
STANDARD_PA = 101_325.0
SCALE_M = 44_330.77  # T0 / lapse
EXPONENT = 0.190_263_2  # lapse R / g M

WINDOW_EVENT, BARO_EVENT, GNSS_EVENT = 0, 1, 2
SETTLED_FLAG = 64  # KF_SETTLED of csrc/kinefuse.h: tilt is known well enough

BARO_SIGMA_M = 0.3
RECORDED_SIGMA_M = 1.0  # a height that is told without an accuracy
GNSS_WHITE_SHARE = 0.3  # of the stated vertical accuracy
GNSS_ACCURACY_RANGE_M = (1.0, 1e3)
RECORDED_ERROR_M = 6.0  # slow error of such a height
SLOW_FACTOR = 40.0  # fixes over which the slow error stays the same: each one's weight on b falls so
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
INERTIAL_NS = 1_000_000_000
BARO_NS = 30_000_000_000
LATE_NS = 2_000_000_000
ENTRY_NS = 900_000_000
GAP_S = 60.0
GATE = Gate(inflate=9.0, reject=200.0)

FIELDS: list[tuple[Any, ...]] = [
    ("alt_x", np.float64, (STATES,)),
    ("alt_P", np.float64, (STATES, STATES)),
    ("alt_t_ns", np.int64),
    ("alt_height_ns", np.int64),  # of the newest height that was used
    ("alt_baro_ns", np.int64),
    ("alt_gnss_ns", np.int64),
    ("alt_window_ns", np.int64),
    ("alt_source", np.int32),  # what r rests on: NONE, BARO or GNSS
    ("alt_rejects", np.int32),
    ("alt_nis", np.float64),
    ("alt_slow_m", np.float64),  # slow error of the satellite height
    # Since the smoother's newest entry: transition, noise and known input; and how the next entry joins it.
    ("alt_F", np.float64, (STATES, STATES)),
    ("alt_Q", np.float64, (STATES, STATES)),
    ("alt_u", np.float64, (STATES,)),
    ("alt_entry_ns", np.int64),
    ("alt_break", np.int8),  # BREAK_NONE, BREAK_GAP or BREAK_SCALE
    ("climb_slot", np.int32),
]
BREAK_NONE, BREAK_GAP, BREAK_SCALE = 0, 1, 2

EVENT = np.dtype(
    [
        ("row", np.int32),
        ("t_ns", np.int64),
        ("kind", np.int32),
        ("z", np.float64),  # a height, or a velocity increment
        ("variance", np.float64),
        ("slow_m", np.float64),
        ("span_s", np.float64),
    ]
)


class Step(NamedTuple):
    """One round's heights that were used: rows, times, r and its sigma, and the jump of r's scale."""

    rows: timer.Rows
    t_ns: timer.Times
    height_m: Floats
    sigma_m: Floats
    shift_m: Floats


def height_of(pressure_pa: Floats) -> Floats:
    """Return the height in the standard atmosphere, m, (n,), of a pressure in Pa, more than 0."""
    ratio = np.ascontiguousarray(pressure_pa) / STANDARD_PA
    height: Floats = SCALE_M * (1.0 - np.exp(EXPONENT * np.log(ratio)))
    return height


def events(windows: Records, baro: Records, gnss: Records) -> list[Records]:
    """Return all that bears on altitude in rounds, each row's in the order of time."""
    windows = windows[(windows["flags"] & SETTLED_FLAG) != 0]
    windows = windows[np.isfinite(windows["dv_up_mps"]) & (windows["duration_s"] > 0.0)]
    baro = baro[(baro["pressure_pa"] >= 1_000.0) & (baro["pressure_pa"] <= 200_000.0)]
    gnss = gnss[(gnss["alt_m"] >= HEIGHT_RANGE_M[0]) & (gnss["alt_m"] <= HEIGHT_RANGE_M[1])]
    count = len(windows) + len(baro) + len(gnss)
    if not count:
        return []
    e = np.zeros(count, dtype=EVENT)
    a, b = len(windows), len(windows) + len(baro)
    for name in ("row", "t_ns"):
        e[name][:a], e[name][a:b], e[name][b:] = windows[name], baro[name], gnss[name]
    if a:
        sigma = np.clip(np.nan_to_num(windows["dv_sigma_mps"], nan=0.1), 5e-3, 5.0)
        e["z"][:a], e["variance"][:a] = np.clip(windows["dv_up_mps"], -50.0, 50.0), sigma * sigma
        e["span_s"][:a] = np.clip(windows["duration_s"], 1e-3, 1.0)
    if len(baro):
        e["kind"][a:b], e["z"][a:b], e["variance"][a:b] = (
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


def transition(dt_s: Floats, density: Floats, inertial: Mask, barometric: Mask) -> tuple[Floats, Floats]:
    """Return F and Q, (4, 4, n).

    Parameters
    ----------
    dt_s, density : (n,) float64
        Step, and the density of vertical acceleration, m^2/s^3.
    inertial : (n,) bool
        The step carries a velocity increment, which contains the accelerometer's bias.
    barometric : (n,) bool
        The offset drifts with the weather.
    """
    q00, q01, q11 = scaled_white_noise(dt_s, density)
    n = len(dt_s)
    F, Q = np.zeros((STATES, STATES, n)), np.zeros((STATES, STATES, n))
    for i in range(STATES):
        F[i, i] = 1.0
    F[0, 1] = dt_s
    F[1, 2] = np.where(inertial, -dt_s, 0.0)
    F[0, 2] = 0.5 * dt_s * F[1, 2]
    Q[0, 0], Q[0, 1], Q[1, 0], Q[1, 1] = q00, q01, q01, q11
    Q[2, 2] = np.where(inertial, BIAS_DENSITY * dt_s, 0.0)
    Q[3, 3] = np.where(barometric, OFFSET_DENSITY * dt_s, 0.0)
    return F, Q


def absorb(state: Records, e: Records, history: History) -> tuple[Step, list[int]]:
    """Take one round of events into the table; return the heights that were used, and slots to flush."""
    rows = e["row"].astype(np.intp)
    late = state["alt_t_ns"][rows] - e["t_ns"] > LATE_NS
    state["late"][rows[late]] += 1
    known = (state["alt_source"][rows] != Source.NONE) | (e["kind"] != WINDOW_EVENT)
    e, rows = e[known & ~late], rows[known & ~late]
    before_ns = state["alt_t_ns"][rows]
    t_ns = np.maximum(e["t_ns"], before_ns)
    kind = e["kind"]
    window = kind == WINDOW_EVENT
    old_x = of_rows(state["alt_x"][rows])
    x, P, F, Q, u = _predicted(state, rows, e, (t_ns - before_ns) * 1e-9)
    x, P, taken, anew, shift = _heights(state, rows, e, t_ns, x, P)
    moved = taken | window
    state["alt_x"][rows] = np.where(moved, np.clip(x, -1e6, 1e6), old_x).T
    state["alt_P"][rows[moved]] = P[:, :, moved].T
    state["alt_t_ns"][rows] = np.where(moved, t_ns, before_ns)
    for name, event in (
        ("alt_window_ns", WINDOW_EVENT),
        ("alt_baro_ns", BARO_EVENT),
        ("alt_gnss_ns", GNSS_EVENT),
    ):
        this = moved & (kind == event)
        state[name][rows[this]] = t_ns[this]
    heights = taken & ~window
    state["alt_height_ns"][rows[heights]] = t_ns[heights]
    gnss = heights & (kind == GNSS_EVENT)
    state["alt_slow_m"][rows[gnss]] = e["slow_m"][gnss]
    scaled = anew & (shift != 0.0)
    state["alt_break"][rows[anew]] = BREAK_GAP
    state["alt_break"][rows[scaled]] = BREAK_SCALE
    full = _remember(state, rows[moved], heights[moved], F[:, :, moved], Q[:, :, moved], u[:, moved], history)
    r, sigma = x[0], np.sqrt(np.maximum(P[0, 0], 0.0))
    step = Step(rows[heights], t_ns[heights], r[heights], sigma[heights], shift[heights])
    return step, full


def _predicted(
    state: Records, rows: timer.Rows, e: Records, dt_s: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return x, P, and what led there: F, Q and the known input u, (4, n)."""
    dt_s = np.minimum(dt_s, GAP_S)
    window = e["kind"] == WINDOW_EVENT
    inertial = (e["t_ns"] - state["alt_window_ns"][rows]) < INERTIAL_NS
    free = ACCEL_DENSITY[state["sport"][rows]]
    span = np.where(window, e["span_s"], 1.0)
    density = np.where(window, e["variance"] / span, np.where(inertial, INERTIAL_DENSITY, free))
    # A window after a gap of the inertial stream: what happened in the gap is free.
    density = np.where(window & (dt_s > 2.0 * span), np.maximum(density, free), density)
    barometric = state["alt_source"][rows] == Source.BARO
    F, Q = transition(dt_s, density, window, barometric)
    x, P = predict(of_rows(state["alt_x"][rows]), of_rows(state["alt_P"][rows]), F, Q)
    u = np.zeros_like(x)
    dv = np.where(window, e["z"], 0.0)
    u[0], u[1] = 0.5 * dv * np.minimum(dt_s, span), dv
    return x + u, P, F, Q, u


def _heights(
    state: Records, rows: timer.Rows, e: Records, t_ns: timer.Times, x: Floats, P: Floats
) -> tuple[Floats, Floats, Mask, Mask, Floats]:
    """Update with the heights of a round or start anew; return also which were used, anew, and shifts of r."""
    n = len(rows)
    baro, gnss = e["kind"] == BARO_EVENT, e["kind"] == GNSS_EVENT
    source = state["alt_source"][rows]
    barometric = (source == Source.BARO) & (t_ns - state["alt_baro_ns"][rows] <= BARO_NS)
    slow = e["slow_m"] * e["slow_m"] * SLOW_FACTOR
    R = np.where(gnss & barometric, slow, np.where(e["kind"] == WINDOW_EVENT, 1.0, e["variance"]))
    H = np.zeros((STATES, n))
    H[0], H[3] = 1.0, np.where(gnss, -1.0, 0.0)
    first = gnss & (state["alt_gnss_ns"][rows] == 0)
    R = np.where(first & barometric, e["slow_m"] * e["slow_m"], R)  # the first tells all that is known
    started = (source != Source.NONE) & ~(baro & (source == Source.GNSS))
    silent = (t_ns - state["alt_height_ns"][rows]) * 1e-9 > GAP_S
    residual = e["z"] - (x[0] - np.where(gnss, x[3], 0.0))
    new_x, new_P, nis, taken = update(x, P, residual, H, R, (baro | gnss) & started & ~silent, GATE)
    rejects = np.where(taken, 0, state["alt_rejects"][rows] + (baro | gnss))
    anew = (baro | gnss) & (~started | silent | (rejects >= REJECTS_MAX))
    state["alt_rejects"][rows] = np.where(anew, 0, rejects)
    state["alt_nis"][rows] = np.where(taken, np.minimum(nis, 1e6), state["alt_nis"][rows])
    fresh_x, fresh_P, shift = _fresh(source, e, x, P, state["alt_slow_m"][rows], silent)
    state["alt_source"][rows] = np.where(
        anew & (source != Source.BARO), np.where(baro, Source.BARO, Source.GNSS), source
    )
    x, P = np.where(anew, fresh_x, new_x), np.where(anew, fresh_P, new_P)
    return x, P, taken | anew, anew, np.where(anew, shift, 0.0)


def _fresh(
    source: Records, e: Records, x: Floats, P: Floats, slow_m: Floats, silent: Mask
) -> tuple[Floats, Floats, Floats]:
    """Return the state that one height gives, what is known of the offset kept, and the jump of r's scale.

    A jump without a silence before it is one of the scale (another sensor, a sealed door): altitude stays, the
    offset takes it, and it is no climb. After a silence the athlete may have climbed.
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


def _remember(
    state: Records, rows: timer.Rows, heights: Mask, F: Floats, Q: Floats, u: Floats, history: History
) -> list[int]:
    """Carry the transition since the smoother's newest entry on, and append an entry where a height came."""
    recorded = state["climb_slot"][rows] >= 0
    if not recorded.any():
        return []
    rows, heights, F, Q, u = (
        rows[recorded],
        heights[recorded],
        F[:, :, recorded],
        Q[:, :, recorded],
        u[:, recorded],
    )
    t_ns = state["alt_t_ns"][rows]
    F_sum = product(F, of_rows_matrix(state["alt_F"][rows]))
    Q_sum = product(product(F, of_rows(state["alt_Q"][rows])), F.transpose(1, 0, 2)) + Q
    u_sum = product(F, of_rows(state["alt_u"][rows])[:, None])[:, 0] + u
    due = (t_ns - state["alt_entry_ns"][rows] >= ENTRY_NS) | (state["alt_break"][rows] != BREAK_NONE)
    write = heights & due & timer.counts(state, rows, t_ns)
    identity = np.eye(STATES)[:, :, None]
    state["alt_F"][rows] = np.where(write, identity, F_sum).transpose(2, 0, 1)
    state["alt_Q"][rows] = np.where(write, 0.0, Q_sum).transpose(2, 0, 1)
    state["alt_u"][rows] = np.where(write, 0.0, u_sum).T
    if not write.any():
        return []
    kept = rows[write]
    full = history.append(
        state["climb_slot"][kept].astype(np.intp),
        t_ns[write],
        state["alt_break"][kept],
        of_rows(state["alt_x"][kept]),
        of_rows(state["alt_P"][kept]),
        F_sum[:, :, write],
        Q_sum[:, :, write],
        u_sum[:, write],
    )
    state["alt_entry_ns"][kept] = t_ns[write]
    state["alt_break"][kept] = BREAK_NONE
    return full


def of_rows_matrix(table: Floats) -> Floats:
    """Return (n, k, k) rows of a table as (k, k, n) without the transposition that symmetry allows."""
    return np.ascontiguousarray(table.transpose(1, 2, 0))
