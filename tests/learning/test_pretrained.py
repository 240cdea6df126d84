"""A run from trained weights: it begins with exactly those, by name, or it does not begin."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.event_files import random_events, write_bin
from helpers.scene_runs import SEGMENT_US, cut, go, scene, track
from safetensors.torch import load_file, save_file
from torch.nn import functional
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.config.recipe import to_toml
from streamstop.config.sections import NetworkConfig
from streamstop.config.training import load_train_config
from streamstop.errors import SourceError, UsageError
from streamstop.events.binning import Binner
from streamstop.events.labels import LabelTrack, Segment
from streamstop.events.packet import SensorSize
from streamstop.learning.lda import StreamingLDA
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.learning.network_section import network_from_config
from streamstop.learning.pretrained import Pretrained, lda_tensors
from streamstop.learning.weights import file_digest, load_weights, save_weights
from streamstop.pipeline import run as pipeline
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.run import RunResult
from streamstop.report.write import write_page
from streamstop.stop.network import Network
from streamstop.training.train import train

TINY = {"channels": [6], "classes": 0, "name": "compact"}
ABOUT: dict[str, Any] = {
    "network": TINY,
    "input": [2, 16, 16],
    "classes": ["left", "right"],
    "encoding": "log",
    "bin_us": 10_000,
}

Run = Callable[..., RunResult]


def tiny(classes: int = 2, seed: int = 7) -> Network:
    spec = network_from_config(NetworkConfig(channels=(6,)), (2, 16, 16), classes)
    return Network(spec, seed)


def written(path: Path, network: Network | None = None, /, **about: Any) -> Path:
    network = network or tiny()
    save_weights(path, network.parameters(), {**ABOUT, **about})
    return path


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the two-sided scene from a weights file."""

    def begin(weights: Path | None, *sets: str, labels: LabelTrack | None = None) -> RunResult:
        events, sides = scene()
        packets = cut(events, [], len(sides) * SEGMENT_US)
        sets = sets if weights is None else (f"learner.pretrained={weights}", *sets)
        return go(monkeypatch, tmp_path / "runs", packets, labels, *sets)

    return begin


def sides() -> LabelTrack:
    return track(scene()[1])


def rows(result: RunResult) -> list[dict[str, str]]:
    with (result.run_dir / "segments.csv").open() as file:
        return list(csv.DictReader(file))


def said_by(network: Network) -> list[int]:
    """What the network itself makes of each segment of the scene."""
    events, labels = scene()
    binner = Binner(SensorSize(16, 16), bin_us=10_000, height=16, width=16, origin_us=0)
    bins = [*binner.push(events), *binner.advance(len(labels) * SEGMENT_US)]
    said = []
    for first in range(0, len(bins), 10):
        network.reset_state()
        votes = torch.zeros(1, network.spec.classes)
        for one in bins[first : first + 10]:
            x = torch.from_numpy(one.counts)[None].float().log1p()
            votes += functional.log_softmax(network.forward(x, traces=False), 1)
        said.append(int(votes.argmax()))
    return said


def test_a_frozen_run_decides_as_the_network_does_and_leaves_its_bytes(begin, tmp_path):
    """Of several networks, lest one that says the same of everything pass by chance."""
    differ = set()
    for seed in (1, 2, 3):
        network = tiny(seed=seed)
        weights = written(tmp_path / f"{seed}.safetensors", network)
        result = begin(weights, "learner.frozen=true", "run.seed=5", labels=sides())
        decided = [row["headline"] for row in rows(result)]
        assert decided == [("left", "right")[i] for i in said_by(network)]
        assert decided == [row["linear"] for row in rows(result)]
        differ |= set(decided)
        kept, began = load_file(result.run_dir / "weights.safetensors"), load_file(weights)
        assert {name for name in kept if not name.startswith("learner.")} == began.keys()
        assert all(torch.equal(kept[name], began[name]) for name in began)
    assert differ == {"left", "right"}


