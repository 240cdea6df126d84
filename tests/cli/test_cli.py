"""The command line: what reaches the pipeline, what reaches the streams, and the exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import streamstop
from streamstop.cli import app
from streamstop.cli.errors import exit_on_error
from streamstop.config.recipe import to_toml
from streamstop.config.sections import Config
from streamstop.errors import DamageError, DivergedError, SourceError, UsageError
from streamstop.pipeline.configure import load_config

runner = CliRunner()


class FakePipeline:
    """A stand-in for the pipeline that records its calls and ends as the test asks."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self.exit_code = 0
        self.notes: tuple[str, ...] = ()
        self.summary = {"status": "complete", "name": "fäke", "segments": 3}

    def run(self, config: Config, **others: Any) -> SimpleNamespace:
        self.calls.append({"config": config, **others})
        print("a library prints this")
        if others.get("opened") is not None:
            others["opened"](SimpleNamespace(notes=self.notes))
        if self.error is not None:
            raise self.error
        folder = Path("runs/x")
        return SimpleNamespace(summary=self.summary, run_dir=folder, exit_code=self.exit_code)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setitem(sys.modules, "streamstop.pipeline.run", fake)
    monkeypatch.setattr("streamstop.pipeline.run", fake, raising=False)
    monkeypatch.setattr("streamstop.report.pages.run.write_report", lambda at: at / "report.html")
    monkeypatch.setattr(
        "streamstop.cli.display.summary.print_summary", lambda _, path: print("SCORE", path)
    )
    monkeypatch.setattr(sys, "argv", ["streamstop", "run", "--name", "two words"])
    monkeypatch.delenv("STREAMSTOP_DEBUG", raising=False)
    return fake


def python(*args: str, **others: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=60, check=False, **others
    )


def test_the_version_is_the_packages() -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"streamstop {streamstop.__version__}\n")


def test_help_names_every_flag_an_example_and_every_exit_code() -> None:
    text = runner.invoke(app, ["run", "--help"], env={"COLUMNS": "100", "TERM": "dumb"}).stdout
    flags = [
        "source",
        "labels",
        "strict",
        "weights",
        "frozen",
        "set",
        "seed",
        "print-config",
        "out",
        "name",
        "json",
        "quiet",
    ]
    assert all(f"--{flag}" in text for flag in flags)
    assert "streamstop run --source rec.aedat4 --labels rec.csv" in text
    assert all(f"{code}  " in text for code in (0, 2, 3, 4, 5, 130))


def test_help_does_not_wait_for_torch_or_numpy() -> None:
    """What takes seconds to import would make --help and --version slow."""
    code = (
        "import sys, streamstop.cli; print(sorted({'torch', 'numpy', 'numba'} & set(sys.modules)))"
    )
    assert python("-c", code).stdout == "[]\n"


def test_idle_threads_are_told_to_sleep_before_torch_can_be_imported() -> None:
    code = "import os, streamstop.cli; print(os.environ['OMP_WAIT_POLICY'])"
    bare = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    assert python("-c", code, env=bare).stdout == "PASSIVE\n"
    assert python("-c", code, env=bare | {"OMP_WAIT_POLICY": "ACTIVE"}).stdout == "ACTIVE\n"


