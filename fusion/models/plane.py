"""Degrees to metres, in a plane that unrolls along the track.

Steps in latitude and longitude are turned to metres by the WGS 84 radii where they happen, so no projection
stretches a long ride.
"""

import numpy as np

from fusion import timer
from fusion.kalman import Floats
from fusion.measurements import Records
from fusion.table import Fields, Table

SEMI_MAJOR_M = 6_378_137.0  # WGS 84
ECCENTRICITY_SQUARED = 6.694379990141e-3


def metres_per_degree(lat_deg: Floats) -> tuple[Floats, Floats]:
    """Return metres per degree of longitude and of latitude on WGS 84 at a latitude, (n,) each."""
    lat = np.ascontiguousarray(np.radians(lat_deg))
    sine = np.sin(lat)
    w2 = 1.0 - ECCENTRICITY_SQUARED * sine * sine
    w = np.sqrt(w2)
    normal = SEMI_MAJOR_M / w
    meridian = SEMI_MAJOR_M * (1.0 - ECCENTRICITY_SQUARED) / (w2 * w)
    return np.radians(normal * np.cos(lat)), np.radians(meridian)


def unrolled(state: Table, rows: timer.Rows, m: Records) -> Floats:
    """Return the fixes in the plane that unrolls along the track, m, (2, n), and remember them."""
    lat, lon = m["lat_deg"].copy(), m["lon_deg"].copy()
    first = state["pos_fixes"][rows] == 0
    dlat = np.where(first, 0.0, lat - state["pos_lat_deg"][rows])
    dlon = np.where(first, 0.0, lon - state["pos_lon_deg"][rows])
    dlon = dlon - 360.0 * np.round(dlon / 360.0)
    per_lon, per_lat = metres_per_degree(lat - 0.5 * dlat)
    z = np.array([state["pos_e_m"][rows] + dlon * per_lon, state["pos_n_m"][rows] + dlat * per_lat])
    z = np.clip(z, -1e9, 1e9)
    state["pos_lat_deg"][rows], state["pos_lon_deg"][rows] = lat, lon
    state["pos_e_m"][rows], state["pos_n_m"][rows] = z[0], z[1]
    return np.asarray(z)


def within(s: Fields, lat_deg: Floats, lon_deg: Floats) -> Floats:
    """Return places in the plane of the track, m, (2, n), as `unrolled` would."""
    dlat, dlon = lat_deg - s["pos_lat_deg"], lon_deg - s["pos_lon_deg"]
    dlon = dlon - 360.0 * np.round(dlon / 360.0)
    per_lon, per_lat = metres_per_degree(lat_deg - 0.5 * dlat)
    return np.array([s["pos_e_m"] + dlon * per_lon, s["pos_n_m"] + dlat * per_lat])