@pytest.mark.parametrize("mode", ["update=step", "slow=0.9", "precision=float64", "rule=sltt"])
def test_frozen_is_frozen_whatever_the_learner_would_do(begin, tmp_path, mode):
    weights = written(tmp_path / "w.safetensors")
    sets = ("learner.frozen=true", f"learner.{mode}", "learner.lr=1", "learner.lr_readout=1")
    result = begin(weights, *sets, labels=sides())
    kept = load_file(result.run_dir / "weights.safetensors")
    began = load_file(weights)
    assert all(torch.equal(kept[name], began[name].to(kept[name].dtype)) for name in began)
    assert result.summary["operations"]["executions"] == 120
    assert not any(result.summary["operations"]["learning_operations"].values())


def test_a_frozen_run_is_scored_beside_rivals_that_learn(begin, tmp_path):
    weights = written(tmp_path / "w.safetensors")
    summary = begin(weights, "learner.frozen=true", labels=sides()).summary
    assert summary["n_segments"] == 12
    assert summary["accuracy_by_readout"] == {
        "linear": {k: summary["accuracy"][k] for k in ("segment", "segment_last_third")}
    }
    assert "initial_network" not in summary["baselines"]  # it would be the learner itself
    assert {"frozen_features_linear", "frozen_features_lda", "lda_counts", "softmax_counts"} < set(
        summary["baselines"]
    )
    assert (summary["protocol"]["decision"], summary["protocol"]["frozen"]) == ("linear", True)
    assert summary["weights"]["sha256"] == file_digest(weights)


def test_without_labels_a_trained_network_still_predicts(begin, tmp_path):
    """All bins: not only as often as a class has events, but as the network says."""
    network = tiny(seed=2)
    weights = written(tmp_path / "w.safetensors", network)
    for sets in ((), ("learner.frozen=true",)):
        result = begin(weights, *sets)
        assert result.summary["accuracy"] is None
        assert set(result.summary["predictions"]) <= {"left", "right"}
        assert result.summary["classes"] == ["left", "right"]
    events, labels = scene()
    binner = Binner(SensorSize(16, 16), bin_us=10_000, height=16, width=16, origin_us=0)
    network.reset_state()
    counted = {"left": 0, "right": 0}
    for one in [*binner.push(events), *binner.advance(len(labels) * SEGMENT_US)]:
        x = torch.from_numpy(one.counts)[None].float().log1p()
        counted[("left", "right")[int(network.forward(x, traces=False).argmax())]] += 1
    assert {k: v for k, v in counted.items() if v} == result.summary["predictions"]


@pytest.mark.parametrize("mode", [(), ("learner.update=step",), ("learner.ema_decay=0.5",)])
def test_learner_and_shadow_begin_with_the_weights(begin, tmp_path, mode):
    """The first segment is decided by the file's network, later ones by what it has become; the
    baselines called frozen go on being the file's."""
    network = tiny(seed=3)
    weights = written(tmp_path / "w.safetensors", network)
    result = begin(weights, "learner.lr_readout=0.1", *mode, labels=sides())
    expected = [("left", "right")[i] for i in said_by(network)]
    found = rows(result)
    assert (
        found[0]["headline"]
        == found[0]["linear"]
        == found[0]["frozen_features_linear"]
        == expected[0]
    )
    assert [row["initial_network"] for row in found] == expected
    assert [row["linear"] for row in found] != expected
    kept = load_file(result.run_dir / "weights.safetensors")
    assert not torch.equal(kept["readout.weight"], network.parameters()["readout.weight"])


def test_auto_leaves_the_trained_readout_only_for_a_better_record(begin, tmp_path):
    found = rows(begin(written(tmp_path / "w.safetensors"), labels=sides()))
    linear = lda = 0
    for row in found:
        assert row["headline"] == row["lda" if lda > linear else "linear"]
        linear += row["linear"] == row["label"]
        lda += row["lda"] == row["label"]


