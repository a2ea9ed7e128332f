from pathlib import Path

import pytest

from server.analyze import analysis_of
from server.config import Athlete, Config, Device
from server.errors import ConfigError
from server.files import from_bytes
from server.replay import _worn
from tests.support.recorded_files import fit_run

RUN = from_bytes(Path("run.fit"), fit_run(120).to_bytes())


def test_a_recording_is_of_the_athlete_who_wears_its_device() -> None:
    heavy = Config(athletes=[Athlete(id="ada", mass_kg=120.0, devices=[Device(id=RUN.device)])])
    by_ada, by_nobody = analysis_of(RUN, heavy).workout, analysis_of(RUN, Config()).workout
    assert by_ada.athlete == "ada"
    assert by_ada.summary is not None
    assert by_nobody.summary is not None
    assert by_ada.summary.distance_m == by_nobody.summary.distance_m
    assert by_ada.summary.energy_kcal != by_nobody.summary.energy_kcal


def test_a_recording_called_like_an_athlete_is_analysed_as_theirs() -> None:
    told = analysis_of(RUN, Config(athletes=[Athlete(id=RUN.device, mass_kg=120.0)])).workout
    assert told.athlete == RUN.device
    assert told.summary is not None


def test_a_recording_called_like_an_athlete_is_replayed_only_if_they_wear_the_device() -> None:
    with pytest.raises(ConfigError, match="as an athlete, not as a device: add"):
        _worn(RUN, Config(athletes=[Athlete(id=RUN.device)]))
    worn = Config(athletes=[Athlete(id="ada", devices=[Device(id=RUN.device)])])
    assert _worn(RUN, worn).athlete == "ada"