def test_every_flag_reaches_the_configuration(pipeline: FakePipeline, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[run]\nseed = 1\nnum_threads = 2\n")
    flags = [
        "--source",
        "S",
        "--labels",
        "L",
        "--strict",
        "--seed",
        "3",
        "--out",
        "O",
        "--name",
        "N",
    ]
    sets = ["--set", "run.seed=2", "--set", "network.channels=[4, 8]", "--set", "run.name=M"]
    assert runner.invoke(app, ["run", str(recipe), *flags, *sets]).exit_code == 0
    config = pipeline.calls[0]["config"]
    assert (config.source.uri, config.source.labels, config.source.strict) == ("S", "L", True)
    assert (config.run.seed, config.run.num_threads, config.run.output_dir, config.run.name) == (
        3,
        2,
        "O",
        "N",
    )
    assert config.network.channels == (4, 8)


@pytest.mark.parametrize("flag", ["--duration", "--seconds"])
def test_duration_has_an_old_name(pipeline: FakePipeline, flag: str) -> None:
    for words in ([flag, "2.5"], [f"{flag}=2.5"]):
        assert (
            runner.invoke(app, ["run", "--source", "udp://:18231?sensor=3x3", *words]).exit_code
            == 0
        )
        assert pipeline.calls.pop()["config"].source.duration_s == 2.5


def test_a_socket_listens_and_says_so_before_the_run_begins(
    pipeline: FakePipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--source", "udp://:18231?sensor=3x3"]
    result = runner.invoke(app, words)
    assert result.stderr.startswith("listening on 127.0.0.1:18231 (UDP), sensor 3x3. ")
    assert result.stderr.index("listening") < result.stderr.index("a library prints this")
    assert pipeline.calls[0]["stream"].live.name == "udp://:18231?sensor=3x3"
    assert "listening" not in runner.invoke(app, [*words, "--quiet"]).stderr


def test_a_udp_source_without_a_sensor_is_refused_before_torch_is_imported() -> None:
    code = (
        "import sys\n"
        "from streamstop.cli import app\n"
        "try:\n    app(['run', '--source', 'udp://:3333'])\n"
        "except SystemExit as end:\n    print(end.code, 'torch' in sys.modules)"
    )
    result = python("-c", code)
    assert result.stdout == "2 False\n"
    assert "?sensor=346x260" in result.stderr


def test_the_command_is_recorded_as_it_can_be_typed_again(pipeline: FakePipeline) -> None:
    runner.invoke(app, ["run"])
    assert pipeline.calls[0]["command"] == "streamstop run --name 'two words'"


def test_the_score_goes_to_standard_output_and_noise_does_not(pipeline: FakePipeline) -> None:
    result = runner.invoke(app, ["run"])
    assert result.stdout == f"SCORE {Path('runs/x/report.html')}\n"
    assert "a library prints this" in result.stderr


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_what_readers_inferred_is_noted_once_on_standard_error(
    pipeline: FakePipeline, words: tuple[str, ...]
) -> None:
    pipeline.notes = ("it was \x1b[2J", "guessed")
    lines = runner.invoke(app, ["run", *words]).stderr.splitlines()
    notes = [line for line in lines if line.startswith("note: ")]
    assert notes == ["note: it was \N{REPLACEMENT CHARACTER}[2J", "note: guessed"]
    assert "note" not in runner.invoke(app, ["run", *words, "--quiet"]).stderr


def test_json_is_alone_on_standard_output(pipeline: FakePipeline) -> None:
    result = runner.invoke(app, ["run", "--json"])
    assert json.loads(result.stdout) == pipeline.summary
    assert result.stdout == json.dumps(pipeline.summary, indent=2) + "\n"


def test_nothing_is_drawn_where_there_is_no_terminal(pipeline: FakePipeline) -> None:
    runner.invoke(app, ["run"])
    assert pipeline.calls[0]["progress"] is None


def test_print_config_runs_nothing_and_can_be_run(pipeline: FakePipeline, tmp_path: Path) -> None:
    result = runner.invoke(app, ["run", "--print-config", "--seed", "9"])
    assert (result.exit_code, pipeline.calls) == (0, [])
    recipe = tmp_path / "again.toml"
    recipe.write_text(result.stdout)
    assert load_config(recipe) == load_config("demo", [], {"run.seed": 9})
    assert result.stdout == to_toml(load_config(recipe), explain=True)


@pytest.mark.parametrize("code", [0, 4, 5, 130])
def test_the_exit_code_is_the_runs_and_its_score_is_shown(
    pipeline: FakePipeline, code: int
) -> None:
    pipeline.exit_code = code
    result = runner.invoke(app, ["run"])
    assert result.exit_code == code
    assert "SCORE" in result.stdout


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("no such class: dog"), 2, "no such class: dog"),
        (SourceError("no camera: davis346"), 3, "no camera: davis346"),
        (DamageError("torn at byte 7: x"), 4, "torn at byte 7: x"),
        (DivergedError("loss is nan"), 5, "loss is nan"),
        (PermissionError(13, "Permission denied", "/x/runs"), 1, "Permission denied: /x/runs"),
        (OSError("no room"), 1, "no room"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_an_error_is_one_line_on_standard_error_and_its_exit_code(
    pipeline: FakePipeline, error: Exception, code: int, message: str, flags: list[str]
) -> None:
    pipeline.error = error
    result = runner.invoke(app, ["run", *flags])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == f"a library prints this\nstreamstop: {message}\n"


def test_debug_shows_the_traceback_and_keeps_the_exit_code(
    pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMSTOP_DEBUG", "1")
    pipeline.error = SourceError("no camera: davis346")
    result = runner.invoke(app, ["run"])
    assert result.exit_code == 3
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("\nstreamstop: no camera: davis346\n")


def test_an_interrupt_before_the_run_began_is_130(pipeline: FakePipeline) -> None:
    pipeline.error = KeyboardInterrupt()
    result = runner.invoke(app, ["run"])
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_fault_of_our_own_is_not_hidden(pipeline: FakePipeline) -> None:
    pipeline.error = ZeroDivisionError("ours")
    assert isinstance(runner.invoke(app, ["run"]).exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["run", "davis346"], "did you mean --source davis346"),
        (["run", "--seed", "-1"], "run.seed = -1: must be a whole number at least 0"),
        (["run", "--seed", "x"], "Invalid value for '--seed'"),
        (["run", "--set", "seed=1"], "did you mean run.seed?"),
        (["run", "--sedd", "1"], "--seed"),
        (["rnu"], "No such command 'rnu'"),
        (["run", "demo", "objects"], "unexpected extra argument"),
    ],
)
def test_what_cannot_be_meant_is_exit_2(
    pipeline: FakePipeline, args: list[str], message: str
) -> None:
    result = runner.invoke(app, args, env={"COLUMNS": "100"})
    assert result.exit_code == 2
    assert message in result.stderr
    assert pipeline.calls == []


def test_a_model_is_shown_with_its_costs_in_80_columns() -> None:
    args = ["model", "resnet18", "--set", "network.hidden=7"]
    result = runner.invoke(app, args, env={"COLUMNS": "80", "TERM": "dumb"})
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1] == "resnet18, input 2x32x32, 11 classes"
    way = next(line for line in lines if line.startswith("block8.way"))
    assert " ".join(way.split()) == (
        "block8.way conv 1x1, stride 2 512x4x4 8,192 132,097 192 KiB 2.1 M"
    )
    assert any(line.startswith("linear10 ") for line in lines)
    assert "Backpropagation through 20 bins needs" in " ".join(lines)


