"""The table of ``kinefuse watch`` at the widths of real terminals, and what it says of what is gone."""

import io
from collections.abc import Mapping

import msgspec
import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.config import Athlete, Config
from server.envelopes import Incoming
from server.messages import Live, Metric, Reason, ServerStatus, WorkoutState
from server.watch import COLUMNS, GONE_S, STALE_S, Board, table

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"

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


def printed(what: Table | Text, width: int) -> list[str]:
    """Return the lines that a terminal of so many columns shows."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(what)
    return [line.rstrip() for line in capture.get().splitlines()]


def shown(athletes: list[Live], width: int, names: Mapping[str, str] | None = None) -> list[str]:
    return printed(table({each.athlete: each for each in athletes}, width, names=names or {}), width)


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


def test_an_id_takes_a_third_of_the_terminal_at_most() -> None:
    assert row(shown([live("x" * 64)], 60), "x")[0] == "x" * 19 + "…"
    assert row(shown([live("x" * 64)], 180), "x")[0] == "x" * 59 + "…"
    assert row(shown([live("x" * 64)], 200), "x")[0] == "x" * 64


@pytest.mark.parametrize("width", [40, 49, 50, 60, 70, 80, 85, 100, 115, 120, 130, 132, 160])
@pytest.mark.parametrize("is_old", [False, True])
def test_neither_an_id_nor_an_age_nor_words_take_a_digit_from_a_number(width: int, is_old: bool) -> None:
    worst = live(UUID)
    assert worst.workout
    worst.workout.state = "paused"
    words: Reason = "not_enough_data"
    wordy = live("bob", cadence=words, altitude=words, ascent=words, steps=words, energy=words)
    athletes = {each.athlete: each for each in (worst, wordy)}
    lines = printed(table(athletes, width, ages_s={UUID: 59.9} if is_old else {}), width)
    assert max(map(len, lines)) <= width
    (cells,) = [line.strip("│").split("│") for line in lines if line.startswith("│0f8")]
    told = [cell.strip() for cell in cells]
    wanted = [f"{VALUES[name][0]:,.{decimals}f}" for name, _, _, decimals, least in COLUMNS if width >= least]
    assert [cell.split(" ±")[0] for cell in told[-len(wanted) :]] == wanted
    assert width < 70 or "run 62:05 paused" in told
    assert ("60" in told) is is_old
    assert "…" not in "".join(told[1:])


def test_how_sure_the_numbers_are_is_left_out_where_it_leaves_no_room_for_names() -> None:
    line = next(line for line in shown([live("ada")], 100) if line.startswith("│ada"))
    assert "±" in line
    long = live("bob-of-the-hills")
    assert long.workout
    long.workout.state, long.workout.elapsed_s = "paused", 6000.0
    long.metrics["distance"] = Metric(1_234_567.8, 1_234.5, 0.3, "gnss", 0.9)
    line = next(line for line in shown([long], 100) if line.startswith("│bob-of-the-hi"))
    assert "±" not in line
    assert "1,234,568" in line


def test_an_athlete_is_called_by_name_where_there_is_one_whatever_is_in_it() -> None:
    lines = shown([live("a"), live("b"), live("c")], 80, {"b": "Anna [red] 山田", "c": "x" * 256})
    names = [line[1:].split("│")[0].strip() for line in lines if line.startswith("│")]
    assert names == ["Anna [red] 山田", "a", "x" * 25 + "…"]


class Watching:
    """A board at 80 columns, with a clock."""

    def __init__(self, *athletes: Athlete) -> None:
        self.now_s = 1000.0
        self.no_link = ""
        self._board = Board(Config(athletes=list(athletes)))

    def hear(self, message: Live | ServerStatus | bytes, topic: str = "") -> None:
        data = message if isinstance(message, bytes) else msgspec.json.encode(message)
        if not topic:
            topic = f"athletes/{message.athlete}/live" if isinstance(message, Live) else "server/status"
        self._board.hear(Incoming(f"kinefuse/v1/{topic}", data, False, 0, 0), self.now_s)

    @property
    def lines(self) -> list[str]:
        return printed(self._board.draw(self.now_s, 80, self.no_link), 80)

    @property
    def dimmed(self) -> list[bool]:
        drawn = self._board.draw(self.now_s, 80, self.no_link)
        assert isinstance(drawn, Table)
        return [each.style == "dim" for each in drawn.rows]


OFFLINE, ONLINE = ServerStatus(0, "offline"), ServerStatus(0, "online")


def test_an_athlete_of_whom_nothing_came_for_a_while_is_dimmed_with_the_age() -> None:
    watching = Watching()
    watching.hear(live("ada"))
    watching.now_s += STALE_S
    watching.hear(live("bob"))
    assert watching.dimmed == [False, False]
    assert "age" not in " ".join(watching.lines)
    watching.now_s += 1.0
    assert watching.dimmed == [True, False]
    assert row(watching.lines, "ada")[1] == "6"
    assert row(watching.lines, "bob")[1] == ""
    assert watching.lines[0] == "kinefuse"
    watching.hear(live("ada"))
    assert watching.dimmed == [False, False]


def test_a_server_that_is_offline_is_told_at_once_until_it_is_back() -> None:
    watching = Watching()
    watching.hear(ONLINE)
    watching.hear(live("ada"))
    assert watching.lines[0] == "kinefuse"
    watching.now_s += 1.0
    watching.hear(OFFLINE)
    assert watching.lines[0] == "kinefuse: the server is offline"
    assert watching.dimmed == [True]
    assert row(watching.lines, "ada")[1] == "1"
    watching.hear(ONLINE)
    assert watching.lines[0] == "kinefuse"
    assert watching.dimmed == [False]


def test_a_lost_broker_is_told_at_once_and_before_what_it_said_of_the_server() -> None:
    watching = Watching()
    watching.hear(live("ada"))
    watching.hear(OFFLINE)
    watching.no_link = "lost the broker, trying again"
    assert watching.lines[0] == "kinefuse: lost the broker, trying again"
    assert watching.dimmed == [True]


def test_where_no_athlete_is_left_it_is_said_why() -> None:
    watching = Watching()
    assert watching.lines == ["waiting for athletes at 127.0.0.1:1883 (kinefuse/v1)"]
    watching.hear(live("ada"))
    watching.now_s += GONE_S + 1.0
    assert watching.lines == ["waiting for athletes at 127.0.0.1:1883 (kinefuse/v1)"]
    watching.hear(OFFLINE)
    assert watching.lines == ["the server is offline"]
    watching.no_link = "no broker at [::1]:1883 yet"
    assert watching.lines == ["no broker at [::1]:1883 yet"]


def test_names_come_from_the_configuration() -> None:
    watching = Watching(Athlete("ada", name="Ada\n Lovelace"), Athlete("bob"))
    watching.hear(live("ada"))
    watching.hear(live("bob"))
    assert row(watching.lines, "Ada Lovelace")
    assert row(watching.lines, "bob")


@pytest.mark.parametrize(
    "payload", [b"", b"[" * 100_000, b"\xff", b'{"state": "resting"}', b'{"mode": "\xff"}']
)
@pytest.mark.parametrize("topic", ["athletes/ada/live", "server/status"])
def test_a_message_that_cannot_be_read_changes_nothing(topic: str, payload: bytes) -> None:
    watching = Watching()
    watching.hear(live("ada"))
    before = watching.lines
    watching.hear(payload, topic)
    assert watching.lines == before


@pytest.mark.parametrize("width", [0, 1, 10, 20, 1000])
def test_terminals_of_odd_widths_are_no_error(width: int) -> None:
    assert shown([live("ada")], max(1, width))
