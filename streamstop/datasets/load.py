"""Training and test sets in memory: static images, and event recordings as time bins.

Guarantees:

- Values as the files have them; event counts above 255 per cell and bin become 255.
- An order that the files alone determine, and splits that depend on labels and seed alone.
- Sizes that a file states are checked against limits before anything is allocated; nothing is
  unpacked to disk; no pickle is read.

Does not: shuffle, augment or normalise; `streamstop.training.trainer` does.
"""

from __future__ import annotations

from pathlib import Path

from streamstop.config.sections import BinningConfig
from streamstop.config.training import DataConfig
from streamstop.datasets.event_windows import load_event_windows
from streamstop.datasets.idx import read_idx
from streamstop.datasets.images import load_images
from streamstop.datasets.samples import (
    Indices,
    Samples,
    channel_statistics,
    split,
    stratified_folds,
)
from streamstop.errors import UsageError

__all__ = [
    "Indices",
    "Samples",
    "channel_statistics",
    "load_event_windows",
    "load_images",
    "load_test_set",
    "load_training_set",
    "read_idx",
    "split",
    "stratified_folds",
]


def load_training_set(data: DataConfig, binning: BinningConfig) -> Samples:
    """The training set that a recipe's [data] section names; raises as its reader does."""
    if data.kind == "images":
        return load_images(Path(data.uri), "train", data.max_samples)
    return load_event_windows(
        data.uri,
        binning,
        data.time_steps,
        data.max_samples,
        window_us=data.window_us,
        test_fraction=data.test_fraction,
        part="train" if data.test_fraction else "all",
    )


def load_test_set(data: DataConfig, binning: BinningConfig, training: Samples) -> Samples | None:
    """The test set, read only here; None where [data] names none.

    training : the training set, whose classes and shape it must have. Raises as its reader does,
    and UsageError where it does not fit.
    """
    if data.kind == "images":
        test = load_images(Path(data.test_uri or data.uri), "test", data.max_samples)
    elif data.test_uri or data.test_fraction:
        test = load_event_windows(
            data.test_uri or data.uri,
            binning,
            data.time_steps,
            data.max_samples,
            window_us=data.window_us,
            test_fraction=data.test_fraction,
            part="test" if data.test_fraction else "all",
        )
    else:
        return None
    where = data.test_uri or data.uri
    if test.x.shape[1:] != training.x.shape[1:]:
        shapes = [" x ".join(map(str, one.x.shape[1:])) for one in (test, training)]
        raise UsageError(
            f"a test sample is {shapes[0]} and a training sample {shapes[1]}; they must be of one "
            f"shape: {where}"
        )
    if data.kind == "images" and all(name.isdecimal() for name in test.classes):
        return test._replace(classes=training.classes)  # numbers, of which a test may lack some
    if test.classes != training.classes:
        raise UsageError(
            f"the test set's classes ({', '.join(test.classes[:8])}) are not those of the training "
            f"set ({', '.join(training.classes[:8])}): {where}"
        )
    return test
