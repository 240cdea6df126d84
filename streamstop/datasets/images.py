"""Sets of static images, recognised by what the folder or tar holds.

- MNIST and its likes: idx files packed by gzip, `train-images-idx3-ubyte.gz` and so on.
- CIFAR-10 and CIFAR-100, the official binary version, unpacked or as the .tar.gz.
- `train/CLASS/*.jpg` and `test/CLASS/*.png`, in a folder or a tar: all images of one size.

Images of class folders come class by class in turn, in the order of names, so that the first of
them hold all classes; those of the other kinds in the order of the files, which is mixed.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from itertools import chain, zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from streamstop.datasets.archive import read_files
from streamstop.datasets.idx import IDX_PARTS, idx_name, load_idx
from streamstop.datasets.samples import MAX_CACHE_BYTES, Part, Samples
from streamstop.errors import SourceError
from streamstop.events.labels import sorted_classes

MAX_SIDE = 2048
"""Images of more pixels on a side are too large to train on, and a decoder's load."""

MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK")
"""Pillow's names of what is read: 8 bits a channel, or less."""


class _Cifar(NamedTuple):
    """One of CIFAR's binary versions.

    files : a pattern of the names of each part's files.  labels : bytes before each image, the last
    of which is its class.  meta : the file that names the classes.
    """

    files: Mapping[Part, str]
    labels: int
    classes: int
    meta: str


CIFAR = {
    "CIFAR-10": _Cifar(
        {"train": r"data_batch_[1-5]\.bin", "test": r"test_batch\.bin"},
        1,
        10,
        "batches.meta.txt",
    ),
    "CIFAR-100": _Cifar(
        {"train": r"train\.bin", "test": r"test\.bin"}, 2, 100, "fine_label_names.txt"
    ),
}

_CIFAR_SHAPE = (3, 32, 32)
_PICKLED = re.compile(r"(?:.*/)?(?:data_batch_1|test_batch|batches\.meta|train|test|meta)")
_IMAGE = re.compile(r"(?:.*/)?(train|test)/([^/]+)/[^/]+\.(?:jpe?g|png)", re.IGNORECASE)


def load_images(path: Path, part: Part, limit: int = 0) -> Samples:
    """The "train" or "test" images of a folder or tar, and their labels.

    limit : no more than so many of them; 0 for all.

    Raises SourceError where it is of no known kind, cannot be read or is damaged.
    """
    if any((path / idx_name(one)).is_file() for one in IDX_PARTS):
        return load_idx(path, part, limit)
    if not path.exists():
        raise SourceError(f"there is no such file or folder: {path}")

    def wanted(name: str) -> bool:
        image, last = _IMAGE.fullmatch(name), name.rpartition("/")[2]
        return (image is not None and image[1].lower() == part) or any(
            last == one.meta or re.fullmatch(one.files[part], last) for one in CIFAR.values()
        )

    files = read_files(path, wanted)
    for kind in CIFAR.values():
        if any(_named(files, pattern) for pattern in kind.files.values()):
            return _cifar(files, kind, part, limit, path)
    if any(_IMAGE.fullmatch(name) for name in files):
        return _classes_in_turn(files, part, limit, path)
    if any(_PICKLED.fullmatch(name) for name in files):
        raise SourceError(
            "this is CIFAR's Python version, which is pickled, and reading a pickle can run any "
            "program hidden in it; fetch the binary version (cifar-10-binary.tar.gz or "
            f"cifar-100-binary.tar.gz) from the same page: {path}"
        )
    raise SourceError(
        f"no set of images that is known among these {len(files)} files; known are "
        "train-images-idx3-ubyte.gz and its likes (MNIST), data_batch_1.bin or train.bin (CIFAR's "
        f"binary version), and train/CLASS/*.jpg or *.png: {path}"
    )


def _named(files: Mapping[str, bytes | None], pattern: str) -> list[str]:
    return [name for name in files if re.fullmatch(pattern, name.rpartition("/")[2])]


