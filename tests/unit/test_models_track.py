"""Tracks whose length is known: lines and circles, still and fast, anywhere and in any direction."""

import numpy as np
import pytest

from fusion import design
from fusion.athletes import Athletes
from fusion.kalman import REJECTS_MAX, Floats, Row, diagonal, update
from fusion.measurements import Estimates, Measurements, Sport
from fusion.models import plane, position
from fusion.summary import WorkoutSummary
from tests.support.athlete_table import START_NS, athlete, fix, second, step

ROWS = 20


class Track:
    """Fixes of n athletes at once: east and north of a place, m, (m, n), and Doppler speed."""

    def __init__(self, t_s: Floats, east_m: Floats, north_m: Floats, speed_mps: Floats | None = None) -> None:
        self.t_s = t_s
        self.east_m, self.north_m = np.broadcast_arrays(east_m, north_m)
        self.speed_mps = np.full_like(self.east_m, np.nan) if speed_mps is None else speed_mps
        self.lat_deg, self.lon_deg = 46.0, 8.0
        self.accuracy_m, self.course_rad = 5.0, np.nan

    def run(self, sport: Sport) -> tuple[Estimates, list[WorkoutSummary]]:
        """Return what is live at the end, and the summaries."""
        table, n = Athletes(), self.east_m.shape[1]
        for _ in range(n):
            table.begin(table.add(), START_NS, sport)
        for i, t in enumerate(self.t_s):
            now_ns = START_NS + round(t * 1e9)
            _, per_lat = plane.metres_per_degree(np.array([self.lat_deg]))
            lat = self.lat_deg + self.north_m[i] / per_lat[0]
            per_lon, _ = plane.metres_per_degree(0.5 * (lat + self.lat_deg))
            lon = (self.lon_deg + self.east_m[i] / per_lon + 180.0) % 360.0 - 180.0
            speed, course, accuracy = self.speed_mps[i], self.course_rad, self.accuracy_m
            fixes = [
                (row, now_ns, 0, lat[row], lon[row], np.nan, speed[row], course, accuracy, np.nan, np.nan)
                for row in range(n)
            ]
            live = table.step(np.arange(n), np.full(n, now_ns), Measurements.of(gnss=fixes))
        end_ns = START_NS + round(self.t_s[-1] * 1e9)
        return live, [table.end(row, end_ns) for row in range(n)]


def lengths(summaries: list[WorkoutSummary]) -> tuple[Floats, Floats]:
    """Return distances and their sigmas, m, (n,)."""
    values = [(one.values["distance_m"], one.sigma["distance_m"]) for one in summaries]
    return np.array([value for value, _ in values], dtype=float), np.array([sigma for _, sigma in values])


def circle(t_s: Floats, radius_m: float, speed_mps: float) -> Track:
    angle = speed_mps * t_s[:, None] / radius_m
    return Track(t_s, radius_m * np.sin(angle), radius_m * np.cos(angle), np.full_like(angle, speed_mps))


@pytest.mark.parametrize(("sport", "speed_mps"), [(Sport.WALK, 1.4), (Sport.RUN, 3.0), (Sport.RIDE, 8.0)])
def test_a_line_with_noise_is_as_long_as_it_is_within_three_sigma_every_time(
    sport: Sport, speed_mps: float
) -> None:
    """Twenty athletes, each with their own noise of fixes and of Doppler speed."""
    rng = np.random.default_rng(6)
    t = np.arange(0.0, 401.0)
    east = speed_mps * t[:, None] + 0.5 * rng.normal(size=(len(t), ROWS))
    north = 0.5 * rng.normal(size=(len(t), ROWS))
    live, summaries = Track(t, east, north, speed_mps + 0.2 * rng.normal(size=east.shape)).run(sport)
    found, sigma = lengths(summaries)
    assert (np.abs(found - 400.0 * speed_mps) < 3.0 * sigma).all()
    assert (np.abs(live["distance"].value - 400.0 * speed_mps) < 3.0 * live["distance"].sigma).all()
    off = (live["speed"].value - speed_mps) / live["speed"].sigma
    assert (np.abs(off) < 4.0).all()
    assert np.mean(off * off) < 2.0
    # Noise added up hop by hop is much longer: the filter leaves out most of that.
    hops = np.hypot(np.diff(east, axis=0), np.diff(north, axis=0)).sum(axis=0)
    assert found.mean() - 400.0 * speed_mps < 0.5 * (hops.mean() - 400.0 * speed_mps)


