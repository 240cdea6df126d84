"""Where STOP equals backpropagation through time, to 1e-10; and exactly what it drops elsewhere."""

from __future__ import annotations

import pytest
import torch
from helpers.nets import Case, build, cosine, inputs, stop_grads, worst

from streamstop.stop import bptt
from streamstop.stop.layer import LayerSpec

CONV, LINEAR = LayerSpec("conv", 4), LayerSpec("linear", 9)

ONE_LAYER = {
    "conv": ((2, 6, 6), CONV),
    "conv, not square": ((2, 4, 7), CONV),
    "conv, kernel 5": ((1, 7, 7), LayerSpec("conv", 3, kernel=5)),
    "conv, stride 2": ((2, 7, 7), LayerSpec("conv", 4, stride=2)),
    "conv, stride 2 on an even side": ((2, 8, 8), LayerSpec("conv", 4, stride=2)),
    "conv, pool 2": ((2, 6, 6), LayerSpec("conv", 4, pool=2)),
    "conv, pool 2 leaves a row and a column": ((2, 7, 7), LayerSpec("conv", 4, pool=2)),
    "conv, pool 3 leaves two rows": ((2, 8, 6), LayerSpec("conv", 4, pool=3)),
    "conv, stride 2 and pool 2 leave a row": ((2, 13, 12), LayerSpec("conv", 3, stride=2, pool=2)),
    "linear": ((2, 4, 4), LINEAR),
}

DEEP = {
    "linear, depth 2": ((2, 4, 4), (LayerSpec("linear", 24), LayerSpec("linear", 20))),
    "linear, depth 4": ((2, 4, 4), tuple(LayerSpec("linear", n) for n in (24, 20, 20, 16))),
    "conv, depth 2": ((2, 8, 8), (LayerSpec("conv", 6, pool=2), LayerSpec("conv", 8))),
    "conv, depth 4, stride and pooling": (
        (2, 9, 9),
        (
            LayerSpec("conv", 6, stride=2),
            LayerSpec("conv", 8, pool=2),
            LayerSpec("conv", 8),
            LayerSpec("linear", 20),
        ),
    ),
}

TOLERANCE = 1e-10
"""Asked for; differences observed are below 1e-14."""


@pytest.mark.parametrize("surrogate", ["exponential", "triangle"])
@pytest.mark.parametrize("leak", [0.3, 0.9, 0.98])
@pytest.mark.parametrize(("shape", "layer"), ONE_LAYER.values(), ids=ONE_LAYER.keys())
def test_one_layer_equals_bptt(shape, layer, leak, surrogate):
    case = Case(shape, (layer,), leak, surrogate)
    network = build(case)
    x, labels = inputs(case)
    exact = bptt.grads(network, x, labels)
    assert min(float(g.abs().max()) for g in exact.values()) > 1e-3  # nothing agrees by being zero
    differences = worst(stop_grads(network, x, labels), exact)
    assert max(differences.values()) < TOLERANCE, differences


def test_one_layer_one_sample_and_one_bin():
    for bins, batch in ((40, 1), (1, 3)):
        case = Case((2, 6, 6), (CONV,), bins=bins, batch=batch)
        network = build(case, seed=3)
        x, labels = inputs(case, seed=3)
        exact = bptt.grads(network, x, labels)
        ours = stop_grads(network, x, labels)
        for name, grad in exact.items():  # the leak's is zero where there is no past
            torch.testing.assert_close(ours[name], grad, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("shape", "layers"), DEEP.values(), ids=DEEP.keys())
def test_last_layer_of_a_deep_network_equals_bptt(shape, layers):
    case = Case(shape, layers, bins=20)
    network = build(case)
    x, labels = inputs(case)
    exact, ours = bptt.grads(network, x, labels), stop_grads(network, x, labels)
    top = (network.layer_names[-1], "readout")
    differences = {k: v for k, v in worst(ours, exact).items() if k.startswith(top)}
    assert len(differences) == 6
    assert max(differences.values()) < TOLERANCE, differences