def _cifar(
    files: Mapping[str, bytes | None], kind: _Cifar, part: Part, limit: int, path: Path
) -> Samples:
    record = kind.labels + math.prod(_CIFAR_SHAPE)
    rows: list[NDArray[np.uint8]] = []
    for name in _named(files, kind.files[part]):
        content = files[name] or b""
        if not content or len(content) % record:
            raise SourceError(
                f"{len(content)} bytes are not whole images of {record} bytes; fetch it again: "
                f"{name} in {path}"
            )
        rows.append(np.frombuffer(content, np.uint8).reshape(-1, record))
    if not rows:
        raise SourceError(f"no {part} images, files named {kind.files[part]}: {path}")
    table = np.concatenate(rows)[: limit or None]
    labels = table[:, kind.labels - 1].astype(np.int64)
    if labels.max() >= kind.classes:
        raise SourceError(
            f"image {int(labels.argmax())} has the label {int(labels.max())}, of {kind.classes} "
            f"classes; this is damaged, or no CIFAR: {path}"
        )
    x = table[:, kind.labels :].reshape(-1, *_CIFAR_SHAPE)
    classes = _class_names(files, kind)
    return Samples(torch.from_numpy(x.copy()), torch.from_numpy(labels), classes)


def _class_names(files: Mapping[str, bytes | None], kind: _Cifar) -> tuple[str, ...]:
    """The names in the meta file beside the images; numbers where it is not there."""
    for name in _named(files, re.escape(kind.meta)):
        lines = tuple((files[name] or b"").decode("utf-8", "replace").split())
        if len(lines) == kind.classes:
            return lines
    return tuple(str(i) for i in range(kind.classes))


def _classes_in_turn(
    files: Mapping[str, bytes | None], part: Part, limit: int, path: Path
) -> Samples:
    """Images in class folders, the first of each class, then the second of each, and so on."""
    by_class: dict[str, list[str]] = {}
    for name in files:
        if found := _IMAGE.fullmatch(name):
            names = by_class.setdefault(found[2], [])
            if found[1].lower() == part:
                names.append(name)
    classes = sorted_classes(by_class)
    turns = chain.from_iterable(zip_longest(*(by_class[one] for one in classes)))
    order = [name for name in turns if name is not None][: limit or None]
    if not order:
        raise SourceError(f"no images in {part}/CLASS/: {path}")
    number = {name: i for i, one in enumerate(classes) for name in by_class[one]}
    x: NDArray[np.uint8] | None = None
    coloured = False
    for i, name in enumerate(order):
        pixels, grey = _decoded(files[name] or b"", f"{name} in {path}")
        coloured = coloured or not grey
        if x is None:
            shape = (len(order), *pixels.shape)
            if math.prod(shape) > MAX_CACHE_BYTES:
                raise SourceError(
                    f"{len(order)} images of {pixels.shape[1]}x{pixels.shape[2]} take "
                    f"{math.prod(shape)} bytes, more than {MAX_CACHE_BYTES}: {path}"
                )
            x = np.empty(shape, np.uint8)
        if pixels.shape != x.shape[1:]:
            raise SourceError(
                f"an image of {pixels.shape[1]}x{pixels.shape[2]}, where the first is "
                f"{x.shape[2]}x{x.shape[3]}; they must be of one size: {name} in {path}"
            )
        x[i] = pixels
    assert x is not None
    y = torch.tensor([number[name] for name in order], dtype=torch.int64)
    return Samples(torch.from_numpy(x if coloured else x[:, :1].copy()), y, classes)


def _decoded(content: bytes, where: str) -> tuple[NDArray[np.uint8], bool]:
    """An image as (3, height, width), and whether it is a grey one."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            if max(image.size) > MAX_SIDE or image.mode not in MODES:
                raise SourceError(
                    f"an image of {image.width}x{image.height}, mode {image.mode}; read are those "
                    f"of up to {MAX_SIDE} pixels a side and 8 bits a channel: {where}"
                )
            grey = image.mode in ("1", "L", "LA")
            pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SourceError(f"an image that cannot be decoded ({error}): {where}") from error
    return pixels.transpose(2, 0, 1), grey
