"""Live runs: what came over a socket and what was kept of it give the run that the file gives."""

from __future__ import annotations

import csv
import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.clocks import Watch
from helpers.event_files import Whole, same

from streamstop.errors import SourceError
from streamstop.events.label_table import read_label_csv
from streamstop.events.packet import Events, SensorSize, empty_events, make_events
from streamstop.formats.aedat.aedat4 import Aedat4Recording
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.run import Progress, RunResult, run
from streamstop.report.pages.run import write_report
from streamstop.report.text import run as run_text
from streamstop.report.views.run import load_snapshot
from streamstop.scenarios.scenario import Schedule
from streamstop.scenarios.stream import ScenarioStream
from streamstop.sources.live import registry
from streamstop.sources.live.feed import FeedChunk, LiveFeed
from streamstop.sources.live.source import LiveSource
from streamstop.sources.segmentation import label_track
from streamstop.tools.send import SendResult, send_recording

SMALL = (
    *("binning.bin_us=10000", "binning.height=16", "binning.width=16"),
    *("network.channels=[6]", "network.architecture=compact"),
)
START_US = 1_700_000_000_000_000


def scene(tmp_path: Path, segments: int = 10) -> tuple[Path, Path]:
    """A recording of two classes, left and right, and its labels, in the recording's own time."""
    rng = np.random.default_rng(3)
    t = np.sort(rng.integers(0, segments * 100_000, segments * 400))
    label = np.array(rng.integers(0, 2, segments))
    x = rng.integers(0, 10, len(t)) + 6 * label[t // 100_000]
    events = make_events(t + START_US, x, rng.integers(0, 16, len(t)), rng.random(len(t)) < 0.5)
    write_aedat4(tmp_path / "rec.aedat4", events, SensorSize(16, 16), packet_events=100)
    lines = ["class,startTime_usec,endTime_usec"]
    for i, one in enumerate(label):
        lines.append(f"{one},{START_US + i * 100_000},{START_US + (i + 1) * 100_000 - 5_000}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "rec.aedat4", tmp_path / "labels.csv"


def go(uri: str, labels: Path | None, out: Path, **more: Any) -> RunResult:
    flags = {"source.uri": uri, "run.output_dir": str(out), **more}
    if labels is not None:
        flags["source.labels"] = str(labels)
    return run(load_config(None, SMALL, flags))


def go_to_server(target: str, labels: Path | None, out: Path, **more: Any) -> RunResult:
    """As `go`, once the server beside us listens."""
    for _ in range(100):
        try:
            return go(target, labels, out, **more)
        except SourceError as error:
            assert "refused" in str(error)
            time.sleep(0.1)
    raise AssertionError("the server never listened")


def beside(work: Callable[[], SendResult]) -> tuple[threading.Thread, list[SendResult]]:
    done: list[SendResult] = []
    thread = threading.Thread(target=lambda: done.append(work()))
    thread.start()
    return thread, done


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_file_socket_and_tee_give_the_same_run(tmp_path: Path) -> None:
    recording, labels = scene(tmp_path)
    from_file = go(str(recording), labels, tmp_path / "file")
    target = f"dv://127.0.0.1:{free_port()}"
    sending, sent = beside(
        lambda: send_recording(str(recording), target, speed=0.0, client_timeout_s=30.0)
    )
    over_tcp = go_to_server(target, labels, tmp_path / "tcp")
    sending.join(30)
    tee = over_tcp.run_dir / "recording.aedat4"
    from_tee = go(str(tee), labels, tmp_path / "tee")

    assert sent[0].events == 4_000
    for result in (from_file, over_tcp, from_tee):
        assert result.exit_code == 0
        assert result.summary["ledger"]["received"] == result.summary["ledger"]["binned"] == 4_000
        assert result.summary["n_segments"] == 10
    for name in ("metrics.jsonl", "weights.safetensors"):
        whole = (from_file.run_dir / name).read_bytes()
        assert len(whole) > 100
        assert (over_tcp.run_dir / name).read_bytes() == whole, name
        assert (from_tee.run_dir / name).read_bytes() == whole, name
    assert over_tcp.summary["data"] == from_tee.summary["data"] == "real"
    assert over_tcp.summary["recording"] == {
        "file": "recording.aedat4",
        "events": 4_000,
        "events_not_taken": 0,
        "events_not_recorded": 0,
        "ended_early": "",
    }
    assert from_file.summary["recording"] is None
    assert over_tcp.summary["speed"]["latency_ms_p50"] > 0
    assert from_file.summary["speed"]["latency_ms_p50"] is None


def test_udp_with_pauses_replays_from_its_tee_to_the_same_bytes(tmp_path: Path) -> None:
    """The clock closes bins while nothing comes, and the tee knows."""
    rng = np.random.default_rng(5)
    t = np.concatenate([np.arange(0, 100_000, 50), np.arange(400_000, 500_000, 50)])
    n = len(t)
    events = make_events(t, rng.integers(0, 16, n), rng.integers(0, 16, n), rng.random(n) < 0.5)
    write_aedat4(tmp_path / "rec.aedat4", events, SensorSize(16, 16))
    target = f"udp://127.0.0.1:{free_port()}"

    def send() -> SendResult:
        listening.wait(30)
        return send_recording(str(tmp_path / "rec.aedat4"), target, speed=1.0)

    listening = threading.Event()
    sending, sent = beside(send)
    timer = threading.Timer(3.0, listening.set)
    timer.start()
    live = go(f"{target}?sensor=16x16", None, tmp_path / "live", **{"source.duration_s": 6.0})
    sending.join(30)
    again = go(str(live.run_dir / "recording.aedat4"), None, tmp_path / "again")
    assert sent[0].events == n
    # A datagram does not say who made its events, and neither does the recording of them.
    assert (live.summary["data"], again.summary["data"]) == ("unknown", "unknown")
    assert live.summary["ledger"]["received"] == n == again.summary["ledger"]["received"]
    # Bins went on in the pause and after the end, where the file alone tells of 0.5 s.
    assert live.summary["n_bins"] > 60
    assert again.summary["n_bins"] == live.summary["n_bins"]
    for name in ("metrics.jsonl", "weights.safetensors"):
        assert (live.run_dir / name).read_bytes() == (again.run_dir / name).read_bytes(), name


class Interrupting(LiveFeed):
    """A feed without an event, that sends Ctrl-C once the run handles it."""

    name = format = "silent"
    sensor = SensorSize(16, 16)
    simulated, waits, idle_us = True, False, 20_000

    def __init__(self) -> None:
        self.sent = False

    def read(self, timeout_s: float) -> FeedChunk | None:
        if not self.sent and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            self.sent = True
            signal.raise_signal(signal.SIGINT)
        time.sleep(timeout_s)
        return FeedChunk(empty_events())

    def close(self) -> None: ...


def test_ctrl_c_before_the_first_event_ends_the_run_with_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Interrupting()
    monkeypatch.setattr(registry, "open_feed", lambda *_: feed)
    result = go("udp://:1?sensor=16x16", None, tmp_path)
    assert feed.sent
    assert (result.exit_code, result.summary["status"]) == (130, "interrupted")
    assert result.summary["n_bins"] == result.summary["ledger"]["received"] == 0
    assert write_report(result.run_dir).stat().st_size > 1000


class TwoBursts(LiveFeed):
    """A burst at once, and a second one a minute later."""

    name = format = "bursts"
    sensor = SensorSize(16, 16)
    simulated, waits, idle_us = True, False, 20_000

    def __init__(self, chunks: list[Events]) -> None:
        self.chunks, self.half = chunks, len(chunks) // 2
        self.waiting, self.more = threading.Event(), threading.Event()

    def read(self, timeout_s: float) -> FeedChunk | None:
        if len(self.chunks) == self.half:
            self.waiting.set()
            self.more.wait(60.0)
        return FeedChunk(self.chunks.pop(0)) if self.chunks else None

    def close(self) -> None:
        self.more.set()


def predictions(folder: Path) -> list[dict[str, str]]:
    """segments.csv without the name of the source."""
    with (folder / "segments.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "recording"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("labelled", [False, True])
def test_an_overloaded_run_says_so_and_its_recording_repeats_it(
    tmp_path: Path, labelled: bool
) -> None:
    """Each packet takes the learner six times its length, on a clock that nothing else moves."""
    rng = np.random.default_rng(5)
    t = np.concatenate([np.arange(0, 1_000_000, 250), 60_000_000 + np.arange(0, 1_000_000, 250)])
    n = len(t)
    events = make_events(t, rng.integers(0, 16, n), rng.integers(0, 16, n), rng.random(n) < 0.5)
    lines = [f"{i % 2},{i * 20_000},{(i + 1) * 20_000}" for i in range(5)]
    lines += [f"{i % 2},{60_000_000 + i * 20_000},{60_020_000 + i * 20_000}" for i in range(5)]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["class,startTime_usec,endTime_usec", *lines]) + "\n")
    flags = {"source.uri": "udp://:1?sensor=16x16", "run.output_dir": str(tmp_path / "live")}
    if labelled:
        flags["source.labels"] = str(labels)
    watch, feed = Watch(), TwoBursts(np.split(events, 40))
    track = None
    if labelled:
        intervals = read_label_csv(str(labels))
        track = label_track("bursts", str(labels), intervals, 0, 0, 0)
    source = LiveSource(feed, labels=track, clock=watch, max_latency_s=0.5)
    source.start()
    assert feed.waiting.wait(60.0)

    seen = 0

    def slow(now: Progress) -> None:
        nonlocal seen
        if now.events != seen:  # bins of silence cost nothing
            seen = now.events
            watch.sleep(0.3)
        if now.bin >= 20:
            feed.more.set()

    stream = ScenarioStream(source, Schedule((), ()), live=source)
    live = run(load_config(None, SMALL, flags), stream=stream, progress=slow)
    ledger = live.summary["ledger"]
    assert (live.summary["status"], live.exit_code) == ("overloaded", 0)
    assert ledger["received"] == n == live.summary["recording"]["events"]
    assert n / 2 < ledger["dropped"]["overload"] < n
    assert ledger["dropped"]["overload"] == live.summary["recording"]["events_not_taken"]
    first = run_text.warnings(load_snapshot(live.run_dir))[0]
    assert first.startswith("Overloaded: ") and "of the events were dropped" in first

    recording = live.run_dir / "recording.aedat4"
    again = go(str(recording), labels if labelled else None, tmp_path / "again")
    assert again.summary["ledger"]["received"] == n
    assert again.summary["ledger"]["dropped"] == {"other_stream": ledger["dropped"]["overload"]}
    assert (again.summary["n_segments"] > 1) is labelled
    for name in ("metrics.jsonl", "weights.safetensors"):
        assert (live.run_dir / name).read_bytes() == (again.run_dir / name).read_bytes(), name
    assert predictions(live.run_dir) == predictions(again.run_dir)
    everything = Whole(Aedat4Recording(str(recording), stream="all").packets())
    assert same(everything.events, events)


@pytest.mark.parametrize("record", [True, False])
def test_a_recording_is_kept_only_where_it_is_wanted(tmp_path: Path, record: bool) -> None:
    recording, _ = scene(tmp_path, segments=2)
    target = f"dv://127.0.0.1:{free_port()}"
    sending, _ = beside(
        lambda: send_recording(str(recording), target, speed=0.0, client_timeout_s=30.0)
    )
    result = go_to_server(target, None, tmp_path / "runs", **{"source.record": record})
    sending.join(30)
    assert (result.run_dir / "recording.aedat4").exists() == record
    summary = json.loads((result.run_dir / "summary.json").read_text())
    assert (summary["recording"] is None) != record


def test_replay_at_its_own_speed_is_the_same_run_and_takes_its_time(tmp_path: Path) -> None:
    recording, labels = scene(tmp_path, segments=5)
    fast = go(str(recording), labels, tmp_path / "fast")
    slow = go(str(recording), labels, tmp_path / "slow", **{"source.speed": 1.0})
    for name in ("metrics.jsonl", "weights.safetensors", "segments.csv"):
        assert (fast.run_dir / name).read_bytes() == (slow.run_dir / name).read_bytes(), name
    assert slow.summary["speed"]["wall_s"] > 0.45
    assert slow.summary["speed"]["latency_ms_p50"] > 0