@pytest.mark.parametrize("course_told", [False, True])
def test_fixes_that_scatter_by_metres_do_not_lengthen_a_way_that_doppler_speed_tells(
    course_told: bool,
) -> None:
    rng = np.random.default_rng(9)
    t = np.arange(0.0, 401.0)
    slow = np.cumsum(rng.normal(size=(2, len(t), ROWS)), axis=1)  # 1 m a second, as between houses
    east, north = 2.5 * t[:, None] + slow[0], slow[1]
    white = 1.5 * rng.normal(size=(2, len(t), ROWS))
    track = Track(t, east + white[0], north + white[1], 2.5 + 0.2 * rng.normal(size=east.shape))
    track.course_rad = np.pi / 2 if course_told else np.nan
    track.accuracy_m = 10.0
    live, summaries = track.run(Sport.RUN)
    assert np.abs(lengths(summaries)[0] / 1_000.0 - 1.0).mean() < 0.02
    assert np.abs(live["distance"].value / 1_000.0 - 1.0).mean() < 0.02


@pytest.mark.parametrize("every_s", [1.0, 3.0])
@pytest.mark.parametrize(("sport", "speed_mps"), [(Sport.RUN, 3.0), (Sport.RIDE, 7.0)])
def test_a_circle_is_as_long_as_its_arc(every_s: float, sport: Sport, speed_mps: float) -> None:
    t = np.arange(0.0, 301.0, every_s)
    _, summaries = circle(t, 60.0, speed_mps).run(sport)
    found, sigma = lengths(summaries)
    assert found[0] == pytest.approx(300.0 * speed_mps, rel=0.02)
    assert abs(found[0] - 300.0 * speed_mps) < 3.0 * sigma[0]


def test_a_track_is_as_long_in_any_direction() -> None:
    rng = np.random.default_rng(8)
    t = np.arange(0.0, 201.0)
    along = 3.0 * t + 0.3 * rng.normal(size=len(t))
    across = 20.0 * np.sin(t / 20.0) + 0.3 * rng.normal(size=len(t))
    angle = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    east = np.outer(along, np.cos(angle)) - np.outer(across, np.sin(angle))
    north = np.outer(along, np.sin(angle)) + np.outer(across, np.cos(angle))
    live, summaries = Track(t, east, north).run(Sport.RUN)
    found, _ = lengths(summaries)
    np.testing.assert_allclose(found, found[0], rtol=2e-3)
    np.testing.assert_allclose(live["distance"].value, live["distance"].value[0], rtol=2e-3)


@pytest.mark.parametrize(("lat_deg", "lon_deg"), [(0.0, 0.0), (-46.0, 179.999), (46.0, -180.0), (80.0, 0.0)])
def test_a_track_is_as_long_anywhere(lat_deg: float, lon_deg: float) -> None:
    t = np.arange(0.0, 121.0)
    track = circle(t, 80.0, 4.0)
    track.lat_deg, track.lon_deg = lat_deg, lon_deg
    (summary,) = track.run(Sport.RUN)[1]
    assert summary.values["distance_m"] == pytest.approx(480.0, rel=0.02)


@pytest.mark.parametrize("sport", [Sport.RUN, Sport.WALK])
def test_standing_still_by_a_watch_adds_little_of_what_noise_hops(sport: Sport) -> None:
    rng = np.random.default_rng(12)
    table = athlete(sport)
    hops, before = 0.0, 0.0
    for t in range(1, 301):
        east = rng.normal()
        hops, before = hops + abs(east - before), east
        still = second(t, accel_rms=0.02, gyro_rms=0.01)
        live = step(table, t, gnss=[fix(t, east)], windows=still)
    assert live["distance"].value[0] < 0.1 * hops
    found = table.end(0, START_NS + 300 * 10**9).values["distance_m"]
    assert found is not None
    assert found < 0.1 * hops
    assert live["moving"].value[0] < 60.0