def test_a_run_goes_on_from_an_earlier_runs_weights(begin):
    first = begin(None, labels=sides())
    weights = first.run_dir / "weights.safetensors"
    tensors, about = load_weights(weights)
    assert about["classes"] == ["left", "right"]
    assert (about["input"], about["bin_us"]) == ([2, 16, 16], 10_000)
    network = tiny()
    network.load_parameters(tensors)
    second = begin(weights, "run.seed=9", labels=sides())
    assert [row["initial_network"] == "right" for row in rows(second)] == [
        bool(i) for i in said_by(network)
    ]
    assert second.summary["weights"]["sha256"] == file_digest(weights)
    assert first.summary["weights"] is None


def test_the_runs_config_repeats_it(begin, tmp_path, monkeypatch):
    weights = written(tmp_path / "w.safetensors")
    first = begin(weights, labels=sides())
    again = load_config(first.run_dir / "config.toml")
    assert again.learner.pretrained == str(weights.resolve())
    second = pipeline.run(again)
    for name in ("segments.csv", "metrics.jsonl", "weights.safetensors"):
        assert (first.run_dir / name).read_bytes() == (second.run_dir / name).read_bytes()


def test_labels_find_their_outputs_by_name(begin, tmp_path):
    """Numbers of classes mean nothing: swapped, and one of them missing, the run is the same."""
    weights = written(tmp_path / "w.safetensors")
    spans = [(i * SEGMENT_US, (i + 1) * SEGMENT_US, v) for i, v in enumerate(scene()[1])]
    swapped = LabelTrack(("right", "left"), [Segment(a, b, 1 - v) for a, b, v in spans])
    one, two = begin(weights, labels=sides()), begin(weights, labels=swapped)
    for name in ("segments.csv", "weights.safetensors"):
        assert (one.run_dir / name).read_bytes() == (two.run_dir / name).read_bytes()
    rights = LabelTrack(("right",), [Segment(a, b, 0) for a, b, v in spans if v])
    half = begin(weights, labels=rights)
    assert {row["label"] for row in rows(half)} == {"right"}
    assert half.summary["classes"] == ["left", "right"]


def test_a_label_that_the_network_does_not_know(begin, tmp_path):
    weights = written(tmp_path / "w.safetensors")
    spans = [(i * SEGMENT_US, (i + 1) * SEGMENT_US, v) for i, v in enumerate(scene()[1])]
    labels = LabelTrack(("right", "up"), [Segment(*span) for span in spans])
    with pytest.raises(
        UsageError, match=r"name up, .*classes of the network .left, right.*network.classes=3; .*frozen"
    ):
        begin(weights, labels=labels)
    assert not (tmp_path / "runs").exists()
    result = begin(weights, "network.classes=4", labels=labels)
    assert result.summary["classes"] == ["left", "right", "up", "output 3"]
    assert {row["label"] for row in rows(result)} == {"right", "up"}
    kept = load_file(result.run_dir / "weights.safetensors")
    assert kept["readout.weight"].shape[0] == 4
    again = begin(result.run_dir / "weights.safetensors", labels=sides())
    assert again.summary["classes"] == ["left", "right", "up", "output 3"]


def test_classes_of_the_training_count_as_seen(begin, tmp_path):
    weights = written(tmp_path / "w.safetensors")
    one, two = (begin(weights, *s, labels=sides()) for s in ((), ("learner.loss_classes=seen",)))
    assert (one.run_dir / "segments.csv").read_bytes() == (
        two.run_dir / "segments.csv"
    ).read_bytes()


