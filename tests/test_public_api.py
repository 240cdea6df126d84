"""The public Python API: what is there, what it refuses, what it keeps, and how long it takes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import streamstop as ss
from streamstop.learning.learner import Prediction, SegmentPrediction
from streamstop.stop.losses import Loss

SHAPE = (2, 8, 8)
NAMES = (
    "run",
    "train",
    "load_config",
    "open_source",
    "open_stream",
    "Packet",
    "EVENT_DTYPE",
    "SensorSize",
    "LabelTrack",
    "Binner",
    "Bin",
    "iter_bins",
    "Network",
    "NetworkSpec",
    "build_network",
    "StopLearner",
    "LearnerSpec",
    "build_learner",
    "StreamingLDA",
    "PrequentialEvaluator",
    "save_weights",
    "load_weights",
    "convert",
    "inspect",
    "check_source",
    "check_learner",
    "Source",
    "Learner",
    "LateLearner",
    "Baseline",
)
GESTURES = "recordings/gestures/simulated_user01_lab.aedat4"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])


def learner(**options) -> ss.StopLearner:
    return ss.build_learner(["a", "b", "c"], input_shape=SHAPE, **options)


def bins(number: int, seed: int = 0) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.rand((1, *SHAPE), generator=draw) * 3 for _ in range(number)]


def taught(one: ss.StopLearner, labels: list[int], first: int = 0) -> list[SegmentPrediction]:
    found = []
    for number, label in enumerate(labels, start=first):
        one.begin_segment()
        for x in bins(5, number):
            one.predict(x, trace=True)
            one.learn(label)
        found.append(one.predict_segment())
        one.end_segment()
        one.update_lda(found[-1].rates, label)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_documented(name: str) -> None:
    assert name in dir(ss)
    assert name in ss.__all__
    if callable(value := getattr(ss, name)):
        assert (value.__doc__ or "").strip()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Leaner'"):
        _ = ss.Leaner


def test_importing_it_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, streamstop; print(sorted({'torch', 'numpy', 'river'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ours_pass_the_checks() -> None:
    ss.check_source(lambda: ss.open_source(GESTURES))
    for spec in (
        ss.LearnerSpec(),
        ss.LearnerSpec(update="step"),
        ss.LearnerSpec(ema_decay=0.5),
        ss.LearnerSpec(rule="sltt", trainable=("weights",)),
        ss.LearnerSpec(loss=Loss("half_mse", "end"), loss_classes="recent"),
        ss.LearnerSpec(late="all", lr_readout=0.1),
    ):
        ss.check_learner(lambda spec=spec: learner(spec=spec), SHAPE)


def test_a_learner_that_late_labels_move_within_a_segment_fails_the_checks() -> None:
    class Hasty(ss.StopLearner):
        def learn_late(self, label: int, segment: int | None = None) -> bool:
            self._in_segment = False
            return super().learn_late(label, segment)

    network = ss.build_network("compact", SHAPE, 2)
    spec = ss.LearnerSpec(late="readout", lr_readout=0.1)
    with pytest.raises(AssertionError, match="late label changed predictions of a segment"):
        ss.check_learner(lambda: Hasty(network, spec), SHAPE)


def test_a_learner_that_predicts_with_what_it_was_just_taught_fails_the_checks() -> None:
    spec = ss.LearnerSpec(update="step", predict_while_training=True, lr=0.1, lr_readout=0.5)
    with pytest.raises(AssertionError, match="depended on the label it was taught"):
        ss.check_learner(lambda: learner(spec=spec), SHAPE)


class Forgetful:
    """A source that hands over other events each time it is opened."""

    opened = 0
    name = format = "memory"
    sensor = ss.SensorSize(4, 4)
    live, simulated, origin_us, labels, notes = False, True, None, None, ()

    def __enter__(self) -> Forgetful:
        Forgetful.opened += 1
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __iter__(self):
        yield ss.Packet(ss.make_events([Forgetful.opened], [0], [0], [True]))


def test_a_source_that_is_not_the_same_again_fails_the_checks() -> None:
    with pytest.raises(AssertionError, match="other events"):
        ss.check_source(Forgetful)


@pytest.mark.parametrize("options", [{}, {"update": "step"}, {"ema_decay": 0.9}])
def test_what_was_saved_predicts_to_the_bit_and_goes_on_learning(tmp_path, options) -> None:
    """Network, evaluation copy, LDA, counts: after a few more segments both are still alike."""
    spec = ss.LearnerSpec(loss_classes="seen", lr=1e-2, **options)
    one = learner(spec=spec, seed=3)
    taught(one, [0, 1, 2, 0, 1])
    one.save(tmp_path / "one.safetensors")
    other = ss.StopLearner.load(tmp_path / "one.safetensors")
    assert other.class_names == ("a", "b", "c")
    assert other.spec == one.spec
    for who in (one, other):  # Adam's moments are not kept: let neither learn by gradients
        who.scale_learning_rates(0.0)
    for ours, theirs in zip(taught(one, [2, 1], 5), taught(other, [2, 1], 5), strict=True):
        for name in SegmentPrediction._fields:
            assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert (one.counts == other.counts).all()
    assert one.lda.counts.tolist() == other.lda.counts.tolist() == [2, 3, 2]


def test_a_network_of_ones_own_is_saved_too(tmp_path) -> None:
    layers = ["conv 6 kernel 5 maxpool 2", "block 8 stride 2 residual membrane", "linear 9"]
    spec = ss.build_network("custom", SHAPE, 3, layers=layers, readout="leaky_integrator")
    one = learner(network=spec)
    taught(one, [0, 1])
    one.save(tmp_path / "one.safetensors")
    other = ss.StopLearner.load(tmp_path / "one.safetensors")
    assert other.network.spec == spec


def test_a_file_that_is_no_learner_is_refused(tmp_path) -> None:
    path = tmp_path / "x.safetensors"
    ss.save_weights(path, {"a": torch.zeros(2)}, {})
    with pytest.raises(ss.SourceError, match="does not"):
        ss.StopLearner.load(path)


MISUSE = {
    "a sequence": lambda one: one.predict(torch.zeros(5, *SHAPE), trace=True),
    "several bins": lambda one: one.predict(torch.zeros(5, 1, *SHAPE), trace=True),
    "no batch": lambda one: one.predict(torch.zeros(SHAPE), trace=True),
    "other height": lambda one: one.predict(torch.zeros(1, 2, 9, 8), trace=True),
    "whole numbers": lambda one: one.predict(torch.zeros(1, *SHAPE, dtype=torch.int32), trace=True),
    "float64": lambda one: one.predict(torch.zeros(1, *SHAPE, dtype=torch.float64), trace=True),
    "learn first": lambda one: one.learn(0),
}


@pytest.mark.parametrize("misuse", MISUSE.values(), ids=MISUSE.keys())
def test_misuse_is_answered_at_once(misuse) -> None:
    one = learner()
    one.begin_segment()
    with pytest.raises(ss.UsageError, match="predict"):
        misuse(one)


def test_learning_without_traces_or_of_no_class_is_refused() -> None:
    one = learner()
    one.begin_segment()
    one.predict(bins(1)[0], trace=False)
    with pytest.raises(ss.UsageError, match="trace=True"):
        one.learn(0)
    one.predict(bins(1)[0], trace=True)
    for label in (3, -1):
        with pytest.raises(ss.UsageError, match="classes 0 to 2"):
            one.learn(label)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"update": "sgement"}, "segment, step"),
        ({"rule": "stopp"}, "stop, ottt, sltt, bptt"),
        ({"trainable": "WTL"}, "weights, thresholds, leaks"),
        ({"trainable": ("weight",)}, "weights, thresholds, leaks"),
        ({"loss_classes": "some"}, "all, seen, recent"),
        ({"update_interval": 0}, "at least 1"),
    ],
)
def test_a_choice_that_is_none_is_refused(options, expected) -> None:
    with pytest.raises(ss.UsageError, match=expected):
        ss.LearnerSpec(**options)


def test_a_network_refuses_a_choice_that_is_none() -> None:
    spec = ss.build_network("compact", SHAPE, 3)
    with pytest.raises(ss.UsageError, match="letters w, t and l"):
        ss.Network(spec, 0, learn="WTL")
    with pytest.raises(ss.UsageError, match="leaky_integrator"):
        ss.Network(replace(spec, readout="leaky"), 0)
    with pytest.raises(ss.UsageError, match="different names"):
        ss.StopLearner(spec, class_names=("a", "b"))


def test_labels_of_other_classes_are_refused() -> None:
    labels = ss.LabelTrack(("x",), [ss.Segment(0, 10, 0)])
    with pytest.raises(ss.UsageError, match="build it with the classes of the labels"):
        ss.PrequentialEvaluator(learner(), labels)


class Guess:
    """A learner of one's own: the mean of the counts so far decides, and nothing is learned."""

    class_names = ("a", "b", "c")

    def begin_segment(self) -> None:
        self.total = 0.0

    def reset_state(self) -> None:
        return None

    def predict(self, x, *, trace):
        self.total += float(x.sum())
        return _prediction(self.total)

    def learn(self, label: int) -> None:
        return None

    def predict_segment(self) -> SegmentPrediction:
        return SegmentPrediction(_prediction(self.total).log_probs, None, np.zeros(0))

    def end_segment(self) -> None:
        return None

    def update_lda(self, rates, label) -> None:
        return None

    def state_bytes(self) -> int:
        return 8


