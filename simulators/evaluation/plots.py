"""The pictures of docs/orientation.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fusion.orientation import track
from simulators.evaluation import peers
from simulators.evaluation.attitude import Errors, angles
from simulators.evaluation.trials import CASES, Trial, load
from simulators.pictures import STYLE, svg

Floats = NDArray[np.float64]
Found = dict[str, tuple[Errors, Errors]]

CLEAN: Final = "08_undisturbed_fast_rotation_with_breaks_A"
MAGNET: Final = "29_disturbed_stationary_magnet_B"
COLOURS: Final = {"ours": "#12658f", "VQF": "#d2601a", "VQF, scaled": "#e9b48a"}


def pictures(means: Mapping[str, Found], paths: Sequence[Path], *, with_vqf: bool) -> dict[str, str]:
    """Return SVG by file name.

    Parameters
    ----------
    means : mapping
        Of each case, each filter's mean errors with the magnetometer and without.
    paths : sequence of Path
        The trials; one of each kind that is shown over time.
    with_vqf : bool
        Whether VQF is there to be shown beside ours.
    """
    by_name = {path.stem: path for path in paths}
    clean, magnet = (load(by_name.get(name, paths[0])) for name in (CLEAN, MAGNET))
    with mpl.rc_context(STYLE):
        return {
            "orientation-trial.svg": _over_time(clean, magnet, with_vqf=with_vqf),
            "orientation-cases.svg": _cases(means),
        }


def _over_time(clean: Trial, magnet: Trial, *, with_vqf: bool) -> str:
    figure = Figure(figsize=(8.5, 6.6), layout="constrained")
    axes: Any = figure.subplots(3, 1)
    for name in ("ours", "VQF") if with_vqf else ("ours",):
        for axis, trial, which in ((axes[0], clean, 0), (axes[1], clean, 2), (axes[2], magnet, 1)):
            answer = peers.vqf(trial).q9 if name == "VQF" else _ours(trial)
            t_s, error_deg = _by_second(trial, angles(np.asarray(answer, np.float64), trial.q_eb)[which])
            axis.plot(t_s, error_deg, color=COLOURS[name], linewidth=1, label=name)
    for axis, trial, what in (
        (axes[0], clean, "total"),
        (axes[1], clean, "inclination"),
        (axes[2], magnet, "heading"),
    ):
        _shade(axis, trial)
        axis.set_ylabel(f"{what}, deg")
        axis.set_title(f"{trial.name}: error of {what}, rms of each second", fontsize=9, loc="left")
        axis.set_ylim(bottom=0)
        axis.margins(x=0)
    axes[0].legend(frameon=False, ncols=2, loc="upper right")
    axes[2].set_xlabel("time, s (shaded: at rest, not counted)")
    return svg(figure)


def _ours(trial: Trial) -> Floats:
    q9 = track(trial.t_s, trial.gyro_b, trial.accel_b, trial.mag_b, means=True).q9
    assert q9 is not None
    return np.asarray(q9, np.float64)


def _by_second(trial: Trial, error: Floats) -> tuple[Floats, Floats]:
    """Return the middle of each second, and the error's rms in it, deg; NaN where there is no reference."""
    second = np.floor(trial.t_s).astype(int)
    known = np.isfinite(error)
    counts = np.bincount(second, known)
    sums = np.bincount(second, np.where(known, error, 0.0) ** 2)
    rms = np.full(len(sums), np.nan)
    rms[counts > 0] = np.sqrt(sums[counts > 0] / counts[counts > 0])
    middle = np.arange(len(sums), dtype=np.float64) + 0.5
    return middle, np.degrees(rms)


def _shade(axis: Any, trial: Trial) -> None:
    """Shade where the sensor rests."""
    edges = np.flatnonzero(np.diff(trial.moving.astype(int), prepend=1, append=1))
    ends = np.append(trial.t_s, trial.t_s[-1])
    for begin, end in edges.reshape(-1, 2):
        axis.axvspan(ends[begin], ends[end], color="#888888", alpha=0.12, linewidth=0)


def _cases(means: Mapping[str, Found]) -> str:
    figure = Figure(figsize=(8.5, 3.2), layout="constrained")
    axes: Any = figure.subplots(1, 2)
    names = [name for name in COLOURS if name in means["full"]]
    places = np.arange(len(CASES))
    width = 0.8 / len(names)
    for axis, which, title in (
        (axes[0], 0, "9D total, deg (log)"),
        (axes[1], 1, "6D inclination, deg (log)"),
    ):
        for k, name in enumerate(names):
            values = [_shown(means[case][name], which) for case in CASES]
            bars = axis.bar(places + k * width, values, width, color=COLOURS[name], label=name)
            axis.bar_label(bars, fmt="%.2g", fontsize=6, padding=1)
        axis.set_yscale("log")
        axis.set_ylim(0.5, 30)
        axis.set_yticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
        axis.minorticks_off()
        axis.set_xticks(places + width * (len(names) - 1) / 2, list(CASES))
        axis.grid(visible=False, axis="x")
        axis.set_title(title, fontsize=9, loc="left")
    axes[0].legend(frameon=False, loc="upper left", fontsize=8)
    return svg(figure)


def _shown(pair: tuple[Errors, Errors], which: int) -> float:
    return pair[1].inclination_deg if which else pair[0].total_deg
