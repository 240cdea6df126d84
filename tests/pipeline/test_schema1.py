"""What schema 1 wrote is read under today's names: run folders, weights, recipes, `--set`."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.config.aliases import OldNamesWarning, noting_old_names
from streamstop.config.recipe import parse_overrides
from streamstop.config.sections import Config
from streamstop.config.training import TrainConfig, load_train_config
from streamstop.errors import UsageError
from streamstop.experiments.comparison import compare
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.segments_file import read_rows
from streamstop.pipeline.summary_file import MAKERS, read_summary, upgrade_summary
from streamstop.report.views.run import load_snapshot

SCHEMA1 = Path(__file__).parents[1] / "fixtures" / "schema1"
RUNS = SCHEMA1 / "run-folders"
SINGLE = ("labelled", "scenario", "file", "from-weights", "frozen", "unlabelled")
WEIGHTS = [*(RUNS / name / "weights.safetensors" for name in ("labelled", "scenario"))]
WEIGHTS += [SCHEMA1 / "training" / f"{name}.safetensors" for name in ("best", "last")]
SHORT = ("--set", "segments.max_segments=2", "--set", "segments.length_us=200000")
runner = CliRunner()


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """A run sets torch's threads; later tests have those that they had."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def copied(name: str, to: Path) -> Path:
    """A copy of a run folder, to write pages into."""
    return Path(shutil.copytree(RUNS / name, to / name))


