"""``evaluate clock``: device clocks over simulated Bluetooth links, beside Lab Streaming Layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from simulators.ble import BURSTY, RECORDED, Ble, arrivals
from simulators.evaluation import links
from simulators.evaluation.links import Answer, Stream
from simulators.evaluation.section import Column, Options, Section, Table, Target
from simulators.evaluation.workers import share

SEEDS: Final = 50
LINKS: Final[dict[str, Ble]] = {"as recorded": RECORDED, "bursty": BURSTY}
METHODS: Final = {"ours": "Kinefuse", "LSL": "Lab Streaming Layer's smoothing", "raw": "arrivals as they are"}
STEPS_S: Final = (-86_400.0, -5.0, 5.0, 3600.0, -0.2, 0.2)
STEP_LASTS_S: Final = 30.0
HEALED_S: Final = 0.02  # an error below this is healed
WINDOWS_S: Final = ((10.0, 12.0), (10.0, 60.0), (60.0, 300.0))
SD_MS, P99_MS, HEAL_S = 2.0, 5.0, 2.0
COVERED, COVERED_OFF = 90.0, 5.0
SIGMAS_90: Final = 1.6449
RECORDING: Final = "Polar_Sense_HR.txt"
QUANTILES: Final = (5, 25, 50, 75, 90, 95, 99)
PICTURE: Final = "clock.svg"


class Task(msgspec.Struct, frozen=True):
    """A seed on a link."""

    link: str
    seed: int


class Run(msgspec.Struct, frozen=True):
    """What came of it: errors and sigma by packet, and how long each step took to heal."""

    link: str
    seed: int
    true_s: NDArray[Any]
    errors_ms: dict[str, NDArray[Any]]
    sigma_ms: NDArray[Any]
    pinged_ms: NDArray[Any]
    pinged_sigma_ms: NDArray[Any]
    probes_ms: NDArray[Any]
    healed_s: dict[float, float]
    jumps: int


def evaluate(options: Options) -> Section:
    """Run every seed on every link."""
    tasks = [Task(link, seed) for link in LINKS for seed in range(SEEDS)]
    runs = share(run, tasks, workers=options.workers, name=lambda task: f"{task.link}: {task.seed}")
    recordings = sorted(options.data.rglob(RECORDING))
    return section(runs, recorded_delays_ms(recordings[0]) if recordings else None)


def run(task: Task) -> Run:
    """Return all figures of one seed on a link."""
    link = LINKS[task.link]
    stream = links.stream(task.seed, link)
    answers: dict[str, Answer] = {name: method(stream) for name, method in links.METHODS.items()}
    pinged = links.with_pings(stream, link, task.seed)
    told, told_pinged = answers["ours"].sigma_s, pinged.sigma_s
    assert told is not None
    assert told_pinged is not None
    return Run(
        task.link,
        task.seed,
        stream.true_s,
        {name: answer.error_s * 1e3 for name, answer in answers.items()},
        told * 1e3,
        pinged.error_s * 1e3,
        told_pinged * 1e3,
        links.lsl_probes(task.seed, link, 300.0) * 1e3,
        {step_s: _healed_s(task.seed, link, step_s) for step_s in STEPS_S},
        answers["ours"].jumps,
    )


def _healed_s(seed: int, link: Ble, step_s: float) -> float:
    """Return after how many seconds of arrivals a step leaves no more than HEALED_S, for good."""
    stream = links.stream(seed, link, duration_s=links.STEP_AT_S + STEP_LASTS_S, step_s=step_s)
    error_s = np.abs(links.ours(stream).error_s)
    after = np.flatnonzero(stream.true_s >= links.STEP_AT_S)
    wrong = np.flatnonzero(error_s[after] > HEALED_S)
    if not len(wrong):
        return 0.0
    if wrong[-1] + 1 == len(after):
        return float("inf")
    return float(_arrived_s(stream)[after[wrong[-1] + 1]] - _arrived_s(stream)[after[0]])


def _arrived_s(stream: Stream) -> NDArray[Any]:
    arrived_s: NDArray[Any] = (stream.arrived_ns - links.ORIGIN_NS) * 1e-9
    return arrived_s


def recorded_delays_ms(path: Path) -> NDArray[Any]:
    """Return by how much the notifications of a recording, one a second, came after the earliest, ms."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    times = np.array([line.split(";")[0] for line in lines], "datetime64[ms]").astype(np.int64)
    late = times - times[0] - 1000 * np.arange(len(times))
    delays: NDArray[Any] = (late - late.min()).astype(np.float64)
    return delays


def simulated_delays_ms(count: int) -> NDArray[Any]:
    """Return the same of the simulated link, with as many notifications, of SEEDS seeds."""
    found = []
    for seed in range(SEEDS):
        sent_s = np.arange(count, dtype=np.float64)
        late_s = arrivals(sent_s, RECORDED, np.random.default_rng(seed)) - sent_s
        found.append((late_s - late_s.min()) * 1e3)
    return np.concatenate(found)


