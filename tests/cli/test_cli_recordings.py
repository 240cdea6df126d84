"""inspect, convert, record, replay, doctor as they are typed: output, exit codes, what is left."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.event_files import Whole, random_events, same
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.events.packet import SensorSize
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.formats.base import read_packets
from streamstop.formats.detect import open_recording
from streamstop.tools import send

EVENTS = random_events(20_000)


@pytest.fixture
def rec(tmp_path: Path) -> Path:
    path = tmp_path / "rec.aedat4"
    write_aedat4(path, EVENTS, SensorSize(128, 128), simulated=True)
    return path


def call(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


def damaged(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    return path


def test_inspect_says_what_is_there(rec: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    code, out, _ = call("inspect", rec, "--png", picture)
    assert code == 0
    assert "20,000" in out and "SIMULATED" in out and "128x128" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, out, _ = call("inspect", rec, "--json")
    found = json.loads(out)
    on = float(EVENTS["p"].mean())
    assert (found["format"], found["sensor"], found["events"]) == ("aedat4", [128, 128], 20_000)
    assert (found["t_start_us"], found["t_end_us"]) == (int(EVENTS["t"][0]), int(EVENTS["t"][-1]))
    assert found["on_share"] == pytest.approx(on)
    assert (found["time_reversals"], found["damage"]) == (0, [])


def test_damage_is_exit_4_everywhere(rec: Path, tmp_path: Path) -> None:
    damaged(rec)
    code, out, _ = call("inspect", rec, "--json")
    assert code == 4
    assert json.loads(out)["damage"][0]["lost_bytes"] > 0
    code, out, _ = call("convert", rec, tmp_path / "a.csv", "--json")
    assert code == 4
    assert json.loads(out)["damage_count"] == 1
    code, _, err = call("convert", rec, tmp_path / "b.csv", "--strict")
    assert code == 4
    assert "--strict" in err
    assert not (tmp_path / "b.csv").exists()


def test_convert_and_its_refusals(rec: Path, tmp_path: Path) -> None:
    out_path = tmp_path / "a.raw.gz"
    code, out, _ = call("convert", rec, out_path)
    assert (code, "20,000 events" in out) == (0, True)
    assert same(Whole(read_packets(open_recording(str(out_path)))).events, EVENTS)
    for words, code, message in (
        ((rec, out_path), 2, "exists already"),
        ((rec, tmp_path / "a.aedat"), 2, "--format aedat2 or aedat3"),
        ((rec, tmp_path / "a.xyz"), 2, "does not tell the format"),
        ((tmp_path / "none.raw", tmp_path / "b.csv"), 3, "no such file"),
        ((rec, tmp_path / "b.csv", "--sensor", "wide"), 2, "346x260"),
        ((rec, tmp_path / "b.csv", "--on-bit", "1"), 2, "AEDAT 2.0's"),
    ):
        found, _, err = call("convert", *words)
        assert (found, message in err) == (code, True), err
    assert call("convert", rec, out_path, "--force")[0] == 0


def test_what_goes_to_standard_output_is_the_file_and_nothing_else(
    rec: Path, tmp_path: Path
) -> None:
    call("convert", rec, tmp_path / "a.raw")
    found = CliRunner().invoke(app, ["convert", str(rec), "-", "--format", "evt3"])
    assert found.exit_code == 0
    assert found.stdout_bytes == (tmp_path / "a.raw").read_bytes()
    assert "20,000 events" in found.stderr
    code, _, err = call("convert", rec, "-")
    assert (code, "give --format" in err) == (2, True)
    code, _, err = call("convert", rec, "-", "--format", "aedat4")
    assert (code, "cannot seek" in err) == (2, True)


def test_record_takes_what_replay_sends(rec: Path, tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        target = f"dv://127.0.0.1:{one.getsockname()[1]}"
    sent: list[tuple[int, str, str]] = []

    def serve() -> None:
        # In this process a second CliRunner would share its streams: the command behind is called.
        from streamstop.tools.send import send_recording

        done = send_recording(str(rec), target, speed=0.0, client_timeout_s=60.0)
        sent.append((done.events, "", ""))

    thread = threading.Thread(target=serve)
    thread.start()
    for _ in range(400):  # until the server listens
        code, out, err = call("record", tmp_path / "live.aedat4", "--source", target, "--json")
        if code != 3:
            break
        time.sleep(0.1)
    thread.join(60)
    assert code == 0, err
    assert json.loads(out)["written"] == 20_000 == sent[0][0]
    assert same(Whole(open_recording(str(tmp_path / "live.aedat4")).packets()).events, EVENTS)


def test_replay_prints_what_it_sent(rec: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
        code, out, _ = call("replay", rec, f"udp://127.0.0.1:{port}", "--speed", "0", "--json")
        assert len(receiver.recv(1 << 16)) % 8 == 0
    assert code == 0
    assert json.loads(out)["events"] == 20_000
    code, _, err = call("replay", rec, "http://127.0.0.1:80")
    assert code in (2, 3)
    assert "http" in err


@pytest.mark.parametrize("command", ["replay", "stream"])
@pytest.mark.parametrize(
    "flags",
    [
        ("--no-timestamps", "--client-timeout", "3"),
        ("--no-times", "--wait", "3"),
        ("--wait=3", "--no-times"),
    ],
)
def test_old_names_of_replay_and_its_flags_are_taken(
    command: str, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def record_call(*args: str, **options: Any) -> send.SendResult:
        calls.append(options)
        return send.SendResult()

    monkeypatch.setattr(send, "send_recording", record_call)
    assert call(command, "REC", "dv://:1", *flags)[0] == 0
    assert (calls[0]["timestamps"], calls[0]["client_timeout_s"]) == (False, 3.0)


@pytest.mark.parametrize("flag", ["--duration", "--seconds"])
def test_record_takes_the_old_name_of_duration(
    flag: str, rec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = call("record", "OUT", "--source", rec, flag, "-1")
    assert (code, "--duration must not be negative: -1.0" in err) == (2, True)


def test_old_names_are_not_in_the_help() -> None:
    def help_of(*words: str) -> str:
        terminal = {"COLUMNS": "100", "TERM": "dumb"}
        return CliRunner().invoke(app, [*words, "--help"], env=terminal).stdout

    assert "replay" in help_of() and " stream " not in help_of()
    assert "--client-timeout" in help_of("replay") and "--wait" not in help_of("replay")
    for command in ("run", "record"):
        assert "--duration" in help_of(command) and "--seconds" not in help_of(command)


def test_no_camera_is_exit_3_and_leaves_nothing(tmp_path: Path) -> None:
    code, _, err = call("record", tmp_path / "a.aedat4", "--source", "evk4")
    assert code == 3
    assert "streamstop doctor" in err
    assert not list(tmp_path.iterdir())


def test_doctor_answers_in_words_and_in_json() -> None:
    code, out, _ = call("doctor", "--json")
    found = json.loads(out)
    assert code == found["exit_code"]
    assert {"cameras", "libraries", "network"} <= {one["topic"] for one in found["findings"]}
    assert "running from files" in call("doctor")[1]