def test_room_that_training_left_takes_a_new_label(begin, tmp_path):
    weights = written(tmp_path / "w.safetensors", tiny(classes=3))
    labels = LabelTrack(("left", "up"), [Segment(0, SEGMENT_US, 1)])
    assert begin(weights, labels=labels).summary["classes"] == ["left", "right", "up"]
    with pytest.raises(UsageError, match=r"network\.classes = 2, .* 3 outputs"):
        begin(weights, "network.classes=2", labels=labels)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("network.channels=[8]", r"network\.channels = \[8\], but .* network\.channels = \[6\]"),
        ("binning.representation=binary", r'"binary", but .* binning\.representation = "count"'),
        ("network.input_transform=none", r'"none", but .* network\.input_transform = "log1p"'),
        ("binning.height=32", r"binning\.height = 32, but .* binning\.height = 16"),
    ],
)
def test_what_contradicts_the_weights_is_named_beside_them(tmp_path, text, said):
    weights = written(tmp_path / "w.safetensors")
    flags = {"learner.pretrained": str(weights), "source.uri": "x"}
    with pytest.raises(UsageError, match=rf"{said}.*w\.safetensors"):
        load_config(None, [text], flags)
    section, _, setting = text.partition(".")
    recipe = tmp_path / "own.toml"
    key, _, value = setting.partition("=")
    value = value if value[0] in "[0123456789" else f'"{value}"'
    recipe.write_text(f'[{section}]\n{key} = {value}\n[learner]\nweights = "w.safetensors"\n')
    with pytest.raises(UsageError, match=said):
        load_config(recipe)


def test_a_recipe_gives_way_to_weights_that_it_did_not_choose(tmp_path):
    weights = written(tmp_path / "w.safetensors")
    recipe = tmp_path / "r.toml"
    recipe.write_text("[network]\nchannels = [9]\n[binning]\nbin_us = 5\nheight = 20\n")
    config = load_config(recipe, (), {"learner.pretrained": str(weights)})
    assert config.network.channels == (6,)
    assert (config.binning.height, config.binning.width, config.binning.bin_us) == (16, 16, 10_000)
    typed = load_config(recipe, ["binning.bin_us=20000"], {"learner.pretrained": str(weights)})
    assert typed.binning.bin_us == 20_000
    written_down = tmp_path / "c.toml"
    written_down.write_text(to_toml(typed))
    assert load_config(written_down).binning.bin_us == 20_000


def test_a_trained_readout_learns_slower_unless_told(tmp_path):
    flags = {"learner.pretrained": str(written(tmp_path / "w.safetensors"))}
    assert load_config(None, (), flags).learner.lr_readout == 1e-3
    assert load_config(None, ["learner.lr_readout=0.01"], flags).learner.lr_readout == 0.01
    assert load_config(None).learner.lr_readout == 0.01


def test_weights_are_found_beside_the_recipe(tmp_path):
    written(tmp_path / "w.safetensors")
    recipe = tmp_path / "r.toml"
    recipe.write_text('[learner]\nweights = "w.safetensors"\nfrozen = true\n')
    assert load_config(recipe).learner.pretrained == str(tmp_path / "w.safetensors")


def test_frozen_needs_something_to_predict_with(tmp_path):
    with pytest.raises(UsageError, match=r"can only guess.*--weights"):
        load_config(None, ["learner.frozen=true"])


def knowing(path: Path, network: Network, classes: int = 2) -> tuple[Path, StreamingLDA]:
    """Weights with a discriminant that learned other events of the scene's two kinds."""
    learner = StopLearner(network.spec, LearnerSpec(trainable=()))
    learner.network.load_parameters(network.parameters())
    readout = StreamingLDA(classes)
    draw = torch.Generator().manual_seed(5)
    for i in range(12):
        learner.begin_segment()
        for _ in range(10):
            x = (torch.rand(1, 2, 16, 16, generator=draw) < 0.05).float()
            x[..., slice(0, 8) if i % 2 else slice(8, 16)] = 0.0
            learner.predict(x, trace=False)
        readout.learn(learner.firing_rates(), i % 2)
    save_weights(path, {**network.parameters(), **lda_tensors(readout)}, ABOUT)
    return path, readout


