"""Every recipe in `pipelines/` can be read, and runs: a few segments of it, on the real thing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamstop.bundled import bundled_path
from streamstop.cli import app
from streamstop.config import load_config, to_toml
from streamstop.pipeline import build_learner
from streamstop.stop.networks import configured_network

RECIPES = sorted(bundled_path("pipelines").glob("*.toml"))
SHARED = Path("..", "shared", "data")
SEGMENTS = 3


def test_there_are_recipes_and_the_demo_is_one_of_them() -> None:
    assert "demo" in [recipe.stem for recipe in RECIPES]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_is_read_and_opens_with_a_comment(recipe: Path, tmp_path: Path) -> None:
    config = load_config(recipe)
    assert config.run.name == recipe.stem
    assert recipe.read_text(encoding="utf-8").startswith("# ")
    written = tmp_path / "config.toml"
    written.write_text(to_toml(config), encoding="utf-8")
    assert load_config(written) == config


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_runs(recipe: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    args = ["run", str(recipe), "--json", "--quiet", "--out", str(tmp_path)]
    args += ["--set", f"segments.limit={SEGMENTS}"]
    uri = load_config(recipe).source.uri
    if uri:
        data: Path = request.getfixturevalue("data_dir")
        args += ["--source", str(data / Path(uri).relative_to(SHARED))]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["segments"], summary["status"]) == (SEGMENTS, "complete")
    assert summary["data"] == ("real" if uri else "simulated")
    ledger = summary["ledger"]
    lost = sum(ledger["dropped"].values()) + sum(ledger["rejected"].values())
    assert ledger["received"] == ledger["binned"] + lost + ledger["pending"] > 0
    (folder,) = tmp_path.iterdir()
    assert (folder / "summary.json").read_text(encoding="utf-8") == result.stdout
    assert load_config(folder / "config.toml").segments.limit == SEGMENTS


@pytest.mark.parametrize(
    "sets",
    [
        ["network.name=lenet5"],
        [
            "network.norm=weight",
            "network.reset=hard",
            "network.threshold=neuron",
            "network.surrogate=arctan",
            "learner.rule=sltt",
        ],
    ],
    ids=["lenet5", "variants"],
)
def test_the_demo_runs_with_another_network_or_rule(sets: list[str], tmp_path: Path) -> None:
    args = ["run", "demo", "--json", "--quiet", "--out", str(tmp_path)]
    chosen = ["segments.limit=10", *sets]
    result = CliRunner().invoke(app, args + [w for text in chosen for w in ("--set", text)])
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["segments"], summary["status"]) == (10, "complete")
    config = load_config(None, ["source.uri=", *sets])
    (folder,) = tmp_path.iterdir()
    assert load_config(folder / "config.toml").network == config.network
    learner = build_learner(config, len(summary["classes"]))
    assert summary["network"]["parameters"] == sum(
        value.numel() for value in learner.network.parameters().values()
    )
    assert (learner.network.rule, learner.network.spec.neuron) == (
        config.learner.rule,
        configured_network(config.network, (2, 32, 32), 2).neuron,
    )
