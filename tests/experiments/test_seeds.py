"""Several seeds side by side: each as it would be alone, none at the cost of the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.made_runs import broken_report, fake_run, note_report

from streamstop.config.sections import Config, RunConfig
from streamstop.errors import StreamstopError, UsageError
from streamstop.experiments import seeds as several
from streamstop.experiments.seeds import SeedsResult, parse_seeds, run_seeds
from streamstop.pipeline import run as pipeline
from streamstop.pipeline.configure import load_config


def config(tmp_path: Path, name: str) -> Config:
    return Config(run=RunConfig(output_dir=str(tmp_path / "runs"), name=name))


def faked(tmp_path: Path, name: str, seeds: str = "0-2", jobs: int = 3) -> SeedsResult:
    return run_seeds(
        config(tmp_path, name),
        parse_seeds(seeds),
        jobs=jobs,
        command=lambda seed: f"--seed {seed}",
        report=note_report,
        run=fake_run,
    )


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", (0, 1, 2, 3, 4)), ("0,3,7", (0, 3, 7)), ("5", (5,)), ("7, 0-1", (7, 0, 1))],
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "a", "1-", "-1", "0..4", "1;2", "4-0", "0,0", "0-2,1", "0-1000"]
)
def test_what_names_no_seeds_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds(text)


@pytest.mark.parametrize("uri", ["davis346", "udp://127.0.0.1:3333?sensor=346x260", "-"])
def test_a_source_that_comes_once_is_refused(tmp_path: Path, uri: str) -> None:
    wanted = config(tmp_path, "x")
    wanted = replace(wanted, source=replace(wanted.source, uri=uri))
    with pytest.raises(UsageError, match="reads the source once for each seed"):
        run_seeds(wanted, (0, 1))
    assert not (tmp_path / "runs").exists()


@pytest.mark.timeout(300)  # three runs of the real thing, which a busy machine takes its time for
def test_a_seed_s_run_is_byte_for_byte_what_it_is_alone(tmp_path: Path) -> None:
    """The real pipeline, in a process of its own, beside another."""
    wanted = load_config(
        "demo", ["segments.max_segments=4"], {"run.output_dir": str(tmp_path / "runs")}
    )
    result = run_seeds(wanted, (0, 3), jobs=2)
    assert (result.exit_code, result.summary["n"]) == (0, 2)
    alone = pipeline.run(replace(wanted, run=replace(wanted.run, seed=3))).run_dir
    beside = result.folder / "seed-3"
    for name in ("metrics.jsonl", "segments.csv", "weights.safetensors", "config.toml"):
        assert (beside / name).read_bytes() == (alone / name).read_bytes(), name
    other = result.folder / "seed-0" / "segments.csv"
    assert other.read_bytes() != (alone / "segments.csv").read_bytes()


def test_one_folder_holds_a_run_folder_for_each_seed_and_their_summary(tmp_path: Path) -> None:
    result = faked(tmp_path, "ok")
    assert result.folder.parent == tmp_path / "runs"
    assert result.folder.name.endswith("Z-ok-seeds")
    names = {one.name for one in result.folder.iterdir()}
    assert names == {"config.toml", "summary.json", "seed-0", "seed-1", "seed-2"}
    assert json.loads((result.folder / "summary.json").read_text()) == result.summary
    assert result.summary["accuracy"]["segment"]["mean"] == pytest.approx(0.6)
    assert result.summary["command"] == "--seed None"
    for seed in range(3):
        inside = result.folder / f"seed-{seed}"
        assert (inside / "report.html").exists()
        summary = json.loads((inside / "summary.json").read_text())
        assert summary["command"] == f"--seed {seed}"
        told = tomllib.loads((inside / "config.toml").read_text())["run"]
        assert (told["seed"], told["output_dir"]) == (seed, str(tmp_path / "runs"))


def test_each_process_computes_on_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    result = faked(tmp_path, "ok", "0")
    summary = json.loads((result.folder / "seed-0" / "summary.json").read_text())
    assert summary["environment"] == "1"
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("odd-fail", 3, "no such camera"),
        ("odd-crash", 1, "RuntimeError: a bug"),
        ("odd-die", 1, "killed by signal 9"),
    ],
)
def test_a_seed_that_fails_costs_none_of_the_others(
    tmp_path: Path, name: str, code: int, said: str
) -> None:
    result = faked(tmp_path, name)
    assert result.exit_code == code
    assert [run.status for run in result.runs] == ["complete", "failed", "complete"]
    assert (
        f"seed 1 is in no mean: {'its process was ' * (name == 'odd-die')}{said}"
        in result.summary["message"]
    )
    assert (result.summary["n"], result.summary["status"]) == (2, "failed")


def test_a_report_that_cannot_be_made_costs_the_report_alone(tmp_path: Path) -> None:
    result = run_seeds(config(tmp_path, "ok"), (0,), run=fake_run, report=broken_report)
    assert (result.exit_code, result.summary["n"]) == (1, 1)
    assert "seed 0: its report could not be made (KeyError" in result.summary["message"]


def test_the_exit_code_is_the_worst(tmp_path: Path) -> None:
    assert faked(tmp_path, "odd-damaged", "0-1").exit_code == 4


def test_where_every_seed_fails_alike_it_is_said_once_and_no_folder_is_left(tmp_path: Path) -> None:
    with pytest.raises(StreamstopError, match=r"^no such camera$") as caught:
        faked(tmp_path, "odd-fail", "1,3")
    assert caught.value.exit_code == 3
    assert list((tmp_path / "runs").iterdir()) == []


def test_more_seeds_than_jobs_wait_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    begin = several._Runs._begin

    def counted(self: several._Runs, seed: int) -> None:
        nonlocal most
        begin(self, seed)
        most = max(most, len(self.running))

    monkeypatch.setattr(several._Runs, "_begin", counted)
    assert faked(tmp_path, "ok", "0-2", jobs=1).summary["n"] == 3
    assert most == 1


def test_ctrl_c_lets_each_sum_up_once_and_begins_no_other(tmp_path: Path) -> None:
    heard: set[int] = set()

    def press(now: several.SeedProgress) -> None:
        heard.add(now.seed)
        if len(heard) == 2:
            threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()

    result = run_seeds(config(tmp_path, "wait"), (0, 1, 2), jobs=2, run=fake_run, progress=press)
    assert result.exit_code == 130
    assert [run.status for run in result.runs] == ["interrupted"] * 3
    assert "seed 2 is in no mean: not begun: interrupted" in result.summary["message"]
    assert (result.summary["n"], result.summary["accuracy"]) == (0, None)
    assert (result.folder / "seed-1" / "summary.json").exists()


def test_seeds_whose_parent_was_killed_sum_up_and_end(tmp_path: Path) -> None:
    code = (
        "from helpers.made_runs import fake_run\n"
        "from streamstop.experiments.seeds import run_seeds\n"
        "from streamstop.config.sections import Config, RunConfig\n"
        f"config = Config(run=RunConfig(output_dir={str(tmp_path)!r}, name='wait'))\n"
        "run_seeds(config, (0, 1), jobs=2, run=fake_run, progress=lambda p: print(p, flush=True))"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    ) as parent:
        assert parent.stdout is not None
        for _ in range(2):
            assert b"segment=1" in parent.stdout.readline()
        parent.kill()
    until = time.monotonic() + 30
    while len(list(tmp_path.glob("*/seed-?/config.toml"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    found = [json.loads(one.read_text()) for one in tmp_path.glob("*/seed-?/summary.json")]
    assert [one["status"] for one in found] == ["interrupted"] * 2
