"""The learner with other readouts, losses and rules: what it then learns, keeps and refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.streams import LEARNERS, NETWORK, lead, stream, weights_of
from torch.nn import functional

from streamstop.errors import UsageError
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop import bptt
from streamstop.stop.layer import LayerSpec
from streamstop.stop.losses import Loss
from streamstop.stop.network import Network, NetworkSpec

READOUTS = ("linear", "leaky_integrator", "spiking")
RULES = ("stop", "ottt", "sltt", "bptt")

every_readout = pytest.mark.parametrize("readout", READOUTS)
every_rule = pytest.mark.parametrize("rule", RULES)


def network_of(readout: str, dropout: float = 0.0) -> NetworkSpec:
    layers = (LayerSpec("conv", 6, pool=2, dropout=dropout),)
    return replace(NETWORK, layers=layers, readout=readout)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("readout", "dropout"), [("linear", 0.2), ("leaky_integrator", 0.0), ("spiking", 0.0)]
)
def test_state_is_the_same_after_10_and_2000_steps(readout, dropout):
    learner = StopLearner(network_of(readout, dropout), LEARNERS["segment"])
    sizes: list[int] = [learner.state_bytes()]
    lead(learner, stream(400, bins=5), lambda i, j: sizes.append(learner.state_bytes()))
    assert len(sizes) == 2001
    assert len(set(sizes)) == 1


def test_bptt_keeps_the_bins_of_its_segment_and_says_so():
    learner, one = StopLearner(NETWORK, replace(LEARNERS["segment"], rule="bptt")), stream(2)
    before, sizes = learner.state_bytes(), []
    lead(learner, one, lambda i, j: sizes.append(learner.state_bytes() - before))
    bin_bytes = one.x[0, 0].numel() * 4
    assert sizes == [bin_bytes * (j + 1) for _ in range(2) for j in range(10)]


@every_readout
def test_every_readout_learns_what_there_is_to_learn(readout):
    """Spikes of four neurons, from silence, take twice as long to say it."""
    segments = 120 if readout == "spiking" else 60
    hits = lead(StopLearner(network_of(readout), LEARNERS["segment"]), stream(segments)).hits
    assert np.mean(hits[-30:]) > 0.7


@every_rule
def test_every_rule_learns_what_there_is_to_learn(rule):
    hits = lead(StopLearner(NETWORK, replace(LEARNERS["segment"], rule=rule)), stream(60)).hits
    assert np.mean(hits[-30:]) > 0.7


@pytest.mark.parametrize(
    "loss", [Loss("half_mse"), Loss("mean_ce_mse"), Loss("ce", "end"), Loss(label_smoothing=0.1)]
)
def test_every_loss_learns_what_there_is_to_learn(loss):
    segments = 90 if loss.timing == "end" else 60  # a tenth of the errors
    learner = StopLearner(NETWORK, replace(LEARNERS["segment"], loss=loss))
    hits = lead(learner, stream(segments)).hits
    assert np.mean(hits[-30:]) > 0.7


@pytest.mark.parametrize("at", ["step", "end"])
@every_readout
@pytest.mark.parametrize("untaught", [0, 4])
def test_a_segment_by_bptt_is_one_step_along_its_gradient(readout, at, untaught):
    """Of the losses of the bins that were taught, through all bins that were seen."""
    loss = Loss("ce", at, 0.1)
    spec = replace(LEARNERS["segment"], rule="bptt", loss=loss)
    network, one = network_of(readout), stream(1)
    x, label = one.x[0].double(), one.labels[0]
    twin = Network(network, 0, rule="bptt", dtype=torch.float64)
    labels = torch.tensor([label])
    exact = bptt.grads(twin, x, labels, loss)
    taught = 10 - untaught
    if untaught and at == "step":  # the losses of the bins before that speak go again
        before = bptt.grads(twin, x[:untaught], labels, loss)
        exact = {name: grad - before[name] for name, grad in exact.items()}
    rates = {"log_theta": spec.lr_threshold, "leak_logit": spec.lr_leak}
    groups = []
    for name, value in twin.parameters().items():
        value.grad = exact[name] / (taught if at == "step" else 1)
        holder, _, kind = name.rpartition(".")
        rate = spec.lr_readout if holder == "readout" else rates.get(kind, spec.lr)
        groups.append({"params": [value], "lr": rate})
    learner = StopLearner(network, spec, dtype=torch.float64)
    learner.begin_segment()
    for i, now in enumerate(x):
        learner.predict(now, trace=True)
        if i >= untaught:
            learner.learn(label)
    torch.optim.Adam(groups, betas=spec.betas).step()
    learner.end_segment()
    for name, value in learner.network.parameters().items():
        torch.testing.assert_close(value, twin.parameters()[name], rtol=1e-9, atol=1e-10)


def test_bptt_cannot_move_weights_within_a_segment():
    for every in (1, 5):
        with pytest.raises(UsageError, match=r'needs whole segments.*must be "segment"'):
            StopLearner(NETWORK, LearnerSpec(rule="bptt", update="step", update_interval=every))


@every_rule
@pytest.mark.parametrize("at", ["step", "end"])
def test_a_segment_without_labels_moves_nothing(rule, at):
    spec = replace(LEARNERS["segment"], rule=rule, loss=Loss(timing=at))
    learner = StopLearner(NETWORK, spec)
    lead(learner, stream(2))
    before = weights_of(learner)
    learner.begin_segment()
    for x in stream(1, seed=5).x[0]:
        learner.predict(x, trace=False)
    assert learner.end_segment() is None
    assert weights_of(learner) == before


@every_rule
@pytest.mark.parametrize("at", ["step", "end"])
def test_the_loss_is_the_mean_of_those_that_spoke(rule, at):
    """Each bin's, or the last bin's alone, whatever the rule."""
    learner = StopLearner(NETWORK, replace(LEARNERS["segment"], rule=rule, loss=Loss(timing=at)))
    one = stream(1)
    learner.begin_segment()
    losses = []
    for x in one.x[0]:
        losses.append(-learner.predict(x, trace=True).log_probs[one.labels[0]])
        learner.learn(one.labels[0])
    expected = losses[-1] if at == "end" else np.mean(losses)
    assert learner.end_segment() == pytest.approx(expected, rel=1e-5)


@every_readout
def test_a_loss_at_the_end_teaches_the_last_bin_alone(readout):
    """One step of Adam along that bin's error, with the traces of all bins."""
    spec = replace(LEARNERS["segment"], loss=Loss(timing="end"))
    network, one = network_of(readout), stream(1)
    x, label = one.x[0].double(), one.labels[0]
    twin = Network(network, 0, dtype=torch.float64)
    for now in x:
        logits = twin.forward(now)
    twin.backward(logits.softmax(1) - functional.one_hot(torch.tensor([label]), 4))
    grads = twin.finish_grads()
    rates = {"log_theta": spec.lr_threshold, "leak_logit": spec.lr_leak}
    groups = []
    for name, value in twin.parameters().items():
        value.grad = grads[name].clone()
        holder, _, kind = name.rpartition(".")
        rate = spec.lr_readout if holder == "readout" else rates.get(kind, spec.lr)
        groups.append({"params": [value], "lr": rate})
    torch.optim.Adam(groups, betas=spec.betas).step()
    learner = StopLearner(network, spec, dtype=torch.float64)
    lead(learner, one._replace(x=one.x.double()))
    for name, value in learner.network.parameters().items():
        torch.testing.assert_close(value, twin.parameters()[name], rtol=1e-9, atol=1e-10)


@every_readout
def test_a_segments_past_is_gone_with_it(readout):
    """A leaky readout's potential and a spiking one's membranes too."""
    spec = replace(LEARNERS["segment"], trainable=(), lr_readout=0.0)
    one = stream(3)
    whole = lead(StopLearner(network_of(readout), spec), one)
    last = one._replace(x=one.x[2:], labels=one.labels[2:])
    assert whole.bins[2] == lead(StopLearner(network_of(readout), spec), last).bins[0]


@every_readout
@pytest.mark.parametrize("name", ["segment", "step"])
def test_same_seed_same_bytes_with_dropout_too(readout, name):
    network = network_of(readout, 0.3)
    runs = [lead(StopLearner(network, LEARNERS[name], seed), stream(4)) for seed in (3, 3, 4)]
    assert runs[0] == runs[1]
    assert runs[0].weights != runs[2].weights
