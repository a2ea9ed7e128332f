"""Who may import whom: the layers of docs/architecture.md, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FORBIDDEN = {
    "fusion": {
        "server",
        "simulators",
        "asyncio",
        "aiomqtt",
        "time",
        "datetime",
        "random",
        "logging",
        "socket",
    },
    "server": {"simulators"},
    "server/codecs": {"asyncio", "aiomqtt", "time", "socket"},
}
ALONE = {
    "aiomqtt": [
        "server/connection.py",
        "server/contract.py",
    ],  # what it is used for, and what of it is private
    "paho": ["server/contract.py"],
    "filterpy": ["fusion/design.py"],
    "time": ["server/clock.py"],
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_does_not_import_what_it_must_not_know(layer: str) -> None:
    files = list((ROOT / layer).rglob("*.py"))
    assert files
    wrong = {f"{file.relative_to(ROOT)}: {name}" for file in files for name in imports(file)} & {
        f"{file.relative_to(ROOT)}: {name}" for file in files for name in FORBIDDEN[layer]
    }
    assert not wrong


@pytest.mark.parametrize("name", ALONE)
def test_a_library_enters_through_one_module(name: str) -> None:
    files = [file for layer in ("server", "fusion") for file in (ROOT / layer).rglob("*.py")]
    assert sorted(str(file.relative_to(ROOT)) for file in files if name in imports(file)) == ALONE[name]
