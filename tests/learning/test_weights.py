"""Weights files: back as they were written, the same bytes twice, and damage told apart."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from streamstop.errors import SourceError
from streamstop.learning import weights as weights_file
from streamstop.learning.weights import file_digest, load_weights, save_weights

ABOUT: dict[str, Any] = {"network": {"name": "lenet5", "leak": 0.5}, "classes": ["cat", "größe"]}


def tensors() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        "conv1.weight": torch.randn(3, 2, generator=draw),
        "conv1.leak_logit": torch.tensor(2.0),
    }


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_weights(path, tensors(), ABOUT)
    read, about = load_weights(path)
    assert about == ABOUT
    assert read.keys() == tensors().keys()
    for name, value in tensors().items():
        assert torch.equal(read[name], value) and read[name].shape == value.shape
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_weights(tmp_path / name, tensors(), dict(reversed(ABOUT.items())))
    save_weights(tmp_path / "c", tensors(), ABOUT)
    assert len({file_digest(tmp_path / name) for name in "abc"}) == 1


def test_a_file_that_describes_nothing_has_an_empty_description(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "w")
    read, about = load_weights(tmp_path / "w")
    assert about == {} and read.keys() == tensors().keys()


def with_header(header: Any) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def described(text: Any) -> bytes:
    return with_header({"__metadata__": {"streamstop": text}})


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "seven bytes": lambda whole: whole[:7],
    "cut in the header": lambda whole: whole[:40],
    "cut in the tensors": lambda whole: whole[:-1],
    "a byte too many": lambda whole: whole + b"\0",
    "a header of 2^63 bytes": lambda whole: b"\xff" * 7 + b"\x7f" + whole[8:],
    "a header that is no JSON": lambda _: with_header(b"{'a': 1}"),
    "a header that is not UTF-8": lambda _: with_header(b'{"\xff": 1}'),
    "a header that is a list": lambda _: with_header([]),
    "a header nested too deeply": lambda _: with_header(b'{"a":' + b"[" * 200_000),
    "metadata that are a list": lambda _: with_header({"__metadata__": [1]}),
    "a description that is no JSON": lambda _: described("{"),
    "a description that is a list": lambda _: described("[]"),
    "a description that is a number": lambda _: described(3),
    "a tensor beyond the end": lambda _: with_header(
        {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    ),
    "a tensor of no known type": lambda _: with_header(
        {"a": {"dtype": "object", "shape": [0], "data_offsets": [0, 0]}}
    ),
    "a zip archive": lambda _: b"PK\x03\x04" + bytes(200),
    "a pickle": lambda _: b"\x80\x04\x95" + bytes(200),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_an_error_that_says_so(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, tensors(), ABOUT)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SourceError, match=r"damaged one .*w\.safetensors$"):
        load_weights(path)


def test_a_file_that_is_not_there_or_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for broken in (tmp_path / "none", tmp_path):
        for read in (load_weights, file_digest):
            with pytest.raises(SourceError, match="cannot be read"):
                read(broken)
    save_weights(tmp_path / "w", tensors(), ABOUT)
    monkeypatch.setattr(weights_file, "MAX_HEADER_BYTES", 10)
    with pytest.raises(SourceError, match=r"header of .* more than 10"):
        load_weights(tmp_path / "w")
    monkeypatch.setattr(weights_file, "MAX_FILE_BYTES", 10)
    with pytest.raises(SourceError, match="more than 10 bytes"):
        load_weights(tmp_path / "w")
