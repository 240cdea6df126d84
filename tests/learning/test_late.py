"""A label that comes when its segment is over teaches what it had taught from the start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from helpers.streams import LEARNERS, NETWORK, Stream, lead, stream, weights_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from streamstop.errors import DivergedError, UsageError
from streamstop.learning.late import MAX_KEPT
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop import bptt
from streamstop.stop.layer import LayerSpec, NeuronSpec
from streamstop.stop.losses import Loss, LossKind
from streamstop.stop.network import Network, NetworkSpec
from streamstop.stop.neuron import SURROGATES

TOLERANCE = 1e-10
"""Asked for; differences observed are below 1e-13."""

SPEC = LEARNERS["segment"]
LINEAR, CONV = LayerSpec("linear", 12), LayerSpec("conv", 6)

NETWORKS = {
    "linear": ((LINEAR,), {}),
    "linear, depth 3": ((LayerSpec("linear", 20), LayerSpec("linear", 16), LINEAR), {}),
    "conv, pool 2": ((LayerSpec("conv", 6, pool=2),), {}),
    "conv, pool 3 leaves rows, depth 2": ((CONV, LayerSpec("conv", 4, pool=3)), {}),
    "conv, max pooling": ((LayerSpec("conv", 6, pool=2, pooling="max"), CONV), {}),
    "conv, max pooling on top": ((CONV, LayerSpec("conv", 6, pool=2, pooling="max")), {}),
    "conv, stride, groups, kernel 5": (
        (LayerSpec("conv", 6, stride=2), LayerSpec("conv", 8, kernel=5, groups=2), LINEAR),
        {},
    ),
    "conv, global average": ((CONV, LayerSpec("conv", 6, pool=2)), {"global_average": True}),
    "weights standardised": (
        (LayerSpec("conv", 6, pool=2), LINEAR),
        {"neuron": NeuronSpec(normalization="weight_standardization", init_gain=2.0)},
    ),
    "decay of the input": ((CONV, LINEAR), {"neuron": NeuronSpec(decay_input=True)}),
    "hard reset": ((CONV, LINEAR), {"neuron": NeuronSpec(reset="hard")}),
    "a threshold per neuron": ((CONV, LINEAR), {"neuron": NeuronSpec(threshold_sharing="neuron")}),
    "a threshold per layer": ((CONV, LINEAR), {"neuron": NeuronSpec(threshold_sharing="layer")}),
    "leaky readout": ((CONV,), {"readout": "leaky_integrator"}),
    "spiking readout": ((LayerSpec("linear", 30),), {"readout": "spiking"}),
    "spiking readout, hard reset": (
        (LayerSpec("linear", 30),),
        {"readout": "spiking", "neuron": NeuronSpec(reset="hard")},
    ),
    "spiking readout, decay of the input": (
        (LayerSpec("linear", 30),),
        {"readout": "spiking", "neuron": NeuronSpec(decay_input=True)},
    ),
    "spiking readout, a threshold per layer": (
        (LayerSpec("linear", 30),),
        {"readout": "spiking", "neuron": NeuronSpec(threshold_sharing="layer")},
    ),
    "residual, spikes added": (
        (CONV, LayerSpec("block", 6), LayerSpec("block", 8, stride=2)),
        {"global_average": True},
    ),
    "residual, membranes added": (
        (CONV, LayerSpec("block", 8, stride=2, residual="membrane")),
        {},
    ),
}


def network_of(name: str, surrogate: str = "exponential") -> NetworkSpec:
    layers, more = NETWORKS[name]
    neuron = more.get("neuron", NeuronSpec())._replace(surrogate=surrogate, threshold_init=0.6)
    return replace(NETWORK, layers=layers, **{**more, "neuron": neuron})


def uneven(network: NetworkSpec, spec: LearnerSpec) -> StopLearner:
    """A float64 learner whose thresholds, biases and leaks all differ."""
    learner = StopLearner(network, spec, dtype=torch.float64)
    draw = torch.Generator().manual_seed(5)
    parameters = {k: v.clone() for k, v in learner.network.parameters().items()}
    for name, value in parameters.items():
        if not name.endswith("weight"):
            noise = torch.rand(value.shape, generator=draw, dtype=torch.float64)
            value += 0.2 * noise
        if name == "readout.weight" and network.readout != "spiking":
            value *= 5
    learner.network.load_parameters(parameters)
    if learner.inference_network is not learner.network:
        learner.inference_network.load_parameters(parameters)
    return learner


def doubled(one: Stream) -> Stream:
    return one._replace(x=one.x.double())


def lead_late(learner: StopLearner, one: Stream) -> list[float | None]:
    """Every label is said when its segment is over; the mean loss of each."""
    losses = []
    for segment, label in zip(one.x, one.labels, strict=True):
        learner.begin_segment()
        for x in segment:
            learner.predict(x, trace=True)
            number = learner.await_label()
        rates = learner.predict_segment().rates
        assert learner.learn_late(label, number)
        losses.append(learner.end_segment())
        learner.update_lda(rates, label)
    return losses


def segment_grads(learner: StopLearner, segment: Tensor, label: int, late: bool) -> dict[str, Any]:
    """The gradients that move the weights, taken where they do."""
    found: dict[str, Any] = {}
    move = learner._move_weights

    def see(of: int | None) -> None:
        own = learner.network.parameters()
        found.update({k: own[k].grad.clone() for k in own if own[k].grad is not None})
        move(of)

    learner._move_weights = see  # type: ignore[method-assign]
    learner.begin_segment()
    for x in segment:
        learner.predict(x, trace=True)
        if late:
            learner.await_label()
        else:
            learner.learn(label)
    if late:
        learner.end_segment()
        learner.learn_late(label)
    else:
        learner.end_segment()
    learner._move_weights = move  # type: ignore[method-assign]
    return found


def differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float]:
    """Per parameter, the largest difference as a share of the largest entry."""
    assert one.keys() == other.keys()
    return {
        k: float((one[k] - other[k]).abs().max() / other[k].abs().max().clamp(min=1e-30))
        for k in one
    }


def assert_same_gradients(network: NetworkSpec, spec: LearnerSpec, bins: int = 12) -> None:
    one = doubled(stream(1, bins, seed=3, density=0.3))
    known = segment_grads(uneven(network, spec), one.x[0], one.labels[0], late=False)
    late = replace(spec, late="all")
    found = segment_grads(uneven(network, late), one.x[0], one.labels[0], late=True)
    assert known["readout.weight"].abs().max() > 1e-3  # nothing agrees by being zero
    differences = differ(found, known)
    assert max(differences.values()) < TOLERANCE, differences


@pytest.mark.parametrize("name", NETWORKS)
def test_every_gradient_is_that_of_the_label_known_from_the_start(name):
    assert_same_gradients(network_of(name), SPEC)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("name", ["linear, depth 3", "conv, pool 2"])
def test_so_it_is_with_every_surrogate(name, surrogate):
    assert_same_gradients(network_of(name, surrogate), SPEC)


@pytest.mark.parametrize("rule", ["ottt", "sltt"])
@pytest.mark.parametrize("name", ["linear, depth 3", "conv, pool 2", "leaky readout"])
def test_so_it_is_by_the_other_forward_rules(name, rule):
    assert_same_gradients(network_of(name), replace(SPEC, rule=rule))


@pytest.mark.parametrize("trainable", [(), ("weights",), ("thresholds", "leaks")])
def test_so_it_is_where_only_some_parameters_learn(trainable):
    assert_same_gradients(network_of("conv, pool 2"), replace(SPEC, trainable=trainable))


@pytest.mark.parametrize("timing", ["step", "end"])
@pytest.mark.parametrize("kind", get_args(LossKind))
@pytest.mark.parametrize("readout", ["linear", "leaky readout", "spiking readout"])
def test_so_it_is_with_every_loss(kind, timing, readout):
    """A kind of loss that is not affine in the label would fail here."""
    assert_same_gradients(network_of(readout), replace(SPEC, loss=Loss(kind, timing, 0.1)))


@settings(max_examples=25, deadline=None)
@given(
    depth=st.integers(1, 3),
    wide=st.integers(3, 9),
    conv=st.booleans(),
    pool=st.sampled_from([1, 2]),
    bins=st.integers(1, 15),
    smoothing=st.sampled_from([0.0, 0.2]),
    leak=st.floats(0.1, 0.97),
    surrogate=st.sampled_from(sorted(SURROGATES)),
    seed=st.integers(0, 1000),
)
def test_any_network_any_length(depth, wide, conv, pool, bins, smoothing, leak, surrogate, seed):
    """Gradients of several segments in a row are those of labels known from the start: as sums, in
    Adam's first moments. Weights too, but Adam divides by a gradient of 1e-9 as by a large one, so
    that rounding is a million times larger there.
    """
    bottom = [LayerSpec("conv", wide, pool=pool)] if conv else []
    layers = (*bottom, *(LayerSpec("linear", wide) for _ in range(depth - len(bottom))))
    neuron = NeuronSpec(leak_init=leak, surrogate=surrogate, threshold_init=0.5)
    network = replace(NETWORK, layers=layers, neuron=neuron)
    spec = replace(SPEC, loss=Loss(label_smoothing=smoothing))
    one = doubled(stream(3, bins, seed=seed, density=0.3))
    known, late = uneven(network, spec), uneven(network, replace(spec, late="all"))
    lead(known, one)
    lead_late(late, one)
    differences = differ(moments(late), moments(known))
    assert max(differences.values()) < TOLERANCE, differences
    differences = differ(late.network.parameters(), known.network.parameters())
    assert max(differences.values()) < 1e-8, differences


def moments(learner: StopLearner) -> dict[str, Tensor]:
    """Running means of all gradients so far, by parameter."""
    of = learner._optimizer.state
    return {k: of[v]["exp_avg"] for k, v in learner.network.parameters().items() if v in of}


def same_parameters(one: StopLearner, other: StopLearner) -> None:
    for ours, theirs in (
        (one.network, other.network),
        (one.inference_network, other.inference_network),
    ):
        for name, value in ours.parameters().items():
            torch.testing.assert_close(
                theirs.parameters()[name], value, rtol=TOLERANCE, atol=1e-11, msg=name
            )


VARIANTS = {
    "plain": SPEC,
    "EMA": LEARNERS["segment, slow"],
    "half_mse, smoothed": replace(SPEC, loss=Loss("half_mse", label_smoothing=0.1)),
    "loss at the end": replace(SPEC, loss=Loss(timing="end")),
    "classes seen": replace(SPEC, loss_classes="seen"),
    "classes of the last two segments": replace(SPEC, loss_classes="recent", recent_segments=2),
    "rates by class": replace(SPEC, class_lr_decay=0.5, other_class_lr_scale=0.3),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["linear, depth 3", "conv, pool 2", "leaky readout"])
def test_segment_after_segment_the_weights_and_losses_are_the_same(name, variant):
    spec, network, one = VARIANTS[variant], network_of(name), doubled(stream(6, 8, density=0.3))
    known, late = uneven(network, spec), uneven(network, replace(spec, late="all"))
    losses: list[float | None] = []
    end = known.end_segment
    known.end_segment = lambda: losses.append(end()) or losses[-1]  # type: ignore
    lead(known, one)
    found = lead_late(late, one)
    same_parameters(known, late)
    assert found == pytest.approx(losses, rel=1e-10)
    assert late.counts.tolist() == known.counts.tolist()
    assert late.last_segment.tolist() == known.last_segment.tolist()
    assert (late.updates, late.ema_updates) == (known.updates, known.ema_updates)


def test_dropout_silences_the_same_outputs():
    network = replace(NETWORK, layers=(LayerSpec("conv", 6, pool=2, dropout=0.3), LINEAR))
    known, late = uneven(network, SPEC), uneven(network, replace(SPEC, late="all"))
    one = doubled(stream(4, 8, density=0.3))
    lead(known, one)
    lead_late(late, one)
    same_parameters(known, late)


@pytest.mark.parametrize("classes", ["all", "seen"])
@pytest.mark.parametrize("name", ["linear, depth 3", "conv, max pooling", "residual, spikes added"])
@pytest.mark.parametrize("late", ["readout", "last"])
def test_a_part_learns_the_gradient_that_it_has_in_the_whole(late, name, classes):
    one = doubled(stream(1, 10, seed=3, density=0.3))
    network, spec = network_of(name), replace(SPEC, loss_classes=classes)
    learner = uneven(network, replace(spec, late=late))
    learner.mark_classes_seen([0, 1])
    before = {k: v.clone() for k, v in learner.network.parameters().items()}
    found = segment_grads(learner, one.x[0], one.labels[0], late=True)
    known = uneven(network, spec)
    known.mark_classes_seen([0, 1])
    whole = segment_grads(known, one.x[0], one.labels[0], late=False)
    last = learner.network.layer_names[-1].partition(".")[0]
    mine = ("readout.",) if late == "readout" else ("readout.", f"{last}.")
    assert found.keys() == {k for k in whole if k.startswith(mine)}
    differences = differ(found, {k: whole[k] for k in found})
    assert max(differences.values()) < TOLERANCE, differences
    after = learner.network.parameters()
    assert {k for k in after if not torch.equal(after[k], before[k])} <= found.keys()


def test_what_does_not_learn_late_does_not_move_by_what_adam_remembers():
    """Labels in time move all layers, late ones the readout alone."""
    learner, one = StopLearner(NETWORK, replace(SPEC, late="readout")), stream(2)
    lead(learner, one)
    hidden = {k: v.clone() for k, v in learner.network.parameters().items()}
    lead_late(learner, one)
    after = learner.network.parameters()
    moved = {k for k in after if not torch.equal(after[k], hidden[k])}
    assert moved == {"readout.weight", "readout.bias"}
    lead(learner, one)  # and labels in time move all again
    assert not torch.equal(learner.network.parameters()["conv1.weight"], hidden["conv1.weight"])


@pytest.mark.parametrize("surrogate", ["exponential", "triangle"])
@pytest.mark.parametrize("name", ["linear, depth 3", "conv, pool 2", "conv, global average"])
def test_the_gradient_is_that_of_autograd_where_paths_through_membranes_above_are_cut(
    name, surrogate
):
    """Labels and traces of ours have no part in it."""
    network, one = network_of(name, surrogate), doubled(stream(1, 10, seed=4, density=0.3))
    learner = uneven(network, replace(SPEC, late="all"))
    twin = Network(network, 0, dtype=torch.float64)
    twin.load_parameters(learner.network.parameters())
    exact = bptt.grads(twin, one.x[0], torch.tensor(one.labels), same_step_only=True)
    found = segment_grads(learner, one.x[0], one.labels[0], late=True)
    differences = differ(found, {k: exact[k] / 10 for k in found})
    assert max(differences.values()) < TOLERANCE, differences


def wait_through(learner: StopLearner, segment: Tensor) -> tuple[int, list[bytes]]:
    """One segment without a label: its number, and what was predicted of its bins."""
    learner.begin_segment()
    said, number = [], 0
    for x in segment:
        said.append(learner.predict(x, trace=True).log_probs.tobytes())
        number = learner.await_label()
    return number, said


@pytest.mark.parametrize("update", LEARNERS)
def test_a_label_that_comes_within_the_next_segment_changes_nothing_until_that_is_over(update):
    spec = replace(LEARNERS[update], late="all")
    one = stream(3)
    said, weights = [], []
    for label in (None, 0, 1):
        learner = StopLearner(NETWORK, spec)
        number, _ = wait_through(learner, one.x[0])
        learner.end_segment()
        learner.begin_segment()
        bins = []
        for j, x in enumerate(one.x[1]):
            if j == 3 and label is not None:
                before = weights_of(learner)
                assert learner.learn_late(label, number)
                assert weights_of(learner) == before
            bins.append(learner.predict(x, trace=True).log_probs.tobytes())
            learner.await_label()
        said.append((bins, learner.predict_segment().linear.tobytes()))
        learner.end_segment()
        weights.append(weights_of(learner))
    assert said[0] == said[1] == said[2]
    assert len(set(weights)) == 3


def test_the_sums_of_a_segment_are_its_own_whatever_comes_between():
    """The label of the first comes after the weights moved by the second: the gradient is that of
    the weights that the first was predicted by.
    """
    spec = replace(SPEC, late="all")
    network = network_of("weights standardised")
    one = doubled(stream(2, density=0.3))
    alone = segment_grads(uneven(network, spec), one.x[0], one.labels[0], late=True)
    learner = uneven(network, spec)
    first, _ = wait_through(learner, one.x[0])
    learner.end_segment()
    second, _ = wait_through(learner, one.x[1])
    learner.end_segment()
    assert learner.learn_late(one.labels[1], second)
    grads = {}
    move = learner._move_weights

    def see(label: int | None) -> None:
        grads.update({k: v.grad.clone() for k, v in learner.network.parameters().items()})
        move(label)

    learner._move_weights = see  # type: ignore[method-assign]
    assert learner.learn_late(one.labels[0], first)
    assert all(torch.equal(grads[k], alone[k]) for k in alone)


def test_the_oldest_segment_that_waits_is_given_up_and_says_so():
    learner, one = StopLearner(NETWORK, replace(SPEC, late="all")), stream(MAX_KEPT + 2)
    numbers = []
    for segment in one.x:
        numbers.append(wait_through(learner, segment)[0])
        learner.end_segment()
    before = weights_of(learner)
    assert not any(learner.learn_late(0, number) for number in numbers[:2])
    assert weights_of(learner) == before
    assert all(learner.learn_late(0, number) for number in numbers[2:])
    assert not learner.learn_late(0)
    assert not learner.learn_late(0, numbers[-1])  # once is enough
    assert learner.updates == MAX_KEPT


def test_a_segment_that_no_label_came_for_moves_nothing():
    learner = StopLearner(NETWORK, replace(SPEC, late="all"))
    before = weights_of(learner)
    for segment in stream(5).x:
        wait_through(learner, segment)
        assert learner.end_segment() is None
    assert weights_of(learner) == before
    assert learner.updates == 0


def test_forgetting_all_gives_up_what_waits():
    learner = StopLearner(NETWORK, replace(SPEC, late="all"))
    number, _ = wait_through(learner, stream(1).x[0])
    learner.end_segment()
    learner.reinitialize()
    assert not learner.learn_late(0, number)
    later, _ = wait_through(learner, stream(1).x[0])
    learner.end_segment()
    assert later > number  # an old number is nobody else's
    assert not learner.learn_late(0, number)


@pytest.mark.parametrize("late", ["readout", "last", "all"])
@pytest.mark.parametrize("readout", ["linear", "leaky_integrator", "spiking"])
def test_state_is_the_same_after_10_bins_and_10000(late, readout):
    learner = StopLearner(replace(NETWORK, readout=readout), replace(SPEC, late=late))
    off = StopLearner(replace(NETWORK, readout=readout), SPEC).state_bytes()
    sizes = {learner.state_bytes()}
    for bins in (10, 10_000 if (late, readout) == ("all", "linear") else 300):
        learner.begin_segment()
        x = stream(1, 1).x[0, 0]
        for j in range(bins):
            learner.predict(x, trace=True)
            learner.await_label()
            if j % 100 == 9:
                sizes.add(learner.state_bytes())
        learner.end_segment()
        sizes.add(learner.state_bytes())
    assert len(sizes) == 1
    held = sum(one.state_bytes() for one in (*learner._late._waiting, *learner._late._free))
    assert sizes.pop() == off + held // 2 * (1 + MAX_KEPT)  # two were made


def test_the_sums_are_as_large_as_said():
    """A gradient per class for the layers; two for the readout; a loss per class."""
    classes = NETWORK.classes
    sizes = {
        late: StopLearner(NETWORK, replace(SPEC, late=late)).state_bytes()
        for late in ("off", "readout", "last", "all")
    }
    parameters = StopLearner(NETWORK, SPEC).network.parameters()
    hidden = sum(v.numel() for k, v in parameters.items() if not k.startswith("readout"))
    readout = sum(v.numel() for k, v in parameters.items() if k.startswith("readout"))
    one = 4 * (2 * readout + classes)
    assert sizes["readout"] - sizes["off"] == (1 + MAX_KEPT) * one
    assert sizes["all"] - sizes["off"] == (1 + MAX_KEPT) * (one + 4 * classes * hidden)
    assert sizes["last"] == sizes["all"]  # of one layer


@pytest.mark.parametrize("late", ["readout", "last", "all"])
def test_late_labels_teach_what_there_is_to_learn(late):
    learner, one = StopLearner(NETWORK, replace(SPEC, late=late)), stream(60)
    hits, waiting = [], None
    for segment, label in zip(one.x, one.labels, strict=True):
        number, _ = wait_through(learner, segment)
        if waiting is not None:  # the label of the one before comes in the middle of this one
            assert learner.learn_late(*waiting)
        hits.append(int(learner.predict_segment().linear.argmax()) == label)
        learner.end_segment()
        waiting = label, number
    assert np.mean(hits[-30:]) > 0.25 + 3 * 0.08  # chance, and its standard deviation


def test_misuse_is_said():
    one = stream(1).x[0]
    with pytest.raises(UsageError, match=r"late must be one of off, readout, last, all"):
        LearnerSpec(late="everything")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"learner\.late = \"all\".*set learner\.late = \"off\""):
        LearnerSpec(late="all", rule="bptt")
    off = StopLearner(NETWORK, SPEC)
    off.begin_segment()
    off.predict(one[0], trace=True)
    with pytest.raises(UsageError, match=r"await_label: learner\.late is \"off\""):
        off.await_label()
    with pytest.raises(UsageError, match=r"learn_late: learner\.late is \"off\""):
        off.learn_late(0)
    learner = StopLearner(NETWORK, replace(SPEC, late="all"))
    learner.begin_segment()
    with pytest.raises(UsageError, match=r"await_label follows predict"):
        learner.await_label()
    learner.predict(one[0], trace=True)
    learner.await_label()
    with pytest.raises(UsageError, match="await their label already"):
        learner.learn(0)
    with pytest.raises(UsageError, match="label 4: the network has the classes 0 to 3"):
        learner.learn_late(4)
    learner.begin_segment()
    learner.predict(one[0], trace=True)
    learner.learn(0)
    learner.predict(one[1], trace=True)
    with pytest.raises(UsageError, match="was learned"):
        learner.await_label()


def test_divergence_is_seen_where_late_labels_move_the_weights():
    spec = replace(SPEC, late="all", lr=1e9, lr_readout=1e9)
    learner = StopLearner(NETWORK, spec)
    number, _ = wait_through(learner, stream(1).x[0])
    learner.end_segment()
    with pytest.raises(DivergedError, match="beyond"):
        learner.learn_late(0, number)
