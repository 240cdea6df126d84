"""A trained network that a run begins with: what its file says of it, checked, and handed on.

It promises that a file which does not hold the network that it describes is refused before anything
runs, with what is wrong; and that nothing a run was told about the network is silently overruled:
what contradicts the file is an error that names both. Classes are matched by name, never by number.
It does not know what the network was trained on; nobody but its user does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streamstop.config.aliases import current_section
from streamstop.config.fields import check, to_toml_value
from streamstop.config.sections import BinningConfig, NetworkConfig
from streamstop.errors import SourceError, UsageError
from streamstop.learning.lda import StreamingLDA
from streamstop.learning.learner import StopLearner
from streamstop.learning.weights import file_digest, read_weights

Values = dict[tuple[str, str], Any]

UNNAMED = "output {}"
"""What an output is called that no class has a name for; a new class may have it."""

DISCRIMINANT = "discriminant."
"""What the names of a discriminant readout's tensors begin with."""

ADVISED = (("binning", "bin_us"),)
"""Settings that the file proposes: a network runs at another rate than it was trained at."""


@dataclass(frozen=True)
class Trained:
    """A network's parameters, and what there is to know to run it.

    path, digest : of its file, sha256.
    tensors : parameters by name.
    network : the [network] section, less `classes`.
    input_shape : (polarities, height, width).
    classes : a name for each output.
    bin_us : of the bins it was trained on, 0 where it was not trained on bins.
    representation : what the cells of its input hold, as in [binning].
    discriminant : what a discriminant readout learned on this network; None if the file has none.
    """

    path: str
    digest: str
    tensors: Mapping[str, Tensor]
    network: Mapping[str, Any]
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    bin_us: int
    representation: str = "count"
    discriminant: StreamingLDA | None = None

    @classmethod
    def read(cls, path: str) -> Trained:
        """Read a weights file.

        Raises SourceError where it cannot be read, is damaged, does not say what network it holds,
        or was not trained on events.
        """
        tensors, about = read_weights(Path(path))

        def refuse(why: str) -> SourceError:
            return SourceError(f"the weights cannot start a run: {why}: {path}")

        try:
            # A key that an older version did not have is at its default: what it was then.
            stated = {"encoding": about.get("encoding", "log"), **dict(about["network"])}
            section = asdict(NetworkConfig()) | current_section("network", stated)
            del section["classes"]
            shape = tuple(int(side) for side in about["input"])
            named = tuple(str(name) for name in about["classes"])
            bin_us = int(about.get("bin_us") or 0)
            binned = current_section("binning", dict(about.get("binning") or {}))
            representation = str(binned.get("representation", "count"))
        except (KeyError, TypeError, ValueError) as error:
            raise refuse(
                f"the file does not say what network it holds ({type(error).__name__}: {error})"
            ) from error
        if len(shape) != 3 or shape[0] != 2:
            raise refuse(
                f"its network takes an input of {'x'.join(map(str, shape))}, and events come in 2 "
                "polarities of rows and columns; train one on events, such as nmnist-compact"
            )
        if strange := sorted(set(section) - set(asdict(NetworkConfig()))):
            raise refuse(f"this version knows no network.{strange[0]}; use the one that wrote it")
        origin = "the weights file"
        try:
            network = {
                key: check(NetworkConfig, "network", key, value, origin)
                for key, value in section.items()
            }
            for key, side in zip(("height", "width"), shape[1:], strict=True):
                check(BinningConfig, "binning", key, side, origin)
            check(BinningConfig, "binning", "representation", representation, origin)
            if bin_us:
                check(BinningConfig, "binning", "bin_us", bin_us, origin)
        except UsageError as error:
            raise refuse(str(error)) from error
        bias = tensors.get("readout.bias", torch.zeros(()))
        outputs = len(bias) if bias.ndim == 1 else 0
        if not outputs or len(named) > outputs:
            raise refuse(f"the file names {len(named)} classes for {outputs} outputs")
        if len(set(named)) < len(named):
            raise refuse(f"the file gives several outputs one name, of {_listed(named)}")
        for name, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                raise refuse(f"{name} holds values that are not finite")
        rest = (UNNAMED.format(i) for i in range(len(named), outputs))
        names = (*named, *rest)
        digest = file_digest(Path(path))
        try:
            discriminant = _discriminant(tensors, outputs)
        except ValueError as error:
            raise refuse(str(error)) from error
        tensors = {k: v for k, v in tensors.items() if not k.startswith(DISCRIMINANT)}
        return cls(
            path, digest, tensors, network, shape, names, bin_us, representation, discriminant
        )

    def settings(self, beside: Values) -> Values:
        """What the file says, by section and key.

        beside : what else was said. Raises UsageError where that contradicts the file; the width of
        a bin may differ.
        """
        said: Values = {("network", key): value for key, value in self.network.items()}
        said["binning", "height"], said["binning", "width"] = self.input_shape[1:]
        said["binning", "representation"] = self.representation
        if self.bin_us:
            said["binning", "bin_us"] = self.bin_us
        for (section, key), value in said.items():
            other = beside.get((section, key), value)
            if (section, key) in ADVISED:
                said[section, key] = other
            elif other != value:
                raise UsageError(
                    f"{section}.{key} = {to_toml_value(other)}, but the weights are of a network "
                    f"with {section}.{key} = {to_toml_value(value)}; leave the setting out, or "
                    f"choose other weights: {self.path}"
                )
        return said

    def outputs(self, labels: tuple[str, ...], wanted: int) -> tuple[str, ...]:
        """A name for each output: the network's own, and new ones for labels it does not know.

        labels : the classes that the stream's labels name.
        wanted : outputs that the configuration asks for; 0 for those that there are. Outputs
            beyond the network's own, and those of its own that never had a name, take new labels.

        Raises UsageError where they are too few.
        """
        if wanted and wanted < len(self.classes):
            raise UsageError(
                f"network.classes = {wanted}, but the weights are of a network with "
                f"{len(self.classes)} outputs; leave the setting out: {self.path}"
            )
        names = list(self.classes)
        names += [UNNAMED.format(i) for i in range(len(names), wanted)]
        free = [i for i, name in enumerate(names) if name == UNNAMED.format(i)]
        new = [label for label in labels if label not in names]
        if len(new) > len(free):
            raise UsageError(
                f"the labels name {_listed(new)}, which the network was not trained on (it knows "
                f"{_listed(self.classes)}); to give it outputs for them: "
                f"--set network.classes={len(names) + len(new) - len(free)}; a network that stays "
                f"frozen can never name them: {self.path}"
            )
        for i, label in zip(free, new, strict=False):
            names[i] = label
        return tuple(names)

    @torch.no_grad()
    def give(self, learner: StopLearner, prior: float = 0.0) -> None:
        """Put the parameters into a learner and its shadow; outputs beyond them stay as drawn.

        prior : the discriminant's statistics, if there are any, count for so many segments of each
            class; 0: the learner's discriminant begins with nothing.

        Raises SourceError where they are not those of the learner's network.
        """
        fresh = learner.network.parameters()
        loaded = {}
        for name, value in fresh.items():
            given = self.tensors.get(name)
            if name.startswith("readout.") and given is not None and given.shape != value.shape:
                given = _widened(given, value, len(self.classes))
            if given is None or given.shape != value.shape:
                found = "missing" if given is None else f"of shape {tuple(given.shape)}"
                raise SourceError(
                    f"the weights cannot start a run: {name} is {found}, and the network that the "
                    f"file describes has it of shape {tuple(value.shape)}: {self.path}"
                )
            loaded[name] = given.to(value.dtype)
        if strange := sorted(set(self.tensors) - set(fresh)):
            raise SourceError(
                f"the weights cannot start a run: the network that the file describes has no "
                f"{strange[0]}: {self.path}"
            )
        learner.network.load_parameters(loaded)
        if learner.decider is not learner.network:
            learner.decider.load_parameters(loaded)
        named = [i for i, name in enumerate(self.classes) if name != UNNAMED.format(i)]
        learner.knows(named)
        if self.discriminant is not None and prior > 0:
            self._give_discriminant(learner, self.discriminant, prior)

    def _give_discriminant(self, learner: StopLearner, found: StreamingLDA, prior: float) -> None:
        features, has = found.means.shape[1], learner.rate_features
        if features != has:
            raise SourceError(
                f"the weights cannot start a run: their discriminant is of {features} firing "
                f"rates, and the network that the file describes has {has}: {self.path}"
            )
        own = learner.lda
        own.counts[: len(found.counts)] = found.counts
        own.means = np.zeros((len(own.counts), features))
        own.means[: len(found.counts)] = found.means
        own.scatter = found.scatter.copy()
        own.weigh(prior)
        try:
            own.scores(np.zeros(features))
        except RuntimeError as error:  # what torch says of a matrix that is none of a covariance
            raise SourceError(
                f"the weights cannot start a run: their discriminant's scatter is no covariance "
                f"({str(error).split('.')[0]}): {self.path}"
            ) from error

    def as_dict(self, prior: float) -> dict[str, Any]:
        """What summary.json says of it; prior : what the run counts its discriminant for."""
        return {
            "path": self.path,
            "sha256": self.digest,
            "classes": len(self.classes),
            "bin_us": self.bin_us or None,
            "discriminant_segments": (prior or None) if self.discriminant is not None else None,
        }


