"""What a part of the evaluation hands back: prose, tables, targets and the figures themselves."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

REPORT: Final = "evaluation.md"  # the page of sections that have none of their own

Align = Literal["left", "right"]


class NothingToEvaluateError(Exception):
    """The data folder holds nothing for this part; ``str()`` is one line that says what was looked for."""


@dataclass(frozen=True)
class Options:
    """What a part is told.

    Attributes
    ----------
    data : Path
        The folder of recordings; where it is not there, nobody has named one.
    workers : int
        How many processes may work at once, at least 1.
    """

    data: Path
    workers: int = 2


@dataclass(frozen=True)
class Column:
    """A column of a table; a ``volatile`` one depends on the machine and is left out of reports."""

    name: str
    align: Align = "right"
    volatile: bool = False


@dataclass(frozen=True)
class Table:
    """Cells as text, by rows."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.title


@dataclass(frozen=True)
class Target:
    """A bound and what was measured.

    Attributes
    ----------
    name : str
        What is bounded.
    limit, value : float
        In ``unit``; the target is met where value <= limit. A value of None is nothing measured.
    count : int
        How many recordings or runs the value is of.
    missed : tuple of str
        Each one that lies beyond the limit, and by what; never left out.
    """

    name: str
    limit: float
    value: float | None
    unit: str
    count: int
    missed: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Return whether something was measured and it keeps the limit."""
        return self.value is not None and self.value <= self.limit


@dataclass(frozen=True)
class Section:
    """The result of a part.

    Attributes
    ----------
    name : str
        The part, as in ``parts.PARTS``.
    title : str
        Its heading.
    conditions : tuple of str
        What was compared with what, by which rule: a paragraph each.
    tables, targets
        In the order in which they are shown.
    figures : dict
        The same and more as JSON values, unrounded, for programs.
    page : str
        The report's page that holds it.
    pictures : callable
        Draws what the page shows: SVG by file name; called for reports alone.
    """

    name: str
    title: str
    conditions: tuple[str, ...]
    tables: tuple[Table, ...]
    targets: tuple[Target, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    page: str = REPORT
    pictures: Callable[[], dict[str, str]] = dict
