"""``evaluate late``: workouts played in order, and as a phone delivers them that loses its network."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

import msgspec

from server.engine import Engine
from server.envelopes import Incoming
from server.messages import Workout
from simulators.evaluation.files import files_under
from simulators.evaluation.late_links import Message, behind, config, late, mixed, recorded, simulated
from simulators.evaluation.section import Column, Options, Section, Table, Target
from simulators.evaluation.workers import share
from simulators.rehearsal import START_NS

SEEDS: Final = 20
IMU_SEEDS: Final = 10
FILES: Final = 12  # each with one seed: the first ones, by name, that have positions and heart rates
SESSIONS: Final = ("runner", "walker")  # of the demo, with every seed
REWIND_S: Final = 30.0
TICK: Final = 16  # messages
WATCHED: Final = ("distance_m", "moving_s", "ascent_m", "heart_rate_mean_bpm", "energy_kcal", "steps")
BEHIND: Final = ", IMU behind"
PICTURE: Final = "late.svg"
NEEDED: Final = (b"/gnss", b"/hr")

Imu = Literal["", "mixed", "behind"]  # packets overtake each other, too; or some come behind newer ones, only
Totals = dict[str, float | None]


class Task(msgspec.Struct, frozen=True):
    """A recording, or a session of an athlete of the demo where there is no path; and a seed."""

    name: str
    seed: int
    path: Path | None = None
    imu: Imu = ""


class Run(msgspec.Struct, frozen=True):
    """What came of it: totals in order, late, and late without rewinds."""

    name: str
    seed: int
    in_order: Totals
    ours: Totals
    peer: Totals
    equal: bool  # ours to the last digit, laps and sigmas too
    peer_equal: bool
    revisions: int
    gaps: int  # places where the number of a revision is not that of the one before, and one
    refused: dict[str, int]
    peer_refused: dict[str, int]


class _Played(msgspec.Struct):
    summary: Any
    laps: Any
    revisions: list[int]
    refused: dict[str, int]


def evaluate(options: Options) -> Section:
    """Play recordings and simulated sessions in order and late, with and without rewinds."""
    tasks = [Task(name, seed) for name in SESSIONS for seed in range(SEEDS)]
    kinds: tuple[Imu, ...] = ("mixed", "behind")
    tasks += [Task(name, seed, imu=imu) for name in SESSIONS for imu in kinds for seed in range(IMU_SEEDS)]
    paths = [path for path in files_under(options.data) if _has_all(path)][:FILES]
    tasks += [Task(path.relative_to(options.data).as_posix(), seed, path) for seed, path in enumerate(paths)]
    return section(share(run, tasks, workers=options.workers, name=lambda task: f"{task.name}: {task.seed}"))


def run(task: Task) -> Run:
    """Play one workout three times."""
    messages = simulated(task.name) if task.path is None else recorded(task.path)
    demo = "demo" if task.path is None else ""
    delivered = behind(messages, task.seed) if task.imu == "behind" else late(messages, task.seed)
    if task.imu == "mixed":
        delivered = mixed(delivered, task.seed)
    in_order = play(messages, demo, REWIND_S)
    ours, peer = play(delivered, demo, REWIND_S), play(delivered, demo, 0.0)
    numbers = ours.revisions
    return Run(
        name=f"{task.name}, IMU {task.imu}" if task.imu else task.name,
        seed=task.seed,
        in_order=_totals(in_order),
        ours=_totals(ours),
        peer=_totals(peer),
        equal=(ours.summary, ours.laps) == (in_order.summary, in_order.laps),
        peer_equal=(peer.summary, peer.laps) == (in_order.summary, in_order.laps),
        revisions=len(numbers),
        gaps=sum(number != i for i, number in enumerate(numbers, 1)),
        refused=ours.refused,
        peer_refused=peer.refused,
    )


def play(messages: Sequence[Message], demo: str, rewind_s: float) -> _Played:
    """Return what the engine tells at the end of one athlete's workout, and what it refused."""
    known = config(demo)
    server = msgspec.structs.replace(known.server, rewind_s=rewind_s, enroll="auto")
    engine = Engine(msgspec.structs.replace(known, server=server), lambda: 0)
    # A lap that is refused, after all: nothing waits for its place behind it.
    end = next(each for each in reversed(messages) if "/command/" in each.topic)
    last = Message(0.0, end.topic, b'{"action":"lap","id":"last"}')
    played = _Played(None, None, [], {})
    stream = [*messages, last]
    for begin in range(0, len(stream), TICK):
        out = engine.advance(
            [Incoming(each.topic, each.payload, False, START_NS, 0) for each in stream[begin : begin + TICK]],
            START_NS,
        )
        while engine.behind:
            out += engine.advance([], START_NS)
        for each in out:
            if each.topic.endswith("/workout"):
                workout = msgspec.json.decode(each.payload, type=Workout)
                if workout.event == "revised":
                    played.revisions.append(workout.workout.revision)
                if workout.summary is not None:
                    played.summary, played.laps = workout.summary, workout.laps
    played.refused = engine.health.refused()
    return played


def _has_all(path: Path) -> bool:
    """Return whether a recording has positions and heart rates, and at least a minute of them."""
    try:
        topics = b"".join(each.topic.encode() for each in recorded(path))
    except Exception:  # of files that cannot be read `evaluate files` tells
        return False
    return all(topics.count(each) > 60 for each in NEEDED)