def test_a_trained_discriminant_decides_from_the_first_segment_on(begin, tmp_path):
    weights, _ = knowing(tmp_path / "w.safetensors", tiny())
    truth = [row["label"] for row in rows(begin(weights, labels=sides()))]
    assert Pretrained.from_file(str(weights)).lda.counts.tolist() == [6, 6]
    for sets in ((), ("learner.frozen=true",)):
        result = begin(weights, "readout.decision=lda", *sets, labels=sides())
        found = rows(result)
        assert [row["lda"] for row in found] == [row["headline"] for row in found] == truth
        assert result.summary["protocol"]["decision"] == "lda"
    unaware = rows(begin(weights, "readout.lda_prior_count=0", labels=sides()))
    assert unaware[0]["lda"] == "left", "it begins with nothing, and ties go to the first"


def test_what_it_began_with_is_scored_beside_it(begin, tmp_path):
    network = tiny()
    network.readout.bias[0] = 50.0  # the linear readout is sure of one class
    weights, _ = knowing(tmp_path / "w.safetensors", network)
    result = begin(weights, labels=sides())
    found = rows(result)
    assert {row["initial_network"] for row in found} == {"left"}
    assert [row["initial_lda"] for row in found] == [row["label"] for row in found]
    assert result.summary["baselines"]["initial_lda"]["segment"] == 1.0
    assert result.summary["weights"]["lda_prior_count"] == 10.0
    said = write_page(result.run_dir).read_text()
    assert "counts as 10 segments per class" in said
    for name, sets in (("w", ["learner.frozen=true"]), ("plain", [])):
        plain = written(tmp_path / "plain.safetensors", network)
        summary = begin(weights if name == "w" else plain, *sets, labels=sides()).summary
        assert "initial_lda" not in summary["baselines"]
    assert summary["weights"]["lda_prior_count"] is None


def test_prior_is_what_a_trained_discriminant_counts_for(tmp_path):
    weights, readout = knowing(tmp_path / "w.safetensors", tiny())
    learner = StopLearner(tiny().spec, LearnerSpec())
    Pretrained.from_file(str(weights)).load_into(learner, lda_prior_count=3.0)
    assert learner.lda.counts.tolist() == [3.0, 3.0]
    np.testing.assert_allclose(learner.lda.means, readout.means, rtol=1e-6)
    learner.reinitialize()
    assert not learner.lda.counts.any()


def test_new_classes_are_none_that_a_trained_discriminant_knows(tmp_path):
    weights, _ = knowing(tmp_path / "w.safetensors", tiny())
    wide = tiny(classes=4)
    learner = StopLearner(wide.spec, LearnerSpec())
    Pretrained.from_file(str(weights)).load_into(learner, lda_prior_count=3.0)
    assert learner.lda.counts.tolist() == [3.0, 3.0, 0.0, 0.0]
    learner.lda.learn(np.zeros(learner.num_rate_features), 3)


@pytest.mark.parametrize("sets", [(), ("readout.lda_prior_count=0",)])
def test_a_frozen_run_cannot_decide_by_a_discriminant_that_knows_nothing(begin, tmp_path, sets):
    weights = written(tmp_path / "w.safetensors")
    if sets:
        weights, _ = knowing(weights, tiny())
    lacks = r"readout\.lda_prior_count is 0" if sets else r"train\.fit_lda"
    with pytest.raises(UsageError, match=rf'readout\.decision = "lda": .*{lacks}'):
        begin(weights, "learner.frozen=true", "readout.decision=lda", *sets, labels=sides())


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("means", None, "some are missing"),
        ("counts", torch.ones(3), "not of 2 classes"),
        ("counts", torch.tensor([1.0, -1.0]), "not of 2 classes"),
        ("scatter", torch.ones(2, 2), "not of 2 classes"),
        ("means", torch.ones(2, 0), "not of 2 classes"),
        ("means", torch.tensor(1.0), "not of 2 classes"),
        ("counts", torch.zeros(2), "not of 2 classes"),
    ],
)
def test_a_discriminant_that_is_none_is_refused(tmp_path, name, tensor, said):
    weights, _ = knowing(tmp_path / "w.safetensors", tiny())
    tensors, about = load_weights(weights)
    tensors.pop(f"lda.{name}")
    if tensor is not None:
        tensors[f"lda.{name}"] = tensor
    save_weights(weights, tensors, about)
    with pytest.raises(SourceError, match=said):
        Pretrained.from_file(str(weights))


