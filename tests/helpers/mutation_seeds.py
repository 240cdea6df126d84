"""One recording of a few thousand events in each format, whose every byte's part is known.

Bytes are laid out here by hand or by libraries that the package does not read with, but for
AEDAT4, which comes from the project's writer. What each format can and cannot detect is written
where its seed is made: records without checks have nothing to report of a flipped bit, which makes
another valid event.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tempfile
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from helpers import mutation_bags as bags
from helpers.event_files import aedat2_bytes, bin_bytes, davis_bytes, random_events
from helpers.mutations import Edit, Kept, Seed
from numpy.typing import NDArray

from streamstop.events.packet import Events, SensorSize, make_events
from streamstop.formats.aedat.aedat4_writer import write_aedat4

EVENTS = 3000
SENSOR = SensorSize(128, 128)
IN_PLACE = frozenset(("bits", "bytes", "fill", "field"))
ANY = IN_PLACE | {"insert", "delete", "duplicate", "truncate"}

_Laid = tuple[bytes, Events, int, NDArray[np.int64], NDArray[np.int64]]
"""A file, its events, where its header ends, and for each event the first byte that its meaning
rests on and the byte after its last."""


def blocks(
    content: bytes, header: int, begins: NDArray[Any], ends: NDArray[Any], resync: str
) -> Callable[[Edit], Kept | None]:
    """What is kept where events rest on stretches of the file in order.

    resync : "any": reading finds its way again after any edit; "in place": after one that moves
        nothing; "words": so too, but several time words in a row that were changed may look like
        a time, and what follows is passed over until the true one has come as far; "none": what
        comes after a change may be anything.
    """

    def kept(edit: Edit) -> Kept | None:
        if edit.first < header:
            return None
        prefix = bisect_right(ends, edit.first)
        tail = len(begins)
        highest = None
        # An event is one thing: damage that touches the one that holds the change is right.
        lowest = int(ends[prefix - 1]) if prefix else header
        begin = int(begins[prefix]) if prefix < len(begins) else int(ends[-1])
        if resync == "words" and bisect_left(np.unique(begins), edit.last) > 1 + bisect_right(
            np.unique(begins), edit.first
        ):
            return Kept(prefix, tail, lowest, begin)
        if edit.kind not in ("splice", "truncate") and (edit.in_place or resync == "any"):
            tail = bisect_left(begins, edit.last + (0 if edit.in_place else 1))
            if edit.in_place and resync != "none":
                # The first event kept rests on words that come before it: these may be looked for.
                highest = int(ends[tail]) - 1 if tail < len(begins) else None
        if resync == "none":
            tail, begin = len(begins), 0
        return Kept(prefix, tail, lowest, begin, highest)

    return kept


def packed(seed: Seed, name: str) -> Seed:
    """The seed compressed: what comes before the change is what an unpacker gives of it."""
    pack, unpacker = {
        "gz": (lambda data: gzip.compress(data, 6, mtime=0), lambda: zlib.decompressobj(31)),
        "xz": (lzma.compress, lzma.LZMADecompressor),
        "zst": (
            zstandard.ZstdCompressor(level=3, write_checksum=True).compress,
            lambda: zstandard.ZstdDecompressor().decompressobj(),
        ),
    }[name]
    content = pack(seed.content)
    given = [0]
    feed = unpacker()
    for at in range(len(content)):
        given.append(given[-1] + len(feed.decompress(content[at : at + 1])))
    assert given[-1] == len(seed.content)

    def kept(edit: Edit) -> Kept | None:
        whole = seed.kept(Edit("truncate", given[edit.first], len(seed.content), False))
        # What is unpacked of a little is a little: too little to know a format by.
        if whole is None or given[edit.first] < 4096:
            return None
        return Kept(whole.prefix, len(seed.events), given[edit.first])

    return replace(
        seed,
        format=f"{seed.format}-{name}",
        file_name=f"{seed.file_name}.{name}",
        content=content,
        other=pack(seed.other),
        kept=kept,
        fields=tuple(range(min(18, len(content)))),
        tells=ANY,
    )


def _records(content: bytes, events: Events, record_bytes: int) -> _Laid:
    header = len(content) - record_bytes * len(events)
    begins = header + record_bytes * np.arange(len(events))
    return content, events, header, begins, begins + record_bytes


def _aedat1(events: Events) -> _Laid:
    body = b"".join(
        struct.pack(">HI", (127 - int(y)) << 8 | (127 - int(x)) << 1 | 1 - int(p), int(t))
        for t, x, y, p in zip(*(events[name] for name in "txyp"), strict=True)
    )
    return _records(b"#!AER-DAT1.0\r\n# a comment\r\n" + body, events, 6)


def _dat(events: Events) -> _Laid:
    head = b"% Data file containing CD events.\n% Version 2\n% Width 128\n% Height 128\n"
    body = b"".join(
        struct.pack("<II", int(t), int(x) | int(y) << 14 | int(p) << 28)
        for t, x, y, p in zip(*(events[name] for name in "txyp"), strict=True)
    )
    return _records(head + b"\x0c\x08" + body, events, 8)


def _npy(events: Events) -> _Laid:
    file = io.BytesIO()
    np.save(file, events)
    return _records(file.getvalue(), events, events.dtype.itemsize)


def _csv(events: Events) -> _Laid:
    lines = [
        b"%d,%d,%d,%d\n" % (t, x, y, p)
        for t, x, y, p in zip(*(events[name].tolist() for name in "txyp"), strict=True)
    ]
    head = b"t,x,y,p\n"
    ends = len(head) + np.cumsum([len(line) for line in lines])
    begins = np.roll(ends, 1) - 1  # the end of the line before is what parts it from this one
    begins[0] = len(head) - 1
    # The first line of numbers tells their unit: where it is touched, the file may be refused.
    return head + b"".join(lines), events, int(ends[0]), begins, ends


def _es(events: Events) -> _Laid:
    """Rows count from below. Time counts from event to event: after a change it may be any."""
    head = b"Event Stream\x02\x00\x00\x01" + struct.pack("<HH", *SENSOR)
    body = bytearray()
    last = 0
    ends = []
    for t, x, y, p in zip(*(events[name].tolist() for name in "txyp"), strict=True):
        while t - last >= 127:
            body.append(0xFF)
            last += 127
        body += struct.pack("<BHH", (t - last) << 1 | p, x, SENSOR.height - 1 - y)
        last = t
        ends.append(len(head) + len(body))
    return head + bytes(body), events, len(head), np.zeros(len(events), np.int64), np.array(ends)


def _aedat3(events: Events, per_packet: int = 200) -> _Laid:
    head = (
        b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
        b"#Start-Time: 2020-01-01 00:00:00 (TZ+0000)\r\n#!END-HEADER\r\n"
    )
    content = bytearray(head)
    begins, ends = [], []
    for first in range(0, len(events), per_packet):
        part = events[first : first + per_packet]
        n = len(part)
        begins += [len(content)] * n
        content += struct.pack("<HHIIIIII", 1, 0, 8, 4, 0, n, n, n)
        for t, x, y, p in zip(*(part[name].tolist() for name in "txyp"), strict=True):
            content += struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t)
        ends += [len(content)] * n
    return bytes(content), events, len(head), np.array(begins), np.array(ends)


def _evt2(events: Events) -> _Laid:
    """A TIME_HIGH at least every 50 events, on which those up to the next one rest."""
    head = b"% evt 2.0\n% format EVT2;height=128;width=128\n% geometry 128x128\n% end\n"
    content = bytearray(head)
    begins, ends, high, begin, since = [], [], -1, 0, 0
    for t, x, y, p in zip(*(events[name].tolist() for name in "txyp"), strict=True):
        if t >> 6 != high or since == 50:
            begin, high, since = len(content), t >> 6, 0
            content += struct.pack("<I", 8 << 28 | high)
        content += struct.pack("<I", p << 28 | (t & 63) << 22 | x << 11 | y)
        since += 1
        begins.append(begin)
        ends.append(len(content))
    return bytes(content), events, len(head), np.array(begins), np.array(ends)


def _vector_events(events: Events) -> list[tuple[int, int, int, int, int]]:
    """A vector for each event: t, y, p, first column, and bits of the 12 columns from there."""
    bits = (events["x"].astype(np.int64) * 2654435761 >> 7) & 0xFFF | 1
    return [
        (t, y, p, min(x, 116) & ~3, mask)
        for t, x, y, p, mask in zip(
            *(events[name].tolist() for name in "txyp"), bits.tolist(), strict=True
        )
    ]


def _expanded(rows: list[tuple[int, int, int, int, int]]) -> Events:
    columns = [
        (t, base + bit, y, p)
        for t, y, p, base, mask in rows
        for bit in range(12)
        if mask >> bit & 1
    ]
    t, x, y, p = (np.array(column) for column in zip(*columns, strict=True))
    return make_events(t, x, y, p > 0)


def _evt21(events: Events) -> _Laid:
    """Words of 64 bits: a base column and 32 bits, of which 12 are used here."""
    head = b"% evt 2.1\n% format EVT21;height=128;width=128\n% geometry 128x128\n% end\n"
    content = bytearray(head)
    rows = _vector_events(events[: len(events) // 4])
    begins, ends, high, begin, since = [], [], -1, 0, 0
    for t, y, p, base, mask in rows:
        if t >> 6 != high or since == 20:
            begin, high, since = len(content), t >> 6, 0
            content += struct.pack("<Q", 8 << 60 | high << 32)
        content += struct.pack("<Q", p << 60 | (t & 63) << 54 | base << 43 | y << 32 | mask)
        since += 1
        begins += [begin] * mask.bit_count()
        ends += [len(content)] * mask.bit_count()
    return bytes(content), _expanded(rows), len(head), np.array(begins), np.array(ends)


def _evt3(events: Events) -> _Laid:
    """Single events and vectors in turn. All state is sent again every 16 of them.

    An event rests on the words of state before it from the last such refresh on.
    """
    head = b"% evt 3.0\n% format EVT3;height=128;width=128\n% geometry 128x128\n% end\n"
    content = bytearray(head)
    rows = _vector_events(events[: len(events) // 2])
    begins, ends, begin = [], [], 0
    state: list[int] = [-1, -1, -1]
    shown = []
    for i, (t, y, p, base, mask) in enumerate(rows):
        if i % 16 == 0:
            begin, state = len(content), [-1, -1, -1]
        words = []
        for at, (kind, value) in enumerate(((8, t >> 12 & 0xFFF), (6, t & 0xFFF), (0, y))):
            if state[at] != value or (at == 1 and words):
                words.append(kind << 12 | value)
                state[at] = value
        if i % 2:
            mask = 1
            words.append(2 << 12 | p << 11 | base)
        else:
            words += [3 << 12 | p << 11 | base, 4 << 12 | mask]
        content += struct.pack(f"<{len(words)}H", *words)
        shown.append((t, y, p, base, mask))
        begins += [begin] * mask.bit_count()
        ends += [len(content)] * mask.bit_count()
    return bytes(content), _expanded(shown), len(head), np.array(begins), np.array(ends)


def _aedat4(events: Events, compression: str, per_packet: int = 200) -> _Laid:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rec.aedat4")
        write_aedat4(path, events, SENSOR, compression=compression, packet_events=per_packet)
        content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 14)
    header = at = 18 + length
    begins, ends = [], []
    for first in range(0, len(events), per_packet):
        (size,) = struct.unpack_from("<i", content, at + 4)
        n = min(per_packet, len(events) - first)
        begins += [at] * n
        at += 8 + size
        ends += [at] * n
    return content, events, header, np.array(begins), np.array(ends)


def _starts(laid: _Laid, *within: int) -> tuple[int, ...]:
    """Offsets within each block."""
    return tuple(int(at) + one for at in np.unique(laid[3]) for one in within)


def _laid_seed(
    format: str, file_name: str, lay: Callable[[Events], _Laid], resync: str, **options: Any
) -> Seed:
    within = options.pop("fields_within", ())
    laid = lay(random_events(EVENTS, seed=1))
    content, events, header, begins, ends = laid
    return Seed(
        format,
        file_name,
        content,
        events,
        blocks(content, header, begins, ends, resync),
        lay(random_events(EVENTS, seed=2))[0],
        fields=_starts(laid, *within),
        **options,
    )


def _aedat2_unnamed() -> Seed:
    """A header without a chip: where bytes moved, the addresses may not tell it any more."""
    seed = _laid_seed(
        "aedat2-unnamed",
        "rec.aedat",
        lambda events: _records(davis_bytes(events), events, 8),
        "in place",
        time_bits=32,
    )
    return replace(seed, kept=lambda edit: seed.kept(edit) if edit.in_place else None)


def _npz() -> Seed:
    """Columns apart, compressed: a row is whole up to the first change in any of the four.

    Where the directory at the end or a member's own header is touched, or moved, the file may not
    open, nor where no row is whole. What is unpacked after a change and before the checksum fails
    cannot be distinguished from good ones.
    """

    def save(seed: int) -> tuple[bytes, Events]:
        events, file = random_events(EVENTS, seed=seed), io.BytesIO()
        np.savez_compressed(file, **{name: events[name] for name in "txyp"})
        return file.getvalue(), events

    content, events = save(1)
    spans = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for one in archive.infolist():
            name, extra = struct.unpack_from("<HH", content, one.header_offset + 26)
            start = one.header_offset + 30 + name + extra
            with archive.open(one) as file:
                size = len(file.read())
            item = events.dtype[one.filename[0]].itemsize
            spans.append((start, start + one.compress_size, item, size - item * EVENTS))

    def kept(edit: Edit) -> Kept | None:
        inside = [s for s in spans if s[0] <= edit.first and edit.last <= s[1]]
        if not edit.in_place or not inside:
            return None
        start, _, item, head = inside[0]
        given = len(zlib.decompressobj(-15).decompress(content[start : edit.first]))
        rows = (given - head) // item
        return Kept(rows, EVENTS, 0) if rows > 0 else None

    fields = tuple(range(len(content) - 22, len(content)))
    return Seed(
        "npz", "rec.npz", content, events, kept, save(2)[0], fields, tells=IN_PLACE, places=False
    )


def _hdf5() -> Seed:
    """Columns in chunks, compressed and summed. A change elsewhere may make it unreadable."""
    import h5py

    def save(seed: int) -> tuple[bytes, Events, list[tuple[int, int, int]]]:
        events = random_events(EVENTS, seed=seed)
        spans = []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "rec.h5")
            with h5py.File(path, "w") as file:
                for name in "txyp":
                    data = events[name].astype("u1") if name == "p" else events[name]
                    file.create_dataset(
                        f"events/{name}",
                        data=data,
                        chunks=(500,),
                        compression="gzip",
                        fletcher32=True,
                    )
                count = int(events["t"][-1]) // 1000 + 1
                file["ms_to_idx"] = np.searchsorted(events["t"], np.arange(count) * 1000)
                file["t_offset"] = 0
            with h5py.File(path, "r") as file:
                for name in "txyp":
                    data = file[f"events/{name}"]
                    for i in range(data.id.get_num_chunks()):
                        one = data.id.get_chunk_info(i)
                        end = one.byte_offset + one.size
                        spans.append((one.byte_offset, end, one.chunk_offset[0]))
            return path.read_bytes(), events, spans

    content, events, spans = save(1)
    kept = _chunks_before(spans)
    return Seed("hdf5", "rec.h5", content, events, kept, save(2)[0], tells=IN_PLACE, places=False)


def _chunks_before(spans: list[tuple[int, int, int]]) -> Callable[[Edit], Kept | None]:
    """What is kept where a chunk is changed: rows before it, of (first byte, end, first row)."""

    def kept(edit: Edit) -> Kept | None:
        inside = [s for s in spans if s[0] <= edit.first and edit.last <= s[1]]
        return Kept(inside[0][2], EVENTS, 0) if edit.in_place and inside else None

    return kept


def _metavision() -> Seed:
    """A table, compressed and summed, and attributes of text, whose bytes lie in a heap.

    Of the text the sensor alone depends. The heap is native code's weakest place: much is changed
    there.
    """
    import h5py

    def save(seed: int) -> tuple[bytes, Events, list[tuple[int, int, int]]]:
        events = random_events(EVENTS, seed=seed)
        table = np.zeros(EVENTS, [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
        for name in "txyp":
            table[name] = events[name]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "rec.hdf5")
            with h5py.File(path, "w") as file:
                file.create_dataset(
                    "CD/events", data=table, chunks=(500,), compression="gzip", fletcher32=True
                )
                file.attrs["geometry"] = "128x128"
                file.attrs["version"] = "1.0"
            with h5py.File(path, "r") as file:
                data = file["CD/events"].id
                infos = [data.get_chunk_info(i) for i in range(data.get_num_chunks())]
            spans = [(i.byte_offset, i.byte_offset + i.size, i.chunk_offset[0]) for i in infos]
            return path.read_bytes(), events, spans

    content, events, spans = save(1)
    texts = (content.index(b"geometry"), content.index(b"GCOL"), content.index(b"128x128"))
    fields = tuple(at + i for at in texts for i in range(-8, 40))
    return Seed(
        "hdf5-metavision", "rec.hdf5", content, events, _chunks_before(spans), save(2)[0], fields,
        tells=IN_PLACE, places=False,
    )  # fmt: skip


def _unordered(format: str, file_name: str, lay: Callable[[Events], bytes], fields: int) -> Seed:
    """A file in which nothing must come through a change; `fields`: bytes of its header."""
    events, other = random_events(EVENTS, seed=1), random_events(EVENTS, seed=2)
    return Seed(
        format, file_name, lay(events), events, bags.nothing_kept, lay(other),
        tuple(range(fields)), places=False,
    )  # fmt: skip


_CUT = frozenset(("truncate",))
_BAG_FIELDS = {"fields_within": (0, 4, 8, 16, 24, 32, 40, 52, 60, 70), "tells": _CUT}


_AEDAT4_FIELDS = {"fields_within": (0, 4, 8, 12, 16, 20, 24, 28, 32, 36), "tells": ANY}

MAKERS: dict[str, Callable[[], Seed]] = {
    # Records without checks: a change makes other events; only a last, partial one shows. Bytes
    # that came or went move all that follows, of which nothing can be known.
    "aedat1": lambda: _laid_seed("aedat1", "rec.dat", _aedat1, "in place", time_bits=32),
    "aedat2": lambda: _laid_seed(
        "aedat2",
        "rec.aedat",
        lambda events: _records(aedat2_bytes(events, "# AEChip: DVS128\r\n"), events, 8),
        "in place",
        time_bits=32,
    ),
    "aedat2-unnamed": _aedat2_unnamed,
    "dat": lambda: _laid_seed("dat", "rec.dat", _dat, "in place", time_bits=32),
    "nmnist": lambda: _laid_seed(
        "nmnist",
        "rec.bin",
        lambda events: _records(bin_bytes(events), events, 5),
        "in place",
        time_bits=23,
    ),
    "npy": lambda: _laid_seed("npy", "rec.npy", _npy, "in place"),
    # Packets with a header each, but no checks within: found again after anything.
    "aedat3": lambda: _laid_seed(
        "aedat3", "rec.aedat", _aedat3, "any", fields_within=(0, 4, 8, 12, 16, 20, 24)
    ),
    "aedat4-none": lambda: _laid_seed(
        "aedat4-none",
        "rec.aedat4",
        lambda e: _aedat4(e, "none"),
        "any",
        fields_within=(0, 4, 8, 12, 16, 20, 24, 28, 32, 36),
    ),
    # Packets with a checksum: whatever is missing was reported.
    "aedat4-lz4": lambda: _laid_seed(
        "aedat4-lz4", "rec.aedat4", lambda e: _aedat4(e, "lz4"), "any", **_AEDAT4_FIELDS
    ),
    "aedat4-zstd": lambda: _laid_seed(
        "aedat4-zstd", "rec.aedat4", lambda e: _aedat4(e, "zstd"), "any", **_AEDAT4_FIELDS
    ),
    # Words that set a state, sent again now and then: what follows that is right again.
    "evt2": lambda: _laid_seed("evt2", "rec.raw", _evt2, "words", time_bits=34),
    "evt21": lambda: _laid_seed("evt21", "rec.raw", _evt21, "words", time_bits=34),
    "evt3": lambda: _laid_seed("evt3", "rec.raw", _evt3, "words", time_bits=24),
    # Time and place in the file rest on all that came before.
    "es": lambda: _laid_seed("es", "rec.es", _es, "none"),
    # Lines: a bad one costs itself.
    "csv": lambda: _laid_seed("csv", "rec.csv", _csv, "any", tells=IN_PLACE),
    # Chunks of messages. Those that are not compressed, and have no checksum, lose a message.
    "bag": lambda: _laid_seed("bag", "rec.bag", bags.bag, "any", **_BAG_FIELDS),
    "bag-lz4": lambda: _laid_seed(
        "bag-lz4", "rec.bag", lambda e: bags.bag(e, "lz4"), "any", places=False, **_BAG_FIELDS
    ),
    "bag-bz2": lambda: _laid_seed(
        "bag-bz2", "rec.bag", lambda e: bags.bag(e, "bz2"), "any", **_BAG_FIELDS
    ),
    "mcap": lambda: _laid_seed("mcap", "rec.mcap", bags.mcap, "any", **_BAG_FIELDS),
    "mcap-zstd": lambda: _laid_seed(
        "mcap-zstd", "rec.mcap", lambda e: bags.mcap(e, "zstd"), "any", **_BAG_FIELDS
    ),
    "mcap-bare": lambda: _laid_seed(
        "mcap-bare", "rec.mcap", lambda e: bags.mcap(e, chunked=False), "any", **_BAG_FIELDS
    ),
    # Pages that refer to each other; numbers whose unit and order are inferred from all of them.
    "db3": lambda: _unordered("db3", "rec.db3", bags.db3, 100),
    "mat": lambda: _unordered("mat", "rec.mat", lambda e: bags.mat(e, compressed=False), 200),
    "mat-packed": lambda: _unordered(
        "mat-packed", "rec.mat", lambda e: bags.mat(e, compressed=True), 200
    ),
    "npz": _npz,
    "hdf5": _hdf5,
    # Compressed: what an unpacker gives of the bytes before the change, and the reported fault.
    "aedat2-gz": lambda: packed(seed_of("aedat2"), "gz"),
    "aedat4-none-gz": lambda: packed(seed_of("aedat4-none"), "gz"),
    "nmnist-zst": lambda: packed(seed_of("nmnist"), "zst"),
    "evt3-zst": lambda: packed(seed_of("evt3"), "zst"),
    "dat-xz": lambda: packed(seed_of("dat"), "xz"),
    "csv-xz": lambda: packed(seed_of("csv"), "xz"),
    # The slowest, as libhdf5's process ends of many a change and is restarted.
    "hdf5-metavision": _metavision,
}


@cache
def seed_of(format: str) -> Seed:
    """The seed of a format, made once."""
    return MAKERS[format]()
