"""Reads and checks the weights file of a pretrained network, and loads it into a learner.

Guarantees:

- A file that does not hold the network it describes is refused before anything runs.
- A setting that contradicts the file is an error that names both; nothing is silently overridden.
- Classes are matched by name, never by number.

Does not:

- Know what data the network was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamstop.config.aliases import current_section
from streamstop.config.fields import to_toml_value, validate
from streamstop.config.sections import BinningConfig, NetworkConfig
from streamstop.errors import SourceError, UsageError
from streamstop.learning.lda import StreamingLDA
from streamstop.learning.weights import file_digest, load_weights
from streamstop.stop.network import Network

Values = dict[tuple[str, str], Any]

UNNAMED = "output {}"
"""Name of an output without a class; a new class may take it."""

LDA = "lda."
"""Prefix of the tensors of the LDA readout."""

OLD_LDA = "discriminant."
"""The same prefix in schema 1."""

INFERENCE = "inference."
"""Prefix of the tensors of a separate inference network."""

LEARNER = "learner."
"""Prefix of the counts of a learner."""

ADVISED = (("binning", "bin_us"), ("learner", "dtype"), ("readout", "lda_shrinkage"))
"""Settings that the file proposes, but that may differ."""


class Loadable(Protocol):
    """A learner, as far as weights are loaded into it."""

    network: Network
    inference_network: Network
    lda: StreamingLDA
    counts: NDArray[np.int64]
    last_segment: NDArray[np.int64]
    ema_updates: int

    @property
    def num_rate_features(self) -> int:
        """Firing rates that its LDA sees."""
        ...

    def mark_classes_seen(self, classes: Sequence[int]) -> None:
        """These classes are known already."""
        ...


@dataclass(frozen=True)
class Pretrained:
    """The content of a weights file: parameters, and the description of the network.

    Attributes
    ----------
    path, digest : str
        Of its file; the digest is a sha256.
    tensors : mapping
        The network's parameters by name.
    network : mapping
        The [network] section, less `classes`.
    input_shape : tuple of int
        (polarities, height, width).
    classes : tuple of str
        A name for each output.
    bin_us : int
        Width of the bins it was trained on, 0 where it was not trained on bins.
    representation : str
        What the cells of its input hold, as in [binning].
    lda : StreamingLDA or None
        What an LDA readout learned on this network.
    learner : mapping or None
        How a learner that was saved learns, its `LearnerSpec`; None: a network that was trained
        over epochs.
    state : mapping
        The rest of a saved learner's tensors by name: its inference network and counts.
    decision : str
        The readout that predicted last, "linear" or "lda"; "" where that is not known.
    dtype : str
        "float32" or "float64"; "" where the file does not state it.
    """

    path: str
    digest: str
    tensors: Mapping[str, Tensor]
    network: Mapping[str, Any]
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    bin_us: int
    representation: str = "count"
    lda: StreamingLDA | None = None
    learner: Mapping[str, Any] | None = None
    state: Mapping[str, Tensor] = field(default_factory=dict)
    decision: str = ""
    dtype: str = ""

    @classmethod
    def from_file(cls, path: str) -> Pretrained:
        """Read a weights file.

        Raises
        ------
        SourceError
            The file cannot be read, is damaged, does not describe its network, or the network was
            not trained on events.
        """
        tensors, about = load_weights(Path(path))

        def refuse(why: str) -> SourceError:
            return SourceError(f"the weights cannot start a run: {why}: {path}")

        try:
            # A key that an older version did not have takes its default, which is what it did then.
            stated = dict(about["network"])
            if not {"input_transform", "encoding"} & stated.keys():
                stated["encoding"] = about.get("encoding", "log")
            section = asdict(NetworkConfig()) | current_section("network", stated)
            del section["classes"]
            shape = tuple(int(side) for side in about["input"])
            named = tuple(str(name) for name in about["classes"])
            bin_us = int(about.get("bin_us") or 0)
            binned = current_section("binning", dict(about.get("binning") or {}))
            representation = str(binned.get("representation", "count"))
        except (KeyError, TypeError, ValueError) as error:
            raise refuse(
                f"the file does not describe its network ({type(error).__name__}: {error})"
            ) from error
        if len(shape) != 3 or shape[0] != 2:
            raise refuse(
                f"its network takes an input of {'x'.join(map(str, shape))}, and events come in 2 "
                "polarities of rows and columns; train one on events, such as nmnist-compact"
            )
        if strange := sorted(set(section) - set(asdict(NetworkConfig()))):
            raise refuse(f"network.{strange[0]} is unknown; use the version that wrote it")
        origin = "the weights file"
        try:
            network = {
                key: validate(NetworkConfig, "network", key, value, origin)
                for key, value in section.items()
            }
            for key, side in zip(("height", "width"), shape[1:], strict=True):
                validate(BinningConfig, "binning", key, side, origin)
            validate(BinningConfig, "binning", "representation", representation, origin)
            if bin_us:
                validate(BinningConfig, "binning", "bin_us", bin_us, origin)
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
        saved = about.get("learner")
        learner = dict(saved) if isinstance(saved, dict) else None
        decision, dtype = str(about.get("decision", "")), str(about.get("dtype", ""))
        if decision not in ("", "linear", "lda") or dtype not in ("", "float32", "float64"):
            raise refuse(f"its decision is {decision!r} and its dtype {dtype!r}")
        try:
            shrinkage = float((learner or {}).get("shrinkage", 0.1))
            lda = _lda(tensors, outputs, shrinkage)
        except (TypeError, ValueError) as error:
            raise refuse(str(error)) from error
        state = {k: v for k, v in tensors.items() if k.startswith((INFERENCE, LEARNER))}
        prefixes = (LDA, OLD_LDA, INFERENCE, LEARNER)
        tensors = {k: v for k, v in tensors.items() if not k.startswith(prefixes)}
        return cls(
            path,
            digest,
            tensors,
            network,
            shape,
            names,
            bin_us,
            representation,
            lda,
            learner,
            state,
            decision,
            dtype,
        )

    def config_values(self, beside: Values) -> Values:
        """What the file states, by section and key.

        Parameters
        ----------
        beside : dict
            What else was given, by section and key.

        Raises
        ------
        UsageError
            If that contradicts the file; settings of ADVISED may differ.
        """
        stated: Values = {("network", key): value for key, value in self.network.items()}
        stated["binning", "height"], stated["binning", "width"] = self.input_shape[1:]
        stated["binning", "representation"] = self.representation
        if self.bin_us:
            stated["binning", "bin_us"] = self.bin_us
        if self.dtype:
            stated["learner", "dtype"] = self.dtype
        if self.learner is not None and self.lda is not None:
            stated["readout", "lda_shrinkage"] = self.lda.shrinkage
        for (section, key), value in stated.items():
            other = beside.get((section, key), value)
            if (section, key) in ADVISED:
                stated[section, key] = other
            elif other != value:
                raise UsageError(
                    f"{section}.{key} = {to_toml_value(other)}, but the weights are of a network "
                    f"with {section}.{key} = {to_toml_value(value)}; leave the setting out, or "
                    f"choose other weights: {self.path}"
                )
        return stated

    def output_names(self, labels: tuple[str, ...], wanted: int) -> tuple[str, ...]:
        """A name for each output: the network's own, and new ones for new classes.

        Outputs beyond the network's own, and its outputs without a name, take new classes.

        Parameters
        ----------
        labels : tuple of str
            The classes of the stream.
        wanted : int
            The configured number of outputs; 0: as many as there are.

        Returns
        -------
        tuple of str

        Raises
        ------
        UsageError
            There are too few outputs.
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
                f"the labels name {_listed(new)}, which are not among the classes of the network "
                f"({_listed(self.classes)}); to add outputs for them: "
                f"--set network.classes={len(names) + len(new) - len(free)}; a frozen "
                f"network can never predict them: {self.path}"
            )
        for i, label in zip(free, new, strict=False):
            names[i] = label
        return tuple(names)

    @torch.no_grad()
    def load_into(self, learner: Loadable, lda_prior_count: float = 0.0) -> None:
        """Put all that was kept into a learner; outputs beyond it stay as initialised.

        Parameters
        ----------
        learner : StopLearner
            Of the network that the file describes, perhaps with more outputs.
        lda_prior_count : float
            The statistics of an LDA that a training fitted count as so many segments of each
            class; 0: the learner's LDA begins with nothing. Those of a saved learner count as they
            are, unless this is 0.

        Raises
        ------
        SourceError
            If what was kept is not of the learner's network.
        """
        loaded = self._parameters(learner.network, self.tensors)
        learner.network.load_parameters(loaded)
        of_copy = {k.removeprefix(INFERENCE): v for k, v in self.state.items() if INFERENCE in k}
        # The network that predicted predicts again, also where there is only one now (frozen runs).
        predicts = self._parameters(learner.network, of_copy) if of_copy else loaded
        learner.inference_network.load_parameters(predicts)
        if self.learner is not None and f"{LEARNER}counts" in self.state:
            self._load_counts(learner)
        else:
            named = [i for i, name in enumerate(self.classes) if name != UNNAMED.format(i)]
            learner.mark_classes_seen(named)
        if self.lda is not None and lda_prior_count > 0:
            self._load_lda(learner, self.lda, lda_prior_count if self.learner is None else None)

    def _parameters(self, network: Network, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`kept` as `network` takes it, with the rows of `network` for further outputs."""
        fresh = network.parameters()
        loaded = {}
        for name, value in fresh.items():
            given = kept.get(name)
            if name.startswith("readout.") and given is not None and given.shape != value.shape:
                given = _widened(given, value, len(self.classes))
            if given is None or given.shape != value.shape:
                found = "missing" if given is None else f"of shape {tuple(given.shape)}"
                raise SourceError(
                    f"the weights cannot start a run: {name} is {found}, and the network that the "
                    f"file describes has it of shape {tuple(value.shape)}: {self.path}"
                )
            loaded[name] = given.to(value.dtype)
        strange = sorted(name for name in kept if name not in fresh)
        if strange:
            raise SourceError(
                f"the weights cannot start a run: the network that the file describes has no "
                f"{strange[0]}: {self.path}"
            )
        return loaded

    def _load_counts(self, learner: Loadable) -> None:
        outputs = len(self.classes)
        for name, own in (("counts", learner.counts), ("last_segment", learner.last_segment)):
            found = self.state.get(f"{LEARNER}{name}")
            if found is None or found.shape != (outputs,) or bool((found < 0).any()):
                raise SourceError(
                    f"the weights cannot start a run: {LEARNER}{name} are not counts of {outputs} "
                    f"classes: {self.path}"
                )
            own[:outputs] = found.numpy()
        updates = self.state.get(f"{LEARNER}ema_updates")
        learner.ema_updates = int(updates) if updates is not None and updates.ndim == 0 else 0

    def _load_lda(self, learner: Loadable, found: StreamingLDA, count: float | None) -> None:
        features, has = found.means.shape[1], learner.num_rate_features
        if features != has:
            raise SourceError(
                f"the weights cannot start a run: their LDA is of {features} firing rates, and the "
                f"network that the file describes has {has}: {self.path}"
            )
        own = learner.lda
        own.load(found)
        if count is not None:
            own.scale_counts(count)
        try:
            own.scores(np.zeros(features))
        except RuntimeError as error:  # torch's error for the Cholesky factor
            raise SourceError(
                f"the weights cannot start a run: their LDA's scatter matrix is not "
                f"positive definite ({str(error).split('.')[0]}): {self.path}"
            ) from error

    def as_dict(self, lda_prior_count: float) -> dict[str, Any]:
        """The entry in summary.json."""
        return {
            "path": self.path,
            "sha256": self.digest,
            "classes": len(self.classes),
            "bin_us": self.bin_us or None,
            "lda_prior_count": (
                (lda_prior_count or None) if self.lda is not None and self.learner is None else None
            ),
        }


def _lda(tensors: Mapping[str, Tensor], outputs: int, shrinkage: float) -> StreamingLDA | None:
    """The LDA in the tensors of a file, if any; ValueError where it is damaged."""
    prefix = next((p for p in (LDA, OLD_LDA) if any(n.startswith(p) for n in tensors)), None)
    if prefix is None:
        return None
    names = [f"{prefix}{name}" for name in ("counts", "means", "scatter")]
    parts = [tensors.get(name) for name in names]
    if None in parts:
        raise ValueError(f"of {', '.join(names)} some are missing")
    counts, means, scatter = (part.double().numpy() for part in parts if part is not None)
    found = StreamingLDA(outputs, shrinkage)
    features = means.shape[-1] if means.ndim else 0
    shapes = (outputs,), (outputs, features), (features, features)
    sane = features and (counts >= 0).all() and (counts > 0).any()
    if (counts.shape, means.shape, scatter.shape) != shapes or not sane:
        raise ValueError(f"the numbers of {prefix}* are not of {outputs} classes")
    found.counts, found.means, found.scatter = counts, means, scatter
    known = tensors.get(f"{prefix}known_means")
    found.known_means = int(known) if known is not None and known.ndim == 0 else 0
    return found


def lda_tensors(readout: StreamingLDA) -> dict[str, Tensor]:
    """The tensors of an LDA readout by name, in float64, as `Pretrained.from_file` reads them."""
    parts = {"counts": readout.counts, "means": readout.means, "scatter": readout.scatter}
    found = {f"{LDA}{name}": torch.from_numpy(x) for name, x in parts.items()}
    return found | {f"{LDA}known_means": torch.tensor(readout.known_means)}


def _widened(given: Tensor, fresh: Tensor, outputs: int) -> Tensor:
    """A readout's parameter, extended by the rows of `fresh` for further outputs."""
    if given.ndim == 0 or given.shape[0] != outputs or given.shape[1:] != fresh.shape[1:]:
        return given
    wide = fresh.clone()
    wide[:outputs] = given
    return wide


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
