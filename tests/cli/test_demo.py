"""`streamstop demo`: the list, and a small `teach` with its control."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.cli.commands.demo import DEMOS, RECIPES
from streamstop.config.bundled import find_recipe
from streamstop.events.packet import SensorSize
from streamstop.experiments import teach_demo
from streamstop.formats.detect import open_recording


def test_the_list_names_all() -> None:
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 0
    assert all(name in result.stdout for name in DEMOS)
    assert all(find_recipe(recipe).exists() for recipe in RECIPES.values())
    assert CliRunner().invoke(app, ["demo", "juggling"]).exit_code == 2


@pytest.fixture
def three_gestures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teach_demo, "GESTURES", ("hand_clapping", "arm_roll", "air_drums"))
    monkeypatch.setattr(teach_demo, "TAUGHT", 2)


@pytest.mark.usefixtures("three_gestures")
def test_the_stream_is_simulated_and_the_script_teaches_what_is_seen(tmp_path: Path) -> None:
    made = teach_demo.make_teach_demo(tmp_path)
    recording = open_recording(str(made.path))
    assert recording.simulated
    assert recording.sensor == SensorSize(128, 128)
    assert len(made.taught) == 6
    assert len(made.rest) == 30
    assert [one.name for one in made.taught[:3]] == list(teach_demo.GESTURES)
    script = made.script(50_000)
    assert len(script) == 12
    for one, (begin, asked), (end, stop) in zip(
        made.taught, script[::2], script[1::2], strict=True
    ):
        assert (asked.action, asked.name, stop.action) == ("label", one.name, "stop")
        assert one.start_us < begin * 50_000 < end * 50_000 <= one.end_us + 50_000


@pytest.mark.usefixtures("three_gestures")
def test_what_was_taught_is_recognised_in_others(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "teach", "--out", str(tmp_path), "--quiet"])
    assert result.exit_code == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert "SIMULATED DATA. 3 gestures of 2 people" in text
    right, control = (
        float(one) for one in re.findall(r"([\d.]+)%", text.split("never labelled")[1])
    )
    assert right > 80
    assert control > 50
    (folder,) = tmp_path.iterdir()
    assert (folder / "labels.csv").read_text().count("arm_roll") > 4
