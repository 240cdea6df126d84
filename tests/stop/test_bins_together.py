"""Several bins in one call are those bins one after the other: logits, gradients, state."""

from __future__ import annotations

import pytest
import torch
from helpers.nets import Case, build, inputs, worst

from streamstop.stop.batch_gradients import batch_gradients
from streamstop.stop.layer import LayerSpec, SpikingLayer
from streamstop.stop.losses import Loss
from streamstop.stop.network import Network

CONV = LayerSpec("conv", 4)
WIDE = LayerSpec("conv", 8)
POOLED = LayerSpec("conv", 4, pool=2)
BLOCK = LayerSpec("block", 4)
SHRINKING = LayerSpec("block", 6, stride=2)
JOINED = LayerSpec("block", 6, stride=2, residual="membrane")
SHAPE = (2, 7, 6)

CASES = {
    "convolutions and a linear layer": Case(SHAPE, (POOLED, WIDE, LayerSpec("linear", 9))),
    "one sample": Case(SHAPE, (POOLED, WIDE, LayerSpec("linear", 9)), batch=1),
    "many weights, one sample": Case(SHAPE, (CONV, LayerSpec("linear", 40)), batch=1),
    "max pooling": Case(SHAPE, (LayerSpec("conv", 4, pool=2, pooling="max"), CONV)),
    "dropout": Case(SHAPE, (LayerSpec("conv", 4, pool=2, dropout=0.5), CONV)),
    "dropout by torch": Case(SHAPE, (LayerSpec("conv", 4, dropout=0.5), CONV), reset="hard"),
    "groups and a stride": Case((4, 7, 6), (LayerSpec("conv", 6, groups=2, stride=2), CONV)),
    "hard reset": Case(SHAPE, (POOLED, CONV), reset="hard"),
    "thresholds of neurons": Case(SHAPE, (POOLED, CONV), threshold="neuron"),
    "standardised weights": Case(SHAPE, (POOLED, CONV), norm="weight_standardization"),
    "normalised batches": Case(SHAPE, (POOLED, CONV), norm="batch"),
    "normalised batches, hard reset": Case(SHAPE, (POOLED, CONV), norm="batch", reset="hard"),
    "blocks": Case((2, 8, 8), (CONV, BLOCK, SHRINKING)),
    "blocks that join membranes": Case((2, 8, 8), (CONV, JOINED), average=True),
    "blocks, normalised": Case((2, 8, 8), (CONV, SHRINKING, JOINED), norm="batch"),
    "leaky readout": Case(SHAPE, (POOLED,), readout="leaky_integrator"),
    "spiking readout": Case(SHAPE, (POOLED,), readout="spiking"),
    "SLTT": Case(SHAPE, (POOLED, CONV), rule="sltt"),
    "SLTT, leaky readout": Case(SHAPE, (POOLED,), rule="sltt", readout="leaky_integrator"),
    "SLTT, constant weights": Case(SHAPE, (POOLED, CONV), rule="sltt", learn="tl"),
    "OTTT": Case(SHAPE, (POOLED, CONV), rule="ottt"),
}


def learned(case: Case, together: int, loss: Loss, *, constant: bool) -> tuple[Network, list]:
    network = build(case)
    x, labels = inputs(case)
    bins = [x[0]] * len(x) if constant else list(x)
    said = batch_gradients(
        network, bins, labels, loss, constant=constant, steps_per_forward=together
    )
    return network, [*said, {k: v.clone() for k, v in network.grads.items()}]


@pytest.mark.parametrize("loss", [Loss(), Loss(timing="end")], ids=["each step", "at the end"])
@pytest.mark.parametrize("constant", [False, True], ids=["moving", "constant"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_together_is_one_after_the_other(case: Case, constant: bool, loss: Loss) -> None:
    one, (total, votes, grads) = learned(case, 1, loss, constant=constant)
    assert any(float(grad.abs().max()) > 0 for name, grad in grads.items() if "readout" not in name)
    for together in (5, len(inputs(case)[0])):  # 12 bins are 5, 5 and 2; and all of them
        other, (its_total, its_votes, its_grads) = learned(case, together, loss, constant=constant)
        torch.testing.assert_close(its_total, total, rtol=1e-12, atol=0)
        torch.testing.assert_close(its_votes, votes, rtol=1e-12, atol=1e-12)
        live = {k: g for k, g in grads.items() if float(g.abs().max()) > 0}
        differences = worst({k: its_grads[k] for k in live}, live)
        assert max(differences.values()) < 1e-10, differences
        for layer, its in zip(one.layers, other.layers, strict=True):
            same_state(layer, its)


def same_state(layer: SpikingLayer, its: SpikingLayer) -> None:
    torch.testing.assert_close(its.state.v, layer.state.v, rtol=1e-12, atol=1e-12)
    assert torch.equal(its.state.spikes, layer.state.spikes)
    torch.testing.assert_close(its.state.trace_leak, layer.state.trace_leak, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(its.trace, layer.trace, rtol=1e-12, atol=1e-12)


def test_one_bin_may_follow_several_and_several_one() -> None:
    case = CASES["convolutions and a linear layer"]
    x, _ = inputs(case)
    error = torch.full((case.batch, 5), 0.1, dtype=x.dtype)
    found = []
    for groups in ([1] * 12, [4, 1, 3, 1, 1, 2], [1, 5, 6]):
        network = build(case)
        network.reset_state(case.batch)
        said, first = [], 0
        for count in groups:
            part = x[first : first + count]
            said.append(network.forward(part.flatten(0, 1)).clone())
            network.backward(error.repeat(count, 1))
            first += count
        found.append((torch.cat(said), {k: v.clone() for k, v in network.finish_grads().items()}))
    for said, grads in found[1:]:
        torch.testing.assert_close(said, found[0][0], rtol=1e-12, atol=1e-12)
        assert max(worst(grads, found[0][1]).values()) < 1e-10


def test_a_part_of_a_batch_is_no_bin() -> None:
    network = build(CASES["SLTT"])
    network.reset_state(3)
    for samples in (2, 4):
        with pytest.raises(ValueError, match=f"{samples} samples"):
            network.forward(torch.zeros(samples, *SHAPE, dtype=torch.float64))


def test_answers_without_traces_are_the_same() -> None:
    for name in ("convolutions and a linear layer", "hard reset", "leaky readout", "dropout"):
        case = CASES[name]
        x, _ = inputs(case)
        one, together = build(case), build(case)
        for network in (one, together):
            network.reset_state(case.batch)
        said = torch.cat([one.forward(now, traces=False).clone() for now in x])
        torch.testing.assert_close(together.forward(x.flatten(0, 1), traces=False), said)
