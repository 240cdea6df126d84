"""The learner: what may move when, bounded, repeatable, and loud when it diverges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.streams import CLASSES, LEARNERS, NETWORK, lead, stream, weights_of
from torch.nn import functional

from streamstop.errors import DivergedError
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop.network import TRAINABLE, Network

every_way = pytest.mark.parametrize("spec", LEARNERS.values(), ids=LEARNERS.keys())


@every_way
def test_it_learns_what_there_is_to_learn(spec):
    """On a stream with a signal the last thirty decisions are far above chance (0.25)."""
    hits = lead(StopLearner(NETWORK, spec), stream(60)).hits
    assert np.mean(hits[-30:]) > 0.7


def test_the_discriminant_readout_learns_sooner():
    learner, one = StopLearner(NETWORK, LEARNERS["segment"]), stream(20)
    answers = [int(np.frombuffer(scores).argmax()) for scores in lead(learner, one).lda]
    assert np.mean([a == b for a, b in zip(answers, one.labels, strict=True)][-10:]) > 0.8


@every_way
def test_same_seed_same_bytes(spec):
    runs = [lead(StopLearner(NETWORK, spec, seed), stream(4)) for seed in (3, 3, 4)]
    assert runs[0] == runs[1]
    assert runs[0].weights != runs[2].weights


def test_segment_update_is_one_adam_step_along_the_mean_gradient():
    one = stream(1)
    twin = Network(NETWORK, 0, dtype=torch.float64)
    for x in one.x[0].double():
        error = twin.forward(x).softmax(1)
        error[0, one.labels[0]] -= 1.0
        twin.backward(error)
    twin.finish_grads()
    rates = {"log_theta": 3e-4, "leak_logit": 3e-4}
    groups = []
    for name, value in twin.parameters().items():
        value.grad = twin.grads[name] / 10
        rate = 3e-2 if name.startswith("readout") else rates.get(name.split(".")[1], 1e-2)
        groups.append({"params": [value], "lr": rate})
    spec = replace(LEARNERS["segment"], lr_threshold=3e-4, lr_leak=3e-4)
    learner = StopLearner(NETWORK, spec, dtype=torch.float64)
    torch.optim.Adam(groups, betas=spec.betas).step()
    lead(learner, one._replace(x=one.x.double()))
    for name, value in learner.network.parameters().items():
        torch.testing.assert_close(value, twin.parameters()[name], rtol=1e-12, atol=1e-12)


END = 99
"""Stands for the end of a segment where a bin's index is wanted."""


def moments_of_change(spec: LearnerSpec) -> list[tuple[int, int]]:
    """(segment, bin) after whose label any weights moved, of the network or its shadow."""
    learner, moved = StopLearner(NETWORK, spec), []
    weights = weights_of(learner)

    def look(i: int, j: int) -> None:
        nonlocal weights
        if weights_of(learner) != weights:
            moved.append((i, j))
            weights = weights_of(learner)

    one = stream(2, bins=8)
    for i in range(2):
        part = one._replace(x=one.x[i : i + 1], labels=one.labels[i : i + 1])
        lead(learner, part, lambda _, j, i=i: look(i, j))
        look(i, END)
    return moved


def test_updates_come_at_the_segments_end_or_every_few_bins():
    assert moments_of_change(LEARNERS["segment"]) == [(0, END), (1, END)]
    step = [(i, j) for i in (0, 1) for j in (*range(8), END)]  # then the shadow follows
    assert moments_of_change(LEARNERS["step"]) == step
    every_3 = [(i, j) for i in (0, 1) for j in (2, 5, END)]
    assert moments_of_change(LEARNERS["step, every 3"]) == every_3


@every_way
def test_deciding_weights_stand_still_within_a_segment(spec):
    learner, seen = StopLearner(NETWORK, spec), {}

    def look(i: int, j: int) -> None:
        parameters = learner.inference_network.parameters().values()
        seen.setdefault(i, set()).add(b"".join(v.numpy().tobytes() for v in parameters))

    lead(learner, stream(4), look)
    assert [len(states) for states in seen.values()] == [1] * 4
    assert len(set.union(*seen.values())) == 4  # and move between segments


