from __future__ import annotations

import gzip
import lzma
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zstandard
from helpers.pipes import pipe

from streamstop.errors import SourceError
from streamstop.formats.byte_reader import ByteReader, inner_suffix, open_bytes

CONTENT = np.random.default_rng(0).integers(0, 64, 700_000, np.uint8).tobytes()
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": lambda data: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data),
    "xz": lambda data: lzma.compress(data, preset=0),
}
UNPACK: dict[str, Callable[[], object]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "xz": lzma.LZMADecompressor,
}


@pytest.fixture(params=["plain", *PACK])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ByteReader]:
    path = tmp_path / "bytes"
    path.write_bytes(PACK.get(request.param, bytes)(CONTENT))
    with open_bytes(str(path)) as data:
        yield data


def test_bytes_are_those_of_the_content(reader: ByteReader) -> None:
    assert reader.read_at(0, 10) == CONTENT[:10]
    assert reader.read_at(600_000, 50) == CONTENT[600_000:600_050]
    assert reader.read_at(699_990, 50) == CONTENT[-10:]
    assert reader.read_at(700_000, 1) == b""
    assert reader.size == 700_000
    assert reader.fault == ()


def test_to_look_ahead_keeps_what_lies_before(reader: ByteReader) -> None:
    assert reader.reaches(650_000)
    assert reader.read_at(5, 10) == CONTENT[5:15]
    assert reader.reaches(700_000)
    assert not reader.reaches(700_001)
    assert reader.read_at(0, 700_001) == CONTENT


def test_what_was_released_is_reported_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, CONTENT)
    data = open_bytes("-")
    assert data.read_at(0, 500_000) == CONTENT[:500_000]
    data.release(500_000)
    assert data.read_at(500_000, 10) == CONTENT[500_000:500_010]
    with pytest.raises(SourceError, match="only once"):
        data.read_at(0, 10)


def test_a_slow_pipe_is_waited_for_no_longer_than_need_be(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = pipe(monkeypatch, CONTENT, piece=100)
    data = open_bytes("-")
    assert len(data.read_ready(0, 250, 10_000)) == 300
    assert slow.asked == 3
    assert data.read_ready(0, 250, 10_000) == CONTENT[:300]
    assert slow.asked == 3
    assert open_bytes("-") is data


def test_members_in_a_row_and_padding_are_one_stream(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    for name, pack in PACK.items():
        path.write_bytes(pack(CONTENT[:300_000]) + bytes(8) + pack(CONTENT[300_000:]))
        with open_bytes(str(path)) as data:
            assert data.read_at(0, 800_000) == CONTENT, name
            assert data.fault == ()


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_what_comes_before_a_fault_is_handed_over_to_the_byte(
    tmp_path: Path, name: str, harm: str
) -> None:
    packed = bytearray(PACK[name](CONTENT))
    at = len(packed) * 2 // 3
    if harm == "cut":
        del packed[at:]
    else:
        packed[at : at + 40] = bytes(40)
    path = tmp_path / "bytes"
    path.write_bytes(packed)
    unpacker, expected = UNPACK[name](), bytearray()
    try:
        for i in range(len(packed)):
            expected += unpacker.decompress(bytes(packed[i : i + 1]))  # type: ignore[attr-defined]
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError):
        pass
    with open_bytes(str(path)) as data:
        content = data.read_at(0, 800_000)
        assert content == bytes(expected)
        assert len(content) > 100_000
        assert harm == "flip" or len(content) < len(CONTENT)
        (fault,) = data.fault
        assert (fault.offset, fault.lost_bytes) == (len(content), 0)
        assert fault.reason.startswith(name)


@pytest.mark.parametrize("name", PACK)
def test_a_long_file_takes_little_memory(tmp_path: Path, name: str) -> None:
    """300 MB unpacked; entered far on as well."""
    path = tmp_path / "bytes"
    path.write_bytes(PACK[name](bytes(75 << 20)) * 4)
    for first in (0, 250 << 20):
        tracemalloc.start()
        with open_bytes(str(path)) as data:
            at = first
            while block := data.read_at(at, 1 << 20):
                at += len(block)
                data.release(at)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert at == 300 << 20
        assert peak < 48 << 20


def test_the_name_inside() -> None:
    assert inner_suffix("a.AEDAT.XZ") == ".aedat"
    assert inner_suffix("a.gz") == ""
