"""Files as aestream reads them: the events of our own readers, or a refusal with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, random_events, same

pytest.importorskip("aestream")
from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import SensorSize
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.formats.write import write_recording
from streamstop.sources.open import open_source
from streamstop.tools.inspection import inspect

EVENTS = random_events(5000, width=346, height=260)
SENSOR = SensorSize(346, 260)


def written(tmp_path: Path, format: str) -> Path:
    path = tmp_path / f"rec.{format}"
    if format == "aedat4":
        write_aedat4(path, EVENTS, SENSOR, compression="lz4")
    else:
        write_recording(path, EVENTS, SENSOR, format=format)
    return path


@pytest.mark.parametrize("format", ["dat", "aedat4"])
def test_it_reads_what_our_reader_reads(tmp_path: Path, format: str) -> None:
    path = written(tmp_path, format)
    source = open_source(f"aestream:{path}?sensor=346x260")
    read = Whole(source).events
    own = Whole(open_source(f"{path}?sensor=346x260")).events
    assert same(read, own)
    assert same(read, EVENTS)
    assert "read by aestream" in source.notes[0]
    assert inspect(f"aestream:{path}?sensor=346x260").events == len(EVENTS)


@pytest.mark.parametrize("format", ["evt2", "evt3", "csv", "npz"])
def test_what_it_reads_wrong_is_refused_with_the_reason(tmp_path: Path, format: str) -> None:
    path = written(tmp_path, format)
    with pytest.raises(UsageError, match="aestream is not asked for"):
        open_source(f"aestream:{path}?sensor=346x260")


def test_what_it_cannot_read_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat4"
    write_aedat4(path, EVENTS, SENSOR, compression="zstd")
    with pytest.raises(SourceError, match="aestream cannot read it"):
        open_source(f"aestream:{path}")
    damaged = written(tmp_path, "aedat4")
    damaged.write_bytes(damaged.read_bytes()[:3000])
    with pytest.raises(SourceError):
        Whole(open_source(f"aestream:{damaged}"))


def test_its_receiver_is_refused_with_ours_in_its_place() -> None:
    with pytest.raises(UsageError, match=r"polarity nor time; .* udp://127\.0\.0\.1:3333"):
        open_source("aestream:udp://127.0.0.1:3333")


def test_its_times_below_zero_are_damage(tmp_path: Path) -> None:
    """It reads a DAT's times as signed numbers: they are negative after 35.8 minutes."""
    events = EVENTS.copy()
    events["t"] = np.linspace(0, 3_000_000_000, len(events)).astype(np.int64)
    write_recording(tmp_path / "rec.dat", events, SENSOR, format="dat")
    whole = Whole(open_source(f"aestream:{tmp_path / 'rec.dat'}?sensor=346x260"))
    late = events["t"] >= 1 << 31
    assert same(whole.events, events[~late])
    assert "time below zero" in whole.damage[0].reason
