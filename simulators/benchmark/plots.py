"""The pictures of docs/performance.md."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from simulators.benchmark.outcome import Outcome
from simulators.pictures import STYLE, svg

COLOURS: Final = {"server": "#12658f", "peer": "#d2601a"}
NAMES: Final = {"server": "Kinefuse", "peer": "the peer"}
P99_MS_MAX: Final = 50.0
TICKS: Final = (1, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)


def pictures(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return SVG by file name: latency against devices, and cost against devices."""
    with mpl.rc_context(STYLE):
        return {"fleet-latency.svg": _latency(outcomes), "fleet-cost.svg": _cost(outcomes)}


def _latency(outcomes: Sequence[Outcome]) -> str:
    figure = Figure(figsize=(8.5, 3.6), layout="constrained")
    axis: Any = figure.subplots()
    for subject in COLOURS:
        for of, style, name in (
            (lambda each: each.updates.end_to_end.p50_ms, ":", "p50"),
            (lambda each: each.updates.end_to_end.p99_ms, "-", "p99"),
            (lambda each: each.updates.end_to_end.p999_ms, "--", "p99.9"),
        ):
            _line(axis, outcomes, subject, of, style, f"{NAMES[subject]}, {name}")
    axis.axhline(P99_MS_MAX, color="#888888", linewidth=0.8)
    axis.set_yscale("log")
    _plain(axis.yaxis, (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000), axis.get_ylim())
    axis.set_ylabel("end to end, ms")
    _devices(axis, outcomes)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return svg(figure)


def _cost(outcomes: Sequence[Outcome]) -> str:
    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    axes: Any = figure.subplots(1, 2)
    for subject in COLOURS:
        _line(axes[0], outcomes, subject, lambda each: each.us_per_packet, "-", NAMES[subject])
        _line(axes[1], outcomes, subject, lambda each: 100 * each.server.cpu_share, "-", NAMES[subject])
    axes[0].set_yscale("log")
    _plain(axes[0].yaxis, (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000), axes[0].get_ylim())
    axes[0].set_ylabel("server CPU, µs a packet")
    rates = {each.asked.packets_per_s for each in outcomes}
    if len(rates) == 1:
        axes[0].set_title(f"a device and second: {rates.pop()} packets", fontsize=9, loc="left")
    axes[1].set_ylabel("server CPU, % of a core")
    axes[1].set_ylim(bottom=0)
    for axis in axes:
        _devices(axis, outcomes)
        axis.legend(frameon=False, fontsize=8)
    return svg(figure)


def _line(
    axis: Any,
    outcomes: Sequence[Outcome],
    subject: str,
    of: Callable[[Outcome], float | None],
    style: str,
    label: str,
) -> None:
    points = sorted(
        (each.asked.devices, value)
        for each in outcomes
        if each.subject == subject and (value := of(each)) is not None
    )
    if points:
        x, y = zip(*points, strict=True)
        axis.plot(x, y, style, color=COLOURS[subject], marker="o", markersize=3, linewidth=1.2, label=label)


def _devices(axis: Any, outcomes: Sequence[Outcome]) -> None:
    counts = [each.asked.devices for each in outcomes]
    axis.set_xscale("log")
    _plain(axis.xaxis, TICKS, (0.9 * min(counts), 1.1 * max(counts)))
    axis.set_xlabel("devices of 100 Hz")


def _plain(axis: Any, ticks: Sequence[int], limits: tuple[float, float]) -> None:
    """Give a logarithmic axis these ticks, where they are within its limits, as plain numbers."""
    shown = [tick for tick in ticks if limits[0] <= tick <= limits[1]]
    axis.set_ticks(shown, labels=[f"{tick:,}" for tick in shown])
    axis.set_ticks([], minor=True)
