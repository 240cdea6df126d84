"""Training sets: idx files whole and broken, binned recordings, splits."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from event_files import write_bin
from idx_files import idx_bytes, write_images

from streamstop.config import BinningConfig
from streamstop.datasets import deal, load_events, load_images, read_idx, split
from streamstop.errors import SourceError
from streamstop.events import make_events


def test_images_are_the_files_bytes(tmp_path: Path) -> None:
    x, y = np.arange(24).reshape(2, 3, 4), np.array([3, 1])
    write_images(tmp_path, "train", x, y)
    samples = load_images(tmp_path, "train")
    assert samples.x.tolist() == x[:, None].tolist()
    assert (samples.y.tolist(), samples.classes) == ([3, 1], ("0", "1", "2", "3"))


WHOLE = idx_bytes(np.zeros((2, 3, 4)))
BROKEN = {
    "not packed": (WHOLE, "cannot be read"),
    "cut": (gzip.compress(WHOLE)[:-12], "cannot be read"),
    "short": (gzip.compress(WHOLE[:-1]), "only 23"),
    "long": (gzip.compress(WHOLE + b"x"), "more"),
    "labels": (gzip.compress(idx_bytes(np.zeros(9))), "not an idx file"),
    "empty": (b"", "not an idx file"),
    "huge": (gzip.compress(WHOLE[:4] + b"\xff" * 12), "more than"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_idx_file_is_refused_with_its_path(name: str, tmp_path: Path) -> None:
    data, said = BROKEN[name]
    path = tmp_path / "x.gz"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=said) as caught:
        read_idx(path, 3)
    assert str(caught.value).endswith(str(path))


def test_as_many_labels_as_images(tmp_path: Path) -> None:
    write_images(tmp_path, "train", np.zeros((2, 3, 4)), np.zeros(3))
    with pytest.raises(SourceError, match="2 train images, 3 labels"):
        load_images(tmp_path, "train")


def test_recordings_become_their_first_bins(tmp_path: Path) -> None:
    write_bin(tmp_path / "a/1.bin", make_events([5, 14, 36], [0, 3, 0], [0, 3, 0], [1, 0, 1]))
    write_bin(tmp_path / "b/1.bin", make_events([7] * 300, [33] * 300, [33] * 300, [1] * 300))
    samples = load_events(str(tmp_path), BinningConfig(bin_us=10, height=34, width=34), 2)
    assert samples.x.shape == (2, 2, 2, 34, 34)
    assert samples.y.tolist() == [0, 1] and samples.classes == ("a", "b")
    # The event at 36 us is in the fourth bin, past the last step; 300 events of a cell are 255.
    assert samples.x[0].nonzero().tolist() == [[0, 0, 3, 3], [0, 1, 0, 0]]
    assert samples.x[1].nonzero().tolist() == [[0, 1, 33, 33]] and samples.x[1].max() == 255


def test_splits_are_whole_disjoint_fair_and_the_seeds() -> None:
    y = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    train, held = split(y, 0.1, 3)
    assert sorted([*train, *held]) == list(range(100))
    assert torch.bincount(y[held]).tolist() == [5, 3, 2]
    assert split(y, 0.1, 3)[1].tolist() == held.tolist() != split(y, 0.1, 4)[1].tolist()
    dealt = deal(y, 5, 0)
    for part in range(5):
        assert torch.bincount(y[np.flatnonzero(dealt == part)]).tolist() == [10, 6, 4]
