"""Batched STOP: a network, its optimiser and its schedule, an epoch at a time.

It promises that an epoch depends on the configuration, the samples, the parameters and the
optimiser's state alone: what is drawn comes from the seed and the epoch's number, so that a resumed
training repeats an uninterrupted one bit for bit. Gradients are those of the mean loss over samples
and steps (the paper sums over T), and move the parameters once a batch. It reads and writes no
files and knows of no test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.datasets import Samples
from streamstop.errors import DivergedError
from streamstop.stop.layers import NeuronSpec
from streamstop.stop.network import Network
from streamstop.stop.networks import named_network
from streamstop.train_config import TrainConfig

EVALUATION_BATCH = 250
"""Samples at once where nothing is learned."""


class Score(NamedTuple):
    """How many of how many samples were told right."""

    correct: int
    samples: int

    @property
    def accuracy(self) -> float:
        """Their share."""
        return self.correct / self.samples


class Trainer:
    """Trains one network on one training set.

    Parameters
    ----------
    samples : the training set; nothing else may be learned from.
    classes : outputs of the network.
    """

    def __init__(self, config: TrainConfig, samples: Samples, classes: int) -> None:
        self.config = config
        self.samples = samples
        n, rule = config.network, config.train
        x = samples.x
        shape = (int(x.shape[-3]), int(x.shape[-2]), int(x.shape[-1]))
        neuron = NeuronSpec(n.theta, n.leak, n.gain, n.surrogate)
        spec = named_network(n.name, shape, classes, neuron, n.channels, n.hidden)
        learn = "" if rule.learn == "none" else rule.learn
        self.network = Network(spec, config.run.seed, learn=learn, rule=rule.rule)
        self._mean, self._deviation = 0.0, 1.0
        if config.data.kind == "images":
            self._mean, self._deviation = _statistics(x)
        self._optimizer = self._make_optimizer()
        self._batches = -(-len(samples.y) // rule.batch)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        rule, grads = self.config.train, self.network.grads
        rates = {"log_theta": rule.lr_threshold, "leak_logit": rule.lr_leak}
        groups = []
        for name, value in self.network.parameters().items():
            if name not in grads:
                continue
            value.grad = grads[name]
            kind = name.rpartition(".")[2]
            rate = rates.get(kind, rule.lr)
            decay = rule.weight_decay if kind == "weight" else 0.0
            groups.append({"params": [value], "lr": rate, "peak": rate, "weight_decay": decay})
        if rule.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=rule.lr, momentum=rule.momentum)
        return torch.optim.AdamW(groups, lr=rule.lr)

    def updates(self, epochs: int) -> int:
        """How many updates so many epochs take."""
        return epochs * self._batches

    def factor(self, update: int) -> float:
        """The share of the highest learning rates that the update of this number, from 0, takes."""
        warm = self.config.train.warmup_epochs * self._batches
        if update < warm:
            return (update + 1) / (warm + 1)
        whole = self.updates(self.config.train.epochs)
        return 0.5 * (1.0 + math.cos(math.pi * (update - warm) / max(whole - warm, 1)))

    @torch.no_grad()
    def epoch(
        self, number: int, progress: Callable[[int], None] | None = None
    ) -> tuple[float, Score]:
        """Train one epoch, `number` from 0: the mean loss, and the score while it learned.

        progress : called with the number of samples done after each batch.

        Raises DivergedError where the loss is not finite.
        """
        rule = self.config.train
        draw = torch.Generator().manual_seed((self.config.run.seed << 20) + number)
        order = torch.randperm(len(self.samples.y), generator=draw)
        loss, correct = 0.0, 0
        for i, which in enumerate(order.split(rule.batch)):
            factor = self.factor(self.updates(number) + i)
            for group in self._optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            x, y = self.samples.x[which], self.samples.y[which]
            if rule.shift:
                x = shifted(x, rule.shift, draw)
            batch_loss, right = self.gather(x, y)
            loss, correct = loss + batch_loss * len(y), correct + right
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss is {batch_loss} in epoch {number + 1}, update {i + 1}; the epochs "
                    "before it are kept; lower [train] lr"
                )
            self._optimizer.step()
            self.network.refresh()
            if progress is not None:
                progress(len(y))
        return loss / len(order), Score(correct, len(order))

    @torch.no_grad()
    def gather(self, x: Tensor, y: Tensor) -> tuple[float, int]:
        """Gradients of the mean loss of one batch, in place of those before.

        x : uint8, a batch as in `Samples`.  y : (batch,).
        Returns that loss and how many samples were told right.
        """
        network, smoothing = self.network, self.config.train.smoothing
        classes = network.spec.classes
        target = (
            functional.one_hot(y, classes).float().mul_(1 - smoothing).add_(smoothing / classes)
        )
        network.zero_grads()
        network.rest(len(y))
        votes, loss = torch.zeros(len(y), classes), 0.0
        steps = self.config.data.steps
        for inputs in self._steps(x):
            logits = network.forward(inputs)
            votes += logits
            log_probabilities = functional.log_softmax(logits, 1)
            loss -= float((target * log_probabilities).sum())
            network.backward(log_probabilities.exp_() - target)
        for grad in network.settle().values():
            grad.div_(len(y) * steps)
        return loss / (len(y) * steps), int((votes.argmax(1) == y).sum())

    @torch.no_grad()
    def evaluate(self, samples: Samples) -> Score:
        """The score on other samples: argmax of the logits averaged over steps."""
        correct = 0
        for x, y in zip(
            samples.x.split(EVALUATION_BATCH), samples.y.split(EVALUATION_BATCH), strict=True
        ):
            self.network.rest(len(y))
            votes = sum(self.network.forward(one, traces=False) for one in self._steps(x))
            assert isinstance(votes, Tensor)
            correct += int((votes.argmax(1) == y).sum())
        return Score(correct, len(samples.y))

    def _steps(self, x: Tensor) -> Iterator[Tensor]:
        """The network's input at each step: the image itself, or one bin after the other."""
        if self.config.data.kind == "images":
            image = x.float().sub_(self._mean).div_(self._deviation)
            for _ in range(self.config.data.steps):
                yield image
            return
        for step in range(x.shape[1]):
            counts = x[:, step].float()
            yield counts.log1p_() if self.config.network.encoding == "log" else counts

    def state(self) -> dict[str, Tensor]:
        """All that the next epoch depends on: parameters and the optimiser's state, by name."""
        named = {f"network/{name}": value for name, value in self.network.parameters().items()}
        for name, value in self._learned().items():
            for key, kept in self._optimizer.state[value].items():
                if isinstance(kept, Tensor):
                    named[f"optimizer/{name}/{key}"] = kept
        return named

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` gave. Raises KeyError or RuntimeError where it does not fit."""
        prefix = "network/"
        self.network.load({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})
        for name, value in self._learned().items():
            prefix = f"optimizer/{name}/"
            self._optimizer.state[value] = {
                key[len(prefix) :]: kept for key, kept in state.items() if key.startswith(prefix)
            }

    def _learned(self) -> dict[str, Tensor]:
        grads = self.network.grads
        return {name: v for name, v in self.network.parameters().items() if name in grads}


def shifted(x: Tensor, by: int, draw: torch.Generator) -> Tensor:
    """Each sample moved by up to `by` pixels down and right or up and left, zeros moving in.

    x : (batch, ..., height, width).
    """
    moved = torch.zeros_like(x)
    high, wide = x.shape[-2:]
    for i, (dy, dx) in enumerate(torch.randint(-by, by + 1, (len(x), 2), generator=draw).tolist()):
        rows, columns = slice(max(dy, 0), high + min(dy, 0)), slice(max(dx, 0), wide + min(dx, 0))
        above, left = slice(max(-dy, 0), high - max(dy, 0)), slice(max(-dx, 0), wide - max(dx, 0))
        moved[i, ..., rows, columns] = x[i, ..., above, left]
    return moved


def _statistics(x: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of all pixels, from how often each of the 256 values occurs."""
    often = torch.bincount(x.flatten(), minlength=256).double()
    values = torch.arange(256, dtype=torch.float64)
    mean = (often * values).sum() / often.sum()
    variance = (often * (values - mean).square()).sum() / often.sum()
    return float(mean), max(float(variance.sqrt()), 1.0)
