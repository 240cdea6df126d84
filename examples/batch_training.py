"""Batched STOP: samples from a torch DataLoader, several epochs, then a learner that streams on."""

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

import streamstop as ss
from streamstop.stop.batch_gradients import batch_gradients
from streamstop.stop.losses import Loss

STEPS, SIDE = 10, 16
draw = np.random.default_rng(0)


def samples(count: int) -> TensorDataset:
    """Bars that move left or right: (count, STEPS, 2, SIDE, SIDE), and their labels."""
    labels = draw.integers(0, 2, count)
    x = draw.poisson(0.1, (count, STEPS, 2, SIDE, SIDE)).astype(np.float32)
    for i, step in np.ndindex(count, STEPS):
        x[i, step, :, :, step if labels[i] else SIDE - 1 - step] += 2
    return TensorDataset(torch.log1p(torch.from_numpy(x)), torch.from_numpy(labels))


network = ss.Network(ss.build_network("compact", (2, SIDE, SIDE), 2), seed=0)
parameters = network.parameters()
for name, grad in network.grads.items():
    parameters[name].grad = grad  # where the rule writes; autograd is not used
optimizer = torch.optim.Adam([parameters[name] for name in network.grads], lr=1e-2)
loader = DataLoader(samples(256), 32, shuffle=True, generator=torch.Generator().manual_seed(0))
for epoch in range(2):
    correct = 0
    for x, y in loader:
        loss, votes = batch_gradients(network, x.unbind(1), y, Loss())
        for grad in network.grads.values():
            grad /= len(y) * STEPS  # of sums, means
        optimizer.step()
        network.refresh()
        correct += int((votes.argmax(1) == y).sum())
    print(f"epoch {epoch + 1}: accuracy while training {correct / 256:.2f}")

learner = ss.StopLearner(network.spec, class_names=("left", "right"))
learner.network.load_parameters(parameters)
learner.save("bars.safetensors")  # for ss.StopLearner.load, or streamstop run --weights
