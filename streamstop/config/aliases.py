"""The names that settings had before schema 2, and what they are called now.

Guarantees:

- What an older version wrote (recipes, `--set`, config.toml, weights files) means what it meant.
- An old name beside the new one for the same setting is an error, not a choice.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

SCHEMA = 2
"""Written into config.toml and summary.json."""

ALIASES: dict[str, dict[str, str]] = {
    "source": {"seconds": "duration_s", "record_mb": "record_max_mb"},
    "segments": {"limit": "max_segments"},
    "scenario": {
        "classes": "classes_per_task",
        "over": "transition_segments",
        "rounds": "repetitions",
        "held_out": "held_out_fraction",
        "domain": "domain_from",
    },
    "binning": {
        "values": "representation",
        "fit": "resize_mode",
        "reorder_us": "reorder_window_us",
        "gap_us": "reset_gap_us",
    },
    "network": {
        "name": "architecture",
        "theta": "threshold_init",
        "threshold": "threshold_sharing",
        "leak": "leak_init",
        "readout_leak": "readout_leak_init",
        "gain": "init_gain",
        "leak_gain": "decay_input",
        "norm": "normalization",
        "encoding": "input_transform",
    },
    "learner": {
        "learn": "trainable",
        "smoothing": "label_smoothing",
        "loss_among": "loss_classes",
        "present": "recent_segments",
        "cool": "class_lr_decay",
        "others": "other_class_lr_scale",
        "every": "update_interval",
        "slow": "ema_decay",
        "reset": "reinitialize",
        "precision": "dtype",
        "weights": "pretrained",
    },
    "readout": {
        "decide": "decision",
        "prior": "lda_prior_count",
        "shrinkage": "lda_shrinkage",
    },
    "drift": {
        "on_drift": "response",
        "boost": "lr_boost",
        "segments": "boost_segments",
        "keep": "lda_keep_fraction",
    },
    "run": {"threads": "num_threads", "out": "output_dir"},
    "data": {
        "test": "test_uri",
        "test_share": "test_fraction",
        "validation": "validation_fraction",
        "steps": "time_steps",
        "limit": "max_samples",
    },
    "augment": {
        "shift": "max_shift",
        "rotate": "max_rotation",
        "shear": "max_shear",
        "flip": "horizontal_flip",
    },
    "train": {
        "batch": "batch_size",
        "together": "steps_per_forward",
        "discriminant": "fit_lda",
        "smoothing": "label_smoothing",
        "average": "ema_decay",
        "learn": "trainable",
    },
}
"""By section: old key -> new key."""

_TRAINABLE = {
    "none": (),
    "w": ("weights",),
    "wt": ("weights", "thresholds"),
    "wl": ("weights", "leaks"),
    "wtl": ("weights", "thresholds", "leaks"),
}
_LOSS = {"mse": "half_mse", "mix": "mean_ce_mse"}

VALUE_ALIASES: dict[tuple[str, str], Mapping[str, Any]] = {
    ("segments", "order"): {"iid": "shuffled"},
    ("binning", "representation"): {"counts": "count"},
    ("network", "normalization"): {"weight": "weight_standardization"},
    ("network", "readout"): {"leaky": "leaky_integrator"},
    ("network", "input_transform"): {"log": "log1p", "linear": "none"},
    ("learner", "trainable"): _TRAINABLE,
    ("learner", "loss"): _LOSS,
    ("learner", "loss_classes"): {"present": "recent"},
    ("learner", "reinitialize"): {"none": "never", "span": "per_task"},
    ("labels", "arrival"): {"concurrent": "immediate"},
    ("train", "trainable"): _TRAINABLE,
    ("train", "loss"): _LOSS,
}
"""By section and new key: old value -> new value."""

KEPT = {("segments", "order"), ("learner", "loss"), ("train", "loss"), ("network", "readout")}
"""Settings whose old values stay as short forms: no note is made of them."""

ADDED: dict[int, dict[tuple[str, str], Any]] = {
    2: {
        ("source", "max_latency_ms"): 0,
        ("binning", "hot_pixels"): "keep",
        ("binning", "refractory_us"): 0,
        ("learner", "late"): "off",
    },
}
"""By schema, settings that it added: the value that repeats what the schema before it did."""


class OldNamesWarning(FutureWarning):
    """A recipe, an option or a weights file uses names of an older version."""


_found: ContextVar[dict[str, str] | None] = ContextVar("_found", default=None)


@contextmanager
def noting_old_names() -> Iterator[None]:
    """Collect the old names met inside, and warn of all of them once, at the end."""
    if _found.get() is not None:  # an outer one collects
        yield
        return
    found: dict[str, str] = {}
    token = _found.set(found)
    try:
        yield
    finally:
        _found.reset(token)
    if found:
        listed = [f"{old} is now {new}" for old, new in found.items()]
        more = f" and {len(listed) - 6} more" if len(listed) > 6 else ""
        warnings.warn(
            f"Names of an older version were read: {', '.join(listed[:6])}{more}.",
            OldNamesWarning,
            stacklevel=3,
        )


def current_key(section: str, key: str) -> str:
    """The name that `key` of `section` has now.

    Examples
    --------
    >>> current_key("network", "theta"), current_key("network", "channels")
    ('threshold_init', 'channels')
    """
    new = ALIASES.get(section, {}).get(key)
    if new is None:
        return key
    _note(f"{section}.{key}", new)
    return new


def current_value(section: str, key: str, value: Any) -> Any:
    """What `value` of a current `key` is called now.

    Examples
    --------
    >>> current_value("learner", "loss", "mse"), current_value("learner", "loss", "ce")
    ('half_mse', 'ce')
    """
    table = VALUE_ALIASES.get((section, key), {})
    if not isinstance(value, str) or value not in table:
        return value
    new = table[value]
    if (section, key) not in KEPT:
        _note(f'{section}.{key} = "{value}"', str(list(new)) if isinstance(new, tuple) else new)
    return new


def current_section(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A whole section under current names; an old name beside its new one keeps the new one's."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        new = current_key(section, key)
        if new == key or new not in values:
            found[new] = current_value(section, new, value)
    return found


def _note(old: str, new: str) -> None:
    found = _found.get()
    if found is not None:
        found[old] = new