@pytest.mark.parametrize("name", ["segment", "step", "step, every 3"])
def test_decision_is_that_of_the_weights_of_the_segments_beginning(name):
    """A copy of the learning weights, taken as the segment begins, says the same to the bit."""
    learner, one = StopLearner(NETWORK, LEARNERS[name]), stream(5)
    for segment, label in zip(one.x, one.labels, strict=True):
        copy = Network(NETWORK, seed=99, learn="")
        copy.load_parameters({k: v.clone() for k, v in learner.network.parameters().items()})
        learner.begin_segment()
        votes = np.zeros(CLASSES)
        for x in segment:
            learner.predict(x, trace=True)
            learner.learn(label)
            votes += functional.log_softmax(copy.forward(x, False), 1)[0].double().numpy()
        decision = learner.predict_segment()
        assert decision.linear.tobytes() == (votes / len(segment)).tobytes()
        learner.update_lda(decision.rates, label)
        learner.end_segment()


def test_slow_weights_are_the_mean_of_the_first_ends_then_an_average():
    spec = LEARNERS["segment, slow"]  # keeps 0.8: a plain mean over the first five
    learner, one = StopLearner(NETWORK, spec), stream(8)
    wanted, name = None, "readout.weight"
    for i in range(8):
        lead(learner, one._replace(x=one.x[i : i + 1], labels=one.labels[i : i + 1]))
        fast = learner.network.parameters()[name].double()
        keep = min(0.8, i / (i + 1))
        wanted = fast if wanted is None else keep * wanted + (1 - keep) * fast
        slow = learner.inference_network.parameters()[name].double()
        torch.testing.assert_close(slow, wanted, rtol=1e-5, atol=1e-6)
        assert i == 0 or not torch.allclose(slow, fast)


@pytest.mark.parametrize(
    ("learn", "moves"),
    [
        ("", set()),
        ("w", {"weight", "bias"}),
        ("t", {"log_theta"}),
        ("l", {"leak_logit"}),
        ("wtl", {"weight", "bias", "log_theta", "leak_logit"}),
    ],
)
def test_learn_says_what_moves(learn, moves):
    names = tuple(name for name in TRAINABLE if name[0] in learn)
    learner = StopLearner(NETWORK, replace(LEARNERS["segment"], trainable=names))
    before = {k: v.clone() for k, v in learner.network.parameters().items()}
    leak, theta = float(learner.network.layers[0].leak), learner.network.layers[0].theta.clone()
    lead(learner, stream(3))
    after = learner.network.parameters()
    moved = {k for k in after if not torch.equal(after[k], before[k])}
    assert moved == {f"conv1.{kind}" for kind in moves} | {"readout.weight", "readout.bias"}
    assert (float(learner.network.layers[0].leak) != leak) == ("l" in learn)
    assert torch.equal(learner.network.layers[0].theta, theta) == ("t" not in learn)


@every_way
def test_a_segment_without_labels_moves_nothing(spec):
    learner = StopLearner(NETWORK, spec)
    lead(learner, stream(2))
    before = weights_of(learner)
    learner.begin_segment()
    for x in stream(1, seed=5).x[0]:
        learner.predict(x, trace=False)
    assert not any(layer.trace.any() for layer in learner.network.layers)
    assert learner.end_segment() is None
    assert weights_of(learner) == before


@every_way
def test_a_segments_past_is_gone_with_it(spec):
    """What is said of a segment depends on earlier ones through weights and statistics alone."""
    spec = replace(spec, trainable=(), lr_readout=0.0)
    one = stream(3)
    whole = lead(StopLearner(NETWORK, spec), one)
    alone = lead(StopLearner(NETWORK, spec), one._replace(x=one.x[2:], labels=one.labels[2:]))
    assert whole.bins[2] == alone.bins[0]


def test_loss_is_the_mean_cross_entropy_of_the_segment():
    learner, one = StopLearner(NETWORK, LEARNERS["segment"]), stream(1)
    learner.begin_segment()
    total = 0.0
    for x in one.x[0]:
        total -= learner.predict(x, trace=True).log_probs[one.labels[0]]
        learner.learn(one.labels[0])
    assert learner.end_segment() == pytest.approx(total / 10, rel=1e-6)


