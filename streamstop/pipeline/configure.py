"""The configuration a run starts with: recipe, `--set`, flags, and what its weights file states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamstop.config.aliases import noting_old_names
from streamstop.config.bundled import bundled_path, find_recipe
from streamstop.config.recipe import build_sections, parse_overrides, read_recipe
from streamstop.config.sections import Config
from streamstop.config.uri_paths import map_path
from streamstop.errors import UsageError

TRAINED_LR_READOUT = 1e-3
"""Of a run that begins with trained weights and says no other: Adam's first steps are as large as
its rate, and from scratch's 1e-2 makes a trained readout forget before it learns."""

SOURCE_PATHS = (("source", "uri"), ("source", "labels"), ("learner", "pretrained"))
"""What of a run's recipe is a path."""


def load_config(
    recipe: Path | str | None = None,
    sets: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration of a run: a recipe, then `sets`, then `overrides`, the later one winning.

    Parameters
    ----------
    recipe : path of a TOML file, or the name of a bundled one ("demo"). None: the demo, or nothing
        but the defaults where `sets` or `overrides` name a source.
    sets : "section.key=value" each. The value is read as TOML; where it is none, or where the key
        wants text, it is taken as it stands.
    overrides : values by "section.key"; None means not given.

    A relative `source.uri`, `source.labels` or `learner.pretrained` in a recipe is looked for from
    the current directory first, then from the recipe's own folder.

    Where there is a `learner.pretrained`, that file says what the network and its input are. What
    is said of them beside it (in the same recipe, or on the command line where the file was named
    there) must agree; what a recipe says that the file was not chosen for gives way.

    Raises
    ------
    UsageError : no such recipe, not TOML, an unknown section or key, a value of the wrong type or
        out of range, or one that contradicts the weights file. The message names the key, the
        value, what is allowed, and where it came from.
    SourceError : the weights file cannot be read.

    Examples
    --------
    >>> config = load_config("demo", ["binning.bin_us=5000"], {"run.seed": 7})
    >>> config.binning.bin_us, config.run.seed, config.run.name
    (5000, 7, 'demo')
    """
    with noting_old_names():
        return _load(recipe, sets, overrides)


def _load(
    recipe: Path | str | None, sets: Sequence[str], overrides: Mapping[str, Any] | None
) -> Config:
    chosen = parse_overrides(Config, sets, overrides)
    path = None if recipe is None else find_recipe(recipe)
    if path is None and ("source", "uri") not in chosen:
        path = bundled_path("pipelines/demo.toml")
    if path is not None:
        recipes, typed = read_recipe(Config, path, SOURCE_PATHS), chosen
        chosen = {**recipes, **typed}
        beside = typed if ("learner", "pretrained") in typed else chosen
    else:
        beside = chosen
    if weights := chosen.get(("learner", "pretrained")):
        from streamstop.learning.pretrained import (
            Pretrained,  # torch, which --help has no need to wait for
        )

        advised = {("learner", "lr_readout"): TRAINED_LR_READOUT}
        chosen = {**advised, **chosen, **Pretrained.from_file(weights).config_values(beside)}
    config = Config(**build_sections(Config, chosen))
    learner = config.learner
    if learner.frozen and not learner.pretrained:
        raise UsageError(
            "learner.frozen: a network as it was drawn, that learns nothing, can only guess; say "
            "which trained network shall predict with --weights FILE.safetensors"
        )
    if 0 < config.segments.length_us < config.binning.bin_us:
        raise UsageError(
            f"segments.length_us = {config.segments.length_us}: a segment must be at least one bin "
            f"long, and binning.bin_us = {config.binning.bin_us}"
        )
    return config


def absolute_paths(config: Config) -> Config:
    """The configuration with its paths made absolute: a run folder may be read from anywhere."""
    named = config.source
    labels = str(Path(named.labels).resolve()) if named.labels else ""
    weights = config.learner.pretrained and str(Path(config.learner.pretrained).resolve())
    return replace(
        config,
        source=replace(named, uri=map_path(named.uri, Path.resolve), labels=labels),
        learner=replace(config.learner, pretrained=weights),
    )
