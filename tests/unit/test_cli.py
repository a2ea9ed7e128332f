"""The command line tells in one plain line what it was asked wrongly."""

import sys

import pytest

from server import cli


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("serve --prot 3", "--prot"),
        ("serve --port abc", '"abc"'),
        ("replay", "PATHS"),
        ("nonsense", '"nonsense"'),
        ("simulate --connection a\nb\x1b[31m", "--connection"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    arguments: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kinefuse", *arguments.split(" ")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("kinefuse: ")
    assert told in err
    assert err.rstrip("\n").isprintable()
