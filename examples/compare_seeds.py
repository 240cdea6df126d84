"""Two settings over the same seeds: means, and whether the difference is more than chance."""

import streamstop as ss
from streamstop.experiments.significance import MeanInterval, sign_flip_test

SEEDS = range(3)
SETTINGS = {
    "fast": ["learner.lr_readout=0.01"],
    "slow": ["learner.lr_readout=0.001"],
}


def accuracy(settings: list[str], seed: int) -> float:
    """Accuracy of the linear readout on 24 half seconds of the demo."""
    few = ["segments.max_segments=24", "segments.length_us=500_000", "binning.bin_us=100_000"]
    fixed = [*few, "readout.decision=linear", f"run.seed={seed}"]
    config = ss.load_config("demo", settings + fixed)
    return ss.run(config).summary["accuracy"]["segment"]


found = {name: [accuracy(one, seed) for seed in SEEDS] for name, one in SETTINGS.items()}
for name, values in found.items():
    mean = MeanInterval.of(values)
    print(f"{name}: {mean.mean:.3f}, 95 % interval {mean.low:.3f} to {mean.high:.3f}, n = {mean.n}")
differences = [a - b for a, b in zip(*found.values(), strict=True)]
print(f"fast - slow: {MeanInterval.of(differences).mean:+.3f}, p = {sign_flip_test(differences)}")
# Three seeds cannot give p below 0.25 in this test, and 24 segments are few. On the command line:
# streamstop run demo --seeds 0-4, then streamstop compare RUNS_A RUNS_B.