def test_a_scatter_that_is_none_is_refused(begin, tmp_path):
    weights, readout = knowing(tmp_path / "w.safetensors", tiny())
    readout.scatter *= -1
    save_weights(weights, {**tiny().parameters(), **lda_tensors(readout)}, ABOUT)
    with pytest.raises(SourceError, match="not positive definite"):
        begin(weights)


def test_the_least_shrinkage_will_do(begin, tmp_path):
    weights, _ = knowing(tmp_path / "w.safetensors", tiny())
    assert (
        begin(weights, "readout.lda_shrinkage=1e-9", labels=sides()).summary["status"] == "complete"
    )


def test_a_discriminant_of_another_network_is_refused(begin, tmp_path):
    weights, readout = knowing(tmp_path / "w.safetensors", tiny())
    readout.means = readout.means[:, :5]
    readout.scatter = readout.scatter[:5, :5]
    other = {**tiny().parameters(), **lda_tensors(readout)}
    save_weights(weights, other, ABOUT)
    with pytest.raises(SourceError, match="of 5 firing rates"):
        begin(weights)


UNFIT = {
    "a network for images": ({"input": [1, 16, 16]}, "1x16x16.*2 polarities"),
    "no shape": ({"input": [2, 16]}, "2x16"),
    "an absurd shape": ({"input": [2, 16, 10**9]}, r"binning\.width"),
    "another shape": ({"input": [2, 32, 32]}, r"readout\.weight is of shape"),
    "another network": ({"network": {**TINY, "channels": [6, 6]}}, r"conv2\.\S+ is missing"),
    "an unknown key": ({"network": {**TINY, "flux": 1}}, r"network\.flux is unknown"),
    "an unknown value": ({"network": {**TINY, "name": "vgg12"}}, "vgg12"),
    "an unknown encoding": ({"encoding": "pixels"}, "pixels"),
    "no description": ({"network": None}, "does not describe its network"),
    "too many names": ({"classes": ["a", "b", "c"]}, "3 classes for 2 outputs"),
    "one name twice": ({"classes": ["a", "a"]}, "one name"),
}


@pytest.mark.parametrize(("about", "said"), UNFIT.values(), ids=UNFIT.keys())
def test_a_file_that_does_not_hold_what_it_says_is_refused(begin, tmp_path, about, said):
    weights = written(tmp_path / "w.safetensors", **about)
    sets = ["binning.height=32", "binning.width=32"] if about.get("input") == [2, 32, 32] else []
    sets = ["network.channels=[6,6]"] if "network" in about and "conv2" in said else sets
    with pytest.raises(SourceError, match=said):
        begin(weights, *sets)
    assert not (tmp_path / "runs").exists()


def test_no_number_may_be_infinite_and_no_tensor_too_many(begin, tmp_path):
    network = tiny()
    network.readout.weight[0, 0] = float("inf")
    with pytest.raises(SourceError, match=r"readout\.weight holds values that are not finite"):
        Pretrained.from_file(str(written(tmp_path / "w.safetensors", network)))
    more = {**tiny().parameters(), "conv9.weight": torch.zeros(1)}
    save_weights(tmp_path / "m.safetensors", more, ABOUT)
    with pytest.raises(SourceError, match=r"has no conv9\.weight"):
        begin(tmp_path / "m.safetensors")