def section(runs: Sequence[Run], recorded_ms: NDArray[Any] | None) -> Section:
    """Return tables, targets and figures."""
    by_link = {name: [each for each in runs if each.link == name] for name in LINKS}
    tables = [_errors(by_link), _coverage(by_link), _steps(by_link), _pings(by_link)]
    if recorded_ms is not None:
        tables.append(_grounds(recorded_ms))
    return Section(
        name="clock",
        title="Clock: device time to aligned time",
        conditions=_conditions(),
        tables=tuple(tables),
        targets=_targets(by_link),
        figures=_figures(by_link),
        pictures=lambda: _pictures(by_link["bursty"]),
    )


def _conditions() -> tuple[str, ...]:
    return (
        f"{SEEDS} seeds on each link: ten packets a second for 300 s, a clock that is 30 ppm fast or slow "
        "and warms up by 10 K on its wearer, a sensor whose own pace is off by up to 1 %. The links are "
        "Bluetooth connections whose events, 30 ms apart, fail in spells, with a phone behind "
        "(`simulators/ble.py`). *As recorded* is fitted to the arrivals of heart rate notifications at a "
        "phone; *bursty* is the same radio in longer bad spells, so that raw arrivals scatter by 0.12 s.",
        "The error is that of each packet's newest stamp, aligned as the packet arrives, but for the "
        "constant delay of the link (8 ms), which arrivals alone cannot tell. Mean, SD and the 99th "
        "percentile of its size are over all packets of all seeds.",
        "Beside ours: the smoothing that Lab Streaming Layer applies to a stream (liblsl's `proc_dejitter`: "
        "recursive least squares on the sample number, half-time 90 s), written from its description. It "
        "follows the mean of all delays, so its mean is no fault of it; its SD is.",
        f"![Error over time, ours and Lab Streaming Layer]({PICTURE})",
    )


def _window(run: Run, window_s: tuple[float, float]) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = (run.true_s >= window_s[0]) & (run.true_s < window_s[1])
    return chosen


def _pooled(runs: Sequence[Run], method: str, window_s: tuple[float, float]) -> NDArray[Any]:
    return np.concatenate([each.errors_ms[method][_window(each, window_s)] for each in runs])


def _p99(values: NDArray[Any]) -> float:
    return float(np.percentile(np.abs(values), 99))


def covered(runs: Sequence[Run]) -> float:
    """Return how often the error lies in the interval of 90 % that sigma tells, from 10 s on, %."""
    inside = [np.abs(each.errors_ms["ours"]) <= SIGMAS_90 * each.sigma_ms for each in runs]
    return 100 * float(
        np.mean(np.concatenate([i[e.true_s >= 10] for i, e in zip(inside, runs, strict=True)]))
    )


def _targets(by_link: dict[str, list[Run]]) -> tuple[Target, ...]:
    targets = []
    for name, runs in by_link.items():
        early, late = _pooled(runs, "ours", WINDOWS_S[0]), _pooled(runs, "ours", WINDOWS_S[2])
        off = abs(covered(runs) - COVERED)
        steps = [(each.seed, step_s, each.healed_s[step_s]) for each in runs for step_s in STEPS_S]
        jumps = [(seed, step_s, took_s) for seed, step_s, took_s in steps if abs(step_s) >= 1]
        missed = [f"seed {seed}, {step_s:g} s: {t:.1f} s" for seed, step_s, t in jumps if t > HEAL_S]
        took_s = np.array([t for _, _, t in jumps])
        targets += [
            Target(f"{name}: SD after 10 s", SD_MS, float(early.std()), "ms", len(runs)),
            Target(f"{name}: 99th percentile after 60 s", P99_MS, _p99(late), "ms", len(runs)),
            Target(f"{name}: coverage of 90 %, off by", COVERED_OFF, off, "%", len(runs)),
            Target(f"{name}: jumps healed", HEAL_S, float(took_s.max()), "s", len(jumps), tuple(missed)),
        ]
    return tuple(targets)


def _left(name: str) -> Column:
    return Column(name, "left")


def _errors(by_link: dict[str, list[Run]]) -> Table:
    columns = [_left("link"), _left("method")]
    for begin_s, end_s in WINDOWS_S:
        columns += [Column(f"{begin_s:g} to {end_s:g} s: mean"), Column("SD"), Column("99 %")]
    rows = []
    for name, runs in by_link.items():
        for method, what in METHODS.items():
            row = [name, what]
            for window_s in WINDOWS_S:
                errors_ms = _pooled(runs, method, window_s)
                row += [f"{errors_ms.mean():.2f}", f"{errors_ms.std():.2f}", f"{_p99(errors_ms):.2f}"]
            rows.append(tuple(row))
    return Table("Error of aligned time, ms", tuple(columns), tuple(rows))


