"""Changed at a known place, every format keeps what must be kept, and tells losses where they are.

A hundred thousand of each format, in processes that are measured, are `tests/formats/fuzz.py`'s;
here are a few of each, and the cases that it once found.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from helpers.event_files import same
from helpers.mutation_seeds import MAKERS, seed_of
from helpers.mutations import Edit, Seed, check, judge, mutate, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamstop.events.packet import Damage


def made(format: str) -> Seed:
    if format.startswith("hdf5"):
        pytest.importorskip("h5py")
    return seed_of(format)


@pytest.mark.parametrize("format", MAKERS)
def test_a_seed_is_read_as_it_was_made(tmp_path: Path, format: str) -> None:
    """The seeds' bytes are laid out apart from the readers: this also proves these."""
    seed = made(format)
    path = tmp_path / seed.file_name
    path.write_bytes(seed.content)
    got = read(path)
    assert got.error == "" and got.damage == [] and got.wrong == []
    assert same(got.events, seed.events)
    assert len(got.events) >= 3000


@pytest.mark.parametrize("format", MAKERS)
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(draw=st.randoms(use_true_random=False))
def test_a_change_costs_no_more_than_it_must(tmp_path: Path, format: str, draw: Random) -> None:
    seed = made(format)
    content, edit = mutate(draw, seed)
    assert check(seed, content, edit, tmp_path / seed.file_name)[1] == [], edit


@pytest.mark.parametrize("format", ["aedat4-lz4", "evt3", "dat", "csv"])
def test_the_judge_sees_what_is_wrong(tmp_path: Path, format: str) -> None:
    """A reader that loses, changes or misplaces something does not pass."""
    seed = made(format)
    edit = Edit("bytes", len(seed.content) // 2, len(seed.content) // 2 + 2, True)
    kept = seed.kept(edit)
    assert kept is not None and 0 < kept.prefix < kept.tail < len(seed.events)
    path = tmp_path / seed.file_name
    path.write_bytes(seed.content)
    good = read(path)
    changed = seed.content[:-1] + bytes((seed.content[-1] ^ 1,))
    assert judge(seed, changed, edit, good) == []
    late = good.events.copy()
    late["t"][0] += 1
    moved = good.events.copy()
    moved["x"][-1] ^= 1
    early = Damage(kept.lowest - 9, 2, "bad", str(path))
    for bad in (
        good._replace(events=good.events[:10]),
        good._replace(events=np.delete(good.events, 3)),
        good._replace(events=late),
        good._replace(events=moved),
        good._replace(damage=[early]),
        good._replace(damage=[Damage(len(changed), 1, "", str(path))]),
        good._replace(error="refused"),
    ):
        assert judge(seed, changed, edit, bad), bad


def repaired(tmp_path: Path, format: str, content: bytes, edit: Edit) -> np.ndarray:
    """The events of a changed seed, after what the judge asks for was found."""
    seed = made(format)
    got, wrong = check(seed, content, edit, tmp_path / seed.file_name)
    assert wrong == []
    return got.events


def test_junk_shorter_than_a_header_between_aedat3_packets_costs_nothing(tmp_path: Path) -> None:
    seed = made("aedat3")
    kept = seed.kept
    for at in (i for i in range(len(seed.content)) if seed.content[i : i + 2] == b"\x01\x00"):
        edit = Edit("insert", at, at, False)
        found = kept(edit)
        if found is not None and found.prefix == 400 and found.tail <= 600:
            break
    content = seed.content[:at] + b"\x07" * 5 + seed.content[at:]
    events = repaired(tmp_path, "aedat3", content, edit)
    assert same(events, seed.events)


def test_four_bytes_missing_between_bare_aedat4_packets_cost_the_second(tmp_path: Path) -> None:
    """The first one's last bytes may then look like the number of the second one's stream."""
    seed = made("aedat4-none")
    ends = sorted({e for e in seed.fields if seed.content[e + 16 : e + 20] == b"EVTS"})
    last_events = [seed.events[200 * i - 1] for i in range(1, len(ends))]
    at = next(end for end, last in zip(ends[1:], last_events, strict=True) if not last["p"])
    content = seed.content[:at] + seed.content[at + 4 :]
    events = repaired(tmp_path, "aedat4-none", content, Edit("delete", at, at + 4, False))
    assert len(events) >= len(seed.events) - 200


def test_a_byte_missing_of_a_bare_aedat4_packets_length_leaves_the_one_before_whole(
    tmp_path: Path,
) -> None:
    """With the last byte of the packet before, what is left looks like a stream and a length."""
    seed = made("aedat4-none")
    ends = sorted({e for e in seed.fields if seed.content[e + 16 : e + 20] == b"EVTS"})
    for end in ends[1:]:
        content = seed.content[: end + 4] + seed.content[end + 5 :]
        events = repaired(tmp_path, "aedat4-none", content, Edit("delete", end + 4, end + 5, False))
        assert len(events) >= len(seed.events) - 200


def test_one_bad_word_does_not_turn_evt21_round(tmp_path: Path) -> None:
    """Which half of a word comes first is determined by its times, not by how tidy they look."""
    seed = made("evt21")
    content = bytearray(seed.content)
    words = seed.content.index(b"% end\n") + 6
    at = next(i for i in range(words + 807, len(content), 8) if content[i] >> 4 == 1)
    content[at] = 0x7F  # a kind of word that does not exist
    events = repaired(tmp_path, "evt21", bytes(content), Edit("bytes", at, at + 1, True))
    assert len(events) > len(seed.events) - 500
