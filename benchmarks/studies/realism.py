"""How close simulated gestures are to real ones: event statistics, and a network's predictions.

`events`: statistics of three real recordings of DVS-Gesture compared with those of simulated people
in all lightings who make the same gestures, with a picture. Lighting, pixels and movements were
tuned on these recordings, so the comparison shows how well they were fitted, not how well others
would fit. `network`: a network is trained on simulated gestures only and tested on real recordings.

Writes docs/results/realism.md, one section each, and docs/images/realism.png. Real recordings are
read from $STREAMSTOP_TEST_DATA, else from ../shared/data.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from PIL import Image

from benchmarks._shared.page import table, write_section
from benchmarks._shared.provenance import ROOT, provenance
from streamstop.config.sections import NetworkConfig
from streamstop.config.training import TrainConfig, load_train_config
from streamstop.events.packet import Events
from streamstop.formats.detect import open_recording
from streamstop.learning.network_section import network_from_config
from streamstop.learning.pretrained import Pretrained
from streamstop.simulation.gesture_set import (
    SetOptions,
    record_user,
    users_to_test,
    write_gesture_set,
)
from streamstop.simulation.gestures import GESTURES, SENSOR
from streamstop.simulation.motions import pose_at
from streamstop.simulation.performers import (
    LIGHTING_NAMES,
    STEP_US,
    Performer,
    film_poses,
    set_lighting,
)
from streamstop.simulation.realism import Measures, measure, picture
from streamstop.stop.network import Network
from streamstop.training.train import train

PAGE, IMAGE = ROOT / "docs" / "results" / "realism.md", ROOT / "docs" / "images" / "realism.png"
DATA = Path(os.environ.get("STREAMSTOP_TEST_DATA", ROOT.parent / "shared" / "data"))
SECTIONS = ("Events", "Trained on simulated gestures, tried on real ones")
TITLE = "Simulated gestures beside real ones"
SAMPLES = {1: "hand_clapping", 2: "right_hand_wave", 8: "arm_roll"}
REAL_US = 1_450_000
PEOPLE = 15
"""Simulated people a gesture, three in each lighting; none is of a set of seed 0."""

OPTIONS = SetOptions(gesture_s=(2.9, 2.9), gap_s=(0.5, 0.8))
USERS, LIGHTINGS = 20, 2
RECIPE = {
    "data.kind": "events",
    "data.time_steps": 28,
    "data.window_us": 1_400_000,
    "data.validation_fraction": 0.0,
    "binning.bin_us": 50_000,
    "binning.height": 32,
    "binning.width": 32,
    "network.architecture": "compact",
    "network.leak_init": 0.7,
    "network.normalization": "batch",
    "augment.max_shift": 4,
    "augment.max_rotation": 10.0,
    "augment.scale": 0.25,
    "train.epochs": 16,
    "train.batch_size": 32,
    "train.lr": 4e-3,
    "train.ema_decay": 0.95,
    "train.warmup_epochs": 1.0,
    "train.weight_decay": 1e-2,
    "train.device": "cpu",
}


def main() -> None:
    """Run the section that is asked for, or both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("events", "network", "all"), default="all")
    parser.add_argument("--set", type=Path, default=ROOT / "runs" / "simulated-gestures")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--resume", type=Path, help="folder of a training that was interrupted")
    asked = parser.parse_args()
    if asked.part in ("events", "all"):
        _section(SECTIONS[0], _events())
    if asked.part in ("network", "all"):
        _section(SECTIONS[1], _network(asked.set, asked.jobs, asked.resume))


def _section(name: str, body: list[str]) -> None:
    intro = (
        "Simulated gestures (`streamstop.simulation.gesture_set`), and three recordings of the "
        "DVS-Gesture set (Amir et al. 2017, CC BY 4.0; the first 1.45 s of one trial each). "
        "Contrasts, thresholds, noise, the readout's flaws, pace and place of the simulated were "
        "tuned on these three: what is near here need not be near elsewhere."
    )
    lines = provenance("benchmarks.studies.realism", "streamstop", "numpy", "numba", "torch")
    write_section(PAGE, TITLE, intro, SECTIONS, name, [*lines, "", *body])


