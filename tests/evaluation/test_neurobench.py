"""Operations counted in the loop: by hand, exact, bounded, and no part of what they count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.nets import Case, build

from streamstop.evaluation.neurobench import ADAM_OPERATIONS, Geometry, SynapticOperations, fan_out
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop.cost import network_cost
from streamstop.stop.layer import LayerSpec, NeuronSpec
from streamstop.stop.network import Network, NetworkSpec

CONV = NetworkSpec((1, 4, 4), (LayerSpec("conv", 2, pool=2),), 3, NeuronSpec(threshold_init=0.1))
INSIDE = 2 * (3 * 4 - 2) ** 2
"""Taps of two 3x3 filters on a 4x4 plane, less those on its padding: 10 a side, for 12."""


def taken(
    learner: StopLearner,
    operations: SynapticOperations,
    bins: list[torch.Tensor],
    label: int | None = None,
) -> None:
    """One segment, taught where a label is given."""
    learner.begin_segment()
    for x in bins:
        learner.predict(x, trace=label is not None)
        if label is not None:
            learner.learn(label)
        operations.bin()
    learner.end_segment()


def one_event(y: int, x: int, value: float) -> torch.Tensor:
    made = torch.zeros(1, 1, 4, 4)
    made[0, 0, y, x] = value
    return made


def test_an_events_operations_are_the_taps_that_it_reaches():
    learner = StopLearner(CONV, LearnerSpec())
    learner.network.parameters()["conv1.log_theta"].fill_(9)  # no spike: the readout sees nothing
    learner.network.refresh()
    operations = SynapticOperations(learner)
    taken(learner, operations, [one_event(0, 0, 1), one_event(1, 2, 1), torch.zeros(1, 1, 4, 4)])
    assert (operations.macs, operations.acs) == (0, 2 * 4 + 2 * 9)
    taken(learner, operations, [one_event(1, 0, 0.7), one_event(3, 3, -1), one_event(0, 0, 2)])
    assert (operations.macs, operations.acs) == (2 * 6 + 2 * 4, 2 * 4 + 2 * 9 + 2 * 4)
    found = operations.as_dict()
    assert found["executions"] == 6
    assert found["synaptic_operations"]["dense"] == INSIDE + 3 * 2 * 2 * 2
    assert found["activation_sparsity"] == found["activation_sparsity_by_layer"]["conv1"] == 1


def test_spikes_are_counted_before_pooling_and_averages_of_them_multiply():
    learner = StopLearner(CONV, LearnerSpec())
    parameters = learner.network.parameters()
    parameters["conv1.weight"].zero_()
    parameters["conv1.weight"][1, 0, 1, 1] = 1.0  # what comes in, in the second channel
    learner.network.refresh()
    operations = SynapticOperations(learner)
    full = torch.zeros(1, 1, 4, 4)
    full[..., :2, :2] = 1
    taken(learner, operations, [one_event(3, 0, 1)])
    assert (operations.macs, operations.acs) == (3, 1)  # a quarter of a spike, to three classes
    taken(learner, operations, [full])
    assert (operations.macs, operations.acs) == (3, 1 + 4 + 3)  # a window of spikes is a 1
    assert operations.spikes == {"conv1": 5}
    assert operations.as_dict()["activation_sparsity"] == 1 - 5 / (2 * 32)
    assert operations.as_dict()["connection_sparsity"] == 17 / (18 + 3 * 8)


def test_weights_that_come_to_life_count_from_the_bin_on_that_uses_them():
    learner = StopLearner(CONV, LearnerSpec(trainable=()))
    learner.network.parameters()["readout.weight"].zero_()
    learner.network.parameters()["conv1.bias"].fill_(1.0)  # every neuron spikes, every window is 1
    learner.network.refresh()
    operations = SynapticOperations(learner)
    silent = torch.zeros(1, 1, 4, 4)
    taken(learner, operations, [silent, silent], label=1)
    assert operations.acs == 0  # the label moved the readout once the segment was over
    taken(learner, operations, [silent])
    assert operations.acs == 3 * 8
    assert operations.as_dict()["connection_sparsity"] == 0


@pytest.mark.parametrize("seed", range(6))
def test_fan_out_with_some_zeros_is_that_of_each_tap_looked_at(seed):
    rng = np.random.default_rng(seed)
    groups, stride, pad, kernel = (int(rng.integers(1, n)) for n in (3, 4, 4, 5))
    shape = (2 * groups, int(rng.integers(kernel, 9)), int(rng.integers(kernel, 9)))
    out = tuple((side + 2 * pad - kernel) // stride + 1 for side in shape[1:])
    weight = torch.from_numpy(rng.integers(0, 2, (3 * groups, 2, kernel, kernel)) * -1.5)
    expected = np.zeros(shape, int)
    for o, i, dy, dx in zip(*np.nonzero(weight.numpy()), strict=True):
        for r in range(out[0]):
            for c in range(out[1]):
                y, x = r * stride + dy - pad, c * stride + dx - pad
                if 0 <= y < shape[1] and 0 <= x < shape[2]:
                    expected[2 * (o // 3) + i, y, x] += 1
    where = Geometry(shape, (out[0], out[1]), stride, pad, groups)
    assert np.array_equal(fan_out(weight, where).numpy(), expected)
    ones = fan_out(torch.ones_like(weight), where)
    assert torch.equal(fan_out(weight, where, dense=True), ones)
    assert int(ones.sum()) > expected.sum()


def test_learning_is_counted_by_hand():
    """16 inputs and 32 neurons under 3 classes that see 8 averages; two taught bins of three."""
    learner = StopLearner(CONV, LearnerSpec())
    operations = SynapticOperations(learner)
    x = torch.rand(1, 1, 4, 4)
    taken(learner, operations, [x, x], label=2)
    taken(learner, operations, [x])
    conv, readout, parameters = 2 * 9 * 16, 3 * 8, 2 * 9 + 2 + 2 + 1 + 3 * 8 + 3
    found = operations.as_dict()["learning_operations"]
    expected = {
        "forward": 0,
        "traces": 2 * (16 + 2 * 32),
        "neuron_gradients": 2 * (4 * 32 + 3),
        "weight_gradients": 2 * (conv + readout),
        "input_gradients": 2 * readout,
        "update": ADAM_OPERATIONS * parameters,
    }
    total = sum(expected.values())
    expected = {key: count / 3 for key, count in (expected | {"total": total}).items()}
    assert found == expected | {"bins_taught": 2, "updates": 1}


@pytest.mark.parametrize("late", ["readout", "last", "all"])
def test_late_labels_are_counted_by_hand(late):
    """Of two layers, for each of 3 labels; of the readout for two."""
    layers = (LayerSpec("conv", 2), LayerSpec("linear", 5))
    learner = StopLearner(NetworkSpec((1, 4, 4), layers, 3), LearnerSpec(late=late))
    operations = SynapticOperations(learner)
    learner.begin_segment()
    for _ in range(2):
        learner.predict(torch.rand(1, 1, 4, 4), trace=True)
        operations.bin()
        learner.await_label()
    learner.end_segment()
    assert learner.learn_late(0)
    conv, linear, readout = 2 * 9 * 16, 5 * 32, 3 * 5
    one_label = {
        "readout": 3,
        "last": 3 + readout + (linear + 4 * 5),
        "all": 3 + readout + (linear + 4 * 5) + linear + (conv + 4 * 32),
    }[late]
    found = operations.as_dict()["learning_operations"]
    assert found["late_gradients"] == 3 * one_label + 2 * readout
    assert (found["bins_taught"], found["updates"]) == (0, 1)


def test_what_answers_is_counted_and_a_shadows_twin_is_learnings():
    learner = StopLearner(CONV, LearnerSpec(update="step"))
    operations = SynapticOperations(learner)
    x = [torch.rand(1, 1, 4, 4) for _ in range(4)]
    answered = StopLearner(CONV, LearnerSpec())  # weights that stand still in a segment
    alone = SynapticOperations(answered)
    taken(learner, operations, x, label=0)
    taken(answered, alone, x, label=0)
    assert (operations.macs, operations.acs, operations.spikes) == (
        alone.macs,
        alone.acs,
        alone.spikes,
    )
    found = operations.as_dict()["learning_operations"]
    assert found["forward"] == 2 * 9 * 16 + 3 * 8
    assert found["updates"] == found["bins_taught"] == 4


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_only_what_learns_has_traces(reset):
    neuron = NeuronSpec(reset=reset)
    layers = (LayerSpec("conv", 2), LayerSpec("linear", 5))
    spec = NetworkSpec((1, 4, 4), layers, 3, neuron, readout="leaky_integrator")
    inputs, neurons = 16 + 32, 32 + 5
    hard = neurons * (reset == "hard")
    leaky = 5  # the readout's features; its leak learns with the others
    assert network_cost(spec, "w").traces == inputs + hard + leaky
    assert network_cost(spec, "wtl").traces == inputs + 2 * neurons + hard + leaky + 3
    assert network_cost(spec, "t").traces == neurons + leaky
    assert network_cost(spec, "").traces == leaky
    assert network_cost(spec, "wtl", rule="ottt") == network_cost(spec, "w", rule="ottt")
    assert network_cost(spec, "wtl", rule="ottt").traces == inputs + hard + leaky
    assert network_cost(spec, "wtl", rule="sltt").traces == 0
    assert network_cost(spec, "").neuron_gradient == 3
    assert network_cost(spec, "wtl").neuron_gradient == 4 * neurons + 2 * 3


def test_bptt_goes_through_the_segment_once_more():
    learner = StopLearner(CONV, LearnerSpec(rule="bptt"))
    operations = SynapticOperations(learner)
    taken(learner, operations, [torch.rand(1, 1, 4, 4)] * 5, label=1)
    found = operations.as_dict()["learning_operations"]
    assert found["forward"] == 2 * 9 * 16 + 3 * 8
    assert (found["traces"], found["bins_taught"], found["updates"]) == (0, 5, 1)


def test_nothing_is_kept_of_the_stream_and_nothing_of_it_is_changed():
    """Promise 2; and the same logits, spikes and weights with the counters as without."""
    case = Case((2, 6, 5), (LayerSpec("block", 4), LayerSpec("conv", 3, pool=2, pooling="max")))
    spec = build(case).spec
    plain, counted = StopLearner(spec, LearnerSpec()), StopLearner(spec, LearnerSpec())
    operations = SynapticOperations(counted)

    def held() -> int:
        laid = [one for c in operations._connections for one in c._laid.values()]
        return sum(one.nbytes for one in (*operations._past.values(), *laid))

    sizes = []
    draw = torch.Generator().manual_seed(0)
    for label in (0, 1):
        plain.begin_segment()
        counted.begin_segment()
        for _ in range(20):
            x = torch.rand(1, 2, 6, 5, generator=draw).round()
            one, two = (who.predict(x, trace=True).log_probs for who in (plain, counted))
            operations.bin()
            sizes.append(held())
            assert one.tobytes() == two.tobytes()
            plain.learn(label)
            counted.learn(label)
        plain.end_segment()
        counted.end_segment()
    weights = counted.network.parameters()
    assert all(torch.equal(v, weights[k]) for k, v in plain.network.parameters().items())
    assert min(sizes) == max(sizes)


def test_before_the_first_bin_there_are_no_means():
    found = SynapticOperations(StopLearner(CONV, LearnerSpec())).as_dict()
    assert found["executions"] == 0
    assert found["activation_sparsity"] is None
    assert found["synaptic_operations"] == {
        "effective_macs": None,
        "effective_acs": None,
        "dense": INSIDE + 24,
    }


def test_a_network_that_nobody_counts_keeps_no_inputs():
    network = Network(CONV, 0)
    network.forward(torch.rand(1, 1, 4, 4))
    assert all(one.seen is None for one in network.synapses().values())
