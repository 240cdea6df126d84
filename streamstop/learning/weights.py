"""Weights files: safetensors whose header describes the network that the tensors belong to.

The layout is that of safetensors (https://github.com/huggingface/safetensors): eight bytes with the
length of the header, the header in JSON, the bytes of the tensors. The network is described in the
header's "__metadata__", under one key, as JSON; see `save_weights`.

Guarantees:

- A file is written completely or not at all; the same content gives the same bytes.
- Reading executes nothing, and allocates no memory because a header asks for it.
- A damaged file is a SourceError that describes the damage.

Does not:

- Check that the tensors fit the described network: `streamstop.learning.pretrained` does.
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
"""Key of the description in the metadata of a file."""

MAX_FILE_BYTES = 1 << 30
"""Largest weights file; resnet18 has 45 MB, and 472 MB more with an LDA readout."""

MAX_HEADER_BYTES = 4 << 20
"""Largest header: names and shapes of about ten thousand tensors, and the description."""


def save_weights(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write parameters and their description; the file is complete or absent.

    Parameters
    ----------
    path : Path
        The file.
    tensors : mapping of str to Tensor
        The parameters by name.
    about : mapping
        Plain data. Of a network to start a run from: "network", the [network] section; "input",
        [channels, height, width]; "classes", a name for each output, in order; "input_transform";
        "bin_us", 0 where it was not trained on bins; "steps"; "mean" and "deviation" of the pixels
        of images; "versions".
    """
    part = path.with_name(f"{path.name}.part")
    described = json.dumps(about, separators=(",", ":"), sort_keys=True)
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(whole, part, metadata={KEY: described})
    part.replace(path)


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read parameters and their description.

    Returns
    -------
    tensors : dict of str to Tensor
        The parameters by name.
    about : dict
        The description, see `save_weights`; empty where the file has none.

    Raises
    ------
    SourceError
        The file cannot be read, is longer than MAX_FILE_BYTES, or is damaged.
    """
    try:
        with path.open("rb") as file:
            # Read once, not mapped: a file that shrinks meanwhile cannot kill the process.
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
        raise _damaged("its description is not a table", path)
    return tensors, about


def file_digest(path: Path) -> str:
    """Sha256 of a file, in hexadecimal; SourceError where it cannot be read."""
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
        raise _damaged("its header is not a table", path)
    return header


def _json(text: str | bytes, what: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(f"{what} is not JSON: {error}", path) from error


def _damaged(why: str, path: Path) -> SourceError:
    return SourceError(
        f"not a safetensors file, or a damaged one ({why}); nothing of it was used: {path}"
    )
