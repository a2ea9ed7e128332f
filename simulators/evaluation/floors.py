"""``kinefuse evaluate floors``: which floor a barometer went to, floors climbed, and lifts."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from fusion.models import altitude
from simulators.evaluation import floors_runs
from simulators.evaluation.floors_runs import Floats, Played, Run, Trial
from simulators.evaluation.section import Column, NothingToEvaluateError, Options, Section, Table, Target

SEEDS: Final = range(1_000, 1_050)  # constants were chosen on seeds below 400
STOREYS_M: Final = ((2.8, 3.3), (3.3, 4.5))  # of dwellings; of offices
PICTURE: Final = "floors.svg"
SHOWN: Final = "mudd"  # the building of the recorded trial that is in the picture, or the first there is
NORMAL_90: Final = 1.645

CONDITIONS: Final = (
    "Recorded trials are those of nyc_floor_barometer: an iPhone's barometer at 1 Hz from the street to a "
    "floor, which the file's name tells. *Which floor*: the filter's relative height from the first second "
    "indoors to the end, held to the heights of floors as the *other* trials of the same building tell them "
    "(the median for each floor, evenly spaced between those); the nearest floor is the answer. *User's* is "
    "the mean of 5 s of the same pressures, under the same rule. They are not blind: at first one was wrong "
    "(rock_c_1_10, which ends as its lift stops), since the filter ran on by 3 m where a lift stopped; it "
    "has been given `altitude.LURCH_MPS` for that. All else was chosen on simulated seeds below 400.",
    "A trial is *a lift's* where it rises by more than 1 m/s for 5 s: nobody climbs stairs so fast. Steps "
    "were not recorded. So each trial is played twice: without a step, and, harder, with 1.8 steps/s told at "
    "every second at which the recorded pressure stands, up to the door of the lift and as soon as it stops.",
    "Simulated barometers have noise and drift of simulators/sensors.py (BMP390), 1 Hz, without any help of "
    "an inertial device's vertical motion. *Stairs*: six ways up or down one to six storeys, at 0.2 to 0.4 "
    "m/s, with landings, level ways and halts between. *Lifts*: eight rides of one to ten storeys at up to 1 "
    "to 2.5 m/s, 1 m/s^2, with walks up to them and away. A gait is told by its fourth step, with those "
    "before. Seeds from 1,000 on are shown.",
    "*Threshold* is what a user would write: a floor where the mean of 5 s of pressure stands 3 m above the "
    "lowest of 45 s; *and steps* asks for ten steps in those 45 s.",
    f"![Heights, and floors told: stairs, lifts, and a recorded lift]({PICTURE})",
)


def evaluate(options: Options) -> Section:
    """Evaluate all of it.

    Raises
    ------
    NothingToEvaluateError
        The folder holds no recorded trials.
    """
    trials = floors_runs.trials(options.data)
    if not trials:
        raise NothingToEvaluateError(f"no floor_prediction_test_data under {options.data}")
    runs = [trial.run for trial in trials]
    walked, stood = floors_runs.play(runs), floors_runs.play(runs, steps=False)
    ours = [_net(trial, walked.height_m[i]) for i, trial in enumerate(trials)]
    users = [_net(trial, _users(trial.run)) for trial in trials]
    found = {"ours": which(trials, ours), "user": which(trials, users)}
    stairs = {span: [floors_runs.stairs(seed, span) for seed in SEEDS] for span in STOREYS_M}
    climbed = {span: floors_runs.play(some) for span, some in stairs.items()}
    rides = [floors_runs.lifts(seed) for seed in SEEDS]
    ridden = floors_runs.play(rides)
    tables = (
        _levels(trials, ours, found),
        _climbs(stairs, climbed),
        _lifts(trials, (stood, walked), rides, ridden),
    )
    wrong = tuple(
        f"{trial.run.name}: floor {floor}"
        for trial, floor in zip(trials, found["ours"], strict=True)
        if floor != trial.end
    )
    counted = [int(walked.floors[i] + stood.floors[i]) for i, trial in enumerate(trials) if trial.lift]
    errors = _errors(stairs[STOREYS_M[0]], climbed[STOREYS_M[0]])
    late = 100.0 * float(np.mean(np.abs(errors) > 1))
    targets = (
        Target("recorded trials whose floor is wrong", 0, len(wrong), "trials", len(trials), wrong),
        Target("floors told for recorded lifts", 0, sum(counted), "floors", 2 * len(counted)),
        Target(
            "floors told for simulated lifts",
            0,
            int(ridden.floors.sum()),
            "floors",
            sum(r.lifts for r in rides),
        ),
        Target("stairs of dwellings: days more than one floor off", 10, late, "%", len(errors)),
    )
    dwelling = STOREYS_M[0]
    recorded = next((i for i, trial in enumerate(trials) if trial.building == SHOWN), 0)
    shown = (
        (
            f"stairs, simulated: {stairs[dwelling][0].storeys} storeys",
            stairs[dwelling][0],
            climbed[dwelling],
            0,
        ),
        (f"lifts, simulated: {len(rides[0].rides)} rides", rides[0], ridden, 0),
        (f"recorded: {trials[recorded].run.name}", trials[recorded].run, walked, recorded),
    )
    return Section(
        "floors",
        "Floors",
        CONDITIONS,
        tables,
        targets,
        _figures(trials, ours, found, walked, stood, errors, ridden),
        pictures=partial(_pictures, shown),
    )


def _pictures(shown: Sequence[tuple[str, Run, Played, int]]) -> dict[str, str]:
    from simulators.evaluation.floors_plot import ways  # matplotlib takes a second

    return {PICTURE: ways(shown)}


def _users(run: Run) -> Floats:
    return floors_runs.smoothed(altitude.height_of(run.pressure_pa))


def _net(trial: Trial, height_m: Floats) -> float:
    """Return how much higher a trial ended than it came in, m."""
    told = height_m[trial.entry : len(trial.run.steps)]
    told = told[np.isfinite(told)]
    return float(told[-1] - told[0])


def which(trials: Sequence[Trial], nets: Sequence[float]) -> list[int]:
    """Return the floor of each trial, by the heights that the others of its building tell."""
    found = []
    for i, trial in enumerate(trials):
        by_floor: dict[int, list[float]] = {trial.start: [0.0]}
        for j, other in enumerate(trials):
            if j != i and (other.building, other.start) == (trial.building, trial.start):
                by_floor.setdefault(other.end, []).append(nets[j])
        floors = np.array(sorted(by_floor))
        heights = np.array([np.median(by_floor[floor]) for floor in floors])
        if len(floors) < 2:
            found.append(-1)  # nothing is known of the building
            continue
        every = np.arange(floors[0] - 2, floors[-1] + 3)
        storey = (heights[-1] - heights[0]) / (floors[-1] - floors[0])
        known = np.interp(every, floors, heights)
        known = np.where(every > floors[-1], heights[-1] + storey * (every - floors[-1]), known)
        known = np.where(every < floors[0], heights[0] + storey * (every - floors[0]), known)
        found.append(int(every[np.argmin(np.abs(known - nets[i]))]))
    return found


def _errors(runs: Sequence[Run], played: Played) -> Floats:
    return np.asarray(played.floors - np.array([run.storeys for run in runs]))


def _left(name: str) -> Column:
    return Column(name, "left")


def _levels(trials: Sequence[Trial], nets: Sequence[float], found: dict[str, list[int]]) -> Table:
    columns = (
        _left("building"),
        Column("from"),
        Column("to"),
        Column("trials"),
        Column("a lift's"),
        Column("m a storey"),
        Column("SD"),
        Column("right: ours"),
        Column("user's"),
    )
    rows = []
    for key in sorted({(trial.building, trial.start, trial.end) for trial in trials}):
        at = [i for i, one in enumerate(trials) if (one.building, one.start, one.end) == key]
        storey = np.array([nets[i] for i in at]) / (key[2] - key[1])
        right = [sum(found[who][i] == key[2] for i in at) for who in ("ours", "user")]
        lifts = sum(trials[i].lift for i in at)
        cells = (
            str(key[1]),
            str(key[2]),
            str(len(at)),
            str(lifts),
            f"{storey.mean():.2f}",
            f"{storey.std():.2f}",
        )
        rows.append((key[0], *cells, *map(str, right)))
    note = (
        "The set that is published has 63 trials of five buildings; its copy here holds those of the table. "
        "The way in is part of a storey's height: the first storey of gsb is higher."
    )
    return Table("Which floor: recorded trials", columns, tuple(rows), note)


def _climbs(
    stairs: dict[tuple[float, float], list[Run]], climbed: dict[tuple[float, float], Played]
) -> Table:
    columns = (
        _left("storeys, m"),
        _left("method"),
        Column("storeys climbed"),
        Column("told"),
        Column("mean error a day"),
        Column("SD"),
        Column("exact"),
        Column("within one"),
        Column("in 90 %"),
    )
    rows = []
    for span, runs in stairs.items():
        truth = np.array([run.storeys for run in runs])
        sigma = climbed[span].sigma
        told = {
            "ours": climbed[span].floors,
            "threshold": np.array([floors_runs.threshold(run, steps=False)[-1] for run in runs]),
            "threshold and steps": np.array([floors_runs.threshold(run, steps=True)[-1] for run in runs]),
        }
        for name, floors in told.items():
            error = floors - truth
            # A whole number is within half of what it stands for.
            inside = np.abs(error) <= np.maximum(NORMAL_90 * sigma, 0.5)
            rows.append(
                (
                    f"{span[0]:g} to {span[1]:g}",
                    name,
                    *(f"{n:.0f}" for n in (truth.sum(), floors.sum())),
                    *(f"{value:.2f}" for value in (error.mean(), error.std())),
                    *(f"{100 * np.mean(np.abs(error) <= off):.0f} %" for off in (0, 1)),
                    f"{100 * inside.mean():.0f} %" if name == "ours" else "",
                )
            )
    note = (
        "A floor is 3 m, as watches count them, unless each landing is rested on: so storeys of 4 m are told "
        "as more of them than they are."
    )
    return Table("Floors climbed: 50 simulated days on stairs", columns, tuple(rows), note)


def _lifts(
    trials: Sequence[Trial], recorded: tuple[Played, Played], rides: Sequence[Run], ridden: Played
) -> Table:
    columns = (_left("rides"), Column("up"), Column("ours"), Column("threshold"), Column("and steps"))
    lifts = [i for i, trial in enumerate(trials) if trial.lift]
    runs = [trials[i].run for i in lifts]
    silent = [run._replace(steps=np.zeros_like(run.steps)) for run in runs]
    rows = []
    for name, played, some in (
        ("recorded, no steps told", recorded[0].floors[lifts], silent),
        ("recorded, steps to the door", recorded[1].floors[lifts], runs),
        ("simulated", ridden.floors, rides),
    ):
        peers = [
            sum(int(floors_runs.threshold(run, steps=steps)[-1]) for run in some) for steps in (False, True)
        ]
        rows.append((name, str(sum(run.lifts for run in some)), f"{played.sum():.0f}", *map(str, peers)))
    return Table("Floors told for lifts, which are none", columns, tuple(rows))


def _figures(
    trials: Sequence[Trial],
    nets: Sequence[float],
    found: dict[str, list[int]],
    walked: Played,
    stood: Played,
    errors: Floats,
    ridden: Played,
) -> dict[str, Any]:
    return {
        "trials": [
            {
                "name": trial.run.name,
                "net_m": nets[i],
                "floor": found["ours"][i],
                "user_floor": found["user"][i],
                "lift": trial.lift,
                "floors_with_steps": float(walked.floors[i]),
                "floors_without_steps": float(stood.floors[i]),
            }
            for i, trial in enumerate(trials)
        ],
        "stairs_errors": errors.tolist(),
        "simulated_lift_floors": float(ridden.floors.sum()),
    }
