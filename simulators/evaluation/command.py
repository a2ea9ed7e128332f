"""``kinefuse evaluate``: how accurate it is, on recordings and on simulated truth."""

import json
import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from server.errors import ConfigError
from simulators.evaluation.output import page, pages, show
from simulators.evaluation.parts import PARTS, part
from simulators.evaluation.section import NothingToEvaluateError, Options, Section

_CHECKOUT = Path(__file__).resolve().parents[2]
WORKERS_MAX = 64
_WHAT = "By default all there is: " + "; ".join(f"{name} ({told})" for name, (_, told) in PARTS.items()) + "."


def evaluate(
    what: Annotated[list[str] | None, Parameter(negative=(), help=_WHAT)] = None,
    /,
    *,
    data: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
    report: Path | None = None,
    workers: int = 2,
) -> None:
    """Measure accuracy on recordings and on simulated truth, beside peers.

    A part that needs recordings is left out where there are none. A target that is missed is told as missed;
    the exit code is 0 all the same.

    For example:

        kinefuse evaluate
        kinefuse evaluate clock gnss bank
        kinefuse evaluate files --data ~/activities
        kinefuse evaluate files --json | jq '.targets'
        kinefuse evaluate orientation --data ~/broad
        kinefuse evaluate --report docs

    Parameters
    ----------
    what
        Names of PARTS; by default all.
    data
        The folder of recordings, searched at any depth; by default the one that KINEFUSE_DATA names, else
        ../shared/data beside the checkout.
    json_
        Print everything measured as one JSON object instead of tables.
    report
        Write the tables into this folder as evaluation.md, and those of orientation, with plots, into
        orientation.md; sections of what is not evaluated now stay, and so does what surrounds them there.
    workers
        How many processes work at once.
    """
    names = list(dict.fromkeys(what or PARTS))
    for name in names:
        if name not in PARTS:
            raise ConfigError("", f"{name!r} cannot be evaluated; there are: {', '.join(PARTS)}")
    if not 1 <= workers <= WORKERS_MAX:
        raise ConfigError("--workers", f"is {workers}, allowed: 1 to {WORKERS_MAX}")
    if report is not None and report.exists() and not report.is_dir():
        raise ConfigError("--report", f"{report} is not a folder")
    options = Options(data_folder(data, os.environ), workers)
    sections = _sections(names, options)
    if json_:
        print(json.dumps(_plain(as_figures(sections)), allow_nan=False))
    else:
        for section in sections:
            show(section)
    if report is not None:
        _write(report, sections)


def data_folder(given: Path | None, environ: Any) -> Path:
    """Return the folder of recordings, which need not be there where nobody has named one.

    Raises
    ------
    ConfigError
        The one that was named is not there.
    """
    named = "--data" if given else "KINEFUSE_DATA" if environ.get("KINEFUSE_DATA") else ""
    folder = given or Path(environ.get("KINEFUSE_DATA") or _CHECKOUT.parent / "shared" / "data")
    if named and not folder.is_dir():
        raise ConfigError(named, f"no folder of recordings at {folder}")
    return folder


def _sections(names: list[str], options: Options) -> list[Section]:
    """Evaluate the parts; one for which the folder holds nothing is told on stderr.

    Raises
    ------
    ConfigError
        The folder holds nothing for any of them.
    """
    sections = []
    lacks = []
    for name in names:
        try:
            sections.append(part(name)(options))
        except NothingToEvaluateError as nothing:
            lacks.append(f"{name}: {nothing}")
    if not sections:
        advice = "" if options.data.is_dir() else "; name a folder of recordings with --data or KINEFUSE_DATA"
        raise ConfigError("", "; ".join(lacks) + advice)
    for lack in lacks:
        print(f"kinefuse: {lack}", file=sys.stderr)
    return sections


def as_figures(sections: list[Section]) -> dict[str, Any]:
    """Return the JSON object of ``--json``: all targets, then each part's figures under its name."""
    targets = [
        {"part": section.name, **msgspec.to_builtins(target), "met": target.met}
        for section in sections
        for target in section.targets
    ]
    return {"targets": targets, **{section.name: section.figures for section in sections}}


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: what is not finite becomes null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _write(folder: Path, sections: list[Section]) -> None:
    """Write or renew the report's pages, and their pictures.

    Raises
    ------
    ConfigError
        The folder or a file of the report cannot be written.
    """
    for name, held in pages(sections).items():
        path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            path.write_text(page(name, held, before), encoding="utf-8")
            for section in held:
                for picture, svg in section.pictures().items():
                    (folder / picture).write_text(svg, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("--report", f"cannot write {path}: {error}") from None
        print(f"wrote {path}", file=sys.stderr)
