"""Where the recorded data is: never in this repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def recordings(name: str) -> Path:
    """Return a folder of the recordings, or skip the test where they are not on this machine."""
    folder = Path(os.environ.get("KINEFUSE_DATA", ROOT.parent / "shared" / "data")) / name
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}: KINEFUSE_DATA names their folder")
    return folder
