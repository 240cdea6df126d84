"""Weights on disk: a safetensors file whose header says which network the tensors are of.

It promises that a file is written whole or not at all, the same bytes for the same content; and
that reading executes nothing, allocates nothing on a header's word, and ends in a SourceError that
says what is wrong wherever the file is not what it should be. It does not judge whether the tensors
fit the network that the header describes: `streamstop.learning.pretrained` does.

The layout is safetensors' own (https://github.com/huggingface/safetensors): eight bytes with the
header's length, the header in JSON, the tensors' bytes. What the network is stands in the header's
"__metadata__", under one key, as JSON again; see `save_weights`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from streamstop.errors import SourceError

KEY = "streamstop"
"""Where in a file's metadata its network is described."""

MAX_FILE_BYTES = 1 << 30
"""No weights file may be longer; resnet18's has 45 MB, and 472 more with a discriminant."""

MAX_HEADER_BYTES = 4 << 20
"""No header may be longer: names and shapes of some ten thousand tensors, and the description."""


def save_weights(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write parameters by name, and what they are of, all or nothing.

    about : plain data. Of a network to start a run from: "network", the [network] section;
        "input", [channels, height, width]; "classes", a name for each output, in order;
        "input_transform"; "bin_us", 0 where it was not trained on bins; "steps"; "mean" and
        "deviation" of the pixels of images; "versions".
    """
    part = path.with_name(f"{path.name}.part")
    described = json.dumps(about, separators=(",", ":"), sort_keys=True)
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(whole, part, metadata={KEY: described})
    part.replace(path)


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Parameters by name, and what the file says they are of; that is empty where it says nothing.

    Raises SourceError where the file cannot be read, is longer than MAX_FILE_BYTES, or is damaged.
    """
    try:
        with path.open("rb") as file:
            # The file is read once, not mapped: one that shrinks meanwhile cannot kill the process.
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SourceError(f"the weights cannot be read ({error.strerror}): {path}") from error
    if len(data) > MAX_FILE_BYTES:
        raise SourceError(f"a weights file of more than {MAX_FILE_BYTES} bytes: {path}")
    header = _header(data, path)
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise _damaged(f"{error}", path) from error
    metadata = header.get("__metadata__") or {}
    described = metadata.get(KEY, "{}") if isinstance(metadata, dict) else None
    about = _json(described, "its description", path) if isinstance(described, str) else None
    if not isinstance(about, dict):
        raise _damaged("its description is no table", path)
    return tensors, about


def file_digest(path: Path) -> str:
    """A file's sha256, in hexadecimal. Raises SourceError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"the weights cannot be read ({error.strerror}): {path}") from error


def _header(data: bytes, path: Path) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise _damaged(f"{len(data)} bytes, {length} of them a header", path)
    if length > MAX_HEADER_BYTES:
        raise _damaged(f"a header of {length} bytes, more than {MAX_HEADER_BYTES}", path)
    header = _json(data[8 : 8 + length], "its header", path)
    if not isinstance(header, dict):
        raise _damaged("its header is no table", path)
    return header


def _json(text: str | bytes, what: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(f"{what} is no JSON: {error}", path) from error


def _damaged(why: str, path: Path) -> SourceError:
    return SourceError(
        f"no safetensors file, or a damaged one ({why}); nothing of it was used: {path}"
    )
