"""The configuration of a run: recipe, `--set`, flags, and what the weights file states."""

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
from streamstop.sources.live.registry import is_camera

TRAINED_LR_READOUT = 1e-3
"""Default of learner.lr_readout with pretrained weights: Adam's first steps are as large as the
rate, and with 1e-2, the default from scratch, a trained readout forgets before it learns."""

LIVE_RECIPE = "pipelines/davis346-live.toml"
"""The recipe of a camera, where none is named."""

SOURCE_PATHS = (("source", "uri"), ("source", "labels"), ("learner", "pretrained"))
"""Settings that are paths."""


def load_config(
    recipe: Path | str | None = None,
    sets: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration of a run: a recipe, then `sets`, then `overrides`, the later one winning.

    Parameters
    ----------
    recipe : Path or str, optional
        Path of a TOML file, or the name of a bundled recipe ("demo"). None: the demo; or where
        `sets` or `overrides` name a source: "davis346-live" for a camera, else only the defaults.
    sets : sequence of str
        "section.key=value" each. The value is read as TOML; where it is not TOML, or the key takes
        text, it is used as written.
    overrides : mapping, optional
        Values by "section.key"; None means not given.

    Returns
    -------
    Config

    Raises
    ------
    UsageError
        No such recipe, not TOML, an unknown section or key, a value of the wrong type or out of
        range, or one that contradicts the weights file. The message names the key, the value, what
        is allowed, and where it came from.
    SourceError
        The weights file cannot be read.

    Notes
    -----
    A relative `source.uri`, `source.labels` or `learner.pretrained` in a recipe is resolved from
    the current directory first, then from the folder of the recipe.

    With `learner.pretrained`, that file states the network and its input. Settings of these that
    stand beside it must agree: in the same recipe, or on the command line where the file was named
    there. Settings of a recipe that does not name the file are overridden by it.

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
    elif path is None and is_camera(str(chosen[("source", "uri")])):
        path = bundled_path(LIVE_RECIPE)
    if path is not None:
        recipes, typed = read_recipe(Config, path, SOURCE_PATHS), chosen
        chosen = {**recipes, **typed}
        beside = typed if ("learner", "pretrained") in typed else chosen
    else:
        beside = chosen
    if weights := chosen.get(("learner", "pretrained")):
        from streamstop.learning.pretrained import (
            Pretrained,  # torch, which --help must not wait for
        )

        advised = {("learner", "lr_readout"): TRAINED_LR_READOUT}
        chosen = {**advised, **chosen, **Pretrained.from_file(weights).config_values(beside)}
    config = Config(**build_sections(Config, chosen))
    learner = config.learner
    if learner.frozen and not learner.pretrained:
        raise UsageError(
            "learner.frozen: an untrained network that does not learn can only guess; name the "
            "pretrained network with --weights FILE.safetensors"
        )
    if 0 < config.segments.length_us < config.binning.bin_us:
        raise UsageError(
            f"segments.length_us = {config.segments.length_us}: a segment must be at least one bin "
            f"long, and binning.bin_us = {config.binning.bin_us}"
        )
    return config


def absolute_paths(config: Config) -> Config:
    """The configuration with absolute paths, so that a run folder can be read from anywhere."""
    named = config.source
    labels = map_path(named.labels, Path.resolve)
    weights = config.learner.pretrained and str(Path(config.learner.pretrained).resolve())
    return replace(
        config,
        source=replace(named, uri=map_path(named.uri, Path.resolve), labels=labels),
        learner=replace(config.learner, pretrained=weights),
    )
