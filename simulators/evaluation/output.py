"""A section as Markdown, and on the terminal.

A report holds a section for each part between two comments, so that a part that is evaluated anew replaces
its own section and leaves the others as they are. A part with a page of its own replaces its section there
and leaves all else that is written on it. Nothing in it depends on the machine or on the day.
"""

import re
import textwrap
from collections.abc import Sequence
from typing import Final

from simulators.evaluation.parts import PARTS
from simulators.evaluation.section import REPORT, Section, Table, Target

_HEAD: Final = """\
# Evaluation

What Kinefuse measures, against what recordings say themselves and against plain peers in the same run.
Written by `kinefuse evaluate --report docs` and not by hand; `make eval` prints the same. A target that is
missed is listed as missed, with each recording that misses it. There are no positions on this page, only
names of files; where the data comes from is in the data folder's own `README.md` and `SOURCES.txt`.
Orientation is on [a page of its own](orientation.md).
"""


def pages(sections: Sequence[Section]) -> dict[str, list[Section]]:
    """Return the sections by the page that holds them."""
    found: dict[str, list[Section]] = {}
    for section in sections:
        found.setdefault(section.page, []).append(section)
    return found


def page(name: str, sections: Sequence[Section], before: str = "") -> str:
    """Return a page with these sections in place of theirs on the page ``before``."""
    if name == REPORT:
        return markdown(sections, before)
    text = before or f"# {name.removesuffix('.md').capitalize()}\n"
    for section in sections:
        block = _block(section.name, _body(section))
        old = _body_in(text, section.name)
        text = f"{text}\n{block}" if old is None else text.replace(_block(section.name, old), block)
    return text


def markdown(sections: Sequence[Section], before: str = "") -> str:
    """Return the report with these sections in place of theirs in the report ``before``."""
    bodies = {name: body for name in PARTS if (body := _body_in(before, name)) is not None}
    bodies |= {section.name: _body(section) for section in sections}
    return "\n".join([_HEAD, *(_block(name, bodies[name]) for name in PARTS if name in bodies)])


def _block(name: str, body: str) -> str:
    return f"<!-- {name} -->\n\n{body}\n<!-- end of {name} -->\n"


def _body_in(report: str, name: str) -> str | None:
    """Return the section of a part in a report, None where it has none."""
    found = re.search(
        rf"<!-- {re.escape(name)} -->\n\n(.*?)\n<!-- end of {re.escape(name)} -->\n", report, re.S
    )
    return found[1] if found else None


def _body(section: Section) -> str:
    parts = [f"## {section.title}\n", *(f"{_wrapped(text)}\n" for text in section.conditions)]
    if section.targets:
        parts.append(_targets(section.targets))
    parts += [_table(table) for table in section.tables]
    return "\n".join(parts)


def _wrapped(text: str) -> str:
    """Return a paragraph in lines that can be read in a diff."""
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


def _targets(targets: Sequence[Target]) -> str:
    lines = ["| target | limit | measured | of | |", "| --- | ---: | ---: | ---: | --- |"]
    for target in targets:
        cells = (target.name, limit(target), measured(target), f"{target.count}", verdict(target))
        lines.append(f"| {' | '.join(cells)} |")
    for target in targets:
        if target.missed:
            lines += ["", f"Beyond the limit of {target.name}:", ""]
            lines += [f"- {_cell(missed)}" for missed in target.missed]
    return "\n".join(lines) + "\n"


def limit(target: Target) -> str:
    """Return the bound as text."""
    return f"{target.limit:g} {target.unit}"


def measured(target: Target) -> str:
    """Return what was measured as text."""
    return "-" if target.value is None else f"{target.value:.2f} {target.unit}"


def verdict(target: Target) -> str:
    """Return in a word whether the target is met."""
    if target.value is None:
        return "nothing to measure"
    if target.met:
        return "met"
    return f"missed by {len(target.missed)}" if target.missed else "missed"


def _table(table: Table) -> str:
    shown = [index for index, column in enumerate(table.columns) if not column.volatile]
    heads = [_cell(table.columns[index].name) for index in shown]
    rules = ["---:" if table.columns[index].align == "right" else "---" for index in shown]
    lines = [f"### {table.title}", "", f"| {' | '.join(heads)} |", f"| {' | '.join(rules)} |"]
    lines += [f"| {' | '.join(_cell(row[index]) for index in shown)} |" for row in table.rows]
    if table.note:
        lines += ["", _wrapped(table.note)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Return text that stays in its cell: file names may hold anything."""
    return re.sub(r"[\r\n]+", " ", text).replace("|", r"\|").replace("<", "&lt;")


def show(section: Section) -> None:
    """Print a section on the terminal; where that is none, wide enough that no line is broken."""
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    console.rule(Text(section.title))
    for text in section.conditions:
        console.print(Text(text), style="dim")
    for table in section.tables:
        grid = Grid(title=Text(table.title), title_justify="left")
        for column in table.columns:
            grid.add_column(Text(column.name), justify=column.align, overflow="fold")
        for row in table.rows:
            grid.add_row(*(Text(cell) for cell in row))
        console.print(grid)
        if table.note:
            console.print(Text(table.note), style="dim")
    for target in section.targets:
        style = "green" if target.met else "yellow" if target.value is None else "red"
        line = (
            f"{target.name}: {measured(target)} of {target.count}, limit {limit(target)}: {verdict(target)}"
        )
        console.print(Text(line), style=style)
        for missed in target.missed:
            console.print(Text(f"    {missed}"), style=style)
