"""Recorded intervals with artefacts put in, and how they are cleaned."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from fusion.intervals import AHEAD, Cleaner
from simulators.evaluation.heart_runs import Floats, Run, Sensors, by_beats, by_strap, mean_rate, ours, strap
from simulators.evaluation.section import Column, Table

SHARE: Final = 0.02  # of the beats, of each kind
KINDS: Final = ("missed", "extra", "ectopic")
APART: Final = 6  # beats between artefacts
EARLY: Final = (0.2, 0.35)  # of the interval, by which an ectopic beat comes before its time
SETTLED: Final = 20  # beats


class Artefacts(NamedTuple):
    """How one kind of artefact was found over all series."""

    kind: str
    put_in: int
    found: int  # by any name, within two beats
    named: int  # by its own
    false: float  # share of untouched intervals that were changed, %
    raw_bpm: float  # mean error of the rate that a strap tells of them
    cleaned_bpm: float


def artefacts(series: Sequence[tuple[str, Floats]]) -> list[Artefacts]:
    """Put each kind of artefact into each series and clean it."""
    return [_one(kind, series) for kind in KINDS]


def spoilt(rr_s: Floats, kind: str, rng: np.random.Generator) -> tuple[Floats, list[int]]:
    """Return intervals with artefacts of a kind, and at which of the new intervals they are."""
    out: list[float] = []
    places: list[int] = []
    i = last = 0
    while i < len(rr_s):
        free = i > SETTLED and i - last > APART and i + 3 < len(rr_s)
        if not (free and rng.random() < SHARE * (1 + APART * SHARE)):
            out.append(float(rr_s[i]))
            i += 1
            continue
        places.append(len(out))
        last = i
        if kind == "missed":
            out.append(float(rr_s[i] + rr_s[i + 1]))
            i += 2
        elif kind == "extra":
            part = rng.uniform(0.3, 0.7)
            out += [float(rr_s[i] * part), float(rr_s[i] * (1.0 - part))]
            i += 1
        else:
            early = rng.uniform(*EARLY) * rr_s[i]
            out += [float(rr_s[i] - early), float(rr_s[i + 1] + early)]
            i += 2
    return np.array(out), places


def _one(kind: str, series: Sequence[tuple[str, Floats]]) -> Artefacts:
    put_in = found = named = untouched = 0
    changed = 0.0
    runs = []
    for number, (name, rr_s) in enumerate(series):
        bad, places = spoilt(rr_s, kind, np.random.default_rng([number, KINDS.index(kind)]))
        kinds = _kinds(bad)
        near = np.zeros(len(bad), bool)
        for place in places:
            around = kinds[max(place - 1, 0) : place + 3]
            found += any(one != "normal" for one in around)
            named += kind in around
            near[max(place - 2, 0) : place + 4] = True
        put_in += len(places)
        rest = [one for one, spoiled in zip(kinds[SETTLED:], near[SETTLED:], strict=True) if not spoiled]
        before = _kinds(rr_s)  # what the recording itself has is no false alarm
        own = sum(one != "normal" for one in before) / len(before)
        changed += max(sum(one != "normal" for one in rest) - own * len(rest), 0.0)
        untouched += len(rest)
        seconds = int(np.sum(rr_s)) - 10
        truth = mean_rate(rr_s, seconds)
        told, beats = strap(np.cumsum(bad), seconds)
        none = np.full(seconds, np.nan)
        runs.append(Run(name, truth, told, beats, none, none))
    means = [_error(runs, sensor) for sensor in (by_strap, by_beats)]
    return Artefacts(kind, put_in, found, named, 100.0 * changed / untouched, *means)


def _error(runs: Sequence[Run], sensor: Sensors) -> float:
    """Return the mean error of what is told of runs, bpm."""
    value = ours(runs, sensor).value
    errors = [np.abs(value[i, SETTLED : len(run.truth)] - run.truth[SETTLED:]) for i, run in enumerate(runs)]
    return float(np.nanmean(np.concatenate(errors)))


def _kinds(rr_s: Floats) -> list[str]:
    """Return what each interval of a series was taken for."""
    cleaner = Cleaner()
    kinds: list[str] = []
    for count, ms in enumerate((1e3 * rr_s).tolist()):
        told = cleaner.add([ms])
        if count >= AHEAD:
            kinds.append(told[0].kind if told else "normal")
    return [*kinds, *["normal"] * min(AHEAD, len(rr_s))]


def table(found: Sequence[Artefacts]) -> Table:
    """Return the table of what was found."""
    rows = tuple(
        (
            *(one.kind, str(one.put_in), str(one.found), str(one.named), f"{one.false:.2f}"),
            *(f"{one.raw_bpm:.2f}", f"{one.cleaned_bpm:.2f}"),
        )
        for one in found
    )
    names = ("put in", "found", "by its name", "false, %", "raw, bpm", "cleaned, bpm")
    return Table(
        "Artefacts put into recorded beats",
        (Column("artefact", "left"), *(Column(name) for name in names)),
        rows,
        "Errors are those of the rate that we tell, of the strap's own means of five intervals as they came "
        "(*raw*) and of cleaned intervals, against the untouched beats over 10 s.",
    )
