"""Counts of the loop beside NeuroBench's own harness, over the same bins of the same network.

The twin is torch's layers with the network's weights under snntorch's leaky neurons, led through
`neurobench.benchmarks.Benchmark`, one sequence a sample. Skipped where neurobench is not installed.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.nets import Case, build, inputs
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from streamstop.evaluation.neurobench import SynapticOperations
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop.layer import LayerSpec, SpikingLayer
from streamstop.stop.network import Network
from streamstop.stop.readouts import SpikingReadout
from streamstop.stop.residual import ResidualBlock
from streamstop.stop.synapses import Synapses

snntorch = pytest.importorskip("snntorch")
pytest.importorskip("neurobench", reason="neurobench is not installed: `make test` installs it")

from neurobench.benchmarks import Benchmark  # noqa: E402
from neurobench.metrics import static, workload  # noqa: E402
from neurobench.models import SNNTorchModel  # noqa: E402

SEQUENCES, BINS = 2, 10


def case(*layers: LayerSpec, **said: Any) -> Case:
    return Case((2, 9, 8), layers, batch=SEQUENCES, bins=BINS, **said)


conv, linear = LayerSpec("conv", 4), LayerSpec("linear", 12)
CASES = {
    "linear": case(linear, LayerSpec("linear", 7)),
    "hard reset": case(linear, reset="hard"),
    "average pooling": case(conv._replace(pool=2), conv._replace(channels=6, pool=2)),
    "max pooling": case(
        conv._replace(pool=2, pooling="max"), conv._replace(pool=2, pooling="max"), linear
    ),
    "strides, groups, no padding": case(
        conv._replace(stride=2, kernel=5), conv._replace(groups=2, pad=0), conv._replace(stride=3)
    ),
    "padding without end": case(conv._replace(pad=4, stride=3)),
    "standardised": case(conv, linear, norm="weight_standardization"),
    "mean of channels": case(conv, average=True),
    "leaky readout": case(conv, readout="leaky_integrator"),
    "spiking readout": case(conv._replace(pool=2), readout="spiking"),
    "spikes added": case(
        conv, LayerSpec("block", 4), LayerSpec("block", 6, stride=2), conv, threshold="neuron"
    ),
    "membranes added": case(
        conv,
        LayerSpec("block", 4, residual="membrane"),
        LayerSpec("block", 6, stride=2, residual="membrane"),
    ),
}
INPUTS = {"counts": (0.3, False), "rare spikes": (0.02, True), "spikes": (0.2, True)}


class Neurons(snntorch.Leaky):
    """STOP's soft reset: the leak takes what the reset left; snntorch's own takes all of it."""

    def _base_sub(self, input_: Tensor) -> Tensor:
        return self.beta * (self.mem - self.reset * self.threshold) + input_


def connection(synapses: Synapses) -> nn.Module:
    one, out = synapses, len(synapses.bias)
    made: nn.Module
    if one.linear:
        made = nn.Linear(one.in_shape[0], out)
    else:
        shape = (one.in_shape[0], out, one.kernel, one.stride, one.pad)
        made = nn.Conv2d(*shape, groups=one.groups)
    made.weight = nn.Parameter(one.used.reshape(made.weight.shape))
    made.bias = nn.Parameter(one.shift.clone())
    return made


class Layer(nn.Module):
    def __init__(self, layer: SpikingLayer) -> None:
        super().__init__()
        self.linear = layer.synapses.linear
        self.connection = connection(layer.synapses)
        self.neurons = Neurons(
            beta=layer.leak.clone(),
            threshold=layer.theta[0].clone(),
            learn_beta=True,
            learn_threshold=True,
            init_hidden=True,
            reset_mechanism="subtract" if layer.neuron.reset == "soft" else "zero",
        )
        self.pool = layer.spec.pool
        self.pooled = functional.max_pool2d
        if layer.spec.pooling == "avg":
            self.pooled = functional.avg_pool2d

    def forward(self, x: Tensor, extra: Tensor | float = 0.0) -> Tensor:
        current = self.connection(x.flatten(1) if self.linear else x)
        current = current[:, :, None, None] if self.linear else current
        spikes = self.neurons(current + extra).to(current.dtype)  # snntorch's are float32
        return self.pooled(spikes, self.pool) if self.pool > 1 else spikes


class Block(nn.Module):
    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.a, self.b = Layer(block.parts["a"]), Layer(block.parts["b"])
        self.way = Layer(block.parts["way"]) if "way" in block.parts else None
        self.skip = connection(block.shortcut) if block.shortcut is not None else None
        self.join = block.spec.residual

    def forward(self, x: Tensor) -> Tensor:
        if self.join == "membrane":
            return self.b(self.a(x), x if self.skip is None else self.skip(x))
        return self.b(self.a(x)) + (x if self.way is None else self.way(x))


class Twin(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(Block(s) if isinstance(s, ResidualBlock) else Layer(s) for s in network.stages)
        )
        self.average = network.spec.global_average
        readout = network.readout
        self.readout: nn.Module
        if isinstance(readout, SpikingReadout):
            self.readout = Layer(readout.layer)
        else:
            self.readout = nn.Linear(*reversed(readout.weight.shape))
            self.readout.weight = nn.Parameter(readout.weight.clone())
            self.readout.bias = nn.Parameter(readout.bias.clone())
            if readout.leaky:  # a potential that no spike leaves: it costs no synaptic operation
                self.leak = nn.Parameter(readout.leak_logit.clone())

    def reset(self) -> None:
        for one in self.modules():
            if isinstance(one, Neurons):
                one.reset_mem()

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        spikes = self.stages(x)
        features = spikes.mean((2, 3)) if self.average else spikes.flatten(1)
        return self.readout(features), None


def bins_of(one: Case, kind: str) -> Tensor:
    """(bins, sequences, 2, height, width); one bin in the midst is empty."""
    density, binary = INPUTS[kind]
    x, _ = inputs(one, density=density)
    x[BINS // 2] = 0
    return x.ne(0).double() if binary else x


def counted(one: Case, x: Tensor) -> tuple[SynapticOperations, StopLearner]:
    network = build(one)
    first = network.layers[0]
    first.weight[torch.rand(first.weight.shape, generator=torch.manual_seed(0)) < 0.3] = 0
    first.bias[::2] = 0  # so that some of its neurons rest where nothing comes in
    learner = StopLearner(network.spec, LearnerSpec(), dtype=torch.float64)
    learner.network.load_parameters(network.parameters())
    operations = SynapticOperations(learner)
    for sequence in range(SEQUENCES):
        learner.begin_segment()
        for now in x[:, sequence]:
            learner.predict(now[None], trace=False)
            operations.bin()
    return operations, learner


def measured(network: Network, x: Tensor) -> tuple[dict[str, Any], Twin]:
    twin = Twin(network).double()
    batch = DataLoader(TensorDataset(x.transpose(0, 1), torch.zeros(SEQUENCES)), batch_size=1)
    fixed = [static.ParameterCount, static.Footprint, static.ConnectionSparsity]
    running = [
        workload.ActivationSparsity,
        workload.SynapticOperations,
        workload.MembraneUpdates,
    ]
    benchmark = Benchmark(SNNTorchModel(twin), batch, [], [], [fixed, running])
    with torch.no_grad():
        benchmark.run(quiet=True)
        return benchmark.run(quiet=True), twin  # buffers of the neurons have their size now


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("one", CASES.values(), ids=CASES.keys())
def test_the_loops_counts_are_those_of_neurobenchs_harness(one, kind):
    x = bins_of(one, kind)
    operations, learner = counted(one, x)
    found, (theirs, twin) = operations.as_dict(), measured(learner.network, x)
    assert found["executions"] == SEQUENCES * BINS
    assert found["activation_sparsity"] == pytest.approx(theirs["ActivationSparsity"], abs=1e-12)
    synaptic = theirs["SynapticOperations"]  # of a sample, which is a sequence
    assert {
        "Effective_MACs": operations.macs / SEQUENCES,
        "Effective_ACs": operations.acs / SEQUENCES,
        "Dense": found["synaptic_operations"]["dense"] * BINS,
    } == synaptic
    assert operations.membrane_updates / SEQUENCES == theirs["MembraneUpdates"]
    assert round(found["connection_sparsity"], 4) == theirs["ConnectionSparsity"]
    assert found["parameters"] == theirs["ParameterCount"]
    # snntorch keeps two constants a layer beside the potential; the loop its spikes, which snntorch
    # works out anew, and the potential of a leaky readout, which the twin does without.
    layers = [m for m in twin.modules() if isinstance(m, Neurons)]
    constants = sum(m.graded_spikes_factor.nbytes + m.reset_mechanism_val.nbytes for m in layers)
    spikes = sum(m.mem.nbytes for m in layers)
    potential = learner.network.readout.v.nbytes if one.readout == "leaky_integrator" else 0
    assert found["footprint_bytes"] == theirs["Footprint"] - constants + spikes + potential


def test_the_cases_hold_what_they_are_to_tell_apart():
    """Else equality would prove little: spikes everywhere, MACs and ACs, zeros, neurons at rest."""
    for name, one in CASES.items():
        found = {kind: counted(one, bins_of(one, kind))[0] for kind in INPUTS}
        assert all(found["counts"].spikes.values()), name
        assert found["counts"].macs and found["spikes"].acs, name
        neurons = sum(layer.state.v.numel() for layer in found["spikes"].network.layers)
        at_rest = SEQUENCES * BINS * neurons - found["rare spikes"].membrane_updates
        assert at_rest > 0 or one.layers[0].kind == "linear", name
        assert (found["counts"].as_dict()["connection_sparsity"] > 0) is (one.norm == "none")