def test_damaged_or_missing_weights_are_exit_3(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = written(tmp_path / "w.safetensors").read_bytes()
    bad = tmp_path / "bad.safetensors"
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    draw = np.random.default_rng(0)
    cases = [whole[:n] for n in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1)]
    cases += [whole + b"x", draw.bytes(4096), b"\xff" * 64]
    cases.append((tmp_path / "foreign.safetensors").read_bytes())
    for content in cases:
        bad.write_bytes(content)
        result = CliRunner().invoke(app, ["run", "--weights", "bad.safetensors"])
        assert result.exit_code == 3, (len(content), result.output)
        assert "bad.safetensors" in result.stderr
    gone = CliRunner().invoke(app, ["run", "--weights", "gone.safetensors", "--frozen"])
    assert gone.exit_code == 3
    assert not (tmp_path / "runs").exists()
    none = CliRunner().invoke(app, ["run", "--frozen"])
    assert (none.exit_code, "--weights" in none.stderr) == (2, True)


def test_the_command_says_where_the_weights_came_from(tmp_path, monkeypatch):
    """On the bundled gestures, of whose names the file has one: the others get new outputs."""
    monkeypatch.chdir(tmp_path)
    about = {"bin_us": 50_000, "classes": ["4 right_arm_clockwise", "else"]}
    weights = written(tmp_path / "w.safetensors", **about)
    small = ["--set", "segments.max_segments=6", "--out", str(tmp_path / "runs")]
    few = CliRunner().invoke(app, ["run", "--weights", str(weights), *small])
    assert few.exit_code == 2
    assert "which are not among the classes of the network (4 right_arm" in few.stderr
    room = [*small, "--set", "network.classes=20", "--frozen", "-q"]
    done = CliRunner().invoke(app, ["run", "--weights", str(weights), *room])
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    assert "started with the weights of" in text
    assert "not a test score either" in text
    assert "the frozen network predicted" in text
    report = next((tmp_path / "runs").glob("*/report.html")).read_text()
    assert file_digest(weights) in report
    assert "Whether the pretraining used these data" in report
    summary = json.loads(next((tmp_path / "runs").glob("*/summary.json")).read_text())
    assert summary["weights"]["path"] == str(weights)


def test_what_train_leaves_starts_a_run(tmp_path):
    """Trained on one half of a folder, run on the other: the weights are all that is handed on."""
    for i in range(24):
        part = "train" if i % 4 < 2 else "stream"
        events = random_events(300, width=34, height=34, seed=i)
        events["x"] = events["x"] // 2 + 17 * (i % 2)
        write_bin(tmp_path / part / ("left", "right")[i % 2] / f"{i}.bin", events)
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        f'[data]\nuri = "{tmp_path}/train"\nkind = "events"\nsteps = 5\n[binning]\nbin_us = 3000\n'
        "height = 16\nwidth = 16\n[network]\nchannels = [6]\nleak = 0.6\n"
        "[train]\nepochs = 12\nbatch = 4\nlr = 2e-2\ndiscriminant = true\n"
    )
    config = load_train_config(str(recipe), (), {"run.output_dir": str(tmp_path / "runs")})
    weights = train(config).folder / "best.safetensors"
    flags = {"source.uri": str(tmp_path / "stream"), "run.output_dir": str(tmp_path / "runs")}
    flags |= {"learner.pretrained": str(weights), "learner.frozen": True}
    result = pipeline.run(load_config(None, (), flags))
    assert result.summary["classes"] == ["left", "right"]
    assert result.summary["protocol"]["bin_us"] == 3000
    assert result.summary["n_segments"] == 12
    assert result.summary["accuracy"]["segment"] == 1.0
    assert result.summary["accuracy_by_readout"]["lda"]["segment"] == 1.0
    assert Pretrained.from_file(str(weights)).lda.counts.tolist() == [6, 6]
