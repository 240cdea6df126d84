"""The simulated gesture set: the real one's layout, and recordings that hang on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from streamstop.errors import UsageError
from streamstop.events.label_table import read_label_csv
from streamstop.events.packet import Events, SensorSize
from streamstop.formats.detect import open_recording
from streamstop.simulation.gesture_set import (
    SetOptions,
    record_user,
    users_to_test,
    write_gesture_set,
)
from streamstop.simulation.gestures import GESTURES
from streamstop.simulation.performers import LIGHTING_NAMES, Performer, set_lighting

SHORT = SetOptions(seed=5, gesture_s=(0.3, 0.4), gap_s=(0.1, 0.2))


def recorded(user: int, lighting: str, options: SetOptions = SHORT) -> Events:
    return np.concatenate(list(record_user(user, lighting, options)[0]))


def read(path: Path) -> Events:
    return np.concatenate([packet.events for packet in open_recording(str(path)).packets()])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "gestures"
    assert write_gesture_set(folder, SHORT, users=5, lightings=1) == 5
    return folder


def test_the_layout_is_that_of_the_real_set(made: Path) -> None:
    recordings = [f"user{user:02d}_fluorescent" for user in range(1, 6)]
    assert {path.name for path in made.iterdir()} == {
        *(f"{name}.aedat" for name in recordings),
        *(f"{name}_labels.csv" for name in recordings),
        "gesture_mapping.csv",
        "trials_to_train.txt",
        "trials_to_test.txt",
        "README.txt",
    }
    train, test = (
        (made / f"trials_to_{part}.txt").read_text().splitlines() for part in ("train", "test")
    )
    assert train == [f"{name}.aedat" for name in recordings[:4]]
    assert test == ["user05_fluorescent.aedat"]
    assert (made / "gesture_mapping.csv").read_text().splitlines()[:2] == [
        "action,label",
        "hand_clapping,1",
    ]
    first = (made / "user01_fluorescent.aedat").read_bytes()[:14]
    assert first == b"#!AER-DAT3.1\r\n"
    labels = (made / "user01_fluorescent_labels.csv").read_text().splitlines()
    assert labels[0] == "class,startTime_usec,endTime_usec"
    assert len(labels) == 12


def test_everything_says_that_it_is_simulated(made: Path) -> None:
    assert (made / "README.txt").read_text().startswith("SIMULATED")
    for path in made.glob("*.aedat"):
        recording = open_recording(str(path))
        assert recording.simulated
        assert recording.sensor == SensorSize(128, 128)


def test_what_is_read_is_what_was_recorded_whatever_else_was(made: Path) -> None:
    events, read_back = recorded(4, "fluorescent"), read(made / "user04_fluorescent.aedat")
    assert len(events) > 20_000
    for column in ("t", "x", "y", "p"):
        assert np.array_equal(events[column], read_back[column])


def test_what_stands_is_kept_and_the_rest_is_made_by_processes_alike(
    made: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    calls: list[tuple[str, int, int]] = []
    assert write_gesture_set(folder, SHORT, users=1, lightings=1) == 1
    assert not (folder / "trials_to_test.txt").exists(), "one user is none to spare"
    first = folder / "user01_fluorescent.aedat"
    stands = first.stat().st_mtime_ns
    again = write_gesture_set(
        folder, SHORT, users=3, lightings=1, jobs=2, progress=lambda *call: calls.append(call)
    )
    assert again == 2
    assert first.stat().st_mtime_ns == stands
    assert sorted(name for name, _, _ in calls) == [
        "user02_fluorescent.aedat",
        "user03_fluorescent.aedat",
    ]
    assert [call[1:] for call in calls] == [(2, 3), (3, 3)]
    for user in (1, 2, 3):
        name = f"user{user:02d}_fluorescent.aedat"
        assert (folder / name).read_bytes() == (made / name).read_bytes()


def test_a_folder_of_other_options_or_things_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose another folder"):
        write_gesture_set(made, SetOptions(seed=6), users=1, lightings=1)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        write_gesture_set(tmp_path, SHORT, users=1, lightings=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_labels_hold_each_gesture_once_with_gaps_of_the_lengths_asked_for(made: Path) -> None:
    options = SetOptions(seed=5, trials=2, gesture_s=(5.0, 7.0), gap_s=(0.8, 2.0))
    _, labels = record_user(2, "led", options)
    numbers = [label.number for label in labels]
    assert sorted(numbers[:11]) == sorted(numbers[11:]) == list(range(1, len(GESTURES) + 1))
    lengths = [label.end_us - label.start_us for label in labels]
    gaps = [after.start_us - before.end_us for before, after in pairwise(labels)]
    assert 5_000_000 <= min(lengths) < 5_500_000 < 6_500_000 < max(lengths) <= 7_000_000
    assert 800_000 <= min(gaps) < max(gaps) <= 2_000_000
    intervals = read_label_csv(made / "user02_fluorescent_labels.csv")
    events = read(made / "user02_fluorescent.aedat")
    assert events["t"][0] < intervals[0].start_us
    assert intervals[-1].end_us < events["t"][-1]


def test_a_person_has_one_body_and_a_lighting_its_own_events() -> None:
    people = [Performer.draw((5 << 10) + user) for user in (1, 2)]
    assert people[0].subject.build != people[1].subject.build
    assert people[0].subject.build == Performer.draw((5 << 10) + 1).subject.build
    lab, natural = (recorded(1, name)[:2000] for name in ("lab", "natural"))
    assert not np.array_equal(lab["t"], natural["t"])


def test_one_camera_made_the_whole_set() -> None:
    """A hot pixel of its top row is the same before another person in another light."""
    options = SetOptions(seed=7, gesture_s=(1.0, 1.0), gap_s=(0.1, 0.1))
    for user, lighting in ((1, "led"), (3, "lab")):
        events = recorded(user, lighting, options)
        count = np.bincount(events["x"][events["y"] == 0], minlength=128)
        # It fires six times a second, and this lasts twelve.
        assert count.argmax() == 70
        assert count[70] > 40
        assert np.median(count) < 10


@pytest.mark.parametrize(("users", "tested"), [(29, (24, 29)), (5, (5, 5)), (10, (9, 10))])
def test_the_last_fifth_of_the_users_tests(users: int, tested: tuple[int, int]) -> None:
    assert (users_to_test(users)[0], users_to_test(users)[-1]) == tested
    assert len(users_to_test(1)) == 0


def test_fluorescent_lamps_flicker_at_twice_the_mains() -> None:
    assert set_lighting("fluorescent", 50).flicker_hz == 100
    assert set_lighting("fluorescent", 60).flicker_hz == 120
    assert {name for name in LIGHTING_NAMES if set_lighting(name).flicker == 0} == {
        "led",
        "natural",
    }
    still = [np.full((128, 128), 0.4)]
    lamp = set_lighting("fluorescent", 50)
    light = [lamp.apply(still[0], k * 0.001).mean() for k in range(1000)]
    assert int(np.abs(np.fft.rfft(np.array(light) - np.mean(light))).argmax()) == 100


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SetOptions(seed=-1),
        lambda: SetOptions(trials=0),
        lambda: SetOptions(gesture_s=(7.0, 5.0)),
        lambda: SetOptions(gap_s=(0.0, 1.0)),
        lambda: SetOptions(mains_hz=55),
        lambda: set_lighting("candle"),
        lambda: write_gesture_set("nowhere", users=0),
        lambda: write_gesture_set("nowhere", lightings=6),
    ],
)
def test_what_no_set_can_be_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        wrong()
    assert not Path("nowhere").exists()
