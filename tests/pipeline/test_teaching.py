"""Classes are taught while the run goes on, and labels.csv gives the same run again."""

from __future__ import annotations

import csv
import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import SensorSize, make_events
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.learning.factory import taught_classes
from streamstop.pipeline.commands import open_commands
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.run import RunResult, run
from streamstop.pipeline.snapshot import Command, Snapshot

SMALL = (
    *("binning.bin_us=10000", "binning.height=16", "binning.width=16"),
    *("network.channels=[6]", "network.architecture=compact", "binning.reset_gap_us=300000"),
)
START_US = 5_000_000
SCENE_US = 2_000_000


def a_recording(tmp_path: Path, *, gap_us: int = 0) -> Path:
    """Two seconds: events left, then right, ten times each; with a gap in the middle."""
    rng = np.random.default_rng(3)
    t = np.sort(rng.integers(0, SCENE_US, 20_000))
    x = rng.integers(0, 8, len(t)) + 8 * (t // 100_000 % 2)
    t += START_US + np.where(t > SCENE_US // 2, gap_us, 0)
    events = make_events(t, x, rng.integers(0, 16, len(t)), rng.random(len(t)) < 0.5)
    write_aedat4(tmp_path / "rec.aedat4", events, SensorSize(16, 16), packet_events=100)
    return tmp_path / "rec.aedat4"


class Script:
    """A viewer that asks at given bins, and keeps the snapshots."""

    def __init__(self, *asked: tuple[int, Command]) -> None:
        self._asked = list(asked)
        self._bin = 0
        self.shown: list[Snapshot] = []
        self.closed = False

    @property
    def commands(self) -> Script:
        return self

    def poll(self) -> list[bytes]:
        self._bin += 1
        return [one.to_line() for at, one in self._asked if at == self._bin]

    def show(self, snapshot: Snapshot) -> None:
        self.shown.append(snapshot)

    def close(self) -> None:
        self.closed = True


def go(path: Path, out: Path, viewer: Script | None = None, **more: Any) -> RunResult:
    flags = {"source.uri": str(path), "run.output_dir": str(out), **more}
    return run(load_config(None, SMALL, flags), viewer=viewer)


def alternating(names: Sequence[str] = ("left", "right")) -> list[tuple[int, Command]]:
    """Label what the recording shows: every tenth bin the other side, with a pause in between."""
    asked = []
    for i in range(1, 19):
        asked.append((10 * i + 1, Command("label", names[i % 2])))
        asked.append((10 * i + 9, Command("stop")))
    return asked


def same_results(one: RunResult, other: RunResult) -> None:
    """Predictions, weights and scores to the byte, apart from the recording's name in a row."""
    for name in ("predictions.csv", "weights.safetensors"):
        assert (one.run_dir / name).read_bytes() == (other.run_dir / name).read_bytes(), name
    tables = [
        [{**row, "recording": ""} for row in csv.DictReader((run_dir / "segments.csv").open())]
        for run_dir in (one.run_dir, other.run_dir)
    ]
    assert tables[0] == tables[1] != []


def test_what_was_taught_is_learned_and_replays_to_the_same_bytes(tmp_path: Path) -> None:
    path = a_recording(tmp_path)
    script = Script(*alternating())
    taught = go(path, tmp_path / "a", script, **{"labels.classes": "left,right"})
    assert taught.exit_code == 0
    assert taught.summary["n_segments"] == 18
    assert taught.summary["accuracy"]["segment"] > 0.8
    rows = (taught.run_dir / "labels.csv").read_text().splitlines()
    assert rows[0] == "class,startTime_usec,endTime_usec"
    name, start, end = rows[1].split(",")
    assert name == "right"
    assert int(end) - int(start) == 80_000
    assert START_US <= int(start) < START_US + 200_000
    last = script.shown[-1]
    first_us = int(rows[1].split(",")[1]) - last.labels[0].start_us
    assert START_US <= first_us < START_US + 10_000  # snapshots count from the first bin
    assert all(0 <= one.start_us < one.end_us <= last.stream_us for one in last.labels)
    again = go(
        path,
        tmp_path / "b",
        **{"source.labels": str(taught.run_dir / "labels.csv"), "labels.classes": "left,right"},
    )
    same_results(taught, again)
    assert script.closed


def test_a_new_class_comes_in_the_middle(tmp_path: Path) -> None:
    path = a_recording(tmp_path)
    asked = [*alternating(), (105, Command("class", "hand")), (105, Command("label", "hand"))]
    script = Script(*asked)
    taught = go(path, tmp_path / "a", script, **{"labels.classes": "left,right"})
    assert taught.summary["classes"][:4] == ["left", "right", "hand", "class 4"]
    again = go(
        path,
        tmp_path / "b",
        **{
            "source.labels": str(taught.run_dir / "labels.csv"),
            "labels.classes": "left,right,hand",
        },
    )
    same_results(taught, again)


def test_a_gap_in_the_stream_ends_a_label(tmp_path: Path) -> None:
    path = a_recording(tmp_path, gap_us=2_000_000)
    script = Script((3, Command("label", "left")), (150, Command("label", "right")))
    taught = go(path, tmp_path / "a", script, **{"labels.classes": "left,right"})
    rows = (taught.run_dir / "labels.csv").read_text().splitlines()[1:]
    names = [row.split(",")[0] for row in rows]
    assert names == ["left", "left", "right", "right"]  # half a second each, and the rest
    assert int(rows[1].split(",")[2]) <= START_US + SCENE_US // 2 + 10_000
    assert int(rows[2].split(",")[1]) >= START_US + SCENE_US // 2 + 2_000_000
    again = go(
        path,
        tmp_path / "b",
        **{"source.labels": str(taught.run_dir / "labels.csv"), "labels.classes": "left,right"},
    )
    same_results(taught, again)


def test_before_any_label_there_is_no_prediction(tmp_path: Path) -> None:
    script = Script()
    result = go(a_recording(tmp_path), tmp_path / "a", script)
    assert result.exit_code == 0
    assert {one.state for one in script.shown} >= {"waiting", "ended"}
    last = script.shown[-1]
    assert last.prediction == ""
    assert last.received == last.binned + last.pending + sum(last.rejected.values()) == 20_000
    assert last.picture.shape == (2, 16, 16)
    assert last.layers and last.step_ms
    assert len((result.run_dir / "predictions.csv").read_text().splitlines()) == 1 + 200


def test_what_cannot_be_done_is_said_and_the_run_goes_on(tmp_path: Path) -> None:
    script = Script(
        (5, Command("pause")),
        (6, Command("label", "left")),
        (200, Command("end")),
    )
    result = go(a_recording(tmp_path), tmp_path / "a", script, **{"labels.classes": "left,right"})
    assert result.summary["n_segments"] == 0
    assert "paused" in script.shown[-1].message
    assert not script.shown[-1].learning


def test_a_view_ends_the_run_and_saves_the_weights(tmp_path: Path) -> None:
    script = Script((20, Command("label", "left")), (40, Command("save")), (50, Command("end")))
    result = go(a_recording(tmp_path), tmp_path / "a", script, **{"labels.classes": "left,right"})
    assert result.exit_code == 0
    assert len((result.run_dir / "predictions.csv").read_text().splitlines()) == 1 + 50
    assert (result.run_dir / "labels.csv").read_text().count("left") == 1


def test_a_retracted_label_is_marked_and_stays(tmp_path: Path) -> None:
    script = Script((20, Command("label", "left")), (40, Command("stop")), (45, Command("retract")))
    result = go(a_recording(tmp_path), tmp_path / "a", script, **{"labels.classes": "left,right"})
    labels, marked = (result.run_dir / name for name in ("labels.csv", "retracted.csv"))
    assert labels.read_text() == marked.read_text()
    assert script.shown[-1].labels[-1].retracted


def test_labels_of_the_stream_cannot_be_taught_over(tmp_path: Path) -> None:
    path = a_recording(tmp_path)
    labels = tmp_path / "given.csv"
    labels.write_text(
        f"class,startTime_usec,endTime_usec\nleft,{START_US},{START_US + 100_000}\n"
        f"right,{START_US + 100_000},{START_US + 200_000}\n"
    )
    script = Script((20, Command("label", "right")), (150, Command("end")))
    result = go(path, tmp_path / "a", script, **{"source.labels": str(labels)})
    assert result.summary["n_segments"] == 2
    assert not (result.run_dir / "labels.csv").exists()
    assert {one.name for one in script.shown[-1].labels} == {"left", "right"}


def test_labels_come_through_a_socket(tmp_path: Path) -> None:
    feed = open_commands("udp://127.0.0.1:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b'{"class": "left"}\n{"action": "stop"}', ("127.0.0.1", feed.port))  # type: ignore[attr-defined]
        lines: list[bytes] = []
        while len(lines) < 2:
            lines += feed.poll()
    assert [Command.from_line(line).action for line in lines] == ["label", "stop"]
    feed.close()


def test_predictions_are_sent_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        config = load_config(
            None, SMALL, {"source.uri": str(a_recording(tmp_path)), "run.output_dir": str(tmp_path)}
        )
        run(config, emit=f"udp://127.0.0.1:{receiver.getsockname()[1]}")
        first = json.loads(receiver.recv(4096))
    assert first.keys() == {"t_us", "class", "p", "readout", "label"}
    assert START_US < first["t_us"] < START_US + 50_000


@pytest.mark.parametrize("text", ["", "a,,b", "a,a", "0", "5000"])
def test_classes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        taught_classes(text)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    feed = open_commands("udp://127.0.0.1:0")
    with pytest.raises(SourceError, match="cannot listen for labels"):
        open_commands(f"udp://127.0.0.1:{feed.port}")  # type: ignore[attr-defined]
    feed.close()
