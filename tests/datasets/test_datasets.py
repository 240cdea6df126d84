"""Training sets: images of every kind whole and broken, binned recordings, windows, splits."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.event_files import write_bin
from helpers.idx_files import idx_bytes, write_images
from helpers.image_files import (
    CIFAR10,
    add_member,
    tar_of,
    write_cifar10,
    write_cifar100,
    write_picture,
)
from PIL import Image

from streamstop.config.sections import BinningConfig
from streamstop.config.training import DataConfig, load_train_config
from streamstop.datasets.event_windows import load_event_windows
from streamstop.datasets.idx import read_idx
from streamstop.datasets.images import load_images
from streamstop.datasets.load import load_test_set, load_training_set
from streamstop.datasets.samples import Samples, channel_statistics, split, stratified_folds
from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import make_events


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
    samples = load_event_windows(str(tmp_path), BinningConfig(bin_us=10, height=34, width=34), 2)
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
    dealt = stratified_folds(y, 5, 0)
    for part in range(5):
        assert torch.bincount(y[np.flatnonzero(dealt == part)]).tolist() == [10, 6, 4]


def noise(n: int, *shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def test_cifar10_is_the_files_bytes_unpacked_or_not(tmp_path: Path) -> None:
    x, y = noise(12, 3, 32, 32), np.arange(12) % 10
    write_cifar10(tmp_path / "set/cifar-10-batches-bin", x, y)
    packed = tar_of(tmp_path / "set", tmp_path / "cifar-10-binary.tar.gz")
    for path in (tmp_path / "set", tmp_path / "set/cifar-10-batches-bin", packed):
        for part in ("train", "test"):
            samples = load_images(path, part)
            assert samples.x.tolist() == x.tolist() and samples.y.tolist() == y.tolist()
            assert samples.classes == tuple(CIFAR10)
        assert load_images(path, "train", 5).y.tolist() == [0, 1, 2, 3, 4]


def test_cifar100_takes_the_fine_labels(tmp_path: Path) -> None:
    x, fine = noise(6, 3, 32, 32), np.array([99, 3, 5, 7, 0, 50])
    write_cifar100(tmp_path, x, np.arange(6), fine)
    samples = load_images(tmp_path, "test")
    assert samples.y.tolist() == fine.tolist() and samples.x.tolist() == x.tolist()
    assert (len(samples.classes), samples.classes[99]) == (100, "fine_99")


def test_a_cifar_that_is_not_whole_or_not_cifar_is_refused(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path, noise(10, 3, 32, 32), np.arange(10))
    whole = (folder / "test_batch.bin").read_bytes()
    for broken, said in (
        (whole[:-1], "not whole images"),
        (b"", "not whole images"),
        (bytes([10]) + whole[1:], "label 10, of 10"),
    ):
        (folder / "test_batch.bin").write_bytes(broken)
        with pytest.raises(SourceError, match=said) as caught:
            load_images(folder, "test")
        assert str(caught.value).endswith(str(folder))
    (folder / "test_batch.bin").unlink()
    assert len(load_images(folder, "train").y) == 10
    with pytest.raises(SourceError, match="no test images"):
        load_images(folder, "test")


@pytest.mark.parametrize("name", ["cifar-10-batches-py/data_batch_1", "cifar-100-python/train"])
def test_the_pickled_version_of_cifar_is_never_opened(name: str, tmp_path: Path) -> None:
    path = tmp_path / "set" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps({b"data": 1}))
    packed = tar_of(tmp_path / "set", tmp_path / "python.tar.gz")
    for given in (tmp_path / "set", path.parent, packed):
        with pytest.raises(SourceError, match=r"binary version \(cifar-10-binary"):
            load_images(given, "train")


def pictures(folder: Path, n: int = 3, suffix: str = "png") -> Path:
    """`n` pictures of each of two classes and parts, each of one colour: 100 * part + number."""
    for part, base in (("train", 0), ("test", 100)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(n):
                pixels = np.zeros((6, 5, 3))
                pixels[..., label] = base + 10 + i
                write_picture(folder / part / name / f"{i:04}.{suffix}", pixels)
    return folder


@pytest.mark.parametrize("kind", ["folder", "tar", "ustar", "gnu", "gz"])
def test_class_folders_come_class_by_class_in_turn(kind: str, tmp_path: Path) -> None:
    path = pictures(tmp_path / "set")
    if kind != "folder":
        form = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT}.get(kind, 2)
        path = tar_of(path, tmp_path / ("set.tar.gz" if kind == "gz" else "set.tar"), form=form)
    for part, base in (("train", 0), ("test", 100)):
        samples = load_images(path, part)
        assert samples.x.shape == (6, 3, 6, 5) and samples.classes == ("cat", "dog")
        assert samples.y.tolist() == [0, 1] * 3
        # One colour each: of cats in the red, of dogs in the green channel.
        assert samples.x.amax((2, 3)).tolist() == [
            [base + 10 + i if channel == label else 0 for channel in range(3)]
            for i in range(3)
            for label in range(2)
        ]
        assert torch.equal(load_images(path, part, 3).x, samples.x[:3])


def test_grey_pictures_have_one_channel_unless_one_is_coloured(tmp_path: Path) -> None:
    for i in range(2):
        write_picture(tmp_path / f"train/{i}/a.png", np.full((4, 4), 50 + i))
    samples = load_images(tmp_path, "train")
    assert samples.x.shape == (2, 1, 4, 4) and samples.x[:, 0, 0, 0].tolist() == [50, 51]
    write_picture(tmp_path / "train/1/b.jpg", np.full((4, 4, 3), (90, 10, 10)))
    samples = load_images(tmp_path, "train")
    assert samples.x.shape == (3, 3, 4, 4) and samples.x[0, :, 0, 0].tolist() == [50] * 3


def test_names_of_a_tar_may_be_long(tmp_path: Path) -> None:
    deep = "x" * 60 + "/" + "y" * 60 + "/train/" + "c" * 90 + "/1.png"
    write_picture(tmp_path / "set" / deep, np.full((2, 2), 7))
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        samples = load_images(tar_of(tmp_path / "set", tmp_path / "a.tar", form=form), "train")
        assert samples.classes == ("c" * 90,) and samples.x.unique().tolist() == [7]


def test_a_tar_is_whole_or_refused(tmp_path: Path) -> None:
    """Cut anywhere, or with a header hit, it is never taken for a smaller set."""
    path = tar_of(pictures(tmp_path / "set"), tmp_path / "set.tar")
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0"))
    end += -end % 512
    for length in (*range(0, end, 700), end - 512, end):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError):
            load_images(path, "train")
    place = whole.index(b"./test/dog/0001.png")
    path.write_bytes(whole[:place] + b"?" + whole[place + 1 :])
    with pytest.raises(SourceError, match=f"damaged or cut at byte {place}"):
        load_images(path, "train")
    packed = tar_of(tmp_path / "set", tmp_path / "set.tar.gz")
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(SourceError, match="fetch it again"):
        load_images(packed, "train")


PNG = io.BytesIO()
Image.fromarray(noise(8, 8, 3)).save(PNG, "png")
DEEP = io.BytesIO()
Image.fromarray(np.zeros((8, 8), np.uint16)).save(DEEP, "png")
WIDE = io.BytesIO()
Image.new("1", (2049, 8)).save(WIDE, "png")
SMALL = io.BytesIO()
Image.new("RGB", (7, 8)).save(SMALL, "png")
BAD_PICTURES = {
    "no picture": (b"hello", "cannot be decoded"),
    "empty": (b"", "cannot be decoded"),
    "cut": (PNG.getvalue()[:-60], "cannot be decoded"),
    "gif": (b"GIF89a" + bytes(40), "cannot be decoded"),
    "16 bits": (DEEP.getvalue(), "8 bits a channel"),
    "too wide": (WIDE.getvalue(), "up to 2048 pixels"),
    "another size": (SMALL.getvalue(), "where the first is 8x8"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_bad_picture_is_named(name: str, tmp_path: Path) -> None:
    content, said = BAD_PICTURES[name]
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as archive:
        add_member(archive, "train/a/1.png", PNG.getvalue())
        add_member(archive, "train/a/2.png", content)
        add_member(archive, "train/a/._2.png", b"what other systems leave behind")
    with pytest.raises(SourceError, match=said) as caught:
        load_images(path, "train")
    assert str(caught.value).endswith(f"train/a/2.png in {path}")


def test_what_is_no_set_of_images_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        load_images(tmp_path / "none", "train")
    (tmp_path / "notes.txt").write_text("1")
    with pytest.raises(SourceError, match=r"known are train-images.* data_batch_1\.bin"):
        load_images(tmp_path, "train")
    with pytest.raises(SourceError, match="no tar at byte 0"):
        load_images(tmp_path / "notes.txt", "train")
    write_picture(tmp_path / "train/a/1.png", np.zeros((2, 2)))
    with pytest.raises(SourceError, match="no images in test/CLASS/"):
        load_images(tmp_path, "test")


def test_channels_have_statistics_of_their_own() -> None:
    x = torch.from_numpy(noise(40, 3, 9, 7))
    x[:, 1] //= 4
    x[:, 2] = 9
    mean, deviation = channel_statistics(x)
    assert mean == pytest.approx(x.double().mean((0, 2, 3)).tolist())
    assert deviation[:2] == pytest.approx(x.double().std((0, 2, 3), correction=0)[:2].tolist())
    assert deviation[2] == 1.0


TEN = BinningConfig(bin_us=10, height=34, width=34)


def stream(folder: Path, name: str, length_us: int) -> None:
    """An event each us, x being the tens of the hundreds: 0 to 99 us at 0, 100 to 199 at 1, ..."""
    t = np.arange(length_us)
    x = t // 100 % 4
    write_bin(folder / f"{name}.bin", make_events(t, x, t % 4, t % 2))


def test_windows_are_cut_and_the_last_are_the_test(tmp_path: Path) -> None:
    stream(tmp_path, "mug", 1030)
    stream(tmp_path, "box", 640)

    def load(part: Any, limit: int = 0) -> Samples:
        return load_event_windows(
            str(tmp_path), TEN, 10, limit, window_us=100, test_fraction=0.25, part=part
        )

    train, test = load("train"), load("test")
    # mug has 10 windows, 7.5 before the cut: one straddles. box has 6, 4.5 before it.
    assert train.y.tolist() == [0, 1] * 4 + [1] * 3 and train.classes == ("box", "mug")
    assert test.y.tolist() == [0, 1, 1]
    assert [int(x.sum((0, 1, 2)).argmax()) for x in test.x] == [5 % 4, 8 % 4, 9 % 4]
    assert [int(x.sum((0, 1, 2)).argmax()) for x in train.x] == [
        *(0, 0, 1, 1, 2, 2, 3, 3),
        *(4 % 4, 5 % 4, 6 % 4),
    ]
    # Each window's events are all there, ten a bin, and no other's.
    for part in (train, test):
        assert (part.x.sum((2, 3, 4)) == 10).all()
        assert (part.x.sum((1, 2, 3)) > 0).sum(-1).eq(1).all()
    for part, limit in (("train", 3), ("test", 2)):
        assert torch.equal(load(part, limit).x, load(part).x[:limit])
    whole = load_event_windows(str(tmp_path), TEN, 10, window_us=100)
    assert len(whole.y) == 16 > len(train.y) + len(test.y)


def test_without_windows_the_last_recordings_of_each_class_are_the_test(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for i in range(12):
            events = make_events([0, 5], [i % 4, i % 4], [i // 4, i // 4], [1, 1])
            write_bin(tmp_path / label / f"cifar10_{label}_{i}.bin", events)

    def places(part: Any) -> list[tuple[int, ...]]:
        samples = load_event_windows(str(tmp_path), TEN, 1, test_fraction=0.25, part=part)
        cells = samples.x[:, 0, 1, :4, :4].flatten(1).argmax(1)
        return sorted(zip(samples.y.tolist(), cells.tolist(), strict=True))

    assert places("test") == [(label, i) for label in (0, 1) for i in (9, 10, 11)]
    assert places("train") == [(label, i) for label in (0, 1) for i in range(9)]


def test_an_empty_part_is_refused(tmp_path: Path) -> None:
    stream(tmp_path, "mug", 300)
    with pytest.raises(UsageError, match="leaves none in the test part"):
        load_event_windows(str(tmp_path), TEN, 10, window_us=100, test_fraction=0.1, part="test")


def test_gestures_as_tonic_unpacks_them(tmp_path: Path) -> None:
    """user01_led/K.npy: a table of x, y, p, t in ms, and K the class."""
    for user in ("user01_fluorescent", "user02_fluorescent_led"):
        for label in (0, 10, 2):
            t = np.array([4000, 4001, 4003])
            table = np.stack([np.full(3, 127), np.full(3, 10 * label), t % 2, t], 1)
            path = tmp_path / "ibmGestureTrain" / user / f"{label}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, table.astype(np.float64))
    binning = BinningConfig(bin_us=1000, height=128, width=128)
    samples = load_event_windows(str(tmp_path / "ibmGestureTrain"), binning, 4)
    assert samples.classes == ("0", "2", "10") and samples.y.tolist() == [0, 1, 2] * 2
    for x, y in zip(samples.x, samples.y.tolist(), strict=True):
        row = 10 * int(samples.classes[y])
        assert x.nonzero().tolist() == [[0, 0, row, 127], [1, 1, row, 127], [3, 1, row, 127]]


def test_the_last_windows_validate() -> None:
    y = torch.tensor([0, 1] * 10)
    train, held = split(y, 0.2, None)
    assert held.tolist() == [16, 17, 18, 19] and train.tolist() == list(range(16))
    assert len(split(y, 0.0, None)[1]) == 0


def test_the_test_set_must_fit_the_training_set(tmp_path: Path) -> None:
    pictures(tmp_path / "a")
    write_picture(tmp_path / "b/test/cat/1.png", np.full((6, 5, 3), (1, 2, 3)))
    write_picture(tmp_path / "c/test/cat/1.png", np.full((6, 6, 3), (1, 2, 3)))
    data = DataConfig(uri=str(tmp_path / "a"))
    training = load_training_set(data, TEN)
    whole = load_test_set(data, TEN, training)
    assert whole is not None and len(whole.y) == 6
    for name, said in (("b", r"classes \(cat\) are not"), ("c", "3 x 6 x 6 and a training sample")):
        other = DataConfig(uri=data.uri, test_uri=str(tmp_path / name))
        with pytest.raises(UsageError, match=said):
            load_test_set(other, TEN, training)


EXCLUDED = {
    "data.folds and data.test_fraction": {"data.folds": 2, "data.test_fraction": 0.1},
    "data.folds and data.window_us": {"data.folds": 2, "data.window_us": 40_000},
    "data.test_uri and data.test_fraction": {"data.test_uri": "b", "data.test_fraction": 0.1},
    r"must be data.time_steps \* binning.bin_us, here 4": {"data.window_us": 1000},
    "which keeps every step": {"train.steps_per_forward": 5, "train.rule": "bptt"},
    "images. has none": {"data.kind": "images", "data.test_fraction": 0.1},
}


@pytest.mark.parametrize("said", EXCLUDED)
def test_settings_that_exclude_each_other(said: str, tmp_path: Path) -> None:
    recipe = tmp_path / "a.toml"
    recipe.write_text('[data]\nuri = "a"\nkind = "events"\n')
    with pytest.raises(UsageError, match=said):
        load_train_config(str(recipe), [], EXCLUDED[said])


def test_the_real_cifar_as_jpegs(data_dir: Path) -> None:
    path = data_dir / "cifar10-jpeg/cifar10_jpg_full.tar"
    if not path.is_file():
        pytest.skip(f"no CIFAR-10 here: {path}")
    samples = load_images(path, "test", 200)
    assert samples.x.shape == (200, 3, 32, 32) and samples.classes == tuple(CIFAR10)
    assert torch.bincount(samples.y).tolist() == [20] * 10
    mean, deviation = channel_statistics(samples.x)
    # CIFAR-10's own means are 125, 123, 114, its deviations 63, 62, 67.
    assert mean == pytest.approx((125, 123, 114), abs=8)
    assert deviation == pytest.approx((63, 62, 67), abs=6)


def test_the_real_objects_in_windows(data_dir: Path) -> None:
    path = data_dir / "dvs128-objects"
    if not path.is_dir():
        pytest.skip(f"no DVS128 objects here: {path}")
    samples = load_event_windows(
        str(path), BinningConfig(), 10, 21, window_us=100_000, test_fraction=0.3, part="test"
    )
    assert samples.x.shape == (21, 10, 2, 32, 32)
    assert torch.bincount(samples.y).tolist() == [3] * 7
    assert (samples.x.sum((1, 2, 3, 4)) > 100).all()
