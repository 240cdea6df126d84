"""Simulated DVS-Gesture: trained on 23 people, tested on six others, then streamed by lighting.

`trained` trains the recipe `dvs-gesture-compact` on users 1 to 23 in all lightings, and tests it
once on users 24 to 29. `light` trains it on the same people in one lighting, one network per seed.
`streamed` streams users 24 to 29 to these networks, lighting after lighting (recipe
`dvs-gesture-adapt`), learning and frozen. Settings were chosen on users 1 to 23. All of that is
simulated (`streamstop simulate dvs-gesture`); the data set is written if it does not exist. `real`
applies the same networks to the real recordings of `realism.py`. Writes docs/results/gestures.md,
one section per part.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from benchmarks._shared.page import spread, table, write_section
from benchmarks._shared.provenance import ROOT, provenance
from benchmarks.studies.realism import named, read, real_recordings
from streamstop.config.sections import NetworkConfig
from streamstop.config.training import load_train_config
from streamstop.events.binning import Binner
from streamstop.events.packet import Events
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.learning.network_section import network_from_config
from streamstop.learning.pretrained import Pretrained
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.run import run
from streamstop.simulation.gesture_set import write_gesture_set
from streamstop.simulation.gestures import SENSOR
from streamstop.training.train import train

PAGE = ROOT / "docs" / "results" / "gestures.md"
TITLE = "Simulated gestures: new people, other light"
INTRO = (
    "A simulated stand-in of DVS-Gesture (`streamstop simulate dvs-gesture OUT --users 29 "
    "--lightings 5 --seed 0`), 29 users in five lightings, eleven gestures each: **no figure here "
    "is one on the real set**, and only the last section's are of real recordings. Users 1 to 23 "
    "train, 24 to 29 test. Written by "
    "`benchmarks/studies/gestures.py`, one section per run; do not edit."
)
PARTS = {
    "trained": "Trained in all lightings",
    "light": "Trained in one light",
    "streamed": "Streamed by lighting, learning and frozen",
    "real": "The same networks on real recordings",
}
TRAIN_USERS = range(1, 24)
LIGHT = "lab"
READOUTS = {"linear": "linear readout", "lda": "LDA readout"}
MAKERS = {
    "headline": "learning: headline prediction",
    "linear": "learning: linear readout",
    "lda": "learning: LDA readout",
    "initial_network": "frozen as trained: linear readout",
    "initial_lda": "frozen as trained: LDA readout",
    "frozen_features_linear": "frozen below a linear readout that learns",
    "frozen_features_lda": "frozen below a LDA readout that learns",
    "lda_counts": "streaming LDA on log counts",
    "softmax_counts": "softmax regression (river)",
    "majority": "majority",
    "no_change": "no change",
}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--set", type=Path, default=ROOT / "runs" / "simulated-dvs-gesture")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gestures")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="processes that simulate")
    asked = parser.parse_args()
    asked.set, asked.out = asked.set.resolve(), asked.out.resolve()
    write_gesture_set(asked.set, jobs=asked.jobs)
    for part in asked.parts or PARTS:
        do = {"trained": trained, "light": in_one_light, "streamed": streamed, "real": on_real}
        body = do[part](asked)
        write_section(PAGE, TITLE, INTRO, list(PARTS.values()), PARTS[part], [*made(), *body])


def made() -> list[str]:
    """How a section came about."""
    return [
        *provenance("benchmarks.studies.gestures", "streamstop", "torch", "river", "numpy")[2:],
        "",
    ]


def trained(asked: argparse.Namespace) -> list[str]:
    """Training on all lightings, and its test."""
    summary = one_training(asked, f"dvs-gesture:{asked.set}?split=train", "all", 0)
    return [said_of(summary, "all lightings"), ""]


def in_one_light(asked: argparse.Namespace) -> list[str]:
    """One training per seed, on one lighting; the test is of all lightings."""
    folder = asked.out / LIGHT
    folder.mkdir(parents=True, exist_ok=True)
    kinds = (".aedat", "_labels.csv")
    names = [f"user{user:02}_{LIGHT}{kind}" for user in TRAIN_USERS for kind in kinds]
    for name in (*names, "gesture_mapping.csv"):
        if not (folder / name).exists():
            (folder / name).symlink_to((asked.set / name).resolve())
    lines = []
    for seed in range(asked.seeds):
        summary = one_training(asked, f"dvs-gesture:{folder}?split=train", LIGHT, seed)
        lines.append("- " + said_of(summary, f"lighting {LIGHT} alone"))
    return [*lines, ""]


def one_training(asked: argparse.Namespace, uri: str, name: str, seed: int) -> dict[str, Any]:
    """Train, unless that was done; the content of train.json."""
    place = asked.out / f"train-{name}-{seed}"
    places = {"data.uri": uri, "data.test_uri": f"dvs-gesture:{asked.set}?split=test"}
    chosen = {**places, "run.seed": seed, "run.output_dir": str(place)}
    config = load_train_config("dvs-gesture-compact", overrides=chosen)
    if not list(place.glob("*/train.json")):
        train(config)
    done = next(place.glob("*/train.json"))
    as_asked(done.parent, load_train_config(str(done.with_name("config.toml"))), config)
    found: dict[str, Any] = json.loads(done.read_text())
    return found


def as_asked(folder: Path, found: object, asked: object) -> None:
    """Refuse results of an earlier call with other settings."""
    if found != asked:
        raise SystemExit(f"made with other settings than the recipe has now; remove it: {folder}")


def said_of(summary: dict[str, Any], light: str) -> str:
    """One training in a sentence."""
    test, lda, part = summary["test"], summary["test_discriminant"], summary["parts"][0]
    return (
        f"`dvs-gesture-compact`, users 1 to 23, {light}, {part['samples']} gestures, "
        f"{summary['epochs']} epochs, seed {summary['seed']}, {summary['seconds']:.0f} s: of users "
        f"24 to 29 in all lightings, {test['correct']} of {test['samples']} right "
        f"({test['accuracy']:.3f}) by the linear readout, {lda['correct']} "
        f"({lda['accuracy']:.3f}) by the LDA readout, fitted to the same training set."
    )


def streamed(asked: argparse.Namespace) -> list[str]:
    """Both kinds of networks on the same streams."""
    lines = [
        "Each gesture is predicted before its label is used; baselines run beside it, on the same "
        f"segments. Mean ± standard deviation over seeds 0-{asked.seeds - 1}, which draw the "
        "order within each lighting. Both readouts begin as trained; streaming LDA and river begin "
        "with nothing.",
        "",
    ]
    for name, heading in (
        (LIGHT, f"Networks trained in the light of {LIGHT}, one per seed:"),
        ("all", "The network trained in all lightings:"),
    ):
        runs = []
        for seed in range(asked.seeds):
            place = asked.out / f"train-{name}-{seed if name == LIGHT else 0}"
            weights = next(place.glob("*/best.safetensors"))
            runs.append(one_stream(asked, weights, name, seed))
            print(name, seed, {k: round(v["all"], 3) for k, v in runs[-1].items()}, flush=True)
        lines += [heading, "", *beside(runs), verdict(runs), ""]
    return lines


def one_stream(
    asked: argparse.Namespace, weights: Path, name: str, seed: int
) -> dict[str, dict[str, float]]:
    """Accuracy by decision maker, of everything and of each lighting."""
    out = asked.out / f"stream-{name}-{seed}"
    flags = {
        "source.uri": f"dvs-gesture:{asked.set}?split=test",
        "learner.pretrained": str(weights),
        "run.seed": seed,
        "run.output_dir": str(out),
    }
    config = load_config("dvs-gesture-adapt", (), flags)
    if not list(out.glob("*/summary.json")):
        run(config)
    done = next(out.glob("*/summary.json"))
    as_asked(done.parent, load_config(str(done.with_name("config.toml"))), config)
    summary = json.loads(done.read_text())
    if (status := summary["status"]) != "complete":
        raise SystemExit(f"{status}, and no figure for this page; remove it: {done.parent}")
    scores = {"headline": summary["accuracy"]}
    scores |= summary["accuracy_by_readout"] | summary["baselines"]
    return {
        maker: {
            "all": scores[maker]["segment"],
            **{one["domain"]: one[maker] for one in summary["per_domain"]},
        }
        for maker in MAKERS
    }


@torch.no_grad()
def on_real(asked: argparse.Namespace) -> list[str]:
    """Each network's answer to six real recordings, of which it has learned nothing."""
    recordings = real_recordings()
    names = ["all-0", *(f"{LIGHT}-{seed}" for seed in range(asked.seeds))]
    rows = []
    for name in names:
        trained = Pretrained.from_file(
            str(next((asked.out / f"train-{name}").glob("*/best.safetensors")))
        )
        section = NetworkConfig(**trained.network)
        spec = network_from_config(section, trained.input_shape, len(trained.classes))
        learner = StopLearner(spec, LearnerSpec(trainable=()))
        trained.load_into(learner, lda_prior_count=1.0)
        predicted: dict[str, list[str]] = {"linear": [], "lda": []}
        for path, _ in recordings.values():
            for readout, label in decided(learner, trained, read(path)).items():
                predicted[readout].append(named(label))
        for readout, labels in predicted.items():
            right = sum(a == b for a, (_, b) in zip(labels, recordings.values(), strict=True))
            rows.append([f"{name}, {READOUTS[readout]}", f"{right} of {len(labels)}", *labels])
    truth = ["what it is", "", *(label for _, label in recordings.values())]
    return [
        "Each recording whole, in one decision, nothing learned from it. Networks: trained in all "
        f"lightings, and in the light of {LIGHT}, one per seed. These recordings are no test set: "
        "the simulator's movements were made more various after looks at some of them, and there "
        "are six, of three gestures.",
        "",
        *table(["right", *recordings], [truth, *rows]),
    ]


