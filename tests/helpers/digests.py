"""Prints the digests that `test_formats.py` compares with: run it when a reader changes on purpose.

python tests/golden/digests.py > tests/golden/formats.toml
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from streamstop.sources.open import open_source

FIELDS = {"t": "<i8", "x": "<u2", "y": "<u2", "p": "|u1"}
NAMES = (
    "davis346.aedat4",
    "davis346-short.aedat4",
    "dvxplorer.aedat4",
    "evt2.raw",
    "evt3.raw",
    "evt3.npy",
    "ncars.dat",
    "ncars.es",
    "nmnist.bin",
    "ncaltech101.bin",
    "mnist_0_scale04_0001.aedat",
    "mnist_0_scale04_0002.aedat",
    "jaer-aedat1.dat",
)


def facts(path: Path) -> dict[str, str | int | float]:
    """What a file decodes to: counts, and a digest of each field."""
    source = open_source(str(path))
    packets = list(source)
    events = np.concatenate([packet.events for packet in packets])
    digest = {
        name: hashlib.sha256(np.ascontiguousarray(events[name]).astype(kind).tobytes())
        for name, kind in FIELDS.items()
    }
    return {
        "format": source.format,
        "sensor": str(source.sensor),
        "events": len(events),
        "first_us": int(events["t"][0]),
        "duration_us": int(events["t"][-1] - events["t"][0]),
        "on": int(np.count_nonzero(events["p"])),
        **{name: one.hexdigest()[:32] for name, one in digest.items()},
    }


if __name__ == "__main__":
    stated = os.environ.get("STREAMSTOP_TEST_DATA")
    folder = Path(stated) if stated else Path(__file__).parents[3] / "shared" / "data"
    for name in NAMES:
        print(f'["{name}"]')
        for key, value in facts(folder / "formats" / name).items():
            print(f"{key} = {value!r}".replace("'", '"'))
        print()
