"""Makes, writes and describes the recordings that are shipped with streamstop.

Guarantees:

- The same seed, numpy and zstd give the same files, byte for byte; with another zstd at least the
  same events (`events_sha256` of the manifest).
- Every recording's header and the manifest say that it is simulated.

Does not:

- Keep the bytes for another `GENERATOR`.

Files:

    OUT/gestures/simulated_user01_lab.aedat4 and simulated_user01_lab_labels.csv, and so on
    OUT/gestures/gesture_mapping.csv, the names of the classes, as in the DVS-Gesture set
    OUT/damaged/   small damaged files that every reader must survive
    OUT/manifest.toml
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import zstandard

from streamstop.events.labels import CSV_COLUMNS
from streamstop.events.packet import Events
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.simulation.gestures import GESTURES, SENSOR
from streamstop.simulation.recordings import Label, Plan, record

GENERATOR = 1
"""Raised with every change that alters an event of the bundled recordings."""

USERS = range(1, 7)
BUNDLED_LIGHTINGS = ("lab", "fluorescent")
CLASS_NAMES = "gestures/gesture_mapping.csv"
DAMAGED_PACKET_EVENTS = 300
DAMAGED_US = 400_000

Fields = Mapping[str, str | int | float | bool | list[int] | list[str]]


def bundled_plans(seed: int) -> list[Plan]:
    """What to record: each user under each lighting."""
    return [Plan(user, lighting, seed) for user in USERS for lighting in BUNDLED_LIGHTINGS]


def damaged_plan(seed: int) -> Plan:
    """The recording from whose first moments the damaged files are made."""
    return Plan(90, "led", seed)


def write_bundle(out: Path, seed: int) -> Iterator[str]:
    """Write the recordings, the damaged files and, last, the manifest; yields a line for each.

    Parameters
    ----------
    out
        Folder to write to; files of the same name are replaced.
    seed
        Draws subjects, movements and noise.
    """
    (out / "gestures").mkdir(parents=True, exist_ok=True)
    entries: list[tuple[str, Fields]] = []
    plans = bundled_plans(seed)
    with ProcessPoolExecutor() as workers:
        for plan, (events, labels) in zip(plans, workers.map(record, plans), strict=True):
            entries.append(("recording", _write_recording(out, plan, events, labels)))
            yield f"{plan.name}: {len(events)} events"
    names = [f"{name},{number}" for number, name in enumerate(GESTURES, start=1)]
    (out / CLASS_NAMES).write_text("\n".join(["action,label", *names]) + "\n")
    entries += [("damaged", fields) for fields in write_damaged(out, seed)]
    yield f"{len(entries) - len(plans)} damaged files"
    partial = out / "manifest.toml.partial"
    partial.write_text(_manifest(seed, entries))
    partial.replace(out / "manifest.toml")
    yield "manifest.toml"


def events_sha256(events: Events) -> str:
    """Digest of t, x, y and p, one column after the other, independent of the file format."""
    digest = hashlib.sha256()
    for name, kind in (("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")):
        digest.update(events[name].astype(kind).tobytes())
    return digest.hexdigest()


def write_damaged(out: Path, seed: int) -> list[Fields]:
    """Write the damaged files to `out`/damaged; returns their entries in the manifest."""
    folder = out / "damaged"
    folder.mkdir(parents=True, exist_ok=True)
    plan = damaged_plan(seed)
    events, _ = record(plan, DAMAGED_US)
    whole_path = folder / "whole.aedat4"
    write_events(whole_path, plan, events, DAMAGED_PACKET_EVENTS)
    whole = whole_path.read_bytes()
    whole_path.unlink()

    starts = [i for i in range(len(whole)) if whole.startswith(zstandard.FRAME_HEADER, i)]
    # The last frame is the table of packets. Cut inside the third packet; break the second.
    cut = (starts[2] + starts[3]) // 2
    at = (starts[1] + starts[2]) // 2
    broken = whole[:at] + bytes(byte ^ 0x5A for byte in whole[at : at + 16]) + whole[at + 16 :]
    pointer = (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{hashlib.sha256(whole).hexdigest()}\nsize {len(whole)}\n"
    )
    files: list[tuple[str, bytes, int, str]] = [
        (
            "truncated.aedat4",
            whole[:cut],
            2 * DAMAGED_PACKET_EVENTS,
            "cut off inside the third packet, as by a full disk",
        ),
        (
            "broken_packet.aedat4",
            broken,
            len(events) - DAMAGED_PACKET_EVENTS,
            "16 bytes of the second packet changed; the others are sound",
        ),
        ("lfs_pointer.aedat4", pointer.encode(), 0, "a Git LFS pointer in place of its file"),
        ("empty.aedat4", b"", 0, "no byte at all"),
    ]
    entries: list[Fields] = []
    for name, content, readable, what in files:
        (folder / name).write_bytes(content)
        entries.append(
            {
                "path": f"damaged/{name}",
                "what": what,
                "bytes": len(content),
                "readable_events": readable,
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        )
    return entries


def _write_recording(out: Path, plan: Plan, events: Events, labels: list[Label]) -> Fields:
    """Write one recording and its labels; returns their entry in the manifest."""
    path = out / "gestures" / f"{plan.name}.aedat4"
    write_events(path, plan, events)
    rows = [",".join(CSV_COLUMNS), *(",".join(str(v) for v in label) for label in labels)]
    labels_path = path.with_name(f"{plan.name}_labels.csv")
    labels_path.write_text("\n".join(rows) + "\n")
    content = path.read_bytes()
    return {
        "path": f"gestures/{path.name}",
        "labels": f"gestures/{labels_path.name}",
        "simulated": True,
        "user": plan.user,
        "lighting": plan.lighting,
        "seed": plan.seed,
        "sensor": [SENSOR.width, SENSOR.height],
        "events": len(events),
        "first_us": int(events["t"][0]),
        "last_us": int(events["t"][-1]),
        "on_share": round(float(np.mean(events["p"])), 4),
        "intervals": len(labels),
        "order": [label.number for label in labels],
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "events_sha256": events_sha256(events),
        "labels_sha256": hashlib.sha256(labels_path.read_bytes()).hexdigest(),
    }


def write_events(path: Path, plan: Plan, events: Events, packet_events: int = 1 << 14) -> None:
    """Write a recording as bundled: best zstd compression, marked as simulated."""
    write_aedat4(
        path,
        events,
        SENSOR,
        compression="zstd",
        packet_events=packet_events,
        zstd_level=22,
        simulated=True,
        info={"generator": f"streamstop.simulate {GENERATOR}", "plan": repr(plan)},
    )


def _manifest(seed: int, entries: Iterable[tuple[str, Fields]]) -> str:
    lines = [
        "# Simulated recordings: no camera made these events. Written by `make recordings`.",
        "",
        f"generator = {json.dumps(f'streamstop.simulate {GENERATOR}')}",
        "simulated = true",
        f"seed = {seed}",
        f"numpy = {json.dumps(np.__version__)}",
        f"zstd = {json.dumps('.'.join(str(part) for part in zstandard.ZSTD_VERSION))}",
        f"class_names = {json.dumps(CLASS_NAMES)}",
        f"classes = {json.dumps(list(GESTURES))}",
    ]
    for table, fields in entries:
        lines += ["", f"[[{table}]]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    return "\n".join(lines) + "\n"
