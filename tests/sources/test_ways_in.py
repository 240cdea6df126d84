"""Every format gives the same events, plain, compressed or from standard input, cut off or not."""

from __future__ import annotations

import gzip
import lzma
import os
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard
from helpers.event_files import Whole, aedat2_bytes, bin_bytes, random_events, same
from helpers.mutation_seeds import seed_of
from helpers.mutations import mutate
from helpers.pipes import pipe

from streamstop.errors import DamageError, SourceError, UsageError
from streamstop.events.packet import Cursor, Events, SensorSize
from streamstop.formats import byte_reader
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.formats.base import read_packets
from streamstop.formats.detect import FORMATS, SHORT, open_recording
from streamstop.sources.open import open_source

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 1),
    "zst": lambda data: zstandard.ZstdCompressor(level=1).compress(data),
    "xz": lambda data: lzma.compress(data, preset=0),
}
UNPACK: dict[str, Callable[[], object]] = {
    "gz": lambda: zlib.decompressobj(31),
    "zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "xz": lzma.LZMADecompressor,
}
SEEDS = {
    "aedat1": "aedat1",
    "aedat2": "aedat2",
    "aedat3": "aedat3",
    "aedat4-none": "aedat4",
    "aedat4-lz4": "aedat4",
    "aedat4-zstd": "aedat4",
    "dat": "dat",
    "nmnist": "bin",
    "npy": "npy",
    "npz": "npz",
    "evt2": "evt2",
    "evt21": "evt2.1",
    "evt3": "evt3",
    "es": "es",
    "csv": "csv",
}
"""By the seed's name, the short name of its format."""


def is_read(short: str) -> bool:
    return next(one for one in FORMATS if one.name == SHORT[short]).opens != ""


@pytest.mark.parametrize("way", ["plain", *PACK, "stdin", "stdin-gz"])
@pytest.mark.parametrize("name", SEEDS)
def test_a_format_is_the_same_events_whichever_way_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> None:
    if not is_read(SEEDS[name]):
        pytest.skip("not read by this version")
    seed = seed_of(name)
    if way.startswith("stdin"):
        content = seed.content if way == "stdin" else PACK["gz"](seed.content)
        pipe(monkeypatch, content, piece=777)
        source = open_source(f"-?sensor=128x128&format={SEEDS[name]}")
    else:
        path = tmp_path / f"{seed.file_name}{'' if way == 'plain' else f'.{way}'}"
        path.write_bytes(PACK.get(way, bytes)(seed.content))
        source = open_source(str(path), sensor=SensorSize(128, 128))
    whole = Whole(source)
    assert same(whole.events, seed.events)
    assert whole.damage == []


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("name", ["aedat2", "aedat4-none", "nmnist", "npy", "csv"])
def test_reading_goes_on_from_any_packet_of_a_compressed_file(
    tmp_path: Path, name: str, suffix: str
) -> None:
    seed = seed_of(name)
    path = tmp_path / f"{seed.file_name}.{suffix}"
    path.write_bytes(PACK[suffix](seed.content))
    recording = open_recording(str(path))
    for packet in recording.packets():
        rest = Whole(recording.packets(packet.cursor)).events
        assert same(rest, seed.events[packet.cursor.event :])


LONG = random_events(100_000, width=34, height=34)


