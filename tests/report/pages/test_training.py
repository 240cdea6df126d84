"""The page of a training: self-contained, escaped, and plain about what its result is worth."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from helpers.html_page import Page

from streamstop.config.recipe import to_toml
from streamstop.config.training import TrainConfig
from streamstop.errors import UsageError
from streamstop.report.pages.training import render, write_train_page
from streamstop.report.views.training import load_train_view

NASTY = "<script>alert('x')</script>\"&{{ 7*7 }}"
DEFAULTS = tomllib.loads(to_toml(TrainConfig()))


def figure(correct: int, samples: int) -> dict[str, Any]:
    return {
        "accuracy": correct / samples,
        "correct": correct,
        "samples": samples,
        "standard_error": 0.002,
    }


def training(
    folder: Path,
    *,
    folds: int = 0,
    epochs: int = 10,
    tested: bool = True,
    config: str = "",
    layers: tuple[str, ...] = ("conv1", "conv2"),
    **others: Any,
) -> Path:
    """A folder as a training leaves it, its figures made up."""
    folder.mkdir()
    names = [f"fold-{i + 1}" for i in range(folds)] or ["all"]
    for name in names:
        place = folder if name == "all" else folder / name
        place.mkdir(exist_ok=True)
        lines = [
            {
                "epoch": i + 1,
                "loss": 2.0 / (i + 1),
                "train": 0.5 + 0.4 * i / epochs,
                "validation": 0.5 + 0.3 * i / epochs,
                "lr": 1e-3,
                "leaks": dict.fromkeys(layers, 0.5 + i / 100),
                "thresholds": dict.fromkeys(layers, 1.0 - i / 100),
                "seconds": 1.0,
            }
            for i in range(epochs)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (place / "epochs.jsonl").write_text(text)
    part = {
        "samples": 5400,
        "validation_samples": 600,
        "parameters": 61_936,
        "best_epoch": epochs,
        "train": 0.9,
        "validation": 0.8,
        "test": figure(9773, 10_000) if tested else None,
    }
    whole = figure(9773 * len(names), 10_000 * len(names))
    summary = {
        "name": "mnist-lenet5",
        "command": "streamstop train mnist-lenet5",
        "status": "complete",
        "data": "mnist",
        "simulated": False,
        "seed": 3,
        "classes": [str(i) for i in range(10)],
        "network": "lenet5",
        "rule": "stop",
        "learn": "wtl",
        "steps": 4,
        "epochs": epochs,
        "test": (whole | ({"folds_sd": 0.028} if folds else {})) if tested else None,
        "parts": [{"part": name, **part} for name in names],
        "processes": 2,
        "device": "cpu",
        "seconds": 100.0,
        "versions": {"streamstop": "0.1.0", "torch": "2.13.0"},
        **others,
    }
    (folder / "train.json").write_text(json.dumps(summary))
    (folder / "config.toml").write_text(config or f"[data]\nfolds = {folds}\n")
    return folder


def page(folder: Path) -> Page:
    return Page(render(load_train_view(folder), DEFAULTS))


def test_nothing_is_loaded_and_nothing_runs(tmp_path: Path) -> None:
    text = write_train_page(training(tmp_path / "t")).read_text(encoding="utf-8")
    found = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(found.tags)
    assert not {"src", "srcset", "href", "action", "data"} & {name for name, _ in found.attributes}
    assert "url(" not in text and "@import" not in text and "default-src 'none'" in text
    titles = [
        "Scores",
        "Accuracy over the epochs",
        "Inside the network",
        "What this result may be compared with",
        "Provenance",
    ]
    assert re.findall(r"<h2>([^<]*)</h2>", text) == titles
    for key in ("accuracy", "late", "loss", "rate", "leak", "threshold"):
        assert f'id="{key}-t"' in text


def test_the_facts_of_a_training(tmp_path: Path) -> None:
    config = "[train]\nlr = 0.25\nepochs = 10\naverage = 0.99\n[network]\nnorm = 'batch'\n"
    content = page(training(tmp_path / "t", config=config)).text.replace("\N{NO-BREAK SPACE}", " ")
    assert (
        "trained by STOP for 10 epochs, predicts 97.73 % of 10,000 real test samples correctly"
        in content
    )
    assert "Wilson's 95 % interval: 97.42 % to 98.00 %" in content
    assert "The test set was scored once, after 600 samples held out of the training set" in content
    assert "61,936 parameters" in content and "2 processes" in content
    assert "train.lr 0.25" in content and "train.ema_decay 0.99" in content
    assert "train.epochs" not in content, "a default was listed among what is not"
    assert "EMA of the weights (decay 0.99" in content and "folded into its weights" in content
    assert "Simulated" not in content and "control" not in content


def test_the_lda_readout_has_its_accuracy_too(tmp_path: Path) -> None:
    for name, found in (("with", figure(9_900, 10_000)), ("without", None)):
        content = page(training(tmp_path / name, test_discriminant=found)).text
        content = content.replace("\N{NO-BREAK SPACE}", " ")
        assert ("predicts 99.00 % correctly" in content) == (name == "with")


def test_a_cross_validation_is_called_one(tmp_path: Path) -> None:
    content = page(training(tmp_path / "t", folds=3)).text.replace("\N{NO-BREAK SPACE}", " ")
    assert (
        "97.73 % of 30,000 real test samples correctly, each by a network that was not trained on"
        in content
    )
    assert "Standard deviation over the folds: 2.8 points" in content
    assert content.count("fold-") == 3 and "the data set's own test set" in content
    assert "was scored once, after 600" not in content


def test_a_test_set_from_the_same_recordings_is_called_one(tmp_path: Path) -> None:
    content = page(training(tmp_path / "t", config="[data]\ntest_share = 0.3\n")).text
    content = content.replace("\N{NO-BREAK SPACE}", " ")
    assert "The last 30.0 % of each recording, or class, was scored once" in content
    assert "Results on other recordings" in content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"simulated": True}, "simulated: this is not a result on a real sensor"),
        ({"config": "[data]\nlimit = 40\n"}, "At most 40 samples"),
        ({"rule": "bptt"}, "Not STOP: backpropagation through time"),
        ({"tested": False}, "There is no test set"),
    ],
)
def test_what_makes_a_result_doubtful_comes_first(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    content = page(training(tmp_path / "t", **change)).text
    assert words in content
    assert content.index(words) < content.index("Scores")


def test_names_are_escaped_and_the_page_is_bounded(tmp_path: Path) -> None:
    folder = training(
        tmp_path / "t",
        epochs=3000,
        layers=(NASTY, *(f"block{i}" for i in range(40))),
        config=f"# {'x' * 100_000}\n[data]\nuri = '''{NASTY}'''\n",
        name=NASTY,
        data=NASTY,
        command=NASTY,
        network=NASTY,
        device=NASTY,
        rule=NASTY,
        versions={NASTY: NASTY},
    )
    text = write_train_page(folder).read_text(encoding="utf-8")
    found = Page(text)
    assert "script" not in found.tags and "{{ 7*7 }}" in found.text
    assert len(text.encode()) < 400_000


def test_what_is_no_finished_training_gets_no_page(tmp_path: Path) -> None:
    folder = training(tmp_path / "t")
    (folder / "epochs.jsonl").write_text('{"epoch": ')
    with pytest.raises(UsageError, match="cannot be read"):
        write_train_page(folder)
    (folder / "train.json").unlink()
    with pytest.raises(UsageError, match="not a finished training"):
        write_train_page(folder)
    assert not (folder / "train.html").exists()


def test_figures_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    folder = training(tmp_path / "t")
    lines = (folder / "epochs.jsonl").read_text().replace('"loss": 2.0', '"loss": NaN')
    (folder / "epochs.jsonl").write_text(lines)
    view = load_train_view(folder)
    assert view.loss.mean[0] is None and view.loss.mean[1] == 1.0
    assert "nan" not in render(view, DEFAULTS).lower().replace("provenance", "")
