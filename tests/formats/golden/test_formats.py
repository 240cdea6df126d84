"""Real files decode to what their rows in the data's README say, and always to the same bytes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from helpers.digests import NAMES, facts

GOLDEN = tomllib.loads(Path(__file__).with_name("formats.toml").read_text())

# name: sensor, events, duration in s, share of ON where the README tells it.
README = {
    "davis346.aedat4": ("346x260", 117_667, 0.130, 0.61),
    "davis346-short.aedat4": ("346x260", 6_676, 0.170, None),
    "dvxplorer.aedat4": ("320x240", 111_954, 0.590, None),
    "evt3.npy": ("1280x720", 5_000, 0.0903, None),
    "evt3.raw": ("1280x720", 5_000, 0.0452, None),  # 0.0903 there: see test_prophesee.py
    "evt2.raw": ("640x480", 521_252, 0.0959, None),
    "ncars.dat": (None, 2_009, 0.100, None),
    "ncars.es": (None, 4_407, 0.0999, None),
    "nmnist.bin": ("34x34", 4_325, 0.311, None),
    "ncaltech101.bin": (None, 67_445, 0.299, None),
    "jaer-aedat1.dat": ("128x128", 121_270, 21.9, None),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_real_file_decodes_to_its_digests(data_dir: Path, name: str) -> None:
    assert facts(data_dir / "formats" / name) == GOLDEN[name]


@pytest.mark.parametrize("name", README)
def test_the_digests_are_of_what_the_readme_says(name: str) -> None:
    sensor, events, duration_s, on = README[name]
    golden = GOLDEN[name]
    assert sensor in (None, golden["sensor"])
    assert golden["events"] == events
    assert golden["duration_us"] / 1e6 == pytest.approx(duration_s, rel=0.005)
    assert on is None or golden["on"] / events == pytest.approx(on, abs=0.005)


@pytest.mark.parametrize("name", ["mnist_0_scale04_0001.aedat", "mnist_0_scale04_0002.aedat"])
def test_the_mnist_dvs_files_are_within_their_row(name: str) -> None:
    assert GOLDEN[name]["sensor"] == "128x128"
    assert 12_000 <= GOLDEN[name]["events"] <= 21_000
    assert 2.0e6 <= GOLDEN[name]["duration_us"] <= 2.4e6


def test_the_davis346_begins_when_its_row_says() -> None:
    assert GOLDEN["davis346.aedat4"]["first_us"] == 1_633_953_690_975_950