def _coverage(by_link: dict[str, list[Run]]) -> Table:
    columns = (_left("link"), Column("median sigma, ms"), Column("in 90 %"), Column("false jumps"))
    rows = tuple(
        (
            name,
            f"{np.median(np.concatenate([each.sigma_ms for each in runs])):.2f}",
            f"{covered(runs):.1f} %",
            f"{sum(each.jumps for each in runs)}",
        )
        for name, runs in by_link.items()
    )
    return Table("What sigma tells, from 10 s on", columns, rows)


def _steps(by_link: dict[str, list[Run]]) -> Table:
    columns = (_left("link"), Column("step, s"), Column("median, s"), Column("90 %"), Column("longest"))
    rows = []
    for name, runs in by_link.items():
        for step_s in STEPS_S:
            took_s = np.array([each.healed_s[step_s] for each in runs])
            cells = (np.median(took_s), np.percentile(took_s, 90), took_s.max())
            rows.append((name, f"{step_s:g}", *(f"{cell:.2f}" for cell in cells)))
    note = (
        f"Until the error stays below {HEALED_S * 1e3:g} ms, from the first packet after the step on. "
        "Where the link is in a bad spell, its delay is part of the offset until the spell ends. Steps of "
        "less than 1 s are no jumps: aligned time closes up at 10 % of real time, and stays monotonic."
    )
    return Table("The clock is set: how long it takes to heal", columns, tuple(rows), note)


def _pings(by_link: dict[str, list[Run]]) -> Table:
    columns = (
        _left("link"),
        _left("method"),
        Column("mean, ms"),
        Column("SD"),
        Column("99 %"),
        Column("in 90 %"),
    )
    rows = []
    for name, runs in by_link.items():
        late = [_window(each, WINDOWS_S[2]) for each in runs]
        plain = np.concatenate(
            [
                each.errors_ms["ours"][w] + LINKS[name].floor_s * 1e3
                for each, w in zip(runs, late, strict=True)
            ]
        )
        pinged = np.concatenate([each.pinged_ms[w] for each, w in zip(runs, late, strict=True)])
        sigma = np.concatenate([each.pinged_sigma_ms[w] for each, w in zip(runs, late, strict=True)])
        probes = np.concatenate([each.probes_ms for each in runs])
        inside = f"{100 * np.mean(np.abs(pinged) <= SIGMAS_90 * sigma):.1f} %"
        for what, errors_ms, share_in in (
            ("ours, arrivals alone", plain, ""),
            ("ours, device answers pings", pinged, inside),
            ("Lab Streaming Layer's probes", probes, ""),
        ):
            figures = (errors_ms.mean(), errors_ms.std(), _p99(errors_ms))
            rows.append((name, what, *(f"{figure:.2f}" for figure in figures), share_in))
    note = (
        "Of true time, the constant delay not taken off, from 60 s on. The server sends five pings at first "
        "and one each 10 s; Lab Streaming Layer eight each 2 s, of which the shortest round trip tells the "
        "offset. An answer waits for the next event of the connection, which makes the ways unlike."
    )
    return Table("Pings: the constant delay", columns, tuple(rows), note)


def _grounds(recorded_ms: NDArray[Any]) -> Table:
    simulated_ms = simulated_delays_ms(len(recorded_ms))
    columns = (_left("arrivals"), *(Column(f"{q} %") for q in QUANTILES), Column("mean"), Column("SD"))
    rows = tuple(
        (what, *(f"{value:.0f}" for value in (*np.percentile(x, QUANTILES), x.mean(), x.std())))
        for what, x in (("recorded", recorded_ms), ("simulated", simulated_ms))
    )
    note = (
        f"{len(recorded_ms)} heart rate notifications of a Polar Verity Sense, one a second, as a phone took "
        f"them in ({RECORDING}); ms after the earliest. The phone's times of its other streams are no "
        "arrivals: the app wrote the sensor's own time, moved by a constant."
    )
    return Table("What the simulated link is fitted to", columns, rows, note)


def _figures(by_link: dict[str, list[Run]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, runs in by_link.items():
        figures[name] = {
            "errors_ms": {
                method: {
                    f"{window_s[0]:g}-{window_s[1]:g}": {
                        "mean": float(errors.mean()),
                        "sd": float(errors.std()),
                        "p99": _p99(errors),
                    }
                    for window_s in WINDOWS_S
                    for errors in [_pooled(runs, method, window_s)]
                }
                for method in METHODS
            },
            "covered_percent": covered(runs),
            "healed_s": {f"{step_s:g}": [each.healed_s[step_s] for each in runs] for step_s in STEPS_S},
            "pinged_p99_ms": _p99(
                np.concatenate([each.pinged_ms[_window(each, WINDOWS_S[2])] for each in runs])
            ),
            "false_jumps": sum(each.jumps for each in runs),
        }
    return figures


def _pictures(runs: Sequence[Run]) -> dict[str, str]:
    """Draw what the page shows; matplotlib is imported only now."""
    from simulators.evaluation import clock_plot

    first = runs[0]
    return {PICTURE: clock_plot.over_time(first.true_s, first.errors_ms, first.sigma_ms)}
