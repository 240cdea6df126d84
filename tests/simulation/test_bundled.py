"""The bundled recordings: what the manifest says is so, and they can be made again."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from streamstop.errors import SourceError
from streamstop.events.label_table import read_label_csv
from streamstop.events.packet import Damage, Events, empty_events
from streamstop.formats.detect import open_recording
from streamstop.simulation.bundled import bundled_plans, events_sha256, write_damaged, write_events
from streamstop.simulation.gestures import GESTURES
from streamstop.simulation.recordings import Plan, record

RECORDINGS = Path(__file__).parents[2] / "recordings"
MANIFEST: dict[str, Any] = tomllib.loads((RECORDINGS / "manifest.toml").read_text())
SAME_ZSTD = ".".join(str(part) for part in zstandard.ZSTD_VERSION) == MANIFEST["zstd"]

each_recording = pytest.mark.parametrize(
    "entry", MANIFEST["recording"], ids=lambda entry: Path(entry["path"]).stem
)


def read(path: Path) -> tuple[Events, list[Damage]]:
    parts, damage = [empty_events()], []
    for packet in open_recording(str(path)).packets():
        parts.append(packet.events)
        damage += packet.damage
    return np.concatenate(parts), damage


@each_recording
def test_the_manifest_is_true_of_each_recording(entry: dict[str, Any]) -> None:
    path = RECORDINGS / entry["path"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    assert path.stat().st_size == entry["bytes"]
    recording = open_recording(str(path))
    assert recording.sensor == tuple(entry["sensor"])
    events, damage = read(path)
    assert not damage
    assert len(events) == entry["events"]
    assert events_sha256(events) == entry["events_sha256"]
    assert (events["t"][0], events["t"][-1]) == (entry["first_us"], entry["last_us"])
    assert np.all(np.diff(events["t"]) >= 0)
    assert round(float(events["p"].mean()), 4) == entry["on_share"]


@each_recording
def test_each_recording_is_marked_as_simulated(entry: dict[str, Any]) -> None:
    assert entry["simulated"] is True
    assert "simulated" in Path(entry["path"]).name
    assert open_recording(str(RECORDINGS / entry["path"])).simulated


@each_recording
def test_labels_hold_each_class_once_in_whole_seconds_with_gaps(entry: dict[str, Any]) -> None:
    path = RECORDINGS / entry["labels"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["labels_sha256"]
    intervals = read_label_csv(path)
    assert [int(i.name) for i in intervals] == entry["order"]
    assert sorted(entry["order"]) == list(range(1, len(GESTURES) + 1))
    assert all(i.end_us - i.start_us == 3_000_000 for i in intervals)
    starts, ends = [i.start_us for i in intervals], [i.end_us for i in intervals]
    assert all(start - end == 300_000 for start, end in zip(starts[1:], ends, strict=False))
    assert entry["first_us"] < starts[0]
    assert ends[-1] < entry["last_us"]
    events, _ = read(RECORDINGS / entry["path"])
    for start, end in zip(starts, ends, strict=True):
        assert np.count_nonzero((events["t"] >= start) & (events["t"] < end)) > 2_000


def test_classes_are_named_as_the_simulator_names_them() -> None:
    rows = (RECORDINGS / MANIFEST["class_names"]).read_text().splitlines()
    assert rows[0] == "action,label"
    assert rows[1:] == [f"{name},{number}" for number, name in enumerate(GESTURES, start=1)]
    assert tuple(MANIFEST["classes"]) == GESTURES


def test_all_is_small_and_nothing_lies_there_unlisted() -> None:
    files = {path for path in RECORDINGS.rglob("*") if path.is_file()}
    assert sum(path.stat().st_size for path in files) < 5_000_000
    listed = {RECORDINGS / name for name in ("manifest.toml", "README.md", MANIFEST["class_names"])}
    for entry in MANIFEST["recording"]:
        listed |= {RECORDINGS / entry["path"], RECORDINGS / entry["labels"]}
    listed |= {RECORDINGS / entry["path"] for entry in MANIFEST["damaged"]}
    assert files == listed
    assert MANIFEST["simulated"] is True


@pytest.mark.parametrize("plan", bundled_plans(0)[::5], ids=lambda plan: plan.name)
def test_the_first_second_is_made_again_event_for_event(plan: Plan) -> None:
    events, labels = record(plan, until_us=1_000_000)
    stored, _ = read(RECORDINGS / f"gestures/{plan.name}.aedat4")
    # The last scan of a film cut short lacks the events that come after the cut.
    whole = events[events["t"] < events["t"][-1]]
    assert len(whole) > 1_000
    assert np.array_equal(whole, stored[: len(whole)])
    intervals = read_label_csv(RECORDINGS / f"gestures/{plan.name}_labels.csv")
    assert [(i.start_us, i.end_us, int(i.name)) for i in intervals] == [
        (label.start_us, label.end_us, label.number) for label in labels
    ]


@pytest.mark.skipif(not SAME_ZSTD, reason=f"bytes are those of zstd {MANIFEST['zstd']}")
def test_the_same_events_make_the_same_file(tmp_path: Path) -> None:
    plan = bundled_plans(0)[0]
    events, _ = read(RECORDINGS / f"gestures/{plan.name}.aedat4")
    write_events(tmp_path / "again.aedat4", plan, events)
    stored = (RECORDINGS / f"gestures/{plan.name}.aedat4").read_bytes()
    assert (tmp_path / "again.aedat4").read_bytes() == stored


def test_the_damaged_files_are_made_again_byte_for_byte(tmp_path: Path) -> None:
    entries = write_damaged(tmp_path, seed=0)
    if not SAME_ZSTD:
        pytest.skip(f"bytes are those of zstd {MANIFEST['zstd']}")
    assert entries == MANIFEST["damaged"]
    for entry in MANIFEST["damaged"]:
        made = (tmp_path / entry["path"]).read_bytes()
        assert made == (RECORDINGS / entry["path"]).read_bytes()
        assert hashlib.sha256(made).hexdigest() == entry["sha256"]


@pytest.mark.parametrize("entry", MANIFEST["damaged"], ids=lambda entry: Path(entry["path"]).stem)
def test_what_is_sound_of_a_damaged_file_is_read_and_the_rest_reported(
    entry: dict[str, Any],
) -> None:
    path = RECORDINGS / entry["path"]
    if entry["readable_events"] == 0:
        with pytest.raises(SourceError, match=path.name):
            open_recording(str(path))
        return
    assert open_recording(str(path)).simulated
    events, damage = read(path)
    assert len(events) == entry["readable_events"]
    assert len(damage) == 1
    assert 0 < damage[0].offset < entry["bytes"]
