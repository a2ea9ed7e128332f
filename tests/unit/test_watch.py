"""The table of ``kinefuse watch`` at the widths of real terminals."""

import io

import pytest
from rich.console import Console

from server.messages import Live, Metric, Reason, WorkoutState
from server.watch import table

VALUES = {
    "heart_rate": (143.4, 0.9),
    "cadence": (171.6, 2.1),
    "speed": (3.306, 0.121),
    "distance": (12_345.6, 21.4),
    "altitude": (-3.25, 1.55),
    "ascent": (210.0, 4.0),
    "steps": (9876.0, 31.0),
    "energy": (512.3, 40.2),
}
HEADINGS = {
    40: ("heart", "speed", "distance"),
    80: ("workout", "heart", "cadence", "speed", "distance"),
    132: ("workout", "heart", "cadence", "speed", "distance", "altitude", "ascent", "steps", "energy"),
}


def live(athlete: str, **nulls: Reason) -> Live:
    """Return an athlete's live message with all metrics but those that are null for a reason."""
    metrics = {name: Metric(value, sigma, 0.3, "gnss", 0.9) for name, (value, sigma) in VALUES.items()} | {
        name: Metric(None, reason=reason) for name, reason in nulls.items()
    }
    return Live(0, athlete, None, WorkoutState("w", "running", "run", 3725.4, 3700.0, 0), metrics)


def shown(athletes: list[Live], width: int) -> list[str]:
    """Return the lines that a terminal of so many columns shows."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(table({each.athlete: each for each in athletes}, width))
    return [line.rstrip() for line in capture.get().splitlines()]


def row(lines: list[str], athlete: str) -> list[str]:
    """Return the cells of an athlete."""
    (line,) = [line for line in lines if line.startswith(f"│{athlete}")]
    return [cell.strip() for cell in line.strip("│").split("│")]


@pytest.mark.parametrize("width", [40, 80, 132])
def test_no_line_is_wider_than_the_terminal_and_each_athlete_has_one(width: int) -> None:
    names = [f"runner-{number}" for number in range(12)]
    lines = shown([live(name) for name in reversed(names)], width)
    assert max(map(len, lines)) <= width
    assert [line[1:].split()[0] for line in lines if line.startswith("│")] == sorted(names)


@pytest.mark.parametrize("width", [40, 80, 132])
def test_a_wider_terminal_shows_more(width: int) -> None:
    heading = " ".join(shown([live("ada")], width)[:4])
    told = [word for word in ("athlete", *HEADINGS[132]) if word in heading]
    assert told == ["athlete", *HEADINGS[width]]


@pytest.mark.parametrize(
    ("width", "cells"),
    [
        (40, "ada|143|3.31|12,346"),
        (80, "ada|run 62:05|143|172|3.31|12,346"),
        (132, "ada|run 62:05|143 ±1|172 ±2|3.31 ±0.12|12,346 ±21|-3.2 ±1.6|210 ±4|9,876 ±31|512 ±40"),
    ],
)
def test_a_row_tells_the_values_and_where_there_is_room_how_sure_they_are(width: int, cells: str) -> None:
    assert "|".join(row(shown([live("ada")], width), "ada")) == cells


@pytest.mark.parametrize(("width", "told"), [(40, "-"), (80, "-"), (132, "not enough data")])
def test_what_is_null_is_a_dash_and_where_there_is_room_its_reason(width: int, told: str) -> None:
    cells = row(shown([live("ada", speed="not_enough_data", energy="no_source")], width), "ada")
    assert cells[HEADINGS[width].index("speed") + 1] == told
    assert not any("None" in cell or "nan" in cell for cell in cells)


def test_a_workout_that_does_not_run_says_so_and_one_that_never_was_is_a_dash() -> None:
    paused, never = live("ada"), live("bob")
    assert paused.workout
    paused.workout.state = "paused"
    never.workout = None
    lines = shown([paused, never], 80)
    assert row(lines, "ada")[1] == "run 62:05 paused"
    assert row(lines, "bob")[1] == "-"


def test_metrics_that_a_newer_server_does_not_send_or_sends_besides_harm_nothing() -> None:
    one = live("ada")
    del one.metrics["speed"]
    one.metrics["grade"] = Metric(0.1, 0.01, 0.1, "baro", 1.0)
    assert row(shown([one], 132), "ada")[HEADINGS[132].index("speed") + 1] == ""


@pytest.mark.parametrize("width", [40, 80, 132])
def test_the_longest_id_does_not_widen_the_table(width: int) -> None:
    lines = shown([live("x" * 64)], width)
    assert max(map(len, lines)) <= width


def test_a_wide_terminal_shows_the_numbers_beside_the_longest_id() -> None:
    assert "3.31 ±0.12" in " ".join(shown([live("x" * 64)], 200))


@pytest.mark.parametrize("width", [0, 1, 10, 20, 1000])
def test_terminals_of_odd_widths_are_no_error(width: int) -> None:
    assert shown([live("ada")], max(1, width))