def decided(learner: StopLearner, trained: Pretrained, events: Events) -> dict[str, str]:
    """What each readout makes of all the bins of a recording."""
    binner = Binner(
        SENSOR,
        bin_us=trained.bin_us,
        height=trained.input_shape[1],
        width=trained.input_shape[2],
        origin_us=0,
    )
    learner.begin_segment()
    for one in [*binner.push(events), *binner.flush()]:
        x = torch.from_numpy(one.counts)[None].float().log1p()
        learner.predict(x, trace=False)
    decision = learner.predict_segment()
    scores = {"linear": decision.linear, "lda": decision.lda}
    return {key: trained.classes[int(value.argmax())] for key, value in scores.items()}


def beside(runs: Sequence[dict[str, dict[str, float]]]) -> list[str]:
    """A table: decision makers by lightings."""
    heads = list(runs[0]["headline"])
    rows = [
        [title, *(spread([one[maker][head] for one in runs]) for head in heads)]
        for maker, title in MAKERS.items()
    ]
    return table(heads, rows)


def verdict(runs: Sequence[dict[str, dict[str, float]]]) -> str:
    """How far adaptation is ahead, run by run."""
    parts = []
    for frozen, readout in (("initial_network", "linear"), ("initial_lda", "LDA")):
        ahead = [one["headline"]["all"] - one[frozen]["all"] for one in runs]
        parts.append(
            f"by {spread(ahead)} of its {readout} readout, in single seeds by {min(ahead):.3f} to "
            f"{max(ahead):.3f}"
        )
    return f"Learning is ahead of the frozen network {'; '.join(parts)}."


if __name__ == "__main__":
    main()