def test_a_journey_between_two_fixes_is_a_jump_and_adds_nothing() -> None:
    """Five fixes that agree on a place far off are believed; no athlete went there."""
    table = athlete()
    for t in range(1, 301):
        far = 50_000.0 if t > 150 else 0.0
        live = step(table, t, gnss=[fix(t, 3.0 * t + far, speed_mps=3.0)])
        refused = 150 < t < 150 + REJECTS_MAX
        assert (table.state["pos_x"][0, 0] < 1_000.0) == (t <= 150 or refused)
    assert live["distance"].value[0] == pytest.approx(900.0, abs=30.0)
    found = table.end(0, START_NS + 300 * 10**9).values["distance_m"]
    assert found == pytest.approx(900.0, abs=30.0)


def test_a_late_fix_is_counted_and_moves_nothing() -> None:
    table = athlete()
    for t in range(1, 21):
        step(table, t, gnss=[fix(t, 3.0 * t)])
    before = table.state["pos_x"][0].copy()
    step(table, 21.0, gnss=[fix(17.5, 52.5)])
    assert table.state["late"][0] == 1
    np.testing.assert_array_equal(table.state["pos_x"][0], before)


def test_pace_is_the_inverse_of_speed_with_its_sigma() -> None:
    table = athlete()
    for t in range(1, 61):
        live = step(table, t, gnss=[fix(t, 3.0 * t, speed_mps=3.0)])
    speed, pace = live["speed"], live["pace"]
    assert pace.value[0] == pytest.approx(1000.0 / speed.value[0])
    assert pace.value[0] == pytest.approx(1000.0 / 3.0, rel=0.02)
    # To first order: d(1000 / v) = 1000 / v^2 dv.
    assert pace.sigma[0] == pytest.approx(1000.0 / speed.value[0] ** 2 * speed.sigma[0])
    assert (pace.source[0], pace.t_ns[0]) == (speed.source[0], speed.t_ns[0])


def test_errors_of_a_body_that_obeys_the_model_are_as_large_as_it_says() -> None:
    rng = np.random.default_rng(3)
    n = 400
    sigma = (3.0, 3.0, 2.0, 2.0, position.SCALE_SIGMA)
    truth = np.array(sigma)[:, None] * rng.normal(size=(5, n))
    x, P = np.zeros((5, n)), diagonal(*(s * s for s in sigma), n=n)
    use, R, density = np.ones(n, dtype=bool), np.full(n, 0.25), np.full(n, 0.5)
    for _ in range(25):
        dt = rng.uniform(0.3, 2.0, n)
        F, Q, _ = position.transition([dt, density, dt])
        truth = np.einsum("nij,jn->in", F, truth)
        truth += np.einsum("nij,jn->in", np.linalg.cholesky(Q), rng.normal(size=(5, n)))
        x, P = position.predict(x, P, dt, density)
        rows: tuple[Row, ...] = (position.EAST, position.NORTH)
        for state, H in enumerate(rows):
            z = truth[state] + rng.normal(0.0, 0.5, n)
            x, P, _, _ = update(x, P, z - x[state], H, R, use)
    nees = design.nees(truth.T, x.T, P.transpose(2, 0, 1)).mean() / 5.0
    low, high = design.nis_bounds(5 * n, 0.999)
    assert low < nees < high


@pytest.mark.parametrize("speed_mps", [-1.0, -np.inf, np.inf])
def test_a_speed_that_is_none_is_not_told(speed_mps: float) -> None:
    """A phone that has no Doppler speed tells -1: that is no standing."""
    told, untold = athlete(), athlete()
    for t in range(1, 121):
        one = fix(t, 3.0 * t)
        live = step(told, t, gnss=[(*one[:4], speed_mps, *one[5:])])
        same = step(untold, t, gnss=[one])
    assert live["speed"].value[0] == same["speed"].value[0] == pytest.approx(3.0, abs=0.1)
    assert live["distance"].value[0] == same["distance"].value[0] == pytest.approx(357.0, abs=5.0)
