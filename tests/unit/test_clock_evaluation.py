"""The simulated Bluetooth link, and what is evaluated on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from simulators.ble import BURSTY, RECORDED, Ble, arrivals
from simulators.evaluation import clock, links
from simulators.evaluation.output import markdown


def test_a_link_keeps_the_order_and_its_floor_and_one_seed_gives_one_stream() -> None:
    sent_s = np.arange(0.0, 60.0, 0.1)
    arrived_s = arrivals(sent_s, BURSTY, np.random.default_rng(3))
    assert (np.diff(arrived_s) >= 0).all()
    assert (arrived_s - sent_s).min() >= BURSTY.floor_s
    assert (arrivals(sent_s, BURSTY, np.random.default_rng(3)) == arrived_s).all()
    with pytest.raises(ValueError, match="recovers is 1"):
        Ble(recovers=1.0)


def test_the_link_delays_as_the_recording_does() -> None:
    late_ms = clock.simulated_delays_ms(548)
    # polar_verity_sense, Polar_Sense_HR.txt: 22, 71 and 214 ms, SD 47 ms.
    assert np.percentile(late_ms, (50, 90, 99)) == pytest.approx((22, 71, 214), rel=0.15)
    assert late_ms.std() == pytest.approx(47, rel=0.1)


def test_lab_streaming_layer_s_smoothing_is_least_squares_that_forgets() -> None:
    stream = links.stream(4, RECORDED, duration_s=30.0)
    arrived_s = (stream.arrived_ns - links.ORIGIN_NS) * 1e-9
    number = np.arange(len(arrived_s))
    root = 2.0 ** (-links.PACKET_S / links.HALF_TIME_S * (number[-1] - number) / 2)
    line = np.polyfit(number, arrived_s, 1, w=root)
    last_s = float(np.polyval(line, number[-1])) - stream.true_s[-1] - stream.floor_s
    assert links.lsl(stream).error_s[-1] == pytest.approx(last_s, abs=1e-4)


@pytest.mark.parametrize("link", [RECORDED, BURSTY])
def test_ours_spreads_less_than_a_third_of_the_peer(link: Ble) -> None:
    errors: dict[str, list[NDArray[Any]]] = {"ours": [], "LSL": []}
    for seed in range(3):
        stream = links.stream(seed, link, duration_s=90.0)
        late = stream.true_s >= 10
        for name, found in errors.items():
            found.append(links.METHODS[name](stream).error_s[late])
    spread = {name: np.concatenate(found).std() for name, found in errors.items()}
    assert spread["ours"] < 2e-3
    assert spread["LSL"] > 3 * spread["ours"]


def test_a_section_is_made_of_runs_and_tells_what_it_missed(tmp_path: Path) -> None:
    recording = tmp_path / clock.RECORDING
    times = [f"2022-04-25T11:39:{second:02d}.{20 * (second % 3):03d};66" for second in range(60)]
    recording.write_text("\n".join(["Phone timestamp;HR [bpm]", *times]))
    delays = clock.recorded_delays_ms(recording)
    assert sorted(set(delays.tolist())) == [0, 20, 40]
    runs = [clock.run(clock.Task(link, seed)) for link in clock.LINKS for seed in range(2)]
    runs[0].healed_s[5.0] = 3.5
    section = clock.section(runs, delays)
    page = markdown([section])
    assert "seed 0, 5 s: 3.5 s" in page
    assert "| as recorded | Kinefuse |" in page
    assert len(section.tables) == 5
    assert section.pictures().keys() == {clock.PICTURE}
