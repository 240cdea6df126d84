"""Batched training: a network, its optimiser and its schedule, one epoch at a time.

Gradients are those of the mean loss over samples and time steps (the paper sums over T), and move
the parameters once per batch.

Guarantees:

- An epoch depends on the configuration, the samples, the parameters and the optimiser's state
  alone: what is random comes from the seed and the epoch's number. On a CPU a resumed training
  repeats an uninterrupted one bit for bit.
- Several processes make the same updates as one, but for the order in which gradients are summed.

Does not: read or write files, or see a test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamstop.config.training import TrainConfig
from streamstop.datasets.samples import Samples, channel_statistics
from streamstop.errors import DivergedError, UsageError
from streamstop.learning.network_section import network_from_config
from streamstop.stop.batch_gradients import batch_gradients
from streamstop.stop.losses import Loss
from streamstop.stop.network import Network, letters_of, pooled_rates
from streamstop.training.augment import augment
from streamstop.training.distributed import ProcessGroup

EVALUATION_BATCH = 250
"""Samples at once where nothing is learned."""

CHECK_INTERVAL = 10
"""Updates between two checks that the loss is finite: on a GPU each check waits for the device."""


class Score(NamedTuple):
    """Correct predictions, of how many samples."""

    correct: int
    samples: int

    @property
    def accuracy(self) -> float:
        """Fraction that is correct."""
        return self.correct / self.samples


class Trainer:
    """Trains one network on one training set.

    Parameters
    ----------
    samples : the training set; nothing else may be learned from.
    classes : outputs of the network.
    processes : the processes that share each batch, and where they compute.

    Attributes
    ----------
    mean, deviation : of the training set's pixels, one a channel, where they are images.

    Raises UsageError where the configuration cannot be trained.
    """

    def __init__(
        self,
        config: TrainConfig,
        samples: Samples,
        classes: int,
        processes: ProcessGroup | None = None,
    ) -> None:
        self.config = config
        self.samples = samples
        self.processes = processes or ProcessGroup()
        rule, x = config.train, samples.x
        normal, last = (
            config.network.normalization == "batch",
            len(samples.y) % rule.batch_size or rule.batch_size,
        )
        if normal and last < self.processes.count:
            raise UsageError(
                'network.normalization = "batch" needs a sample for each of '
                f"{self.processes.count} processes in every batch, and the last of each epoch has "
                f"{last}: choose another train.batch_size"
            )
        shape = (int(x.shape[-3]), int(x.shape[-2]), int(x.shape[-1]))
        spec = network_from_config(config.network, shape, classes)
        learn = letters_of(rule.trainable)
        self.network = Network(spec, config.run.seed, learn=learn, rule=rule.rule)
        self.network.to(self.processes.device)
        if normal and self.processes.count > 1:
            self.network.sync_batch_norm(self.processes.all_reduce)
        if rule.precision == "mixed":
            self.network.autocast = torch.bfloat16
        self.loss = Loss(rule.loss, rule.loss_at, rule.label_smoothing)
        self.images = x.ndim == 4
        self.mean, self.deviation = channel_statistics(x) if self.images else ((), ())
        self._pixels = tuple(
            torch.tensor(one, device=self.processes.device).view(-1, 1, 1)
            for one in (self.mean, self.deviation)
        )
        self._optimizer = self._make_optimizer()
        self._averages = (
            {name: value.clone() for name, value in self.network.parameters().items()}
            if rule.ema_decay
            else {}
        )
        self._batches = -(-len(samples.y) // rule.batch_size)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        rule, grads = self.config.train, self.network.grads
        rates = {"log_theta": rule.lr_threshold, "leak_logit": rule.lr_leak}
        alike: dict[tuple[float, float], list[Tensor]] = {}
        for name, value in self.trainable().items():
            value.grad = grads[name]
            kind = name.rpartition(".")[2]
            decay = rule.weight_decay if kind == "weight" else 0.0
            alike.setdefault((rates.get(kind, rule.lr), decay), []).append(value)
        groups = [
            {"params": values, "lr": rate, "peak": rate, "weight_decay": decay}
            for (rate, decay), values in alike.items()
        ]
        if rule.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=rule.lr, momentum=rule.momentum)
        return torch.optim.AdamW(groups, lr=rule.lr)

    def updates(self, epochs: int) -> int:
        """Number of updates of so many epochs."""
        return epochs * self._batches

    def lr_factor(self, update: int) -> float:
        """Learning rate of an update, counted from 0, as a fraction of the highest one.

        It rises linearly over the warm-up, then falls as a cosine.
        """
        warm = self.config.train.warmup_epochs * self._batches
        if update < warm:
            return (update + 1) / (warm + 1)
        whole = self.updates(self.config.train.epochs)
        return 0.5 * (1.0 + math.cos(math.pi * (update - warm) / max(whole - warm, 1)))

    def _seed(self, number: int) -> int:
        return ((self.config.run.seed << 20) + number) % (1 << 63)

    @torch.no_grad()
    def epoch(
        self, number: int, progress: Callable[[int], None] | None = None
    ) -> tuple[float, Score]:
        """Train one epoch, `number` from 0: the mean loss, and the score while it learned.

        progress : called with the number of samples done after each batch.

        Raises DivergedError where the loss is not finite.
        """
        rule = self.config.train
        draw = torch.Generator().manual_seed(self._seed(number))
        self.network.masks.manual_seed(self._seed(number + (1 << 19)))
        order = torch.randperm(len(self.samples.y), generator=draw)
        sums = torch.zeros(2, dtype=torch.float64, device=self.processes.device)
        batches = order.split(rule.batch_size)
        for i, which in enumerate(batches):
            update = self.updates(number) + i
            factor = self.lr_factor(update)
            for group in self._optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            x, y = augment(self.samples.x[which], self.config.augment, draw), self.samples.y[which]
            sums += self.accumulate_gradients(x, y)
            if (i + 1) % CHECK_INTERVAL == 0 or i + 1 == len(batches):
                _check_finite(sums, number, i)
            self._optimizer.step()
            self.network.refresh()
            self._average(update)
            if progress is not None:
                progress(len(y))
        return float(sums[0]) / len(order), Score(int(sums[1]), len(order))

    @torch.no_grad()
    def accumulate_gradients(self, x: Tensor, y: Tensor) -> Tensor:
        """Gradients of the mean loss of one batch, in place of those before.

        x : uint8, a batch as in `Samples`, the whole of it in every process.  y : (batch,).

        Returns (2,): that loss times samples, and the number of correct predictions. Like
        the gradients, they are those of the whole batch, of which this process computes its shard.
        """
        network, (first, end), size = self.network, self.processes.shard(len(y)), len(y)
        sums = torch.zeros(2, device=self.processes.device)
        num_losses = 1 if self.loss.timing == "end" else self.config.data.time_steps
        if end > first:
            labels = y[first:end].to(self.processes.device)
            total, votes = batch_gradients(
                network,
                self._steps(x[first:end]),
                labels,
                self.loss,
                constant=self.images,
                sample_offset=first,
                batch_size=size,
                steps_per_forward=self.config.train.steps_per_forward,
            )
            sums[0] = total / num_losses
            sums[1] = (votes.argmax(1) == labels).sum()
        else:  # fewer samples than processes; what is drawn must be drawn here too
            network.zero_grads()
            network.reset_state(1, batch_size=size)
            network.draw_masks()
        grads = list(network.grads.values())
        self.processes.all_reduce([*grads, sums])
        for grad in grads:
            grad.div_(size * num_losses)
        return sums

    @torch.no_grad()
    def evaluate(self, samples: Samples, network: Network | None = None) -> Score:
        """The score on other samples: the argmax of the logits that the loss applies to.

        network : the one to score, in place of the one that is trained. Each process takes its
        shard of the samples; the score is that of all.
        """
        network = network or self.network
        first, end = self.processes.shard(len(samples.y))
        correct = torch.zeros((), dtype=torch.int64, device=self.processes.device)
        for start in range(first, end, EVALUATION_BATCH):
            stop = min(start + EVALUATION_BATCH, end)
            x, y = samples.x[start:stop], samples.y[start:stop].to(self.processes.device)
            network.reset_state(len(y))
            votes: Tensor | None = None
            for one in self._steps(x):
                logits = network.forward(one, traces=False, constant=self.images)
                if votes is None or self.loss.timing == "end":
                    votes = logits.clone()
                else:
                    votes += logits
            assert votes is not None
            correct += (votes.argmax(1) == y).sum()
        return Score(self.processes.all_reduce_number(int(correct)), len(samples.y))

    @torch.no_grad()
    def firing_rates(self, samples: Samples, network: Network) -> NDArray[np.float64]:
        """What the LDA readout sees of samples: square roots of firing rates, as in a run.

        Returns (n, features); every process computes all.
        """
        found = []
        for x in samples.x.split(EVALUATION_BATCH):
            network.reset_state(len(x))
            sums: list[Tensor] = []
            for one in self._steps(x):
                network.forward(one, traces=False, constant=self.images)
                spikes = network.spikes()
                sums = sums or [torch.zeros_like(s) for s in spikes]
                for total, s in zip(sums, spikes, strict=True):
                    total += s
            rates = pooled_rates([total / self.config.data.time_steps for total in sums])
            found.append(rates.sqrt().double().cpu().numpy())
        return np.concatenate(found)

    def _steps(self, x: Tensor) -> Iterator[Tensor]:
        """The network's input at each step: the image itself, or one bin after the other.

        From bytes to float32 in the same pass that normalises, on the device.
        """
        x = x.to(self.processes.device, non_blocking=True)
        if self.images:
            mean, deviation = self._pixels
            image = torch.sub(x, mean).div_(deviation)
            for _ in range(self.config.data.time_steps):
                yield image
            return
        for step in range(x.shape[1]):
            counts = x[:, step]
            yield (
                counts.log1p() if self.config.network.input_transform == "log1p" else counts.float()
            )

    def _average(self, update: int) -> None:
        """Update the EMA of the weights; its decay is smaller at first, so early weights fade."""
        kept = min(self.config.train.ema_decay, (1 + update) / (10 + update))
        if self._averages:
            for name, value in self.network.parameters().items():
                self._averages[name].lerp_(value, 1.0 - kept)

    @contextmanager
    def ema_network(self) -> Iterator[Network]:
        """The network with the EMA of its weights, where there is one; afterwards with its own."""
        if not self._averages:
            yield self.network
            return
        own = {name: value.clone() for name, value in self.network.parameters().items()}
        self.network.load_parameters(self._averages)
        try:
            yield self.network
        finally:
            self.network.load_parameters(own)

    def state(self) -> dict[str, Tensor]:
        """All that the next epoch depends on, by name: parameters, averages, optimiser's state."""
        named = {f"network/{name}": value for name, value in self.network.parameters().items()}
        named |= {f"average/{name}": value for name, value in self._averages.items()}
        for name, value in self.trainable().items():
            for key, kept in self._optimizer.state[value].items():
                if isinstance(kept, Tensor):
                    named[f"optimizer/{name}/{key}"] = kept
        return named

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` gave. Raises KeyError or RuntimeError where it does not fit."""
        prefix = "network/"
        self.network.load_parameters(
            {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        )
        for name, value in self._averages.items():
            value.copy_(state[f"average/{name}"])
        for name, value in self.trainable().items():
            prefix = f"optimizer/{name}/"
            kept = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
            self._optimizer.state[value] = {
                # Adam counts its steps on the CPU; all else lies as the parameter does in memory,
                # because sums in another order are other sums.
                key: one if key == "step" else torch.empty_like(value).copy_(one)
                for key, one in kept.items()
            }

    def trainable(self) -> dict[str, Tensor]:
        """The parameters that learn, by name."""
        grads = self.network.grads
        return {name: v for name, v in self.network.parameters().items() if name in grads}


def _check_finite(sums: Tensor, number: int, batch: int) -> None:
    loss = float(sums[0])
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss is {loss} in epoch {number + 1}, by update {batch + 1}; the epochs before "
            "it are kept; lower [train] lr"
        )