def _discriminant(tensors: Mapping[str, Tensor], outputs: int) -> StreamingLDA | None:
    """The discriminant among a file's tensors, if there is one; ValueError where it is none."""
    names = [f"{DISCRIMINANT}{name}" for name in ("counts", "means", "scatter")]
    if not any(name.startswith(DISCRIMINANT) for name in tensors):
        return None
    parts = [tensors.get(name) for name in names]
    if None in parts:
        raise ValueError(f"of {', '.join(names)} some are missing")
    counts, means, scatter = (part.double().numpy() for part in parts if part is not None)
    found = StreamingLDA(outputs)
    features = means.shape[-1] if means.ndim else 0
    shapes = (outputs,), (outputs, features), (features, features)
    sane = features and (counts >= 0).all() and (counts > 0).any()
    if (counts.shape, means.shape, scatter.shape) != shapes or not sane:
        raise ValueError(f"the discriminant's numbers are not of {outputs} classes")
    found.counts, found.means, found.scatter = counts, means, scatter
    return found


def discriminant_tensors(readout: StreamingLDA) -> dict[str, Tensor]:
    """What `Trained.read` takes for a discriminant, by name, in float64."""
    parts = {"counts": readout.counts, "means": readout.means, "scatter": readout.scatter}
    return {f"{DISCRIMINANT}{name}": torch.from_numpy(x) for name, x in parts.items()}


def _widened(given: Tensor, fresh: Tensor, outputs: int) -> Tensor:
    """A readout's parameter with rows for more outputs, those as `fresh` has them."""
    if given.ndim == 0 or given.shape[0] != outputs or given.shape[1:] != fresh.shape[1:]:
        return given
    wide = fresh.clone()
    wide[:outputs] = given
    return wide


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