def _totals(played: _Played) -> Totals:
    return {name: getattr(played.summary, name, None) for name in WATCHED}


# Tables


def section(runs: Sequence[Run]) -> Section:
    """Return tables, targets and figures of runs."""
    names = [name + suffix for name in SESSIONS for suffix in ("", ", IMU mixed", BEHIND)]
    groups = {
        **{f"simulated: {name}": [each for each in runs if each.name == name] for name in names},
        "recorded": [each for each in runs if each.name not in names],
    }
    exact = [each for each in runs if not each.name.endswith(BEHIND)]
    unequal = tuple(f"{each.name}, seed {each.seed}" for each in exact if not each.equal)
    gaps = sum(each.gaps for each in runs)
    return Section(
        name="late",
        title="Late data: totals in any order",
        conditions=(
            "Each workout is played in order, and as a phone delivers it that loses its network every 20 to "
            "120 s, for 1 to 25 s: what was measured meanwhile comes at once, in half of the cases in any "
            "order. Besides, 2 % of all messages come up to 3 s late and 2 % come twice. Commands (laps, "
            "pauses, the stop) are late like everything else; the start is not. Beats of one device keep "
            "their order, and so do its IMU packets, unless they are *mixed*: then each is besides overtaken "
            "by up to 8 of its own device. Of recordings the first 10 minutes are played, each with its own "
            f"seed; the sessions of the demo, {SEEDS} seeds each, {IMU_SEEDS} where IMU packets do not keep "
            "their order, have motion, beats, satellites, pressure, laps.",
            "Where IMU packets come *behind*, nothing else is late: for 1 to 25 s they are kept back, then "
            "what is new goes first, and 1 to 20 of the old ones follow each new one. They are worked on "
            "from what the device was before the gap. What lies across the ends of the gap is not whole, so "
            "these runs need not be equal; the steps tell how near they come.",
            "*Ours* is the server as it is (`server.rewind_s = 30`), the *peer* the same server without "
            "rewinds (`rewind_s = 0`): it uses what is a little late one step later, and refuses or ignores "
            "the rest. A run is *equal* where every number of the summary, every sigma and every lap is that "
            "of the run in order, to the last digit that is told.",
            f"![Differences from the totals in order]({PICTURE})",
        ),
        tables=(_runs(groups), _errors(groups)),
        targets=(
            Target("runs whose totals differ from those in order", 0, len(unequal), "", len(exact), unequal),
            Target("gaps in the numbers of revisions", 0, gaps, "", len(runs)),
        ),
        figures={"runs": [msgspec.to_builtins(each) for each in runs]},
        pictures=partial(_pictures, runs),
    )


def _pictures(runs: Sequence[Run]) -> dict[str, str]:
    from simulators.evaluation.late_plot import differences  # matplotlib takes a second

    ours: dict[str, list[float]] = {total: [] for total in WATCHED}
    peer: dict[str, list[float]] = {total: [] for total in WATCHED}
    for each in runs:
        for total, truth in each.in_order.items():
            for held, told in ((ours, each.ours), (peer, each.peer)):
                error = _error(truth, told[total])
                if error is not None:
                    held[total].append(error)
    return {PICTURE: differences(ours, peer)}


def _runs(groups: dict[str, list[Run]]) -> Table:
    rows = []
    for name, runs in groups.items():
        if not runs:
            continue
        refused, peer_refused = (
            sum(sum(count for reason, count in found.items() if reason != "duplicate") for found in column)
            for column in ([each.refused for each in runs], [each.peer_refused for each in runs])
        )
        rows.append(
            (
                name,
                str(len(runs)),
                str(sum(each.equal for each in runs)),
                str(sum(each.peer_equal for each in runs)),
                f"{sum(each.revisions for each in runs) / len(runs):.1f}",
                str(refused),
                str(peer_refused),
            )
        )
    names = ("runs", "ours equal", "peer equal", "revisions a run", "ours refused", "peer refused")
    columns = (Column("workouts", "left"), *(Column(name) for name in names))
    return Table("Runs that end as in order", columns, tuple(rows))


def _errors(groups: dict[str, list[Run]]) -> Table:
    """Return by how much totals differ from those in order: median and worst of the runs that have them."""
    rows = []
    for name, runs in groups.items():
        for total in WATCHED:
            ours = [e for each in runs if (e := _error(each.in_order[total], each.ours[total])) is not None]
            peer = [e for each in runs if (e := _error(each.in_order[total], each.peer[total])) is not None]
            if ours and peer:
                told = (f"{median(ours):.2f}", f"{max(ours):.2f}", f"{median(peer):.2f}", f"{max(peer):.2f}")
                rows.append((name, total, str(len(ours)), *told))
    columns = (Column("workouts", "left"), Column("total", "left"), Column("runs"))
    heads = ("ours, median", "ours, worst", "peer, median", "peer, worst")
    note = "A total that is there in order and missing late counts as 100 %."
    return Table(
        "Difference from the totals in order, %",
        (*columns, *(Column(each) for each in heads)),
        tuple(rows),
        note,
    )


def _error(truth: float | None, value: float | None) -> float | None:
    if not truth:
        return None
    return 100.0 if value is None else 100.0 * abs(value - truth) / abs(truth)