def test_a_model_as_json_is_exact_and_follows_the_settings() -> None:
    args = ["model", "compact", "--input", "1x6x8", "--classes", "3", "--json"]
    sets = ["network.channels=[2, 3]", "learner.trainable=[]", "learner.dtype=float64"]
    result = runner.invoke(app, args + [word for text in sets for word in ("--set", text)])
    shown = json.loads(result.stdout)
    assert (shown["name"], shown["input"], shown["classes"]) == ("compact", [1, 6, 8], 3)
    assert [layer["shape"] for layer in shown["layers"]] == [[2, 3, 4], [3, 1, 2], [3]]
    forward = 2 * 9 * 48 + 3 * 2 * 9 * 12 + 3 * 6
    assert shown["macs"] == {
        "forward": forward,
        "weight_gradient": 18,  # the readout alone learns
        "input_gradient": 0,
        "learning_step": forward + 18,
    }
    # 18 weights, 2 biases, 2 thresholds, a leak; 54 + 3 + 3 + 1; 18 + 3; of 8 bytes each.
    assert shown["parameters"] == 23 + 61 + 21
    assert shown["bytes"]["parameters"] == 8 * 105
    assert shown["bytes"]["gradients_and_moments"] == 3 * 8 * 21


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["lenet6"], "one of compact, lenet5, vgg11, resnet18, custom (did you mean lenet5?)"),
        (["vgg11", "--input", "32x32"], "--input must be CxHxW, such as 2x32x32, not '32x32'"),
        (["vgg11", "--input", "0x32x32"], "--input must be CxHxW"),
        (["vgg11", "--input", "2x0x32"], "binning.height = 0"),
        (["vgg11", "--input", "2x31x31"], "vgg11 needs a larger input than 31x31"),
        (["vgg11", "--classes", "-1"], "network.classes = -1"),
        (["vgg11", "--set", "network.channels=[8]"], "for network.architecture = compact alone"),
    ],
)
def test_a_model_that_cannot_be_is_exit_2(args: list[str], message: str) -> None:
    result = runner.invoke(app, ["model", *args])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, "-m", "streamstop", "run", "--print-config"],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (process.returncode, process.stderr) == (141, b"")


def test_old_names_are_noted_in_one_plain_line(tmp_path: Path) -> None:
    recipe = tmp_path / "old.toml"
    recipe.write_text("[network]\ntheta = 0.5\n[learner]\nevery = 2\n")
    words = ["run", str(recipe), "--set", "segments.limit=3", "--print-config"]
    result = runner.invoke(app, words)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "note: Names of an older version were read: segments.limit is now max_segments, "
        "network.theta is now threshold_init, learner.every is now update_interval."
    ]
    assert "threshold_init = 0.5" in result.stdout
    assert runner.invoke(app, ["run", "demo", "--print-config"]).stderr == ""


def test_other_warnings_are_shown_as_ever() -> None:
    class Odd(UserWarning):
        pass

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        with exit_on_error():
            warnings.warn("odd", Odd, stacklevel=1)
    assert [one.category for one in found] == [Odd]
