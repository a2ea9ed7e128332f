"""``kinefuse evaluate gnss``: distance and ascent while GNSS is lost, at stops, in a city, over hills."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from simulators.evaluation import gnss_runs, workers
from simulators.evaluation.gnss_runs import GAP_S, GAPS_AT_S, KINDS, Bools, Floats, Kind, Outcome, Run
from simulators.evaluation.section import Column, Options, Section, Table, Target

SEEDS: Final = range(2_000, 2_050)
NORMAL_90: Final = 1.645
SHARE_PERCENT: Final = 3.0
STOP_M: Final = 0.5  # of the mean stop; the issue says none, and gives no number
CLIMB_MIN_M: Final = 20.0  # less is no ascent to be a share of
SETTLED_S: Final = 30

PICTURE: Final = "gnss.svg"

CONDITIONS: Final = (
    "Simulated athletes run and walk for ten minutes round a hilly loop, fifty seeds of each kind. Position "
    "errors are those of simulators/sensors.py: Gauss-Markov of 40 s and 1.8 m on each axis beside 0.4 m of "
    "white noise, Doppler speed white with 0.12 m/s on each axis (form and time constant as in Kaplan and "
    "Hegarty, Understanding GPS, ch. 8); in the city four times, and three times, that, which is our own "
    "assumption and no published spectrum. Each run has a barometer in drifting weather. The receiver states "
    "its accuracy honestly, which real ones do not always. Nothing in the models was chosen by these runs.",
    "*Steps*: a device on the body tells steps, rests and vertical velocity, without an error of its own. "
    "Step length differs between athletes of one height and pace by 8 % (one sigma). *Alone*: there is no "
    "such device. *filterpy* is a filter of constant velocity on each axis, told position and velocity of "
    "each fix with the accuracy that the receiver states, and one of height by the barometer; not tuned.",
    "All figures are live ones, at the end of a second, before the track is smoothed at the end of a "
    "workout. *In the gaps*: of the distance from the last fix before to five seconds after the first one "
    "behind, all gaps. *Stop*: how far the distance rises per stop, from five seconds after the athlete "
    "stands. *In 90 %*: the share of runs whose total at the end is within 1.645 sigma of the truth; of "
    "speed, the share of seconds. Ascent is compared where the truth climbs 20 m and more.",
    f"![Error of each seed's distance, ours and filterpy's]({PICTURE})",
)


class Result(NamedTuple):
    """How one kind of run was told; errors are sizes in percent, means over runs."""

    name: str
    device: str
    runs: int
    distance: float
    distance_worst: float
    distance_filterpy: float
    gap: float  # NaN where nothing is lost
    gap_filterpy: float
    stop_m: float  # NaN where nobody stops
    stop_filterpy_m: float
    ascent: float  # NaN where nobody climbs
    ascent_filterpy: float
    climbs: int  # runs that climb
    distance_inside: float  # shares
    ascent_inside: float
    speed_inside: float
    errors: list[float]  # of each run's distance, signed
    errors_filterpy: list[float]


def evaluate(options: Options) -> Section:
    """Evaluate all kinds."""
    found = workers.share(_kind, KINDS, workers=options.workers, name=lambda kind: kind.name)
    results = [one for pair in found for one in pair]
    return Section(
        "gnss",
        "GNSS: lost, standing, between houses, over hills",
        CONDITIONS,
        (_errors(results), _coverage(results)),
        _targets(results),
        {"results": [one._asdict() for one in results]},
        pictures=lambda: {PICTURE: _picture(results)},
    )


def _picture(results: Sequence[Result]) -> str:
    from simulators.evaluation import gnss_plot  # matplotlib, for reports alone

    shown: dict[str, dict[str, list[float]]] = {}
    for one in results:
        series = shown.setdefault(one.name, {})
        series["ours, with steps" if one.device == "steps" else "ours, alone"] = one.errors
        series["filterpy"] = one.errors_filterpy
    return gnss_plot.over_seeds(shown)


def _kind(kind: Kind) -> list[Result]:
    runs = [gnss_runs.simulated(kind, seed) for seed in SEEDS]
    peers = [gnss_runs.constant_velocity(run) for run in runs]
    return [
        score(
            kind.name, device, runs, gnss_runs.ours(runs, inertial=device == "steps"), peers, gaps=kind.gaps
        )
        for device in ("steps", "alone")
    ]


def score(
    name: str,
    device: str,
    runs: Sequence[Run],
    told: Outcome,
    peers: Sequence[tuple[Floats, Floats]],
    *,
    gaps: bool,
) -> Result:
    """Compare what is told of n runs, and what the peer tells, with the truth."""
    truth = np.array([run.truth.distance_m for run in runs])
    peer = np.array([one for one, _ in peers])
    up = np.array([climbed(run.truth.altitude_m) for run in runs])
    climbs = up >= CLIMB_MIN_M
    peer_up = np.array([one[-1] for _, one in peers])
    standing = np.array([run.standing for run in runs])
    errors = _percent(told.distance_m[:, -1], truth[:, -1])
    speed = np.abs(told.speed_mps - np.array([run.truth.speed_mps for run in runs]))[:, SETTLED_S:]
    known = ~np.isnan(speed)
    return Result(
        name,
        device,
        len(runs),
        float(errors.mean()),
        float(errors.max()),
        float(_percent(peer[:, -1], truth[:, -1]).mean()),
        _in_gaps(told.distance_m, truth) if gaps else np.nan,
        _in_gaps(peer, truth) if gaps else np.nan,
        drift(told.distance_m, standing),
        drift(peer, standing),
        _mean(_percent(told.ascent_m[climbs, -1], up[climbs])),
        _mean(_percent(peer_up[climbs], up[climbs])),
        int(climbs.sum()),
        _inside(told.distance_m[:, -1] - truth[:, -1], told.distance_sigma_m[:, -1]),
        _inside((told.ascent_m[:, -1] - up)[climbs], told.ascent_sigma_m[climbs, -1]),
        _inside(speed[known], told.speed_sigma_mps[:, SETTLED_S:][known]),
        _signed_percent(told.distance_m[:, -1], truth[:, -1]).tolist(),
        _signed_percent(peer[:, -1], truth[:, -1]).tolist(),
    )


def climbed(altitude_m: Floats) -> float:
    """Return the sum of all that a true altitude rises, m."""
    return float(np.maximum(np.diff(altitude_m), 0.0).sum())


def drift(distance_m: Floats, standing: Bools) -> float:
    """Return by how much a distance rises per stop, m, over runs and seconds (n, k); NaN without stops."""
    both = standing[:, 1:] & standing[:, :-1]
    begins = standing[:, 1:] & ~standing[:, :-1]
    return float(np.diff(distance_m, axis=1)[both].sum() / begins.sum()) if begins.any() else float("nan")


def _in_gaps(distance_m: Floats, truth_m: Floats) -> float:
    """Return the mean error over all gaps, %, each from its last fix to five seconds after its next one."""
    errors = []
    for at in GAPS_AT_S:
        before, after = at - 1, min(at + GAP_S + 5, truth_m.shape[1] - 1)
        ways = [each[:, after] - each[:, before] for each in (distance_m, truth_m)]
        errors.append(_percent(*ways))
    return float(np.mean(errors))


def _percent(value: Floats, truth: Floats) -> Floats:
    return np.abs(_signed_percent(value, truth))


def _signed_percent(value: Floats, truth: Floats) -> Floats:
    return 100.0 * (value / truth - 1.0)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _inside(errors: Floats, sigma: Floats) -> float:
    return _mean((np.abs(errors) <= NORMAL_90 * sigma).astype(np.float64))


def _cell(value: float, decimals: int = 2) -> str:
    return "-" if np.isnan(value) else f"{value:.{decimals}f}"


_LEFT: Final = (Column("kind", "left"), Column("device", "left"))


def _errors(results: Sequence[Result]) -> Table:
    names = ("distance, %", "worst", "filterpy", "in the gaps, %", "filterpy", "stop, m", "filterpy")
    columns = (*_LEFT, *map(Column, (*names, "ascent, %", "filterpy", "climbs")))
    rows = tuple((*one[:2], *(_cell(value) for value in one[3:12]), str(one.climbs)) for one in results)
    return Table("Errors, 50 seeds of each kind", columns, rows)


def _coverage(results: Sequence[Result]) -> Table:
    columns = (*_LEFT, Column("distance in 90 %"), Column("ascent in 90 %"), Column("speed in 90 %"))
    rows = tuple((*one[:2], *(_cell(100.0 * share, 0) for share in one[13:16])) for one in results)
    return Table("Coverage of the published sigma, %", columns, rows)


def _targets(results: Sequence[Result]) -> tuple[Target, ...]:
    """Return the issue's bounds; steps are worn where they are, alone is a row of the table."""
    worn = [one for one in results if one.device == "steps"]
    make = partial(_worst, worn)
    return (
        make("distance, mean error, worst kind", "distance", SHARE_PERCENT, "%"),
        make("distance while GNSS is lost for 60 s, mean error", "gap", SHARE_PERCENT, "%"),
        make("ascent, mean error, worst kind", "ascent", SHARE_PERCENT, "%"),
        make("rise of distance per stop", "stop_m", STOP_M, "m"),
    )


def _worst(results: Sequence[Result], name: str, key: str, limit: float, unit: str) -> Target:
    values: dict[str, Any] = {one.name: getattr(one, key) for one in results}
    told = {kind: value for kind, value in values.items() if not np.isnan(value)}
    missed = tuple(f"{kind}: {value:.2f} {unit}" for kind, value in told.items() if value > limit)
    return Target(name, limit, max(told.values(), default=None), unit, len(told) * len(SEEDS), missed)