def old_names_warnings(action: Callable[[], object]) -> int:
    """How many times `action` notes old names."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        action()
    return sum(issubclass(one.category, OldNamesWarning) for one in found)


@pytest.mark.parametrize("name", [*SINGLE, "seeds"])
def test_no_old_key_is_left_in_a_summary(name: str) -> None:
    summary = read_summary(RUNS / name)
    assert next(iter(summary)) == "schema"
    assert summary["schema"] == 2
    assert not {"segments", "bins", "learner_less_rivals"} & summary.keys()
    assert not {"every", "learn", "decide"} & summary["protocol"].keys()
    del summary["versions"], summary["command"], summary["protocol"]
    text = json.dumps(summary)
    assert [old for old in (*MAKERS, "discriminant_segments") if f'"{old}"' in text] == []


def test_values_of_a_summary_are_those_of_the_configuration_now() -> None:
    protocol = read_summary(RUNS / "scenario")["protocol"]
    assert protocol["trainable"] == ["weights", "leaks"]
    assert protocol["loss"] == "mean_ce_mse, in every bin"
    assert (protocol["arrival"], protocol["update_interval"]) == ("delayed", 2)
    protocol = read_summary(RUNS / "file")["protocol"]
    assert protocol["loss"] == "half_mse, in a segment's last bin"
    assert (protocol["arrival"], protocol["order"]) == ("immediate", "shuffled")
    assert read_summary(RUNS / "from-weights")["weights"]["lda_prior_count"] == 10.0


def test_a_current_summary_is_unchanged_and_a_later_one_is_refused(tmp_path: Path) -> None:
    now = {"schema": 2, "baselines": {"river": 1}, "segments": 3}
    assert upgrade_summary(now) == now
    for schema in (3, "2", None):
        (tmp_path / "summary.json").write_text(json.dumps({"schema": schema}))
        with pytest.raises(UsageError, match="reads schemas 1 to 2"):
            read_summary(tmp_path)


def test_damaged_tables_of_an_old_summary_are_kept() -> None:
    odd = {"per_domain": [1], "runs": [None], "continual": {"makers": 3}, "protocol": {"loss": 1}}
    assert upgrade_summary(odd) == {"schema": 2} | odd


@pytest.mark.parametrize("name", SINGLE)
def test_a_run_folder_gives_the_same_figures_from_each_file(name: str) -> None:
    snapshot = load_snapshot(RUNS / name)
    with (RUNS / name / "segments.csv").open(encoding="utf-8", newline="") as file:
        old = list(csv.DictReader(file))
    assert [{MAKERS.get(k, k): v for k, v in one.items()} for one in old] == [
        row for _, row in read_rows(RUNS / name / "segments.csv")
    ]
    assert snapshot.segments == len(old)
    assert (snapshot.accuracy is None) is (name == "unlabelled")
    last = {key: values[-1] for key, values in snapshot.curves.accuracy}
    drawn = {key: values[-1] for key, values in snapshot.windowed.accuracy}
    for score in snapshot.scores:
        hits = [
            row[score.key] == row["label"] for _, row in read_rows(RUNS / name / "segments.csv")
        ]
        assert score.segment == pytest.approx(sum(hits) / len(hits)), score.key
        logged = "segment" if score.kind == "headline" else score.key
        if name != "scenario":  # whose last labels arrive after the last line
            assert last[logged] == pytest.approx(score.segment), score.key
        assert score.key in drawn


@pytest.mark.parametrize("name", [*SINGLE, "seeds"])
def test_a_run_folder_has_its_page(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path)
    result = runner.invoke(app, ["report", str(folder)])
    assert (result.exit_code, result.stderr) == (0, "")
    page = (folder / "report.html").read_text()
    assert "headline prediction" in page or name == "unlabelled"
    assert not [old for old in ("frozen_lda", "frozen linear", "decided by") if old in page]
    if name == "file":
        assert "Immediate: the label of a bin" in page


def test_old_runs_are_compared(tmp_path: Path) -> None:
    single = [RUNS / "seeds" / f"seed-{seed}" for seed in (0, 1, 2)]
    found = compare([str(RUNS / "seeds"), str(RUNS / "labelled")])
    assert len(found.groups) == 2
    assert found.groups[0].summary["n"] == len(single)
    assert found.groups[0].summary["margin_over_baselines"].keys() >= {"softmax_counts"}
    page = tmp_path / "page.html"
    words = [str(RUNS / "seeds"), str(RUNS / "from-weights"), "--out", str(page)]
    result = runner.invoke(app, ["compare", *words])
    assert result.exit_code == 0, result.output
    assert page.stat().st_size > 1000


@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_old_weights_start_a_run(weights: Path, tmp_path: Path) -> None:
    words = ["run", "demo", "--weights", str(weights), *SHORT, "--out", str(tmp_path), "--quiet"]
    result = runner.invoke(app, words)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("note: Names of an older version") == 1
    (folder,) = tmp_path.iterdir()
    summary = read_summary(folder)
    assert summary["weights"]["path"] == str(weights)
    assert summary["n_segments"] == 2


@pytest.mark.parametrize(
    "recipe", sorted((SCHEMA1 / "recipes").glob("*.toml")), ids=lambda p: p.stem
)
def test_an_old_recipe_is_read_with_one_note(recipe: Path) -> None:
    load = load_train_config if recipe.stem.startswith("train") else load_config
    assert old_names_warnings(lambda: load(str(recipe))) == 1


@pytest.mark.parametrize("name", ["run", "train"])
def test_the_defaults_of_an_old_version_are_read_with_one_note(name: str) -> None:
    recipe = str(SCHEMA1 / "settings" / f"{name}-defaults.toml")

    def load() -> None:
        if name == "train":
            load_train_config(recipe, ["data.uri=anywhere"])
        else:
            load_config(recipe)

    assert old_names_warnings(load) == 1


def lines(name: str) -> list[str]:
    """Arguments of `--set` of an older version."""
    text = (SCHEMA1 / "settings" / f"{name}-sets.txt").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", ["run", "train"])
def test_every_old_argument_of_set_is_read(name: str) -> None:
    whole = Config if name == "run" else TrainConfig

    def one(text: str) -> None:
        with noting_old_names():
            assert len(parse_overrides(whole, [text], None)) == 1

    noted = {text: old_names_warnings(lambda text=text: one(text)) for text in lines(name)}
    assert set(noted.values()) == {0, 1}


@pytest.mark.parametrize("name", ["run", "train"])
def test_all_old_arguments_together_make_one_note(name: str) -> None:
    whole = Config if name == "run" else TrainConfig

    def every() -> None:
        with noting_old_names():
            parse_overrides(whole, lines(name), None)

    assert old_names_warnings(every) == 1