def _prediction(total: float):
    scores = np.array([0.0, np.log1p(total), 1.0])
    return Prediction(scores - np.logaddexp.reduce(scores))


class Last:
    """A baseline of one's own: always the last class."""

    def predict(self, x) -> int:
        return 2

    def learn(self, x, label) -> None:
        return None


def test_a_learner_and_a_baseline_of_ones_own_are_evaluated() -> None:
    ss.check_learner(Guess, SHAPE)
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 3000, 500))
    events = ss.make_events(t, rng.integers(0, 8, 500), rng.integers(0, 8, 500), t % 2 == 0)
    spans = [ss.Segment(i * 300, (i + 1) * 300, i % 3) for i in range(10)]
    labels = ss.LabelTrack(("a", "b", "c"), spans)
    evaluator = ss.PrequentialEvaluator(Guess(), labels, baselines={"last": Last()})
    grid = {"bin_us": 100, "height": 8, "width": 8, "origin_us": 0}
    for one in ss.iter_bins(events, ss.SensorSize(8, 8), **grid):
        assert evaluator.step(one) in labels.classes
    evaluator.close()
    found = evaluator.accuracies()
    assert evaluator.segments == 10
    assert found["last"] == 0.3
    assert "lda" not in found
    assert found["linear"] == evaluator.accuracy()["segment"]


def test_the_loop_by_hand_is_the_run(tmp_path) -> None:
    """The evaluator on a source gives what `run` gives: the same predictions of every segment."""
    sets = ["segments.max_segments=12", f"run.output_dir={tmp_path}"]
    config = ss.load_config("demo", sets)
    summary = ss.run(config).summary
    b = config.binning
    with ss.open_stream(config, "recordings/gestures").source as source:
        one = ss.build_learner(source.labels.classes, seed=config.run.seed)
        evaluator = ss.PrequentialEvaluator(one, source.labels)
        for each in ss.iter_bins(source, bin_us=b.bin_us, height=b.height, width=b.width):
            evaluator.step(each)
        evaluator.close()
    assert evaluator.accuracy()["segment"] == summary["accuracy"]["segment"]
    assert evaluator.predictions == summary["predictions"]