def test_statistics_tell_of_the_spikes_since_the_segment_began():
    learner, one = StopLearner(NETWORK, LEARNERS["segment"]), stream(2)
    lead(learner, one)
    learner.begin_segment()
    spikes = []
    for x in one.x[1]:
        learner.predict(x, trace=False)
        spikes.append(learner.network.layers[0].state.spikes.clone())
    told = learner.layer_statistics()["conv1"]
    layer = learner.network.layers[0]
    assert told["firing_rate"] == pytest.approx(float(torch.stack(spikes).mean()), rel=1e-6)
    assert told["threshold"] == pytest.approx(float(layer.log_theta.exp().mean()), rel=1e-6)
    assert told["threshold_sd"] > 0
    assert told["leak"] == float(layer.leak)
    pooled = torch.stack(spikes).mean(0)[0]  # 6 channels of 8x8: nothing to pool
    np.testing.assert_allclose(learner.firing_rates(), pooled.sqrt().flatten(), rtol=1e-6)


def test_a_window_begins_without_a_rest():
    learner, one = StopLearner(NETWORK, LEARNERS["segment"]), stream(1)
    learner.begin_segment()
    for x in one.x[0]:
        learner.predict(x, trace=False)
    membrane = learner.network.layers[0].state.v.clone()
    learner.begin_window()
    assert torch.equal(learner.network.layers[0].state.v, membrane)
    assert not learner.layer_statistics()
    learner.reset_state()
    assert not learner.network.layers[0].state.v.any()


@every_way
def test_state_is_the_same_after_10_and_2000_steps(spec):
    """All of it is counted from the first bin on."""
    learner = StopLearner(NETWORK, spec)
    sizes: list[int] = []
    lead(learner, stream(400, bins=5), lambda i, j: sizes.append(learner.state_bytes()))
    assert len(sizes) == 2000
    assert len(set(sizes)) == 1


def test_shadow_counts_as_state():
    plain, shadowed = LEARNERS["segment"], LEARNERS["step"]
    sizes = []
    for spec in (plain, shadowed):
        learner = StopLearner(NETWORK, spec)
        lead(learner, stream(2))
        sizes.append(learner.state_bytes())
    shadow = Network(NETWORK, 0)
    parameters = sum(v.numel() * v.element_size() for v in shadow.parameters().values())
    assert sizes[1] - sizes[0] == parameters + shadow.state_bytes()


def test_no_tensor_it_keeps_has_a_graph():
    learner = StopLearner(NETWORK, LEARNERS["step"])
    with torch.enable_grad():
        lead(learner, stream(2))
    for network in (learner.network, learner.inference_network):
        kept = [*network.parameters().values(), *network.grads.values()]
        kept += [t for layer in network.layers for t in (*layer.state, layer.trace, layer.theta)]
        assert not any(t.requires_grad or t.grad_fn is not None for t in kept)


@pytest.mark.parametrize("update", ["segment", "step"])
@pytest.mark.parametrize("rate", ["lr", "lr_threshold", "lr_readout"])
def test_a_huge_rate_diverges_aloud(rate, update):
    learner = StopLearner(NETWORK, replace(LEARNERS[update], **{rate: 1e38}))
    with pytest.raises(DivergedError, match=r"after \d+ updates.*lower \[learner\] lr"):
        lead(learner, stream(10))


@pytest.mark.parametrize("update", ["segment", "step"])
def test_nan_in_the_input_diverges_aloud(update):
    one = stream(3)
    one.x[1, 4] = float("nan")
    learner = StopLearner(NETWORK, LEARNERS[update])
    with pytest.raises(DivergedError, match="finite"):
        lead(learner, one)


def test_weights_that_run_away_are_a_divergence_though_finite():
    learner = StopLearner(NETWORK, replace(LEARNERS["segment"], lr=1e30))
    with pytest.raises(DivergedError, match="1e\\+06"):
        lead(learner, stream(3))