@pytest.mark.parametrize("suffix", PACK)
def test_a_cut_off_compressed_file_gives_what_lies_before(tmp_path: Path, suffix: str) -> None:
    """As many events as another unpacker gets bytes for, to the event."""
    content = aedat2_bytes(LONG)
    packed = PACK[suffix](content)
    packed = packed[: len(packed) * 2 // 3]
    got = UNPACK[suffix]().decompress(packed)  # type: ignore[attr-defined]
    header = len(content) - 8 * len(LONG)
    path = tmp_path / f"rec.aedat.{suffix}"
    path.write_bytes(packed)
    whole = Whole(open_source(str(path)))
    count = (len(got) - header) // 8
    assert 10_000 < count < 90_000
    assert same(whole.events, LONG[:count])
    assert [one.offset for one in whole.damage][-1] == len(got)
    assert "ends too early" in whole.damage[-1].reason
    assert all(one.lost_us is None for one in whole.damage)
    with pytest.raises(DamageError):
        Whole(open_source(str(path), strict=True))


@pytest.mark.parametrize("suffix", PACK)
def test_a_long_compressed_file_is_read_in_little_memory(tmp_path: Path, suffix: str) -> None:
    """10 million events, 80 MB unpacked."""
    path = tmp_path / f"rec.aedat.{suffix}"
    header = b"#!AER-DAT2.0\r\n# AEChip: DVS128\r\n"
    path.write_bytes(PACK[suffix](header + bytes(16 << 20)) + PACK[suffix](bytes(64 << 20)))
    recording = open_recording(str(path))
    for start in (None, Cursor(str(path), len(header) + (72 << 20), 9 << 20, 0)):
        tracemalloc.start()
        count = sum(len(packet.events) for packet in recording.packets(start))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == (10 << 20) - (start.event if start else 0)
        assert peak < 48 << 20


def _dat_bytes(events: Events) -> bytes:
    head = b"% Data file containing CD events.\n% Version 2\n% end\n\x0c\x08"
    return head + b"".join(
        struct.pack("<II", int(t) % (1 << 32), int(x) | int(y) << 14 | int(p) << 28)
        for t, x, y, p in events.tolist()
    )


@pytest.mark.parametrize(
    ("suffix", "encode", "bits"),
    [("aedat", aedat2_bytes, 32), ("dat", _dat_bytes, 32), ("bin", bin_bytes, 23)],
)
def test_a_counter_may_wrap_twice(
    tmp_path: Path, suffix: str, encode: Callable[[Events], bytes], bits: int
) -> None:
    events = random_events(20, width=34, height=34)
    events["t"] = 123 + np.arange(20) * (1 << bits) // 8
    events["t"][7:9] = events["t"][[8, 7]]  # and a step back across a wrap
    assert events["t"][-1] > 2 << bits
    path = tmp_path / f"rec.{suffix}"
    path.write_bytes(encode(events))
    recording = open_recording(str(path))
    assert same(Whole(recording.packets()).events, events)


def test_damage_lasts_from_the_event_before_to_the_one_after(tmp_path: Path) -> None:
    events = random_events(600)
    path = tmp_path / "rec.aedat4"
    write_aedat4(path, events, SensorSize(128, 128), compression="zstd", packet_events=100)
    content = bytearray(path.read_bytes())
    magics = [i for i in range(len(content)) if content[i : i + 4] == b"\x28\xb5\x2f\xfd"]
    content[magics[2] + 40] ^= 0xFF
    path.write_bytes(content)
    whole = Whole(read_packets(open_recording(str(path))))
    assert same(whole.events, np.delete(events, slice(200, 300)))
    assert [one.lost_us for one in whole.damage] == [int(events["t"][300] - events["t"][199])]


def test_bad_lines_of_text_are_reported_where_they_lie(tmp_path: Path) -> None:
    events = random_events(20_000)
    lines = [b"%d %d %d %d" % tuple(map(int, row)) for row in events.tolist()]
    for i in (50, 51, 9_000, 19_999):
        lines[i] = b"?"
    path = tmp_path / "rec.txt"
    path.write_bytes(b"\n".join(lines) + b"\n")
    packets = list(read_packets(open_recording(str(path))))
    whole = Whole(packets)
    t = events["t"]
    assert same(whole.events, np.delete(events, [50, 51, 9_000, 19_999]))
    starts = np.cumsum([0] + [len(line) + 1 for line in lines])
    assert [(one.offset, one.lost_bytes, one.lost_us) for one in whole.damage] == [
        (starts[50], 4, int(t[52] - t[49])),
        (starts[9_000], 2, int(t[9_001] - t[8_999])),
        (starts[19_999], 2, None),
    ]
    for packet in packets:
        rest = Whole(open_recording(str(path)).packets(packet.cursor))
        assert same(rest.events, whole.events[packet.cursor.event :])


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, bin_bytes(LONG))
    with pytest.raises(UsageError, match="does not contain the sensor"):
        open_source("-?format=bin")
    with pytest.raises(UsageError, match="labels need a second pass"):
        open_source("-?format=bin&sensor=34x34", labels="labels.csv")
    source = open_source("-?format=bin&sensor=34x34")
    assert same(Whole(source).events, LONG)
    with pytest.raises(SourceError, match="only once"):
        Whole(source)


def test_standard_input_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first events are there long before the last bytes are."""
    slow = pipe(monkeypatch, aedat2_bytes(LONG), piece=500)
    packets = iter(open_source("-"))
    first = next(packets)
    assert 0 < len(first.events) < 1000
    assert slow.asked < 20
    rest = [packet.events for packet in packets]
    assert same(np.concatenate([first.events, *rest]), LONG)


@pytest.mark.parametrize("name", ["evt2", "evt21", "evt3", "dat", "es", "aedat4-lz4"])
def test_a_pipe_that_stays_open_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What a slow writer sent so far is returned, except the little that the format needs;
    and the events are those of the file."""
    seed = seed_of(name)
    half = len(seed.content) // 2
    reading, writing = os.pipe()
    os.write(writing, seed.content[:half])
    stdin = SimpleNamespace(buffer=os.fdopen(reading, "rb"), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(byte_reader, "_standard_input", None)
    packets = read_packets(open_recording("-"))
    got = [next(packets).events]
    assert len(got[0]) > (0 if name in ("es", "aedat4-lz4") else len(seed.events) // 3)
    os.write(writing, seed.content[half:])
    os.close(writing)
    got += [packet.events for packet in packets]
    assert same(np.concatenate(got), seed.events)
    stdin.buffer.close()


@pytest.mark.parametrize("name", ["evt2", "evt21", "evt3", "es"])
def test_a_slow_pipe_gives_what_the_file_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Damage is judged the same where the words after it are not there yet."""
    seed = seed_of(name)
    for number in range(12):
        content, _ = mutate(Random(f"slow {name} {number}"), seed)
        path = tmp_path / seed.file_name
        path.write_bytes(content)
        wholes = []
        for where in (str(path), "-"):
            pipe(monkeypatch, content, piece=97)
            try:
                recording = open_recording(where)
            except SourceError:
                break
            wholes.append(Whole(read_packets(recording)))
        if len(wholes) == 2:
            file, slow = wholes
            assert same(file.events, slow.events), number
            assert file.dropped == slow.dropped
            losses = [[(one.offset, one.lost_bytes) for one in whole.damage] for whole in wholes]
            assert losses[0] == losses[1], number


def test_a_terminal_is_no_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    with pytest.raises(SourceError, match="terminal"):
        open_source("-")


def test_a_format_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(bin_bytes(LONG))
    with pytest.raises(SourceError, match=r"give \?format="):
        open_source(str(path))
    source = open_source(f"{path}?format=nmnist")
    assert (source.format, source.sensor) == ("nmnist", (34, 34))
    with pytest.raises(UsageError, match="did you mean aedat2"):
        open_source(f"{path}?format=aedta2")
    with pytest.raises(SourceError, match=r"not an AEDAT 1\.0 or 2\.0 file"):
        open_source(f"{path}?format=aedat2")


def test_every_short_name_is_of_a_format() -> None:
    assert set(SHORT.values()) <= {one.name for one in FORMATS}
