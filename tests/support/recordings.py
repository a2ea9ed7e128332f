"""Where the recorded data is: never in this repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def data_folder() -> Path:
    """Return the folder that KINEFUSE_DATA names, else ``../shared/data`` beside the checkout."""
    return Path(os.environ.get("KINEFUSE_DATA") or ROOT.parent / "shared" / "data")


def recordings(name: str = "") -> Path:
    """Return a folder of the recordings; where it is absent skip the test, or fail it under CI."""
    folder = data_folder() / name
    if not folder.is_dir():
        missing = f"no recordings at {folder}: KINEFUSE_DATA names their folder"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return folder


@pytest.fixture
def recorded_data() -> Path:
    """Return the folder of all recordings; import this fixture into a test module to use it."""
    return recordings()
