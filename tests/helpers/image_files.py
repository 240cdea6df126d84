"""Makes small sets of images in the layouts that people download, without the package's code."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def _records(x: NDArray[Any], *labels: NDArray[Any]) -> bytes:
    flat = x.reshape(len(x), -1)
    return np.concatenate([*(one[:, None] for one in labels), flat], 1).astype(np.uint8).tobytes()


def write_cifar10(folder: Path, x: NDArray[Any], y: NDArray[Any], batches: int = 5) -> Path:
    """Images (n, 3, 32, 32) as the official binary version: train batches, and all as the test."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, which in enumerate(np.array_split(np.arange(len(y)), batches), start=1):
        (folder / f"data_batch_{i}.bin").write_bytes(_records(x[which], y[which]))
    (folder / "test_batch.bin").write_bytes(_records(x, y))
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10) + "\n\n")
    (folder / "readme.html").write_text("<html></html>")
    return folder


def write_cifar100(folder: Path, x: NDArray[Any], coarse: NDArray[Any], fine: NDArray[Any]) -> Path:
    """The same of CIFAR-100."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        (folder / f"{part}.bin").write_bytes(_records(x, coarse, fine))
    (folder / "fine_label_names.txt").write_text("".join(f"fine_{i}\n" for i in range(100)))
    (folder / "coarse_label_names.txt").write_text("".join(f"coarse_{i}\n" for i in range(20)))
    return folder


def write_picture(path: Path, pixels: NDArray[Any]) -> None:
    """Pixels (height, width) or (height, width, 3) as .png, exactly, or .jpg, nearly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def tar_of(folder: Path, to: Path, *, form: int = tarfile.PAX_FORMAT) -> Path:
    """A tar of a folder, packed by gzip where its name says so, in no order of names."""
    mode: Any = "w:gz" if to.name.endswith("gz") else "w"
    with tarfile.open(to, mode, format=form) as archive:
        for path in sorted(folder.rglob("*"), reverse=True):
            archive.add(path, f"./{path.relative_to(folder).as_posix()}", recursive=False)
    return to


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