def read(path: Path) -> Events:
    """Events of a real recording, times from its first."""
    events = np.concatenate([one.events for one in open_recording(str(path)).packets()])
    events["t"] -= events["t"][0]
    return events


def simulated(gesture: str, person: int, lighting: str) -> Events:
    """The first moments of one occasion of a gesture."""
    performer = Performer.draw(person)
    build, occasion = performer.occasion(person)
    poses = (
        pose_at(gesture, build, t_us * 1e-6, occasion) for t_us in range(0, REAL_US + 1, STEP_US)
    )
    return np.concatenate(list(film_poses(poses, performer, set_lighting(lighting), 0, person)))


ROWS: tuple[tuple[str, Callable[[Measures], float], str], ...] = (
    ("events, thousands a second", lambda m: m.rate_hz / 1000, ".1f"),
    ("ON share", lambda m: m.on_fraction, ".3f"),
    ("read twice, share of events", lambda m: m.twice_fraction, ".3f"),
    ("pixels with any event, share", lambda m: m.active_fraction, ".3f"),
    ("pixels with nine of ten events, share", lambda m: m.busy_fraction, ".3f"),
    ("interval at a pixel, first quartile, ms", lambda m: m.intervals_us[0] / 1000, ".2f"),
    ("interval, median, ms", lambda m: m.intervals_us[1] / 1000, ".2f"),
    ("interval, third quartile, ms", lambda m: m.intervals_us[2] / 1000, ".1f"),
    ("interval, 95 %, ms", lambda m: m.intervals_us[3] / 1000, ".0f"),
    ("of those, between one polarity", lambda m: m.same_fraction, ".3f"),
    ("top rows, events a pixel a second", lambda m: m.quiet_hz, ".2f"),
    ("middle, column", lambda m: m.middle[0], ".0f"),
    ("middle, row", lambda m: m.middle[1], ".0f"),
    ("middle 80 %, columns", lambda m: m.spread[0], ".0f"),
    ("middle 80 %, rows", lambda m: m.spread[1], ".0f"),
)


def _events() -> list[str]:
    real: dict[str, Measures] = {}
    made: dict[str, list[Measures]] = {}
    tiles: list[np.ndarray] = []
    for number, gesture in SAMPLES.items():
        events = read(DATA / "dvs-gesture-samples" / f"class-{number}.bin")
        real[gesture] = measure(events, SENSOR)
        people = [
            simulated(gesture, 5_000 + 20 * number + i, LIGHTING_NAMES[i % 5])
            for i in range(PEOPLE)
        ]
        made[gesture] = [measure(one, SENSOR) for one in people]
        tiles.append(np.hstack([_strip(one) for one in (events, *people[:2])]))
    IMAGE.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(tiles)).save(IMAGE, optimize=True)
    heads = [f"{name}, {what}" for name in real for what in ("real", "simulated")]
    within = 0
    rows = []
    for label, of, form in ROWS:
        cells = [label]
        for gesture in real:
            values = np.array([of(one) for one in made[gesture]])
            low, middle, high = values.min(), np.median(values), values.max()
            within += bool(low <= of(real[gesture]) <= high)
            cells += [
                f"{of(real[gesture]):{form}}",
                f"{middle:{form}} ({low:{form}} to {high:{form}})",
            ]
        rows.append(cells)
    return [
        f"Simulated: median of {PEOPLE} people, three in each lighting, and in brackets the least "
        f"and the most. Of the {len(ROWS) * len(real)} real figures, {within} lie within.",
        "",
        *table(heads, rows),
        "![Real and simulated gestures](../images/realism.png)",
        "",
        "Rows: hand clapping, right hand wave, arm roll. From left to right: real, and two "
        "simulated people; of each 50 ms from 0.1, 0.5 and 0.9 s on (ON green, OFF red), then all "
        "counts.",
        "",
        *_speed(),
    ]


