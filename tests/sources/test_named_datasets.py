"""Named data sets: splits of every layout, known errors corrected, missing files reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, aedat2_bytes, bin_bytes
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import make_events
from streamstop.sources.folder import FolderSource
from streamstop.sources.open import open_source

HEAD = "class,startTime_usec,endTime_usec\n"


def events(first_us: int = 0, step_us: int = 1_000, n: int = 100) -> np.ndarray:
    return make_events(
        first_us + step_us * np.arange(n), np.arange(n) % 128, np.arange(n) % 128, [True] * n
    )


def opened(uri: str, **more: object) -> FolderSource:
    source = open_source(uri, **more)  # type: ignore[arg-type]
    assert isinstance(source, FolderSource)
    return source


def gestures(root: Path, users: tuple[int, ...] = (1, 22, 23, 24, 29)) -> Path:
    """The official layout: raw recordings, a label CSV each, gaps between labels."""
    root.mkdir()
    for user in users:
        stem = f"user{user:02d}_led"
        (root / f"{stem}.aedat").write_bytes(aedat2_bytes(events()))
        (root / f"{stem}_labels.csv").write_text(f"{HEAD}1,0,30000\n9,50000,90000\n")
    (root / "gesture_mapping.csv").write_text("action,label\nhand_clapping,1\narm_roll,9\n")
    return root


def recordings(source: FolderSource) -> set[str]:
    assert source.labels is not None
    return {segment.recording for segment in source.labels}


def test_dvs_gesture_as_published(tmp_path: Path) -> None:
    root = gestures(tmp_path / "DvsGesture")
    whole = opened(f"dvs-gesture:{root}")
    assert whole.labels is not None
    assert whole.labels.classes == ("1 hand_clapping", "9 arm_roll")
    assert len(whole.labels) == 10
    assert Whole(whole).dropped["unlabelled_gap"] == 5 * 30
    test = opened(f"dvs-gesture:{root}?split=test")
    assert recordings(test) == {"user24_led.aedat", "user29_led.aedat"}
    assert any("5 recordings here, of 122" in note for note in test.notes)
    train = opened(f"dvs-gesture:{root}?split=train")
    assert recordings(train).isdisjoint(recordings(test))
    assert len(recordings(train)) == 3
    # The set's own lists go before what the users' numbers say.
    (root / "trials_to_test.txt").write_text("user01_led.aedat\r\n\n")
    assert recordings(opened(f"dvs-gesture:{root}?split=test")) == {"user01_led.aedat"}


def test_the_known_label_error_is_corrected_and_noted(tmp_path: Path) -> None:
    root = tmp_path / "DvsGesture"
    root.mkdir()
    (root / "user22_led.aedat").write_bytes(aedat2_bytes(events(95_000_000, 120_000, 130)))
    labels = f"{HEAD}9,96000000,110590564\n10,105000000,108000000\n"
    (root / "user22_led_labels.csv").write_text(labels)
    with pytest.raises(UsageError, match="overlap"):
        opened(str(root))
    source = opened(f"dvs-gesture:{root}")
    assert source.labels is not None
    first, second = source.labels
    assert first.end_us - first.start_us == 104_000_000 - 96_000_000
    assert second.end_us - second.start_us == 3_000_000
    assert any("110590564" in note for note in source.notes)
    # A file of that name without the error, e.g. a simulated one, is not reported to have it.
    (root / "user22_led_labels.csv").write_text(labels.replace("110590564", "103000000"))
    assert not any("user22" in note for note in opened(f"dvs-gesture:{root}").notes)


def test_the_lists_of_trials_belong_to_dvs_gesture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "user24_led.aedat").write_bytes(aedat2_bytes(events(0, 1000, 10)))
    for part in ("train", "test"):
        (tmp_path / f"trials_to_{part}.txt").write_text("user24_led.aedat\n")
    opened(f"dvs-gesture:{tmp_path}")
    assert not caplog.messages
    opened(str(tmp_path))
    assert "2 files passed over" in caplog.messages[0]


def test_dvs_gesture_as_tonic_and_spikingjelly_unpack_it(tmp_path: Path) -> None:
    for part, user in (("Train", 3), ("Test", 25)):
        folder = tmp_path / "tonic" / "DVSGesture" / f"ibmGesture{part}" / f"user{user:02d}_lab"
        folder.mkdir(parents=True)
        np.save(folder / "4.npy", np.tile([5.0, 6.0, 1.0, 7.0], (10, 1)))
        jelly = tmp_path / "jelly" / "events_np" / part.lower() / "3"
        jelly.mkdir(parents=True)
        columns = {name: np.arange(10) % (2 if name == "p" else 10) for name in "txyp"}
        np.savez(jelly / f"user{user:02d}_lab_0.npz", **columns)
    for layout, label in (("tonic", "4"), ("jelly", "3")):
        source = opened(f"dvs-gesture:{tmp_path / layout}?split=test")
        assert source.labels is not None
        assert source.labels.classes == (label,)
        assert source.sensor == (128, 128)
        assert all("user25" in one for one in recordings(source))


def test_cifar10_dvs_has_the_usual_split_and_a_drawn_one(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(20):
            path = tmp_path / name / f"cifar10_{name}_{i}.aedat"
            path.write_bytes(aedat2_bytes(events(n=3)))
    train = recordings(opened(f"cifar10-dvs:{tmp_path}?split=train"))
    test = recordings(opened(f"cifar10-dvs:{tmp_path}?split=test"))
    assert test == {f"{c}/cifar10_{c}_{i}.aedat" for c in ("cat", "dog") for i in (18, 19)}
    assert len(train) == 36 and train.isdisjoint(test)
    drawn = [opened(f"cifar10-dvs:{tmp_path}?split=test&split_seed={seed}") for seed in (1, 1, 2)]
    assert recordings(drawn[0]) == recordings(drawn[1]) != recordings(drawn[2])
    assert len(recordings(drawn[0])) == 4
    assert any("drawn by seed 1" in note for note in drawn[0].notes)
    kept = recordings(opened(f"cifar10-dvs:{tmp_path}?split=train&split_seed=1"))
    assert kept.isdisjoint(recordings(drawn[0])) and len(kept) == 36


def test_nmnist_by_its_folders(tmp_path: Path) -> None:
    for part in ("Train", "Test"):
        for digit in "07":
            (tmp_path / part / digit).mkdir(parents=True)
            content = bin_bytes(events(n=5))
            (tmp_path / part / digit / "00001.bin").write_bytes(content)
    source = opened(f"nmnist:{tmp_path}?split=test")
    assert recordings(source) == {"Test/0/00001.bin", "Test/7/00001.bin"}
    assert source.sensor == (34, 34)


def test_what_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"ibm.*2.9 GB, CC BY 4.0"):
        opened(f"dvs-gesture:{tmp_path / 'no'}")
    root = gestures(tmp_path / "g", users=(1, 2))
    for query, message in (
        ("split=test", "holds none of the 2 recordings"),
        ("split=dev", "one of all, train, test"),
        ("split_seed=1", "only for cifar10-dvs"),
        ("colour=red", r"\?colour="),
    ):
        with pytest.raises(UsageError, match=message):
            opened(f"dvs-gesture:{root}?{query}")


def test_the_command_tells_what_is_known_and_what_is_here(tmp_path: Path) -> None:
    root = gestures(tmp_path / "g", users=(1, 2))
    result = CliRunner().invoke(app, ["datasets", "dvs-gesture", str(root), "--json"])
    (entry,) = json.loads(result.stdout)
    assert (entry["name"], entry["found"], entry["whole"]) == ("dvs-gesture", 2, False)
    plain = CliRunner().invoke(app, ["datasets"]).stdout
    assert all(f"{name}:" in plain for name in ("dvs-gesture", "cifar10-dvs", "nmnist", "ncars"))
    assert CliRunner().invoke(app, ["datasets", "imagenet"]).exit_code == 2
    assert CliRunner().invoke(app, ["datasets", "ncars", str(tmp_path / "no")]).exit_code == 3