@pytest.mark.parametrize("surrogate", ["exponential", "triangle"])
@pytest.mark.parametrize(("shape", "layers"), DEEP.values(), ids=DEEP.keys())
def test_what_is_dropped_is_the_path_through_membranes_above(shape, layers, surrogate):
    """Cut that path in BPTT and every parameter of every layer agrees; leave it and none below
    the last does."""
    case = Case(shape, layers, surrogate=surrogate, bins=20)
    network = build(case)
    x, labels = inputs(case)
    ours = stop_grads(network, x, labels)
    cut = worst(ours, bptt.grads(network, x, labels, same_step_only=True))
    assert max(cut.values()) < TOLERANCE, cut
    whole = worst(ours, bptt.grads(network, x, labels))
    lower = {k: v for k, v in whole.items() if k.startswith(tuple(network.layer_names[:-1]))}
    assert len(lower) == 4 * (len(layers) - 1)
    assert min(lower.values()) > 0.3, lower


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("shape", "layers"), DEEP.values(), ids=DEEP.keys())
def test_direction_of_the_weights_stays_near_bptt(shape, layers, seed):
    """Cosine above 0.95 at depth 2, above 0.7 at depth 4 (`docs/rule.md` has the figures)."""
    case = Case(shape, layers, bins=20, batch=8)
    network = build(case, seed)
    x, labels = inputs(case, seed)
    exact, ours = bptt.grads(network, x, labels), stop_grads(network, x, labels)
    cosines = {k: cosine(ours[k], exact[k]) for k in ours if k.endswith("weight")}
    assert min(cosines.values()) > (0.95 if len(layers) == 2 else 0.7), cosines


@pytest.mark.parametrize("learn", ["", "w", "t", "l", "wt", "wtl"])
def test_parts_that_do_not_learn_change_no_gradient_of_those_that_do(learn):
    case = Case(*DEEP["conv, depth 2"])
    whole = build(case)
    x, labels = inputs(case)
    exact = stop_grads(whole, x, labels)
    part = type(whole)(whole.spec, 0, learn=learn, dtype=torch.float64)
    part.load_parameters(whole.parameters())
    ours = stop_grads(part, x, labels)
    kinds = {"w": ("weight", "bias"), "t": ("log_theta",), "l": ("leak_logit",)}
    wanted = {f"{name}.{kind}" for name in part.layer_names for c in learn for kind in kinds[c]}
    assert ours.keys() == wanted | {"readout.weight", "readout.bias"}
    for name, grad in ours.items():
        assert torch.equal(grad, exact[name]), name


def test_gradients_sum_over_sequences_until_zeroed():
    case = Case((2, 6, 6), (CONV,))
    network = build(case)
    first, second = inputs(case, 1), inputs(case, 2)
    apart = [stop_grads(network, *pair, settled=False) for pair in (first, second)]
    stop_grads(network, *first, settled=False)
    kept, network.zero_grads = network.zero_grads, lambda: None  # type: ignore[method-assign]
    both = stop_grads(network, *second, settled=False)
    network.zero_grads = kept  # type: ignore[method-assign]
    for name, grad in both.items():
        torch.testing.assert_close(grad, apart[0][name] + apart[1][name], atol=1e-12, rtol=1e-12)
    network.zero_grads()
    assert not any(grad.any() for grad in network.grads.values())


@pytest.mark.parametrize("grad_mode", [True, False])
def test_no_graph_lives_from_one_bin_to_the_next(grad_mode):
    case = Case(*DEEP["conv, depth 4, stride and pooling"])
    network = build(case)
    x, labels = inputs(case)
    with torch.set_grad_enabled(grad_mode):
        stop_grads(network, x, labels)
        held = [network.forward(x[0]), *network.grads.values(), *network.parameters().values()]
        for layer in network.layers:
            held += [*layer.state, layer.trace, layer.leak, layer.theta]
    for tensor in held:
        assert not tensor.requires_grad
        assert tensor.grad_fn is None