def _strip(events: Events) -> np.ndarray:
    """Three moments and all counts of a recording, side by side."""
    moments = [
        picture(events[(events["t"] >= start) & (events["t"] < start + 50_000)], SENSOR)
        for start in (100_000, 500_000, 900_000)
    ]
    counts = np.zeros((SENSOR.height, SENSOR.width))
    np.add.at(counts, (events["y"], events["x"]), 1)
    grey = np.minimum(255 * counts / np.quantile(counts, 0.99), 255).astype(np.uint8)
    strip = np.hstack([*moments, np.repeat(grey[:, :, None], 3, 2)])
    return np.pad(strip, ((0, 4), (0, 6), (0, 0)), constant_values=255)


def _speed() -> list[str]:
    """How long one recording takes."""
    list(record_user(1, "lab", OPTIONS)[0])  # compiles
    options = SetOptions()
    parts, labels = record_user(1, "lab", options)
    began = time.process_time()
    events = sum(len(part) for part in parts)
    spent = time.process_time() - began
    length = (labels[-1].end_us - labels[0].start_us) * 1e-6
    return [
        f"One recording of a set with the default lengths (user 1, lab, {length:.0f} s from first "
        f"to last gesture, {events:,} events) took {spent:.1f} s of processor time, writing left "
        f"out: about {spent * 145 / 3600:.1f} h of it for all 145.",
    ]


class Tried(NamedTuple):
    """One real recording: what it is, and how the network's first window and all windows decide."""

    name: str
    truth: str
    windows: list[str]


def _network(folder: Path, jobs: int, resume: Path | None) -> list[str]:
    write_gesture_set(folder, OPTIONS, users=USERS, lightings=LIGHTINGS, jobs=jobs)
    config = _config(folder)
    result = train(config, folder=resume)
    weights = result.folder / "last.safetensors"
    test, part = result.summary["test"], result.summary["parts"][0]
    tested = f"{users_to_test(USERS)[0]} to {USERS}"
    lines = [
        f"Trained on users 1 to {users_to_test(USERS)[0] - 1} of a simulated set of {USERS} "
        f"users in {LIGHTINGS} lightings ({', '.join(LIGHTING_NAMES[:LIGHTINGS])}; "
        f"{part['samples']} windows of 1.4 s, 28 bins of 50 ms, 32x32), `compact`, "
        f"{config.train.epochs} epochs. On simulated users {tested}: {test['correct']} of "
        f"{test['samples']} ({test['accuracy']:.3f}). Chance is {1 / len(GESTURES):.3f}.",
        "",
    ]
    tried = {swap: _try(weights, swap) for swap in (False, True)}
    heads = ["is", "predictions of its windows, in order", "ON and OFF exchanged"]
    rows = [
        [one.name, one.truth, ", ".join(one.windows), ", ".join(other.windows)]
        for one, other in zip(tried[False], tried[True], strict=True)
    ]
    return [*lines, _verdict(tried), "", *table(heads, rows), *_remarks()]


def _config(folder: Path) -> TrainConfig:
    """A training on the users that are to train, links to whose recordings lie beside the set."""
    parts = {}
    for part in ("train", "test"):
        parts[part] = folder.with_name(f"{folder.name}-{part}")
        parts[part].mkdir(exist_ok=True)
        names = (folder / f"trials_to_{part}.txt").read_text().split()
        labels = [name.replace(".aedat", "_labels.csv") for name in names]
        for name in (*names, *labels, "gesture_mapping.csv"):
            link = parts[part] / name
            if not link.is_symlink():
                link.symlink_to((folder / name).resolve())
    recipe = folder.with_name(f"{folder.name}.toml")
    recipe.write_text("")
    places = {"data.uri": str(parts["train"]), "data.test_uri": str(parts["test"])}
    return load_train_config(str(recipe), overrides={**RECIPE, **places})


def _try(weights: Path, swap: bool) -> list[Tried]:
    """The network's prediction for each window of each real recording; nothing is trained."""
    trained = Pretrained.from_file(str(weights))
    section = NetworkConfig(**trained.network)
    spec = network_from_config(section, trained.input_shape, len(trained.classes))
    network = Network(spec, 0, learn="")
    network.load_parameters(dict(trained.tensors))
    tried = []
    for name, (path, truth) in real_recordings().items():
        predicted = _decide(network, read(path), swap)
        tried.append(Tried(name, truth, [named(trained.classes[i]) for i in predicted]))
    return tried


def real_recordings() -> dict[str, tuple[Path, str]]:
    """The real recordings of gestures that there are: file and gesture, by what to call them."""
    samples = {
        f"DVS-Gesture sample, class {n}": (DATA / f"dvs-gesture-samples/class-{n}.bin", gesture)
        for n, gesture in SAMPLES.items()
    }
    waves = sorted((DATA / "hand-wave").glob("*.aedat4"))
    named = {f"hand wave {i}": (path, "right_hand_wave") for i, path in enumerate(waves, start=1)}
    return samples | named


@torch.no_grad()
def _decide(network: Network, events: Events, swap: bool) -> list[int]:
    """The class of each whole window."""
    bin_us, steps, side = (
        RECIPE[key] for key in ("binning.bin_us", "data.time_steps", "binning.height")
    )
    assert isinstance(bin_us, int) and isinstance(steps, int) and isinstance(side, int)
    cell = SENSOR.width // side
    bins = -(-int(events["t"][-1] + 1) // bin_us)
    counts = np.zeros((bins, 2, side, side), np.float32)
    polarity = events["p"].astype(np.int64) ^ swap
    at = (events["t"] // bin_us, polarity, events["y"] // cell, events["x"] // cell)
    np.add.at(counts, at, 1)
    x = torch.from_numpy(np.minimum(counts, 255)).log1p()
    predicted = []
    for first in range(0, bins - steps + 1, steps):
        network.reset_state(1)
        votes = [network.forward(x[i : i + 1], traces=False)[0].clone() for i in
                 range(first, first + steps)]  # fmt: skip
        predicted.append(int(torch.stack(votes).sum(0).argmax()))
    return predicted


def named(label: str) -> str:
    """A class's own name, without the number that stands before it."""
    return label.split(" ", 1)[-1]


def _verdict(tried: dict[bool, list[Tried]]) -> str:
    def right(some: list[Tried]) -> int:
        return sum(one.windows[0] == one.truth for one in some)

    samples, waves = tried[False][: len(SAMPLES)], tried[False][len(SAMPLES) :]
    windows = [w == one.truth for one in waves for w in one.windows]
    return (
        f"**Right, by the first window of each: {right(samples)} of {len(samples)} samples of the "
        f"set, {right(waves)} of {len(waves)} hand waves** ({sum(windows)} of {len(windows)} "
        f"windows of these); with ON and OFF exchanged {right(tried[True][: len(SAMPLES)])} and "
        f"{right(tried[True][len(SAMPLES) :])}."
    )


def _remarks() -> list[str]:
    return [
        "The hand waves are another camera's, of a hand close to it. Their pairs of events within "
        "2 us are OFF events, where those of the set's samples are ON events: their polarity may "
        "be exchanged, so that both ways are shown.",
        "",
        "These six recordings are no test set. The movements were made more various after a first "
        "network, and once more after a second, had got one of the six right (the arm roll each "
        "time), having looked at the pictures of those that were wrong.",
    ]


if __name__ == "__main__":
    main()
